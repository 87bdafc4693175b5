"""Whether a run may start now, on this worker, and if not why: pure answers.

    verdict    start      nothing stands in its way
               wait       something does that may pass
               skip       what it comes after ended otherwise: it never can
               expire     its time is over

Group limits count what is claimed, started or being cancelled: a job that is being
ended still takes its place. Of several limits for one group the smallest counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from coord.core import units
from coord.core.run import life, outcome, wanted

LOCKS = "locks"
START, WAIT, SKIP, EXPIRE = "start wait skip expire".split()


class Known(Protocol):
    """What may be read about other runs and about agents."""

    def ending_of(self, run_id: str) -> str | None:
        """How another run ended: "" while it has not; None when it is not known."""

    def taken_in(self, group: str) -> Sequence[int]:
        """The limits that the runs say which take a place in this group now."""

    def lock_in_way(self, named: str, agent_id: str, now_ms: int) -> str:
        """Who holds what an agent's command needs for itself, as a sentence; "" for nobody."""

    def pause_of(self, agent_id: str) -> Mapping[str, Any] | None:
        """What pauses an agent now, {by, why}; None when nothing does."""


class Reason(NamedTuple):
    """One thing that stands in the way of a start."""

    code: str
    text: str


class Verdict(NamedTuple):
    """What to do with a queued run, and why it does not start."""

    what: str
    reasons: Sequence[Reason] = ()


def judge(
    state: Mapping[str, Any], now_ms: int, known: Known, labels: Iterable[str] | None = None
) -> Verdict:
    """What to do with a run that is queued.

    labels: the worker's; None asks whether any worker could start it.
    """
    spec = state["spec"]
    until_ms = ends_waiting_ms(state)
    if until_ms is not None and now_ms >= until_ms:
        text = f"its time was over at {units.show_instant(until_ms)}"
        return Verdict(EXPIRE, [Reason("expired", text)])
    after = [_dependency(one, known) for one in spec.get("after", ())]
    never = [found for found in after if found and found.code == "never"]
    if never:
        return Verdict(SKIP, never)
    reasons = [found for found in after if found]
    reasons += [*_not_yet(state, now_ms), *_crowded(spec, known), *_unfit(spec, labels)]
    reasons += _locked(state, now_ms, known)
    pause = known.pause_of(state["requested_by"])
    if pause is not None:
        text = f"{state['requested_by']} was paused by {pause['by']}: {pause['why']}"
        reasons.append(Reason("paused", text))
    return Verdict(WAIT, reasons) if reasons else Verdict(START)


def ends_waiting_ms(state: Mapping[str, Any]) -> int | None:
    """From when on a queued run is not started any more; None for never."""
    spec = state["spec"]
    ends = [spec["expires_at_ms"]] if "expires_at_ms" in spec else []
    # A run that was started once has had its turn: only the first wait is bounded.
    if "queue_ms" in spec.get("timeouts", {}) and not state.get("attempts"):
        ends.append(state["requested_at_ms"] + spec["timeouts"]["queue_ms"])
    return min(ends, default=None)


def _dependency(one: Mapping[str, Any], known: Known) -> Reason | None:
    run_id, on = one["run_id"], one["on"]
    ended = known.ending_of(run_id)
    if ended is None:
        return Reason("after", f"it comes after {run_id}, which is not known here")
    if ended == "":
        return Reason("after", f"it comes after {run_id}, which has not ended")
    is_met = on == "any" or (on == "ok") == (ended == outcome.SUCCEEDED)
    return None if is_met else Reason("never", f"{run_id} ended {ended}, and it needs {on}")


def _not_yet(state: Mapping[str, Any], now_ms: int) -> Iterable[Reason]:
    instants = {
        "not_before": state["spec"].get("not_before_ms", 0),
        "backoff": state.get("again_at_ms", 0),
    }
    for code, at_ms in instants.items():
        if at_ms > now_ms:
            yield Reason(code, f"not before {units.show_instant(at_ms)}")


def _crowded(spec: Mapping[str, Any], known: Known) -> Iterable[Reason]:
    group = spec.get("group")
    if group is None:
        return
    taken = known.taken_in(group["name"])
    limit = min([group["limit"], *taken])
    if len(taken) >= limit:
        yield Reason("group", f"{len(taken)} of {limit} of group {group['name']} run")


def _locked(state: Mapping[str, Any], now_ms: int, known: Known) -> Iterable[Reason]:
    for named in state["spec"].get("locks", ()):
        text = known.lock_in_way(named, state["requested_by"], now_ms)
        if text:
            yield Reason(LOCKS, text)


def _unfit(spec: Mapping[str, Any], labels: Iterable[str] | None) -> Iterable[Reason]:
    if labels is None:
        return
    labels = set(labels)
    missing = sorted(set(spec.get("requires", ())) - labels)
    if missing:
        yield Reason("labels", f"the worker does not have {', '.join(missing)}")
    elif wanted.BY_SSH in labels and not wanted.asks_for_ssh(spec):
        yield Reason("labels", "the worker executes at another host only what asks for that")


def why(state: Mapping[str, Any], now_ms: int, known: Known) -> list[Reason]:
    """Why a run is not being executed; empty when it may start, or runs."""
    if state["status"] == life.DONE:
        return [Reason("done", f"it has ended: {state['outcome']}")]
    if state["status"] == life.CANCELLING:
        return [Reason("cancelling", "it is being ended; what it started still lives")]
    if state["status"] == life.SCHEDULED:
        return [Reason("scheduled", "it is a schedule: each tick is a run of its own")]
    if state["status"] != life.QUEUED:
        return []
    reasons = list(judge(state, now_ms, known).reasons)
    if state["spec"].get("requires"):
        names = ", ".join(state["spec"]["requires"])
        reasons.append(Reason("labels", f"it needs a worker with {names}"))
    return reasons
