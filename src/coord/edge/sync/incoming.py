"""From the remote's refs into our copies of the journals.

    refs/coord/w/<writer>    commits whose trees hold the lines new since their parents',
                             `<tool>.jsonl`, and the blobs these name, `blobs/ab/<sha256>`
    refs/coord/archive       the same of many writers, `<writer>/<tool>.jsonl`

Commits are walked from where the last sync ended, oldest first, and taken in batches; the
store's lock is held for one batch at a time and never while git talks to the remote.
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from coord.core import digest, sync
from coord.core import event as events
from coord.edge import blobs, git, store
from coord.edge.store import Place
from coord.edge.sync import copies

ARCHIVE = "archive"
WRITERS = "w/"
_BATCH_BYTES = 8 << 20
_LINES = re.compile(rf"(?:([^/]+)/)?({'|'.join(events.TOOLS)})\.jsonl")
_BLOB = re.compile(r"(?:[^/]+/)?blobs/[0-9a-f]{2}/([0-9a-f]{64})")


def writer_of(name: str) -> str:
    """The writer whose ref this is, by its name behind the prefix; "" for another ref."""
    writer = name[len(WRITERS) :] if name.startswith(WRITERS) else ""
    return writer if events.WRITER.fullmatch(writer) else ""


def is_journal(name: str) -> bool:
    """Whether a ref, by its name behind the prefix, holds journals."""
    return name == ARCHIVE or bool(writer_of(name))


def may_have(name: str, writers: Collection[str]) -> bool:
    """Whether a ref may hold lines of one of these writers."""
    return name == ARCHIVE or writer_of(name) in writers


class Part(NamedTuple):
    """A file that a commit added: lines of a journal, or a blob; and in which ref."""

    name: str
    writer: str
    tool: str
    blob: str
    data: bytes


class Incoming:
    """What one sync has brought, and how far the remote's refs have each journal."""

    def __init__(
        self,
        place: Place,
        repository: git.Repository,
        tracking: str,
        wounds: Collection[str] = (),
    ) -> None:
        self._place, self._repository, self._tracking = place, repository, tracking
        self._wounded = set(wounds)
        self.events: dict[str, int] = {}
        self.entities: set[str] = set()
        self.problems: list[dict[str, Any]] = []

    @property
    def writers(self) -> list[str]:
        """Whose journals have grown, or gone on in two ways."""
        forked = {problem["journal"].partition("/")[2] for problem in self.problems
                  if "journal" in problem}  # fmt: skip
        return sorted({*self.events, *forked})

    def take(
        self, names: Sequence[str], known: Sequence[str], reached: dict[str, dict[str, Any]]
    ) -> None:
        """Append what refs have that our copies lack.

        names: refs, fetched into our tracking refs. known: the commits up to which they
        were taken before. reached: per ref and journal [seq, digest]; kept up to date.
        """
        batch: list[Part] = []
        size = 0
        for part in self.parts(names, known):
            batch.append(part)
            size += len(part.data)
            if size > _BATCH_BYTES:
                self._append(batch, reached)
                batch, size = [], 0
        if batch:
            self._append(batch, reached)

    def parts(self, names: Sequence[str], known: Sequence[str]) -> Iterator[Part]:
        """What the commits of refs added, oldest first, but for what known commits have."""
        refs = [self._tracking + name for name in names]
        found = []
        for change in self._repository.added(refs, known):
            name = change.ref[len(self._tracking) :]
            part = self._part(name, change.path)
            if part is not None:
                found.append((part, change.name))
        contents = self._repository.objects([name for _, name in found])
        for (part, _), data in zip(found, contents, strict=True):
            if data is None:
                self._tell("blob", f"{part.name}: the remote does not have one of its objects")
            else:
                yield part._replace(data=data)

    def _part(self, name: str, path: str) -> Part | None:
        lines, blob = _LINES.fullmatch(path), _BLOB.fullmatch(path)
        if blob:
            return Part(name, "", "", blob[1], b"")
        if lines is None:
            return None
        writer = writer_of(name) or (lines[1] or "")
        return Part(name, writer, lines[2], "", b"") if events.WRITER.fullmatch(writer) else None

    def _append(self, batch: Sequence[Part], reached: dict[str, dict[str, Any]]) -> None:
        found = {part.blob: part.data for part in batch if part.blob}
        good = {name: data for name, data in found.items() if _is_blob(name, data)}
        for name in found.keys() - good.keys():
            self._tell("blob", f"a blob is not what its name says: {name}")
        with contextlib.ExitStack() as locks:
            locks.enter_context(store.locked(self._place.store))
            # Every append is made under its journal's lock too, whoever holds the store's.
            for tool in sorted({part.tool for part in batch if part.tool}):
                folder = os.path.join(self._place.store, tool)
                os.makedirs(folder, exist_ok=True)
                locks.enter_context(store.locked(folder))
            blobs.store(self._place.store, good)
            batched = copies.Copies(self._place.store, self._wounded)
            for part in batch:
                if part.tool:
                    self._take_lines(batched, part, reached.setdefault(part.name, {}))
            batched.write()
        for journal in sorted(set(batched.forked)):
            text = f"{journal} goes on in two ways; the other one is kept whole in attic/"
            self._tell("forked", text, journal=journal)

    def _take_lines(self, batched: copies.Copies, part: Part, reached: dict[str, Any]) -> None:
        lines, faults = copies.lines_of(part.data)
        good = [line for line in lines if line.raw["writer"] == part.writer]
        faults += ["is of another writer"] * (len(lines) - len(good))
        for fault in faults:
            self._tell("bad_line", f"{part.name}: a line of {part.tool} {fault}")
        if not good:
            return
        name = f"{part.tool}/{part.writer}"
        new = batched.take(
            part.tool, part.writer, good, lambda: self._whole(part.name, part.tool, part.writer)
        )
        reached[name] = [good[-1].seq, good[-1].digest]
        if new:
            self.events[part.writer] = self.events.get(part.writer, 0) + len(new)
            self.entities |= {events.entity_of(line.raw) for line in new}

    def _whole(self, name: str, tool: str, writer: str) -> list[sync.Line]:
        """Everything that the remote has of a journal, from its first line."""
        there = self._repository.refs(self._tracking)
        names = [ref for ref in (ARCHIVE, name) if ref in there]
        lines: dict[str, sync.Line] = {}
        for part in self.parts(names, []):
            if (part.tool, part.writer) == (tool, writer):
                found, _ = copies.lines_of(part.data)
                lines.update((line.digest, line) for line in found)
        return list(lines.values())

    def _tell(self, code: str, message: str, **facts: str) -> None:
        problem = {"code": code, "message": message, **facts}
        if problem not in self.problems:
            self.problems.append(problem)


def _is_blob(name: str, data: bytes) -> bool:
    return digest.sha256(data).hexdigest() == name


def attic_of(folder: str) -> str:
    """The folder of what could not be merged; made when it is not there."""
    path = os.path.join(folder, events.ATTIC)
    with store.refusing_disk_errors(path):
        os.makedirs(path, exist_ok=True)
    return path
