"""The values that pass between the fold's engine and its steps."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from coord.core.event import Event

State = dict[str, Any]
Patch = Mapping[str, Any]

# In a patch, removes its key from the state.
GONE: Any = object()


class Problem(NamedTuple):
    """What the fold found wrong with an event.

    code: one of `errors.CODES`.
    stands: the event has its effect all the same and is only marked.
    """

    event_id: str
    code: str
    message: str
    stands: bool = False


class World(Protocol):
    """What a step may read besides its own entity."""

    def state(self, entity: str) -> State:
        """The folded state of another entity; {} when there is none."""

    def keyed(self, event: Event) -> Sequence[Event]:
        """All events of the same agent, type and idempotency key."""


# A patch may carry a `Problem` that the engine takes out and reports: the step had
# an effect and something to say about it.
NOTE = "_note"
