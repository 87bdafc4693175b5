"""Commits made in a sandbox: objects of their own, until somebody outside has looked at them.

A sandboxed command in a workspace writes its worktree's own part of git's folder (HEAD, index)
and puts new objects into a store of its own there, which borrows the repository's. So it can
commit, and reaches no branch and no object of anybody else. When nothing of it lives, what its
HEAD and index lead to is packed by us and taken in by git, which names every object anew by
what it holds.

    SHARED    read by git to find the repository: never written by the command
    OBJECTS   the store of its own, in the worktree's part of git's folder

It needs nothing but the standard library and git.
"""

import os
import shutil

from coord.edge.run.workspace import Workspace, asked, git_dir_of

SHARED = ("commondir", "gitdir", "config.worktree")
OBJECTS = "sandbox-objects"


def laid_out(found: Workspace) -> tuple[str, dict[str, str]]:
    """The part of git's folder that the command may write, and what git finds in its environment.

    Nothing of an earlier run is there.
    """
    own = os.path.realpath(git_dir_of(found.path))
    store = os.path.join(own, OBJECTS)
    shutil.rmtree(store, ignore_errors=True)
    os.mkdir(store)
    return own, _variables(found, own)


def _variables(found: Workspace, own: str) -> dict[str, str]:
    shared = asked(found.git(), "rev-parse", "--path-format=absolute", "--git-path", "objects")
    return {
        "GIT_OBJECT_DIRECTORY": os.path.join(own, OBJECTS),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.fsdecode(shared).rstrip("\n"),
    }


def take_in(found: Workspace) -> None:
    """Put what a sandboxed command has committed or staged into the repository.

    Nothing of it lives any more. Raises `Unfit`: then nothing was taken.
    """
    own = os.path.realpath(git_dir_of(found.path))
    if not os.path.isdir(os.path.join(own, OBJECTS)):
        return
    variables = _variables(found, own)
    inside = found.git(**variables)
    new = asked(inside, "rev-list", "--objects", "HEAD", "--not", "--glob=refs/*", found.commit)
    ids = {line.split()[0] for line in new.splitlines()}
    staged = asked(inside, "ls-files", "--stage", "-z").split(b"\0")
    ids |= {entry.split()[1] for entry in staged if entry and not entry.startswith(b"160000")}
    ids -= _known(found, ids)
    if ids:
        wanted = b"".join(one + b"\n" for one in sorted(ids))
        packed = asked(inside, "pack-objects", "--quiet", "--stdout", stdin=wanted)
        asked(found.git(), "index-pack", "--stdin", stdin=packed)
    shutil.rmtree(os.path.join(own, OBJECTS), ignore_errors=True)


def _known(found: Workspace, ids: set[bytes]) -> set[bytes]:
    """Which of these objects the repository has already."""
    lines = b"".join(one + b"\n" for one in sorted(ids))
    told = found.git()("cat-file", "--batch-check=%(objectname)", stdin=lines).out.splitlines()
    return {line for line in told if not line.endswith(b" missing")}
