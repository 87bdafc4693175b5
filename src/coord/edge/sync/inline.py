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
_NOBODY = ("-c", "user.name=coord", "-c", "user.email=coord@localhost")


def commit(place: Place, dry_run: bool) -> dict[str, Any]:
    """Commit what is new under `.coord`: {files, commit?}.

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
    hookless = ["-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0"]
    words = ["status", "--porcelain", "-z", "--untracked-files=all", "--", FOLDER]
    status, output = git.run([*hookless, "--no-optional-locks", *words], place.tree)
    if status:
        raise Refusal("git_failed", "git status failed", f"see: git -C {place.tree} status")
    files = sum(1 for entry in output.split(b"\0") if entry)
    if not files or dry_run:
        return {"files": files}
    known = git.run(["var", "GIT_COMMITTER_IDENT"], place.tree)[0] == 0
    who = [] if known else [*_NOBODY]
    message = f"coord: {files} journal file{'s' if files > 1 else ''}"
    for command in (
        ["add", "--", FOLDER],
        [*who, "commit", "--only", "--no-verify", "--quiet", "-m", message, "--", FOLDER],
    ):
        status, _ = git.run([*hookless, *command], place.tree)
        if status:
            text = f"git {command[-4] if 'commit' in command else 'add'} of {FOLDER} failed"
            raise Refusal("git_failed", text, "is another git at work? then try again")
    return {"files": files, "commit": git.head(place.tree)["commit"]}
