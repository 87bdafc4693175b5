"""What stands above shims: when one is killed, it ends all that the shim would have ended.

A shim is the parent of whatever its tree loses, so that nothing escapes it, whatever the
command has done to its environment and its files. When the shim itself is killed, its
children become those of the guard, the next one above that takes orphans in. The guard holds
the attempt's lock too until nothing of them lives: nobody takes the attempt for over before.

    launch     has a guard of its own for each shim
    nursery    is the guard of the shims that it forks, also when its worker has gone

It needs nothing but the standard library.
"""

import contextlib
import os
import signal
from collections.abc import Mapping
from typing import Any, NoReturn

from coord.edge.run import apart, shim, tree


class Guard:
    """The shims of this process, which takes their orphans in, and the locks of their attempts."""

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}
        apart.take_orphans_in()

    def __bool__(self) -> bool:
        """Whether a shim of ours lives."""
        return bool(self._locks)

    def start(
        self, folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]
    ) -> int:
        """Fork a shim; the lock is its own from then on, and ours."""
        pid = os.fork()
        if not pid:
            _become_shim(folder, lock, spec, environment)
        self._locks[pid] = lock
        return pid

    def reap(self, options: int = os.WNOHANG) -> None:
        """Bury what has died; what a killed shim has left behind is ended first."""
        killed = []
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, options)
                if not pid:
                    break
                lock = self._locks.pop(pid, -1)
                if lock >= 0 and not status:
                    # It has let the lock go itself, when its exit record was written.
                    os.close(lock)
                elif lock >= 0:
                    killed.append(lock)
                    # Whoever watches the holder of the lock is to watch us.
                    os.ftruncate(lock, 0)
                    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
                if options == 0:
                    break
        if killed:
            tree.end_all(but=self._locks)
        for lock in killed:
            os.close(lock)


def _become_shim(
    folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]
) -> NoReturn:
    try:
        if "host" in spec:
            from coord.edge.run import near

            near.run(folder, lock, spec, environment)
        else:
            shim.run(folder, lock, spec, environment)
        os._exit(0)
    finally:
        os._exit(1)


def stand(
    told: int, folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]
) -> NoReturn:
    """In a fork of the worker: be the guard of one shim, to its end; tell its pid."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        guard = Guard()
        os.write(told, b"%d" % guard.start(folder, lock, spec, environment))
        # From here on the worker's signals and descriptors are no matter of ours.
        apart.leave_worker(lock, keeps_stdin=False)
        apart.name_process(b"run-guard")
        while guard:
            guard.reap(0)
    finally:
        os._exit(0)
