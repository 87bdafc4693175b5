"""Reading the log of an attempt while it grows: the same bytes for everybody, by offset.

The log is a file, so whoever follows it, however slowly, never holds the command up. It
is whole when the shim has let its lock go.
"""

import os
from collections.abc import Iterator

from coord.edge.run import shim

_CHUNK_BYTES = 1 << 18


class Log:
    """A place in the log of one attempt, and what lies behind it."""

    def __init__(self, folder: str, offset: int = 0) -> None:
        self._log = os.path.join(folder, shim.LOG)
        self._index = os.path.join(folder, shim.INDEX)
        self.offset = offset
        # How far the index was read, and the pieces read: (offset, stream).
        self._indexed = 0
        self._pieces: list[tuple[int, int]] = []

    def news(self) -> Iterator[bytes]:
        """What the log holds beyond what was read, piece by piece."""
        try:
            descriptor = os.open(self._log, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            while data := os.pread(descriptor, _CHUNK_BYTES, self.offset):
                self.offset += len(data)
                yield data
        finally:
            os.close(descriptor)

    def parted(self) -> Iterator[tuple[int, bytes]]:
        """The same, parted by stream: 1 is stdout, 2 stderr."""
        start = self.offset
        for data in self.news():
            self._read_index()
            yield from self._split(start, data)
            start = self.offset

    def _read_index(self) -> None:
        """Read the lines that are whole; a piece is in the index before it is in the log."""
        with open(self._index, "rb") as stream:
            stream.seek(self._indexed)
            data = stream.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._indexed += len(whole)
        for line in whole.splitlines():
            offset, _, number = line.split()
            self._pieces.append((int(offset), int(number)))

    def _split(self, start: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        end = start + len(data)
        while len(self._pieces) > 1 and self._pieces[1][0] <= start:
            self._pieces.pop(0)
        bounds = [offset for offset, _ in self._pieces[1:] if offset < end] + [end]
        for (_, stream), bound in zip(self._pieces, bounds, strict=False):
            yield stream, data[start - (end - len(data)) : bound - (end - len(data))]
            start = bound
