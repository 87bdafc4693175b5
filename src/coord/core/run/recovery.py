"""What to do about an attempt whose end nobody has recorded: a closed table over facts.

    the shim's lock is held           adopt      it is alive: leave it, and watch it
    there is its exit record          complete   as the record says
    it is at another host             reach      have somebody ask there again
    something of its tree lives       end        end the tree, then look again
    it left work that is on no ref    save       save that, then look again
    a commit of it is on a ref        complete   lost, and the commit: never once more
    somebody asked to cancel it       complete   cancelled: the tree is empty
    the command may have begun        complete   lost; once more if that does no harm
    nothing                           complete   lost, never begun; once more

A commit of the run that is on a ref proves that its work is in the repository, and not
that the command came to its end: it may have been killed between the two. So the run is
completed from what persists, with that commit, and is never executed again, idempotent or
not; and as there is no exit record it is no success: it is `lost`, with the commit and the
reason, for whoever asked to decide. A cancelled run keeps its outcome and says the commit.
What it left besides, commits on no ref or a dirty workspace, is saved before anything is
recorded and named in the completion: `salvage` is the ref, `kept` the workspace.

The facts are gathered before anything is changed, and whoever gathers them holds the
shim's lock, so that no shim can begin meanwhile.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from coord.core.run import life, outcome

ADOPT, COMPLETE, END, SAVE, REACH = "adopt complete end save reach".split()
# What of an exit record a completion says.
_RECORDED = (
    "outcome", "exit_code", "signal", "reason", "usage", "logs", "left_behind", "commit",
    "artifacts", "salvage", "kept", "paths",
)  # fmt: skip
_ENDS = ("exit_code", "signal")


class Work(NamedTuple):
    """What an attempt has left in the repository.

    commit: one of its own that is on a ref, "" for none. is_loose: there is work that is on
    no ref and not saved. saved: the ref that it was saved under. workspace: its name;
    is_kept: it is dirty, and stays. fault: why it could not be looked at, or saved.
    """

    commit: str = ""
    is_loose: bool = False
    saved: str = ""
    workspace: str = ""
    is_kept: bool = False
    fault: str = ""


class Facts(NamedTuple):
    """What is true on this machine about one attempt.

    exit: its exit record. begun: the shim has said that it is about to execute. is_far: it
    may live at another host, and nobody here follows it. work: None where it had no
    workspace, or nobody has looked at that.
    """

    is_alive: bool
    exit: Mapping[str, Any] | None = None
    tree_lives: bool = False
    begun: bool = False
    is_far: bool = False
    work: Work | None = None


def decide(state: Mapping[str, Any], facts: Facts) -> tuple[str, Mapping[str, Any]]:
    """What to do about the open attempt of a run, and the body of its completion."""
    attempt = life.open_attempt(state)
    assert attempt is not None, "only an open attempt has to be recovered"
    if facts.is_alive:
        return ADOPT, {}
    if facts.exit is not None:
        return COMPLETE, recorded(facts.exit)
    if facts.is_far:
        return REACH, {}
    if facts.tree_lives:
        return END, {}
    work = facts.work or Work()
    if work.is_loose:
        return SAVE, {}
    left = _left(work)
    if state["status"] == life.CANCELLING:
        return COMPLETE, {"outcome": outcome.CANCELLED, **left}
    begun = facts.begun or "started_at_ms" in attempt
    reason = "the shim died" if begun else "the worker died before the command began"
    if work.commit:
        reason += f"; its commit {work.commit[:12]} is there"
    if work.fault:
        reason += f"; what it left could not be saved: {work.fault}"
    return COMPLETE, {"outcome": outcome.LOST, "begun": begun, "reason": reason, **left}


def _left(work: Work) -> dict[str, str]:
    """What a completion says about what the attempt has left."""
    said = {
        "commit": work.commit,
        "salvage": work.saved,
        "kept": work.workspace if work.is_kept else "",
    }
    return {name: value for name, value in said.items() if value}


def recorded(record: Mapping[str, Any]) -> dict[str, Any]:
    """The body of the completion that an exit record amounts to."""
    said = {name: record[name] for name in _RECORDED if name in record}
    if said.get("outcome") == outcome.INFRA_ERROR:
        # Such a run has no end of its own, also where its command was begun and then ended
        # because its claim could not be renewed: the reason says that.
        said = {name: value for name, value in said.items() if name not in _ENDS}
    return said
