"""The shim: one small process per attempt, which executes the command and tells how it ended.

    before   it holds the lock of its attempt, which the worker took before it claimed, and
             becomes the parent of whatever its tree loses (Linux)
    begun    noted on disk before the command is executed
    during   copies what the command prints, byte for byte, into `log`, and into `index` a
             line `offset time_ms stream` for each piece
    end      when the command has ended, its time is over, or somebody asked to cancel it:
             TERM to the whole tree, after the grace KILL, until the kernel says that there
             are no children left. As every orphan of the tree becomes the shim's own
             child, that is the proof that the tree is empty
    after    the exit record is written aside, synced, renamed and its folder synced; only
             then the lock is let go

Whatever asks it to end the tree writes a line into the pipe `control`, and the same line
into the file `cancel`, for a shim that is not ready yet. Where the request says so, the
command reads what is written into the pipe `stdin`, until somebody ends it by `control`.
Signals from a terminal or a supervisor do not reach it. When the shim is killed, the kernel
kills the command.

It needs nothing but the standard library, and no event, journal or store.
"""

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import select
import signal
import time
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

LOCK, TREE, LOG, INDEX, EXIT, BEGUN, CONTROL, CANCEL = (
    "lock tree log index exit.json begun control cancel".split()
)
STDIN = "stdin"
# What ends the pipe `stdin`; no reason for a cancel begins so.
END_OF_STDIN = b"\0end of stdin"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NAME = 1, 36, 15
_CHUNK_BYTES = 1 << 16
# While a tree is being ended: how often it is looked at when nothing wakes us.
_LOOK_S = 0.02
_STREAMS = ("stdout", "stderr")
# The kernel's memory of a C library, found once: the worker loads it before it forks.
_LIBC = ctypes.CDLL(None, use_errno=True)


class NotStarted(Exception):
    """The command could not be executed."""


def run(folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Execute one attempt in this process, which is a fork of the worker, to its end.

    folder: the attempt's. lock: the descriptor that holds its lock.
    spec: run_id, lease_id, fence, words, cwd, timeouts, grace_ms, claimed_at_ms, stdin.
    """
    os.setsid()
    _leave_worker(lock, bool(spec.get("stdin")))
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_NAME, b"run-shim")
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    _Shim(folder, spec, environment).run()


def _leave_worker(lock: int, keeps_stdin: bool) -> None:
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


def _prctl(option: int, value: int | bytes) -> None:
    with contextlib.suppress(AttributeError, OSError):
        _LIBC.prctl(option, value, 0, 0, 0)


class _Shim:
    """One attempt: its files, its clock, and what has happened so far."""

    def __init__(
        self, folder: str, spec: Mapping[str, Any], environment: Mapping[str, str]
    ) -> None:
        self._folder, self._spec, self._environment = folder, spec, environment
        self._poll = select.poll()
        self._streams: dict[int, int] = {}
        self._log = self._index = self._control = self._feed = -1
        self._bytes = 0
        self._stamp = (-1, -1)
        self._child = 0
        self._ended: int | None = None
        # Why the tree is being ended, (outcome, reason); and when KILL comes.
        self._ending: tuple[str, str] | None = None
        self._kill_at: float | None = None
        self._left_behind = 0

    def run(self) -> None:
        """Execute, follow, end, record."""
        self._open()
        record: dict[str, Any] = {"started_at_ms": _now_ms()}
        try:
            self._start()
            self._follow()
            record.update(self._verdict())
        except NotStarted as error:
            record.update(outcome="infra_error", reason=str(error))
        except BaseException as error:
            # A disk that is full, say: nothing may go on living that nobody follows.
            self._end_tree_blindly()
            record.update(outcome="infra_error", reason=f"the shim failed: {error!r}")
        self._record(record)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._log = os.open(self._path(LOG), flags, 0o666)
        self._index = os.open(self._path(INDEX), flags, 0o666)
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._path(CONTROL), 0o600)
        # Read and write: a pipe whose last writer has gone would wake us for ever.
        self._control = os.open(self._path(CONTROL), os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._poll.register(self._control, select.POLLIN)
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, _do_nothing)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._woken = reading
        self._poll.register(reading, select.POLLIN)

    def _start(self) -> None:
        if os.path.exists(self._path(CANCEL)):
            self._ending = ("cancelled", _first_line(self._path(CANCEL)))
            return
        start_ms = self._spec.get("timeouts", {}).get("start_ms")
        if start_ms is not None and _now_ms() - self._spec["claimed_at_ms"] >= start_ms:
            raise NotStarted("it was not started in time")
        os.close(os.open(self._path(BEGUN), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
        _sync_folder(self._folder)
        tree = os.open(self._path(TREE), os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(tree, fcntl.LOCK_EX)
        source = self._open_stdin()
        outputs = [os.pipe2(os.O_CLOEXEC) for _ in _STREAMS]
        failing, failed = os.pipe2(os.O_CLOEXEC)
        self._begun_s = self._heard_s = time.monotonic()
        parent = os.getpid()
        self._child = os.fork()
        if not self._child:
            if source >= 0:
                os.dup2(source, 0)
            self._become_command([writing for _, writing in outputs], tree, failed, parent)
        if source >= 0:
            os.close(source)
        for number, (reading, writing) in enumerate(outputs, start=1):
            os.close(writing)
            os.set_blocking(reading, False)
            self._streams[reading] = number
            self._poll.register(reading, select.POLLIN)
        os.close(failed)
        os.close(tree)
        fault = os.read(failing, 4096)
        os.close(failing)
        if fault:
            os.waitpid(self._child, 0)
            raise NotStarted(fault.decode(errors="replace"))

    def _open_stdin(self) -> int:
        """The command's end of the pipe `stdin`; we keep the other one open."""
        if not self._spec.get("feeds"):
            return -1
        os.mkfifo(self._path(STDIN), 0o600)
        source = os.open(self._path(STDIN), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._feed = os.open(self._path(STDIN), os.O_WRONLY | os.O_CLOEXEC)
        os.set_blocking(source, True)
        return source

    def _become_command(self, outputs: list[int], tree: int, failed: int, parent: int) -> NoReturn:
        """Turn this fork into the command."""
        doing = "cannot prepare"
        try:
            os.setsid()
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in range(1, signal.NSIG):
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, signal.SIG_DFL)
            for stream, output in enumerate(outputs, start=1):
                os.dup2(output, stream)
            os.set_inheritable(tree, True)
            doing = f"cannot enter {self._spec['cwd']}"
            os.chdir(self._spec["cwd"])
            words = self._spec["words"]
            doing = f"cannot execute {words[0]}"
            os.execvpe(words[0], words, dict(self._environment))
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            os.write(failed, f"{doing}: {reason}".encode(errors="replace")[:4000])
        finally:
            os._exit(127)

    def _follow(self) -> None:
        """Copy and wait until the tree is empty and all that it printed is in the log."""
        while True:
            has_children = self._reap()
            if not has_children:
                self._drain()
                return
            now = time.monotonic()
            self._judge_time(now)
            self._press(now)
            for descriptor, _ in self._poll.poll(self._wait_ms(time.monotonic())):
                self._serve(descriptor)

    def _reap(self) -> bool:
        """Bury what has died; answer whether a child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self._child:
                self._ended = os.waitstatus_to_exitcode(status)

    def _judge_time(self, now: float) -> None:
        """Begin to end the tree when the command has ended or its time is over."""
        if self._kill_at is not None:
            return
        timeouts = self._spec.get("timeouts", {})
        if self._ended is not None:
            self._left_behind = len(_tree())
            self._end(now)
        elif self._ending is not None:
            self._end(now)
        elif "wall_ms" in timeouts and now - self._begun_s >= timeouts["wall_ms"] / 1000:
            self._ending = ("timed_out", "wall")
            self._end(now)
        elif "idle_ms" in timeouts and now - self._heard_s >= timeouts["idle_ms"] / 1000:
            self._ending = ("timed_out", "idle")
            self._end(now)

    def _end(self, now: float) -> None:
        """Ask the tree to end; KILL comes after the grace."""
        self._kill_at = now + self._spec["grace_ms"] / 1000
        for pid in _tree():
            _send(pid, signal.SIGTERM)
            # One that was stopped would not hear it.
            _send(pid, signal.SIGCONT)

    def _press(self, now: float) -> None:
        if self._kill_at is not None and now >= self._kill_at:
            kill_tree()

    def _wait_ms(self, now: float) -> float:
        if self._kill_at is not None:
            return 1000 * max(_LOOK_S, self._kill_at - now)
        timeouts = self._spec.get("timeouts", {})
        ends = [
            since + timeouts[name] / 1000
            for name, since in (("wall_ms", self._begun_s), ("idle_ms", self._heard_s))
            if name in timeouts
        ]
        return 1000 * max(0.0, min(ends) - now) + 1 if ends else -1

    def _serve(self, descriptor: int) -> None:
        if descriptor in self._streams:
            self._copy(descriptor)
        elif descriptor == self._control:
            lines = os.read(descriptor, 4096).split(b"\n")[:-1]
            if END_OF_STDIN in lines and self._feed >= 0:
                os.close(self._feed)
                self._feed = -1
            reasons = [line for line in lines if line != END_OF_STDIN]
            if reasons and self._ending is None and self._ended is None:
                self._ending = ("cancelled", reasons[0].decode(errors="replace"))
        else:
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, 4096)

    def _copy(self, descriptor: int) -> bool:
        """Copy one piece of output; answer whether there may be more."""
        try:
            data = os.read(descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._poll.unregister(descriptor)
            os.close(descriptor)
            del self._streams[descriptor]
            return False
        self._heard_s = time.monotonic()
        stamp = (_now_ms(), self._streams[descriptor])
        if stamp != self._stamp:
            _write_all(self._index, b"%d %d %d\n" % (self._bytes, *stamp))
            self._stamp = stamp
        _write_all(self._log, data)
        self._bytes += len(data)
        return True

    def _drain(self) -> None:
        """Nobody is left who could write: take what is still in the pipes."""
        for descriptor in list(self._streams):
            while self._copy(descriptor):
                pass

    def _verdict(self) -> dict[str, Any]:
        """How the command ended, now that its tree is empty."""
        found: dict[str, Any] = {}
        if self._ended is not None and self._ended >= 0:
            found = {"exit_code": self._ended}
        elif self._ended is not None:
            found = {"signal": -self._ended}
        if self._left_behind:
            found["left_behind"] = self._left_behind
        if self._ending is not None:
            how, reason = self._ending
            return {"outcome": how, **found, **({"reason": reason} if reason else {})}
        if "signal" in found:
            return {"outcome": "signaled", **found}
        return {"outcome": "failed" if found["exit_code"] else "succeeded", **found}

    def _end_tree_blindly(self) -> None:
        while True:
            kill_tree()
            try:
                if not self._reap():
                    return
            except OSError:
                return
            time.sleep(_LOOK_S)

    def _record(self, record: dict[str, Any]) -> None:
        """Write the exit record; when this returns it is on disk."""
        used = os.times()
        spec = self._spec
        whole = {
            **{name: spec[name] for name in ("run_id", "attempt", "lease_id", "fence")},
            **record,
            "ended_at_ms": _now_ms(),
            "logs": {"bytes": self._bytes},
            "usage": {
                "user_ms": round(used.children_user * 1000),
                "system_ms": round(used.children_system * 1000),
            },
        }
        if self._bytes:
            os.fdatasync(self._log)
        _write_synced(self._path(EXIT), json.dumps(whole).encode() + b"\n", self._folder)


def kill_tree() -> None:
    """Kill all that descends from this process.

    What forks faster than it is killed is stopped first: nothing that is stopped can
    fork, so in the end nobody is left who is not.
    """
    stopped: set[int] = set()
    while True:
        new = _tree() - stopped
        for pid in new:
            _send(pid, signal.SIGSTOP)
        if not new:
            break
        stopped |= new
    kill(stopped)


def kill(pids: Iterable[int]) -> None:
    """Kill processes."""
    for pid in pids:
        _send(pid, signal.SIGKILL)


def _tree() -> set[int]:
    """The living processes that descend from this one."""
    parents = living()
    found: set[int] = set()
    level = {os.getpid()}
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found
        found |= level
    return found


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


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _do_nothing(_signal: int, _frame: object) -> None:
    """A handler of Python's, so that a child's death wakes the poll."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _first_line(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.readline().strip()


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _write_synced(path: str, data: bytes, folder: str) -> None:
    """Write a whole file so that after a crash it is there whole or not at all."""
    aside = f"{path}.new"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        _write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(aside, path)
    _sync_folder(folder)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
