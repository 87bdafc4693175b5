"""The state at two points, and what changed from one to the other.

A *point* is an event, and the state there is what all events up to and with it fold to,
by event id, whoever wrote them; or an instant, and then up to and with its millisecond.
What some clone knew at that moment is not recorded.

    rows    one per work item or agent, as `ev materialize` prints them
    diff    one per entity that differs: added, removed or changed, and its fields

A diff carries whole values, so that applied to the first rows it gives the second.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import ev, registry, units
from coord.core import event as events
from coord.core.problem import State
from coord.core.wk import view

NAMES = {"work": "work_id", "agents": "agent_id"}
Rows = Mapping[str, Mapping[str, Any]]


class Point(NamedTuple):
    """A place in the order of all events.

    before: events with smaller ids than this count. now_ms: when it is judged what had
    expired and what was ready.
    """

    before: str
    now_ms: int


def point(text: str, now_ms: int) -> Point:
    """The point up to and with EVENT_ID | TIME.

    now_ms: what "2h ago" is counted from.
    Refusals: usage.
    """
    first = ev.boundary(text, now_ms)
    if events.EVENT_ID.fullmatch(text.strip().upper()):
        return Point(first + "~", events.time_of(first))
    at_ms = units.parse_instant(text, now_ms)
    return Point(events.first_id_at(at_ms + 1), at_ms)


class Past:
    """A `World` over folded states, with no idempotency keys: for looking, not folding."""

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = states

    def state(self, entity: str) -> State:
        """The folded state of an entity; {} when there is none."""
        return self._states.get(entity, {})

    def keyed(self, event: events.Event) -> Sequence[events.Event]:
        """Nothing: nobody folds on with this."""
        return ()

    def is_open(self, work_id: str) -> bool | None:
        """Whether an item is still to be done; None when it is not known."""
        state = self.state(f"work/{work_id}")
        return state["status"] != "closed" if state else None


def rows_of(what: str, states: Mapping[str, State], now_ms: int) -> dict[str, dict[str, Any]]:
    """Everything about all work items or agents, by id.

    what: a key of `NAMES`.
    """
    world = Past(states)
    if what == "agents":
        return {row["agent_id"]: row for row in _agents(states, world)}
    items = (states[entity] for entity in sorted(states) if entity.startswith("work/"))
    return {state["work_id"]: view.whole(state, now_ms, world.is_open) for state in items}


def _agents(states: Mapping[str, State], world: Past) -> Iterator[dict[str, Any]]:
    for entity in sorted(states):
        if entity.startswith("agent/"):
            row = registry.view(states[entity], world, "~")
            if "paused" in row or row["agent_id"] != registry.EVERYBODY:
                yield row


def diff(name: str, before: Rows, after: Rows) -> Iterator[dict[str, Any]]:
    """What changed: {NAME, change, fields: {field: {from?, to?}}} for each that differs.

    name: what names an entity, `work_id` or `agent_id`.
    """
    for entity in sorted({*before, *after}):
        old, new = before.get(entity, {}), after.get(entity, {})
        fields = {
            field: _change(field, old, new)
            for field in sorted({*old, *new})
            if (field in old, old.get(field)) != (field in new, new.get(field))
        }
        if fields:
            change = "changed" if old and new else "added" if new else "removed"
            yield {name: entity, "change": change, "fields": fields}


def _change(field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    pairs = (("from", old), ("to", new))
    return {word: row[field] for word, row in pairs if field in row}


def apply_diff(name: str, rows: Rows, changes: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The rows after what a diff says has changed."""
    result: dict[str, Any] = dict(rows)
    for change in changes:
        row = dict(result.pop(change[name], {}))
        for field, value in change["fields"].items():
            row.pop(field, None)
            if "to" in value:
                row[field] = value["to"]
        if change["change"] != "removed":
            result[change[name]] = row
    return result
