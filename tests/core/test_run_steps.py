"""Steps of a run: their fold, what to do when one is asked for, what a rollback undoes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import fold
from coord.core.run import life, steps
from tests.strategies import LATE_MS, START_MS, bytes_of, event

RUN = "run-a"


def requested(**body: Any):
    return event("run.requested", 0, "ada", refs={"run_id": RUN}, body={"argv": ["x"], **body})


def claimed(at: int, fence: int = 1):
    refs = {"run_id": RUN, "resource": f"run:{RUN}", "lease_id": f"lease-{fence}"}
    body = {"attempt": fence, "fence": fence, "ttl_ms": 1000, "confirmed": "host",
            "expires_at_ms": START_MS + at + 1000}  # fmt: skip
    return event("run.claimed", at, "bo", refs=refs, body=body)


def completed(at: int, fence: int = 1, how: str = "failed", **body: Any):
    told = {"failed": {"exit_code": 1}, "lost": {"begun": True}}[how]
    return of_attempt("run.completed", at, fence, outcome=how, **told, **body)


def of_attempt(kind: str, at: int, fence: int = 1, **body: Any):
    refs = {"run_id": RUN, "lease_id": f"lease-{fence}"}
    return event(kind, at, "ada", refs=refs, body={"attempt": fence, "fence": fence, **body})


def began(at: int, name: str = "one", fence: int = 1, **body: Any):
    return of_attempt("run.step", at, fence, phase="started", name=name, words="w", **body)


def ended(at: int, start: Any, fence: int = 1, **body: Any):
    result = {"exit_code": 0} if "signal" not in body else {}
    told = {"phase": "ended", "name": start.body["name"], "start": start.event_id}
    return of_attempt("run.step", at, fence, **told, **{**result, **body})


def of_run(at: int, phase: str, name: str = "one", **body: Any):
    refs, told = {"run_id": RUN}, {"phase": phase, "name": name, **body}
    return event("run.step", at, "kim", refs=refs, body=told)


def folded(*events: Any) -> tuple[Any, list[str]]:
    """The run after these events, and the code of each problem."""
    done = fold.fold(events, LATE_MS)
    return done.states.get(f"run/{RUN}", {}), [problem.code for problem in done.problems]


OPEN = (requested(), claimed(1))
ONE = began(2)
DONE = (*OPEN, ONE, ended(3, ONE))
UNDOABLE = began(2, undo="./undo")
OVER = (*OPEN, UNDOABLE, ended(3, UNDOABLE), completed(4))
UNDO = of_run(5, "undoing")


def undone(at: int, start: Any, **body: Any):
    return of_run(at, "undone", start=start.event_id, **body)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ((*OPEN, ONE), "started"),
        (DONE, "done"),
        ((*OPEN, ONE, ended(3, ONE, exit_code=3)), "done"),
        ((*OPEN, ONE, ended(3, ONE, signal=9)), "interrupted"),
        ((*OPEN, ONE, of_run(3, "settled", **{"as": "done"})), "done"),
        ((*OPEN, ONE, of_run(3, "settled", **{"as": "redo"})), "redo"),
        ((*OPEN, ONE, of_run(3, "settled", **{"as": "redo"}), began(4)), "started"),
        ((*OPEN, ONE, began(3, idempotent=True)), "started"),
        ((*OVER, UNDO), "undoing"),
        ((*OVER, UNDO, undone(6, UNDO, exit_code=0)), "undone"),
        ((*OVER, UNDO, undone(6, UNDO, exit_code=1)), "undo_failed"),
        ((*OVER, UNDO, of_run(6, "settled", **{"as": "done"})), "undone"),
        ((*OVER, UNDO, of_run(6, "settled", **{"as": "redo"})), "done"),
    ],
)
def test_where_a_step_stands(events, status):
    state, codes = folded(*events)

    assert ([step["status"] for step in state["steps"]], codes) == ([status], [])


@pytest.mark.parametrize(
    ("events", "code"),
    [
        ((*OPEN, ONE, began(3)), "wrong_state"),
        ((*DONE, began(4)), "wrong_state"),
        ((*DONE, began(4, idempotent=True)), "wrong_state"),
        ((*DONE, ended(4, ONE, exit_code=1)), "wrong_state"),
        ((*OPEN, ended(3, ONE)), "wrong_state"),
        ((*OPEN, ONE, ended(3, ONE, signal=9, exit_code=1)), "bad_data"),
        ((*DONE, of_run(4, "settled", **{"as": "redo"})), "wrong_state"),
        ((*OPEN, ONE, of_run(3, "settled", **{"as": "no"})), "bad_data"),
        ((*OPEN, of_run(2, "dreamt")), "bad_data"),
        ((*OPEN, began(2, name="")), "bad_data"),
        ((*OPEN, UNDOABLE, ended(3, UNDOABLE), UNDO), "wrong_state"),
        ((*DONE, completed(4), UNDO), "wrong_state"),
        ((*OVER, of_run(5, "handed_on", to="run-b"), of_run(6, "undoing")), "wrong_state"),
        ((*OVER, *[of_run(n, "handed_on", to="run-b") for n in (5, 6)]), "wrong_state"),
        ((of_run(1, "undoing"),), "unknown_run"),
    ],
)
def test_what_no_transition_allows_is_a_problem_and_changes_nothing(events, code):
    before, _ = folded(*events[:-1])

    after, codes = folded(*events)

    assert codes == [code]
    assert {**after, "last": ""} == {**before, "last": ""} or not before


def test_an_event_of_an_attempt_that_is_over_is_evidence_without_effect():
    late = ended(5, ONE)

    state, codes = folded(requested(idempotent=True), claimed(1), ONE, completed(3, how="lost"),
                          claimed(4, fence=2), late)  # fmt: skip

    assert codes == ["fenced"]
    assert [step["status"] for step in state["steps"]] == ["started"]
    assert [entry["phase"] for entry in state["late"]] == ["ended"]


def test_no_step_begins_in_a_run_that_is_being_cancelled():
    cancel = event("run.cancelled", 3, "ada", refs={"run_id": RUN})

    state, codes = folded(*OPEN, ONE, cancel, began(4, name="two"), ended(5, ONE))

    assert codes == ["wrong_state"]
    assert [(step["name"], step["status"]) for step in state["steps"]] == [("one", "done")]


def asked(**parts: Any) -> steps.Asked:
    return steps.Asked(**{"name": "one", "words": "w", "attempt": 1, **parts})


@pytest.mark.parametrize(
    ("events", "how", "what"),
    [
        (OPEN, {}, steps.EXECUTE),
        (DONE, {}, steps.REPLAY),
        (DONE, {"words": "other"}, steps.OTHER),
        (DONE, {"words": "other", "attempt": 2}, steps.REPLAY),
        ((*OPEN, ONE, ended(3, ONE, exit_code=3)), {}, steps.REPLAY),
        ((*OPEN, ONE, ended(3, ONE, exit_code=3)), {"again": True}, steps.EXECUTE),
        ((*OPEN, ONE), {}, steps.ASK),
        ((*OPEN, ONE), {"idempotent": True}, steps.EXECUTE),
        ((*OPEN, ONE, ended(3, ONE, signal=9)), {}, steps.ASK),
        ((*OPEN, ONE, of_run(3, "settled", **{"as": "redo"})), {}, steps.EXECUTE),
        ((*OPEN, ONE, of_run(3, "settled", **{"as": "done"})), {}, steps.REPLAY),
        ((*OVER, UNDO), {"idempotent": True}, steps.ASK),
        ((*OVER, UNDO, undone(6, UNDO, exit_code=0)), {}, steps.EXECUTE),
    ],
)
def test_what_is_done_about_a_step_that_is_asked_for(events, how, what):
    state, _ = folded(*events)

    assert steps.judge([state], asked(**how)).what == what


def test_who_resumes_a_run_takes_over_what_went_well():
    well, _ = folded(*DONE)
    badly, _ = folded(*OPEN, ONE, ended(3, ONE, exit_code=3))
    own = {"run_id": "run-b"}

    assert steps.judge([own, well], asked()).what == steps.REPLAY
    assert steps.judge([own, badly], asked()).what == steps.EXECUTE


def test_a_rollback_undoes_the_newest_result_first():
    """The order is that of the results, not of the starts."""
    one, two, three = (began(n, name=f"s{n}", undo="u") for n in (2, 3, 4))
    bare = began(8, name="bare")
    state, codes = folded(*OPEN, one, two, three, ended(5, two), ended(6, one), ended(7, three),
                          bare, ended(9, bare))  # fmt: skip

    assert not codes
    assert [step["name"] for _, step in steps.to_undo([state])] == ["s4", "s2", "s3"]


BODIES = st.fixed_dictionaries(
    {"phase": st.sampled_from([*steps.PHASES, "other", 7])},
    optional={
        "name": st.sampled_from(["one", "two", "", 3]),
        "attempt": st.sampled_from([1, 2, "x"]),
        "fence": st.sampled_from([1, 2]),
        "as": st.sampled_from(["done", "redo", None]),
        "start": st.sampled_from([ONE.event_id, UNDO.event_id, 4]),
        "exit_code": st.sampled_from([0, 1, 256, "0"]),
        "signal": st.sampled_from([9, "x"]),
        "undo": st.sampled_from(["u", 5]),
        "to": st.sampled_from(["run-b", 1]),
        "loop": st.sampled_from([{"reason": "until"}, 3]),
        "idempotent": st.booleans(),
        "again": st.booleans(),
    },
)


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Whatever may be said about the steps of a run, true or not."""
    drawn = draw(
        st.lists(st.tuples(BODIES, st.sampled_from(["", "lease-1", "lease-2"])), max_size=9)
    )
    told = [
        event("run.step", n, "ada", body=body,
              refs={"run_id": RUN, **({"lease_id": lease_id} if lease_id else {})})
        for n, (body, lease_id) in enumerate(drawn, start=3)
    ]  # fmt: skip
    end = [completed(draw(st.integers(20, 22)))] if draw(st.booleans()) else []
    return [*OPEN, *draw(st.sampled_from([(), (ONE,), (UNDOABLE,)])), *told, *end]


@given(histories(), st.randoms())
def test_whatever_is_said_the_fold_says_the_same_in_any_order(events, chance):
    """Bad data is a problem, never a crash; a name stands for one step."""
    mixed = [*events, *chance.sample(events, min(2, len(events)))]
    chance.shuffle(mixed)

    state, _ = folded(*events)

    assert bytes_of(folded(*mixed)) == bytes_of(folded(*events))
    names = [step["name"] for step in state.get("steps", ())]
    assert len(names) == len(set(names))
    assert state["status"] in (*life.OPEN, life.DONE)
    assert all(step["status"] in steps.STATUSES for step in state.get("steps", ()))
    for step in state.get("steps", ()):
        steps.judge([state], asked(name=step["name"]))
    [*steps.to_undo([state])]
