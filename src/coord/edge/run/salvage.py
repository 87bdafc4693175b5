"""What a run has left in its workspace and in the repository: looked at, and saved.

    published    a commit of the run is on a ref: one with its trailer, or, where somebody
                 has squashed or reworded it, one with the same change (git patch-id) and
                 no run's trailer
    loose        commits that are on no ref, and what is in no commit
    saved        loose work as a commit under `refs/coord/salvage/<run_id>`, of a second
                 attempt `<run_id>.2`: the workspace's commit, and on top of it all that
                 differs, put together with an index of its own

Looking changes nothing. Saving touches no index, HEAD or branch, and may be repeated.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from coord.core.run.recovery import Work
from coord.edge import git
from coord.edge.run import disk, workspace
from coord.edge.run.workspace import Unfit, Workspace, asked

REFS = "refs/coord/salvage/"
RESULTS = "refs/coord/run/"
# Where the tips of other refs are compared by their change, so many of the newest are.
_COMPARED = 500
_NAMED = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "run"), ("EMAIL", "run@localhost"))
}


def looked_at(folder: str, lease_id: str, run_id: str, main: git.Repository) -> Work:
    """What an attempt that has no exit record has left.

    folder: the attempt's; nothing of its tree lives.
    """
    named = workspace.named(folder)
    if not named:
        # Its workspace was not ready: nothing was executed.
        return Work()
    settled = _settled(folder)
    if settled is not None:
        return settled
    found = workspace.of_attempt(folder, lease_id)
    head, loose = "", False
    try:
        if found is not None:
            head = workspace.head_of(found)
            is_moved = head != named["commit"] and not workspace.is_on_ref(main, head)
            loose = is_moved or not workspace.is_clean(found, head)
        commit = published(main, run_id, named["commit"], head)
    except Unfit as error:
        return Work(workspace=named["name"], is_loose=True, fault=str(error))
    if commit and found is not None and loose:
        # What has been squashed or rebased is on a ref by its content, though not by name.
        loose = not workspace.is_clean(found, head)
    return Work(commit=commit, is_loose=loose, workspace=named["name"])


def published(main: git.Repository, run_id: str, base: str, head: str = "") -> str:
    """A commit of a run that is on a ref; "" for none.

    base: the commit that it began with. head: the one that its workspace stands at.
    """
    listed = _others(base)
    words = ("log", "-1", "--format=%H", f"--grep=^{workspace.TRAILER}: {run_id}$", *listed)
    by_trailer = asked(main, *words).decode().strip()
    if by_trailer or not head or head == base:
        return by_trailer
    whole = _patch_ids(main, asked(main, "diff-tree", "-p", base, head))
    each = _patch_ids(main, asked(main, "log", "-p", "--reverse", head, "--not", base))
    if not (whole or each):
        return ""
    # What names a run is that run's, though it may have made the same change.
    unnamed = ("--invert-grep", f"--grep=^{workspace.TRAILER}: ")
    compared = ("log", "-p", "--no-merges", f"-{_COMPARED}", *unnamed, *listed)
    theirs = _patch_ids(main, asked(main, *compared))
    for patch_id in whole:
        if patch_id in theirs:
            return theirs[patch_id]
    # All of them one by one: the last says where.
    return theirs[[*each][-1]] if each and each.keys() <= theirs.keys() else ""


def _others(base: str) -> tuple[str, ...]:
    """The commits of all refs but ours, and of no other worktree's HEAD, since a commit."""
    return ("--exclude=refs/coord/*", "--single-worktree", "--all", "--not", base, "--")


def _patch_ids(main: git.Repository, patches: bytes) -> dict[str, str]:
    """The ids of some patches, with the commits that they are of."""
    output = main("patch-id", "--stable", stdin=patches).out.decode() if patches else ""
    pairs = (line.partition(" ") for line in output.splitlines())
    return {patch_id: commit for patch_id, _, commit in pairs}


def save(folder: str, lease_id: str, run_id: str, attempt: int, work: Work) -> Work:
    """Save what is loose, and let the workspace be taken again where nothing else is in it."""
    found = workspace.of_attempt(folder, lease_id)
    if found is None:
        return work._replace(is_loose=False)
    try:
        head = workspace.head_of(found)
        tip = _whole(found, head, run_id, folder)
        ref = aside(found, run_id, attempt, tip)
        saved = work._replace(is_loose=False, fault="", saved=ref)
    except (Unfit, OSError) as error:
        return work._replace(is_loose=False, fault=str(error), is_kept=True)
    return saved._replace(is_kept=tip != head)


def aside(found: Workspace, run_id: str, attempt: int, tip: str) -> str:
    """Keep a commit of an attempt under a ref of ours, and answer that."""
    number = "" if attempt == 1 else f".{attempt}"
    ref = f"{REFS}{run_id}{number}"
    workspace.set_ref(found, ref, tip)
    return ref


def dropped(
    main: git.Repository, is_old: Callable[[str], bool], dry_run: bool
) -> Iterator[tuple[str, str]]:
    """Remove the refs that keep the commits of old runs where another leads there too.

    Answers the refs, and their runs.
    """
    for prefix in (REFS, RESULTS):
        for name, commit in main.refs(prefix).items():
            run_id = name.partition(".")[0]
            if is_old(run_id) and workspace.is_on_ref(main, commit):
                if not dry_run:
                    asked(main, "update-ref", "-d", f"{prefix}{name}", commit)
                yield f"{prefix}{name}", run_id


def settle(folder: str, lease_id: str, work: Work) -> None:
    """Let go of the workspace, for others or for people, and remember what was found.

    In this order: from the moment that an attempt is settled, another may take it.
    """
    found = workspace.of_attempt(folder, lease_id)
    if found is not None and not os.path.exists(os.path.join(folder, workspace.SETTLED)):
        workspace.release(found, (), work.is_kept)
    _write_settled(folder, work)


def _whole(found: Workspace, head: str, run_id: str, folder: str) -> str:
    """A commit of all that is in a workspace; its own where nothing differs from that."""
    tree = snapshot(found, head, folder)
    if tree == asked(found.git(), "rev-parse", f"{head}^{{tree}}").decode().strip():
        return head
    text = f"What {run_id} left behind\n\n{workspace.TRAILER}: {run_id}\n"
    words = ("commit-tree", tree, "-p", head, "-F", "-")
    return asked(found.git(**_NAMED), *words, stdin=text.encode()).decode().strip()


def snapshot(found: Workspace, head: str, folder: str) -> str:
    """The tree of all files in a workspace, but those that are ignored.

    folder: where the index is made. It is a new one: what a command marks in its own cannot
    hide a change, and what a git that was killed has left of another is in nobody's way.
    """
    index = os.path.join(folder, f"index.{os.getpid()}")
    taking = found.git(GIT_INDEX_FILE=index)
    try:
        asked(taking, "read-tree", head)
        asked(taking, "add", "--all", "--", ".")
        return asked(taking, "write-tree").decode().strip()
    finally:
        for name in (index, f"{index}.lock"):
            if os.path.exists(name):
                os.unlink(name)


def changed(found: Workspace, folder: str) -> Iterator[str]:
    """The paths in which a workspace differs from the commit that it began with."""
    tree = snapshot(found, found.commit, folder)
    words = ("diff-tree", "-r", "-z", "--no-renames", "--name-only", found.commit, tree)
    for name in asked(found.git(), *words).split(b"\0"):
        if name:
            yield os.fsdecode(name)


def _settled(folder: str) -> Work | None:
    try:
        with open(os.path.join(folder, workspace.SETTLED), "rb") as stream:
            found: Mapping[str, Any] = json.loads(stream.read())
        return Work(**found)
    except (OSError, ValueError, TypeError):
        return None


def _write_settled(folder: str, work: Work) -> None:
    data = json.dumps(work._asdict()).encode()
    disk.write_synced(os.path.join(folder, workspace.SETTLED), data)
