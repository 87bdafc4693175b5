"""Live reading: what one process appends is what another is given, once, in order.

Rules: a look (`seen`) is `follow` with a deadline of 0: it yields what is there and
ends. What has to happen live runs in processes of its own; a test waits for lines.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from coord.core import event as events
from coord.edge import journal, watch
from coord.errors import Refusal
from tests.strategies import START_MS, id_at, raw

DEADLINE_S = 60.0
BO = "agent-bo.aaaaaa"
ADA = "agent-ada.bbbbbb"

# Prints an event per line; the cursor is saved after each batch, when a file is given.
READER = """
import json, sys
from coord.edge import watch

def tell(damage):
    print(json.dumps({"code": damage.code, "offset": damage.offset}), flush=True)

folder, since, *files = sys.argv[1:]
saved = watch.CursorFile(files[0]) if files else None
cursor = (saved.load() if saved else None) or watch.cursor_at(folder, since)
print('"ready"', flush=True)
for number, batch in enumerate(watch.follow(folder, cursor, on_damage=tell)):
    for raw, is_early in batch.events:
        print(json.dumps({"id": raw["event_id"], "writer": raw["writer"], "batch": number}))
    sys.stdout.flush()
    if saved:
        saved.save(batch.cursor)
"""
# Leaves the process so few files that the kernel's watch cannot be had.
WITHOUT_KERNEL = """
import os, resource
from watchfiles import _rust_notify
free = os.open("/", os.O_RDONLY)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free + 2, free + 2))
try:
    _rust_notify.RustNotify([sys.argv[1]], False, False, 1000, False, False)
except RuntimeError:
    print('"no watch"', flush=True)
"""
APPENDER = """
import sys
from coord.edge import journal, store
from tests.edge.test_watch import append
folder, tool, writer, first, count, size = sys.argv[1:]
for at in range(int(first), int(first) + int(count), int(size)):
    with store.locked(folder):
        append(folder, tool, writer, range(at, at + int(size)))
"""


def append(
    folder: str | Path, tool: str, writer: str, ats: Sequence[int], text: str = ""
) -> list[str]:
    """Append an event for each instant to a journal; answers their ids."""
    appender = journal.Appender(str(folder), tool, writer)
    for at in ats:
        appender.add(raw("test.noted", at, body={"text": text} if text else {}))
    appender.write()
    return [id_at(at) for at in ats]


def file_of(folder: Path, tool: str, writer: str, number: int = 1) -> Path:
    """A journal's segment."""
    return Path(journal.segment_path(str(folder), tool, writer, number))


def seen(
    folder: Path, cursor: Any = None, damages: list[watch.Damage] | None = None
) -> list[watch.Batch]:
    """What a look yields; from the start without a cursor."""
    told = (lambda _: None) if damages is None else damages.append
    return list(watch.follow(str(folder), cursor or {}, on_damage=told, deadline_s=0))


def ids(batches: Sequence[watch.Batch]) -> list[str]:
    """The ids of the batches' events, in order."""
    return [line["event_id"] for batch in batches for line, _ in batch.events]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty store."""
    for tool in (*events.TOOLS, "local"):
        (tmp_path / ".coord" / tool).mkdir(parents=True)
    return tmp_path / ".coord"


class Process:
    """A process whose output is read line by line, each with a deadline."""

    def __init__(self, script: str, *arguments: str | Path) -> None:
        command = [sys.executable, "-c", script, *map(str, arguments)]
        root = Path(__file__).parent.parent.parent
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root)
        self._rest = b""

    def line(self) -> Any:
        """The next line, parsed; None at the end."""
        while b"\n" not in self._rest:
            assert self.popen.stdout is not None
            ready, _, _ = select.select([self.popen.stdout], [], [], DEADLINE_S)
            assert ready, "nothing came in time"
            more = os.read(self.popen.stdout.fileno(), 65536)
            if not more:
                return None
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def lines(self, count: int) -> list[Any]:
        """The next lines."""
        return [self.line() for _ in range(count)]

    def rest(self) -> list[Any]:
        """Every line up to the end; a last one that is cut off is none."""
        return list(iter(self.line, None))

    def end(self, signal_number: int) -> int:
        """Send a signal and wait for the end."""
        self.popen.send_signal(signal_number)
        return self.popen.wait(DEADLINE_S)


@contextlib.contextmanager
def running(script: str, *arguments: str | Path) -> Iterator[Process]:
    """A process that the test does not outlive."""
    process = Process(script, *arguments)
    try:
        yield process
    finally:
        process.popen.kill()
        process.popen.wait()
        assert process.popen.stdout is not None
        process.popen.stdout.close()


@contextlib.contextmanager
def reading(folder: Path, since: str = "now", *more: str | Path) -> Iterator[Process]:
    """A reader that has taken its place."""
    with running(READER, folder, since, *more) as reader:
        assert reader.line() == "ready"
        yield reader


def appended(folder: Path, tool: str, writer: str, first: int, count: int, size: int = 1) -> None:
    """Append in another process, `size` events at a time."""
    with running(APPENDER, folder, tool, writer, str(first), str(count), str(size)) as process:
        assert process.popen.wait(DEADLINE_S) == 0


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


def test_a_reader_with_a_deadline_ends_after_it(folder):
    assert list(watch.follow(str(folder), None, on_damage=pytest.fail, deadline_s=0.1)) == []


def test_a_reader_that_is_killed_and_started_again_misses_nothing(folder, tmp_path):
    """What is delivered twice was in the last batch before the kill."""
    runs = []
    with running(APPENDER, folder, "ev", BO, "0", "200", "2") as appender:
        for _ in range(8):
            with reading(folder, "start", tmp_path / "cursor") as reader:
                first = reader.lines(10 + len(runs))
                reader.end(signal.SIGKILL)
                runs.append(first + reader.rest())
        assert appender.popen.wait(DEADLINE_S) == 0
    cursor = watch.CursorFile(str(tmp_path / "cursor")).load()
    last = ids(seen(folder, cursor))

    delivered = [[line["id"] for line in run] for run in runs] + [last]
    assert sorted({one for run in delivered for one in run}) == [id_at(at) for at in range(200)]
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


def test_a_torn_tail_that_reads_as_an_event_is_not_yet_past(folder):
    """Its newline comes with the next append; a reader that starts now is given it then."""
    append(folder, "ev", BO, [0, 1])
    path = file_of(folder, "ev", BO)
    path.write_bytes(path.read_bytes()[:-1])
    cursor = watch.cursor_at(str(folder), "now")

    append(folder, "ev", BO, [2])

    assert ids(seen(folder, cursor)) == [id_at(1), id_at(2)]


def test_a_journal_goes_on_in_its_next_segment(folder):
    text = "x" * 60_000
    with reading(folder) as reader:
        for at in range(40):
            append(folder, "ev", BO, [at], text)
        lines = reader.lines(40)

    assert file_of(folder, "ev", BO, 3).exists()
    assert [line["id"] for line in lines] == [id_at(at) for at in range(40)]


def test_a_cursor_finds_its_place_in_any_segment(folder):
    text = "x" * 60_000
    for at in range(40):
        append(folder, "ev", BO, [at], text)

    rests = [ids(seen(folder, {f"ev/{BO}": seq})) for seq in range(41)]

    assert rests == [[id_at(at) for at in range(seq, 40)] for seq in range(41)]


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


def test_a_batch_is_in_order_of_ids_whoever_wrote(folder):
    append(folder, "ev", BO, [0, 3, 4])
    append(folder, "wk", BO, [1, 6])
    append(folder, "ev", ADA, [2, 5])

    (batch,) = seen(folder)

    assert ids([batch]) == [id_at(at) for at in range(7)]
    assert batch.cursor == {f"ev/{BO}": 3, f"wk/{BO}": 2, f"ev/{ADA}": 2}


def test_no_event_overtakes_an_earlier_one_of_its_writer(folder):
    """Even when its clock went back, which ours never does."""
    append(folder, "ev", BO, [0, 9, 2])
    append(folder, "ev", ADA, [1, 3, 10])

    assert ids(seen(folder)) == [id_at(at) for at in (0, 1, 3, 9, 2, 10)]


def test_a_long_backlog_comes_in_batches_and_each_cursor_continues_it(folder):
    """In order over all of them."""
    append(folder, "ev", BO, range(0, 2400, 2))
    append(folder, "wk", ADA, range(1, 2400, 2))

    batches = seen(folder)
    rests = [ids(seen(folder, batch.cursor)) for batch in batches]

    assert len(batches) > 3
    assert ids(batches) == [id_at(at) for at in range(2400)]
    assert rests == [ids(batches[n + 1 :]) for n in range(len(batches))]


def test_an_event_from_the_far_future_is_marked_early(folder, monkeypatch):
    monkeypatch.setenv("COORD_NOW_MS", str(START_MS))
    append(folder, "ev", BO, [0, events.QUARANTINE_MS, events.QUARANTINE_MS + 1])

    (batch,) = seen(folder)

    assert [is_early for _, is_early in batch.events] == [False, False, True]


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("start", 0),
        ("now", 6),
        (id_at(2), 2),
        (id_at(2).lower(), 2),
        (id_at(2, 1), 3),
        ("2026-01-01T09:00:00.004Z", 4),
        ("1970-01-01", 0),
        ("2030-01-01", 6),
        (json.dumps({f"ev/{BO}": 1, f"wk/{ADA}": 1}), 2),
    ],
)
def test_a_reader_begins_where_since_says(folder, since, first):
    """An event id or an instant means the same place in all journals."""
    append(folder, "ev", BO, [0, 2, 4])
    append(folder, "wk", ADA, [1, 3, 5])

    cursor = watch.cursor_at(str(folder), since)

    assert ids(seen(folder, cursor)) == [id_at(at) for at in range(first, 6)]


def test_a_cursor_says_where_each_journal_goes_on(folder):
    """One that it does not name is read from its beginning."""
    append(folder, "ev", BO, [0, 2, 4])
    append(folder, "wk", ADA, [1, 3, 5])

    cursor = watch.cursor_at(str(folder), json.dumps({f"ev/{BO}": 2}))

    assert ids(seen(folder, cursor)) == [id_at(at) for at in (1, 3, 4, 5)]


@pytest.mark.parametrize("since", ["soon", "{", "{}x", '{"wk": 1}', '{"wk/a.b": -1}'])
def test_a_since_that_is_nothing_is_refused(folder, since):
    with pytest.raises(Refusal) as refused:
        watch.cursor_at(str(folder), since)

    assert refused.value.code == "usage"


def test_a_late_event_with_an_old_id_is_delivered(folder):
    """It was written elsewhere long ago and arrives now."""
    append(folder, "ev", BO, [50])
    cursor = watch.cursor_at(str(folder), id_at(40))

    append(folder, "ev", ADA, [1])

    assert ids(seen(folder, cursor)) == [id_at(1), id_at(50)]


def lines_of(path: Path) -> list[bytes]:
    """A file's lines with their newlines."""
    return path.read_bytes().splitlines(keepends=True)


def edit(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b"noted", b"faked"), *lines[4:]]


def cut(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3][:50] + b"\n", *lines[4:]]


def delete(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[4:]]


def repeat(lines: list[bytes]) -> list[bytes]:
    return [*lines[:6], lines[3], *lines[6:]]


def swap(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def number(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"seq":4', b'"seq":4000000'), *lines[4:]]


DAMAGES = {
    edit: ({3}, {"edited"}),
    cut: ({3}, {"unreadable", "missing"}),
    delete: ({3}, {"missing"}),
    repeat: (set(), {"repeated_line", "out_of_order"}),
    swap: (set(), {"out_of_order"}),
    number: ({3}, {"missing", "out_of_order"}),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("step", [1, 2, 3, 11], ids="{} lines a look".format)
@pytest.mark.parametrize("restarts", [False, True], ids=["one reader", "a reader a look"])
def test_damage_is_told_and_keeps_no_other_event_back(folder, damage, step, restarts):
    """However the lines arrive. One bit of a number must not silence its journal."""
    append(folder, "ev", BO, range(10))
    path = file_of(folder, "ev", BO)
    lines = damage(lines_of(path))
    hurt, codes = DAMAGES[damage]
    path.write_bytes(b"")
    damages: list[watch.Damage] = []
    delivered: list[str] = []
    cursor: Any = {}
    one = watch.follow(str(folder), cursor, on_damage=damages.append)

    step = min(step, len(lines))
    for end in range(step, len(lines) + step, step):
        path.write_bytes(b"".join(lines[:end]))
        if restarts:
            batches = seen(folder, cursor, damages)
            cursor = batches[-1].cursor if batches else cursor
            delivered += ids(batches)
        else:
            append(folder, "wk", ADA, [100 + end])
            while id_at(100 + end) not in delivered:
                delivered += ids([next(one)])

    whole = [id_at(at) for at in range(10) if at not in hurt]
    assert set(whole) <= set(delivered)
    told_codes = {told.code for told in damages}
    assert told_codes == codes if step == len(lines) else told_codes <= codes | {"missing"}
    assert damages
    assert {told.path for told in damages} <= {str(path)}
    if not restarts:
        assert [delivered.count(event_id) for event_id in whole] == [1] * len(whole)
        assert len(damages) == len(set(damages))
