"""Where the store is, who writes in it, and its lock.

    --dir, $COORD_DIR   the `.coord` folder itself, or a folder that has one
    else                walk up to `.git`, follow `commondir`, take the main tree
    bare repository     `.coord` inside its git folder

Every linked worktree of a clone so finds the same folder. The store's lock is
`flock` on that folder; nothing that `rm -r .coord/local` removes is a lock.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from types import FrameType
from typing import NamedTuple

from coord.core.event import TOOLS
from coord.edge import environment, git
from coord.errors import Refusal

FOLDER = ".coord"
LOCK_WAIT_S = 60.0
_LOOK_S = 0.005
INLINE_MARK = ".gitattributes"
# In `local/`: notes of holds that the remote was asked for (see `edge.sync.holds`).
CONFIRMING = "confirming"


class Place(NamedTuple):
    """A repository and where its store belongs, made or not.

    store: the `.coord` folder. tree: the main working tree, or the git folder of a
    bare repository. git_dir: the common git folder, "" where there is none.
    """

    store: str
    tree: str
    git_dir: str

    @property
    def local(self) -> str:
        """The folder that is never synced and may be deleted at any time."""
        return os.path.join(self.store, "local")

    @property
    def is_inline(self) -> bool:
        """Whether `.coord` is an ordinary tracked folder of the branch."""
        return os.path.exists(os.path.join(self.store, INLINE_MARK))


def find(folder: str = "") -> Place:
    """The store that commands in this place use.

    folder: what `--dir` says. Refuses with `no_store` or `no_repository`.
    """
    place = locate(folder)
    if not os.path.isdir(place.store):
        raise Refusal("no_store", f"{place.tree} has no {FOLDER} folder", "make one with: ev init")
    return place


def locate(folder: str = "") -> Place:
    """Where the store is or would be."""
    named = folder or environment.get(environment.DIR)
    if named:
        path = os.path.realpath(named)
        if os.path.basename(path) == FOLDER or _looks_like_store(path):
            return _named_store(path)
        if not os.path.isdir(path):
            raise Refusal("no_file", f"there is no folder {named}")
        if os.path.isdir(os.path.join(path, FOLDER)):
            return _named_store(os.path.join(path, FOLDER))
        return _walk(path)
    try:
        return _walk(os.getcwd())
    except FileNotFoundError:
        hint = "change to one that exists"
        raise Refusal("no_file", "the current folder is gone", hint) from None


def _looks_like_store(path: str) -> bool:
    return all(os.path.isdir(os.path.join(path, tool)) for tool in ("ev", "wk"))


def _named_store(path: str) -> Place:
    tree = os.path.dirname(path)
    try:
        return Place(path, tree, _walk(tree).git_dir)
    except Refusal:
        return Place(path, tree, "")


def _walk(start: str) -> Place:
    here = os.path.realpath(start)
    while True:
        dot_git = os.path.join(here, ".git")
        if os.path.isdir(dot_git):
            return Place(os.path.join(here, FOLDER), here, dot_git)
        if os.path.isfile(dot_git):
            return _from_file(dot_git, here)
        if _is_git_dir(here):
            return _from_git_dir(here, here)
        parent = os.path.dirname(here)
        if parent == here:
            hint = "make a repository with: git init, then: ev init"
            raise Refusal("no_repository", f"{start} is not inside a git repository", hint)
        here = parent


def _is_git_dir(path: str) -> bool:
    return os.path.isfile(os.path.join(path, "HEAD")) and all(
        os.path.isdir(os.path.join(path, name)) for name in ("objects", "refs")
    )


def _from_file(dot_git: str, here: str) -> Place:
    """Follow a `.git` file: a linked worktree, a submodule or a separate git folder."""
    with open(dot_git, encoding="utf-8") as stream:
        text = stream.read().strip()
    git_dir = os.path.realpath(os.path.join(here, text.removeprefix("gitdir:").strip()))
    pointer = os.path.join(git_dir, "commondir")
    if not os.path.isfile(pointer):
        return Place(os.path.join(here, FOLDER), here, git_dir)
    with open(pointer, encoding="utf-8") as stream:
        common = os.path.realpath(os.path.join(git_dir, stream.read().strip()))
    return _from_git_dir(common, here)


def _from_git_dir(common: str, here: str) -> Place:
    if os.path.basename(common) == ".git":
        tree = os.path.dirname(common)
        return Place(os.path.join(tree, FOLDER), tree, common)
    _, bare = git.run(["config", "--get", "core.bare"], common)
    if bare.strip() == b"true":
        return Place(os.path.join(common, FOLDER), common, common)
    _, worktree = git.run(["config", "--get", "core.worktree"], common)
    if worktree.strip():
        tree = os.path.realpath(os.path.join(common, os.fsdecode(worktree.strip())))
        return Place(os.path.join(tree, FOLDER), tree, common)
    return Place(os.path.join(common, FOLDER), here, common)


def has_unsettled(place: Place) -> bool:
    """Whether a process may have won a hold from the remote that it never recorded.

    A note whose time lies ahead was tried in vain a moment ago.
    """
    try:
        with os.scandir(os.path.join(place.local, CONFIRMING)) as entries:
            return any(entry.stat().st_mtime <= time.time() for entry in entries)
    except FileNotFoundError:
        return False


def make_folders(place: Place) -> list[str]:
    """Make what is missing of the store; answer the folders made."""
    made = []
    wanted = [place.store, *(os.path.join(place.store, tool) for tool in TOOLS), place.local]
    for path in wanted:
        if not os.path.isdir(path):
            with refusing_disk_errors(path):
                os.makedirs(path, exist_ok=True)
            made.append(path)
    return made


@contextlib.contextmanager
def locked(path: str, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold `flock` on a folder; waits in the kernel, refuses `busy` at the deadline."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        flock_within(descriptor, fcntl.LOCK_EX, wait_s, path)
        yield
    finally:
        os.close(descriptor)


def flock_now(descriptor: int, mode: int) -> bool:
    """Take a `flock` if that needs no waiting; answers whether we have it."""
    try:
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def flock_within(descriptor: int, mode: int, wait_s: float, path: str) -> None:
    """Take a `flock`, waiting at most `wait_s` seconds: in the kernel on the main thread."""
    if flock_now(descriptor, mode):
        return

    import signal
    import threading

    if threading.current_thread() is not threading.main_thread():
        # No signal reaches another thread, so it has to look again and again.
        _flock_by_looking(descriptor, mode, wait_s, path)
        return
    before = signal.signal(signal.SIGALRM, _deadline)
    # Again and again: an alarm that comes before the kernel waits would end no waiting.
    signal.setitimer(signal.ITIMER_REAL, max(wait_s, _LOOK_S), _LOOK_S)
    try:
        _flock(descriptor, mode)
    except _Deadline:
        # It may have come when the lock was already ours.
        if not flock_now(descriptor, mode):
            raise _stayed_locked(path, wait_s) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _flock(descriptor: int, mode: int) -> None:
    """What an alarm ends, wherever in it that comes, and nothing else."""
    fcntl.flock(descriptor, mode)


def _flock_by_looking(descriptor: int, mode: int, wait_s: float, path: str) -> None:
    ends_at = time.monotonic() + wait_s
    while not flock_now(descriptor, mode):
        if time.monotonic() >= ends_at:
            raise _stayed_locked(path, wait_s)
        time.sleep(_LOOK_S)


def _stayed_locked(path: str, wait_s: float) -> Refusal:
    text = f"{path} stayed locked for {wait_s:.0f} s"
    return Refusal("busy", text, "another process holds it: try again")


class _Deadline(Exception):
    pass


def _deadline(_signal: int, frame: FrameType | None) -> None:
    if frame is not None and frame.f_code is _flock.__code__:
        raise _Deadline


@contextlib.contextmanager
def refusing_disk_errors(path: str) -> Iterator[None]:
    """Turn what a disk says into a refusal that names the path."""
    import errno

    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            hint = "reading works; to write, give this user write access"
            raise Refusal("read_only", f"cannot write {path}: {reason}", hint) from error
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
            hint = "nothing was acknowledged; free some space and try again"
            raise Refusal("disk", f"cannot write {path}: {reason}", hint) from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP):
            raise Refusal("exists", f"{path} is in the way: {reason}", "move it away") from error
        raise


def exclude(place: Place, patterns: tuple[str, ...]) -> list[str]:
    """Add what is missing to `.git/info/exclude`; answer the file if it changed."""
    if not place.git_dir or place.store.startswith(place.git_dir + os.sep):
        return []
    path = os.path.join(place.git_dir, "info", "exclude")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            text = stream.read()
    except FileNotFoundError:
        text = ""
    missing = [pattern for pattern in patterns if pattern not in text.splitlines()]
    if not missing:
        return []
    begin = "\n" if text and not text.endswith("\n") else ""
    with refusing_disk_errors(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "a", encoding="utf-8") as stream:
            stream.write(begin + "\n".join(missing) + "\n")
    return [path]


def include(place: Place, patterns: tuple[str, ...]) -> list[str]:
    """Take back what `exclude` added; answer the file if it changed."""
    path = os.path.join(place.git_dir, "info", "exclude")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as stream:
            lines = stream.read().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    kept = [line for line in lines if line.rstrip("\n") not in patterns]
    if kept == lines:
        return []
    with (
        refusing_disk_errors(path),
        open(path, "w", encoding="utf-8", errors="surrogateescape") as stream,
    ):
        stream.write("".join(kept))
    return [path]


# Inside `.coord`, so that it travels with the branch to every clone.
_INLINE_FILES = {
    INLINE_MARK: "# Journals are bytes: no line ending may change.\n* -text\n",
    ".gitignore": "/local/\n/config.yaml*\n",
}


def make_inline(place: Place) -> list[str]:
    """Write what an inline store keeps beside its journals; answer the files made."""
    made = []
    for name, text in _INLINE_FILES.items():
        path = os.path.join(place.store, name)
        if not os.path.exists(path):
            with refusing_disk_errors(path), open(path, "w", encoding="utf-8") as stream:
                stream.write(text)
            made.append(path)
    return made
