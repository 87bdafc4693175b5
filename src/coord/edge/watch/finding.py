"""Where in a journal to begin: its newest line up to a number or before an id.

Rules: files are read backwards, so only what will be delivered, and little more, is
looked at. A line is believed when its `prev` is the hash of the line before it: one
flipped bit in a `seq` must not make a reader pass over all that follows.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from coord.core.event import MAX_LINE_BYTES
from coord.edge import journal
from coord.edge.journal import Line, Segment

_WINDOW_BYTES = 4096
_ANY_SEQ = 1 << 63
ANY_ID = "~"


class Found(NamedTuple):
    """A line, its number and the segment it stands in."""

    segment: Segment
    line: Line
    seq: int


def newest(
    segments: Sequence[Segment], up_to_seq: int = _ANY_SEQ, before_id: str = ANY_ID
) -> Found | None:
    """The newest believable line with at most this number and an id before this one.

    segments: of one journal, in order.
    """
    later: Found | None = None
    for segment in reversed(segments):
        first = _first(segment)
        if first is not None and not _is_wanted(first, up_to_seq, before_id):
            later = None
            continue
        for earlier in _backwards(segment):
            if later and _is_wanted(later, up_to_seq, before_id) and _follows(later, earlier):
                return later
            later = earlier
    if later and _is_wanted(later, up_to_seq, before_id) and _is_first(later):
        return later
    return None


def _is_wanted(found: Found, up_to_seq: int, before_id: str) -> bool:
    raw = found.line.raw
    assert raw is not None, "only lines that can be read are found"
    return found.seq <= up_to_seq and raw["event_id"] < before_id


def _follows(later: Found, earlier: Found) -> bool:
    assert later.line.raw is not None
    return later.seq == earlier.seq + 1 and later.line.raw.get("prev") == earlier.line.digest


def _is_first(found: Found) -> bool:
    assert found.line.raw is not None
    return found.seq == 1 and "prev" not in found.line.raw


def _first(segment: Segment) -> Found | None:
    """A segment's first line, None when it cannot be read.

    Where it is past what is wanted, so is the segment. Should its number be damaged,
    the search ends further back, and what is read twice is not delivered twice.
    """
    data = _between(segment.path, 0, MAX_LINE_BYTES)
    lines = list(journal.lines(data[: data.find(b"\n") + 1]))
    return Found(segment, lines[0], lines[0].raw["seq"]) if lines and lines[0].raw else None


def _backwards(segment: Segment) -> Iterator[Found]:
    """The complete lines that can be read, the last one first."""
    for line in _lines_backwards(segment):
        if line.raw is not None:
            yield Found(segment, line, line.raw["seq"])


def _lines_backwards(segment: Segment) -> Iterator[Line]:
    end, window = segment.size, _WINDOW_BYTES
    while end:
        begin = max(0, end - window)
        data = _between(segment.path, begin, end)
        # The window begins inside a line unless it begins with the file.
        whole = data.find(b"\n") + 1 if begin else 0
        window *= 8
        if begin and whole in (0, len(data)):
            continue
        complete = data[whole : data.rfind(b"\n") + 1]
        yield from reversed(list(journal.lines(complete, begin + whole)))
        end = begin + whole


def _between(path: str, begin: int, end: int) -> bytes:
    """A part of a file; empty when it cannot be read: reading forward tells why."""
    try:
        with open(path, "rb") as stream:
            stream.seek(begin)
            return stream.read(end - begin)
    except OSError:
        return b""
