"""What a run may read about others, out of folded states: the `Known` of `core.run.ready`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from coord.core import arbiter, globs, registry, resource
from coord.core.arbiter import Hold
from coord.core.problem import World
from coord.core.resource import Resource

# Larger than any event id: what is in force now.
_NOW = "~"


class Stored(World, Protocol):
    """Folded states, and what counts over all runs."""

    def taken_in(self, group: str) -> Sequence[int]:
        """The limits that the runs say which take a place in this group now."""


class Around:
    """The other runs and the agents, as they are folded."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored

    def ending_of(self, run_id: str) -> str | None:
        """How another run ended: "" while it has not; None when it is not known."""
        state = self._stored.state(f"run/{run_id}")
        return str(state.get("outcome", "")) if state else None

    def taken_in(self, group: str) -> Sequence[int]:
        """The limits that the runs say which take a place in this group now."""
        return self._stored.taken_in(group)

    def lock_in_way(self, named: str, agent_id: str, now_ms: int) -> str:
        """Who holds what an agent's command needs for itself, as a sentence; "" for nobody."""
        wanted = resource.read(named)
        if wanted is None:
            return ""
        holds = self._stored.state(f"lease/{wanted.domain}").get("holds", ())
        against = [
            hold
            for hold in holds
            if arbiter.runs(hold, now_ms) and _is_against(hold, wanted, agent_id)
        ]
        sizes = [resource.places_of(hold["resource"]) for hold in against]
        return arbiter.held_text(against[0]) if len(against) >= min([wanted.places, *sizes]) else ""

    def pause_of(self, agent_id: str) -> Mapping[str, Any] | None:
        """What pauses an agent now; None when nothing does."""
        return registry.pause_of(self._stored, agent_id, _NOW)


def _is_against(hold: Hold, wanted: Resource, agent_id: str) -> bool:
    """Whether a hold takes what a command of this agent wants, or a place of it."""
    if wanted.is_path:
        either = hold.get("ignorecase") is True
        name = hold["resource"].removeprefix(f"{resource.PATH}:")
        if not globs.overlap(name, wanted.name, either):
            return False
    is_pool = wanted.places > 1 or "*" in hold["resource"].partition(":")[2]
    is_own = hold["agent_id"] == agent_id and not hold["session_id"]
    return is_pool or not is_own or hold.get("exec") is True
