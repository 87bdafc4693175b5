"""What changed in a work item, event by event: who, when, why, from what to what."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coord.core import fold
from coord.core.event import Event
from coord.core.problem import State, World
from coord.core.wk import view

_UNSHOWN = (*view.INTERNAL, "updated_at_ms", "comments", "claim", "fence", "conflicts")


def history(ordered: Iterable[Event], work_id: str, world: World) -> Iterator[dict[str, Any]]:
    """One entry per event, oldest first.

    {event_id, at_ms, type, agent_id, session_id?, why?, changes?: {field: {from?, to?}},
    text? (a comment), problem?: {code, message, stands}}; `at_ms` and `by` are what an
    import stated, else the event's own.
    """
    state: State = {}
    for event in ordered:
        after, problems = fold.advance(f"work/{work_id}", state, event, world)
        entry = _entry(event)
        changes = _changes(state, after)
        if changes:
            entry["changes"] = changes
        for problem in problems:
            entry["problem"] = {"code": problem.code, "message": problem.message}
            if problem.stands:
                entry["problem"]["stands"] = True
        state = after
        yield entry


def _entry(event: Event) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "event_id": event.event_id,
        "at_ms": event.body.get("at_ms", event.time_ms),
        "type": event.type,
        "agent_id": event.agent_id,
    }
    for name, value in (
        ("session_id", event.session_id),
        ("by", event.body.get("by")),
        ("why", event.body.get("why")),
        ("text", event.body.get("text")),
        ("fence", event.body.get("fence")),
        ("cause", event.raw.get("cause")),
    ):
        if value:
            entry[name] = value
    return entry


def _changes(before: State, after: State) -> dict[str, Any]:
    found = {}
    for name, old, new in _pairs(_shown(before), _shown(after)):
        change = {} if old is None else {"from": old}
        found[name] = change if new is None else {**change, "to": new}
    return found


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name in sorted({*before, *after}):
        if before.get(name) != after.get(name):
            yield name, before.get(name), after.get(name)


def _shown(state: State) -> dict[str, Any]:
    shown = {key: value for key, value in state.items() if key not in _UNSHOWN}
    for kind, group in state.get("links", {}).items():
        shown[kind] = sorted(group)
    if "claim" in state:
        shown["claim"] = state["claim"]["agent_id"]
    return shown
