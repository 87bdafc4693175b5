"""The index knows what every event led to, however its lines came."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from coord.core import causes, diff, fold
from coord.edge import index
from coord.edge.index import mentions
from tests import strategies as some
from tests.strategies import LATE_MS, Files


def led_to(lines):
    """What each event led to, by folding: one line of each id counts."""
    ordered, _ = fold.in_order(some.of(lines), LATE_MS)
    found = {}
    for event in ordered:
        for parent in causes.of(event.raw):
            found.setdefault(parent, []).append(event.event_id)
    return found


@st.composite
def caused(draw):
    """A history whose events name causes, and how many lines come at once."""
    lines = draw(some.histories())
    known = [*{line["event_id"] for line in lines}, some.id_at(99)]
    for place, line in enumerate(lines):
        named = draw(st.lists(st.sampled_from(sorted(known)), max_size=2))
        more = {"cause": named[0], "links": named} if named else {}
        lines[place] = {**line, **more}
    return lines, draw(st.lists(st.integers(1, 9), max_size=3))


@given(caused())
def test_what_an_event_led_to_is_known_however_the_lines_came(drawn):
    lines, sizes = drawn
    with tempfile.TemporaryDirectory() as folder:
        files, rest = Files(Path(folder)), lines
        for size in (*sizes, len(lines)):
            files.append(rest[:size])
            rest = rest[size:]
            with index.opened(folder, LATE_MS) as known:
                told = {line["event_id"]: known.caused_by(line["event_id"]) for line in lines}

    expected = led_to(lines)
    for event_id, children in told.items():
        assert [raw["event_id"] for raw in children] == expected.get(event_id, [])


def mentioning(tmp_path, *lines, limit=0):
    """The ids of the events that mention src/ü.py, as instants, the newest first."""
    Files(tmp_path).append(lines)
    with index.opened(str(tmp_path), LATE_MS) as known:
        found = mentions.of_path(known, "src/ü.py", limit)
    return [diff.events.time_of(raw["event_id"]) - some.START_MS for raw in found]


def test_mentions_are_found_in_every_journal_the_newest_first(tmp_path):
    """A lease on a pattern need not contain the path; a longer path is another file."""
    found = mentioning(
        tmp_path,
        some.raw("build.failed", 1, body={"log": ["at src/ü.py:3"]}),
        some.raw("build.failed", 2, body={"log": "src/ü.pyc"}),
        some.raw("lease.acquire", 3, "bo", refs={"resource": "path:src/**"}),
        some.raw("lease.acquire", 4, "bo", refs={"resource": "path:lib/**"}),
        some.raw("work.commented", 5, refs={"work_id": "wk-a"}, body={"text": "src/ü.py"}),
    )

    assert found == [5, 3, 1]


def test_of_many_mentions_the_newest_are_told(tmp_path):
    lines = [some.raw("build.failed", at, body={"log": "src/ü.py"}) for at in range(9)]

    assert mentioning(tmp_path, *lines, limit=2) == [8, 7]


def test_a_line_that_is_not_whole_yet_is_no_mention(tmp_path):
    Files(tmp_path).append([some.raw("build.failed", 1, body={"log": "src/ü.py"})])
    [segment] = (tmp_path / "ev").iterdir()
    segment.write_bytes(segment.read_bytes() + b'{"body":{"log":"src/\xc3\xbc.py"')

    assert len(mentioning(tmp_path)) == 1
