"""When a rule is due, for whom, and that everybody says the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.msg import reminding
from tests.core.test_msg import ADA, BO, CY, SENT, folded, rule, sent, told
from tests.strategies import START_MS, id_at

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def made(about=None, *more, **parts):
    """The state of a rule made at 1, every 10 ms, at most 3 times."""
    return folded(sent(), rule(1, about=about, **parts), *more)[0][f"msg/{id_at(1)}"]


def due_at(state, *instants):
    return [reminding.number_due(state, START_MS + at) for at in instants]


def test_the_nth_is_due_after_n_spans_and_there_are_so_many():
    assert due_at(made(), 0, 10, 11, 20, 21, 31, 41, 9999) == [0, 0, 1, 1, 2, 3, 3, 3]


def test_a_suppressed_rule_is_due_no_more_and_a_snoozed_one_later():
    stopped = made(None, told("suppressed", 5, message_id=id_at(1)))
    later = made(None, told("snoozed", 5, message_id=id_at(1), until_ms=START_MS + 25))

    assert due_at(stopped, 11, 99) == [0, 0]
    assert due_at(later, 11, 24, 25) == [0, 0, 2]


@pytest.mark.parametrize(
    ("text", "hour", "is_quiet"),
    [
        ("22:00-07:00", 21, False), ("22:00-07:00", 22, True), ("22:00-07:00", 3, True),
        ("22:00-07:00", 7, False), ("09:00-17:00", 12, True), ("09:00-17:00", 18, False),
        ("22:00-07:00+02:00", 20, True), ("22:00-07:00+02:00", 5, False),
        ("22:00-07:00-05:30", 4, True), ("8:00-8:00", 8, False),
    ],
)  # fmt: skip
def test_quiet_hours_may_go_past_midnight_and_lie_in_any_time_zone(text, hour, is_quiet):
    quiet = reminding.parse_quiet(text)

    assert quiet is not None
    assert reminding.is_quiet(quiet, hour * HOUR_MS) == is_quiet


@pytest.mark.parametrize("text", ["", "22-7", "24:00-07:00", "22:00-07:60", "22:00-07:00+15:00"])
def test_what_are_no_quiet_hours(text):
    assert reminding.parse_quiet(text) is None


def to_whom(*more, at=15, **parts):
    """Who is reminded of the message at an instant."""
    states, _ = folded(sent(cc=[CY], **parts), rule(1), *more)
    found = reminding.of_message(states[f"msg/{id_at(1)}"], states[f"msg/{SENT}"], START_MS + at)
    return [due.to for due in found]


def test_who_has_not_acknowledged_is_reminded_where_that_was_asked_for():
    assert to_whom(ack="required") == [BO, CY]
    assert to_whom(told("read", 5), ack="required") == [BO, CY]
    assert to_whom(told("acked", 5), ack="wanted") == [CY]


def test_who_has_not_read_is_reminded_where_no_acknowledgement_was_asked_for():
    assert to_whom(told("read", 5)) == [CY]
    assert to_whom(told("read", 5), told("acked", 6, by=CY)) == []


def test_whoever_snoozed_or_suppressed_a_message_is_left_alone():
    assert to_whom(told("suppressed", 5)) == [CY]
    assert to_whom(told("suppressed", 5, by="ada")) == []
    assert to_whom(told("snoozed", 5, until_ms=START_MS + 20)) == [CY]
    assert to_whom(told("snoozed", 5, until_ms=START_MS + 20), at=20) == [BO, CY]


def test_nobody_is_reminded_of_what_has_expired():
    assert to_whom(expires_at_ms=START_MS + 15) == []


def test_reminders_of_an_item_follow_its_claim_and_stop_when_it_closes():
    state = made({"work_id": "wk-a"})

    for status, holder, assignee, whom in (
        ("claimed", ADA, BO, [ADA]), ("claimed", BO, "", [BO]), ("open", "", CY, [CY]),
        ("open", "", "", []), ("closed", ADA, BO, []),
    ):  # fmt: skip
        found = reminding.of_item(state, status, holder, assignee, START_MS + 15)
        assert [due.to for due in found] == whom


@given(one=st.integers(11, 60), other=st.integers(11, 60))
def test_two_clones_that_tick_for_one_number_write_the_same_message(one, other):
    """Whatever else they know: same key, same refs, same body."""
    state = made(why="please")
    dues = [
        reminding.Due(state, reminding.number_due(state, START_MS + at), BO) for at in (one, other)
    ]

    same_number = dues[0].number == dues[1].number
    assert (dues[0].key == dues[1].key) == same_number
    assert (reminding.body_of(dues[0]) == reminding.body_of(dues[1])) == same_number


def test_a_reminder_fits_its_schema():
    from coord.edge import schemas

    due = reminding.Due(made(why="please"), 1, BO)

    schemas.check_draft("msg.sent", reminding.refs_of(due, "th-1"), reminding.body_of(due))
