"""Workspaces: a pool of linked worktrees in which runs are executed, away from people's own.

    .coord/local/workspaces/lock       held while a worktree is made or removed
                            w1/        a linked worktree; its HEAD is detached
                            w1.json    {folder, run_id, lease_id, commit, begun, kept}: whose it
                                       is; locked by the shim, and by every git that it starts,
                                       as long as it is in use
                            w1.hooks/  the git hooks of what is executed in it

A workspace is taken again when nobody has it locked, the attempt that had it has ended, and
git proves it clean: nothing in it differs from its commit, that commit is on a ref, and no
merge or rebase is under way. What was dirty is `kept`: never used again, never removed. One
in which the command never began is nobody's work, and is made anew.

What is executed in one commits with the trailer `Coord-Run: <run_id>`: a hook adds it, and
calls the hooks that the repository has. It needs nothing but the standard library and git.
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.edge import git
from coord.edge.run import disk

FOLDER = "workspaces"
TRAILER = "Coord-Run"
# In the folder of an attempt: which workspace it has; how a recovery has left that.
NAMED, SETTLED = "workspace", "settled"
_OWN_REFS = "refs/coord/"
_UNDER_WAY = (
    "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "BISECT_LOG", "rebase-merge",
    "rebase-apply", "sequencer",
)  # fmt: skip
_LOCKS = ("index.lock", "HEAD.lock")
# Hooks that git calls so often that one which only looks for another would be felt.
_OFTEN = frozenset({"reference-transaction", "post-index-change", "fsmonitor-watchman"})
_HOOKS = (
    "applypatch-msg", "pre-applypatch", "post-applypatch", "pre-commit", "pre-merge-commit",
    "prepare-commit-msg", "commit-msg", "post-commit", "pre-rebase", "post-checkout",
    "post-merge", "pre-push", "post-rewrite", "sendemail-validate", "pre-auto-gc",
)  # fmt: skip
# Our settings are the last of those that the environment gives: without them git answers
# where the hooks lie that would have been called.
_HOOK = """#!/bin/sh
# Calls the hook of this name that the repository has. Made by run for one of its workspaces.
here=${0%/*} name=${0##*/} count=${GIT_CONFIG_COUNT:-0}
while [ "$count" -gt 0 ]; do
    eval "value=\\$GIT_CONFIG_VALUE_$((count - 1))"
    [ "$value" = "$here" ] || break
    count=$((count - 1))
done
hook=$(GIT_CONFIG_COUNT=$count git rev-parse --git-path hooks)/$name
if [ "$name" = prepare-commit-msg ]; then
    if [ -x "$hook" ]; then "$hook" "$@" || exit; fi
    [ -z "$COORD_RUN" ] || exec git interpret-trailers --in-place --if-exists addIfDifferent \\
        --trailer "Coord-Run: $COORD_RUN" "$1"
elif [ -x "$hook" ]; then
    exec "$hook" "$@"
fi
"""


class Unfit(Exception):
    """There is no workspace as it is asked for; the text says why."""


class Workspace(NamedTuple):
    """A workspace that is ours: its lock is held by `lock`, -1 for one that is looked at."""

    name: str
    path: str
    commit: str
    owner: str
    lock: int = -1

    def git(self, **variables: str) -> git.Repository:
        """Git in this workspace."""
        return git.Repository(git_dir_of(self.path), self.path, variables=variables)


def prepare(wanted: Mapping[str, Any], folder: str, told: Mapping[str, Any]) -> Workspace:
    """A clean workspace at the commit that is wanted, for the attempt with this folder.

    wanted: pool, git_dir, tree, commit, inputs, blobs. told: run_id, lease_id.
    Raises `Unfit`.
    """
    pool, commit = wanted["pool"], wanted["commit"]
    os.makedirs(pool, exist_ok=True)
    main = git.Repository(wanted["git_dir"], wanted["tree"])
    if not main.has([f"{commit}^{{commit}}"]):
        raise Unfit(f"commit {commit[:12]} is not in this repository")
    said = {"folder": folder, "commit": commit, "begun": False}
    said |= {name: told[name] for name in ("run_id", "lease_id")}
    made = _free(pool, main, said) or _new(pool, main, said)
    asked(made.git(), "checkout", "--quiet", "--detach", "--force", commit)
    asked(made.git(), "clean", "-ffdxq")
    _lay_out(made, wanted)
    _write_hooks(made)
    _write(os.path.join(folder, NAMED), {"name": made.name, "path": made.path, "commit": commit})
    _write(made.owner, {**said, "begun": True}, made.lock)
    os.set_inheritable(made.lock, False)
    return made


def of_attempt(folder: str, lease_id: str) -> Workspace | None:
    """The workspace that an attempt has; None when it has none, or no longer."""
    named = _read(os.path.join(folder, NAMED))
    if "path" not in named:
        return None
    owner = f"{named['path']}.json"
    if _read(owner).get("lease_id") != lease_id or not os.path.isdir(named["path"]):
        return None
    return Workspace(named["name"], named["path"], named["commit"], owner)


def named(folder: str) -> Mapping[str, Any]:
    """What an attempt says of its workspace, {name, path, commit}; {} for none."""
    return _read(os.path.join(folder, NAMED))


def _free(pool: str, main: git.Repository, said: Mapping[str, Any]) -> Workspace | None:
    """A workspace that may be taken again, ours already; None when there is none."""
    for name in _names(pool):
        path, owner = os.path.join(pool, name), os.path.join(pool, f"{name}.json")
        lock = _taken(owner)
        if lock < 0:
            continue
        found = Workspace(name, path, said["commit"], owner, lock)
        before = _read(owner)
        if is_over(before) and not before.get("kept"):
            if _retaken(pool, main, found, said, before):
                return found
            keep(found)
        os.close(lock)
    return None


def _retaken(
    pool: str,
    main: git.Repository,
    found: Workspace,
    said: Mapping[str, Any],
    before: Mapping[str, Any],
) -> bool:
    """Make a workspace ours that another run had, if nothing would be lost."""
    # What a git of ours starts keeps the lock, should we be killed meanwhile.
    os.set_inheritable(found.lock, True)
    if before.get("begun") is not False:
        is_ours = is_clean(found, before.get("commit", ""))
        if is_ours:
            _write(found.owner, said, found.lock)
        return is_ours
    try:
        _write(found.owner, said, found.lock)
        _make(pool, main, found)
    except Unfit:
        return False
    return True


def _new(pool: str, main: git.Repository, said: Mapping[str, Any]) -> Workspace:
    number = 1
    while True:
        name = f"w{number}"
        owner = os.path.join(pool, f"{name}.json")
        number += 1
        with contextlib.suppress(FileExistsError):
            lock = os.open(owner, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.set_inheritable(lock, True)
            found = Workspace(name, os.path.join(pool, name), said["commit"], owner, lock)
            _write(owner, said, lock)
            _make(pool, main, found)
            return found


def _make(pool: str, main: git.Repository, found: Workspace) -> None:
    """Add the worktree; git cannot make two at once, and nothing in an old one is work."""
    with _locked(pool):
        _discard(main, found)
        # By force, for git may know a worktree of this name that somebody has removed.
        words = ("worktree", "add", "--force", "--quiet", "--detach", "--no-checkout")
        asked(main, *words, found.path, found.commit)


def _discard(main: git.Repository, found: Workspace) -> None:
    if os.path.lexists(found.path):
        main("worktree", "remove", "--force", "--force", found.path)
        shutil.rmtree(found.path, ignore_errors=True)
        asked(main, "worktree", "prune")


def is_over(owner: Mapping[str, Any]) -> bool:
    """Whether the attempt that a workspace belongs to has ended."""
    folder = owner.get("folder", "")
    return not os.path.isdir(folder) or any(
        os.path.exists(os.path.join(folder, name)) for name in ("exit.json", SETTLED)
    )


def is_clean(found: Workspace, base: str, but: Sequence[str] = ()) -> bool:
    """Whether git proves that nothing would be lost were a workspace used for another run.

    base: the commit that it began with. but: paths that count for nothing.
    """
    try:
        where = git_dir_of(found.path)
        _clear_locks(where)
        if any(os.path.lexists(os.path.join(where, name)) for name in _UNDER_WAY):
            return False
        head = head_of(found)
        return not dirty_paths(found, but) and (head == base or is_on_ref(found.git(), head, ()))
    except (Unfit, OSError):
        return False


def dirty_paths(found: Workspace, but: Sequence[str] = ()) -> list[str]:
    """The paths that differ from the commit of a workspace, those that nobody tracks included."""
    words = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames")
    output = asked(found.git(), *words, "--ignore-submodules=none")
    paths = [os.fsdecode(entry[3:]) for entry in output.split(b"\0") if entry]
    return [path for path in paths if path not in but]


def head_of(found: Workspace) -> str:
    """The commit that a workspace stands at."""
    return asked(found.git(), "rev-parse", "--verify", "HEAD^{commit}").decode().strip()


def is_on_ref(main: git.Repository, commit: str, but: Sequence[str] = (_OWN_REFS,)) -> bool:
    """Whether a ref leads to a commit, other than those that begin so."""
    words = ("for-each-ref", "--contains", commit, "--format=%(refname)")
    names = asked(main, *words).decode(errors="replace").splitlines()
    return any(not name.startswith(tuple(but)) for name in names)


def set_ref(found: Workspace, ref: str, commit: str) -> None:
    """Let a ref of ours lead to a commit, whatever a git that was killed has left there."""
    if found.git()("update-ref", ref, commit).status:
        words = ("rev-parse", "--path-format=absolute", "--git-common-dir")
        common = os.fsdecode(asked(found.git(), *words)).rstrip("\n")
        git.Repository(common, found.path).clear_locks(os.path.dirname(ref))
        asked(found.git(), "update-ref", ref, commit)


def release(found: Workspace, disposable: Sequence[str], is_kept: bool) -> None:
    """Let go of a workspace: for others, or dirty and for people.

    disposable: files that are kept elsewhere.
    """
    # A branch is nobody else's to check out as long as some worktree stands on it.
    with contextlib.suppress(Unfit):
        found.git()("checkout", "--quiet", "--detach")
    if is_kept:
        keep(found)
    for path in () if is_kept else disposable:
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(found.path, path))
    if found.lock >= 0:
        os.close(found.lock)


def keep(found: Workspace) -> None:
    """Note that a workspace is dirty: it is neither used nor removed any more."""
    _write(found.owner, {**_read(found.owner), "kept": True})


def prune(
    pool: str, main: git.Repository, is_old: Callable[[str], bool], dry_run: bool
) -> Iterator[tuple[str, str]]:
    """Remove the clean workspaces whose last runs are old; their names, and those runs."""
    for name in _names(pool) if os.path.isdir(pool) else ():
        owner = os.path.join(pool, f"{name}.json")
        lock = _taken(owner)
        if lock < 0:
            continue
        found = Workspace(name, os.path.join(pool, name), "", owner, lock)
        said = _read(owner)
        if is_old(str(said.get("run_id", ""))) and _is_spare(found, said):
            if not dry_run:
                with _locked(pool):
                    _discard(main, found)
                    shutil.rmtree(f"{found.path}.hooks", ignore_errors=True)
                    os.unlink(owner)
            yield name, str(said.get("run_id", ""))
        os.close(lock)


def _is_spare(found: Workspace, said: Mapping[str, Any]) -> bool:
    if not is_over(said) or said.get("kept"):
        return False
    return said.get("begun") is False or is_clean(found, said.get("commit", ""))


def environment(found: Workspace, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of what is executed in a workspace: its own git, and our hooks."""
    kept = {name: value for name, value in given.items() if name not in git.FOREIGN}
    text = kept.get("GIT_CONFIG_COUNT", "0")
    count = int(text) if text.isdigit() else 0
    return {
        **kept,
        f"GIT_CONFIG_KEY_{count}": "core.hooksPath",
        f"GIT_CONFIG_VALUE_{count}": f"{found.path}.hooks",
        "GIT_CONFIG_COUNT": str(count + 1),
    }


def _write_hooks(found: Workspace) -> None:
    """A hook for every name that the repository may have one for."""
    folder = f"{found.path}.hooks"
    theirs = os.path.dirname(git.hook_path("any", found.path))
    there = set(os.listdir(theirs)) if os.path.isdir(theirs) else set()
    shutil.rmtree(folder, ignore_errors=True)
    os.mkdir(folder)
    first = os.path.join(folder, _HOOKS[0])
    with open(first, "w", encoding="utf-8") as stream:
        stream.write(_HOOK)
    os.chmod(first, 0o755)
    for name in {*_HOOKS[1:], *(there & _OFTEN)}:
        os.link(first, os.path.join(folder, name))


def _lay_out(found: Workspace, wanted: Mapping[str, Any]) -> None:
    """Put the inputs where they were when the run was asked for."""
    for one in wanted.get("inputs", ()):
        target = os.path.join(found.path, one["path"])
        inside = os.path.realpath(os.path.dirname(target)) + "/"
        is_inside = inside.startswith(os.path.realpath(found.path) + "/")
        if not is_inside or os.path.isdir(target) or ".git" in one["path"].split("/"):
            raise Unfit(f"input {one['path']} has no place there")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        source = os.path.join(wanted["blobs"], one["sha256"][:2], one["sha256"])
        if os.path.lexists(target):
            os.unlink(target)
        try:
            shutil.copyfile(source, target)
        except FileNotFoundError as error:
            raise Unfit(f"input {one['path']} is not in this store") from error


def git_dir_of(path: str) -> str:
    """The git folder of a linked worktree."""
    try:
        with open(os.path.join(path, ".git"), encoding="utf-8") as stream:
            word, _, where = stream.read().partition(": ")
    except OSError as error:
        raise Unfit(f"{path} is no worktree") from error
    if word != "gitdir":
        raise Unfit(f"{path} is no worktree")
    return os.path.join(path, where.rstrip("\n"))


def _clear_locks(git_dir: str) -> None:
    """Remove the locks of a git that was killed: nobody lives in this worktree."""
    for name in _LOCKS:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(git_dir, name))


def asked(repository: git.Repository, *words: str, stdin: bytes = b"") -> bytes:
    """What git answers; raises `Unfit` with its own last words where it fails."""
    answer = repository(*words, stdin=stdin)
    if answer.status:
        lines = answer.err.strip().splitlines()
        raise Unfit(lines[-1] if lines else f"git ended with {answer.status}")
    return answer.out


def _names(pool: str) -> list[str]:
    names = [name.removesuffix(".json") for name in os.listdir(pool) if name.endswith(".json")]
    return sorted(names, key=lambda name: (len(name), name))


@contextlib.contextmanager
def _locked(pool: str) -> Iterator[None]:
    """Alone in making and removing worktrees, also while a git of a dead shim still does."""
    lock = os.open(os.path.join(pool, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    try:
        yield
    finally:
        os.close(lock)


def _taken(owner: str) -> int:
    """The lock of a workspace, or -1 when somebody has it."""
    try:
        lock = os.open(owner, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # It may have been removed between the two.
        if os.path.samestat(os.fstat(lock), os.stat(owner)):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return -1


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as stream:
            found = json.loads(stream.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: str, content: Mapping[str, Any], lock: int = -1) -> None:
    """Write a small file so that it is there whole or not at all; a locked one in place."""
    data = json.dumps(content).encode() + b"\n"
    # A file that is locked stays the same file: its lock belongs to it, not to its name.
    if lock >= 0 or os.path.exists(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, data, 0)
            os.ftruncate(descriptor, len(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return
    disk.write_synced(path, data)
