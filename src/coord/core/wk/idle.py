"""What has come to rest: open items that nobody touched, claims without progress.

untouched   not closed, not claimed now, not waiting for its own time, and not
            changed for as long as `idle_ms`
abandoned   claimed, the claim over, and nobody gave it back or finished it
silent      claimed now for at least `silent_ms`, and since then no comment, tick,
            artifact or change by anybody: renewing a claim is not progress
"""

from typing import Any

from coord.core import units
from coord.core.problem import State
from coord.core.wk import view

_SAID = ("comments", "artifacts", "verdicts")


def reason(state: State, now_ms: int, idle_ms: int, silent_ms: int) -> dict[str, Any] | None:
    """Why an item counts as stale: {why, since_ms, text}; None where it does not."""
    status = view.status_at(state, now_ms)
    if status in ("closed", "deleted"):
        return None
    since_ms = moved_at(state)
    claim = state.get("claim")
    if status == "claimed":
        assert claim is not None
        since_ms = max(since_ms, claim["acquired_at_ms"])
        if now_ms - since_ms < silent_ms:
            return None
        return _found("silent", since_ms, now_ms, f"{claim['agent_id']} holds it and says nothing")
    if status == "open" and state["status"] == "claimed" and claim is not None:
        text = f"the claim of {claim['agent_id']} ended and it was not given back"
        return _found("abandoned", claim["expires_at_ms"], now_ms, text)
    if view.is_deferred(state, now_ms) or now_ms - since_ms < idle_ms:
        return None
    return _found("untouched", since_ms, now_ms, "nobody changed it")


def moved_at(state: State) -> int:
    """When anything but a renewal last happened to an item."""
    said = [one["at_ms"] for name in _SAID for one in state.get(name, ()) if "at_ms" in one]
    return int(max([state["updated_at_ms"], *said]))


def _found(why: str, since_ms: int, now_ms: int, text: str) -> dict[str, Any]:
    span = units.show_duration(max(0, now_ms - since_ms) // 60_000 * 60_000)
    return {"why": why, "since_ms": since_ms, "text": f"{text} for {span}"}
