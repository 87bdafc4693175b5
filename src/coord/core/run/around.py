"""What a run may read about others, out of folded states: the `Known` of `core.run.ready`."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from coord.core import registry
from coord.core.problem import World

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

    def pause_of(self, agent_id: str) -> Mapping[str, Any] | None:
        """What pauses an agent now; None when nothing does."""
        return registry.pause_of(self._stored, agent_id, _NOW)
