"""The fold of one run: `type -> step` (DESIGN §7), attempts by the arbiter (DESIGN §8).

    state        requested   claimed      started   completed      cancelled
    -            queued (4)
    scheduled                                                      done
    queued                   claimed                done (1)       done
    claimed                  claimed (2)  started   queued, done   cancelling
    started                  claimed (2)            queued, done   cancelling
    cancelling                            (3)       done           (3)
    done

    (1) without an attempt: skipped, expired, refused
    (2) when the hold of the attempt before is over; that one is lost
    (3) noted, the state stays
    (4) or scheduled: a request with a schedule is never claimed; its ticks are runs of
        their own, and `renewed` says up to which instant they have been fired

What the table does not name is a problem and changes nothing. A completed attempt leads
back to `queued` when the run's `retry`, or its crash budget, allows another one.

Every event of an attempt names its `lease_id` and `fence`; one of an attempt that is not
the open one is kept in `late` as evidence, and has no effect. A run is cancelled when its
tree is proven empty: `run.cancelled` asks for it, and only a run that nobody had started
is over with it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from coord.core import arbiter
from coord.core.event import Event, is_integer
from coord.core.problem import GONE, NOTE, Patch, Problem, State, World
from coord.core.run import outcome, steps, wanted

QUEUED, CLAIMED, STARTED, CANCELLING, DONE = "queued claimed started cancelling done".split()
SCHEDULED = "scheduled"
OPEN = (CLAIMED, STARTED, CANCELLING)
# From which states a type may come.
TRANSITIONS: Mapping[str, tuple[str, ...]] = {
    "run.requested": ("",),
    "run.claimed": (QUEUED, CLAIMED, STARTED),
    "run.renewed": (SCHEDULED, *OPEN),
    "run.started": (CLAIMED, CANCELLING),
    "run.completed": (QUEUED, *OPEN),
    "run.cancelled": (SCHEDULED, QUEUED, *OPEN),
    "run.step": (QUEUED, *OPEN, DONE),
}
# Where each may lead; which of them is decided by its step.
LEADS_TO: Mapping[str, str] = {
    "run.requested": "queued, or scheduled",
    "run.claimed": CLAIMED,
    "run.renewed": "the same",
    "run.started": "started, or cancelling as before",
    "run.completed": "done, or queued for another attempt",
    "run.cancelled": "done when queued or scheduled, else cancelling",
    "run.step": "the same",
}
_LATE = 20
# What of a completion the attempt keeps.
_TOLD = (
    "outcome", "exit_code", "signal", "reason", "usage", "logs", "begun", "left_behind", "commit",
    "artifacts", "salvage", "kept", "paths",
)  # fmt: skip
Step = Callable[[State, Event], Patch | Problem]


def domain_in(state: Mapping[str, Any]) -> arbiter.Domain:
    """The arbiter's view of a run."""
    names = ("holds", "refused", "fence", "confirmed_fence")
    return {**arbiter.EMPTY, **{name: state[name] for name in names if name in state}}


def open_attempt(state: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The attempt that has not ended; None when there is none."""
    attempts = state.get("attempts", ())
    found: Mapping[str, Any] | None = attempts[-1] if attempts else None
    return found if found and "outcome" not in found else None


def store_of(state: Mapping[str, Any]) -> str:
    """Names the store that executes a run; "" while any may have it."""
    if not is_anywhere(state):
        return str(state["spec"].get("store", ""))
    attempt = open_attempt(state)
    return str(attempt.get("store", "")) if attempt else ""


def is_anywhere(state: Mapping[str, Any]) -> bool:
    """Whether the worker of any clone may execute it."""
    return state["spec"].get("anywhere") is True


def _requested(state: State, event: Event) -> Patch | Problem:
    fault = wanted.fault_in(event.body)
    if fault:
        return Problem(event.event_id, "bad_data", fault)
    return {
        "run_id": event.refs["run_id"],
        "status": SCHEDULED if "schedule" in event.body else QUEUED,
        "requested_at_ms": event.time_ms,
        "requested_by": event.agent_id,
        "request_event": event.event_id,
        "spec": {name: event.body[name] for name in wanted.FIELDS if name in event.body},
    }


def _claimed(state: State, event: Event) -> Patch | Problem:
    number = event.body.get("attempt")
    if event.refs.get("resource") != f"run:{state['run_id']}" or not is_integer(number, least=1):
        text = "refs.resource is not this run, or attempt no number"
        return Problem(event.event_id, "bad_data", text)
    domain, problem = _granted(state, event)
    if problem is not None and problem.code == "bad_data":
        return problem
    if problem is not None:
        return {**domain, NOTE: problem}
    [hold] = [h for h in domain["holds"] if h["lease_id"] == event.refs["lease_id"]]
    attempt = {
        "attempt": number, "lease_id": hold["lease_id"], "fence": hold["fence"],
        "agent_id": event.agent_id, "session_id": event.session_id,
        "claimed_at_ms": event.time_ms,
    }  # fmt: skip
    if isinstance(event.body.get("store"), str):
        attempt["store"] = event.body["store"]
    before = [*state.get("attempts", ())]
    patch = {**domain, "status": CLAIMED, "again_at_ms": GONE, **_superseded(state, event)}
    return {**patch, "attempts": [*patch.get("attempts", before), attempt]}


def _granted(state: State, event: Event) -> tuple[arbiter.Domain, Problem | None]:
    """Ask the arbiter; an attempt that still runs is nobody's to take, not even its holder's."""
    domain = domain_in(state)
    for hold in domain["holds"]:
        is_confirmed = event.body.get("confirmed") == "remote"
        if arbiter.runs(hold, event.time_ms) and not is_confirmed:
            problem = Problem(event.event_id, "held", arbiter.held_text(hold))
            return arbiter.refuse(domain, event), problem
    attempt = open_attempt(state)
    if attempt is not None and "started_at_ms" in attempt and not is_idempotent(state):
        text = f"attempt {attempt['attempt']} has started, and nobody knows how it ended"
        problem = Problem(event.event_id, "wrong_state", text)
        return arbiter.refuse(domain, event), problem
    return arbiter.acquire(domain, event)


def _superseded(state: State, event: Event) -> Patch:
    """The attempt whose hold was over when another was claimed."""
    attempt = open_attempt(state)
    if attempt is None:
        return {}
    ended = {**attempt, "outcome": outcome.LOST, "ended_at_ms": event.time_ms,
             "reason": "its hold was over"}  # fmt: skip
    return {"attempts": [*state["attempts"][:-1], ended], "crashes": state.get("crashes", 0) + 1}


def _started(state: State, event: Event) -> Patch | Problem:
    attempt = {**state["attempts"][-1], "started_at_ms": event.time_ms}
    if is_integer(event.body.get("pid"), least=1):
        attempt["pid"] = event.body["pid"]
    for name in ("workspace", "host"):
        if isinstance(event.body.get(name), str):
            attempt[name] = event.body[name]
    if isinstance(event.body.get("sandbox"), dict):
        attempt["sandbox"] = event.body["sandbox"]
    status = STARTED if state["status"] == CLAIMED else state["status"]
    return {"status": status, "attempts": [*state["attempts"][:-1], attempt]}


def _renewed(state: State, event: Event) -> Patch | Problem:
    if state["status"] == SCHEDULED:
        return _fired(state, event)
    domain, problem = arbiter.renew(domain_in(state), event)
    return domain if problem is None else problem


def _fired(state: State, event: Event) -> Patch | Problem:
    """Up to which instant the ticks of a schedule have been fired; clones may come late."""
    through_ms = event.body.get("through_ms")
    if not is_integer(through_ms):
        return Problem(event.event_id, "bad_data", "through_ms is no instant")
    return {"fired_through_ms": max(through_ms, state.get("fired_through_ms", 0))}


def _completed(state: State, event: Event) -> Patch | Problem:
    fault = outcome.fault_in(event.body, state["status"] == QUEUED)
    if fault:
        return Problem(event.event_id, "bad_data", fault)
    if state["status"] == QUEUED:
        return {**_ended(event, event.body["outcome"]), **_why(event)}
    attempt = {
        **state["attempts"][-1],
        **{name: event.body[name] for name in _TOLD if name in event.body},
        "ended_at_ms": event.time_ms,
    }
    if event.agent_id != attempt["agent_id"]:
        attempt["told_by"] = event.agent_id
    is_lost = attempt["outcome"] == outcome.LOST
    crashes = state.get("crashes", 0) + int(is_lost)
    after = arbiter.release(domain_in(state), attempt["lease_id"])
    patch: dict[str, Any] = {**after, "attempts": [*state["attempts"][:-1], attempt]}
    if crashes:
        patch["crashes"] = crashes
    if state["status"] != CANCELLING and outcome.goes_on({**state, **patch}, attempt):
        pause_ms = outcome.backoff_ms({**state, **patch}, attempt)
        return {**patch, "status": QUEUED, "again_at_ms": event.time_ms + pause_ms}
    return {**patch, **_ended(event, attempt["outcome"])}


def _ended(event: Event, how: str) -> dict[str, Any]:
    return {"status": DONE, "outcome": how, "ended_at_ms": event.time_ms, "again_at_ms": GONE}


def _why(event: Event) -> Patch:
    return {"reason": event.body["reason"]} if isinstance(event.body.get("reason"), str) else {}


def _cancelled(state: State, event: Event) -> Patch | Problem:
    if state["status"] == CANCELLING:
        return {}
    asked: dict[str, Any] = {"by": event.agent_id, "at_ms": event.time_ms}
    if isinstance(event.body.get("why"), str):
        asked["why"] = event.body["why"]
    if state["status"] in (QUEUED, SCHEDULED):
        return {"cancel": asked, **_ended(event, outcome.CANCELLED)}
    return {"cancel": asked, "status": CANCELLING}


def _stepped(state: State, event: Event) -> Patch | Problem:
    """Steps of an attempt carry its fence; what is told of them afterwards is of the run."""
    if event.body.get("phase") in steps.OF_ATTEMPT or "lease_id" in event.refs:
        late = _lateness(state, event)
        if late is not None:
            return late
    return steps.taken(state, event, is_open=open_attempt(state) is not None)


def place_in(state: Mapping[str, Any], group: str) -> int:
    """The limit that a run says which takes a place in a group; 0 when it takes none."""
    named = state["spec"].get("group", {})
    is_taken = named.get("name") == group and state["status"] in OPEN
    return int(named["limit"]) if is_taken else 0


def is_idempotent(state: Mapping[str, Any]) -> bool:
    """Whether whoever asked said that it may be executed again after a crash."""
    return state["spec"].get("idempotent") is True


_STEPS: Mapping[str, Step] = {
    "run.requested": _requested,
    "run.claimed": _claimed,
    "run.renewed": _renewed,
    "run.started": _started,
    "run.completed": _completed,
    "run.cancelled": _cancelled,
    "run.step": _stepped,
}
# Those that one attempt writes; a completion of a queued run has none.
_OF_ATTEMPT = frozenset({"run.renewed", "run.started", "run.completed"})


def _step(state: State, event: Event, _world: World) -> Patch | Problem:
    """Take a step that the table allows."""
    status = state.get("status", "")
    if not state and event.type != "run.requested":
        return Problem(event.event_id, "unknown_run", f"no run {event.refs['run_id']} is known")
    if event.type in _OF_ATTEMPT and status not in (QUEUED, SCHEDULED):
        late = _lateness(state, event)
        if late is not None:
            return late
    if status not in TRANSITIONS[event.type]:
        if event.type == "run.claimed":
            return _promised(state, event)
        code = "exists" if event.type == "run.requested" else "wrong_state"
        return Problem(event.event_id, code, _text(state))
    if status == QUEUED and event.type == "run.completed" and "lease_id" in event.refs:
        return _kept(state, event)
    return _STEPS[event.type](state, event)


def _text(state: State) -> str:
    how = f", {state['outcome']}" if "outcome" in state else ""
    return f"{state['run_id']} is {state['status']}{how}"


def _promised(state: State, event: Event) -> Patch | Problem:
    problem = Problem(event.event_id, "wrong_state", _text(state))
    after = arbiter.refuse(domain_in(state), event)
    return {**after, NOTE: problem}


def _lateness(state: State, event: Event) -> Patch | None:
    """What an event of another attempt than the open one leaves behind."""
    attempt = open_attempt(state)
    named = event.refs.get("lease_id"), event.body.get("fence")
    if attempt is not None and named == (attempt["lease_id"], attempt["fence"]):
        return None
    return _kept(state, event)


def _kept(state: State, event: Event) -> Patch:
    told = ("attempt", "phase", "name", *_TOLD)
    entry: dict[str, Any] = {
        "event_id": event.event_id, "type": event.type, "agent_id": event.agent_id,
        **{name: event.body[name] for name in told if name in event.body},
    }  # fmt: skip
    problem = Problem(event.event_id, "fenced", f"{_text(state)}; this is of another attempt")
    return {"late": [*state.get("late", ()), entry][-_LATE:], NOTE: problem}


def otherwise(_state: State, _event: Event, _world: World) -> Patch:
    """Types of later versions change nothing."""
    return {}


STEPS = dict.fromkeys(TRANSITIONS, _step)
