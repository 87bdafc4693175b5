"""The only door to git: questions about the user's repository, and what a sync may do in it.

Both go through one small runner, for a command asks git two or three short questions, and
importing subprocess or GitPython costs more than git's whole answer (10 and 105 ms against 2).

A `Repository` is the view of a sync: it runs no hook of the user's, starts no maintenance,
asks for no password where nobody is there to type it, and waits for the disk. It never
names the index, the working tree, HEAD or a branch.
"""

import contextlib
import functools
import os
import select
import signal
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, NamedTuple

NO_GIT = 127
TIMED_OUT = 124
_BLOCK_BYTES = 1 << 20
LOCAL_S = 120.0
REMOTE_S = 600.0
_LOCK_S = 1.0
# With git's defaults a power cut leaves a repository that git cannot read.
_SAFE = (
    "-c", "core.fsync=committed,loose-object,reference", "-c", "core.hooksPath=/dev/null",
    "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.writeCommitGraph=false",
    "-c", "core.logAllRefUpdates=false", "-c", "push.gpgSign=false",
    "-c", "push.recurseSubmodules=no", "-c", "log.showSignature=false", "-c", "color.ui=false",
    "-c", "i18n.logOutputEncoding=UTF-8",
)  # fmt: skip
# What a git that called us (a hook, an alias) says about its own repository and index.
FOREIGN = (
    "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE",
    "GIT_QUARANTINE_PATH", "GIT_GRAFT_FILE", "GIT_REPLACE_REF_BASE",
)  # fmt: skip


class Answer(NamedTuple):
    """How a git command ended; `status` is `TIMED_OUT` when it was stopped at its deadline."""

    status: int
    out: bytes
    err: str


def run(arguments: Sequence[str], folder: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run `git ARGUMENTS` in a folder; answer its status and output.

    What git writes to stderr is dropped; `NO_GIT` means there is no git.
    """
    devnull = os.open(os.devnull, os.O_RDWR)
    words = ["-C", folder, *arguments]
    try:
        with _file_of(stdin) as given, _started(words, given, devnull, dict(os.environ)) as child:
            output = child.stream.read()
        return child.status, output
    finally:
        os.close(devnull)


class _Child:
    """A git process and the stream of its stdout; `status` counts once it has ended."""

    def __init__(self, pid: int, stream: BinaryIO) -> None:
        self.pid, self.stream, self.status = pid, stream, NO_GIT


@contextlib.contextmanager
def _started(
    arguments: Sequence[str], stdin: int, stderr: int, environment: dict[str, str]
) -> Iterator[_Child]:
    reading, writing = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate((stdin, writing, stderr))]
    try:
        pid = os.posix_spawnp("git", ["git", *arguments], environment, file_actions=actions)
    except FileNotFoundError:
        pid = 0
    finally:
        os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        child = _Child(pid, stream)
        try:
            yield child
        except BaseException:
            if pid:
                os.kill(pid, signal.SIGKILL)
            raise
        finally:
            if pid:
                child.status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Repository:
    """The common git folder of a clone, for reading and writing refs of our own.

    tree: where relative URLs of remotes begin. remote_s: how long a remote may take.
    variables: what git finds in its environment besides.
    """

    def __init__(
        self,
        git_dir: str,
        tree: str,
        remote_s: float = REMOTE_S,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._remote_s = remote_s
        self._git_dir = git_dir
        self._words = ("-C", tree, f"--git-dir={git_dir}", *_SAFE)
        self._environment = {k: v for k, v in os.environ.items() if k not in FOREIGN}
        self._environment |= {"LC_ALL": "C", "GIT_NO_REPLACE_OBJECTS": "1", **(variables or {})}
        if not os.isatty(0):
            self._environment.setdefault("GIT_TERMINAL_PROMPT", "0")

    def __call__(self, *words: str, stdin: bytes = b"", deadline_s: float = LOCAL_S) -> Answer:
        """Run a git command to its end, or to its deadline."""
        with _file_of(stdin) as given, _file_of(b"") as errors:
            with _started([*self._words, *words], given, errors, self._environment) as child:
                output = _read_until(child, time.monotonic() + deadline_s)
            text = _content(errors).decode(errors="replace")
        if output is None:
            return Answer(TIMED_OUT, b"", f"no answer within {deadline_s:.0f} s")
        return Answer(child.status, output, text if child.pid else "there is no git")

    @contextlib.contextmanager
    def streaming(self, *words: str, stdin: bytes = b"") -> Iterator[BinaryIO]:
        """The output of a git command, while it runs; raises `Failed` when it ends badly."""
        with _file_of(stdin) as given, _file_of(b"") as errors:
            with _started([*self._words, *words], given, errors, self._environment) as child:
                yield child.stream
            if child.status:
                raise Failed(_content(errors).decode(errors="replace"))

    def objects(self, names: Sequence[str]) -> Iterator[bytes | None]:
        """The contents of objects, one after the other; None for one that is not there."""
        requests = "".join(f"{name}\n" for name in names).encode()
        with self.streaming("cat-file", "--batch", "--buffer", stdin=requests) as stream:
            for _ in names:
                size = stream.readline().split()[-1:]
                if not size or not size[0].isdigit():
                    yield None
                    continue
                yield stream.read(int(size[0]))
                stream.read(1)

    def has(self, names: Sequence[str]) -> bool:
        """Whether all these objects are in the repository."""
        requests = "".join(f"{name}\n" for name in names).encode()
        answer = self("cat-file", "--batch-check", stdin=requests) if names else None
        return answer is None or not (answer.status or b" missing\n" in answer.out)

    def clear_locks(self, prefix: str) -> None:
        """Remove the locks that a killed git has left on refs of our own."""
        for folder, _, files in os.walk(os.path.join(self._git_dir, prefix)):
            for name in files:
                if name.endswith(".lock"):
                    _outlast(os.path.join(folder, name))

    def remotes(self) -> dict[str, str]:
        """The names and URLs of the user's remotes."""
        answer = self("config", "--null", "--get-regexp", r"^remote\..*\.url$")
        found: dict[str, str] = {}
        for name, url in _settings_in(answer.out):
            found.setdefault(name[len("remote.") : -len(".url")], url)
        return found

    def refs(self, prefix: str) -> dict[str, str]:
        """The local refs under a prefix, by what follows it, with their commits."""
        answer = self("for-each-ref", "--format=%(objectname) %(refname)", prefix)
        return _names(answer.out, prefix, " ")

    def remote_refs(self, remote: str, prefix: str) -> tuple[Answer, dict[str, str]]:
        """What a remote has under a prefix, like `refs`: one round trip."""
        words = ("ls-remote", "--quiet", "--refs", "--", remote, prefix + "*")
        answer = self(*words, deadline_s=self._remote_s)
        return answer, _names(answer.out, prefix, "\t")

    def fetch(self, remote: str, refspecs: Sequence[str]) -> Answer:
        """Fetch refs into refs of our own, whole histories whatever kind of clone this is."""
        words = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-prune",
                 "--no-recurse-submodules", "--no-auto-maintenance", "--no-filter",
                 "--refmap=", "--stdin", "--", remote)  # fmt: skip
        given = "".join(f"{spec}\n" for spec in refspecs).encode()
        return self(*words, stdin=given, deadline_s=self._remote_s)

    def push(
        self, remote: str, moves: Sequence[tuple[str, str, str]], *, atomic: bool = False
    ) -> tuple[Answer, dict[str, str]]:
        """Move refs of the remote, each by compare-and-swap and never by force.

        moves: (ref, the commit it must have now or "", the commit to have then or "").
        Returns git's answer and, per ref that did not move, the reason.
        """
        # A mirror would push every ref of the user's; a URL is none.
        is_name = not any(sign in remote for sign in "/:=")
        words = ["-c", f"remote.{remote}.mirror=false"] if is_name else []
        words += ["push", "--porcelain", "--no-verify", "--quiet"]
        words += ["--atomic"] if atomic else []
        words += [f"--force-with-lease={ref}:{before}" for ref, before, _ in moves]
        words += ["--", remote, *(f"{after}:{ref}" for ref, _, after in moves)]
        answer = self(*words, deadline_s=self._remote_s)
        failed = {}
        for line in answer.out.decode(errors="replace").splitlines():
            if line.startswith("!\t"):
                _, pair, reason = line.split("\t", 2)
                failed[pair.partition(":")[2]] = reason
        return answer, failed

    def added(self, refs: Sequence[str], known: Sequence[str]) -> Iterator["Change"]:
        """What the commits of refs added, parents first, but for the history of known commits.

        Raises `Failed` where one of these is not in the repository.
        """
        given = "".join(f"{name}\n" for name in (*refs, *(f"^{name}" for name in known)))
        words = ("log", "--stdin", "--source", "--topo-order", "--reverse", "--root", "--raw",
                 "--no-abbrev", "-r", "--no-renames", "--format=%x01%H %S")  # fmt: skip
        ref = ""
        with self.streaming(*words, stdin=given.encode()) as stream:
            for line in stream:
                if line.startswith(b"\x01"):
                    _, ref = line[1:].decode().split()
                elif line.startswith(b":"):
                    meta, _, path = line.rstrip(b"\n").partition(b"\t")
                    name = meta.split()[3].decode()
                    if name.strip("0"):
                        yield Change(ref, path.decode(errors="replace"), name)

    def write_commits(self, commands: Iterable[bytes]) -> list[str]:
        """Feed `git fast-import`, which makes commits and moves refs of our own to them.

        Answers what its `get-mark` commands ask for; raises `Failed`.
        """
        words = ("fast-import", "--quiet", "--force", "--done", "--date-format=raw")
        answer = self(*words, stdin=b"".join((b"feature done\n", *commands, b"done\n")))
        if answer.status:
            raise Failed(answer.err)
        return answer.out.decode().split()


class Change(NamedTuple):
    """A file that a commit of a ref added: its path in the tree, and its object."""

    ref: str
    path: str
    name: str


class Failed(Exception):
    """Git ended in the middle of an answer, with these words."""


def _names(output: bytes, prefix: str, gap: str) -> dict[str, str]:
    pairs = [line.split(gap, 1) for line in output.decode(errors="replace").splitlines()]
    return {name[len(prefix) :]: commit for commit, name in pairs if name.startswith(prefix)}


def _outlast(lock: str) -> None:
    """Remove a lock that is held for longer than any git at work holds one on a ref."""
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(lock)
        time.sleep(min(max(0.0, found.st_mtime + _LOCK_S - time.time()), _LOCK_S))
        if os.stat(lock).st_ino == found.st_ino:
            os.unlink(lock)


@contextlib.contextmanager
def _file_of(data: bytes) -> Iterator[int]:
    """A file without a name that holds bytes: no pipe fills up with nobody to read it."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("git")
    else:
        import tempfile

        descriptor, path = tempfile.mkstemp()
        os.unlink(path)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def _content(descriptor: int) -> bytes:
    size = os.lseek(descriptor, 0, os.SEEK_END)
    return os.pread(descriptor, min(size, _BLOCK_BYTES), 0)


def _read_until(child: _Child, deadline: float) -> bytes | None:
    """All that a child writes; None when it has not ended by then, and was stopped."""
    parts: list[bytes] = []
    poll = select.poll()
    poll.register(child.stream, select.POLLIN)
    while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        part = os.read(child.stream.fileno(), _BLOCK_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)
    if child.pid:
        os.kill(child.pid, signal.SIGTERM)
    return None


@functools.cache
def settings(folder: str) -> dict[str, str]:
    """The git settings that name who acts, what the project is, and how files are named."""
    wanted = r"^(coord\.agent|user\.name|remote\.origin\.url|core\.ignorecase)$"
    _, output = run(["config", "--null", "--get-regexp", wanted], folder)
    return dict(_settings_in(output))


def _settings_in(output: bytes) -> Iterator[tuple[str, str]]:
    """The names and values that `git config --null` prints."""
    for entry in output.decode(errors="replace").split("\0"):
        name, _, value = entry.partition("\n")
        if name:
            yield name, value


def head(folder: str) -> dict[str, str]:
    """The commit and branch that stand checked out in a folder; {} without a commit."""
    status, commit = run(["rev-parse", "--verify", "--quiet", "HEAD"], folder)
    if status:
        return {}
    found = {"commit": commit.decode().strip()}
    status, branch = run(["symbolic-ref", "--short", "--quiet", "HEAD"], folder)
    return found if status else {**found, "branch": branch.decode().strip()}


def is_commit(text: str, folder: str) -> str:
    """The whole hash of a commit, "" if the repository has none by this name."""
    status, output = run(["rev-parse", "--verify", "--quiet", f"{text}^{{commit}}"], folder)
    return "" if status else output.decode().strip()


def reaches(commit: str, folder: str) -> bool:
    """Whether a commit is part of the history of what is checked out in a folder."""
    return run(["merge-base", "--is-ancestor", commit, "HEAD"], folder)[0] == 0


# Between the parts of a commit, and after each.
_PART, _END = "\x1f", "\x1e"
_COMMIT = "%H%x1f%ct%x1f%an%x1f%s%x1f%(trailers:key=Work,valueonly,separator=%x20)%x1e"


def commits(arguments: list[str], folder: str) -> list[dict[str, Any]]:
    """What `git log ARGUMENTS` finds: {commit, at_ms, author, subject, work}, newest first.

    work: the items that the trailers `Work: ID` name.
    """
    _, output = run(["log", f"--format={_COMMIT}", *arguments], folder)
    found = []
    for entry in output.decode(errors="replace").split(_END)[:-1]:
        commit, seconds, author, subject, work = entry.strip("\n").split(_PART)
        row = {"commit": commit, "at_ms": int(seconds) * 1000, "author": author}
        found.append({**row, "subject": subject, "work": work.replace(",", " ").split()})
    return found


def commits_of(path: str, folder: str, limit: int) -> list[dict[str, Any]]:
    """The commits that changed a file, also under earlier names; all with limit 0."""
    newest = [f"--max-count={limit}"] if limit else []
    return commits([*newest, "--follow", "--", path], folder)


def path_in_tree(path: str, folder: str) -> str:
    """A path, given from a folder, as it is called from the top of that working tree."""
    # The last part as it is: a link is a file of its own.
    head, name = os.path.split(os.path.normpath(os.path.join(folder, path)))
    top = head = os.path.realpath(head)
    while not os.path.lexists(os.path.join(top, ".git")) and os.path.dirname(top) != top:
        top = os.path.dirname(top)
    return os.path.relpath(os.path.join(head, name), top)


def hook_path(name: str, folder: str) -> str:
    """Where git looks for a hook, core.hooksPath included; "" outside a repository."""
    status, output = run(["rev-parse", "--git-path", f"hooks/{name}"], folder)
    return "" if status else os.path.join(folder, os.fsdecode(output.rstrip(b"\n")))


def comment_char(folder: str) -> str:
    """What begins a comment in a commit message; "" where git chooses it itself."""
    _, output = run(["config", "--get", "core.commentChar"], folder)
    found = output.decode(errors="replace").strip() or "#"
    return "" if found == "auto" else found


def add_trailer(file: str, trailer: str, folder: str) -> bool:
    """Add `Key: value` to a commit message's file unless that key is there; whether it went."""
    words = ["interpret-trailers", "--in-place", "--if-exists", "doNothing", "--trailer", trailer]
    return run([*words, file], folder)[0] == 0
