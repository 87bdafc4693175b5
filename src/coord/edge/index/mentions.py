"""The events that mention a file.

The lines are searched as bytes, segment by segment, and only those with the path in
them are parsed: a table of all paths in all bodies would cost every build more than
this costs whoever asks. Leases on patterns (`path:src/**`) need not contain the path,
so all leases on paths are looked at.
"""

import mmap
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from coord.core import causes
from coord.edge import journal
from coord.edge.index import Index

_ON_PATHS = b'"path:'
Raw = Mapping[str, Any]


def of_path(known: Index, path: str, limit: int) -> list[Raw]:
    """The newest events about a path, the newest first; all with limit 0."""
    # As a line spells it, which writers other than ours may do otherwise.
    spelled = orjson.dumps(path)[1:-1]
    found: set[str] = set()
    for segment in journal.segments(known.folder):
        needles = (spelled, _ON_PATHS) if segment.tool == "lease" else (spelled,)
        for line in _lines_with(segment.path, needles):
            raw, _ = journal.parse(line)
            if raw is not None and causes.mentions(raw, path):
                found.add(raw["event_id"])
    newest = sorted(found, reverse=True)[: limit or None]
    # Once more from the index, which leaves out what is damaged.
    return [raw for raw in map(known.event, newest) if raw is not None]


def _lines_with(path: str, needles: tuple[bytes, ...]) -> Iterator[bytes]:
    with open(path, "rb") as stream:
        if not stream.seek(0, 2):
            return
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for needle in needles:
                yield from _lines_at(data, needle)


def _lines_at(data: mmap.mmap, needle: bytes) -> Iterator[bytes]:
    place = data.find(needle)
    while place >= 0:
        start, end = data.rfind(b"\n", 0, place) + 1, data.find(b"\n", place)
        if end < 0:
            # Not written to its end yet.
            return
        yield data[start:end]
        place = data.find(needle, end)
