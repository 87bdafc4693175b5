"""Journals on disk: append lines, read lines; nothing is ever rewritten.

    .coord/<tool>/<writer>.<NNNN>.jsonl    one writer's segments, 0001 upward

Appending happens under `flock` on the tool's folder: begin with a newline if the
last byte is none, write the batch, `fdatasync`, then answer. Reading goes up to
the last newline. The chain (`seq`, `prev`) is over raw bytes.
Source: coord-journal(5).
"""

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from coord.core import digest
from coord.core import event as events
from coord.edge import store
from coord.errors import Refusal

SEGMENT_BYTES = 1 << 20
BLOCK_BYTES = 1 << 17
_SUFFIX = ".jsonl"
_TAIL_BYTES = 2 * events.MAX_LINE_BYTES


class Segment(NamedTuple):
    """One file of a journal, as the folder lists it."""

    tool: str
    writer: str
    number: int
    path: str
    size: int


class Line(NamedTuple):
    """One line as read: `raw` is None when `fault` names why it cannot be used.

    offset: of its first byte in the segment; size: bytes without the newline.
    """

    offset: int
    size: int
    digest: str
    raw: Mapping[str, Any] | None
    fault: str


class Tip(NamedTuple):
    """How far a journal goes: its newest line's number, hash and event id."""

    seq: int
    digest: str
    event_id: str


NO_TIP = Tip(0, "", "")


def digest_of(line: bytes) -> str:
    """First 32 hex digits of the SHA-256 of a line without its newline."""
    return digest.sha256(line).hexdigest()[:32]


def segments(folder: str) -> list[Segment]:
    """All segments in the store, by tool, writer and number."""
    found = []
    for tool, entry in _entries(folder):
        writer, number = _named(entry.name)
        if writer and entry.is_file(follow_symlinks=False):
            # In inline mode git may take a file away between the two calls.
            with contextlib.suppress(FileNotFoundError):
                size = entry.stat().st_size
                found.append(Segment(tool, writer, number, entry.path, size))
    return sorted(found)


def strangers(folder: str) -> list[Segment]:
    """What has a segment's name and is no ordinary file: it is never opened.

    A link may lead anywhere, and a pipe would be waited for.
    """
    return sorted(
        Segment(tool, *_named(entry.name), entry.path, 0)
        for tool, entry in _entries(folder)
        if _named(entry.name)[0] and not entry.is_file(follow_symlinks=False)
    )


def _entries(folder: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    for tool in events.FOLDERS:
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(os.path.join(folder, tool))):
                yield tool, entry


def _named(name: str) -> tuple[str, int]:
    """The writer and number of a segment's file name; "" for another file's."""
    writer, _, number = name.removesuffix(_SUFFIX).rpartition(".")
    if name.endswith(_SUFFIX) and len(number) >= 4 and number.isascii() and number.isdigit():
        return writer, int(number)
    return "", 0


def read(path: str, start: int = 0) -> tuple[bytes, int]:
    """The bytes from `start` up to the last newline, and the file's whole size."""
    with open(path, "rb") as stream:
        stream.seek(start)
        data = stream.read()
    return data[: data.rfind(b"\n") + 1], start + len(data)


def blocks(path: str, limit: int) -> Iterator[tuple[int, bytes]]:
    """A segment up to its last newline in pieces of whole lines, each with its offset.

    limit: where to end, however long the file has become by now.
    Between two pieces the file is not open: any number of journals is read side by side.
    """
    start, size = 0, BLOCK_BYTES
    while True:
        with open(path, "rb") as stream:
            stream.seek(start)
            data = stream.read(min(size, limit - start))
        end = data.rfind(b"\n") + 1
        if end:
            yield start, data[:end]
            start, size = start + end, BLOCK_BYTES
        elif len(data) < size:
            return
        else:
            # A line over the limit: damage, but read all the same.
            size *= 2


def lines(data: bytes, start: int = 0, sha256: digest.Sha256 = digest.sha256) -> Iterator[Line]:
    """The lines of `data`, which ends in a newline; `start` is its offset.

    Empty lines are passed over: an append after a torn line leaves none, but
    other hands may.
    """
    offset = start
    for line in data.split(b"\n")[:-1]:
        if line:
            raw, fault = parse(line)
            yield Line(offset, len(line), sha256(line).hexdigest()[:32], raw, fault)
        offset += len(line) + 1


def parse(line: bytes) -> tuple[Mapping[str, Any] | None, str]:
    """A line's event, or why it is none."""
    if len(line) >= events.MAX_LINE_BYTES:
        return None, f"is {len(line) + 1} bytes long, over {events.MAX_LINE_BYTES}"
    try:
        raw = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return None, f"does not parse: {error}"
    fault = events.fault_in(raw) or _too_deep(line, raw)
    return (None, fault) if fault else (raw, "")


def _too_deep(line: bytes, raw: object) -> str:
    # Counting brackets takes a fraction of the time of parsing; few lines have so many.
    if line.count(b"{") + line.count(b"[") <= events.MAX_DEPTH or not events.is_too_deep(raw):
        return ""
    return f"has more than {events.MAX_DEPTH} objects and lists in one another"


def encode(raw: Mapping[str, Any]) -> bytes:
    """An event as its line, without the newline."""
    try:
        line = orjson.dumps(raw)
    except orjson.JSONEncodeError as error:
        raise Refusal("bad_data", f"the event cannot be written as JSON: {error}") from error
    fault = _too_deep(line, raw)
    if fault:
        raise Refusal("bad_data", f"the event {fault}")
    return line


def as_json(value: object) -> bytes:
    """Any value as compact JSON."""
    return orjson.dumps(value)


def from_json(data: bytes) -> Any:
    """The value of a JSON text; raises `ValueError`."""
    return orjson.loads(data)


def tip_on_disk(folder: str, tool: str, writer: str) -> tuple[Tip, int, bool]:
    """Where a journal ends: its tip, the open segment's number, and whether it is torn.

    Torn: the last byte is no newline. A tail without one that reads as the next
    event counts: the newline that the next append begins with completes it.
    """
    numbers = [s.number for s in segments_of(folder, tool, writer)]
    last = numbers[-1] if numbers else 1
    torn = False
    for number in reversed(numbers):
        tip, unfinished = _segment_tip(segment_path(folder, tool, writer, number))
        torn = torn or (number == last and unfinished)
        if tip is not None:
            return tip, last, torn
    return NO_TIP, last, torn


def segments_of(folder: str, tool: str, writer: str) -> list[Segment]:
    """One journal's segments in order."""
    found = []
    base = os.path.join(folder, tool)
    for entry in os.scandir(base):
        named, number = _named(entry.name) if entry.name.startswith(writer) else ("", 0)
        if named == writer and entry.is_file(follow_symlinks=False):
            size = entry.stat().st_size
            found.append(Segment(tool, writer, number, entry.path, size))
    return sorted(found)


def segment_path(folder: str, tool: str, writer: str, number: int) -> str:
    """The file of a journal's segment."""
    return os.path.join(folder, tool, f"{writer}.{number:04d}.jsonl")


def _segment_tip(path: str) -> tuple[Tip | None, bool]:
    with open(path, "rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        start = max(0, size - _TAIL_BYTES)
        stream.seek(start)
        data = stream.read()
        found = _last_good(data, whole=start == 0)
        if found is None and start:
            stream.seek(0)
            found = _last_good(stream.read(), whole=True)
    return found, bool(data) and not data.endswith(b"\n")


def _last_good(data: bytes, whole: bool) -> Tip | None:
    candidates = data.split(b"\n")
    for line in reversed(candidates if whole else candidates[1:]):
        raw, _ = parse(line) if line else (None, "")
        if raw is not None:
            return Tip(raw["seq"], digest_of(line), raw["event_id"])
    return None


class Appender:
    """One journal opened for a batch; the tool folder's lock is held by the caller."""

    def __init__(self, folder: str, tool: str, writer: str) -> None:
        self._folder, self._tool, self.writer = folder, tool, writer
        self.tip, self._number, self._torn = tip_on_disk(folder, tool, writer)
        self._lines: list[bytes] = []

    def begin_segment(self) -> None:
        """Leave the newest segment as it is and write into a new one."""
        if self.tip.seq:
            self._number, self._torn = self._number + 1, False

    def add(self, raw: Mapping[str, Any]) -> dict[str, Any] | None:
        """Take an event into the batch, with its place in the chain.

        raw: its keys in the order of `event.KEY_ORDER`.
        Returns the event as written; None when its line would be over the limit.
        """
        placed = {**raw, "writer": self.writer, "seq": self.tip.seq + 1}
        if self.tip.digest:
            placed["prev"] = self.tip.digest
        placed["v"] = events.VERSION
        line = encode(placed)
        if len(line) >= events.MAX_LINE_BYTES:
            return None
        self._lines.append(line)
        self.tip = Tip(placed["seq"], digest_of(line), placed["event_id"])
        return placed

    def copy(self, line: bytes, raw: Mapping[str, Any]) -> None:
        """Take a line of this journal as another clone wrote it into the batch."""
        self._lines.append(line)
        self.tip = Tip(raw["seq"], digest_of(line), raw["event_id"])

    def write(self, wait: bool = True) -> None:
        """Append the batch and wait until the disk has it.

        wait: without it, only what can be had again, from elsewhere, may be in the batch.
        """
        batch: Sequence[bytes] = self._lines
        self._lines = []
        with store.refusing_disk_errors(os.path.join(self._folder, self._tool)):
            while batch:
                batch = self._write_to_segment(batch, wait)

    def _write_to_segment(self, batch: Sequence[bytes], wait: bool) -> Sequence[bytes]:
        """Write what still fits into the open segment; answer the rest."""
        path = segment_path(self._folder, self._tool, self.writer, self._number)
        size = os.path.getsize(path) if os.path.exists(path) else 0
        # A torn line is finished where it began, even in a full segment.
        if size >= SEGMENT_BYTES and not self._torn:
            self._number += 1
            return batch
        taken = _fitting(batch, SEGMENT_BYTES - size)
        data = (b"\n" if self._torn else b"") + b"\n".join(batch[:taken]) + b"\n"
        _append(path, data, is_new=size == 0, wait=wait)
        self._torn = False
        return batch[taken:]


def _fitting(batch: Sequence[bytes], space: int) -> int:
    """How many lines to write before the segment has reached its size; at least one."""
    count = 0
    while count < len(batch) and space > 0:
        space -= len(batch[count]) + 1
        count += 1
    return count


def _append(path: str, data: bytes, is_new: bool, wait: bool = True) -> None:
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o666)
    try:
        _refuse_full(descriptor, len(data))
        written = os.write(descriptor, data)
        while written < len(data):
            # A short write means a disk that is filling up: the next one says why.
            written += os.write(descriptor, data[written:])
        if wait:
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)
    if is_new and wait:
        sync_folder(os.path.dirname(path))


def _refuse_full(descriptor: int, count: int) -> None:
    """Refuse a batch that cannot fit before a part of it is written."""
    disk = os.fstatvfs(descriptor)
    if disk.f_bavail * disk.f_frsize < count:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def finish(path: str) -> None:
    """Complete a segment's last line with the newline that it lacks."""
    with store.refusing_disk_errors(path):
        _append(path, b"\n", is_new=False)


def sync_folder(path: str) -> None:
    """Wait until the disk has a folder's entries."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
