"""The lines that were not delivered yet, each journal in its order, all by event id.

What a look at the files finds, and what is done about it:

    a segment grew, its last line is where it was     the new lines
    it is shorter, or other bytes stand there         it is read again; only numbers
                                                      above the cursor are delivered
    a line without its newline                        waits
    a line that cannot be read, or that the chain
    speaks against (`core.chain`)                     told as damage, left out
    a segment or a folder is gone                     whoever brings it back is heard

A segment of unchanged size is taken as unchanged: were it replaced by one of the same
size, what it says would still have numbers that were delivered, or the next line that
is added shows it. The cursor moves along lines that the chain vouches for; one that
stands alone is delivered, but a restart may deliver it again: its number may be wrong.
"""

import contextlib
import heapq
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from coord.core import chain_end, ev
from coord.core import event as events
from coord.core.chain_end import ChainEnd
from coord.edge import clock, journal
from coord.edge.journal import Line, Segment
from coord.edge.watch import finding

BATCH_EVENTS = 500
_CHUNK_BYTES = 2 * events.MAX_LINE_BYTES

Raw = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a line of a journal: a stable code, and where to look."""

    tool: str
    writer: str
    seq: int
    path: str
    offset: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Events to deliver, each with whether it is quarantined, and where they stand.

    before: the cursor before the first. reached: per event, the journal's name and what
    its cursor becomes with it.
    """

    events: Sequence[tuple[Raw, bool]]
    before: ev.Cursor
    reached: Sequence[tuple[str, int]]

    @property
    def cursor(self) -> dict[str, int]:
        """The cursor after all of them."""
        return self.cursor_after(len(self.events))

    def cursor_after(self, count: int) -> dict[str, int]:
        """The cursor of a reader that goes no further than the first `count`."""
        cursor = dict(self.before)
        for name, seq in self.reached[:count]:
            cursor[name] = max(seq, cursor.get(name, 0))
        return cursor


class Entry(NamedTuple):
    """An event on its way into a batch; compares by when it is to be delivered.

    order_id: the largest id of the journal so far, so that no event overtakes an
    earlier one of its writer. reached: what the journal's cursor becomes.
    """

    order_id: str
    name: str
    seq: int
    reached: int
    raw: Raw


Place = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class _Mark:
    """How far a segment was read: to the byte `offset`.

    last: offset, bytes and digest of the last line before that.
    seen: the file's size then; beyond `offset` a line waits for its newline.
    """

    offset: int = 0
    last: Place = (0, 0, "")
    seen: int = -1


class Unread:
    """A place in all journals of a store, and what lies behind it."""

    def __init__(self, folder: str, cursor: ev.Cursor, on_damage: Callable[[Damage], None]) -> None:
        self._folder, self._on_damage = folder, on_damage
        self._cursor: ev.Cursor = dict(cursor)
        self._journals: dict[str, Journal] = {}

    def batches(self) -> Iterator[Batch]:
        """What the files hold now beyond what was yielded."""
        groups = grouped(listed(self._folder))
        entries = heapq.merge(*(self._journal(n, s).news(s) for n, s in groups))
        while taken := list(itertools.islice(entries, BATCH_EVENTS)):
            horizon = events.horizon(clock.now_ms())
            marked = [(entry.raw, entry.raw["event_id"] >= horizon) for entry in taken]
            batch = Batch(marked, self._cursor, [(entry.name, entry.reached) for entry in taken])
            self._cursor = batch.cursor
            yield batch

    def _journal(self, name: str, segments: Sequence[Segment]) -> "Journal":
        if name not in self._journals:
            begun = Journal(name, self._cursor.get(name, 0), self._on_damage)
            begun.begin(segments)
            self._journals[name] = begun
        return self._journals[name]


class Journal:
    """One journal: how far each of its files was read, and the end of its chain."""

    def __init__(self, name: str, seq: int, on_damage: Callable[[Damage], None]) -> None:
        self._name, self._on_damage = name, on_damage
        self._first = 0
        self._marks: dict[int, _Mark] = {}
        self._end = ChainEnd(seq)
        self._told: set[tuple[object, ...]] = set()

    def begin(self, segments: Sequence[Segment]) -> None:
        """Stand right behind the last line delivered, where there is one."""
        reached = self._end.reached
        found = finding.newest(segments, up_to_seq=reached) if reached else None
        if found is not None:
            segment, line, _ = found
            self._marks[segment.number] = _Mark(line.offset + line.size + 1, _place(line))
            # What stands in the segments before was delivered, whatever becomes of them.
            self._first = segment.number
            self._end = ChainEnd(reached, _linked(line, segment.path))

    def news(self, segments: Sequence[Segment]) -> Iterator[Entry]:
        """The journal's new events, in order."""
        if not any(map(self._has_more, segments)):
            return
        order_id = ""
        # A segment may have grown to its end after it was listed and before the next one
        # was made: all but the last are complete by now, so ask once more how long they are.
        for segment in [*map(_as_it_is_now, segments[:-1]), segments[-1]]:
            for line, reached in self._news_in(segment):
                order_id = max(order_id, line.raw["event_id"])
                yield Entry(order_id, self._name, line.seq, reached, line.raw)

    def _has_more(self, segment: Segment) -> bool:
        mark = self._marks.get(segment.number, _Mark())
        return segment.number >= self._first and segment.size != mark.seen

    def _news_in(self, segment: Segment) -> Iterator[tuple[chain_end.Line, int]]:
        if not self._has_more(segment):
            return
        mark = self._marks.get(segment.number, _Mark())
        try:
            yield from self._read_on(segment, mark)
        except FileNotFoundError:
            # It is being replaced this very moment: the next look finds it.
            self._forget_from(segment.number)
        except OSError as error:
            self._marks[segment.number] = _Mark(mark.offset, mark.last, seen=segment.size)
            text = f"the file cannot be read: {os.strerror(error.errno or 0)}"
            self._tell(segment.path, mark.offset, "unreadable", text)

    def _read_on(self, segment: Segment, mark: _Mark) -> Iterator[tuple[chain_end.Line, int]]:
        if mark.offset and not (segment.size >= mark.offset and _holds(segment.path, mark.last)):
            mark = _Mark()
            self._forget_from(segment.number)
        while mark.offset < segment.size:
            data, seen = _chunk(segment.path, mark.offset)
            lines = list(journal.lines(data, mark.offset))
            last = _place(lines[-1]) if lines else mark.last
            mark = self._marks[segment.number] = _Mark(mark.offset + len(data), last, seen)
            if not data:
                return
            yield from self._fresh(segment.path, lines)

    def _forget_from(self, number: int) -> None:
        """Read a segment and those after it once more."""
        self._marks = {n: mark for n, mark in self._marks.items() if n < number}
        self._end = ChainEnd(self._end.reached)

    def _fresh(self, path: str, lines: Iterable[Line]) -> Sequence[tuple[chain_end.Line, int]]:
        """Of lines just read, those to deliver, each with how far the cursor moves then."""
        good = []
        for line in lines:
            if line.raw is None:
                self._tell(path, line.offset, "unreadable", f"the line {line.fault}")
            else:
                good.append(_linked(line, path))
        taken = self._end.take(good)
        for where, damage in taken.damages:
            self._tell(where.path, where.offset, damage.code, damage.message, damage.seq)
        return taken.lines

    def _tell(self, path: str, offset: int, code: str, message: str, seq: int = 0) -> None:
        """Report damage, once: a line is looked at again whenever its file is replaced."""
        once = (code, seq) if seq else (code, path, offset, message)
        if once not in self._told:
            self._told.add(once)
            tool, _, writer = self._name.partition("/")
            self._on_damage(Damage(tool, writer, seq, path, offset, code, message))


def _as_it_is_now(segment: Segment) -> Segment:
    """A listed segment, as long as it has become; reading tells when it is gone."""
    with contextlib.suppress(OSError):
        return segment._replace(size=os.path.getsize(segment.path))
    return segment


def _linked(line: Line, path: str) -> chain_end.Line:
    """A line that can be read, as the chain sees it."""
    raw = line.raw
    assert raw is not None, "it can be read"
    prev = raw.get("prev", "")
    prev = prev if isinstance(prev, str) else ""
    return chain_end.Line(raw["seq"], prev, line.digest, path, line.offset, raw)


def _place(line: Line) -> Place:
    return line.offset, line.size, line.digest


def _holds(path: str, last: Place) -> bool:
    """Whether the last line read still stands there, byte for byte."""
    offset, size, digest = last
    with open(path, "rb") as stream:
        stream.seek(offset)
        data = stream.read(size + 1)
    return not size or (data[-1:] == b"\n" and journal.digest_of(data[:-1]) == digest)


def _chunk(path: str, start: int) -> tuple[bytes, int]:
    """Some whole lines from `start` on, and how far the file was looked at."""
    with open(path, "rb") as stream:
        stream.seek(start)
        data = stream.read(_CHUNK_BYTES)
        # Only a damaged line is longer than a chunk.
        while b"\n" not in data and (more := stream.read(_CHUNK_BYTES)):
            data += more
    return data[: data.rfind(b"\n") + 1], start + len(data)


def listed(folder: str) -> list[Segment]:
    """All segments of the store; none while a file vanishes in the middle of listing."""
    with contextlib.suppress(FileNotFoundError):
        return journal.segments(folder)
    return []


def grouped(segments: Iterable[Segment]) -> Iterator[tuple[str, list[Segment]]]:
    """The segments by journal, `<tool>/<writer>`."""
    for (tool, writer), group in itertools.groupby(segments, key=_journal_of):
        yield f"{tool}/{writer}", list(group)


def _journal_of(segment: Segment) -> tuple[str, str]:
    return segment.tool, segment.writer
