"""What is new in the journals since they were last read, and how far each goes.

Inode and time prove nothing (git reuses both), so a journal is known to continue
what was read when no segment is shorter than it was and the last line read is still
there, byte for byte: it vouches for all lines before it. Where it is not, or where new
lines do not continue the chain, `Changed` asks for everything to be read anew, and
then `core.chain` sorts the damaged journal's lines.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from coord.core import digest
from coord.edge import journal
from coord.edge.journal import Line, Segment, Tip

if TYPE_CHECKING:
    from coord.core import chain


class Changed(Exception):
    """Bytes that were read before are no longer there as they were."""


class Mark(NamedTuple):
    """How far a segment was read: its number `seg`, size, and the last line's place."""

    seg: int
    size: int
    last_offset: int
    last_size: int
    last_digest: str


class Found(NamedTuple):
    """New lines of one segment: those to use, those that are damaged, and its marks."""

    segment: Segment
    lines: Sequence[Line]
    damages: Sequence[tuple[int, int, str, str]]
    mark: tuple[int, int, int, str]
    tip: Tip


Key = tuple[str, str, int]
# An event id, its segment's number, offset and size, and the event.
Placed = tuple[str, int, int, int, Mapping[str, Any]]


def key_of(segment: Segment) -> Key:
    """What names a segment in the index."""
    return segment.tool, segment.writer, segment.number


def unread(segments: Sequence[Segment], marks: Mapping[Key, Mark]) -> list[Segment]:
    """The segments with bytes that were not read yet; raises `Changed`."""
    if marks.keys() - {key_of(s) for s in segments}:
        raise Changed("a segment is gone")
    marked = [s for s in segments if key_of(s) in marks and marks[key_of(s)].last_size]
    # In order of their numbers, so that each journal's newest one stays.
    for newest in {(s.tool, s.writer): s for s in marked}.values():
        _check_last_line(newest.path, marks[key_of(newest)])
    # Where a journal has a new segment, the one before it may have grown after it was
    # listed: what it holds now is final.
    grown = {(s.tool, s.writer) for s in segments if key_of(s) not in marks}
    now = [s._replace(size=os.path.getsize(s.path)) if s[:2] in grown else s for s in segments]
    return [s for s in now if _has_more(s, marks.get(key_of(s)))]


def unfinished(segments: Sequence[Segment], marks: Mapping[Key, Mark]) -> list[Segment]:
    """The segments with bytes behind the last line that was read."""
    ends = {key: mark.size for key, mark in marks.items()}
    return [s for s in segments if s.size > ends.get(key_of(s), 0)]


def _has_more(segment: Segment, mark: Mark | None) -> bool:
    if mark is None:
        return segment.size > 0
    if segment.size < mark.size:
        raise Changed(f"{segment.path} is shorter than it was")
    return segment.size > mark.size and _has_newline(segment.path, mark.size)


def _has_newline(path: str, start: int) -> bool:
    """Whether a line ends behind `start`: a torn tail alone is nothing to read."""
    with open(path, "rb") as stream:
        stream.seek(start)
        return any(b"\n" in part for part in iter(lambda: stream.read(65536), b""))


def _check_last_line(path: str, mark: Mark) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, mark.last_size + 1, mark.last_offset)
    finally:
        os.close(descriptor)
    if data[-1:] != b"\n" or journal.digest_of(data[:-1]) != mark.last_digest:
        raise Changed(f"{path} was changed where it had been read")


def new_lines(segment: Segment, mark: Mark | None, tip: Tip) -> Found:
    """Read on where the mark says; raises `Changed` where the chain breaks."""
    start = mark.size if mark else 0
    data, _ = journal.read(segment.path, start)
    good: list[Line] = []
    damages: list[tuple[int, int, str, str]] = []
    last = (mark.last_offset, mark.last_size, mark.last_digest) if mark else (0, 0, "")
    seq, vouched, _ = tip
    for line in journal.lines(data, start, digest.sha256_for(len(data))):
        offset, size, own, raw, fault = line
        last = (offset, size, own)
        if raw is None:
            damages.append((0, offset, "unreadable", f"the line {fault}"))
            continue
        seq += 1
        if raw["seq"] != seq or raw.get("prev", "") != vouched:
            raise Changed(f"{segment.path} breaks the chain at byte {offset}")
        vouched = own
        good.append(line)
    if good and good[-1].raw:
        tip = Tip(seq, vouched, good[-1].raw["event_id"])
    return Found(segment, good, damages, (start + len(data), *last), tip)


def all_lines(segments: Sequence[Segment]) -> Iterator[Found]:
    """Every segment of one damaged journal, its lines sorted by `core.chain`."""
    # Only damage needs it: no command pays for it at its start.
    from coord.core import chain

    links: list[chain.Link] = []
    places: list[tuple[int, int]] = []
    for number, segment in enumerate(segments):
        data, _ = journal.read(segment.path)
        for line in journal.lines(data):
            if line.raw is not None:
                prev = line.raw.get("prev", "")
                prev = prev if isinstance(prev, str) else ""
                links.append(chain.Link(len(links), line.raw["seq"], prev, line.digest))
                places.append((number, line.offset))
    good, damages = chain.judge(links)
    trusted = {places[place] for place in good}
    tip_link = max((links[p] for p in good), key=_seq_of, default=None)
    for number, segment in enumerate(segments):
        mine = [
            (d.seq, places[d.place][1], d.code, d.message)
            for d in damages
            if places[d.place][0] == number
        ]
        yield _sorted_segment(segment, number, trusted, mine, tip_link)


def _seq_of(link: "chain.Link") -> int:
    return link.seq


def _sorted_segment(
    segment: Segment,
    number: int,
    trusted: set[tuple[int, int]],
    damages: list[tuple[int, int, str, str]],
    tip_link: "chain.Link | None",
) -> Found:
    data, _ = journal.read(segment.path)
    good, last, tip = [], (0, 0, ""), journal.NO_TIP
    for line in journal.lines(data):
        last = (line.offset, line.size, line.digest)
        if line.raw is None:
            damages.append((0, line.offset, "unreadable", f"the line {line.fault}"))
        elif (number, line.offset) in trusted:
            good.append(line)
            if tip_link is not None and line.digest == tip_link.digest:
                tip = Tip(line.raw["seq"], line.digest, line.raw["event_id"])
    return Found(segment, good, damages, (len(data), *last), tip)


def whole_journal(segments: Sequence[Segment]) -> Iterator[Found]:
    """Every line of one journal from its beginning; raises `Changed` midway if damaged."""
    tip = journal.NO_TIP
    for segment in segments:
        found = new_lines(segment, None, tip)
        yield found
        tip = found.tip


def merged(segments: Sequence[Segment], ended: list[Found]) -> Iterator[Placed]:
    """Every line of all journals by event id; `Changed` for damage or ids that do not grow.

    Segments are numbered from 1, as listed. ended: gets each segment, without its lines,
    in that order too.
    """
    # Sorted when all is read: journals end in any order.
    sha256 = digest.sha256_for(sum(s.size for s in segments))
    numbers = {segment.path: number for number, segment in enumerate(segments, 1)}
    ends: dict[int, Found] = {}
    import heapq

    streams = [_growing(group, numbers, ends, sha256) for group in journals(segments)]
    yield from heapq.merge(*streams)
    ended.extend(ends[number] for number in sorted(ends))


def _growing(
    group: Sequence[Segment],
    numbers: Mapping[str, int],
    ends: dict[int, Found],
    sha256: digest.Sha256,
) -> Iterator[Placed]:
    """The lines of one journal that has no damage and whose ids grow."""
    seq, vouched, newest = 0, "", ""
    for segment in group:
        seg, size, line = numbers[segment.path], 0, None
        damages: list[tuple[int, int, str, str]] = []
        for start, data in journal.blocks(segment.path, segment.size):
            size = start + len(data)
            for line in journal.lines(data, start, sha256):
                offset, length, own, raw, fault = line
                if raw is None:
                    damages.append((0, offset, "unreadable", f"the line {fault}"))
                    continue
                event_id = raw["event_id"]
                seq += 1
                if raw["seq"] != seq or raw.get("prev", "") != vouched:
                    raise Changed(f"{segment.path} breaks the chain at byte {offset}")
                if event_id <= newest:
                    raise Changed(f"{segment.path} goes back in time at byte {offset}")
                vouched, newest = own, event_id
                yield event_id, seg, offset, length, raw
        last = (line.offset, line.size, line.digest) if line else (0, 0, "")
        ends[seg] = Found(segment, (), damages, (size, *last), Tip(seq, vouched, newest))


def settled_journal(segments: Sequence[Segment]) -> list[Found]:
    """Every line of one journal, damaged or not; all in memory at once."""
    try:
        return list(whole_journal(segments))
    except Changed:
        return list(all_lines(segments))


def damage_of(segments: Sequence[Segment]) -> Iterator[dict[str, Any]]:
    """What is wrong with one journal: {kind, code, tool, writer, seq?, path, offset, message}."""
    try:
        damages = [(f.segment, d) for f in whole_journal(segments) for d in f.damages]
    except Changed:
        damages = [(f.segment, d) for f in all_lines(segments) for d in f.damages]
    for segment, (seq, offset, code, message) in damages:
        row = {
            "kind": "journal",
            "code": code,
            "tool": segment.tool,
            "writer": segment.writer,
            "seq": seq,
            "path": segment.path,
            "offset": offset,
            "message": message,
        }
        yield {key: value for key, value in row.items() if (key, value) != ("seq", 0)}


def journals(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """The segments grouped by journal, in order."""
    group: list[Segment] = []
    for segment in segments:
        if group and (group[0].tool, group[0].writer) != (segment.tool, segment.writer):
            yield group
            group = []
        group.append(segment)
    if group:
        yield group
