"""What a page is made of, as it was read at one moment."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coord.core.event import is_integer, time_of
from coord.core.problem import Problem, State

Raw = Mapping[str, Any]
COLUMNS = ("ready", "claimed", "submitted", "blocked", "deferred", "closed")


@dataclass(frozen=True, slots=True)
class Facts:
    """The fold and the newest events.

    items: the states of items, those deleted left out, by id.
    events: the newest, in order. events_total: how many there are, shown or not.
    problems: what the fold found wrong, by event id. since_ms: what ended before is left
    out; 0 for everything. deeds: the events that `core.wk.effort` asks for; lost: the claims
    that lost. find: asked for the state of an entity where `items` are not all.
    """

    project: str
    now_ms: int
    since_ms: int
    items: Mapping[str, State]
    events: Sequence[Raw]
    events_total: int
    problems: Mapping[str, Problem]
    deeds: Sequence[Raw]
    lost: Sequence[Raw]
    find: Callable[[str], State] | None = None

    def is_open(self, work_id: str) -> bool | None:
        """Whether an item is still to be done; None for one that is not known."""
        state = self.items.get(work_id) or (self.find(f"work/{work_id}") if self.find else None)
        return None if not state else state["status"] != "closed"


def when(raw: Raw) -> int:
    """When an event was, as `core.wk.history` has it: what an import states, else its own."""
    own_ms = time_of(raw["event_id"])
    stated_ms = (raw.get("body") or {}).get("at_ms")
    return stated_ms if is_integer(stated_ms) and stated_ms < own_ms else own_ms


def who(raw: Raw) -> str:
    """Who did it: whom an import names, else the event's author."""
    named = (raw.get("body") or {}).get("by")
    return named if isinstance(named, str) and named else str(raw["actor"]["agent_id"])


def column_of(row: Mapping[str, Any]) -> str:
    """Where an item stands on the board; `row` is from `core.wk.view.short`."""
    status = str(row["status"])
    if status != "open":
        return status
    if row.get("ready"):
        return "ready"
    return "blocked" if "blocked_by" in row or "waits_for" in row else "deferred"
