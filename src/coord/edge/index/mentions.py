"""The events that mention a file.

The lines are searched as bytes, segment by segment, and only those with the path in
them are parsed: a table of all paths in all bodies would cost every build more than
this costs whoever asks. Leases on patterns (`path:src/**`) need not contain the path,
so all leases on paths are looked at.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from coord.core import causes
from coord.edge import journal
from coord.edge.index import Index
from coord.edge.journal import Segment

_ON_PATHS = b'"path:'
Raw = Mapping[str, Any]


def of_path(known: Index, path: str, limit: int) -> list[Raw]:
    """The newest events about a path, the newest first; all with limit 0."""
    # As a line spells it, which writers other than ours may do otherwise.
    spelled = orjson.dumps(path)[1:-1]
    found: set[str] = set()
    room = bytearray()
    for segment in journal.segments(known.folder):
        needles = (spelled, _ON_PATHS) if segment.tool == "lease" else (spelled,)
        for line in _lines_with(segment, needles, room):
            raw, _ = journal.parse(line)
            if raw is not None and causes.mentions(raw, path):
                found.add(raw["event_id"])
    newest = sorted(found, reverse=True)[: limit or None]
    # Once more from the index, which leaves out what is damaged.
    return [raw for raw in map(known.event, newest) if raw is not None]


def _lines_with(segment: Segment, needles: tuple[bytes, ...], room: bytearray) -> Iterator[bytes]:
    """The whole lines of a segment that contain one of these."""
    size = _filled(room, segment)
    for needle in needles:
        place = room.find(needle, 0, size)
        while place >= 0:
            start, end = room.rfind(b"\n", 0, place) + 1, room.find(b"\n", place, size)
            if end < 0:
                # Not written to its end yet.
                return
            yield bytes(room[start:end])
            place = room.find(needle, end, size)


def _filled(room: bytearray, segment: Segment) -> int:
    """Read a segment into memory that is used again for the next: new memory costs more."""
    if len(room) < segment.size:
        room.extend(bytes(segment.size - len(room)))
    descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.preadv(descriptor, [room], 0)
    finally:
        os.close(descriptor)
