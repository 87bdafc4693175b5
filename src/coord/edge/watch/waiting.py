"""Waiting for the tool folders to change, and never longer than the next look.

    the kernel reports a change     at once, but for the library's own step
    nothing is reported             the wait ends when the caller's time has come
    a folder was made or replaced   it is watched from then on
    the kernel cannot watch         waits without it: the caller looks once a second

Rules: what the kernel says is a hint. The library asks its own thread every `step`
whether there was a change and answers one step later; so the step is short while
things happen and longer when they do not: each costs a wake-up.
"""

import os
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING

from coord.core.event import FOLDERS

if TYPE_CHECKING:
    from watchfiles._rust_notify import RustNotify

SWEEP_S = 1.0
_BUSY_STEP_MS = 4
_QUIET_STEP_MS = 10
_QUIET_AFTER_S = 2.0


class Ending:
    """What ends a wait besides a change: its time has come, or somebody says stop.

    ends_at: on the monotonic clock; the library's own timeout follows the wall clock
    and would wait for hours when that is set back.
    """

    def __init__(self, ends_at: float, stop: threading.Event) -> None:
        self._ends_at, self._stop = ends_at, stop

    def is_set(self) -> bool:
        """Whether to wait no longer; the library asks before every step."""
        return self._stop.is_set() or time.monotonic() >= self._ends_at

    def wait(self) -> None:
        """Wait for it alone."""
        self._stop.wait(max(0.0, self._ends_at - time.monotonic()))


class Waiter:
    """Watches the tool folders of a store as long as it is entered."""

    def __init__(self, folder: str) -> None:
        self._folders = [os.path.join(folder, tool) for tool in FOLDERS]
        self._identities: list[tuple[int, int]] = []
        self._notify: RustNotify | None = None
        self._quiet_at = 0.0

    def __enter__(self) -> "Waiter":
        self._watch_anew()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def wait(self, ending: Ending) -> None:
        """Return when something may have changed, or at the ending.

        Raises KeyboardInterrupt on SIGINT.
        """
        if self._identities != _identities(self._folders):
            # A watch is on the folder itself, not on its name: look again at once.
            self._watch_anew()
        elif self._notify is None:
            ending.wait()
        else:
            self._wait_for(self._notify, ending)

    def _wait_for(self, notify: "RustNotify", ending: Ending) -> None:
        now = time.monotonic()
        step_ms = _BUSY_STEP_MS if now < self._quiet_at else _QUIET_STEP_MS
        try:
            answer = notify.watch(1, step_ms, 0, ending)
        except RuntimeError:
            # The library gave up, on a name that is no UTF-8 for one.
            self._close()
            return
        if answer == "signal":
            raise KeyboardInterrupt
        if not isinstance(answer, str):
            self._quiet_at = time.monotonic() + _QUIET_AFTER_S

    def _watch_anew(self) -> None:
        from watchfiles._rust_notify import RustNotify

        self._close()
        self._identities = _identities(self._folders)
        there = [path for path in self._folders if os.path.isdir(path)]
        if not there:
            return
        try:
            self._notify = RustNotify(there, False, False, int(SWEEP_S * 1000), False, False)
        except (OSError, RuntimeError):
            # No watches left, or none on this disk.
            self._notify = None

    def _close(self) -> None:
        if self._notify is not None:
            self._notify.close()
            self._notify = None


def _identities(paths: list[str]) -> list[tuple[int, int]]:
    """What tells a folder from another one of its name; (0, 0) where there is none."""
    found = []
    for path in paths:
        try:
            status = os.stat(path)
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append((0, 0))
    return found
