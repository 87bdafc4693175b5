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
import fcntl
import json
import math
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from coord.edge.run import apart, disk, output, redaction, tree

LOCK, TREE, EXIT, BEGUN, CONTROL, CANCEL, UNTIL = (
    "lock tree exit.json begun control cancel until".split()
)
STDIN = "stdin"
# By what in its environment a process of this attempt, and of no other clone's, is known.
MARK = "RUN_SPOOL"
# What ends the pipe `stdin`; no reason for a cancel begins so.
END_OF_STDIN = b"\0end of stdin"
_CHUNK_BYTES = 1 << 16
_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_STREAMS = ("stdout", "stderr")


class NotStarted(Exception):
    """The command could not be executed."""

    outcome = "infra_error"


class Refused(NotStarted):
    """A rule forbids to execute it."""

    outcome = "refused"


def run(folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Execute one attempt in this process, which is a fork of the worker, to its end.

    folder: the attempt's. lock: the descriptor that holds its lock.
    spec: run_id, lease_id, fence, words, cwd, timeouts, grace_ms, claimed_at_ms, stdin,
    until_boot_ms (when another clone may execute it, unless the file `until` says later),
    margin_ms (what ending the tree may take beyond its grace, before that).
    """
    apart.stand_alone(lock, b"run-shim", bool(spec.get("stdin")))
    apart.take_orphans_in()
    _Shim(folder, spec, environment).run()
    # Our guard has it too.
    fcntl.flock(lock, fcntl.LOCK_UN)


class _Shim:
    """One attempt: its files, its clock, and what has happened so far."""

    def __init__(
        self, folder: str, spec: Mapping[str, Any], environment: Mapping[str, str]
    ) -> None:
        self._folder, self._spec = folder, spec
        self._environment = {**environment, MARK: os.path.realpath(folder)}
        self._poll = select.poll()
        self._streams: dict[int, int] = {}
        self._control = self._feed = -1
        cap = spec.get("log_cap", output.DEFAULT_CAP_BYTES)
        secrets = spec.get("secrets", {})
        hidden = redaction.patterns(os.fsencode(value) for value in secrets.values())
        self._output = output.Output(folder, cap, hidden)
        # The sandbox that the command is executed in: a confined.Confined.
        self._sandbox: Any = None
        self._child = 0
        self._ended: int | None = None
        self._until_ms: int | None = spec.get("until_boot_ms")
        # Why the tree is being ended, (outcome, reason); and when KILL comes.
        self._ending: tuple[str, str] | None = None
        self._kill_at: float | None = None
        self._left_behind = 0
        # The workspace that the command is executed in: a workspace.Workspace.
        self._workspace: Any = None

    def run(self) -> None:
        """Execute, follow, end, record."""
        self._open()
        record: dict[str, Any] = {"started_at_ms": _now_ms()}
        try:
            self._start()
            self._follow()
            record.update(self._concluded(self._verdict()))
        except NotStarted as error:
            record.update(outcome=error.outcome, reason=str(error))
        except BaseException as error:
            # A disk that is full, say: nothing may go on living that nobody follows.
            self._end_tree_blindly()
            record.update(outcome="infra_error", reason=f"the shim failed: {error!r}")
        self._record(record)
        self._release(record)
        if self._sandbox:
            self._sandbox.clear()

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _open(self) -> None:
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
            self._ending = ("cancelled", disk.first_line(self._path(CANCEL)))
            return
        self._prepare()
        self._confine()
        start_ms = self._spec.get("timeouts", {}).get("start_ms")
        if start_ms is not None and _now_ms() - self._spec["claimed_at_ms"] >= start_ms:
            raise NotStarted("it was not started in time")
        disk.mark(self._path(BEGUN))
        held = os.open(self._path(TREE), os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(held, fcntl.LOCK_EX)
        source = self._open_stdin()
        outputs = [os.pipe2(os.O_CLOEXEC) for _ in _STREAMS]
        failing, failed = os.pipe2(os.O_CLOEXEC)
        self._begun_s = self._heard_s = time.monotonic()
        parent = os.getpid()
        self._child = os.fork()
        if not self._child:
            if source >= 0:
                os.dup2(source, 0)
            self._become_command([writing for _, writing in outputs], held, failed, parent)
        if source >= 0:
            os.close(source)
        for number, (reading, writing) in enumerate(outputs, start=1):
            os.close(writing)
            os.set_blocking(reading, False)
            self._streams[reading] = number
            self._poll.register(reading, select.POLLIN)
        os.close(failed)
        os.close(held)
        if self._sandbox:
            fault = self._sandbox.fault(failing)
        else:
            fault = os.read(failing, 4096).decode(errors="replace")
            os.close(failing)
        if fault:
            os.waitpid(self._child, 0)
            self._drain()
            raise NotStarted(fault)

    def _prepare(self) -> None:
        """Have the workspace that the command asks for; no failure of that is the command's."""
        wanted = self._spec.get("files", {})
        if "commit" not in wanted:
            return
        from coord.edge.run import workspace

        try:
            self._workspace = workspace.prepare(wanted, self._folder, self._spec)
        except (workspace.Unfit, OSError) as error:
            raise NotStarted(f"there is no workspace for it: {error}") from error
        cwd = os.path.join(self._workspace.path, wanted["cwd"])
        self._spec = {**self._spec, "cwd": cwd}
        self._environment = workspace.environment(self._workspace, self._environment)

    def _confine(self) -> None:
        """Have the sandbox that the command asks for, and what is secret."""
        if "fault" in self._spec:
            raise NotStarted(self._spec["fault"])
        told = self._spec.get("sandbox")
        if told:
            from coord.edge.run import confined, workspace

            files = self._spec.get("secret_files", ())
            try:
                self._sandbox = confined.Confined(
                    self._folder, told, self._spec["cwd"], self._environment, files, self._workspace
                )
            except confined.Refused as error:
                raise Refused(str(error)) from error
            except workspace.Unfit as error:
                raise NotStarted(f"there is no workspace for it: {error}") from error
            self._environment = self._sandbox.environment(self._environment)
        self._environment = {**self._environment, **self._spec.get("secrets", {})}

    def _concluded(self, verdict: dict[str, Any]) -> dict[str, Any]:
        """The verdict, with what becomes of the command's files."""
        wanted = self._spec.get("files")
        if not (wanted and self._child):
            return verdict
        from coord.edge.run import artifacts, quarantine, workspace

        if self._workspace:
            # What cannot be taken in is kept where it is, for git cannot read it then.
            with contextlib.suppress(workspace.Unfit, OSError):
                quarantine.take_in(self._workspace)
        return artifacts.concluded(self._workspace, wanted, self._spec, self._folder, verdict)

    def _release(self, record: Mapping[str, Any]) -> None:
        """Let go of the workspace, now that it is recorded what is kept of it."""
        if self._workspace is None:
            return
        from coord.edge.run import artifacts, workspace

        disposable = artifacts.disposable(self._workspace, self._spec["files"], record)
        workspace.release(self._workspace, disposable, "kept" in record)

    def _open_stdin(self) -> int:
        """The command's end of the pipe `stdin`; we keep the other one open."""
        if not self._spec.get("feeds"):
            return -1
        aside = self._path(f"{STDIN}.new")
        os.mkfifo(aside, 0o600)
        source = os.open(aside, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self._feed = os.open(aside, os.O_WRONLY | os.O_CLOEXEC)
        os.set_blocking(source, True)
        # Whoever sees it opens it at once, and would be refused where nobody reads it.
        os.rename(aside, self._path(STDIN))
        return source

    def _become_command(self, outputs: list[int], held: int, failed: int, parent: int) -> NoReturn:
        """Turn this fork into the command."""
        doing = "cannot prepare"
        try:
            os.setsid()
            apart.die_with_parent()
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            for number in range(1, signal.NSIG):
                with contextlib.suppress(OSError, ValueError):
                    signal.signal(number, signal.SIG_DFL)
            for stream, output in enumerate(outputs, start=1):
                os.dup2(output, stream)
            os.set_inheritable(held, True)
            doing = f"cannot enter {self._spec['cwd']}"
            os.chdir(self._spec["cwd"])
            words = self._spec["words"]
            if self._sandbox:
                doing = "cannot enter the sandbox"
                words = self._sandbox.enter(words, failed)
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
                status = self._sandbox.status(status) if self._sandbox else status
                self._ended = os.waitstatus_to_exitcode(status)

    def _judge_time(self, now: float) -> None:
        """Begin to end the tree when the command has ended or its time is over."""
        if self._kill_at is not None:
            return
        timeouts = self._spec.get("timeouts", {})
        if self._ended is not None:
            # What bubblewrap holds has ended with the command, its own first process last.
            is_apart = self._sandbox and self._sandbox.is_apart
            self._left_behind = 0 if is_apart else len(tree.below())
            self._end(now)
        elif self._ending is not None:
            self._end(now)
        elif "wall_ms" in timeouts and now - self._begun_s >= timeouts["wall_ms"] / 1000:
            self._ending = ("timed_out", "wall")
            self._end(now)
        elif self._left_s() <= 0:
            self._ending = ("infra_error", "its claim could not be renewed: another may have it")
            self._end(now)
        elif "idle_ms" in timeouts and now - self._heard_s >= timeouts["idle_ms"] / 1000:
            self._ending = ("timed_out", "idle")
            self._end(now)

    def _left_s(self) -> float:
        """How long the tree may go on before it must be asked to end; what renews it says."""
        if self._until_ms is None:
            return math.inf
        if self._until_left_s(self._until_ms) <= 0:
            with contextlib.suppress(OSError, ValueError):
                renewed_ms = int(disk.first_line(self._path(UNTIL)))
                self._until_ms = max(self._until_ms, renewed_ms)
        return self._until_left_s(self._until_ms)

    def _until_left_s(self, until_ms: int) -> float:
        left_ms = until_ms - time.clock_gettime_ns(_BOOT_CLOCK) // 1_000_000
        return float(left_ms - self._spec["grace_ms"] - self._spec["margin_ms"]) / 1000

    def _end(self, now: float) -> None:
        """Ask the tree to end; KILL comes after the grace."""
        self._kill_at = now + self._spec["grace_ms"] / 1000
        # The sandbox itself is to stay until what is in it has ended.
        spared = {self._child} if self._sandbox and self._sandbox.is_apart else set()
        for pid in tree.below() - spared:
            tree.send(pid, signal.SIGTERM)
            # One that was stopped would not hear it.
            tree.send(pid, signal.SIGCONT)

    def _press(self, now: float) -> None:
        if self._kill_at is not None and now >= self._kill_at:
            tree.kill_all()

    def _wait_ms(self, now: float) -> float:
        if self._kill_at is not None:
            return 1000 * max(tree.LOOK_S, self._kill_at - now)
        timeouts = self._spec.get("timeouts", {})
        ends = [
            since + timeouts[name] / 1000
            for name, since in (("wall_ms", self._begun_s), ("idle_ms", self._heard_s))
            if name in timeouts
        ]
        left_s = self._left_s()
        ends += [now + left_s] if left_s < math.inf else []
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
        self._output.write(self._streams[descriptor], data)
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
            tree.kill_all()
            try:
                if not self._reap():
                    return
            except OSError:
                return
            time.sleep(tree.LOOK_S)

    def _record(self, record: dict[str, Any]) -> None:
        """Write the exit record; when this returns it is on disk."""
        used = os.times()
        spec = self._spec
        self._output.finish()
        gap = {"gap": [*self._output.gap]} if self._output.gap else {}
        whole = {
            **{name: spec[name] for name in ("run_id", "attempt", "lease_id", "fence")},
            **record,
            "ended_at_ms": _now_ms(),
            "logs": {"bytes": self._output.bytes, **gap},
            "usage": {
                "user_ms": round(used.children_user * 1000),
                "system_ms": round(used.children_system * 1000),
            },
        }
        disk.write_synced(self._path(EXIT), json.dumps(whole).encode() + b"\n")


def _do_nothing(_signal: int, _frame: object) -> None:
    """A handler of Python's, so that a child's death wakes the poll."""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
