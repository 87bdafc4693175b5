"""The wall clock and chance, as the environment freezes them."""

import pytest

from coord.edge import clock
from coord.errors import Refusal


def test_the_clock_counts_milliseconds_and_stands_still_when_it_is_told_to(monkeypatch):
    assert clock.now_ms() > 1_600_000_000_000

    monkeypatch.setenv("COORD_NOW_MS", "1767258000000")
    assert clock.now_ms() == 1_767_258_000_000


@pytest.mark.parametrize(
    "text", ["soon", "-1", "1.5", " 1", "²", "٣", "9" * 15, "9" * 16, "9" * 5000]
)
def test_an_instant_that_is_none_is_refused(monkeypatch, text):
    """Nor one at which no event id could be written."""
    monkeypatch.setenv("COORD_NOW_MS", text)

    with pytest.raises(Refusal) as refused:
        clock.now_ms()

    assert refused.value.code == "usage"


def test_chance_is_new_each_time_unless_there_is_a_seed(monkeypatch):
    assert clock.Chance().draw(16) != clock.Chance().draw(16)

    monkeypatch.setenv("COORD_SEED", "1")
    first, second = clock.Chance("a"), clock.Chance("a")
    assert [first.draw(16), first.draw(16)] == [second.draw(16), second.draw(16)]
    assert clock.Chance("a").draw(16) != clock.Chance("b").draw(16)


def test_a_name_is_lower_case_base32(monkeypatch):
    monkeypatch.setenv("COORD_SEED", "1")

    assert clock.base32(b"\x00") == "aa"
    assert clock.base32(b"\xff" * 5) == "77777777"
    assert len(clock.Chance().name(6)) == 6
    assert set(clock.Chance().name(16)) <= set("abcdefghijklmnopqrstuvwxyz234567")
