"""The index answers exactly what the fold answers, however the lines arrive."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies as some
from tests.answers import check, lose
from tests.strategies import LATE_MS, START_MS, Files

FATES = st.sampled_from(["kept"] * 6 + ["deleted", "truncated", "garbage"])
# How many lines arrive before the next command, that command's wall clock, and what
# became of the index before it.
BATCHES = st.lists(st.tuples(st.integers(1, 8), some.CLOCKS, FATES), min_size=1, max_size=8)
AT = some.INSTANTS.map(lambda at: START_MS + at)


@pytest.mark.parametrize("crowd", some.CROWDS)
@some.examples(40)
@given(data=st.data(), batches=BATCHES, at_ms=AT)
def test_however_the_lines_arrive_the_index_answers_what_the_fold_answers(
    crowd, data, batches, at_ms
):
    """In batches of any size, with a wall clock that goes forth and back between them."""
    lines = data.draw(some.histories(some.CROWDS[crowd]))
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name:
        files, done = Files(Path(name)), 0
        for count, now_ms, fate in [*batches, (len(lines), LATE_MS, "kept")]:
            files.append(lines[done : done + count])
            done += count
            lose(Path(name, "local", "index.db"), fate)
            check(name, lines[:done], now_ms, at_ms)


@some.examples(60)
@given(odd=st.lists(some.strange(), min_size=1, max_size=4), now_ms=some.CLOCKS)
def test_no_data_stops_the_index(odd, now_ms):
    """Numbers that fit nowhere included: its columns hold 64 bits with a sign."""
    lines = [event.raw for event in some.KNOWN] + odd
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name:
        Files(Path(name)).append(lines)

        check(name, lines, now_ms, START_MS)
