"""Cutting a fork loose from who forked it, and what else the kernel is asked about a process.

It needs nothing but the standard library.
"""

import contextlib
import ctypes
import gc
import os
import signal

_SET_DEATH_SIGNAL, _SET_NAME, _SET_SUBREAPER = 1, 15, 36
# The kernel's memory of a C library, found once: the worker loads it before it forks.
_LIBC = ctypes.CDLL(None, use_errno=True)


def leave_worker(lock: int, keeps_stdin: bool) -> None:
    """Let go of everything that is the worker's: its files, locks and signals."""
    gc.disable()
    signal.set_wakeup_fd(-1)
    os.closerange(3, lock)
    os.closerange(lock + 1, os.sysconf("SC_OPEN_MAX") if lock > 65_536 else 65_536)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2) if keeps_stdin else (0, 1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def stand_alone(lock: int, name: bytes, keeps_stdin: bool) -> None:
    """Be a process of its own that holds the lock of an attempt, and says so in it."""
    os.setsid()
    leave_worker(lock, keeps_stdin)
    name_process(name)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def take_orphans_in() -> None:
    """Become the parent of whatever descends from this process and loses its own (Linux)."""
    _prctl(_SET_SUBREAPER, 1)


def name_process(name: bytes) -> None:
    """Be told apart by people who list processes."""
    _prctl(_SET_NAME, name)


def die_with_parent() -> None:
    """Be killed when the process that forked us dies (Linux)."""
    _prctl(_SET_DEATH_SIGNAL, signal.SIGKILL)


def _prctl(option: int, value: int | bytes) -> None:
    with contextlib.suppress(AttributeError, OSError):
        _LIBC.prctl(option, value, 0, 0, 0)
