"""Starting a shim: forks of the worker, which need no second start of Python."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any

from coord.edge.run import guard

# The guards of our shims; and those whose shims have ended, which may take a moment more.
_guards: dict[int, int] = {}
_ended: set[int] = set()


def words_of(tool: str) -> list[str]:
    """The words that start one of our own tools, whatever the search path says."""
    return [sys.executable, "-c", f"from coord.cli.{tool} import main; main()"]


def launch(folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """Start the shim of an attempt, and its guard, and answer the shim's pid.

    The lock is theirs from then on. No store may be locked and no index open meanwhile: the
    forks would keep them.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    above = os.fork()
    if not above:
        guard.stand(writing, folder, lock, spec, environment)
    os.close(writing)
    os.close(lock)
    pid = int(os.read(reading, 32) or 0)
    os.close(reading)
    _guards[pid] = above
    return pid


def bury(pid: int) -> None:
    """Take the status of the guard of a shim of ours that has ended, and of earlier ones."""
    if pid:
        _ended.add(_guards.pop(pid, pid))
    for above in (*_ended,):
        with contextlib.suppress(ChildProcessError):
            if not os.waitpid(above, os.WNOHANG)[0]:
                continue
        _ended.discard(above)
