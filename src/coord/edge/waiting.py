"""The queue of those on this host who wait for a lease: order, and nothing but order.

Each waiter has a numbered ticket in `.coord/local/waiting/` and holds `flock` on it, so
one that dies leaves the queue by dying. Whoever comes later waits in the kernel for that
lock. Removing the folder loses the order; who holds what is decided by the journals.
"""

import contextlib
import fcntl
import os
from collections.abc import Mapping
from typing import Any

from coord.edge import journal, store

FOLDER = "waiting"
# As long as nobody's patience; the kernel's timer takes no more.
FOREVER_S = 30_000_000.0


class Queue:
    """The tickets of a store."""

    def __init__(self, local: str) -> None:
        self._folder = os.path.join(local, FOLDER)
        self._descriptor = -1
        self.number = 0

    def tickets(self) -> dict[int, Mapping[str, Any]]:
        """What those who are alive wait for, by number; the dead ones are cleared away."""
        if not os.path.isdir(self._folder):
            return {}
        with store.locked(self._folder):
            return self._alive()

    def _alive(self) -> dict[int, Mapping[str, Any]]:
        found = {}
        for number in self._numbers():
            ticket = self._read(number)
            if ticket is not None:
                found[number] = ticket
        return found

    def _numbers(self) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(int(name) for name in os.listdir(self._folder) if name.isdigit())
        return []

    def _path(self, number: int) -> str:
        return os.path.join(self._folder, f"{number:012d}")

    def _read(self, number: int) -> Mapping[str, Any] | None:
        try:
            with open(self._path(number), "rb") as stream:
                # Free for us to lock: whoever made this ticket is gone.
                if number != self.number and store.flock_now(stream.fileno(), fcntl.LOCK_SH):
                    os.unlink(self._path(number))
                    return None
                ticket = journal.from_json(stream.read())
        except (OSError, ValueError):
            return None
        return ticket if isinstance(ticket, dict) else None

    def enter(self, wanted: Mapping[str, Any]) -> int:
        """Take the next ticket; `leave` gives it back, and so does death."""
        os.makedirs(self._folder, exist_ok=True)
        with store.locked(self._folder):
            self.number = max(self._numbers(), default=0) + 1
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._descriptor = os.open(self._path(self.number), flags, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            os.write(self._descriptor, journal.as_json(wanted))
        return self.number

    def leave(self) -> None:
        """Let whoever waits for this ticket go on."""
        if self._descriptor >= 0:
            with contextlib.suppress(OSError):
                os.unlink(self._path(self.number))
            os.close(self._descriptor)
            self._descriptor = -1

    def wait_for(self, number: int, wait_s: float) -> None:
        """Wait until a ticket is given back. Refuses with `busy` at the deadline."""
        try:
            descriptor = os.open(self._path(number), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            store.flock_within(descriptor, fcntl.LOCK_SH, min(wait_s, FOREVER_S), "the queue")
        finally:
            os.close(descriptor)
