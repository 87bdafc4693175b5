"""Clones of one bare remote, each with a clock of its own, and how they are judged.

What a command printed before it ended or was killed is an acknowledgement. At the end
the clones are judged from outside: by their journals' bytes, read without the package,
by `ev materialize` and `ev check` under one clock, and by `git fsck`.
"""

import contextlib
import difflib
import fcntl
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos import journals
from tests.conftest import Runner

MINUTE_MS = 60_000
DEADLINE_S = 300.0
# What ends a transfer on the remote's side does not die with the client's process
# group, as on a server: a killed client closes its pipe, and git there cleans up.
_SERVER_SIDE = "setsid --wait git-{}"


class Ended(NamedTuple):
    """How a command ended; killed: by us, before it ended by itself."""

    code: int
    out: str
    err: str
    killed: bool = False

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Every whole line of stdout that is an object."""
        whole = self.out[: self.out.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    @property
    def error(self) -> dict[str, Any]:
        """The object under `error` on stderr, {} without one."""
        for line in reversed(self.err.splitlines()):
            if line.startswith('{"error"'):
                return dict(json.loads(line)["error"])
        return {}


def isolated() -> dict[str, str]:
    """This process's environment without the developer's settings."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COORD_", "GIT_", "XDG_"))}
    fixed = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C.UTF-8"}
    return {**kept, **fixed, "TZ": "UTC", "GIT_TERMINAL_PROMPT": "0"}


def execute(
    words: Sequence[str | Path],
    cwd: Path,
    env: Mapping[str, str],
    data: bytes = b"",
    kill_after_s: float | None = None,
    kill_when: Path | None = None,
) -> Ended:
    """Run a command in a process group of its own, and kill -9 the group if asked.

    kill_after_s: after a while. kill_when: as soon as there is such a file.
    """
    process = subprocess.Popen(
        [str(word) for word in words],
        cwd=cwd, env=env, start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    killed = False
    if kill_when is not None:
        threading.Thread(target=_kill_when, args=(process, kill_when)).start()
    try:
        out, err = process.communicate(data, timeout=kill_after_s or DEADLINE_S)
    except subprocess.TimeoutExpired:
        killed = True
        kill_group(process.pid)
        out, err = process.communicate(timeout=DEADLINE_S)
        if kill_after_s is None:
            hung = f"{words} did not end within {DEADLINE_S:.0f} s"
            raise AssertionError(hung) from None
    said = (text.decode(errors="backslashreplace") for text in (out, err))
    return Ended(process.returncode, *said, killed or process.returncode == -signal.SIGKILL)


def _kill_when(process: subprocess.Popen[bytes], path: Path) -> None:
    while process.poll() is None and not path.exists():
        time.sleep(0.001)
    if process.poll() is None:
        kill_group(process.pid)


def kill_group(leader: int) -> None:
    """Kill -9 a process and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


class Clone:
    """One clone with its linked worktrees; all its commands see the clock `skew_ms` away."""

    def __init__(self, name: str, folder: Path, skew_ms: int = 0) -> None:
        self.name, self.folder, self.skew_ms = name, folder, skew_ms
        self.agent = f"agent:{name}"
        self.trees = [folder]

    @property
    def store(self) -> Path:
        """Its `.coord` folder."""
        return self.folder / ".coord"

    def now_ms(self) -> int:
        """What its clock shows."""
        return time.time_ns() // 1_000_000 + self.skew_ms

    def environment(self, agent: str = "", now_ms: int = 0) -> dict[str, str]:
        """What its commands run under; the clock stands still for the length of one."""
        return {
            **isolated(),
            "COORD_AGENT": agent or self.agent,
            "COORD_NOW_MS": str(now_ms or self.now_ms()),
        }

    @staticmethod
    def command(tool: str) -> str:
        """The path of an installed tool."""
        return Runner.command(tool)[0]

    def do(
        self,
        *words: str | Path,
        as_: str = "",
        now_ms: int = 0,
        tree: int = 0,
        data: bytes = b"",
        kill_after_s: float | None = None,
        kill_when: Path | None = None,
        limit_blocks: int | None = None,
    ) -> Ended:
        """Run a command here, by its installed name.

        limit_blocks: no file may grow beyond so many blocks of 512 bytes.
        """
        command = Runner.command(*map(str, words))
        if limit_blocks is not None:
            command = ["sh", "-c", 'ulimit -f "$0"; exec "$@"', str(limit_blocks), *command]
        env = self.environment(as_, now_ms)
        return execute(command, self.trees[tree], env, data, kill_after_s, kill_when)

    def ok(self, *words: str | Path, **options: Any) -> Ended:
        """Run a command that has to succeed."""
        ended = self.do(*words, **options)
        told = f"{self.name}: {words}: exit {ended.code}\n{ended.out}{ended.err}"
        assert ended.code == 0, told
        return ended

    def add_worktrees(self, count: int) -> None:
        """Linked worktrees beside the clone."""
        for number in range(count):
            path = self.folder.with_name(f"{self.folder.name}-tree{number}")
            self.ok("git", "worktree", "add", "--quiet", "--detach", path)
            self.trees.append(path)


def bare_remote(folder: Path) -> Path:
    """A bare repository whose `main` has one commit, and nothing of ours."""
    env = isolated()
    seed = folder.with_name(f"{folder.name}-seed")
    author = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
    steps = [
        ("git", "init", "--quiet", "--bare", "--initial-branch=main", folder),
        ("git", "clone", "--quiet", folder, seed),
        ("git", "-C", seed, "checkout", "--quiet", "-B", "main"),
        ("git", "-C", seed, *author, "commit", "--quiet", "--allow-empty", "-m", "Begin"),
        ("git", "-C", seed, "push", "--quiet", "origin", "main"),
    ]
    for step in steps:
        ended = execute(step, folder.parent, env)
        assert ended.code == 0, ended.err
    return folder


def clone_of(remote: Path, folder: Path, skew_ms: int = 0, init: Sequence[str] = ()) -> Clone:
    """A clone with a store of its own.

    init: further words for `ev init`.
    """
    clone = Clone(folder.name, folder, skew_ms)
    ended = execute(("git", "clone", "--quiet", remote, folder), folder.parent, isolated())
    assert ended.code == 0, ended.err
    settings = {
        "user.name": folder.name,
        "user.email": f"{folder.name}@example.invalid",
        "remote.origin.receivepack": _SERVER_SIDE.format("receive-pack"),
        "remote.origin.uploadpack": _SERVER_SIDE.format("upload-pack"),
    }
    for key, value in settings.items():
        clone.ok("git", "config", key, value)
    clone.ok("ev", "init", *init)
    return clone


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the `flock` that appending to a tool's journals takes."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def open_segments(store: Path, writer: str = "*") -> list[Path]:
    """The last segment of every journal, or of those whose writer matches."""
    newest: dict[str, Path] = {}
    for path in sorted(store.glob(f"*/{writer}.[0-9][0-9][0-9][0-9].jsonl")):
        if path.parent.name not in ("attic", "local"):
            newest[str(path).rsplit(".", 2)[0]] = path
    return sorted(newest.values())


def tear(path: Path, length: int) -> bool:
    """Leave the beginning of a line at the end of a journal, as a killed writer would.

    Answers False where a torn line waits for its newline already.
    """
    garbage = b'{"event_id":"01TORN0000000000000000TORN","ts":"2026-01-01T00:00:00.000Z","project'
    with locked(path.parent):
        data = path.read_bytes()
        if not data.endswith(b"\n"):
            return False
        with path.open("ab") as stream:
            stream.write(garbage[: max(1, min(length, len(garbage)))])
    return True


def bad_lines(store: Path) -> set[tuple[str, int]]:
    """Every line that is no event, by file and byte, as they stand in the journals."""
    found = (line for line in journals.lines(store) if line.path.parent.name != "local")
    return {(str(x.path), x.offset) for x in found if x.event is None}


def acknowledged(ended: Ended) -> list[str]:
    """The ids of the events that a write said it had appended."""
    return [row["event_id"] for row in ended.rows if "event_id" in row]


def materialized(clone: Clone, now_ms: int) -> str:
    """The folded state, work and agents, as of one instant."""
    return "".join(clone.ok("ev", "materialize", x, now_ms=now_ms).out for x in ("work", "agents"))


def faults(
    clones: Sequence[Clone],
    wanted: Iterable[str],
    now_ms: int,
    named: frozenset[str] = frozenset({"unreadable"}),
) -> list[str]:
    """What is wrong with clones that all have synced: nothing, if all is well.

    wanted: the acknowledged event ids. now_ms: later than all that was written.
    named: the codes of damage that may be there, for it was injected.
    """
    found = [*_unlike(clones, now_ms)]
    ids = set(wanted)
    for clone in clones:
        lost = sorted(ids - journals.ids(clone.store))
        if lost:
            found.append(f"{clone.name}: {len(lost)} acknowledged events are lost: {lost[:5]}")
        found += _unchecked(clone, now_ms, named)
        fsck = execute(("git", "fsck", "--no-progress"), clone.folder, isolated())
        if fsck.code:
            found.append(f"{clone.name}: git fsck: {fsck.err[-500:]}")
    return found


def _unlike(clones: Sequence[Clone], now_ms: int) -> Iterator[str]:
    first, *others = [materialized(clone, now_ms).splitlines() for clone in clones]
    for clone, lines in zip(clones[1:], others, strict=True):
        if lines != first:
            names = (clones[0].name, clone.name)
            diff = difflib.unified_diff(first, lines, *names, lineterm="", n=0)
            yield "states differ:\n" + "\n".join(line[:600] for line in [*diff][:12])


def _unchecked(clone: Clone, now_ms: int, named: frozenset[str]) -> Iterator[str]:
    """Where `ev check` does not say exactly what is damaged."""
    answer = clone.do("ev", "check", "--full", now_ms=now_ms)
    if answer.code not in (0, 1):
        yield f"{clone.name}: ev check: exit {answer.code}: {answer.err[-500:]}"
        return
    damaged = [row for row in answer.rows if row["kind"] == "journal"]
    told = {(row["path"], row["offset"]) for row in damaged if row["code"] == "unreadable"}
    there = bad_lines(clone.store)
    if told != there:
        yield f"{clone.name}: ev check names {sorted(told - there)}, not {sorted(there - told)}"
    for row in damaged:
        if row["code"] not in named:
            yield f"{clone.name}: ev check: {json.dumps(row)[:600]}"


def later_ms(minutes: int) -> int:
    """An instant so much later than now; it is a whole minute."""
    return (time.time_ns() // 1_000_000 // MINUTE_MS + minutes) * MINUTE_MS


def settle(clones: Sequence[Clone], now_ms: int, rounds: int = 2, *options: str) -> list[str]:
    """All sync, one after the other, and again; what was not as it should be."""
    found = []
    for number in range(rounds):
        for clone in clones:
            ended = clone.do("ev", "sync", *options, now_ms=now_ms)
            if ended.code:
                found.append(f"{clone.name}: sync {number}: exit {ended.code}: {ended.err[-800:]}")
    return found


def remote_faults(remote: Path) -> list[str]:
    """What `git fsck` finds in the bare remote."""
    fsck = execute(("git", "fsck", "--no-progress", "--no-dangling"), remote, isolated())
    return [f"remote: git fsck: {fsck.err[-800:]}"] if fsck.code else []


def others_refs(clone: Clone) -> str:
    """Every ref that is not ours, HEAD and the stash: what a sync never moves."""
    refs = clone.ok("git", "for-each-ref", "--format=%(refname) %(objectname)").out.splitlines()
    kept = [line for line in refs if not line.startswith("refs/coord/")]
    head = clone.ok("git", "rev-parse", "HEAD", "--symbolic-full-name", "HEAD").out
    return "\n".join([*kept, head, clone.ok("git", "status", "--porcelain").out])
