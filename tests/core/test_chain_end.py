"""Lines that arrive at the end of a journal: all are delivered, damage hides no other."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import example, given
from hypothesis import strategies as st

from coord.core.chain_end import ChainEnd, Line

MOST = 12


def digest(seq: int, prev: str, text: str) -> str:
    """What stands for the hash of a line's bytes."""
    return hashlib.sha256(f"{seq} {prev} {text}".encode()).hexdigest()[:32]


def line(seq: int, prev: str, text: str) -> Line:
    """A line as its writer, or whoever edits it, leaves it."""
    return Line(seq, prev, digest(seq, prev, text), "path", seq, {"text": text})


def chained(count: int) -> list[Line]:
    """A journal without damage."""
    lines: list[Line] = []
    for seq in range(1, count + 1):
        lines.append(line(seq, lines[-1].digest if lines else "", "whole"))
    return lines


def taken(end: ChainEnd, lines: Sequence[Line], sizes: Sequence[int]) -> tuple[list[Line], list]:
    """Give the lines in portions; answers what is delivered, and every damage."""
    delivered, damages, begin = [], [], 0
    for size in [*sizes, len(lines)]:
        portion = end.take(lines[begin : begin + size])
        delivered += [one for one, _ in portion.lines]
        damages += [damage for _, damage in portion.damages]
        begin += size
    return delivered, damages


def edit(lines: list[Line], at: int, _: int) -> list[Line]:
    """Another text under the same number."""
    changed = line(lines[at].seq, lines[at].prev, "edited")
    return [*lines[:at], changed, *lines[at + 1 :]]


def renumber(lines: list[Line], at: int, seq: int) -> list[Line]:
    """One flipped bit of a number."""
    changed = line(seq + 1, lines[at].prev, "renumbered")
    return [*lines[:at], changed, *lines[at + 1 :]]


def leap(lines: list[Line], at: int, seq: int) -> list[Line]:
    """One flipped bit that makes a number large."""
    return renumber(lines, at, seq + 4_000_000)


def delete(lines: list[Line], at: int, _: int) -> list[Line]:
    """A line is gone, or cannot be read."""
    return [*lines[:at], *lines[at + 1 :]]


def repeat(lines: list[Line], at: int, to: int) -> list[Line]:
    """A line stands in a second place too."""
    return [*lines[:to], lines[at], *lines[to:]]


def swap(lines: list[Line], at: int, _: int) -> list[Line]:
    """Two neighbours change places."""
    return [*lines[:at], *lines[at : at + 2][::-1], *lines[at + 2 :]]


SIZES = st.lists(st.integers(0, 3), max_size=MOST)
PLACES = st.integers(0, MOST - 1)
ONE_DAMAGE = st.tuples(
    st.sampled_from([edit, renumber, leap, delete, repeat, swap]), PLACES, PLACES
)


@given(st.integers(0, MOST), SIZES)
def test_a_whole_journal_is_delivered_in_order_and_nothing_is_told(count, sizes):
    lines = chained(count)
    end = ChainEnd()

    assert taken(end, lines, sizes) == (lines, [])
    assert end.reached == count


@given(ONE_DAMAGE, SIZES)
@example((renumber, 2, 5), [5])
@example((renumber, 2, 4), [5])
@example((leap, 5, 0), [1] * MOST)
def test_damage_to_one_line_keeps_no_other_back(damage, sizes):
    """In whatever portions the lines come; each once."""
    harm, at, to = damage
    whole = chained(MOST)
    lines = harm(whole, at, to)

    delivered, _ = taken(ChainEnd(), lines, sizes)

    for one in whole:
        if one in lines:
            assert delivered.count(one) == 1, one.seq


@given(ONE_DAMAGE, SIZES)
def test_the_cursor_goes_on_behind_damage_and_never_past_the_end(damage, sizes):
    """Two whole lines in a row are enough to go on from."""
    harm, at, to = damage
    whole = chained(MOST + 2)
    lines = [*harm(whole[:MOST], at, to), *whole[MOST:]]
    end = ChainEnd()

    taken(end, lines, sizes)

    assert end.reached == MOST + 2


@given(ONE_DAMAGE, SIZES)
def test_damage_that_can_be_seen_is_told(damage, sizes):
    """All but a change to the very last line, which nothing speaks against yet."""
    harm, at, to = damage
    whole = chained(MOST)
    lines = [*harm(whole[: MOST - 2], at % (MOST - 2), to), *whole[MOST - 2 :]]

    _, damages = taken(ChainEnd(), lines, sizes)

    assert bool(damages) == (lines != whole)


@given(st.integers(0, MOST), SIZES)
def test_what_was_delivered_is_not_delivered_again(reached, sizes):
    """A replaced file is read from its beginning."""
    lines = chained(MOST)

    delivered, damages = taken(ChainEnd(reached), lines, sizes)

    assert (delivered, damages) == (lines[reached:], [])


@given(st.integers(1, MOST), SIZES)
def test_a_reader_goes_on_behind_the_line_it_knows(reached, sizes):
    lines = chained(MOST)

    delivered, damages = taken(ChainEnd(reached, lines[reached - 1]), lines[reached:], sizes)

    assert (delivered, damages) == (lines[reached:], [])


def test_an_edited_line_is_left_out_once_a_believed_line_speaks_against_it():
    whole = chained(5)
    lines = edit(whole, 2, 0)

    delivered, damages = taken(ChainEnd(), lines, [])

    assert delivered == [*whole[:2], *whole[3:]]
    assert [(damage.code, damage.seq) for damage in damages] == [("edited", 3)]


def test_where_a_line_stands_changes_nothing_but_the_order():
    whole = chained(3)
    moved = [replace(one, path="elsewhere", offset=7) for one in whole]

    assert taken(ChainEnd(), moved, [])[0] == moved
