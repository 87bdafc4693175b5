"""Work items as people and programs see them at one moment.

Status at a moment: a claim that is over makes an item open again, without anybody
writing anything. *ready*, *blocked* and *deferred* are derived here, never set.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coord.core import arbiter, units
from coord.core.problem import State

INTERNAL = (
    "values", "editors", "created_event", "refused", "last", "status_event", "links",
    "newest_lease", "doers", "confirmed_fence",
)  # fmt: skip

# Answers whether an item is still to be done: None for one that is not known.
IsOpen = Callable[[str], bool | None]


def status_at(state: State, now_ms: int) -> str:
    """`open`, `claimed`, `submitted`, `closed` or `deleted` at this moment."""
    if "deleted" in state:
        return "deleted"
    if state["status"] == "claimed" and not arbiter.runs(state["claim"], now_ms):
        return "open"
    return str(state["status"])


def targets(state: State, kind: str) -> list[str]:
    """The items that this one links to in one way, sorted."""
    return sorted(state.get("links", {}).get(kind, ()))


def open_needs(state: State, is_open: IsOpen) -> list[str]:
    """The known items still to be done that this one needs."""
    return [target for target in targets(state, "needs") if is_open(target)]


def open_waits(state: State, now_ms: int, is_open: IsOpen) -> list[Mapping[str, Any]]:
    """What the item was put on hold for and still waits for.

    It ends by itself when the item it waits for closes, or the time comes.
    """
    return [wait for wait in state.get("waits", ()) if _goes_on(wait["on"], now_ms, is_open)]


def _goes_on(on: Mapping[str, Any], now_ms: int, is_open: IsOpen) -> bool:
    if "until_ms" in on:
        return bool(on["until_ms"] > now_ms)
    return bool(is_open(on["item"])) if "item" in on else True


def is_deferred(state: State, now_ms: int) -> bool:
    """Whether an item waits for its time to come."""
    return bool(state.get("defer_until_ms", 0) > now_ms)


def is_ready(state: State, now_ms: int, is_open: IsOpen) -> bool:
    """Whether somebody could begin with it now."""
    if status_at(state, now_ms) != "open" or is_deferred(state, now_ms):
        return False
    return not open_needs(state, is_open) and not open_waits(state, now_ms, is_open)


def derived(state: State, now_ms: int, is_open: IsOpen) -> dict[str, Any]:
    """What follows from the state at a moment: ready, or what keeps it from it."""
    status = status_at(state, now_ms)
    found: dict[str, Any] = {"status": status}
    if status in ("closed", "deleted", "submitted"):
        return found
    needs = open_needs(state, is_open)
    if needs:
        found["blocked_by"] = needs
    waits = open_waits(state, now_ms, is_open)
    if waits:
        found["waits_for"] = [dict(wait["on"]) for wait in waits]
    if is_deferred(state, now_ms):
        found["deferred"] = True
    if status == "open" and not needs and not waits and "deferred" not in found:
        found["ready"] = True
    return found


def whole(state: State, now_ms: int, is_open: IsOpen) -> dict[str, Any]:
    """Everything about an item, for `show`, `materialize` and exports."""
    shown = {key: value for key, value in state.items() if key not in INTERNAL}
    shown.update(derived(state, now_ms, is_open))
    if shown["status"] != "claimed":
        shown.pop("claim", None)
    links = {kind: sorted(group) for kind, group in state.get("links", {}).items()}
    if links:
        shown["links"] = links
    return shown


def short(state: State, now_ms: int, is_open: IsOpen) -> dict[str, Any]:
    """One row of a list: no long texts."""
    row = {
        key: state[key]
        for key in (
            "work_id", "title", "type", "priority", "labels", "assignee", "due_ms",
            "defer_until_ms", "created_at_ms", "updated_at_ms", "resolution",
        )
        if state.get(key) not in (None, [])
    }  # fmt: skip
    row.update(derived(state, now_ms, is_open))
    parents = targets(state, "parent")
    if parents:
        row["parent"] = parents[0]
    if row["status"] == "claimed":
        claim = state["claim"]
        row["claim"] = {k: claim[k] for k in ("agent_id", "expires_at_ms", "fence")}
    return row


def reasons(state: State, now_ms: int, is_open: IsOpen) -> list[str]:
    """Why an item is not ready, a sentence each; [] when it is."""
    status = status_at(state, now_ms)
    if status == "claimed":
        claim = state["claim"]
        return [f"is claimed by {claim['agent_id']} (fence {claim['fence']})"]
    if status != "open":
        return [f"is {status}"]
    found = [f"needs {target}, which is not closed" for target in open_needs(state, is_open)]
    for wait in open_waits(state, now_ms, is_open):
        [value] = wait["on"].values()
        named = units.show_instant(value) if "until_ms" in wait["on"] else value
        found.append(f"waits for {named}: {wait.get('why', 'no reason given')}")
    if is_deferred(state, now_ms):
        found.append("is deferred")
    return found


def needs_cycle(start: str, added: str, needs_of: Callable[[str], Iterable[str]]) -> list[str]:
    """The circle that `start` needing `added` would close, [] when there is none.

    Returns the items in order, from `start` back to `start`.
    """
    came_from = {added: start}
    waiting = [added]
    while waiting and start not in came_from:
        here = waiting.pop()
        for target in needs_of(here):
            if target not in came_from:
                came_from[target] = here
                waiting.append(target)
    if start == added or start not in came_from:
        return [start, start] if start == added else []
    path = [start]
    while len(path) == 1 or path[-1] != start:
        path.append(came_from[path[-1]])
    return path[::-1]


def cycles(links: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """All groups of items that need each other in a circle, each sorted.

    Tarjan's strongly connected components, with its stack kept by hand: a chain of
    needs may be longer than Python's own stack.
    """
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    open_nodes: list[str] = []
    on_stack: set[str] = set()
    groups: list[list[str]] = []
    for root in links:
        if root in order:
            continue
        work: list[tuple[str, list[str]]] = [(root, sorted(links.get(root, ())))]
        order[root] = low[root] = len(order)
        open_nodes.append(root)
        on_stack.add(root)
        while work:
            node, waiting = work[-1]
            if waiting:
                target = waiting.pop()
                if target not in order:
                    order[target] = low[target] = len(order)
                    open_nodes.append(target)
                    on_stack.add(target)
                    work.append((target, sorted(links.get(target, ()))))
                elif target in on_stack:
                    low[node] = min(low[node], order[target])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == order[node]:
                groups.append(_component(node, open_nodes, on_stack))
    return sorted(group for group in groups if len(group) > 1)


def _component(node: str, open_nodes: list[str], on_stack: set[str]) -> list[str]:
    group = []
    while True:
        member = open_nodes.pop()
        on_stack.discard(member)
        group.append(member)
        if member == node:
            return sorted(group)
