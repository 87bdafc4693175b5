"""The near end of an attempt at another host: what stands here in the place of its shim.

    host.json    before anything is sent: at which host the attempt is. While it is there
                 nobody takes the attempt for over, and whoever finds its lock free starts
                 another near end, which goes on where this one was
    sent         before the request to begin is sent; until then nothing is anywhere else
    begun, log, index, exit.json    as the shim would have left them here
    unreached    why the other host is not reached, as long as it is not
    left.json    the attempt is over there without an exit record: what it has left

A connection that breaks is made anew, for as long as it takes: the attempt goes on there
meanwhile, within its own bounds. Who does not reach the host for a while leaves the attempt
to the next who tries, for that one may have the key or the route that we lack. What was
not sent yet waits for its host too, and fails where the host is reached and cannot execute
anything. It needs nothing but the standard library, ssh, and git for a workspace.
"""

import contextlib
import json
import math
import os
import select
import signal
import time
from collections.abc import Mapping
from typing import Any

from coord.edge.run import apart, disk, shim, spool
from coord.edge.run.mirror import Mirror
from coord.edge.run.ssh import Broken, Connection

_SENT, _ERRORS = "sent", "ssh.err"
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 15.0
# The far end says more often than this that it lives, unless it is busy with git.
_SILENCE_S = 300.0
# How long a whole history may take.
_TRANSFER_S = 3600.0
# How often something is tried that fails though the host is reached.
_TRIES = 3
# What the attempt's commits are kept under, at both ends.
_REFS = ("refs/coord/run/", "refs/coord/salvage/")


def run(folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]) -> None:
    """Have one attempt executed at another host, in this process, to its end.

    spec: as the shim's, and host: {name, ssh, store}, variables. environment: that of ssh.
    """
    apart.stand_alone(lock, b"run-near", keeps_stdin=False)
    # A connection that has ended is no reason to.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    _Near(folder, spec, environment).run()


class _Near:
    """One attempt, and what is known of it here."""

    def __init__(
        self, folder: str, spec: Mapping[str, Any], environment: Mapping[str, str]
    ) -> None:
        self._folder, self._spec, self._environment = folder, spec, environment
        self._host = spec["host"]
        self._mirror = Mirror(folder)
        self._failures = 0
        self._reached_at_s = math.inf
        # Whether all that the attempt has left is here, and nothing of it needed there.
        self._keeps_nothing = True
        with contextlib.suppress(FileExistsError):
            os.mkfifo(self._path(shim.CONTROL), 0o600)
        # Read and write: a pipe whose last writer has gone would wake us for ever.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        self._control = os.open(self._path(shim.CONTROL), flags)

    def run(self) -> None:
        """Connect until it has ended, and record how; or leave that to another near end."""
        # Where the one before has not reached the host either there is no hurry.
        pause_s = _LONGEST_PAUSE_S if self._has(spool.UNREACHED) else _FIRST_PAUSE_S
        while True:
            self._reached_at_s = math.inf
            try:
                if not self._is_over_unsent():
                    self._session()
                return
            except Broken as error:
                if self._has_failed(error):
                    return
            except OSError as error:
                # The disk here is full, say. Another near end begins with what is on it.
                with contextlib.suppress(OSError):
                    self._has_failed(Broken(f"here: {error}"))
                return
            if time.monotonic() - self._reached_at_s > _LONGEST_PAUSE_S:
                pause_s = _FIRST_PAUSE_S
            if pause_s > _LONGEST_PAUSE_S:
                return
            self._wait(pause_s)
            pause_s *= 2

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _has(self, name: str) -> bool:
        return os.path.exists(self._path(name))

    def _is_over_unsent(self) -> bool:
        """Record how it ends, where it was not sent and is not to be; whether that is so."""
        if self._has(_SENT):
            return False
        return self._is_over_unbegun()

    def _is_over_unbegun(self) -> bool:
        """Record how it ends, where it has not begun and is not to; whether that is so."""
        if self._why_cancelled():
            self._record({"outcome": "cancelled", "reason": self._why_cancelled()})
        elif self._is_late():
            self._record({"outcome": "infra_error", "reason": "it was not started in time"})
        else:
            return False
        return True

    def _is_late(self) -> bool:
        start_ms = self._spec.get("timeouts", {}).get("start_ms")
        now_ms = time.time_ns() // 1_000_000
        return start_ms is not None and now_ms - self._spec["claimed_at_ms"] >= start_ms

    def _has_failed(self, error: Broken) -> bool:
        """What a failed connection means: nothing yet, or the end of what was never sent."""
        text = f"{self._host['name']}: {error}"
        disk.write_synced(self._path(spool.UNREACHED), text.encode(errors="replace"))
        if self._has(_SENT) or not error.is_final:
            return False
        self._record({"outcome": "infra_error", "reason": text})
        return True

    def _wait(self, pause_s: float) -> None:
        """Until it is time to try again, or somebody wants it ended."""
        if select.select([self._control], [], [], pause_s)[0]:
            self._read_control()

    def _read_control(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._control, 4096)

    def _why_cancelled(self) -> str:
        with contextlib.suppress(OSError):
            return disk.first_line(self._path(shim.CANCEL)) or "cancelled"
        return ""

    def _session(self) -> None:
        """Follow it over one connection, to its end, and record that; raises `Broken`."""
        words, name = self._host["ssh"], self._host["name"]
        link = Connection(words, name, self._environment, self._path(_ERRORS))
        try:
            link.open(self._host["store"])
            link.expect("hello")
            self._reached_at_s = time.monotonic()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path(spool.UNREACHED))
            if not self._has(_SENT):
                self._deliver(link)
                disk.mark(self._path(_SENT))
            self._ask(link)
            self._follow(link)
            # What is recorded is over here, whether that is heard there or not.
            with contextlib.suppress(Broken):
                if self._keeps_nothing:
                    link.send("done")
        finally:
            link.close()

    def _deliver(self, link: Connection) -> None:
        """Bring there what the attempt begins with: its inputs and its commit."""
        files = self._spec.get("files", {})
        for one in files.get("inputs", ()):
            path = os.path.join(files["blobs"], one["sha256"][:2], one["sha256"])
            try:
                with open(path, "rb") as stream:
                    link.send("blob", stream.read(), sha256=one["sha256"])
            except FileNotFoundError:
                raise Broken(f"input {one['path']} is not in this store", is_final=True) from None
        if "commit" not in files:
            return
        repository, url = self._repository(link)
        ref = f"refs/coord/base/{files['commit']}"
        # That ref may be there already: then it leads to this very commit.
        answer, failed = repository.push(url, [(ref, "", files["commit"])])
        if answer.status and not failed:
            self._failures += 1
            text = f"its commit cannot be sent there: {_said(answer.err)}"
            raise Broken(text, is_final=self._failures >= _TRIES)

    def _repository(self, link: Connection) -> tuple[Any, str]:
        """Our repository, with git's way to the one there."""
        import shlex

        from coord.edge import git

        link.send("repo")
        url = f"{self._host['name']}:{link.expect('repo')['path']}"
        files = self._spec["files"]
        words = {"GIT_SSH_COMMAND": shlex.join(self._host["ssh"])}
        there = (files["git_dir"], files["tree"], _TRANSFER_S)
        return git.Repository(*there, variables=words), url

    def _ask(self, link: Connection) -> None:
        """Ask for it to be begun there, unless it was."""
        left = ("host", "variables", "secret_files")
        spec = {name: value for name, value in self._spec.items() if name not in left}
        # Whether it starts in time is judged by the clock that it was claimed by.
        spans = spec.get("timeouts", {})
        spec["timeouts"] = {name: value for name, value in spans.items() if name != "start_ms"}
        told = {name: spec[name] for name in ("run_id", "attempt", "lease_id")}
        link.send(
            "begin", **told, spec=spec, variables=self._spec["variables"],
            was_begun=self._has(shim.BEGUN), is_late=self._is_late(), cancel=self._why_cancelled(),
            logged=self._mirror.offset, indexed=self._mirror.indexed,
        )  # fmt: skip

    def _follow(self, link: Connection) -> None:
        while True:
            for told, data in link.came():
                try:
                    is_over = self._heard(link, told, data)
                except (KeyError, TypeError, ValueError) as error:
                    raise Broken(f"its answer {told['is']} makes no sense") from error
                if is_over:
                    return
            heard = select.select([link.reading, self._control], [], [], _SILENCE_S)[0]
            if not heard:
                raise Broken("it does not answer any more")
            if self._control in heard:
                self._read_control()
                if self._why_cancelled():
                    link.send("cancel", why=self._why_cancelled())

    def _heard(self, link: Connection, told: Mapping[str, Any], data: bytes) -> bool:
        """Take what the far end says; whether that was the end, which is recorded then."""
        if told["is"] == "log":
            lines = told["lines"]
            self._mirror.take(data[:lines], told["offset"], data[lines:])
        elif told["is"] == "begun":
            disk.mark(self._path(shim.BEGUN))
        elif told["is"] == "blob":
            from coord.edge.run import artifacts

            artifacts.keep(self._spec["files"]["blobs"], told["sha256"], data)
        elif told["is"] == "fault":
            raise Broken(told["text"])
        elif told["is"] == "exit":
            self._record(self._ended(link, told["record"]))
        elif told["is"] == "gone":
            self._settle_gone(link, told)
        return told["is"] in ("exit", "gone")

    def _ended(self, link: Connection, record: Mapping[str, Any]) -> dict[str, Any]:
        self._mirror.finish(record.get("logs", {}).get("bytes", 0))
        fault = self._fetched(link, record)
        reason = "; ".join(filter(None, (record.get("reason"), fault)))
        return {**record, **({"reason": reason} if reason else {})}

    def _settle_gone(self, link: Connection, told: Mapping[str, Any]) -> None:
        """It has no exit record there: what is known of it is for a recovery to judge."""
        if told["begun"]:
            disk.mark(self._path(shim.BEGUN))
        self._mirror.finish(0)
        if not self._has(shim.BEGUN) and self._is_over_unbegun():
            return
        work = dict(told["work"])
        if work:
            work["fault"] = work["fault"] or self._fetched(link, {"salvage": work["saved"]})
            disk.write_synced(self._path(spool.LEFT), json.dumps(work).encode())
        # From here on it is an attempt of this host that nobody holds.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(spool.HOST))

    def _fetched(self, link: Connection, record: Mapping[str, Any]) -> str:
        """Bring its commits here; "", or what keeps them from it for good."""
        if not (record.get("commit") or record.get("salvage")):
            return ""
        repository, url = self._repository(link)
        name = f"{self._spec['run_id']}*"
        answer = repository.fetch(url, [f"+{prefix}{name}:{prefix}{name}" for prefix in _REFS])
        if not answer.status:
            return ""
        self._failures += 1
        if self._failures < _TRIES:
            raise Broken(f"its commits cannot be fetched: {_said(answer.err)}")
        self._keeps_nothing = False
        return f"its commits lie at {url}: {_said(answer.err)}"

    def _record(self, record: Mapping[str, Any]) -> None:
        """Write the exit record; when this returns it is on disk."""
        names = ("run_id", "attempt", "lease_id", "fence")
        whole = {**{name: self._spec[name] for name in names}, **record}
        disk.write_synced(self._path(shim.EXIT), json.dumps(whole).encode() + b"\n")


def _said(text: str) -> str:
    """The line of git's complaints that says what is wrong: what follows is advice."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "git says nothing"
