"""The copy of a log that grows at another host: the same bytes at the same offsets.

`log` and `index` are copied as they lie there, pieces and gaps included, so that whoever
follows the copy sees what he would see there. A copy that was cut off anywhere goes on
where it ends. It needs nothing but the standard library.
"""

import os

from coord.edge.run import output


class Mirror:
    """The files `log` and `index` in the folder of an attempt."""

    def __init__(self, folder: str) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._log = os.open(os.path.join(folder, output.LOG), flags, 0o666)
        self._index = os.open(os.path.join(folder, output.INDEX), flags | os.O_APPEND, 0o666)
        self.offset = os.fstat(self._log).st_size
        # A line that was cut off is asked for again.
        size = os.fstat(self._index).st_size
        self.indexed = os.pread(self._index, size, 0).rfind(b"\n") + 1
        os.ftruncate(self._index, self.indexed)

    def take(self, lines: bytes, offset: int, data: bytes) -> None:
        """Take what has come: lines of the index, then what lies at an offset of the log."""
        output.write_all(self._index, lines)
        self.indexed += len(lines)
        for line in lines.splitlines():
            if line.startswith(output.GAP.encode()):
                start, end = map(int, line.split()[1:])
                if start < self.offset:
                    output.punch(self._log, start, min(end, self.offset))
        while data:
            written = os.pwrite(self._log, data, offset)
            data, offset = data[written:], offset + written
        self.offset = max(self.offset, offset)

    def finish(self, size: int) -> None:
        """That was all; when this returns it is on disk."""
        kept = os.fstat(self._log).st_size
        if kept < size:
            # It has been told to another copy of this store, and is not kept there any more.
            output.write_all(self._index, f"{output.GAP} {kept} {size}\n".encode())
            os.ftruncate(self._log, size)
        os.fdatasync(self._log)
        os.fdatasync(self._index)

    def close(self) -> None:
        """Let go of the files."""
        os.close(self._log)
        os.close(self._index)
