"""Processes: a command, what becomes of it, and the end of it with all that it started.

A command runs in a process group of its own, or, where a person sits at a terminal, in
ours, so that the terminal's keys reach it. Its tree is what descends from it; where this
process adopts orphans (Linux), also what has cut itself loose.
"""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NamedTuple

NOT_FOUND, NOT_EXECUTABLE = 127, 126
# What is passed on to a command.
PASSED_ON = (
    signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
)  # fmt: skip
_OURS: Mapping[int, int] = {}
_FROM_KEYS = (signal.SIGINT, signal.SIGQUIT)
# What Python ignores and a command must not find ignored.
_DEFAULTS = (signal.SIGPIPE, signal.SIGXFSZ)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# How long a helper may take to end: it may wait for a lock, or for a remote.
_STOPS_S = 5.0
_LOOK_S = 0.02
_LOOKS_AFTER_KILL = 250


class Command(NamedTuple):
    """A started command; `group` when it has a process group of its own."""

    pid: int
    group: bool


class NotStarted(Exception):
    """A command could not be started; `status` is what a shell answers then."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


def start(
    words: Sequence[str], environment: Mapping[str, str], streams: Mapping[int, int] = _OURS
) -> Command:
    """Start a command with our standard streams. Raises `NotStarted`.

    streams: descriptors that stand for some of them instead.
    """
    own_group = not os.isatty(0)
    options: dict[str, Any] = {"setpgroup": 0} if own_group else {}
    if streams:
        actions = [(os.POSIX_SPAWN_DUP2, given, stream) for stream, given in streams.items()]
        options["file_actions"] = actions
    try:
        pid = os.posix_spawnp(
            words[0], [*words], environment, setsigdef=_DEFAULTS, setsigmask=[], **options
        )
    except FileNotFoundError as error:
        raise NotStarted(NOT_FOUND, f"there is no command {words[0]}") from error
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise NotStarted(NOT_EXECUTABLE, f"cannot run {words[0]}: {reason}") from error
    return Command(pid, own_group)


def boot_s() -> float:
    """Seconds since the machine was started, those in which it slept included."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def adopt_orphans() -> None:
    """Become the parent of whatever descends from us and loses its own (Linux)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_when_orphaned(number: int, parent: int) -> None:
    """Have the kernel send us a signal when our parent dies (Linux)."""
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _prctl(option: int, value: int) -> None:
    import ctypes

    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def pass_on(number: int, command: Command) -> None:
    """Send a signal that we got to the command; the terminal's keys reach it anyhow."""
    if not command.group and number in _FROM_KEYS:
        return
    with contextlib.suppress(ProcessLookupError):
        if command.group:
            os.killpg(command.pid, number)
        else:
            os.kill(command.pid, number)


class Signals:
    """While entered, signals do nothing but wake `wait`, and are told by it."""

    def __enter__(self) -> "Signals":
        self._reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._writing = writing
        # Before the handlers: what comes while they do nothing must not be lost.
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._before = {n: signal.signal(n, _do_nothing) for n in (*PASSED_ON, signal.SIGCHLD)}
        return self

    def __exit__(self, *_error: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, also: int, wait_s: float | None) -> tuple[list[int], bool]:
        """The signals that came, and whether there is something to read from `also`.

        also: -1 for nothing. wait_s: None for as long as it takes.
        """
        watched = [self._reading] if also < 0 else [self._reading, also]
        span_s = None if wait_s is None else max(0.0, wait_s)
        ready, _, _ = select.select(watched, [], [], span_s)
        came: list[int] = []
        with contextlib.suppress(BlockingIOError):
            came += os.read(self._reading, 4096) if self._reading in ready else b""
        return came, also in ready


def _do_nothing(_signal: int, _frame: FrameType | None) -> None:
    """A handler of Python's, so that the call that waits is interrupted."""


def ended() -> Iterator[tuple[int, int]]:
    """Our children that have ended: pid and exit code, negative for a signal."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        yield pid, os.waitstatus_to_exitcode(status)


def family(command: Command, adopter: int = 0) -> set[int]:
    """The processes that live and belong to a command.

    adopter: who adopts what has cut itself loose, 0 for nobody. Its children belong too.
    """
    parents = _parents()
    found = {pid for pid, (parent, group) in parents.items() if _is_of(command, pid, group)}
    found |= {pid for pid, (parent, _) in parents.items() if adopter and parent == adopter}
    while True:
        more = {pid for pid, (parent, _) in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def _is_of(command: Command, pid: int, group: int) -> bool:
    return pid == command.pid or (command.group and group == command.pid)


def _parents() -> dict[int, tuple[int, int]]:
    """Every process that lives: its parent and its group."""
    found = {}
    with contextlib.suppress(OSError):
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError, IndexError, ValueError):
                    found[int(name)] = _parent(name)
    return found


def _parent(name: str) -> tuple[int, int]:
    with open(f"/proc/{name}/stat", "rb") as stream:
        # The name of the program may hold anything; what follows the last bracket is numbers.
        state, parent, group = stream.read().rpartition(b")")[2].split()[:3]
    if state in (b"Z", b"X"):
        raise ValueError("dead")
    return int(parent), int(group)


def ancestors() -> set[int]:
    """The processes that we descend from, as far as the kernel tells (Linux)."""
    parents = _parents()
    found: set[int] = set()
    pid = os.getpid()
    while pid in parents and pid not in found:
        found.add(pid)
        pid = parents[pid][0]
    return found - {os.getpid()}


def end(find: Callable[[], set[int]], grace_s: float) -> None:
    """End processes: TERM, and after the grace KILL until none is left.

    find: those that live now; asked again and again, for they may start others.
    """
    _send(find(), signal.SIGTERM)
    ends_at = time.monotonic() + grace_s
    while time.monotonic() < ends_at:
        for _ in ended():
            pass
        if not find():
            return
        time.sleep(_LOOK_S)
    for _ in range(_LOOKS_AFTER_KILL):
        _send(find(), signal.SIGKILL)
        for _ in ended():
            pass
        if not find():
            return
        time.sleep(_LOOK_S)


def _send(pids: set[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
            if number == signal.SIGTERM:
                # One that was stopped would not hear it.
                os.kill(pid, signal.SIGCONT)


def mirror(code: int) -> int:
    """End as a command has ended: by the same signal, else answer its status."""
    if code >= 0:
        return code
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        # One core file is enough.
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError, ValueError):
        # KILL and STOP have no handler to take away.
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
    return 128 - code


def stop(pid: int, grace_s: float = _STOPS_S) -> None:
    """End a helper of ours and wait for it; one that hangs is killed."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                if not select.select([handle], (), (), grace_s)[0]:
                    os.kill(pid, signal.SIGKILL)
            finally:
                os.close(handle)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)
