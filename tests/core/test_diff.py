"""The state at an earlier point, and what changed between two."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import diff, event, fold
from coord.edge import index
from coord.edge.index import past
from coord.errors import Refusal
from tests import strategies as some
from tests.strategies import LATE_MS, START_MS, Files

CROWD = st.sampled_from(list(some.CROWDS.values()))
HISTORIES = CROWD.flatmap(some.histories)


def of_items_and_agents(states):
    """Without the settings, which nobody materializes."""
    return {name: state for name, state in states.items() if not name.startswith("config/")}


def points_in(data, lines):
    """Ids of two of the events, the older first."""
    ids = sorted({line["event_id"] for line in lines})
    return sorted(data.draw(st.tuples(st.sampled_from(ids), st.sampled_from(ids))))


@given(HISTORIES, st.data())
def test_the_state_at_an_event_is_the_fold_of_all_up_to_and_with_it(lines, data):
    """From the index, which has folded what came after it too."""
    first, second = points_in(data, lines)
    with tempfile.TemporaryDirectory() as folder:
        Files(Path(folder)).append(lines)
        with index.opened(folder, LATE_MS) as known:
            found = {
                at: past.states(known, diff.point(at, LATE_MS).before) for at in (first, second)
            }

    for at, states in found.items():
        prefix = sorted((e for e in lines if e["event_id"] <= at), key=lambda e: e["event_id"])
        expected = of_items_and_agents(fold.fold(some.of(prefix), LATE_MS).states)
        assert some.bytes_of(sorted(states.items())) == some.bytes_of(sorted(expected.items()))


@given(HISTORIES, st.data(), st.sampled_from(list(diff.NAMES)))
def test_a_diff_applied_to_the_first_state_gives_the_second(lines, data, what):
    """Backward too: then items vanish."""
    points = [diff.point(at, LATE_MS) for at in points_in(data, lines)]
    rows = []
    for point in points:
        earlier = some.of(line for line in lines if line["event_id"] < point.before)
        rows.append(diff.rows_of(what, fold.fold(earlier, LATE_MS).states, point.now_ms))

    for before, after in (rows, rows[::-1]):
        changes = list(diff.diff(diff.NAMES[what], before, after))
        assert diff.apply_diff(diff.NAMES[what], before, changes) == after
        assert bool(changes) == (before != after)


def test_a_diff_says_what_came_went_and_changed():
    before = {"a": {"work_id": "a", "title": "x"}, "b": {"work_id": "b", "due_ms": 1, "n": 1}}
    after = {"b": {"work_id": "b", "n": 2, "title": "y"}, "c": {"work_id": "c"}}

    rows = list(diff.diff("work_id", before, after))

    assert rows == [
        {
            "work_id": "a",
            "change": "removed",
            "fields": {"title": {"from": "x"}, "work_id": {"from": "a"}},
        },
        {
            "work_id": "b",
            "change": "changed",
            "fields": {"due_ms": {"from": 1}, "n": {"from": 1, "to": 2}, "title": {"to": "y"}},
        },
        {"work_id": "c", "change": "added", "fields": {"work_id": {"to": "c"}}},
    ]


def test_a_point_at_an_event_includes_it_and_nothing_later():
    at = diff.point(some.id_at(5), LATE_MS)

    assert some.id_at(5) < at.before < some.id_at(5, 1)
    assert at.now_ms == START_MS + 5


def test_a_point_at_an_instant_includes_its_whole_millisecond():
    at = diff.point("1h ago", START_MS + 3_600_000)

    assert some.id_at(0, 2**80 - 1) < at.before == some.id_at(1)
    assert event.time_of(at.before) == at.now_ms + 1


def test_what_had_expired_is_judged_as_of_the_point():
    events = [some.created(at=0), some.claimed("ada", 1, ttl=10)]
    states = fold.fold(events, LATE_MS).states

    statuses = [diff.rows_of("work", states, START_MS + at)["wk-a"]["status"] for at in (10, 11)]

    assert statuses == ["claimed", "open"]


def test_what_is_no_point_is_refused():
    with pytest.raises(Refusal, match="no event id and no instant"):
        diff.point("then", LATE_MS)
