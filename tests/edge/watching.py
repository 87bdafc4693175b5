"""Helpers for tests of live reading: appending, looking, and readers in processes.

A look (`seen`) is `follow` with a deadline of 0: it yields what is there and ends.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from coord.core import event as events
from coord.edge import journal, watch
from tests.strategies import id_at, raw

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
from tests.edge.watching import append
folder, tool, writer, first, count, size, *segment_bytes = sys.argv[1:]
if segment_bytes:
    journal.SEGMENT_BYTES = int(segment_bytes[0])
for at in range(int(first), int(first) + int(count), int(size)):
    with store.locked(folder):
        append(folder, tool, writer, range(at, at + int(size)))
"""


def empty_store(parent: Path) -> Path:
    """A store with nothing in it."""
    for tool in (*events.TOOLS, "local"):
        (parent / ".coord" / tool).mkdir(parents=True)
    return parent / ".coord"


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
