"""Steps of a run: executed once, told again ever after; their fold and what follows from it.

    phase       step before                                  step after
    started     none, redo, undone; started when idempotent; started
                done, if it failed and is to be repeated
    ended       started, by this very start                  done; interrupted by a signal
    settled     started, interrupted, undoing, undone badly  done, redo or undone, as said
    undoing     done and well, or undone badly               undoing
    undone      undoing, by this very start                  undone; undone badly
    handed_on   (of the run) its steps went on with another run, which alone undoes them

`started` and `ended` are of an attempt and carry its fence; the others are a person's, or
a rollback's, and are of the run. A start without a result stands for what nobody knows:
the step was under way when its process died. Whether that process still lives the kernel
says, not the journals; that it does not is never assumed here.

The names of a run's steps are flat, also where one step executes another. What a step
printed stays in the event that says it has ended; a state only names that event.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core.event import Event, is_integer
from coord.core.problem import Patch, Problem, State

STARTED, DONE, INTERRUPTED, REDO, UNDOING, UNDONE, UNDO_FAILED = STATUSES = (
    "started done interrupted redo undoing undone undo_failed".split()
)
OF_ATTEMPT = ("started", "ended", "noted")
PHASES = (*OF_ATTEMPT, "settled", "undoing", "undone", "handed_on")
# How a person settles what nobody knows.
SETTLED = ("done", "redo")
MOST_NAME, MOST_UNDO = 200, 4096
_UNKNOWN = (STARTED, INTERRUPTED, UNDOING, UNDO_FAILED)
_SIGNALS = ("signal", "undo_signal")
# What of a start the step keeps.
_KEPT = ("command", "words", "undo")
Step = Mapping[str, Any]
EXECUTE, REPLAY, ASK, OTHER = "execute replay ask other".split()


def is_name(text: object) -> bool:
    """Whether this can name a step."""
    return isinstance(text, str) and 0 < len(text) <= MOST_NAME and text.isprintable()


def found(state: State, name: object) -> Step | None:
    """The step of this name; None when the run has none."""
    steps: Sequence[Step] = state.get("steps", ())
    return next((step for step in steps if step["name"] == name), None)


def tells_an_end(event: Event) -> bool:
    """Whether an event tells how something ended that had begun before."""
    return event.type == "run.step" and event.body.get("phase") in ("ended", "undone", "noted")


def taken(state: State, event: Event, is_open: bool) -> Patch | Problem:
    """Fold an event about a step.

    is_open: whether an attempt of the run is under way. That an event of an attempt comes
    from that one was looked at before.
    """
    phase = event.body.get("phase")
    if phase == "noted":
        return _noted(event)
    if phase == "handed_on":
        return _handed_on(state, event, is_open)
    name = event.body.get("name")
    if phase not in PHASES or not is_name(name):
        return Problem(event.event_id, "bad_data", f"phase is not one of {', '.join(PHASES)}")
    step = found(state, name)
    if phase == "started":
        after = _started(state, step, event)
    elif step is None:
        return Problem(event.event_id, "wrong_state", f"{state['run_id']} has no step {name}")
    elif phase in ("ended", "undone"):
        after = _ended(state, step, event)
    elif phase == "settled":
        after = _settled(state, step, event)
    else:
        after = _undoing(state, step, event, is_open)
    if isinstance(after, Problem):
        return after
    return {"steps": [*(one for one in state.get("steps", ()) if one["name"] != name), after]}


def _started(state: State, step: Step | None, event: Event) -> Step | Problem:
    body = event.body
    if not is_integer(body.get("attempt"), least=1):
        return Problem(event.event_id, "bad_data", "attempt is no number")
    if any(not isinstance(body.get(name, ""), str) for name in _KEPT):
        return Problem(event.event_id, "bad_data", f"one of {', '.join(_KEPT)} is no text")
    if state.get("cancel"):
        return _wrong(event, f"{state['run_id']} is being cancelled: no step of it begins")
    if "resumed_by" in state:
        return _wrong(event, _gone_on(state))
    status = step["status"] if step else ""
    may_begin = status in ("", REDO, UNDONE)
    may_begin |= status in (STARTED, INTERRUPTED) and body.get("idempotent") is True
    may_begin |= step is not None and has_failed(step) and body.get("again") is True
    if not may_begin:
        return _wrong(event, f"step {body['name']} is {status} already")
    kept = {name: body[name] for name in _KEPT if name in body}
    return {
        "name": body["name"], "status": STARTED, **kept, "attempt": body["attempt"],
        "agent_id": event.agent_id, "started_at_ms": event.time_ms, "start": event.event_id,
    }  # fmt: skip


def _ended(state: State, step: Step, event: Event) -> Step | Problem:
    """The result of a start, of the step or of its undo; of that start alone."""
    body = event.body
    expected, well, badly = (
        (STARTED, DONE, INTERRUPTED) if body["phase"] == "ended" else (UNDOING, UNDONE, UNDO_FAILED)
    )
    if step["status"] != expected or body.get("start") != step["start"]:
        return _wrong(event, f"step {step['name']} is {step['status']}, by another start")
    code, number = body.get("exit_code"), body.get("signal")
    is_exit = is_integer(code) and code <= 255
    if is_exit == is_integer(number, least=1):
        return Problem(event.event_id, "bad_data", "a result has an exit_code or a signal")
    is_well = is_exit and (expected == STARTED or code == 0)
    told = {"exit_code": code} if is_exit else {"signal": number}
    if expected == UNDOING:
        told = {f"undo_{name}": value for name, value in told.items()}
    else:
        told["result"] = event.event_id
    return {**step, **told, "status": well if is_well else badly, "ended_at_ms": event.time_ms}


def _settled(state: State, step: Step, event: Event) -> Step | Problem:
    """What a person says who has looked at what became of it."""
    how = event.body.get("as")
    if how not in SETTLED:
        return Problem(event.event_id, "bad_data", f"as is not one of {', '.join(SETTLED)}")
    if step["status"] not in _UNKNOWN:
        return _wrong(event, f"step {step['name']} is {step['status']}: there is no doubt")
    settled = {"status": REDO, "settled_by": event.agent_id, "ended_at_ms": event.time_ms}
    left = {name: value for name, value in step.items() if name not in _SIGNALS}
    if step["status"] in (UNDOING, UNDO_FAILED):
        return {**left, **settled, "status": UNDONE if how == "done" else DONE}
    if how == "redo":
        return {**left, **settled}
    return {**left, **settled, "status": DONE, "exit_code": 0, "result": event.event_id}


def _undoing(state: State, step: Step, event: Event, is_open: bool) -> Step | Problem:
    if is_open:
        return _wrong(event, f"{state['run_id']} has not ended")
    if state.get("resumed_by") != event.body.get("to"):
        return _wrong(event, _gone_on(state))
    if step["status"] not in (DONE, UNDO_FAILED) or has_failed(step) or "undo" not in step:
        return _wrong(event, f"step {step['name']} is {step['status']}, or has no undo")
    return {**step, "status": UNDOING, "start": event.event_id, "undo_at_ms": event.time_ms}


def _handed_on(state: State, event: Event, is_open: bool) -> Patch | Problem:
    to = event.body.get("to")
    if not isinstance(to, str):
        return Problem(event.event_id, "bad_data", "to is not a run")
    if is_open or "resumed_by" in state:
        return _wrong(event, _gone_on(state) if "resumed_by" in state else "it has not ended")
    return {"resumed_by": to}


def _noted(event: Event) -> Patch | Problem:
    loop = event.body.get("loop")
    if not isinstance(loop, Mapping):
        return Problem(event.event_id, "bad_data", "loop is not an object")
    return {"loop": {**loop, "at_ms": event.time_ms}}


def _wrong(event: Event, text: str) -> Problem:
    return Problem(event.event_id, "wrong_state", text)


def _gone_on(state: State) -> str:
    return f"the steps of {state['run_id']} went on with {state.get('resumed_by', 'no other run')}"


def has_failed(step: Step) -> bool:
    """Whether a step has ended, and badly."""
    return bool(step["status"] == DONE and step["exit_code"])


class Asked(NamedTuple):
    """A step as its caller asks for it.

    words: stands for the command. attempt: the one that asks.
    """

    name: str
    words: str
    attempt: int
    idempotent: bool = False
    again: bool = False


class Verdict(NamedTuple):
    """What to do about a step: execute it, tell it again, or ask somebody.

    state: the run that has it, which may be one that this run goes on with.
    """

    what: str
    state: State
    step: Step | None = None


def judge(lineage: Sequence[State], asked: Asked) -> Verdict:
    """What to do about a step that is asked for, when nobody executes it right now.

    lineage: the run, and those that it goes on with, the newest first.
    """
    for state in lineage:
        step = found(state, asked.name)
        # Who goes on with the steps of another run wants those that went wrong again.
        if step is not None and (state is lineage[0] or not has_failed(step)):
            return Verdict(_what(step, asked, state is lineage[0]), state, step)
    return Verdict(EXECUTE, lineage[0])


def _what(step: Step, asked: Asked, is_own: bool) -> str:
    if step["status"] == DONE:
        if has_failed(step) and asked.again:
            return EXECUTE
        # Another attempt may well name another temporary file; this one has its reasons.
        is_same = not (is_own and step["attempt"] == asked.attempt) or "words" not in step
        return REPLAY if is_same or step["words"] == asked.words else OTHER
    if step["status"] in (REDO, UNDONE):
        return EXECUTE
    may_repeat = step["status"] in (STARTED, INTERRUPTED) and asked.idempotent
    return EXECUTE if may_repeat else ASK


def to_undo(lineage: Sequence[State]) -> Iterator[tuple[State, Step]]:
    """What a rollback undoes, in its order: the newest result first, each with its run.

    Also what has an undo and is in doubt: at the first of these a rollback stops.
    """
    for state in lineage:
        for step in sorted(state.get("steps", ()), key=_when, reverse=True):
            if "undo" in step and (step["status"] in _UNKNOWN or _is_complete(step)):
                yield state, step


def _is_complete(step: Step) -> bool:
    return step["status"] == DONE and not has_failed(step)


def _when(step: Step) -> tuple[bool, str]:
    """Those without a result come last, and so are looked at first."""
    return step["status"] != DONE, step.get("result", step["start"])


def is_in_doubt(step: Step) -> bool:
    """Whether nobody knows how it, or its undo, ended."""
    is_broken_off = step["status"] == UNDO_FAILED and "undo_signal" in step
    return is_broken_off or step["status"] in (STARTED, INTERRUPTED, UNDOING)
