"""The table of recovery, and what an attempt's end leads to where its work persists."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.run import outcome, recovery
from coord.core.run.recovery import Facts, Work

COMMIT = "c" * 40
LOOSE = Work(is_loose=True, workspace="w1")


def run_state(status="started", begun=True, **spec):
    """A run with one open attempt."""
    attempt = {"attempt": 1, "lease_id": "lease-1", "fence": 1, "agent_id": "agent:ada"}
    if begun:
        attempt["started_at_ms"] = 5
    return {
        "run_id": "run-a",
        "status": status,
        "spec": {"argv": ["x"], **spec},
        "attempts": [attempt],
    }


def again(state, body):
    """Whether another attempt follows a completion."""
    attempt = {**state["attempts"][-1], **body}
    after = {**state, "attempts": [attempt], "crashes": int(body["outcome"] == "lost")}
    return outcome.goes_on(after, attempt)


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (Facts(is_alive=True, exit={"outcome": "failed"}, work=LOOSE), "adopt"),
        (Facts(is_alive=False, exit={"outcome": "failed"}, tree_lives=True), "complete"),
        (Facts(is_alive=False, tree_lives=True, begun=True, work=LOOSE), "end"),
        (Facts(is_alive=False, begun=True, work=LOOSE), "save"),
        (Facts(is_alive=False, begun=True, work=Work(commit=COMMIT, is_loose=True)), "save"),
        (Facts(is_alive=False, begun=True, work=Work(commit=COMMIT)), "complete"),
        (Facts(is_alive=False, begun=True), "complete"),
        (Facts(is_alive=False), "complete"),
    ],
)
def test_the_first_row_of_the_table_that_fits_decides(facts, action):
    assert recovery.decide(run_state(), facts)[0] == action


@pytest.mark.parametrize("is_idempotent", [True, False])
def test_work_that_is_on_a_ref_is_never_done_again(is_idempotent):
    """And is no success, for nobody knows how the command ended."""
    state = run_state(idempotent=is_idempotent, retry={"max": 5})

    _, body = recovery.decide(
        state, Facts(is_alive=False, begun=True, work=Work(commit=COMMIT, workspace="w1"))
    )

    assert (body["outcome"], body["commit"]) == ("lost", COMMIT)
    assert COMMIT[:12] in body["reason"]
    assert not again(state, body)


@pytest.mark.parametrize(("is_idempotent", "follows"), [(True, True), (False, False)])
def test_loose_work_is_saved_and_done_again_only_where_that_does_no_harm(is_idempotent, follows):
    state = run_state(idempotent=is_idempotent)
    saved = Work(saved="refs/coord/salvage/run-a", workspace="w1", is_kept=True)

    _, body = recovery.decide(state, Facts(is_alive=False, begun=True, work=saved))

    assert (body["salvage"], body["kept"]) == (saved.saved, "w1")
    assert again(state, body) is follows


def test_what_could_not_be_saved_is_said():
    work = Work(workspace="w1", is_kept=True, fault="git ended with 1")

    _, body = recovery.decide(run_state(), Facts(is_alive=False, begun=True, work=work))

    assert (body["kept"], "git ended with 1" in body["reason"]) == ("w1", True)


def test_a_cancelled_run_stays_cancelled_and_says_its_commit():
    work = Work(commit=COMMIT, saved="refs/coord/salvage/run-a")

    _, body = recovery.decide(run_state("cancelling"), Facts(is_alive=False, begun=True, work=work))

    assert body == {"outcome": "cancelled", "commit": COMMIT, "salvage": work.saved}


@given(
    st.sampled_from(["claimed", "started", "cancelling"]),
    st.builds(
        Facts,
        is_alive=st.booleans(),
        exit=st.none(),
        tree_lives=st.booleans(),
        begun=st.booleans(),
        work=st.none() | st.builds(Work, commit=st.sampled_from(["", COMMIT]),
                                   is_loose=st.booleans(), fault=st.sampled_from(["", "x"])),
    ),
    st.booleans(),
)  # fmt: skip
def test_whatever_is_true_nothing_is_recorded_before_loose_work_is_saved(status, facts, repeats):
    """And what is recorded is a completion that the fold takes, never a success."""
    state = run_state(status, begun=status == "started", idempotent=repeats)

    action, body = recovery.decide(state, facts)

    assert (action == "complete") == bool(body)
    if body:
        assert not facts.is_alive
        assert not facts.tree_lives
        assert not (facts.work or Work()).is_loose
        assert outcome.fault_in(body, is_queued=False) == ""
        assert body["outcome"] in ("lost", "cancelled")


@pytest.mark.parametrize("code", [{"exit_code": 0}, {"signal": 9}, {}])
def test_a_command_that_wrote_what_it_must_not_keeps_how_it_exited(code):
    assert outcome.fault_in({"outcome": "refused", **code}, is_queued=False) == ""


@pytest.mark.parametrize("code", [{"exit_code": 0}, {"exit_code": 3}, {"signal": 15}, {}])
@pytest.mark.parametrize("how", ["timed_out", "cancelled", "refused", "infra_error"])
def test_however_a_command_ended_that_was_made_to_end_it_is_recorded(how, code):
    """An end that cannot be recorded would stop every worker that looks at it."""
    body = recovery.recorded({"outcome": how, "reason": "its time was over", **code})

    assert outcome.fault_in(body, is_queued=False) == ""
    assert (body["outcome"], body["reason"]) == (how, "its time was over")
