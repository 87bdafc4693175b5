"""Where the store is found: one folder for all that works on one clone."""

import errno
import fcntl
import functools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from coord.edge import store
from coord.errors import Refusal


def git(folder, *arguments):
    """Run git, which has to succeed."""
    allowed = ["-c", "protocol.file.allow=always"]
    subprocess.run(["git", *allowed, *arguments], cwd=folder, check=True, capture_output=True)


def found(folder, monkeypatch, named=""):
    """The store's folder as found by whoever works in a folder."""
    monkeypatch.chdir(folder)
    place = store.locate(str(named))
    return place.store


@pytest.fixture
def bare(repo, tmp_path):
    """A bare clone of `repo`."""
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "bare.git")
    return tmp_path / "bare.git"


@pytest.fixture
def submodule(repo, tmp_path):
    """A submodule `part` of another repository."""
    whole = tmp_path / "whole"
    git(tmp_path, "init", "--quiet", "whole")
    git(whole, "submodule", "--quiet", "add", str(repo), "part")
    return whole / "part"


def test_the_store_lies_at_the_root_of_the_main_tree(repo, monkeypatch):
    (repo / "src" / "deep").mkdir(parents=True)

    for folder in (".", "src", "src/deep", ".git", ".git/refs"):
        assert found(repo / folder, monkeypatch) == str(repo / ".coord")


def test_a_path_through_a_symlink_is_the_same_store(repo, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(repo)

    assert found(tmp_path / "link", monkeypatch) == str(repo / ".coord")


def test_every_linked_worktree_uses_the_main_trees_store(repo, tmp_path, monkeypatch):
    """Also one that lies inside the main tree, or was moved."""
    git(repo, "worktree", "add", "--quiet", "../linked")
    git(repo, "worktree", "add", "--quiet", "inside/other")
    git(repo, "worktree", "move", "../linked", "../moved")
    (tmp_path / "moved" / "src").mkdir()

    for folder in (tmp_path / "moved", tmp_path / "moved" / "src", repo / "inside" / "other"):
        assert found(folder, monkeypatch) == str(repo / ".coord")


def test_a_worktree_that_has_a_tracked_store_uses_the_main_trees(repo, tmp_path, monkeypatch):
    """In inline mode every worktree has the folder, and one of them is the store."""
    (repo / ".coord").mkdir()
    (repo / ".coord" / "file").write_text("x")
    git(repo, "add", ".coord")
    git(repo, "commit", "--quiet", "--message", "inline")
    git(repo, "worktree", "add", "--quiet", "../linked")
    assert (tmp_path / "linked" / ".coord").is_dir()

    assert found(tmp_path / "linked", monkeypatch) == str(repo / ".coord")


def test_a_bare_repository_keeps_it_in_its_git_folder(bare, monkeypatch):
    for folder in (bare, bare / "refs"):
        assert found(folder, monkeypatch) == str(bare / ".coord")


def test_a_worktree_of_a_bare_repository_uses_the_bare_ones(bare, tmp_path, monkeypatch):
    git(bare, "worktree", "add", "--quiet", "../linked")

    assert found(tmp_path / "linked", monkeypatch) == str(bare / ".coord")


def test_a_bare_repository_named_dot_git_has_one_store(repo, tmp_path, monkeypatch):
    """The usual home of clones that have only linked worktrees."""
    home = tmp_path / "home"
    git(tmp_path, "clone", "--quiet", "--bare", str(repo), "home/.git")
    git(home, "worktree", "add", "--quiet", "main")

    assert found(home, monkeypatch) == found(home / "main", monkeypatch) == str(home / ".coord")


def test_a_submodule_is_a_clone_of_its_own(submodule, monkeypatch):
    assert found(submodule, monkeypatch) == str(submodule / ".coord")
    assert found(submodule.parent, monkeypatch) == str(submodule.parent / ".coord")


def test_a_linked_worktree_of_a_submodule_uses_the_submodules_store(
    submodule, tmp_path, monkeypatch
):
    git(submodule, "worktree", "add", "--quiet", str(tmp_path / "linked"))

    assert found(tmp_path / "linked", monkeypatch) == str(submodule / ".coord")


def test_a_main_tree_whose_git_folder_lies_elsewhere_has_the_store(tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet", "--separate-git-dir", "elsewhere", "tree")
    (tmp_path / "tree" / "src").mkdir()

    assert found(tmp_path / "tree" / "src", monkeypatch) == str(tmp_path / "tree" / ".coord")
    assert store.locate().git_dir == str(tmp_path / "elsewhere")


def test_outside_a_repository_there_is_none_and_git_init_is_offered(tmp_path, monkeypatch):
    with pytest.raises(Refusal) as refused:
        found(tmp_path, monkeypatch)

    assert refused.value.code == "no_repository"
    assert "git init" in refused.value.hint


def test_a_repository_without_a_store_is_told_how_to_make_one(repo, monkeypatch):
    monkeypatch.chdir(repo)

    with pytest.raises(Refusal) as refused:
        store.find()

    assert refused.value.code == "no_store"
    assert "ev init" in refused.value.hint


def test_a_named_folder_is_the_store_or_a_folder_that_has_or_finds_one(repo, tmp_path, monkeypatch):
    """By --dir; the environment's is the same with less weight."""
    (repo / ".coord").mkdir()
    (repo / "src").mkdir()
    other = tmp_path / "elsewhere"
    for tool in ("ev", "wk"):
        (other / tool).mkdir(parents=True)
    table = [
        (repo / ".coord", repo / ".coord"),
        (repo, repo / ".coord"),
        (repo / "src", repo / ".coord"),
        (tmp_path / "not" / "made" / ".coord", tmp_path / "not" / "made" / ".coord"),
        (other, other),
    ]

    for named, expected in table:
        monkeypatch.delenv("COORD_DIR", raising=False)
        assert found(tmp_path, monkeypatch, named) == str(expected)
        monkeypatch.setenv("COORD_DIR", str(named))
        assert found(tmp_path, monkeypatch) == str(expected)
        assert found(tmp_path, monkeypatch, repo) == str(repo / ".coord")


def test_a_named_folder_that_is_not_there_is_refused(tmp_path, monkeypatch):
    with pytest.raises(Refusal) as refused:
        found(tmp_path, monkeypatch, "nowhere")

    assert refused.value.code == "no_file"


def test_a_named_store_knows_its_repository_where_there_is_one(repo, tmp_path):
    assert store.locate(str(repo / ".coord")).git_dir == str(repo / ".git")
    assert store.locate(str(tmp_path / ".coord")).git_dir == ""


def test_making_folders_is_repeatable_and_says_what_it_made(repo):
    place = store.locate(str(repo))

    made = store.make_folders(place)

    assert {os.path.relpath(path, place.store) for path in made} == {
        ".", "wk", "ev", "lease", "msg", "run", "local"
    }  # fmt: skip
    assert store.make_folders(place) == []


HOLDING = """
import sys, time
from coord.edge import store
with store.locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path`."""
    child = subprocess.Popen([sys.executable, "-c", HOLDING, tmp_path], stdout=subprocess.PIPE)
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.wait()
    child.stdout.close()


def test_a_lock_that_is_not_let_go_in_time_is_busy(tmp_path, holder):
    with pytest.raises(Refusal) as refused, store.locked(str(tmp_path), wait_s=0.05):
        pass

    assert refused.value.code == "busy"
    assert refused.value.status == 7


def set_and_late(set_alarm, which, *spans):
    """Set the alarm, and go on when it has come."""
    set_alarm(which, *spans)
    if spans[0]:
        time.sleep(0.05)


def test_a_deadline_holds_though_its_alarm_comes_before_the_kernel_waits(
    tmp_path, holder, monkeypatch
):
    """It did on a busy machine: nothing then ended the waiting, or the alarm escaped."""
    monkeypatch.setattr(signal, "setitimer", functools.partial(set_and_late, signal.setitimer))
    with pytest.raises(Refusal) as refused, store.locked(str(tmp_path), wait_s=0.001):
        pass

    assert refused.value.code == "busy"


def test_a_lock_is_free_again_once_its_holder_was_killed(tmp_path, holder):
    holder.kill()

    with store.locked(str(tmp_path), wait_s=30):
        pass


def test_a_lock_leaves_nothing_in_the_folder(tmp_path):
    """It is the folder itself that is locked: nothing that `rm -r .coord/local` removes."""
    with store.locked(str(tmp_path)):
        descriptor = os.open(tmp_path, os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EROFS, "read_only"), (errno.EACCES, "read_only"), (errno.EPERM, "read_only"),
        (errno.ENOSPC, "disk"), (errno.EDQUOT, "disk"), (errno.EFBIG, "disk"), (errno.EIO, "disk"),
    ],
)  # fmt: skip
def test_what_a_disk_says_is_a_refusal_that_names_the_path(number, code):
    with pytest.raises(Refusal) as refused, store.refusing_disk_errors("/the/path"):
        raise OSError(number, os.strerror(number))

    assert refused.value.code == code
    assert "/the/path" in refused.value.message


def test_another_thread_than_the_main_one_waits_for_a_lock_too(tmp_path):
    """No signal can end its waiting; the deadline holds all the same."""
    descriptor = os.open(tmp_path, os.O_RDONLY)
    mine = (descriptor, fcntl.LOCK_EX, 0.05, str(tmp_path))
    with ThreadPoolExecutor(1) as thread:
        with store.locked(str(tmp_path)):
            refused = thread.submit(store.flock_within, *mine).exception()
            waiting = thread.submit(store.flock_within, *mine[:2], 60.0, mine[3])
        waiting.result(60)
    os.close(descriptor)

    assert isinstance(refused, Refusal)
    assert refused.code == "busy"
