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

import heapq
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coord.core import chain, ev
from coord.core import event as events
from coord.edge import clock, journal
from coord.edge.journal import Line, Segment
from coord.edge.watch import finding

BATCH_EVENTS = 500
_CHUNK_BYTES = 2 * events.MAX_LINE_BYTES
# Lines that stand alone, kept until a later one vouches for them.
_KEPT_ALONE = 8

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
    """Events to deliver, each with whether it is quarantined, and the cursor after them."""

    events: Sequence[tuple[Raw, bool]]
    cursor: ev.Cursor


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


class _Known(NamedTuple):
    """A line of the chain that later ones may continue, and where it stands."""

    seq: int
    prev: str
    digest: str
    path: str
    offset: int


@dataclass(slots=True)
class _Mark:
    """How far a segment was read: to the byte `offset`, and the last line before it.

    seen: the file's size then; beyond `offset` is a line that waits for its newline.
    """

    seen: int = -1
    offset: int = 0
    last: tuple[int, int, str] = field(default=(0, 0, ""))

    def passed(self, line: Line) -> None:
        """Take a line as read."""
        self.last = (line.offset, line.size, line.digest)

    def holds(self, path: str) -> bool:
        """Whether the last line read still stands there, byte for byte."""
        offset, size, digest = self.last
        with open(path, "rb") as stream:
            stream.seek(offset)
            data = stream.read(size + 1)
        return not size or (data[-1:] == b"\n" and journal.digest_of(data[:-1]) == digest)


class Unread:
    """A place in all journals of a store, and what lies behind it."""

    def __init__(
        self, folder: str, cursor: ev.Cursor, on_damage: Callable[[Damage], None]
    ) -> None:
        self._folder, self._on_damage = folder, on_damage
        self._cursor = dict(cursor)
        self._journals: dict[str, _Journal] = {}

    def batches(self) -> Iterator[Batch]:
        """What the files hold now beyond what was yielded."""
        groups = grouped(listed(self._folder))
        entries = heapq.merge(*(self._journal(n, s).news(s) for n, s in groups))
        while taken := list(itertools.islice(entries, BATCH_EVENTS)):
            for entry in taken:
                self._cursor[entry.name] = max(entry.reached, self._cursor.get(entry.name, 0))
            horizon = events.horizon(clock.now_ms())
            marked = [(entry.raw, entry.raw["event_id"] >= horizon) for entry in taken]
            yield Batch(marked, dict(self._cursor))

    def _journal(self, name: str, segments: Sequence[Segment]) -> "_Journal":
        if name not in self._journals:
            begun = _Journal(name, self._cursor.get(name, 0), self._on_damage)
            begun.begin(segments)
            self._journals[name] = begun
        return self._journals[name]


class _Journal:
    """One journal: how far it was read, and the end of its chain."""

    def __init__(self, name: str, seq: int, on_damage: Callable[[Damage], None]) -> None:
        self._name, self._on_damage = name, on_damage
        self._tool, _, self._writer = name.partition("/")
        self._delivered = seq
        self._first = 0
        self._marks: dict[int, _Mark] = {}
        self._tip: _Known | None = None
        self._alone: list[_Known] = []
        self._told: set[tuple[object, ...]] = set()

    def begin(self, segments: Sequence[Segment]) -> None:
        """Stand right behind the last line delivered, where there is one."""
        found = finding.newest(segments, up_to_seq=self._delivered) if self._delivered else None
        if found is not None:
            line = found.line
            mark = _Mark(offset=line.offset + line.size + 1)
            mark.passed(line)
            self._marks[found.segment.number] = mark
            # What stands in the segments before was delivered, whatever becomes of them.
            self._first = found.segment.number
            self._tip = _known(line, found.segment.path)

    def news(self, segments: Iterable[Segment]) -> Iterator[Entry]:
        """The journal's new events, in order."""
        order_id = ""
        for segment in segments:
            for reached, raw in self._segment_news(segment):
                order_id = max(order_id, raw["event_id"])
                yield Entry(order_id, self._name, raw["seq"], reached, raw)

    def _segment_news(self, segment: Segment) -> Iterator[tuple[int, Raw]]:
        mark = self._marks.get(segment.number, _Mark())
        if segment.number < self._first or segment.size == mark.seen:
            return
        try:
            yield from self._read_on(segment, mark)
        except FileNotFoundError:
            # Replaced this very moment: the next look finds it.
            self._marks.pop(segment.number, None)
        except OSError as error:
            mark.seen = segment.size
            text = f"the file cannot be read: {os.strerror(error.errno or 0)}"
            self._tell(segment.path, 0, mark.offset, "unreadable", text)

    def _read_on(self, segment: Segment, mark: _Mark) -> Iterator[tuple[int, Raw]]:
        if mark.offset and (segment.size < mark.offset or not mark.holds(segment.path)):
            mark = _Mark()
            self._tip, self._alone = None, []
        self._marks[segment.number] = mark
        while mark.offset < segment.size:
            data, mark.seen = _chunk(segment.path, mark.offset)
            lines = list(journal.lines(data, mark.offset))
            if not data:
                return
            mark.offset += len(data)
            if lines:
                mark.passed(lines[-1])
            yield from self._fresh(segment.path, lines)

    def _fresh(self, path: str, lines: Iterable[Line]) -> list[tuple[int, Raw]]:
        """Of lines just read, the ones to deliver, each with what the cursor becomes."""
        good = [line for line in lines if not self._is_unreadable(path, line)]
        if self._continues(good):
            self._tip = _known(good[-1], path) if good else self._tip
            settled = {line.seq for line in good}
        else:
            good, settled = self._judged(path, good)
        fresh = []
        for line in good:
            raw = line.raw
        return fresh
