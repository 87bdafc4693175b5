"""What one process appends another is given, live.

Rules: everything here happens between real processes; a test waits for lines, each
with a deadline, and never asks how long it took.
"""

import os
import shutil
import signal
import threading

import pytest

from coord.core import event as events
from coord.edge import watch
from tests.edge.watching import (
    ADA,
    APPENDER,
    BO,
    DEADLINE_S,
    READER,
    WITHOUT_KERNEL,
    append,
    appended,
    empty_store,
    file_of,
    ids,
    reading,
    running,
    seen,
)
from tests.strategies import id_at


@pytest.fixture
def folder(tmp_path):
    """An empty store."""
    return empty_store(tmp_path)


def test_what_one_process_appends_another_is_given_in_order(folder):
    """From now on: what was there before is not."""
    append(folder, "ev", BO, [0, 1])
    with reading(folder) as reader:
        appended(folder, "ev", BO, 2, 20)
        appended(folder, "wk", BO, 22, 20, size=5)

        lines = reader.lines(40)

    assert [line["id"] for line in lines] == [id_at(at) for at in range(2, 42)]


@pytest.mark.parametrize("tool", events.TOOLS)
def test_every_tool_is_heard(folder, tool):
    """And a writer whose journal is new."""
    with reading(folder) as reader:
        appended(folder, tool, ADA, 0, 1)

        assert reader.line()["id"] == id_at(0)


def test_a_folder_that_appears_is_heard(folder):
    """Git keeps no empty folders: an inline store comes without them."""
    (folder / "run").rmdir()
    with reading(folder) as reader:
        append(folder, "ev", BO, [0])
        assert reader.line()["id"] == id_at(0)
        (folder / "run").mkdir()
        append(folder, "run", BO, [1])

        assert reader.line()["id"] == id_at(1)


def test_without_the_kernel_the_files_are_looked_at_all_the_same(folder):
    with running("import sys\n" + WITHOUT_KERNEL + READER, folder, "now") as reader:
        assert reader.lines(2) == ["no watch", "ready"]
        append(folder, "ev", BO, [0])
        assert reader.line()["id"] == id_at(0)
        append(folder, "ev", BO, [1])
        assert reader.line()["id"] == id_at(1)

        assert reader.end(signal.SIGINT) == -signal.SIGINT


def test_an_interrupt_ends_a_reader(folder):
    with reading(folder) as reader:
        append(folder, "ev", BO, [0])
        reader.line()

        assert reader.end(signal.SIGINT) == -signal.SIGINT


def test_a_reader_that_is_told_to_stop_ends(folder):
    append(folder, "ev", BO, range(3))
    stop = threading.Event()
    batches = watch.follow(str(folder), {}, on_damage=pytest.fail, stop=stop)

    next(batches)
    stop.set()

    assert list(batches) == []


def test_a_reader_that_is_closed_leaves_no_open_file(folder):
    before = set(os.listdir("/proc/self/fd"))
    batches = watch.follow(str(folder), {}, on_damage=pytest.fail)
    append(folder, "ev", BO, [0])
    next(batches)
    append(folder, "ev", BO, [1])
    next(batches)

    batches.close()
    tries = 0
    # The library's thread closes them, soon after.
    while set(os.listdir("/proc/self/fd")) - before and tries < 100:
        threading.Event().wait(0.1)
        tries += 1

    assert set(os.listdir("/proc/self/fd")) <= before


def test_a_reader_with_a_deadline_ends_after_it(folder):
    assert list(watch.follow(str(folder), None, on_damage=pytest.fail, deadline_s=0.1)) == []


def test_a_reader_that_is_killed_and_started_again_misses_nothing(folder, tmp_path):
    """What is delivered twice was in the last batch before the kill."""
    runs = []
    for first in range(0, 192, 24):
        with (
            running(APPENDER, folder, "ev", BO, str(first), "24", "2") as appender,
            reading(folder, "start", tmp_path / "cursor") as reader,
        ):
            lines = reader.lines(1 + first // 12)
            reader.end(signal.SIGKILL)
            runs.append(lines + reader.rest())
            assert appender.popen.wait(DEADLINE_S) == 0
    cursor = watch.CursorFile(str(tmp_path / "cursor")).load()
    last = ids(seen(folder, cursor))

    delivered = [[line["id"] for line in run] for run in runs] + [last]
    assert sorted({one for run in delivered for one in run}) == [id_at(at) for at in range(192)]
    for before, run, after in zip(delivered, runs, delivered[1:], strict=False):
        last_batch = {line["id"] for line in run if line["batch"] == run[-1]["batch"]}
        assert set(before) & set(after) <= last_batch


def test_a_line_without_its_newline_waits(folder):
    append(folder, "ev", BO, [0])
    path = file_of(folder, "ev", BO)
    before = path.read_bytes()
    append(folder, "ev", BO, [1])
    line = path.read_bytes()[len(before) :]
    path.write_bytes(before)
    with reading(folder) as reader:
        path.write_bytes(before + line[:-1])
        append(folder, "wk", ADA, [2])
        assert reader.line()["id"] == id_at(2)
        with path.open("ab") as stream:
            stream.write(b"\n")

        assert reader.line()["id"] == id_at(1)


def test_a_torn_line_is_told_and_the_next_event_is_delivered(folder):
    append(folder, "ev", BO, [0])
    path = file_of(folder, "ev", BO)
    offset = path.stat().st_size
    with reading(folder) as reader:
        with path.open("ab") as stream:
            stream.write(b'{"event_id":"01')
        append(folder, "wk", ADA, [1])
        assert reader.line()["id"] == id_at(1)
        appended(folder, "ev", BO, 2, 1)

        told, delivered = reader.lines(2)

    assert told == {"code": "unreadable", "offset": offset}
    assert delivered["id"] == id_at(2)


def test_a_journal_goes_on_in_its_next_segment(folder):
    text = "x" * 60_000
    with reading(folder) as reader:
        for at in range(40):
            append(folder, "ev", BO, [at], text)
        lines = reader.lines(40)

    assert file_of(folder, "ev", BO, 3).exists()
    assert [line["id"] for line in lines] == [id_at(at) for at in range(40)]


def test_segments_that_change_faster_than_one_can_look_lose_nothing(folder):
    """Two lines to a segment: many begin and end between two looks."""
    with reading(folder) as reader, running(APPENDER, folder, "ev", BO, "0", "300", "3", "300"):
        lines = reader.lines(300)

    assert len(list((folder / "ev").iterdir())) > 100
    assert [line.get("id") for line in lines] == [id_at(at) for at in range(300)]


def test_a_folder_that_is_replaced_is_heard(folder):
    """The kernel watches a folder, not its name."""
    append(folder, "ev", BO, [0])
    with reading(folder) as reader:
        append(folder, "ev", BO, [1])
        assert reader.line()["id"] == id_at(1)
        (folder / "ev").rename(folder / "old")
        shutil.copytree(folder / "old", folder / "ev")
        append(folder, "ev", BO, [2])
        assert reader.line()["id"] == id_at(2)
        append(folder, "ev", ADA, [3])

        assert reader.line()["id"] == id_at(3)


def test_a_segment_that_is_replaced_is_read_again_from_the_cursor_on(folder):
    """As git does on a switch of branches: gone, then another file, then this one, longer."""
    append(folder, "ev", BO, range(4))
    path = file_of(folder, "ev", BO)
    whole = path.read_bytes()
    short = b"".join(whole.splitlines(keepends=True)[:2])
    with reading(folder, "start") as reader:
        assert [line["id"] for line in reader.lines(4)] == [id_at(at) for at in range(4)]
        for step, content in enumerate([None, short, whole]):
            path.unlink()
            if content is not None:
                path.write_bytes(content)
            append(folder, "wk", ADA, [10 + step])
            assert reader.line()["id"] == id_at(10 + step)
            if content is None:
                path.write_bytes(b"")
        append(folder, "ev", BO, [20])

        assert reader.line()["id"] == id_at(20)


def test_what_local_holds_means_nothing_to_a_reader(folder):
    with reading(folder) as reader:
        append(folder, "ev", BO, [0])
        assert reader.line()["id"] == id_at(0)
        (folder / "local").rmdir()
        append(folder, "ev", BO, [1])

        assert reader.line()["id"] == id_at(1)
