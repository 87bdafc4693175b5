"""Our copies of other clones' journals: where lines from elsewhere are appended.

A copy is the journal itself, `<tool>/<writer>`, or what contradicts it, whole, in
`attic/<tool>.<writer>.<hash>`. The store's lock is held all the while.
"""

import os
from collections.abc import Callable, Sequence

from coord.core import event as events
from coord.core import sync
from coord.edge import journal
from coord.edge.index import reading

_HASH_CHARS = 8
Whole = Callable[[], Sequence[sync.Line]]


def lines_of(data: bytes) -> tuple[list[sync.Line], list[str]]:
    """The events in a piece of a journal, and what is wrong with the other lines."""
    found, faults = [], []
    for line in data.split(b"\n"):
        if line:
            raw, fault = journal.parse(line)
            if raw is None:
                faults.append(fault)
                continue
            prev = raw.get("prev", "")
            found.append(
                sync.Line(
                    raw["seq"],
                    prev if isinstance(prev, str) else "",
                    journal.digest_of(line),
                    line,
                    raw,
                )
            )
    return found, faults


def trusted(folder: str, tool: str, writer: str) -> list[sync.Line]:
    """The lines of a journal in this store that the reader uses, by number."""
    found = []
    for part in reading.settled_journal(journal.segments_of(folder, tool, writer)):
        with open(part.segment.path, "rb") as stream:
            for line in part.lines:
                assert line.raw is not None, "only what can be read is trusted"
                stream.seek(line.offset)
                data = stream.read(line.size)
                prev = line.raw.get("prev", "")
                found.append(sync.Line(line.raw["seq"], prev, line.digest, data, line.raw))
    return sorted(found, key=_number)


def _number(line: sync.Line) -> int:
    return line.seq


def held_by(lines: Sequence[sync.Line]) -> dict[int, sync.Held]:
    """Lines as what is held under each number."""
    return {line.seq: sync.Held(line.digest, line.prev) for line in lines}


class Copies:
    """The copies that one batch of lines is appended to.

    wounded: the copies with damage or lines out of their order, `folder/name`; kept up to date.
    """

    def __init__(self, folder: str, wounded: set[str]) -> None:
        self._folder, self._wounded = folder, wounded
        self._appenders: dict[tuple[str, str], journal.Appender] = {}
        self._held: dict[tuple[str, str], dict[int, sync.Held]] = {}
        self._taken: dict[tuple[str, str], list[sync.Line]] = {}
        self.forked: list[str] = []

    def take(
        self, tool: str, writer: str, lines: Sequence[sync.Line], whole: Whole
    ) -> list[sync.Line]:
        """Take what is new of a journal's lines into the batch.

        whole: reads their side from its first line.
        Returns the lines taken; those of a fork go to the attic.
        """
        for copy in [(tool, writer), *self._attics(tool, writer)]:
            new = self._fitting(copy, lines)
            if new is not None:
                return self._append(copy, new)
        ours = self._held_in((tool, writer))
        theirs = whole()
        name = sync.first_conflict(theirs, ours).digest[:_HASH_CHARS]
        self.forked.append(f"{tool}/{writer}")
        copy = (events.ATTIC, f"{tool}.{writer}.{name}")
        there = self._digests_in(copy)
        return self._append(copy, [line for line in theirs if line.digest not in there])

    def _attics(self, tool: str, writer: str) -> list[tuple[str, str]]:
        beginning = f"{tool}.{writer}."
        try:
            names = os.listdir(os.path.join(self._folder, events.ATTIC))
        except FileNotFoundError:
            names = []
        written = {name.rsplit(".", 2)[0] for name in names if name.startswith(beginning)}
        opened = {name for folder, name in self._appenders if name.startswith(beginning)}
        return [(events.ATTIC, name) for name in sorted(written | opened)]

    def _fitting(
        self, copy: tuple[str, str], lines: Sequence[sync.Line]
    ) -> Sequence[sync.Line] | None:
        tip = self._appender(copy).tip
        # The last line is the newest one only where all lines stand in their order.
        if "/".join(copy) not in self._wounded and sync.follows(lines, tip.seq, tip.digest):
            return lines
        return sync.fitting(lines, self._held_in(copy))

    def _append(self, copy: tuple[str, str], lines: Sequence[sync.Line]) -> list[sync.Line]:
        appender = self._appender(copy)
        if not sync.follows(lines, appender.tip.seq, appender.tip.digest):
            self._wounded.add("/".join(copy))
        for line in lines:
            appender.copy(line.data, line.raw)
        self._taken.setdefault(copy, []).extend(lines)
        if copy in self._held:
            self._held[copy].update(held_by(lines))
        return list(lines)

    def _digests_in(self, copy: tuple[str, str]) -> set[str]:
        """Every line that stands in a copy, trusted or not."""
        self._appender(copy)
        found = {line.digest for line in self._taken.get(copy, ())}
        for segment in journal.segments_of(self._folder, *copy):
            data, _ = journal.read(segment.path)
            found.update(line.digest for line in journal.lines(data))
        return found

    def _appender(self, copy: tuple[str, str]) -> journal.Appender:
        if copy not in self._appenders:
            os.makedirs(os.path.join(self._folder, copy[0]), exist_ok=True)
            self._appenders[copy] = journal.Appender(self._folder, *copy)
        return self._appenders[copy]

    def _held_in(self, copy: tuple[str, str]) -> dict[int, sync.Held]:
        if copy not in self._held:
            tip = self._appender(copy).tip
            held = held_by([*trusted(self._folder, *copy), *self._taken.get(copy, ())])
            if tip.seq and tip.seq not in held:
                # A whole line that lacks its newline: the batch begins with it.
                before = held.get(tip.seq - 1, sync.Held("", ""))
                held[tip.seq] = sync.Held(tip.digest, before.digest)
            self._held[copy] = held
        return self._held[copy]

    def write(self) -> None:
        """Append the batch; wait for the disk where nobody would notice that lines are gone.

        A journal that ends earlier than it did is taken from the remote again, so its lines
        need not be waited for: with a thousand files that took 6 s and more (measured).
        """
        for (folder, _), appender in self._appenders.items():
            appender.write(wait=folder == events.ATTIC)
