"""Reading the log of an attempt while it grows: the same bytes for everybody, by offset.

The log is a file, so whoever follows it, however slowly, never holds the command up. It
is whole when the shim has let its lock go.
"""

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Iterator

from coord.edge.run import output

_CHUNK_BYTES = 1 << 18
_GAP_LINE = b"gap "
STDERR = 2


class Log:
    """A place in the log of one attempt, and what lies behind it."""

    def __init__(self, folder: str, offset: int = 0) -> None:
        self._log = os.path.join(folder, output.LOG)
        self._index = os.path.join(folder, output.INDEX)
        self.offset = offset
        # How far the index was read, and the pieces read: (offset, stream).
        self._indexed = 0
        self._pieces: deque[tuple[int, int]] = deque()
        # What is not kept: from, to.
        self._gap = (0, 0)

    def news(self) -> Iterator[bytes]:
        """What the log holds beyond what was read, piece by piece; a line for what is gone."""
        for _, data in self._read():
            yield data

    def parted(self) -> Iterator[tuple[int, bytes]]:
        """The same, parted by stream: 1 is stdout, 2 stderr."""
        for start, data in self._read():
            if start < 0:
                yield STDERR, data
            else:
                yield from self._split(start, data)

    def raw(self, indexed: int) -> Iterator[tuple[bytes, int, bytes]]:
        """The same as it lies there: lines of the index, and an offset with what lies at it.

        indexed: from which byte of the index on. Lines come before the data that they tell of.
        """
        for start, data in self._read():
            lines = self._lines(indexed)
            indexed += len(lines)
            yield lines, start, data if start >= 0 else b""
        lines = self._lines(indexed)
        if lines:
            yield lines, self.offset, b""

    def _read(self) -> Iterator[tuple[int, bytes]]:
        """Pieces with their offsets; -1 for what we say ourselves."""
        try:
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            while data := os.pread(descriptor, _CHUNK_BYTES, self.offset):
                # Asked afterwards: what was read may have become a hole before that.
                self._read_index()
                start, end = self._gap
                if start <= self.offset < end:
                    yield -1, b"\n[%d bytes are not kept: %d to %d]\n" % (
                        end - self.offset, self.offset, end
                    )  # fmt: skip
                    self.offset = end
                    continue
                if self.offset < start:
                    data = data[: start - self.offset]
                while len(self._pieces) > 1 and self._pieces[1][0] <= self.offset:
                    self._pieces.popleft()
                at, self.offset = self.offset, self.offset + len(data)
                yield at, data
        finally:
            os.close(descriptor)

    def _read_index(self) -> None:
        """Read the lines that are whole; a piece is in the index before it is in the log."""
        whole = self._lines(self._indexed)
        self._indexed += len(whole)
        for line in whole.splitlines():
            first, _, last = line.split()
            if line.startswith(_GAP_LINE):
                start, end = line.split()[1:]
                self._gap = (int(start), int(end))
            else:
                self._pieces.append((int(first), int(last)))

    def _lines(self, start: int) -> bytes:
        """The whole lines of the index from a byte on."""
        with contextlib.suppress(FileNotFoundError), open(self._index, "rb") as stream:
            stream.seek(start)
            data = stream.read()
            return data[: data.rfind(b"\n") + 1]
        return b""

    def _split(self, start: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        first, end = start, start + len(data)
        later = itertools.islice(self._pieces, 1, None)
        bounds = [*itertools.takewhile(end.__gt__, (offset for offset, _ in later)), end]
        for (_, stream), bound in zip(self._pieces, bounds, strict=False):
            yield stream, data[start - first : bound - first]
            start = bound
