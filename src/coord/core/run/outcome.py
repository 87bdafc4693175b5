"""How a run ends: the closed set of outcomes, what each must carry, and what follows.

    succeeded    the command exited with 0
    failed       it exited with another status
    signaled     a signal ended it
    timed_out    its time was over, and it was ended
    cancelled    somebody asked, and its tree is proven empty
    lost         nobody can know: the shim died, and there is no exit record
    infra_error  it was never executed: the command or its folder was not there; or it was
                 ended, as its claim could not be renewed and another may have it
    refused      a rule forbade it
    skipped      a run that it comes after did not end as it had to
    expired      its time came before its turn

Every run ends in exactly one of them.
"""

from collections.abc import Mapping
from typing import Any

from coord.core.event import is_integer

SUCCEEDED, FAILED, SIGNALED, TIMED_OUT, CANCELLED = (
    "succeeded failed signaled timed_out cancelled".split()
)
LOST, INFRA_ERROR, REFUSED, SKIPPED, EXPIRED = "lost infra_error refused skipped expired".split()
OUTCOMES = (
    SUCCEEDED, FAILED, SIGNALED, TIMED_OUT, CANCELLED, LOST, INFRA_ERROR, REFUSED, SKIPPED,
    EXPIRED,
)  # fmt: skip
# Those of a run that no worker ever took.
WITHOUT_ATTEMPT = (REFUSED, SKIPPED, EXPIRED)
# Those after which a process may have exited, or been ended by a signal.
_EXITED = (SUCCEEDED, FAILED, TIMED_OUT, CANCELLED, REFUSED)
_BY_SIGNAL = (SIGNALED, TIMED_OUT, CANCELLED, REFUSED)
RETRIED = (FAILED, SIGNALED, TIMED_OUT, INFRA_ERROR)
CRASH_MAX = 3
MOST_BACKOFF_MS = 3_600_000
# What `run wait` and `run exec` answer where there is no exit status to mirror: that of
# timeout(1), and the one with which runners say that they themselves have failed.
TIMED_OUT_STATUS, NOT_RUN_STATUS = 124, 125


def fault_in(body: Mapping[str, Any], is_queued: bool) -> str:
    """Name what keeps a completion from being one; "" if nothing does."""
    how, code, signal = (body.get(name) for name in ("outcome", "exit_code", "signal"))
    if how not in OUTCOMES:
        return f"outcome is not one of {', '.join(OUTCOMES)}"
    if is_queued and how not in WITHOUT_ATTEMPT:
        return f"a run that nobody has claimed cannot be {how}"
    if not is_queued and how in (SKIPPED, EXPIRED):
        return f"a run that was claimed cannot be {how}"
    if code is not None and not (is_integer(code) and code <= 255 and how in _EXITED):
        return f"{how} has no such exit_code"
    if signal is not None and not (is_integer(signal, least=1) and how in _BY_SIGNAL):
        return f"{how} has no such signal"
    if how == SUCCEEDED and code != 0:
        return "there is no success without an exit_code of 0"
    if how == FAILED and not code:
        return "who failed has exited with another status than 0"
    return "signaled names its signal" if how == SIGNALED and signal is None else ""


def goes_on(state: Mapping[str, Any], attempt: Mapping[str, Any]) -> bool:
    """Whether another attempt follows this one, which is the newest and has ended."""
    spec, how = state["spec"], attempt["outcome"]
    if how == LOST:
        may_repeat = spec.get("idempotent") is True or attempt.get("begun") is False
        # Whose commit is on a ref has done its work: that is never done again.
        may_repeat &= "commit" not in attempt
        return bool(may_repeat and state["crashes"] <= spec.get("crash_max", CRASH_MAX))
    retry = spec.get("retry", {})
    tried = sum(1 for one in state["attempts"] if one["outcome"] != LOST)
    return bool(how in retry.get("on", RETRIED) and tried <= retry.get("max", 0))


def backoff_ms(state: Mapping[str, Any], attempt: Mapping[str, Any]) -> int:
    """How long the next attempt waits: doubled each time, nothing after a crash."""
    if attempt["outcome"] == LOST:
        return 0
    first_ms = state["spec"].get("retry", {}).get("backoff_ms", 0)
    tried = sum(1 for one in state["attempts"] if one["outcome"] != LOST)
    return int(min(first_ms << min(tried - 1, 40), MOST_BACKOFF_MS))


def status_of(state: Mapping[str, Any]) -> int:
    """The exit status that mirrors how a run ended."""
    attempts = state.get("attempts", ())
    last = attempts[-1] if attempts else {}
    how = state["outcome"]
    if how == TIMED_OUT:
        return TIMED_OUT_STATUS
    if how == SUCCEEDED:
        return 0
    if how == FAILED:
        return int(last["exit_code"])
    if how == SIGNALED:
        return 128 + int(last["signal"])
    return NOT_RUN_STATUS
