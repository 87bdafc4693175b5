"""Whether the lines that arrive at the end of a journal continue its chain.

As long as each line carries the hash of the one before it, nothing else is looked at.
Where one does not, `core.chain` sorts the new lines together with the end known so far:

    it carries the hash of a line before, or
    a line after it carries its hash          believed: the cursor moves to it
    neither                                   delivered, but the cursor waits
    a believed line speaks against it         left out
    only such a line does that is not
    believed itself                           delivered all the same

Lines come one by one, so whoever vouches may be still to come; and one flipped bit in
a `seq` must neither hide another line nor make a reader pass over all that follow.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coord.core import chain

# How many lines that nobody vouches for wait for one that does.
_WAITING = 8


@dataclass(frozen=True, slots=True)
class Line:
    """A line as far as the chain goes, where it stands, and its event.

    digest: first 32 hex digits of the SHA-256 of its bytes without newline.
    prev: the digest it claims for its predecessor; "" on the first line.
    """

    seq: int
    prev: str
    digest: str
    path: str
    offset: int
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Taken:
    """What to do with new lines.

    lines: to deliver, by seq, each with the number up to which all was delivered then.
    damages: what is wrong, each with the line it is said of.
    """

    lines: Sequence[tuple[Line, int]]
    damages: Sequence[tuple[Line, chain.Damage]] = ()


class ChainEnd:
    """The end of one journal: its newest believed line, and what waits behind it.

    reached: up to which number everything was delivered. newest: the line of that
    number, None where it was not seen.
    """

    def __init__(self, reached: int = 0, newest: Line | None = None) -> None:
        self.reached = reached
        self._newest = newest
        self._waiting: list[Line] = []

    def take(self, lines: Sequence[Line]) -> Taken:
        """Sort lines just read, given in the order of their file."""
        if self._goes_on_with(lines):
            taken = Taken([(line, line.seq) for line in lines if line.seq > self.reached])
            self._newest = lines[-1]
        else:
            taken = self._sorted(lines)
        self.reached = max(self.reached, self._newest.seq if self._newest else 0)
        return taken

    def _goes_on_with(self, lines: Sequence[Line]) -> bool:
        seq, digest = (self._newest.seq, self._newest.digest) if self._newest else (0, "")
        for line in lines:
            if line.seq != seq + 1 or line.prev != digest:
                return False
            seq, digest = line.seq, line.digest
        # What waits may be one of these lines, or be vouched for by one of them.
        return bool(lines) and all(line.seq > seq + 1 for line in self._waiting)

    def _sorted(self, lines: Sequence[Line]) -> Taken:
        before = [*([self._newest] if self._newest else []), *self._waiting]
        together = [*before, *lines]
        links = [chain.Link(n, x.seq, x.prev, x.digest) for n, x in enumerate(together)]
        places, damages = chain.judge(links)
        places |= _undecided([together[place] for place in places], damages)
        used = [together[place] for place in sorted(places)]
        believed = _believed(used)
        new = [together[place] for place in sorted(places) if place >= len(before)]
        told = [(together[d.place], d) for d in damages if not self._has_passed(d)]
        self._remember(used, believed)
        return Taken(
            [
                (line, line.seq if line.digest in believed else 0)
                for line in sorted(new, key=_number)
                if line.seq > self.reached
            ],
            told,
        )

    def _has_passed(self, damage: chain.Damage) -> bool:
        """Whether it only says that lines from before are not looked at again."""
        return damage.code == "missing" and damage.seq <= self.reached

    def _remember(self, used: Sequence[Line], believed: set[str]) -> None:
        sure = believed | ({self._newest.digest} if self._newest else set())
        self._newest = max((x for x in used if x.digest in sure), key=_number, default=None)
        end = self._newest.seq if self._newest else 0
        waiting = [line for line in used if line.digest not in sure and line.seq > end]
        self._waiting = waiting[-_WAITING:]


def _believed(used: Iterable[Line]) -> set[str]:
    """The hashes of the lines that a neighbour vouches for."""
    there = {(line.seq, line.digest) for line in used}
    named = {(line.seq - 1, line.prev) for line in used}
    return {
        line.digest
        for line in used
        if (line.seq, line.digest) in named or (line.seq - 1, line.prev) in there or _is_first(line)
    }


def _undecided(used: Sequence[Line], damages: Iterable[chain.Damage]) -> set[int]:
    """The places of lines that nothing believed speaks against."""
    believed = _believed(used)
    sure = {line.seq for line in used if line.digest in believed}
    codes = ("edited", "seq_repeated")
    return {d.place for d in damages if d.code in codes and d.seq + 1 not in sure}


def _is_first(line: Line) -> bool:
    return line.seq == 1 and not line.prev


def _number(line: Line) -> int:
    return line.seq
