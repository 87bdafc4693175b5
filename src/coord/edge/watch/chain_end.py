"""The end of one journal's chain, and whether new lines continue it.

As long as each line carries the hash of the one before it, nothing else is looked at.
Where one does not, `core.chain` sorts the new lines together with the end known so far:

    it carries the hash of the line before,
    or the line after carries its hash       believed: the cursor moves to it
    neither                                  alone: delivered, but the cursor waits; one
                                             flipped bit in a `seq` must not make a
                                             reader pass over all that follows
    the chain speaks against it              left out, and told
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coord.core import chain
from coord.edge.journal import Line

# How many lines that stand alone wait for a later one to vouch for them.
_ALONE = 8


@dataclass(frozen=True, slots=True)
class Known:
    """A line that was read, its part in the chain, and where it stands."""

    seq: int
    prev: str
    digest: str
    path: str
    offset: int
    raw: Mapping[str, Any]


def known(line: Line, path: str) -> Known:
    """A line that can be read, in the file where it stands."""
    raw = line.raw
    assert raw is not None, "it can be read"
    prev = raw.get("prev", "")
    prev = prev if isinstance(prev, str) else ""
    return Known(raw["seq"], prev, line.digest, path, line.offset, raw)


class ChainEnd:
    """The newest believed line of a journal, and what stands alone behind it."""

    def __init__(self, newest: Known | None = None) -> None:
        self._newest = newest
        self._alone: list[Known] = []

    def take(
        self, lines: Sequence[Known]
    ) -> tuple[list[tuple[Known, bool]], list[tuple[Known, chain.Damage]]]:
        """Sort lines just read, in the order of their file.

        Returns those to use, by seq, each with whether it is believed; and what is
        wrong, each with the line it is said of.
        """
        if not lines:
            return [], []
        if self._goes_on_with(lines):
            self._newest, self._alone = lines[-1], []
            return [(line, True) for line in lines], []
        before = [*([self._newest] if self._newest else []), *self._alone]
        together = [*before, *lines]
        places, damages = chain.judge(
            [chain.Link(n, line.seq, line.prev, line.digest) for n, line in enumerate(together)]
        )
        told = [(together[d.place], d) for d in damages if not self._has_passed(d)]
        used = [together[place] for place in sorted(places)]
        believed = _believed(used)
        new = [together[place] for place in sorted(places) if place >= len(before)]
        self._remember(used, believed)
        return [(line, line.seq in believed) for line in sorted(new, key=_number)], told

    def _goes_on_with(self, lines: Sequence[Known]) -> bool:
        seq, digest = (self._newest.seq, self._newest.digest) if self._newest else (0, "")
        for line in lines:
            if line.seq != seq + 1 or line.prev != digest:
                return False
            seq, digest = line.seq, line.digest
        return True

    def _has_passed(self, damage: chain.Damage) -> bool:
        """Whether it only says that lines from before are not looked at again."""
        return damage.code == "missing" and damage.seq <= (self._newest.seq if self._newest else 1)

    def _remember(self, used: Sequence[Known], believed: set[int]) -> None:
        sure = believed | ({self._newest.seq} if self._newest else set())
        self._newest = max((x for x in used if x.seq in sure), key=_number, default=None)
        reached = self._newest.seq if self._newest else 0
        alone = [line for line in used if line.seq not in sure and line.seq > reached]
        self._alone = alone[-_ALONE:]


def _believed(used: Sequence[Known]) -> set[int]:
    """The numbers of the lines that a neighbour vouches for."""
    digests = {line.seq: line.digest for line in used}
    return {
        line.seq
        for line in used
        # What is used and has a successor is what that successor carries the hash of.
        if line.seq + 1 in digests or line.prev == digests.get(line.seq - 1) or _is_first(line)
    }


def _is_first(line: Known) -> bool:
    return line.seq == 1 and not line.prev


def _number(line: Known) -> int:
    return line.seq
