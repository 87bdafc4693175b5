"""Spans and instants: what people type and what is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import units
from coord.errors import Refusal

NOW_MS = 1_763_674_200_000
INSTANTS = st.integers(0, units.LATEST_MS)


@pytest.mark.parametrize(
    ("text", "span_ms"),
    [
        ("90s", 90_000),
        ("15m", 900_000),
        ("2h", 7_200_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("250ms", 250),
        ("1h30m", 5_400_000),
        ("90", 90_000),
        (" 2H ", 7_200_000),
        ("0", 0),
    ],
)
def test_a_span_is_a_number_and_a_unit(text, span_ms):
    """A number without a unit is seconds."""
    assert units.parse_duration(text) == span_ms


@pytest.mark.parametrize(
    "text", ["", "m", "1.5h", "-1s", "1x", "1h 30m", "١s", "9" * 5000, "999999999999w"]
)
def test_what_is_no_span_is_refused(text):
    with pytest.raises(Refusal) as refused:
        units.parse_duration(text)

    assert refused.value.code == "usage"
    assert "90s" in refused.value.hint


@given(st.integers(0, units.LATEST_MS))
def test_a_span_as_shown_reads_back(span_ms):
    assert units.parse_duration(units.show_duration(span_ms)) == span_ms


def test_a_span_is_shown_in_its_largest_units():
    shown = [units.show_duration(ms) for ms in (0, 250, 1000, 90_000, 5_400_000, -1000)]

    assert shown == ["0s", "250ms", "1s", "1m30s", "1h30m", "-1s"]


@pytest.mark.parametrize(
    ("text", "instant_ms"),
    [
        ("2025-11-20T21:30:00Z", NOW_MS),
        ("2025-11-20T21:30:00.123Z", NOW_MS + 123),
        ("2025-11-20T23:30+02:00", NOW_MS),
        ("2025-11-20 21:30", NOW_MS),
        ("2025-11-20", 1_763_596_800_000),
        ("2025-11-20T21:30:00.123999999Z", NOW_MS + 123),
        ("now", NOW_MS),
        ("2h", NOW_MS - 7_200_000),
        ("2h ago", NOW_MS - 7_200_000),
        ("in 2h", NOW_MS + 7_200_000),
    ],
)
def test_an_instant_is_a_date_or_a_span_from_now(text, instant_ms):
    assert units.parse_instant(text, NOW_MS) == instant_ms


def test_a_bare_span_lies_ahead_where_the_question_is_when_something_is_due():
    """Said in words, it lies where the words say."""
    ahead = [units.parse_instant(t, NOW_MS, ahead=True) - NOW_MS for t in ("1s", "in 1s", "1s ago")]

    assert ahead == [1000, 1000, -1000]


@pytest.mark.parametrize(
    "text",
    [
        "", "soon", "2025-13-01", "2025-02-30", "20251120", "5", "in 2h ago", "1969-12-31",
        "100000h ago", "in 9999999w", "0001-01-01T00:00+23:59", "2025-11-20T25:00",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text):
    """A bare number too: it could be seconds, milliseconds or a year."""
    with pytest.raises(Refusal) as refused:
        units.parse_instant(text, 1_000)

    assert refused.value.code == "usage"


@given(INSTANTS)
def test_an_instant_as_shown_reads_back(instant_ms):
    assert units.parse_instant(units.show_instant(instant_ms), NOW_MS) == instant_ms


@given(st.integers())
def test_showing_an_instant_never_fails(instant_ms):
    """A foreign event may say any number."""
    assert units.show_instant(instant_ms)


@given(st.text())
def test_any_text_is_an_instant_or_refused(text):
    try:
        instant_ms = units.parse_instant(text, NOW_MS)
    except Refusal:
        return

    assert 0 <= instant_ms <= units.LATEST_MS
