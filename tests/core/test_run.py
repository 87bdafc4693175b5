"""Runs: the fold of one run, outcomes, readiness, recovery."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import fold
from coord.core.run import life, outcome, ready, recovery, wanted
from coord.core.run import request as facts
from tests.strategies import LATE_MS, START_MS, bytes_of, event, examples, paused

RUN = "run-a"
TTL_MS = 1000


def requested(at: int = 0, by: str = "ada", run: str = RUN, **body: Any):
    """A request of `true`."""
    return event("run.requested", at, by, refs={"run_id": run}, body={"argv": ["true"], **body})


def claimed(at: int, by: str = "bo", fence: int = 1, ttl: int = TTL_MS, **parts: Any):
    """The claim of an attempt; its lease is named after the fence."""
    refs = {"run_id": RUN, "resource": f"run:{RUN}", "lease_id": f"lease-{fence}"}
    body = {"attempt": fence, "fence": fence, "ttl_ms": ttl, "expires_at_ms": START_MS + at + ttl,
            "confirmed": "host"}  # fmt: skip
    return event("run.claimed", at, by, refs=refs, body={**body, **parts})


def of_attempt(kind: str, at: int, by: str = "bo", fence: int = 1, **body: Any):
    """What happens to the attempt with this fence."""
    refs = {"run_id": RUN, "lease_id": f"lease-{fence}"}
    return event(f"run.{kind}", at, by, refs=refs, body={"attempt": fence, "fence": fence, **body})


def started(at: int, **parts: Any):
    return of_attempt("started", at, **parts)


def completed(at: int, how: str = "succeeded", **parts: Any):
    carried = {"succeeded": {"exit_code": 0}, "failed": {"exit_code": 1}, "signaled": {"signal": 9}}
    return of_attempt("completed", at, outcome=how, **{**carried.get(how, {}), **parts})


def cancelled(at: int, by: str = "ada"):
    return event("run.cancelled", at, by, refs={"run_id": RUN})


def folded(*events: Any) -> tuple[Any, list[str]]:
    """The run after these events, and the code of each problem."""
    done = fold.fold(events, LATE_MS)
    return done.states.get(f"run/{RUN}", {}), [problem.code for problem in done.problems]


def test_a_run_goes_from_its_request_to_its_outcome():
    state, codes = folded(requested(), claimed(1), started(2, pid=7), completed(3))

    assert (state["status"], state["outcome"], codes) == ("done", "succeeded", [])
    [attempt] = state["attempts"]
    assert (attempt["agent_id"], attempt["pid"], attempt["exit_code"]) == ("agent:bo", 7, 0)
    assert state["holds"] == []


ENDED = (requested(), claimed(1), completed(2))
STATES = {
    "": (),
    "queued": (requested(),),
    "claimed": (requested(), claimed(1)),
    "started": (requested(), claimed(1), started(2)),
    "cancelling": (requested(), claimed(1), cancelled(2)),
    "done": ENDED,
}
TYPES = {
    "run.requested": requested(9),
    "run.claimed": claimed(9, fence=2),
    "run.renewed": of_attempt("renewed", 9),
    "run.started": started(9),
    "run.completed": completed(9),
    "run.cancelled": cancelled(9),
}


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("kind", TYPES)
def test_an_event_that_no_transition_allows_is_a_problem_and_changes_nothing(
    status: str, kind: str
):
    """A claim of a run that is claimed is the arbiter's to judge, not the table's."""
    before, _ = folded(*STATES[status])
    after, codes = folded(*STATES[status], TYPES[kind])

    is_allowed = status in life.TRANSITIONS[kind]
    told = {name: after.get(name) for name in ("status", "outcome", "attempts")}
    was = {name: before.get(name) for name in ("status", "outcome", "attempts")}
    if not is_allowed:
        assert codes
        assert told == was


@pytest.mark.parametrize(
    ("spec", "how", "after"),
    [
        ({}, "failed", "done"),
        ({"retry": {"max": 1}}, "failed", "queued"),
        ({"retry": {"max": 1, "on": ["signaled"]}}, "failed", "done"),
        ({"retry": {"max": 1, "on": ["signaled"]}}, "signaled", "queued"),
        ({"retry": {"max": 1}}, "succeeded", "done"),
        ({"retry": {"max": 1}}, "cancelled", "done"),
        ({}, "lost", "done"),
        ({"idempotent": True}, "lost", "queued"),
        ({"idempotent": True, "crash_max": 0}, "lost", "done"),
    ],
)
def test_an_attempt_is_followed_by_another_only_as_its_request_allows(spec, how, after):
    state, _ = folded(requested(**spec), claimed(1), started(2), completed(3, how))

    assert state["status"] == after
    assert ("outcome" in state) == (after == "done")


def test_a_lost_attempt_that_never_began_is_repeated_within_the_crash_budget():
    events = [requested(crash_max=2)]
    for fence in (1, 2, 3):
        events += [
            claimed(10 * fence, fence=fence),
            completed(10 * fence + 1, "lost", fence=fence, begun=False),
        ]

    assert folded(*events[:5])[0]["status"] == "queued"
    assert folded(*events)[0]["outcome"] == "lost"


def test_the_pause_before_a_retry_doubles():
    retry = {"max": 3, "backoff_ms": 100}
    events = [requested(retry=retry), claimed(1), completed(2, "failed")]
    first, _ = folded(*events)
    second, _ = folded(*events, claimed(200, fence=2), completed(201, "failed", fence=2))

    assert first["again_at_ms"] == START_MS + 2 + 100
    assert second["again_at_ms"] == START_MS + 201 + 200


def test_a_late_event_of_an_older_attempt_is_kept_as_evidence_without_effect():
    state, codes = folded(
        requested(idempotent=True), claimed(1), completed(2, "lost"),
        claimed(3, fence=2), completed(4, "succeeded", fence=1), completed(5, "failed", fence=2),
    )  # fmt: skip

    assert state["outcome"] == "failed"
    assert codes == ["fenced"]
    [late] = state["late"]
    assert (late["attempt"], late["outcome"]) == (1, "succeeded")


def test_a_run_is_claimed_by_one_worker_even_of_the_same_agent():
    state, codes = folded(requested(), claimed(1), claimed(2, fence=2), claimed(3, "cy", fence=3))

    assert codes == ["held", "held"]
    assert [attempt["fence"] for attempt in state["attempts"]] == [1]


def test_whoever_knows_records_the_end_of_an_attempt():
    """The worker may have died; what counts is the attempt's fence."""
    state, codes = folded(requested(), claimed(1), completed(2, by="cy"))

    assert (state["outcome"], codes) == ("succeeded", [])
    assert state["attempts"][0]["told_by"] == "agent:cy"


def test_a_cancelled_run_is_cancelling_until_its_end_is_recorded():
    asked, _ = folded(requested(retry={"max": 3}), claimed(1), started(2), cancelled(3))
    ended, _ = folded(
        requested(retry={"max": 3}), claimed(1), started(2), cancelled(3), completed(4, "cancelled")
    )

    assert (asked["status"], "outcome" in asked) == ("cancelling", False)
    assert (ended["status"], ended["outcome"]) == ("done", "cancelled")


def test_a_run_that_nobody_has_started_is_cancelled_at_once():
    state, _ = folded(requested(), cancelled(1))

    assert (state["status"], state["outcome"]) == ("done", "cancelled")


@pytest.mark.parametrize(
    ("body", "is_queued"),
    [
        ({"outcome": "succeeded"}, False),
        ({"outcome": "succeeded", "exit_code": 1}, False),
        ({"outcome": "failed", "exit_code": 0}, False),
        ({"outcome": "failed"}, False),
        ({"outcome": "signaled"}, False),
        ({"outcome": "lost", "exit_code": 1}, False),
        ({"outcome": "infra_error", "exit_code": 127}, False),
        ({"outcome": "infra_error", "signal": 9}, False),
        ({"outcome": "expired"}, False),
        ({"outcome": "succeeded", "exit_code": 0}, True),
        ({"outcome": "lost"}, True),
        ({"outcome": "done"}, False),
        ({}, False),
    ],
)
def test_an_outcome_without_its_proof_is_none(body: Any, is_queued: bool):
    """No success without an exit record, no exit status of what did not exit."""
    assert outcome.fault_in(body, is_queued)


@pytest.mark.parametrize("how", outcome.OUTCOMES)
def test_every_outcome_can_be_told(how: str):
    carried = {"succeeded": {"exit_code": 0}, "failed": {"exit_code": 3}, "signaled": {"signal": 9}}
    body = {"outcome": how, **carried.get(how, {})}

    assert not outcome.fault_in(body, how in outcome.WITHOUT_ATTEMPT)


@pytest.mark.parametrize(
    ("how", "carried", "status"),
    [
        ("succeeded", {"exit_code": 0}, 0),
        ("failed", {"exit_code": 3}, 3),
        ("signaled", {"signal": 9}, 137),
        ("timed_out", {"signal": 15}, 124),
        ("infra_error", {}, 125),
        ("lost", {}, 125),
    ],
)
def test_the_exit_status_mirrors_the_command(how: str, carried: Any, status: int):
    state, _ = folded(requested(), claimed(1), completed(2, how, **carried))

    assert outcome.status_of(state) == status


class Known:
    """Other runs as a table of their endings, groups as the limits of who is in."""

    def __init__(self, endings: Any = None, taken: Any = (), pause: Any = None) -> None:
        self._endings, self._taken, self._pause = endings or {}, taken, pause

    def ending_of(self, run_id: str) -> str | None:
        return self._endings.get(run_id)

    def taken_in(self, _group: str) -> Any:
        return self._taken

    def pause_of(self, _agent_id: str) -> Any:
        return self._pause


def judged(known: Any = None, at: int = 10, labels: Any = (), **spec: Any) -> Any:
    state, _ = folded(requested(**spec))
    return ready.judge(state, START_MS + at, known or Known(), labels)


@pytest.mark.parametrize(
    ("on", "ended", "what"),
    [
        ("ok", "", "wait"), ("ok", None, "wait"), ("ok", "succeeded", "start"),
        ("ok", "failed", "skip"), ("ok", "lost", "skip"), ("any", "failed", "start"),
        ("any", "", "wait"), ("failed", "failed", "start"), ("failed", "timed_out", "start"),
        ("failed", "succeeded", "skip"),
    ],
)  # fmt: skip
def test_a_run_starts_after_what_it_comes_after(on: str, ended: str | None, what: str):
    endings = {} if ended is None else {"run-b": ended}

    assert judged(Known(endings), after=[{"run_id": "run-b", "on": on}]).what == what


@pytest.mark.parametrize(
    ("limit", "taken", "what"),
    [(1, [], "start"), (1, [1], "wait"), (2, [2], "start"), (2, [1], "wait"), (1, [5], "wait")],
)
def test_the_smallest_limit_of_a_group_counts(limit: int, taken: Any, what: str):
    assert judged(Known(taken=taken), group={"name": "gpu", "limit": limit}).what == what


@pytest.mark.parametrize(
    ("spec", "at", "what"),
    [
        ({"not_before_ms": START_MS + 10}, 9, "wait"),
        ({"not_before_ms": START_MS + 10}, 10, "start"),
        ({"expires_at_ms": START_MS + 10}, 9, "start"),
        ({"expires_at_ms": START_MS + 10}, 10, "expire"),
        ({"timeouts": {"queue_ms": 10}}, 9, "start"),
        ({"timeouts": {"queue_ms": 10}}, 10, "expire"),
    ],
)
def test_a_run_starts_within_its_time(spec: Any, at: int, what: str):
    assert judged(at=at, **spec).what == what


def test_a_run_needs_all_its_labels():
    assert judged(labels=["gpu"], requires=["gpu", "linux"]).what == "wait"
    assert judged(labels=["gpu", "linux", "x"], requires=["gpu", "linux"]).what == "start"


def test_what_a_paused_agent_asked_for_is_not_started():
    assert judged(Known(pause={"by": "human:cy", "why": "no"})).what == "wait"


def test_a_paused_worker_claims_nothing():
    state, codes = folded(requested(), paused("agent:bo", 1), claimed(2))

    assert (state["status"], codes) == ("queued", ["paused"])


STARTED = STATES["started"]
RECORD = {"outcome": "failed", "exit_code": 4, "run_id": RUN, "logs": {"bytes": 3}}


@pytest.mark.parametrize(
    ("events", "known", "action", "body"),
    [
        (STARTED, {"is_alive": True, "exit": RECORD}, "adopt", {}),
        (STARTED, {"exit": RECORD, "tree_lives": True}, "complete",
         {"outcome": "failed", "exit_code": 4, "logs": {"bytes": 3}}),
        (STARTED, {"tree_lives": True, "begun": True}, "end", {}),
        (STATES["cancelling"], {"begun": True}, "complete", {"outcome": "cancelled"}),
        (STARTED, {}, "complete",
         {"outcome": "lost", "begun": True, "reason": "the shim died"}),
        (STATES["claimed"], {"begun": True}, "complete",
         {"outcome": "lost", "begun": True, "reason": "the shim died"}),
        (STATES["claimed"], {}, "complete",
         {"outcome": "lost", "begun": False,
          "reason": "the worker died before the command began"}),
    ],
)  # fmt: skip
def test_recovery_is_a_closed_table_over_facts(events, known, action, body):
    state, _ = folded(*events)

    assert recovery.decide(state, recovery.Facts(**{"is_alive": False, **known})) == (action, body)


@pytest.mark.parametrize(
    "body",
    [
        {}, {"argv": []}, {"argv": [""]}, {"argv": ["a\0"]}, {"argv": ["a"], "shell": "b"},
        {"shell": " "}, {"argv": ["a"], "cwd": "/"}, {"argv": ["a"], "cwd": "a/../.."},
        {"argv": ["a"], "env": {"A=": "x"}}, {"argv": ["a"], "priority": 5},
        {"argv": ["a"], "priority": True}, {"argv": ["a"], "group": {"name": "g", "limit": 0}},
        {"argv": ["a"], "after": [{"run_id": "x"}]}, {"argv": ["a"], "timeouts": {"wall_ms": 0}},
        {"argv": ["a"], "retry": {"on": ["lost"]}}, {"argv": ["a"], "requires": [""]},
    ],
)  # fmt: skip
def test_a_request_that_means_nothing_is_refused(body: Any):
    assert wanted.fault_in(body)


def test_a_repeated_run_does_not_wait_for_what_it_waited_for():
    state, _ = folded(requested(title="t", not_before_ms=5, after=[]))

    assert facts.again(state) == {"argv": ["true"], "title": "t", "retry_of": RUN}


def test_a_command_is_shown_as_a_shell_would_read_it():
    assert wanted.shown({"argv": ["a", "b c", "d'e", ""]}) == """a 'b c' 'd'"'"'e' ''"""


KINDS = st.sampled_from([
    "requested", "claimed", "renewed", "started", "completed", "cancelled",
])  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Events of one run that know little of each other."""
    events = [requested(retry={"max": 2}, idempotent=draw(st.booleans()))]
    for nth in range(draw(st.integers(0, 10))):
        kind, at = draw(KINDS), draw(st.integers(0, 6))
        fence, by = draw(st.integers(1, 3)), draw(st.sampled_from(["ada", "bo"]))
        if kind == "requested":
            events.append(requested(at))
        elif kind == "claimed":
            events.append(claimed(at, by, fence, ttl=draw(st.sampled_from([2, 1000]))))
        elif kind == "cancelled":
            events.append(cancelled(at))
        elif kind == "completed":
            how = draw(st.sampled_from(outcome.OUTCOMES))
            events.append(completed(at, how, by=by, fence=fence))
        else:
            events.append(of_attempt(kind, at, by, fence))
        # Two events of one instant are still two.
        made = events[-1]
        event_id = made.event_id[:-2] + f"{nth:02d}"
        raw = {**made.raw, "event_id": event_id}
        events[-1] = made._replace(event_id=event_id, raw=raw)
    return events


@examples(200)
@given(histories(), st.randoms(use_true_random=False))
def test_any_order_of_arrival_gives_the_same_run_and_it_ends_once(events: list[Any], chance: Any):
    shuffled = [*events, *events[:2]]
    chance.shuffle(shuffled)

    one, other = fold.fold(events, LATE_MS), fold.fold(shuffled, LATE_MS)
    state = one.states.get(f"run/{RUN}", {})
    assert bytes_of(one.states) == bytes_of(other.states)
    assert ("outcome" in state) == (state.get("status") == "done")
    assert sum("outcome" not in a for a in state.get("attempts", ())) == (
        state.get("status") in life.OPEN
    )
