"""The user's repository is byte for byte as it was, whatever state it is in.

Index, HEAD, stash, working tree, refs other than ours, hooks, settings and their reflogs:
nothing of it is read into what we do, and nothing of it is written. The hooks of these
repositories fail and leave a mark when they run.
"""

import functools
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.remotes import Remote, Side, assert_quiet, assert_united, git, in_turn

HOOKS = (
    "pre-push", "pre-commit", "commit-msg", "prepare-commit-msg", "post-commit", "post-merge",
    "post-checkout", "post-rewrite", "reference-transaction", "post-index-change", "fsmonitor",
    "pre-auto-gc", "push-to-checkout", "pre-merge-commit", "post-update",
)  # fmt: skip
# What of `.git` is git's own store of objects, or ours.
OUR_REFS = ("refs/coord",)


def everything(side: Side, *, but: tuple[str, ...] = ()) -> dict[str, tuple[int, bytes]]:
    """Every file of a clone outside `.coord`, objects and our refs, with mode and content.

    but: further paths that may change, from the clone's folder.
    """
    found = {}
    for base, folders, files in os.walk(side.folder):
        for name in (*folders, *files):
            path = os.path.join(base, name)
            place = os.path.relpath(path, side.folder)
            if _is_ours(place) or place.startswith(but):
                continue
            seen = os.lstat(path)
            content = b""
            if stat.S_ISLNK(seen.st_mode):
                content = os.readlink(path).encode()
            elif stat.S_ISREG(seen.st_mode):
                with open(path, "rb") as stream:
                    content = stream.read()
            found[place] = (seen.st_mode, content)
    return found


def _is_ours(place: str) -> bool:
    parts = f"/{place}/"
    return any(f"/{name}/" in parts for name in (".coord", "objects", *OUR_REFS))


def with_hooks(side: Side, folder: str = "") -> None:
    """Give a clone hooks that fail and leave a mark."""
    path = side.folder / (folder or ".git/hooks")
    path.mkdir(parents=True, exist_ok=True)
    for name in HOOKS:
        script = path / name
        script.write_text(f"#!/bin/sh\necho {name} >> '{side.folder}.hooks'\nexit 1\n")
        script.chmod(0o755)
    side.git("config", "core.fsmonitor", str(path / "fsmonitor"))


def marks(side: Side) -> str:
    """Which hooks have run."""
    path = side.folder.with_name(f"{side.folder.name}.hooks")
    return path.read_text() if path.exists() else ""


def committed(side: Side, name: str, text: str, message: str = "x") -> None:
    """Commit a file."""
    (side.folder / name).write_text(text)
    side.git("add", name)
    side.git("commit", "--quiet", "-m", message)


def diverged(side: Side) -> None:
    """Two branches that contradict each other, a tag, a stash, packed refs and a remote branch."""
    committed(side, "file", "base\n")
    (side.folder / "file").write_text("stashed\n")
    side.git("stash", "--quiet")
    side.git("checkout", "--quiet", "-b", "other")
    committed(side, "file", "other\n")
    side.git("checkout", "--quiet", "main")
    committed(side, "file", "main\n")
    side.git("tag", "v1")
    side.git("fetch", "--quiet")
    side.git("pack-refs", "--all")
    side.git("branch", "loose")
    (side.folder / "untracked").write_text("u\n")


def begin(*words: str, side: Side) -> None:
    """Run a git command that stops in the middle, with a conflict."""
    answer = side("git", *words)
    assert answer.code, answer.out


def conflicting(*words: str) -> Callable[..., None]:
    """A state that such a command leaves, given the side as `side`."""
    return functools.partial(begin, *words)


def dirty(side: Side) -> None:
    """Something staged, something changed since, something deleted."""
    for name in ("staged", "both"):
        (side.folder / name).write_text("one\n")
    side.git("add", "staged", "both")
    (side.folder / "both").write_text("two\n")
    side.git("update-index", "--assume-unchanged", "file")


def bisecting(side: Side) -> None:
    """In the middle of a search."""
    side.git("bisect", "start", "HEAD", "HEAD~1")


STATES = {
    "clean": lambda side: None,
    "dirty index": dirty,
    "detached HEAD": lambda side: side.git("checkout", "--quiet", "--detach", "v1"),
    "mid-merge": conflicting("merge", "other"),
    "mid-rebase": conflicting("rebase", "other"),
    "mid-am": conflicting("rebase", "--apply", "other"),
    "mid-cherry-pick": conflicting("cherry-pick", "other"),
    "mid-revert": conflicting("revert", "--no-edit", "HEAD~1"),
    "bisecting": bisecting,
    "unborn branch": lambda side: side.git("checkout", "--quiet", "--orphan", "new"),
    "locked index": lambda side: (side.folder / ".git" / "index.lock").write_text(""),
    "ORIG_HEAD and FETCH_HEAD": lambda side: side.git("reset", "--quiet", "--hard", "HEAD~1"),
    "fetch.prune": lambda side: side.git("config", "fetch.prune", "true"),
    "sparse": lambda side: side.git("sparse-checkout", "set", "nothing"),
}


def used_hard(side: Side, remote: Remote, other: Side) -> None:
    """Sync in, out and quietly, write, fork and restore: everything that goes through git."""
    other.say("theirs")
    other.sync()
    side.say("mine")
    side.sync("--dry-run")
    side.sync("--pull")
    side.sync("--push")
    item = side.ok("wk", "list").lines[0]["work_id"]
    side.ok("wk", "claim", item, "--confirm", "remote")
    side.ok("wk", "release", item)
    for name, commit in remote.refs().items():
        if name.startswith("w/agent-bo"):
            remote.git("update-ref", "-d", f"refs/coord/{name}", commit)
    side.sync()
    side.sync("--restore")
    in_turn(other, side)


@pytest.mark.parametrize("state", STATES)
def test_nothing_of_the_users_is_touched_in_any_state(pair, remote, state):
    ada, bo = pair
    diverged(ada)
    STATES[state](side=ada)
    with_hooks(ada)
    told = ada("git", "status").out
    before = everything(ada)
    (ada.folder.with_name("ada.hooks")).unlink(missing_ok=True)

    used_hard(ada, remote, bo)

    assert everything(ada) == before
    assert marks(ada) == ""
    assert ada("git", "status").out == told
    assert_united(ada, bo, wanted=[])
    assert_quiet(ada, bo)


def test_hooks_of_another_folder_do_not_run_either(pair, remote):
    ada, bo = pair
    with_hooks(ada, "my-hooks")
    ada.git("config", "core.hooksPath", "my-hooks")
    before = everything(ada)

    used_hard(ada, remote, bo)

    assert everything(ada) == before
    assert marks(ada) == ""


def test_of_a_linked_worktree_and_its_main_tree_nothing_is_touched(pair, remote):
    ada, bo = pair
    diverged(ada)
    ada.git("worktree", "add", "--quiet", "../tree", "other")
    tree = Side(ada.folder.with_name("tree"), "ada")
    begin("merge", "main", side=tree)
    with_hooks(ada)
    before = everything(ada), everything(tree)

    used_hard(tree, remote, bo)

    assert (everything(ada), everything(tree)) == before
    assert marks(ada) == ""


def test_of_a_submodule_and_the_repository_around_it_nothing_is_touched(pair, remote, tmp_path):
    _, bo = pair
    git(tmp_path, "init", "--quiet", "super")
    outer = Side(tmp_path / "super")
    url = remote.folder.as_uri()
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "inner")
    inner = Side(outer.folder / "inner")
    inner.ok("ev", "init")
    with_hooks(outer)
    before = everything(outer)

    used_hard(inner, remote, bo)

    assert everything(outer) == before
    assert marks(outer) == ""


def test_a_fork_is_settled_without_a_hand_on_the_users_files(pair):
    ada, bo = pair
    diverged(ada)
    said = ada.say("one")
    ada.sync()
    journal = next(ada.store.glob("wk/*.jsonl"))
    then = journal.read_bytes()
    said += ada.say("two")
    in_turn(ada, bo, rounds=1)
    journal.write_bytes(then)
    (ada.store / "local" / "index.db").unlink()
    said += ada.say("other two")
    with_hooks(ada)
    before = everything(ada)

    in_turn(ada, bo)

    assert everything(ada) == before
    assert marks(ada) == ""
    assert len(ada.attic) == 1
    assert_united(ada, bo, wanted=said)


def test_the_remotes_other_refs_stay_as_they_are(pair, remote):
    ada, bo = pair
    diverged(ada)
    before = remote.refs("refs/heads/")

    used_hard(ada, remote, bo)

    assert remote.refs("refs/heads/") == before
    assert remote.refs("refs/tags/") == {}


# Inline: the store is part of the branch.


def test_inline_sync_commits_the_store_and_nothing_else(inline):
    one, _ = inline
    committed(one, "file", "base\n")
    (one.folder / "staged").write_text("s\n")
    one.git("add", "staged")
    (one.folder / "file").write_text("dirty\n")
    (one.folder / "untracked").write_text("u\n")
    one.say("one")
    before = everything(one, but=(".git",))

    row = one.sync()

    assert one.git("rev-parse", "HEAD") == row["commit"]
    changed = one.git("show", "--format=", "--name-only", "HEAD").splitlines()
    assert changed
    assert all(name.startswith(".coord/wk/") for name in changed)
    assert everything(one, but=(".git",)) == before
    status = one("git", "status", "--porcelain").out.splitlines()
    assert sorted(status) == [" M file", "?? untracked", "A  staged"]
    assert one.sync() == {"inline": True, "files": 0}


@pytest.mark.parametrize("is_staged", [False, True])
def test_inline_sync_commits_no_file_away(inline, is_staged):
    """A full disk in the middle of a checkout, or a slip, would take lines from every clone."""
    one, _ = inline
    said = one.say("one")
    one.sync()
    [gone] = one.store.glob("wk/agent-one.*.0001.jsonl")
    gone.unlink()
    if is_staged:
        one.git("add", "--all", ".coord")
    one.say("two")

    row = one.sync()

    path = str(gone.relative_to(one.folder))
    assert row["files"] == 1
    assert [(x["code"], path in x["message"]) for x in row["problems"]] == [("removed", True)]
    assert one.git("cat-file", "-t", f"HEAD:{path}") == "blob"
    one.git("restore", "--staged", "--worktree", path)
    assert set(said) <= one.ids


def test_inline_sync_commits_nothing_that_a_checkout_on_a_full_disk_has_left(inline):
    """Truncated files, foreign ones among them, would be second versions of whole ones."""
    one, two = inline
    two.ok("wk", "create", "foreign", "--description", "x" * 70_000)
    [foreign] = two.store.glob("wk/agent-two.*.jsonl")
    [blob] = two.store.glob("blobs/*/*")
    for path, size in ((foreign, 40), (blob, 4096)):
        partial = one.store / path.relative_to(two.store)
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(path.read_bytes()[:size])
    one.say("one")
    one.sync()
    [mine] = one.store.glob("wk/agent-one.*.0001.jsonl")
    os.truncate(mine, 40)

    row = one.sync()

    assert row["files"] == 0
    assert sorted(x["code"] for x in row["problems"]) == ["changed", "partial", "partial"]
    listed = one.git("ls-tree", "-r", "--name-only", "HEAD", ".coord").splitlines()
    assert not {path.name for path in (foreign, blob)} & {Path(name).name for name in listed}


def test_inline_sync_runs_no_hook_of_the_users(inline):
    one, _ = inline
    with_hooks(one)
    one.git("config", "--unset", "core.fsmonitor")
    one.say("one")

    assert "commit" in one.sync()
    assert marks(one) == ""


def test_an_inline_dry_run_counts_and_commits_nothing(inline):
    one, _ = inline
    one.say("one")
    head = one.git("rev-parse", "HEAD")

    assert one.sync("--dry-run") == {"inline": True, "files": 1}
    assert one.git("rev-parse", "HEAD") == head


@pytest.mark.parametrize("state", ["mid-merge", "mid-rebase", "mid-cherry-pick", "mid-revert"])
def test_inline_sync_leaves_what_is_under_way_to_the_user(inline, state):
    one, _ = inline
    diverged(one)
    one.say("one")
    STATES[state](side=one)
    before = everything(one)

    refused = one("ev", "sync")

    assert (refused.code, refused.error["code"]) == (5, "wrong_state")
    assert everything(one) == before


def test_inline_sync_on_a_detached_head_and_with_no_name_at_all_commits(inline):
    one, _ = inline
    one.git("checkout", "--quiet", "--detach")
    for key in ("user.name", "user.email"):
        one.git("config", "--unset", key)
    one.say("one")

    row = one.sync()

    assert one.git("rev-parse", "HEAD") == row["commit"]
    assert one("git", "symbolic-ref", "HEAD").code
