"""Waiting for folders to change or processes to end, in the kernel, with nothing loaded.

    a file in a watched folder changes    the kernel sends a signal at once (Linux)
    a process ends                        its descriptor becomes readable
    the kernel cannot watch               the wait ends when its time has come

It stands beside `edge.watch` because a worker forks: there must be no second thread, and
what it waits for besides journals are processes and logs. A wake-up is a hint.
"""

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Iterable
from types import TracebackType

SWEEP_S = 1.0
# Where the kernel does not tell, looking has to be more frequent to be of use.
_BLIND_SWEEP_S = 0.1
_CHANGES = ("DN_MODIFY", "DN_CREATE", "DN_RENAME", "DN_DELETE", "DN_MULTISHOT")


class Wake:
    """Watches folders as long as it is entered (main thread only)."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._folders = [*folders]
        self._descriptors: list[int] = []
        self.sweep_s = SWEEP_S

    def __enter__(self) -> "Wake":
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        numbers = (signal.SIGIO, signal.SIGCHLD)
        self._before = {number: signal.signal(number, _do_nothing) for number in numbers}
        self._wakeup = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        for folder in self._folders:
            self._watch(folder)
        return self

    def _watch(self, folder: str) -> None:
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            self._descriptors.append(descriptor)
            changes = sum(getattr(fcntl, name) for name in _CHANGES)
            fcntl.fcntl(descriptor, fcntl.F_NOTIFY, changes)
        except (OSError, AttributeError):
            self.sweep_s = _BLIND_SWEEP_S

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, also: Iterable[int] = (), wait_s: float | None = None) -> bool:
        """Wait for a change, a descriptor to be readable, or the time; whether there was one.

        Raises KeyboardInterrupt on SIGINT.
        """
        poll = select.poll()
        for descriptor in (self._reading, *also):
            poll.register(descriptor, select.POLLIN)
        wait_s = self.sweep_s if wait_s is None else min(wait_s, self.sweep_s)
        came = poll.poll(max(0.0, wait_s) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
        return bool(came)

    def wait_until(self, ends_at: float, also: Iterable[int] = ()) -> bool:
        """The same, until an instant of the monotonic clock."""
        return self.wait(also, ends_at - time.monotonic())


def _do_nothing(_signal: int, _frame: object) -> None:
    """A handler of Python's, so that the kernel's signal reaches the pipe and ends nobody."""
