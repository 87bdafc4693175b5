"""Leases in the index: the fold's answers, and rows that say the same as the states."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coord.core import globs
from coord.core.event import from_raw
from coord.core.fold import fold
from coord.core.lease import request
from coord.edge import index
from coord.edge.index import holds
from tests import strategies as some
from tests.core.test_lease import histories
from tests.strategies import LATE_MS, START_MS, Files

PATHS = ["src/a.py", "src/b/c.py", "lib/a.py", "lib/b.py", "docs/x"]


def rows_of(states: Any) -> list[tuple[str, int, int]]:
    """What the table of holds has to say."""
    return sorted(
        (hold["event_id"], hold["expires_at_ms"], lost)
        for name, state in states.items()
        if name.startswith("lease/")
        for part, lost in (("holds", 0), ("refused", 1))
        for hold in state.get(part, ())
    )


@given(histories(), st.integers(1, 9), st.integers(0, 40))
@some.examples(60)
def test_the_index_answers_what_the_fold_answers(lines: list[Any], size: int, at: int):
    """Read at once or in batches; near holds are all those that a path could meet."""
    expected = fold([from_raw(line) for line in lines], LATE_MS)
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name:
        files = Files(Path(name))
        for start in range(0, len(lines), size):
            files.append(lines[start : start + size])
            with index.opened(name, LATE_MS) as known:
                pass
        with index.opened(name, LATE_MS) as known:
            sql = known.connection
            states = dict(known.states("lease"))
            rows = sql.execute("SELECT id, until_ms, lost FROM hold ORDER BY 1, 2, 3").fetchall()
            near = {path: holds.near(sql, [path], START_MS + at) for path in PATHS}
            wide = holds.near(sql, ["**/a*"], START_MS + at)
            listed = holds.listed(sql, START_MS + at)

    assert states == {k: v for k, v in expected.states.items() if k.startswith("lease/")}
    assert rows == rows_of(states)
    running = [hold for hold in listed if hold["resource"].startswith("path:")]
    for path, found in near.items():
        met = [h["event_id"] for h in running if request.covers(h, globs.quoted(path))]
        assert set(met) <= {hold["event_id"] for hold in found}
    assert {h["event_id"] for h in running} == {hold["event_id"] for hold in wide}
