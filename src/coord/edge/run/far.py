"""The far end: what an ssh connection starts at another host, to execute an attempt there.

Each connection starts a process of its own, which begins the attempt where nobody has, tells
what it prints and how it ended, and dies with the connection. The attempt does not: it has
its shim, as everywhere, and the next connection finds that by the attempt's lock.

    STATE/attempts/RUN/ATTEMPT/    the spool of an attempt, as `edge.run.spool` has it
    STATE/repo.git, workspaces/    where its commit and its workspace are, if it asks for one
    STATE/blobs/                   its inputs and artifacts

STATE is `$XDG_STATE_HOME/coord/STORE`, by default in `~/.local/state`, STORE the id of the
store that asks. What has been told to its end leaves its exit record behind for a week: a
request that comes late, over a connection that hung, must not begin it once more.

    near to far    repo, blob {sha256}, begin {run_id, attempt, lease_id, was_begun, is_late,
                   cancel, logged, indexed, spec, variables}, cancel {why}, done
    far to near    hello, repo {path}, begun {pid}, log {offset, lines}, alive,
                   blob {sha256}, exit {record}, gone {begun, work}, fault {text}

It needs nothing but the standard library, and git for an attempt with a workspace.
"""

import contextlib
import os
import select
import shutil
import time
from collections.abc import Mapping
from typing import Any

from coord.edge import environment
from coord.edge.run import disk, launch, output, shim, spool
from coord.edge.run.following import Log
from coord.edge.run.frames import Frame, Frames, packed
from coord.edge.run.output import write_all
from coord.edge.run.wake import Wake

_CHUNK_BYTES = 1 << 18
# That an attempt was told to be over though it never began.
_OVER = "over"
_LEFT = frozenset((shim.LOCK, shim.EXIT, shim.BEGUN, _OVER, "settled", "workspace"))
_WEEK_S = 7 * 86_400
# How often it is said that we live.
_ALIVE_S = 60.0


class Over(Exception):
    """The connection has ended."""


def serve(state: str, store: str) -> None:
    """Serve one connection, whose ends are stdin and stdout, to its end."""
    base = os.path.join(state, store)
    os.makedirs(os.path.join(base, "attempts"), exist_ok=True)
    link = _Link()
    with contextlib.suppress(Over, BrokenPipeError):
        link.send("hello")
        try:
            _Served(link, base).run()
        except OSError as error:
            link.send("fault", text=str(error))


class _Link:
    """The connection, as this end sees it."""

    def __init__(self) -> None:
        self._frames = Frames()
        self._come: list[Frame] = []

    def send(self, what: str, data: bytes = b"", **told: Any) -> None:
        write_all(1, packed(what, data, **told))

    def next(self) -> Frame:
        """The next frame; raises `Over`."""
        while not self._come:
            self._read()
        return self._come.pop(0)

    def came(self) -> list[Frame]:
        """The frames that have come meanwhile; raises `Over`."""
        while select.select([0], [], [], 0)[0]:
            self._read()
        came, self._come = self._come, []
        return came

    def _read(self) -> None:
        data = os.read(0, _CHUNK_BYTES)
        if not data:
            raise Over
        self._come += self._frames.feed(data)


class _Served:
    """One attempt, as one connection serves it."""

    def __init__(self, link: _Link, base: str) -> None:
        self._link, self._base = link, base
        # Whether it is known to have begun, by us or by the near end.
        self._was_begun = False

    def run(self) -> None:
        self._told = told = self._heard_until("begin")
        self._was_begun = told["was_begun"]
        name = os.path.join("attempts", told["run_id"], str(told["attempt"]))
        self._folder = os.path.join(self._base, name)
        if self._is_to_be_followed():
            self._follow()
        record = self._record()
        if record is None:
            self._tell_gone()
        else:
            for one in record.get("artifacts", ()):
                self._send_blob(one)
            self._link.send("exit", record=record)
        self._heard_until("done")
        self._forget()

    def _heard_until(self, what: str) -> Mapping[str, Any]:
        """Do what is asked for before and after; answer the frame that ends it."""
        while True:
            told, data = self._link.next()
            if told["is"] == what:
                return told
            self._take_in(told, data)

    def _take_in(self, told: Mapping[str, Any], data: bytes) -> None:
        """What the attempt needs before it begins, and where its commits can be had."""
        if told["is"] == "blob":
            from coord.edge.run import artifacts

            artifacts.keep(os.path.join(self._base, "blobs"), told["sha256"], data)
        elif told["is"] == "repo":
            self._link.send("repo", path=_repository(self._base))

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def _record(self) -> Mapping[str, Any] | None:
        return spool.exit_record(self._folder, self._told["lease_id"])

    def _is_to_be_followed(self) -> bool:
        """Begin the attempt where that is to be done; whether there is something to follow."""
        told = self._told
        if self._record() is not None:
            # Of what was told already nothing but the record may be left.
            return os.path.exists(self._path(output.LOG))
        lock = spool.take(self._folder)
        if lock is None:
            if told["cancel"]:
                spool.cancel(self._folder, told["cancel"])
            return True
        was_begun = any(os.path.exists(self._path(name)) for name in (shim.BEGUN, _OVER))
        if was_begun or told["was_begun"] or told["cancel"] or told["is_late"]:
            # A request that hung somewhere may still come, and must not begin it then.
            disk.mark(self._path(_OVER))
            os.close(lock)
            return False
        spec = self._placed(told["spec"])
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
        launch.launch(self._folder, lock, spec, environment.child(**told["variables"]))
        return True

    def _placed(self, spec: dict[str, Any]) -> dict[str, Any]:
        """What the shim is told, with the places that things have here."""
        cwd = os.path.join(os.path.expanduser("~"), os.path.expanduser(spec["cwd"]))
        if "files" not in spec:
            return {**spec, "cwd": cwd}
        repo = os.path.join(self._base, "repo.git")
        here = {
            "pool": os.path.join(self._base, "workspaces"), "git_dir": repo, "tree": repo,
            "blobs": os.path.join(self._base, "blobs"),
        }  # fmt: skip
        return {**spec, "cwd": cwd, "files": {**spec["files"], **here, "top": cwd}}

    def _follow(self) -> None:
        """Tell what happens until the shim is gone."""
        log, indexed = Log(self._folder, self._told["logged"]), self._told["indexed"]
        alive_at_s = time.monotonic()
        with Wake([self._folder]) as wake:
            while True:
                is_alive = spool.is_alive(self._folder)
                if os.path.exists(self._path(shim.BEGUN)):
                    self._tell_begun()
                for lines, offset, data in log.raw(indexed):
                    self._tell_begun()
                    indexed += len(lines)
                    self._link.send("log", lines + data, offset=offset, lines=len(lines))
                    # There may be more of it than the connection takes in an hour.
                    self._hear()
                if not is_alive:
                    return
                if time.monotonic() - alive_at_s > _ALIVE_S:
                    alive_at_s = time.monotonic()
                    self._link.send("alive")
                wake.wait([0])
                self._hear()

    def _tell_begun(self) -> None:
        if not self._was_begun:
            self._was_begun = True
            self._link.send("begun", pid=spool.pid_of(self._folder))

    def _hear(self) -> None:
        for told, _ in self._link.came():
            if told["is"] == "cancel":
                spool.cancel(self._folder, told["why"])

    def _send_blob(self, one: Mapping[str, Any]) -> None:
        name = one.get("sha256")
        if name:
            with open(os.path.join(self._base, "blobs", name[:2], name), "rb") as stream:
                self._link.send("blob", stream.read(), sha256=name)

    def _tell_gone(self) -> None:
        """There is no exit record, and nobody lives who would write it."""
        has_begun = self._was_begun or os.path.exists(self._path(shim.BEGUN))
        # Somebody may have removed our files while it lived: then it lives on.
        os.makedirs(self._folder, exist_ok=True)
        if has_begun and not spool.end_tree(self._folder):
            raise OSError("something of it lives on that cannot be ended")
        work = self._salvaged() if has_begun else {}
        self._link.send("gone", begun=has_begun, work=work)

    def _salvaged(self) -> Mapping[str, Any]:
        """What it has left in its workspace, saved."""
        if "commit" not in self._told["spec"].get("files", {}):
            return {}
        from coord.edge import git
        from coord.edge.run import salvage

        run_id, lease_id = self._told["run_id"], self._told["lease_id"]
        repo = os.path.join(self._base, "repo.git")
        work = salvage.looked_at(self._folder, lease_id, run_id, git.Repository(repo, repo))
        if work.is_loose:
            work = salvage.save(self._folder, lease_id, run_id, self._told["attempt"], work)
        salvage.settle(self._folder, lease_id, work)
        return work._asdict()

    def _forget(self) -> None:
        """It has been told to its end: what is left is why it must not begin again."""
        for name in os.listdir(self._folder):
            if name not in _LEFT:
                with contextlib.suppress(OSError):
                    os.unlink(self._path(name))
        top = os.path.join(self._base, "attempts")
        for run_id in os.listdir(top):
            path = os.path.join(top, run_id)
            with contextlib.suppress(OSError):
                if time.time() - os.path.getmtime(path) > _WEEK_S and not _lives(path):
                    shutil.rmtree(path)


def _lives(path: str) -> bool:
    """Whether an attempt of a run lives, or was not told to its end."""
    folders = [os.path.join(path, name) for name in os.listdir(path)]
    return any(spool.is_alive(one) or {*os.listdir(one)} - _LEFT for one in folders)


def _repository(base: str) -> str:
    """Where commits are: a bare repository, which is whole when it is there."""
    from coord.edge import git

    path = os.path.join(base, "repo.git")
    if not os.path.exists(path):
        aside = f"{path}.{os.getpid()}"
        status, _ = git.run(["init", "--quiet", "--bare", aside], base)
        if status:
            raise OSError("git cannot make a repository there")
        try:
            os.rename(aside, path)
        except OSError:
            # Another connection was first.
            shutil.rmtree(aside)
    return path
