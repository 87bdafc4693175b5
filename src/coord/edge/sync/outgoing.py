"""From our journals onto the remote's refs, one ref per writer.

Each commit holds only lines that are new since its parent's, at most a mebibyte of each
journal, and the blobs they name. Commits say nothing that the lines do not, so a push that
was interrupted makes the same commits again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import event as events
from coord.core import sync
from coord.edge import blobs, journal
from coord.edge.sync import copies

_CHUNK_BYTES = 1 << 20


class Bundle(NamedTuple):
    """A writer's lines that the remote lacks, by tool, and the commit they go on from."""

    writer: str
    base: str
    lines: Mapping[str, Sequence[sync.Line]]

    @property
    def events(self) -> int:
        """How many lines these are."""
        return sum(map(len, self.lines.values()))

    def reach(self) -> dict[str, list[Any]]:
        """How far the remote has the journals once this is pushed."""
        return {
            f"{tool}/{self.writer}": [lines[-1].seq, lines[-1].digest]
            for tool, lines in self.lines.items()
        }


def beyond(folder: str, tool: str, writer: str, reach: Sequence[Any]) -> list[sync.Line] | None:
    """The lines of a journal after the one that the remote has; None where ours has another.

    reach: [seq, digest] of the remote's newest line, or nothing.
    """
    seq, digest = reach or (0, "")
    newest = _newest(folder, tool, writer, seq)
    if newest and sync.follows(newest, seq, digest):
        return newest
    lines = copies.trusted(folder, tool, writer)
    if seq and not any((line.seq, line.digest) == (seq, digest) for line in lines):
        return None
    return [line for line in lines if line.seq > seq]


def _newest(folder: str, tool: str, writer: str, seq: int) -> list[sync.Line]:
    """The lines of the newest segments after a number, as far as they go back to it."""
    lines: list[sync.Line] = []
    for segment in reversed(journal.segments_of(folder, tool, writer)):
        data, _ = journal.read(segment.path)
        found, _ = copies.lines_of(data)
        lines = [*found, *lines]
        if lines and lines[0].seq <= seq + 1:
            break
    return [line for line in lines if line.seq > seq]


def commits(folder: str, ref: str, bundle: Bundle) -> Iterator[bytes]:
    """The commits of a bundle as commands for `git fast-import`; the last one has mark 1."""
    chunked = {
        tool: sync.chunks([line.data for line in lines], _CHUNK_BYTES)
        for tool, lines in bundle.lines.items()
    }
    newest = max(line.raw["event_id"] for lines in bundle.lines.values() for line in lines)
    base = bundle.base
    for number in range(max(map(len, chunked.values()))):
        files = {
            f"{tool}.jsonl": b"\n".join(pieces[number]) + b"\n"
            for tool, pieces in chunked.items()
            if number < len(pieces)
        }
        yield from commit(ref, base, events.time_of(newest), _with_blobs(folder, files))
        base = ":1"


def commit(ref: str, base: str, time_ms: int, files: Mapping[str, bytes]) -> Iterator[bytes]:
    """A commit of just these files as commands for `git fast-import`, with mark 1.

    base: what it goes on from, "" for nothing.
    """
    yield f"commit {ref}\nmark :1\n".encode()
    yield f"committer coord <coord> {time_ms // 1000} +0000\ndata 0\n".encode()
    if base:
        yield f"from {base}\n".encode()
    yield b"deleteall\n"
    for path, data in sorted(files.items()):
        yield f"M 100644 inline {path}\ndata {len(data)}\n".encode() + data + b"\n"
    yield b"\n"


def _with_blobs(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a commit, with the blobs that its lines name and that are here."""
    found = dict(files)
    for data in files.values():
        if b'"sha256"' in data:
            for line in copies.lines_of(data)[0]:
                for named in blobs.named_in(line.raw.get("body", {})):
                    found.update(_blob(folder, named["sha256"]))
    return found


def _blob(folder: str, name: str) -> dict[str, bytes]:
    data = blobs.read(folder, name)
    return {} if data is None else {blobs.name_in_tree(name): data}
