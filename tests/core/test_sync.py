"""Whether lines from elsewhere go on where our copy ends: the laws of `core.sync`."""

from hypothesis import given
from hypothesis import strategies as st

from coord.core import sync
from tests.strategies import examples

LENGTH = 12


def chained(count, begin=(), salt="a"):
    """A journal of `count` lines that goes on from the lines of another one."""
    lines = list(begin)
    for seq in range(len(lines) + 1, len(lines) + count + 1):
        prev = lines[-1].digest if lines else ""
        lines.append(sync.Line(seq, prev, f"{salt}{seq}", b"%d" % seq, {}))
    return lines


def held(lines):
    """Lines as what a copy has under each number."""
    return {line.seq: sync.Held(line.digest, line.prev) for line in lines}


def numbers(lines):
    """The numbers of lines, in their order."""
    return [line.seq for line in lines]


slices = st.lists(
    st.tuples(st.integers(0, LENGTH), st.integers(0, LENGTH)).map(lambda cut: slice(*sorted(cut)))
)


@examples(200)
@given(st.integers(0, LENGTH), slices)
def test_any_split_with_any_repeats_arrives_as_one_journal(count, pieces):
    """Pieces in any order, also with holes between them for a while."""
    journal = chained(count)
    copy = []

    for piece in [*pieces, slice(0, LENGTH)]:
        new = sync.fitting(journal[piece], held(copy))
        assert new is not None
        copy += new

    assert sorted(numbers(copy)) == numbers(journal)
    assert held(copy) == held(journal)


@examples(200)
@given(st.integers(0, 6), st.integers(1, 5), st.integers(1, 5), st.data())
def test_of_a_fork_nothing_fits(common, ours, theirs, data):
    """Wherever a piece of the other side touches our copy and goes beyond what is common."""
    shared = chained(common)
    copy, other = chained(ours, shared), chained(theirs, shared, salt="b")
    begin = data.draw(st.integers(1, min(len(copy) + 1, len(other))))
    end = data.draw(st.integers(max(begin, common + 1), len(other)))

    assert sync.fitting(other[begin - 1 : end], held(copy)) is None


@examples(200)
@given(st.integers(1, LENGTH), st.sets(st.integers(1, LENGTH)), slices)
def test_a_repair_is_just_what_a_copy_lacks(count, lost, pieces):
    """Lines that are damaged here fill their holes, in the journal's order."""
    journal = chained(count)
    copy = [line for line in journal if line.seq not in lost]

    new = sync.fitting(journal, held(copy))

    assert new is not None
    assert numbers(new) == sorted(lost & set(numbers(journal)))


def test_a_line_that_the_next_one_does_not_vouch_for_is_no_repair():
    copy = chained(3)
    wrong = copy[1]._replace(digest="edited")

    assert sync.fitting([wrong], held([copy[0], copy[2]])) is None


@examples(200)
@given(st.integers(0, LENGTH), st.integers(0, LENGTH), st.integers(0, LENGTH))
def test_lines_follow_only_the_line_right_before_them(count, begin, after):
    journal = chained(LENGTH)
    piece = journal[begin : begin + count]
    digest = journal[after - 1].digest if after else ""

    assert sync.follows(piece, after, digest) is (not piece or after == begin)


def test_a_line_with_another_hash_or_a_gap_inside_does_not_follow():
    journal = chained(3)

    assert not sync.follows(journal[1:], 1, "other")
    assert not sync.follows([journal[0], journal[2]], 0, "")
    assert not sync.follows([journal[0], chained(2, salt="b")[1]], 0, "")


@given(st.integers(0, 6), st.integers(0, 5), st.integers(1, 5))
def test_a_fork_is_named_after_the_first_line_that_our_copy_does_not_hold(common, ours, theirs):
    shared = chained(common)
    copy, other = chained(ours, shared), chained(theirs, shared, salt="b")

    assert sync.first_conflict(other, held(copy)) == other[common]


@examples(200)
@given(st.lists(st.binary(max_size=9)), st.integers(1, 30))
def test_chunks_are_the_lines_in_pieces_within_the_limit(lines, limit):
    """A line that is over the limit alone makes a chunk of its own."""
    pieces = sync.chunks(lines, limit)

    sizes = [sum(len(line) + 1 for line in piece) for piece in pieces]
    assert [line for piece in pieces for line in piece] == lines
    assert all(size <= limit or len(piece) == 1 for size, piece in zip(sizes, pieces, strict=True))
    for size, following in zip(sizes, pieces[1:], strict=False):
        assert size + len(following[0]) + 1 > limit
