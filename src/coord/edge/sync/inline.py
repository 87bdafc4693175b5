"""Sync where the store is part of the branch: commit `.coord`, and nothing else.

Plain git carries it from there. Only paths under `.coord` are looked at; whatever else is
in the index stays there, uncommitted. While a merge, a rebase or the like is under way it
is left to the user, whose own commit takes `.coord` with it.
"""

import os
from typing import Any

from coord.core import digest
from coord.core.event import FOLDERS
from coord.edge import git, store
from coord.edge.replica import Replica
from coord.edge.store import FOLDER, Place
from coord.errors import Refusal

_UNDER_WAY = {
    "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert",
    "rebase-merge": "rebase", "rebase-apply": "rebase", "BISECT_LOG": "bisect",
}  # fmt: skip
_HOOKLESS = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")
_STATUS = ("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", FOLDER)
_NOBODY = ("-c", "user.name=coord", "-c", "user.email=coord@localhost")


def commit(place: Place, dry_run: bool) -> dict[str, Any]:
    """Commit what is new under `.coord`: {files, commit?, problems?}.

    Refuses with `wrong_state` in the middle of a merge, `git_failed` where git will not.
    The store is locked: a line that came between git's look at a file and the new HEAD
    would leave two versions of a segment.
    """
    with store.locked(place.store):
        return _committed(place, dry_run)


def _committed(place: Place, dry_run: bool) -> dict[str, Any]:
    for name, what in _UNDER_WAY.items():
        if os.path.exists(os.path.join(place.git_dir, name)):
            text = f"a {what} is under way, whose commit is yours to make"
            raise Refusal("wrong_state", text, f"git add {FOLDER}, then finish the {what}")
    status, output = git.run([*_HOOKLESS, "--no-optional-locks", *_STATUS], place.tree)
    if status:
        raise Refusal("git_failed", "git status failed", f"see: git -C {place.tree} status")
    changed, problems = _sorted_out(place, output)
    answer: dict[str, Any] = {"files": len(changed)}
    if problems:
        answer["problems"] = problems
    if not changed or dry_run:
        return answer
    known = git.run(["var", "GIT_COMMITTER_IDENT"], place.tree)[0] == 0
    message = f"coord: {len(changed)} journal file{'s' if len(changed) > 1 else ''}"
    from_stdin = ["--pathspec-from-file=-", "--pathspec-file-nul"]
    paths = "\0".join(changed).encode("utf-8", "surrogateescape")
    for verb, *command in (
        ["add", *from_stdin],
        ["commit", "--only", "--no-verify", "--quiet", "-m", message, *from_stdin],
    ):
        who = [] if known else _NOBODY
        words = [*_HOOKLESS, "--literal-pathspecs", *who, verb, *command]
        status, _ = git.run(words, place.tree, paths)
        if status:
            text = f"git {verb} of {FOLDER} failed"
            raise Refusal("git_failed", text, "is another git at work? then try again")
    return {**answer, "commit": git.head(place.tree)["commit"]}


def _sorted_out(place: Place, output: bytes) -> tuple[list[str], list[dict[str, Any]]]:
    """The paths to commit of those that `git status` lists, and what is wrong with others.

    None of ours ever removes a file, or changes one that is in a commit. What did (a full
    disk in the middle of a checkout, a slip) stays out: to commit it would take lines from
    every clone, or give a file two versions.
    """
    replica = Replica(place, "")
    changed: list[str] = []
    problems: list[dict[str, Any]] = []
    for entry in os.fsdecode(output).split("\0")[:-1]:
        state, path = entry[:2], entry[3:]
        fault = _fault(place, replica, state, path)
        if fault:
            code, text, command = fault
            message = f"{path} {text} and is left out: {command} {path}"
            problems.append({"code": code, "message": message, "path": path})
        else:
            changed.append(path)
    return changed, problems


def _fault(place: Place, replica: Replica, state: str, path: str) -> tuple[str, str, str] | None:
    """Why a file is not to be committed: a code, what it is, and the command that helps."""
    if "D" in state:
        return "removed", "has vanished", "git restore --staged --worktree"
    parent, name = os.path.split(path)
    folder = os.path.relpath(parent, FOLDER).partition(os.sep)[0]
    if folder not in (*FOLDERS, "blobs"):
        return None
    if "M" in state and "A" not in state:
        return "changed", "is not as it was committed", "git restore --staged --worktree"
    try:
        with open(os.path.join(place.tree, path), "rb") as stream:
            data = stream.read()
    except OSError:
        return "unreadable", "cannot be read", "look at"
    if folder == "blobs":
        is_whole = digest.sha256(data).hexdigest() == name
    else:
        is_whole = data.endswith(b"\n") or replica.owns(name.rsplit(".", 2)[0])
    return None if is_whole else ("partial", "is not whole", "it came with git, so remove")
