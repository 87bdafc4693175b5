"""Whether the lines of a journal from elsewhere go on where our copy of it ends.

Our copy and theirs are the same journal as far as each number has the same bytes:

    a line we hold, byte for byte             passed over
    it follows what we hold                   new
    it fills a hole, and our next line
    carries its hash                          new: a repair
    ours has other bytes under its number,
    before it, or vouched for behind it       a fork: nothing of it fits

A number that is nowhere is no contradiction: the line may have been damaged where it was
written, and what follows was acknowledged all the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line of a journal; `digest` is of its bytes, `prev` what it claims for the one before."""

    seq: int
    prev: str
    digest: str
    data: bytes
    raw: Mapping[str, Any]


class Held(NamedTuple):
    """What our copy has under a number."""

    digest: str
    prev: str


def follows(lines: Sequence[Line], seq: int, digest: str) -> bool:
    """Whether lines, each after the other, follow the one of this number and hash."""
    for line in lines:
        if line.seq != seq + 1 or line.prev != digest:
            return False
        seq, digest = line.seq, line.digest
    return True


def fitting(lines: Sequence[Line], held: Mapping[int, Held]) -> list[Line] | None:
    """The lines that our copy lacks, in their order; None for a fork.

    held: the lines of our copy that are trusted, by number.
    """
    known = dict(held)
    new = []
    for line in lines:
        ours = known.get(line.seq)
        if ours is not None and ours.digest == line.digest:
            continue
        before, after = known.get(line.seq - 1), known.get(line.seq + 1)
        if ours is not None or not _joins(line, before, after):
            return None
        known[line.seq] = Held(line.digest, line.prev)
        new.append(line)
    return new


def _joins(line: Line, before: Held | None, after: Held | None) -> bool:
    if before is not None and before.digest != line.prev:
        return False
    return after is None or after.prev == line.digest


def first_conflict(lines: Sequence[Line], held: Mapping[int, Held]) -> Line:
    """The line that names a fork: the first that our copy does not hold."""
    for line in lines:
        ours = held.get(line.seq)
        if ours is None or ours.digest != line.digest:
            return line
    return lines[-1]


def chunks(lines: Sequence[bytes], limit: int) -> list[Sequence[bytes]]:
    """Lines in pieces of at most `limit` bytes, or one line."""
    found: list[Sequence[bytes]] = []
    begin = size = 0
    for place, line in enumerate(lines):
        if place > begin and size + len(line) + 1 > limit:
            found.append(lines[begin:place])
            begin, size = place, 0
        size += len(line) + 1
    if lines:
        found.append(lines[begin:])
    return found
