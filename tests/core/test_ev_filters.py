"""Which events a reader wants, from where on, and at what pace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import ev
from coord.core import event as events
from coord.core.ev import Filter
from coord.errors import Refusal
from tests.strategies import START_MS, id_at, raw

CLAIMED = raw(
    "work.claimed",
    at=5,
    by="ada",
    refs={"work_id": "wk-a", "thread_id": "th-1", "run_id": "run-1"},
    body={"why": "Because of the Größe", "ttl_ms": 1000, "parts": [{"deep": True}, None]},
)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(types=("work.claimed",)),
        Filter(types=("work.*",)),
        Filter(types=("*",)),
        Filter(types=("lease.*", "*.claimed")),
        Filter(types=("work.[a-c]*",)),
        Filter(agent_id="agent:ada"),
        Filter(work_id="wk-a"),
        Filter(thread_id="th-1"),
        Filter(run_id="run-1"),
        Filter(since_id=id_at(5)),
        Filter(until_id=id_at(6)),
        Filter(grep="because of"),
        Filter(grep="GRÖSSE"),
        Filter(grep="1000"),
        Filter(grep="true"),
        Filter(grep="null"),
        Filter(grep="wk-a"),
        Filter(types=("work.*",), agent_id="agent:ada", work_id="wk-a", grep="größe"),
    ],
)
def test_an_event_is_wanted_when_every_part_that_is_given_matches(wanted):
    assert wanted.matches(CLAIMED)


@pytest.mark.parametrize(
    "wanted",
    [
        Filter(types=("work",)),
        Filter(types=("Work.*",)),
        Filter(types=("lease.*", "msg.*")),
        Filter(agent_id="ada"),
        Filter(agent_id="agent:bo"),
        Filter(work_id="wk"),
        Filter(thread_id="th-2"),
        Filter(run_id="run-2"),
        Filter(since_id=id_at(5, 1)),
        Filter(until_id=id_at(5)),
        Filter(grep="ttl_ms"),
        Filter(grep="because.of"),
        Filter(types=("work.*",), agent_id="agent:bo"),
    ],
)
def test_one_part_that_does_not_match_is_enough_to_leave_an_event_out(wanted):
    """Keys are not searched, and grep takes no sign for another."""
    assert not wanted.matches(CLAIMED)


def test_an_event_that_refers_to_nothing_is_wanted_only_without_refs():
    line = {key: value for key, value in raw("build.done").items() if key not in ("refs", "body")}

    assert Filter(types=("build.*",)).matches(line)
    assert not Filter(work_id="wk-a").matches(line)


def test_since_is_included_and_until_is_not():
    lines = [raw("a.b", at) for at in range(5)]
    wanted = Filter(since_id=id_at(1), until_id=id_at(3))

    kept = [line for line in lines if wanted.matches(line)]

    assert [line["event_id"] for line in kept] == [id_at(1), id_at(2)]


def test_however_deep_a_body_goes_it_can_be_searched():
    body = {"deep": "needle"}
    for _ in range(10_000):
        body = {"deep": body}

    assert Filter(grep="needle").matches(raw("a.b", body=body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (id_at(3, 7), id_at(3, 7)),
        (f" {id_at(3, 7).lower()} ", id_at(3, 7)),
        ("2026-01-01T09:00:00Z", events.first_id_at(START_MS)),
        ("now", events.first_id_at(START_MS + 60_000)),
        ("1m", events.first_id_at(START_MS)),
        ("1m ago", events.first_id_at(START_MS)),
        ("in 1m", events.first_id_at(START_MS + 120_000)),
    ],
)
def test_a_boundary_is_an_event_id_or_the_first_id_of_an_instant(text, expected):
    assert ev.boundary(text, START_MS + 60_000) == expected


@pytest.mark.parametrize("text", ["", "soon", id_at(0)[:-1], id_at(0) + "0", "8" * 26, "start"])
def test_what_is_no_boundary_is_refused(text):
    with pytest.raises(Refusal) as refused:
        ev.boundary(text, START_MS)

    assert refused.value.code == "usage"


@given(st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**80 - 1))
def test_an_event_is_past_the_boundary_of_an_instant_when_it_is_not_before_it(at_ms, then_ms, rest):
    event_id = events.encode_id(at_ms, rest)

    wanted = Filter(since_id=events.first_id_at(then_ms))

    assert wanted.matches(raw("a.b", event_id=event_id)) == (at_ms >= then_ms)


@pytest.mark.parametrize("value", [{}, {"wk/agent-bo.a2b3c4": 0, "ev/agent-bo.a2b3c4": 17}])
def test_a_cursor_names_journals_and_numbers(value):
    assert ev.as_cursor(value) == value


@pytest.mark.parametrize(
    "value",
    [
        None, [], 5, "wk/a.b",
        {"wk/a.b": -1}, {"wk/a.b": "1"}, {"wk/a.b": True}, {"wk/a.b": 1.0}, {"wk/a.b": None},
        {"nowhere/a.b": 1}, {"wk": 1}, {"wk/": 1}, {"wk/a/b": 1}, {"": 1}, {1: 1},
    ],
)  # fmt: skip
def test_what_names_no_journal_or_no_number_is_no_cursor(value):
    assert ev.as_cursor(value) is None


def test_a_replay_keeps_the_pauses_divided_by_the_speed():
    """The first event comes at once; one that is not later than all before has no pause."""
    lines = [raw("a.b", at) for at in (1000, 1500, 1500, 1200, 3500)]

    paused = list(ev.replay_pauses(lines, speed=2))

    assert [pause_s for pause_s, _ in paused] == [0, 0.25, 0, 0, 1.0]
    assert [line for _, line in paused] == lines


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_replay_at_a_speed_that_is_none_is_refused(speed):
    """At once, not when the first event is asked for."""
    with pytest.raises(Refusal) as refused:
        ev.replay_pauses([], speed)

    assert refused.value.code == "usage"
