"""What a command prints, on its way to disk: `log`, and `index` with a line for each piece.

    offset time_ms stream    from this offset on it was this stream's, at that time
    gap start end            the bytes between are not kept: the log has reached its cap

Offsets are those of what the command wrote, whatever is kept of it: the first half of the
cap stays, the rest follows the end, and between them the file has a hole. Where the file
system knows no holes, only the first half is kept. Secrets are masked before anything is
written. It needs nothing but the standard library.
"""

import ctypes
import os
import time
from collections.abc import Iterable

from coord.edge.run.redaction import Redaction

LOG, INDEX, GAP = "log", "index", "gap"
DEFAULT_CAP_BYTES = 64 << 20
_BLOCK = 4096
_KEEP_SIZE, _PUNCH_HOLE = 1, 2
_LIBC = ctypes.CDLL(None, use_errno=True)


class Output:
    """The log and the index of one attempt, as its shim writes them."""

    def __init__(
        self, folder: str, cap: int, secrets: Iterable[bytes] = (), has_holes: bool = True
    ) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._log = os.open(os.path.join(folder, LOG), flags, 0o666)
        self._index = os.open(os.path.join(folder, INDEX), flags, 0o666)
        self._secrets = [*secrets]
        self._redactions: dict[int, Redaction] = {}
        self._stamp = (-1, -1)
        # Up to here nothing is given up; and how much of the end is kept besides.
        self._head = (cap // 2 + _BLOCK - 1) // _BLOCK * _BLOCK
        self._step = max(_BLOCK, cap // 16)
        self._tail = cap - self._head - self._step
        self._has_holes = has_holes
        self.bytes = 0
        self.gap: tuple[int, int] | None = None

    def write(self, stream: int, data: bytes) -> None:
        """Take a piece of a stream; what may be the beginning of a secret waits."""
        if self._secrets:
            redaction = self._redactions.setdefault(stream, Redaction(self._secrets))
            data = redaction.feed(data)
        self._put(stream, data)

    def finish(self) -> None:
        """The streams have ended; when this returns all of it is on disk."""
        for stream, redaction in self._redactions.items():
            self._put(stream, redaction.flush())
        kept = os.fstat(self._log).st_size
        if kept < self.bytes:
            self._note(f"{GAP} {kept} {self.bytes}")
            self.gap = (kept, self.bytes)
            os.ftruncate(self._log, self.bytes)
        if self.bytes:
            os.fdatasync(self._log)

    def _put(self, stream: int, data: bytes) -> None:
        if not data:
            return
        stamp = (time.time_ns() // 1_000_000, stream)
        if stamp != self._stamp:
            self._note(f"{self.bytes} {stamp[0]} {stamp[1]}")
            self._stamp = stamp
        if self._has_holes or self.bytes < self._head:
            write_all(self._log, data)
        self.bytes += len(data)
        self._give_up()

    def _note(self, line: str) -> None:
        write_all(self._index, line.encode() + b"\n")

    def _give_up(self) -> None:
        """Keep to the cap: what lies between the head and the end goes."""
        end = (self.bytes - self._tail) // _BLOCK * _BLOCK
        before = self.gap[1] if self.gap else self._head
        if end - before < self._step or not self._has_holes:
            return
        # First the note: who reads zeros after that knows that they are none of the command's.
        self._note(f"{GAP} {self._head} {end}")
        self._has_holes = punch(self._log, before, end)
        self.gap = (self._head, end)


def punch(descriptor: int, start: int, end: int) -> bool:
    """Give a part of a file back to the disk; its offsets stay."""
    try:
        mode = _KEEP_SIZE | _PUNCH_HOLE
        place, size = ctypes.c_int64(start), ctypes.c_int64(end - start)
        return bool(_LIBC.fallocate(descriptor, mode, place, size) == 0)
    except AttributeError:
        return False


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it."""
    while data:
        data = data[os.write(descriptor, data) :]
