"""What to do about an attempt whose end nobody has recorded: a closed table over facts.

    the shim's lock is held           adopt      it is alive: leave it, and watch it
    there is its exit record          complete   as the record says
    something of its tree lives       end        end the tree, then look again
    somebody asked to cancel it       complete   cancelled: the tree is empty
    the command may have begun        complete   lost; once more if that does no harm
    nothing                           complete   lost, never begun; once more

The facts are gathered before anything is changed, and whoever gathers them holds the
shim's lock, so that no shim can begin meanwhile.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from coord.core.run import life, outcome

ADOPT, COMPLETE, END = "adopt complete end".split()
# What of an exit record a completion says.
_RECORDED = (
    "outcome", "exit_code", "signal", "reason", "usage", "logs", "left_behind",
)  # fmt: skip


class Facts(NamedTuple):
    """What is true on this machine about one attempt.

    exit: its exit record. begun: the shim has said that it is about to execute.
    """

    is_alive: bool
    exit: Mapping[str, Any] | None = None
    tree_lives: bool = False
    begun: bool = False


def decide(state: Mapping[str, Any], facts: Facts) -> tuple[str, Mapping[str, Any]]:
    """What to do about the open attempt of a run, and the body of its completion."""
    attempt = life.open_attempt(state)
    assert attempt is not None, "only an open attempt has to be recovered"
    if facts.is_alive:
        return ADOPT, {}
    if facts.exit is not None:
        return COMPLETE, recorded(facts.exit)
    if facts.tree_lives:
        return END, {}
    if state["status"] == life.CANCELLING:
        return COMPLETE, {"outcome": outcome.CANCELLED}
    begun = facts.begun or "started_at_ms" in attempt
    reason = "the shim died" if begun else "the worker died before the command began"
    return COMPLETE, {"outcome": outcome.LOST, "begun": begun, "reason": reason}


def recorded(record: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the completion that an exit record amounts to."""
    return {name: record[name] for name in _RECORDED if name in record}
