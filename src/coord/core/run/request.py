"""What to record about a run: pure answers, as a type, refs and body."""

from collections.abc import Mapping
from typing import Any

from coord.core.run import life, wanted

# A claim binds the store it was made in; there the kernel's lock says who lives, so the
# span only has to be longer than any run.
TTL_MS = 30 * 24 * 3_600_000
# What ending a tree may take beyond its grace.
MARGIN_MS = 2000
Fact = tuple[str, dict[str, Any], dict[str, Any]]


def requested(run_id: str, body: Mapping[str, Any]) -> Fact:
    """The request of a run."""
    return "run.requested", {"run_id": run_id}, dict(body)


def claim(state: Mapping[str, Any], lease_id: str) -> Fact:
    """The claim of the next attempt."""
    refs = {"run_id": state["run_id"], "resource": f"run:{state['run_id']}", "lease_id": lease_id}
    body = {
        "attempt": len(state.get("attempts", ())) + 1,
        "fence": life.domain_in(state)["fence"] + 1,
        "ttl_ms": TTL_MS, "expires_at_ms": 0, "confirmed": "host",
    }  # fmt: skip
    return "run.claimed", refs, body


def claim_anywhere(
    state: Mapping[str, Any], lease_id: str, decided: Mapping[str, Any], store: str, ttl_ms: int
) -> Fact:
    """The claim of the next attempt, decided by the git remote, for the workers of a store."""
    kind, refs, body = claim(state, lease_id)
    # Long enough to be renewed, or to end the command before another clone may begin.
    grace_ms = state["spec"].get("grace_ms", wanted.DEFAULT_GRACE_MS)
    ttl_ms = max(ttl_ms, 3 * (grace_ms + MARGIN_MS))
    return kind, refs, {**body, "ttl_ms": ttl_ms, **decided, "store": store}


def renewal(state: Mapping[str, Any], decided: Mapping[str, Any]) -> Fact:
    """The renewal of an attempt that the git remote has confirmed, by the worker's agent."""
    [hold] = state["holds"]
    kind, refs, body = of_attempt("run.renewed", state, state["attempts"][-1], {})
    told = {name: value for name, value in decided.items() if name != "fence"}
    return kind, {**refs, "resource": hold["resource"]}, {**body, "ttl_ms": hold["ttl_ms"], **told}


def of_attempt(
    kind: str, state: Mapping[str, Any], attempt: Mapping[str, Any], body: Mapping[str, Any]
) -> Fact:
    """What happened to an attempt; it carries the attempt's fence."""
    refs = {"run_id": state["run_id"], "lease_id": attempt["lease_id"]}
    return kind, refs, {"attempt": attempt["attempt"], "fence": attempt["fence"], **body}


def ended_unstarted(state: Mapping[str, Any], how: str, reason: str) -> Fact:
    """The end of a run that nobody has claimed."""
    return "run.completed", {"run_id": state["run_id"]}, {"outcome": how, "reason": reason}


def tick(schedule: Mapping[str, Any], tick_ms: int, run_id: str, store: str) -> Fact:
    """The run that a schedule becomes at one of its ticks, in the store that has won it."""
    left = ("schedule", "store", "dedupe")
    spec = {name: value for name, value in schedule["spec"].items() if name not in left}
    named = {"tick_of": schedule["run_id"], "tick_ms": tick_ms, "store": store}
    return "run.requested", {"run_id": run_id}, {**spec, **named}


def fired(schedule: Mapping[str, Any], through_ms: int, confirmed: str) -> Fact:
    """Up to which instant the ticks of a schedule have been fired."""
    refs = {"run_id": schedule["run_id"], "lease_id": schedule["run_id"]}
    body = {"fence": through_ms, "through_ms": through_ms, "confirmed": confirmed}
    return "run.renewed", refs, body


def cancelled(state: Mapping[str, Any]) -> Fact:
    """Somebody wants a run ended."""
    return "run.cancelled", {"run_id": state["run_id"]}, {}


def again(state: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request that repeats a run, now: what it waited for is not asked again."""
    left = ("after", "not_before_ms", "expires_at_ms", "store", "schedule", "tick_of", "tick_ms",
            "dedupe", "resume")  # fmt: skip
    spec = {name: value for name, value in state["spec"].items() if name not in left}
    return {**spec, "retry_of": state["run_id"]}


def handed_on(state: Mapping[str, Any], to: str) -> Fact:
    """The steps of a run go on with another, which resumes it."""
    return "run.step", {"run_id": state["run_id"]}, {"phase": "handed_on", "to": to}


def of_step(state: Mapping[str, Any], phase: str, name: str, **more: Any) -> Fact:
    """What somebody tells of a step when its attempt is not the one who tells it."""
    return "run.step", {"run_id": state["run_id"]}, {"phase": phase, "name": name, **more}


_INTERNAL = ("holds", "refused", "fence", "confirmed_fence", "last", "spec", "request_event")


def row(state: Mapping[str, Any]) -> dict[str, Any]:
    """A run as people and programs see it, whole."""
    shown = {name: value for name, value in state.items() if name not in _INTERNAL}
    first = ("run_id", "status", "outcome")
    head = {name: shown.pop(name) for name in first if name in shown}
    return {**head, "command": wanted.shown(state["spec"]), **state["spec"], **shown}


def short(state: Mapping[str, Any]) -> dict[str, Any]:
    """A run in a list."""
    attempts = state.get("attempts", ())
    names = ("run_id", "status", "outcome", "requested_by", "requested_at_ms", "ended_at_ms")
    shown = {name: state[name] for name in names if name in state}
    last = attempts[-1] if attempts else {}
    shown.update({name: last[name] for name in ("exit_code", "signal") if name in last})
    spec = state["spec"]
    told = {"command": wanted.shown(spec), "attempts": len(attempts)}
    said = ("title", "priority", "schedule", "tick_of", "tick_ms")
    named = {name: spec[name] for name in said if name in spec}
    group = {"group": spec["group"]["name"]} if "group" in spec else {}
    return {**shown, **told, **named, **group}
