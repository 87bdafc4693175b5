"""Sync where the store is part of the branch: commit `.coord`, and nothing else.

Plain git carries it from there. Only paths under `.coord` are looked at; whatever else is
in the index stays there, uncommitted. While a merge, a rebase or the like is under way it
is left to the user, whose own commit takes `.coord` with it.
"""

import os
from typing import Any

from coord.edge import git, store
from coord.edge.store import FOLDER, Place
from coord.errors import Refusal

_UNDER_WAY = {
    "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert",
    "rebase-merge": "rebase", "rebase-apply": "rebase", "BISECT_LOG": "bisect",
}  # fmt: skip
_HOOKLESS = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")
_STATUS = ("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", FOLDER)
_REMOVED = "%s has vanished and stays in the branch: git restore --staged --worktree %s"
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
    changed, gone = _entries(output)
    answer: dict[str, Any] = {"files": len(changed)}
    if gone:
        told = [_REMOVED % (path, path) for path in gone]
        answer["problems"] = [{"code": "removed", "message": text} for text in told]
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


def _entries(output: bytes) -> tuple[list[str], list[str]]:
    """The paths that have changed, and those that have only vanished.

    Nobody of ours ever removes a file: whatever took it away (a full disk in the middle of
    a checkout, a slip), to commit that would take its lines from every clone.
    """
    changed: list[str] = []
    gone: list[str] = []
    for entry in os.fsdecode(output).split("\0")[:-1]:
        (gone if "D" in entry[:2] else changed).append(entry[3:])
    return changed, gone
