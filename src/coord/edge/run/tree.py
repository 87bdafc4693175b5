"""The processes that descend from one: who they are, and how all of them are ended.

It needs nothing but the standard library.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable

LOOK_S = 0.02


def living() -> dict[int, int]:
    """Every process that lives, with its parent."""
    found = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError):
                found[int(name)] = _parent(name)
    return found


def _parent(name: str) -> int:
    with open(f"/proc/{name}/stat", "rb") as stream:
        # The name of the program may hold anything; what follows the last bracket is not.
        state, parent = stream.read().rpartition(b")")[2].split()[:2]
    if state in (b"Z", b"X"):
        raise ValueError("dead")
    return int(parent)


def below(but: Iterable[int] = ()) -> set[int]:
    """The living processes that descend from this one.

    but: children that are left out, with all that descends from them.
    """
    parents = living()
    left = set(but)
    found: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found - left
        found |= level
    return found


def kill_all(but: Iterable[int] = ()) -> None:
    """Kill all that descends from this process.

    What forks faster than it is killed is stopped first: nothing that is stopped can
    fork, so in the end nobody is left who is not.
    """
    but = set(but)
    stopped: set[int] = set()
    while True:
        new = below(but) - stopped
        for pid in new:
            send(pid, signal.SIGSTOP)
        if not new:
            break
        stopped |= new
    kill(stopped)


def end_all(but: Iterable[int] = ()) -> None:
    """Kill all that descends from this process, and return when nothing of it is left."""
    but = set(but)
    while below(but):
        kill_all(but)
        time.sleep(LOOK_S)


def kill(pids: Iterable[int]) -> None:
    """Kill processes."""
    for pid in pids:
        send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may have gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
