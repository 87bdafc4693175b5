"""What a journal's chain says about edited, missing, repeated and moved lines."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from coord.core.chain import Damage, Link, judge


def chained(count):
    """A journal of this many lines, as (seq, prev, digest)."""
    lines, prev = [], ""
    for seq in range(1, count + 1):
        digest = digest_of(seq, prev)
        lines.append((seq, prev, digest))
        prev = digest
    return lines


def digest_of(*parts):
    """What a line with these parts hashes to."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def judged(lines):
    """The lines that are trusted, in reading order, and (code, seq, place) of each damage."""
    good, damages = judge([Link(place, *line) for place, line in enumerate(lines)])
    return [line for place, line in enumerate(lines) if place in good], [
        (damage.code, damage.seq, damage.place) for damage in damages
    ]


def edited(line):
    """The line after an edit that leaves its seq and prev alone."""
    return (*line[:2], digest_of("edited", line))


JOURNALS = st.integers(2, 12).map(chained)


@given(st.integers(0, 12).map(chained))
def test_an_intact_journal_is_trusted_whole(lines):
    assert judged(lines) == (lines, [])


@given(lines=JOURNALS, data=st.data())
def test_an_edited_line_is_named_and_all_others_are_used(lines, data):
    """But the last: nothing vouches for it yet, so nothing speaks against it."""
    place = data.draw(st.integers(0, len(lines) - 2))
    before = lines[:]
    lines[place] = edited(lines[place])

    trusted, damages = judged(lines)

    assert trusted == before[:place] + before[place + 1 :]
    assert damages == [("edited", place + 1, place)]


@given(lines=JOURNALS, data=st.data())
def test_every_edited_line_is_named_where_no_two_neighbours_were(lines, data):
    """Of neighbours the last is named: the line before it has lost its witness."""
    places = data.draw(st.sets(st.integers(0, len(lines) - 2)))
    apart = {place for place in places if place + 1 not in places}
    for place in apart:
        lines[place] = edited(lines[place])

    trusted, damages = judged(lines)

    assert [line for place, line in enumerate(lines) if place not in apart] == trusted
    assert damages == [("edited", place + 1, place) for place in sorted(apart)]


@given(lines=JOURNALS, data=st.data())
def test_deleted_lines_are_named_by_their_first_and_all_others_are_used(lines, data):
    """But at the end, where nothing shows that there was more."""
    start = data.draw(st.integers(0, len(lines) - 2))
    stop = data.draw(st.integers(start + 1, len(lines) - 1))
    left = lines[:start] + lines[stop:]

    trusted, damages = judged(left)

    assert trusted == left
    assert damages == [("missing", start + 1, start)]


@given(lines=JOURNALS, data=st.data())
def test_a_line_that_stands_twice_is_used_once(lines, data):
    place = data.draw(st.integers(0, len(lines) - 1))
    copy_at = data.draw(st.integers(place + 1, len(lines)))
    seq = place + 1
    doubled = [*lines[:copy_at], lines[place], *lines[copy_at:]]

    trusted, damages = judged(doubled)

    late = [("out_of_order", seq, copy_at)] if copy_at > place + 1 else []
    assert trusted == lines
    assert damages == [*late, ("repeated_line", seq, copy_at)]


@given(lines=JOURNALS, data=st.data())
def test_lines_in_another_order_are_all_used_and_named_where_they_come_late(lines, data):
    shuffled = data.draw(st.permutations(lines))

    trusted, damages = judged(shuffled)

    late = [
        ("out_of_order", line[0], place)
        for place, line in enumerate(shuffled)
        if line[0] < max(other[0] for other in shuffled[: place + 1])
    ]
    assert trusted == shuffled
    assert damages == late


@given(lines=JOURNALS, data=st.data())
def test_of_two_lines_with_one_number_the_vouched_one_is_used_wherever_it_stands(lines, data):
    """The fork's own line is named; at the end, where nobody vouches, the first is used."""
    place = data.draw(st.integers(0, len(lines) - 1))
    fork = edited(lines[place])
    first = data.draw(st.booleans())
    both = [*lines[:place], *([fork, lines[place]] if first else [lines[place], fork])]
    is_last = place == len(lines) - 1

    trusted, damages = judged([*both, *lines[place + 1 :]])

    used = fork if first and is_last else lines[place]
    left_out = place + (0 if both[place] != used else 1)
    assert trusted == [*lines[:place], used, *lines[place + 1 :]]
    assert damages == [("seq_repeated", place + 1, left_out)]


@given(lines=JOURNALS, data=st.data())
def test_a_forged_number_or_predecessor_costs_at_most_the_line_and_the_one_it_accuses(lines, data):
    """It is noticed, and every other line is used."""
    place = data.draw(st.integers(0, len(lines) - 2))
    seq, prev, _ = lines[place]
    forged = data.draw(
        st.sampled_from([(seq, digest_of("other")), (seq + 1, prev), (len(lines) + 1, prev)])
    )
    lines[place] = (*forged, digest_of("forged", *forged))

    trusted, damages = judged(lines)

    others = [line for line in lines if line != lines[place]]
    assert len([line for line in others if line in trusted]) >= len(others) - 1
    assert damages


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 3), st.integers(0, 3)), max_size=9))
def test_any_lines_at_all_are_sorted_into_trusted_and_damaged(lines):
    """Each number is used at most once, and each line left out is named at its place."""
    links = [
        Link(place, seq, str(prev), str(digest)) for place, (seq, prev, digest) in enumerate(lines)
    ]

    good, damages = judge(links)

    used = [link.seq for link in links if link.place in good]
    left_out = {link.place for link in links} - good
    assert len(used) == len(set(used))
    assert left_out <= {d.place for d in damages if d.code not in ("missing", "out_of_order")}
    assert damages == sorted(damages, key=by_place)


def by_place(damage: Damage):
    """The order in which damages are told."""
    return damage.place, damage.code


def test_what_is_said_of_damage_names_the_line():
    lines = chained(6)
    lines[1] = edited(lines[1])
    links = [Link(place, *line) for place, line in enumerate(lines[:3] + lines[5:])]

    _, damages = judge(links)

    assert [damage.message for damage in damages] == [
        "line 2 was edited: the next line vouches for other bytes",
        "lines 4 to 5 are missing before line 6",
    ]
