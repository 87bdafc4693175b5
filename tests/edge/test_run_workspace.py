"""Workspaces and salvage: real worktrees, real commits, gits and shims that are killed."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from coord.core.run.recovery import Work
from coord.edge import git
from coord.edge.run import salvage, shim, workspace

LEASE = "lease-1"


def git_in(folder: Path | str, *words: str, **variables: str) -> str:
    """What git prints, in a folder; it has to succeed."""
    done = subprocess.run(
        ["git", *words], cwd=folder, env={**os.environ, **variables}, check=True,
        capture_output=True,
    )  # fmt: skip
    return done.stdout.decode().strip()


class Attempts:
    """Makes the folders of attempts, and workspaces for them."""

    def __init__(self, repo: Path, scratch: Path) -> None:
        self.repo, self._scratch = repo, scratch
        self.pool = scratch / "workspaces"
        self.base = git_in(repo, "rev-parse", "HEAD")
        self.main = git.Repository(str(repo / ".git"), str(repo))

    def folder(self, run_id: str) -> Path:
        folder = self._scratch / "logs" / run_id / "1"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def __call__(self, run_id: str, commit: str = "", **more: Any) -> workspace.Workspace:
        """A workspace for a run."""
        wanted = {
            "pool": str(self.pool), "git_dir": str(self.repo / ".git"), "tree": str(self.repo),
            "commit": commit or self.base, **more,
        }  # fmt: skip
        told = {"run_id": run_id, "lease_id": LEASE}
        return workspace.prepare(wanted, str(self.folder(run_id)), told)

    def end(self, run_id: str, made: workspace.Workspace) -> None:
        """The shim of a run has recorded its end, and is gone."""
        (self.folder(run_id) / shim.EXIT).write_text("{}")
        os.close(made.lock)

    def die(self, made: workspace.Workspace) -> None:
        """The shim was killed: the kernel lets its lock go."""
        os.close(made.lock)

    def look(self, run_id: str) -> Work:
        return salvage.looked_at(str(self.folder(run_id)), LEASE, run_id, self.main)

    def recover(self, run_id: str) -> Work:
        """What a worker does about an attempt that nobody has recorded."""
        work = self.look(run_id)
        folder = str(self.folder(run_id))
        if work.is_loose:
            work = salvage.save(folder, LEASE, run_id, 1, work)
        salvage.settle(folder, LEASE, work)
        return work


@pytest.fixture
def attempts(repo: Path, tmp_path: Path) -> Attempts:
    """A repository with a file, and a pool of workspaces beside it."""
    (repo / "a.txt").write_text("a\n")
    (repo / ".gitignore").write_text("*.o\n")
    git_in(repo, "add", ".")
    git_in(repo, "commit", "--quiet", "--message", "files")
    return Attempts(repo, tmp_path / "local")


def commit(made: workspace.Workspace, name: str, run_id: str, text: str = "x\n") -> str:
    """Commit a file as a command of the run does."""
    Path(made.path, name).write_text(text)
    variables = workspace.environment(made, {"COORD_RUN": run_id})
    git_in(made.path, "add", name, **variables)
    git_in(made.path, "commit", "--quiet", "--message", f"Add {name}", **variables)
    return git_in(made.path, "rev-parse", "HEAD")


def test_a_workspace_stands_at_the_commit_that_is_asked_for(attempts: Attempts):
    made = attempts("run-a")

    assert git_in(made.path, "rev-parse", "HEAD") == attempts.base
    assert Path(made.path, "a.txt").read_text() == "a\n"
    assert git_in(attempts.repo, "status", "--porcelain", "--untracked-files=no") == ""


def test_a_commit_that_is_not_there_is_no_workspace(attempts: Attempts):
    with pytest.raises(workspace.Unfit, match="not in this repository"):
        attempts("run-a", "f" * 40)


def test_many_at_once_get_one_each(attempts: Attempts):
    """`git worktree add` itself fails when several run at once."""
    found: list[workspace.Workspace] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(attempts(f"run-{n}"))) for n in range(48)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({made.path for made in found}) == 48


def test_a_clean_one_is_used_again_as_new(attempts: Attempts):
    """What is ignored does not reach the next run."""
    first = attempts("run-a")
    Path(first.path, "b.o").write_text("left\n")
    attempts.end("run-a", first)
    second = attempts("run-b")

    assert second.path == first.path
    assert sorted(os.listdir(second.path)) == [".git", ".gitignore", "a.txt"]


@pytest.mark.parametrize(
    "leave",
    [
        "echo x > new",
        "echo x >> a.txt",
        "echo x >> a.txt; git add a.txt",
        "git commit --quiet --allow-empty --message loose",
        "git rm --quiet a.txt",
        "git merge --quiet --no-ff --no-commit other",
    ],
)
def test_a_dirty_one_is_neither_used_again_nor_removed(attempts: Attempts, leave: str):
    made = attempts("run-a")
    git_in(attempts.repo, "checkout", "--quiet", "-b", "other")
    git_in(attempts.repo, "commit", "--quiet", "--allow-empty", "--message", "other")
    subprocess.run(leave, shell=True, cwd=made.path, check=True, capture_output=True)
    attempts.end("run-a", made)
    second = attempts("run-b")
    attempts.end("run-b", second)
    pruned = workspace.prune(str(attempts.pool), attempts.main, lambda run_id: True, False)

    assert second.path != made.path
    assert [name for name, _ in pruned] == [second.name]
    assert os.path.isdir(made.path)


def test_one_that_is_in_use_is_nobody_elses(attempts: Attempts):
    """Also when its shim was killed and nobody has recorded that."""
    first = attempts("run-a")
    second = attempts("run-b")
    attempts.die(second)

    assert len({first.path, second.path, attempts("run-c").path}) == 3


def test_one_whose_making_was_killed_is_made_anew(attempts: Attempts):
    made = attempts("run-a")
    said = json.loads(Path(made.owner).read_text())
    Path(made.owner).write_text(json.dumps({**said, "begun": False}))
    Path(made.path, ".git").unlink()
    (attempts.folder("run-a") / workspace.NAMED).unlink()
    attempts.recover("run-a")
    attempts.die(made)

    again = attempts("run-b")

    assert again.path == made.path
    assert Path(again.path, "a.txt").read_text() == "a\n"


def test_a_pool_that_somebody_has_removed_is_made_anew(attempts: Attempts):
    """As `rm -r .coord/local` does; git still knows the worktrees."""
    attempts.end("run-a", attempts("run-a"))
    shutil.rmtree(attempts.pool)

    assert Path(attempts("run-b").path, "a.txt").read_text() == "a\n"


def test_the_lock_of_a_killed_git_is_in_nobodys_way(attempts: Attempts):
    made = attempts("run-a")
    Path(workspace.git_dir_of(made.path), "index.lock").touch()
    attempts.end("run-a", made)

    assert attempts("run-b").path == made.path


def test_commits_carry_the_runs_trailer_and_the_users_hooks_are_called(attempts: Attempts):
    """The user's hook comes first: it may write the whole message."""
    hooks = attempts.repo / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name, line in (
        ("prepare-commit-msg", 'echo "Theirs" > "$1"'),
        ("post-commit", 'echo committed >> "$HOOKED"'),
    ):
        (hooks / name).write_text(f"#!/bin/sh\n{line}\n")
        (hooks / name).chmod(0o755)
    made = attempts("run-a")
    said = attempts.repo / "said"
    Path(made.path, "b").touch()
    variables = workspace.environment(made, {"COORD_RUN": "run-a", "HOOKED": str(said)})
    git_in(made.path, "add", "b", **variables)
    git_in(made.path, "commit", "--no-verify", "--quiet", "--message", "Ours", **variables)

    text = git_in(made.path, "log", "-1", "--format=%B")
    assert text == "Theirs\n\nCoord-Run: run-a"
    assert said.read_text() == "committed\n"


def test_a_refusing_hook_of_the_user_still_refuses(attempts: Attempts):
    hook = attempts.repo / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    made = attempts("run-a")

    with pytest.raises(subprocess.CalledProcessError):
        commit(made, "b", "run-a")


def test_the_environment_of_a_git_that_called_us_does_not_reach_the_command(attempts: Attempts):
    made = attempts("run-a")
    given = {"GIT_DIR": "/elsewhere", "GIT_INDEX_FILE": "/x", "GIT_CONFIG_COUNT": "1", "A": "b"}

    found = workspace.environment(made, given)

    assert not found.keys() & {"GIT_DIR", "GIT_INDEX_FILE"}
    assert (found["A"], found["GIT_CONFIG_COUNT"]) == ("b", "2")
    assert found["GIT_CONFIG_KEY_1"] == "core.hooksPath"


def publish_branch(attempts: Attempts, made: workspace.Workspace, tip: str) -> None:
    git_in(made.path, "branch", "feature", tip)


def publish_squash(attempts: Attempts, made: workspace.Workspace, tip: str) -> None:
    """As one commit, with words of somebody else, on a main that went on."""
    git_in(attempts.repo, "commit", "--quiet", "--allow-empty", "--message", "meanwhile")
    git_in(attempts.repo, "merge", "--quiet", "--squash", tip)
    git_in(attempts.repo, "commit", "--quiet", "--message", "Squashed")


def publish_rebased(attempts: Attempts, made: workspace.Workspace, tip: str) -> None:
    git_in(attempts.repo, "commit", "--quiet", "--allow-empty", "--message", "meanwhile")
    git_in(attempts.repo, "cherry-pick", f"{attempts.base}..{tip}")


def publish_reworded(attempts: Attempts, made: workspace.Workspace, tip: str) -> None:
    """Each commit alone, without its trailer."""
    for one in git_in(made.path, "rev-list", "--reverse", f"{attempts.base}..{tip}").split():
        git_in(attempts.repo, "cherry-pick", "--no-commit", one)
        git_in(attempts.repo, "commit", "--quiet", "--message", "Reworded")


def publish_remote(attempts: Attempts, made: workspace.Workspace, tip: str) -> None:
    """On a remote-tracking ref, which a push leaves."""
    git_in(attempts.repo, "update-ref", "refs/remotes/origin/main", tip)


@pytest.mark.parametrize(
    "publish",
    [publish_branch, publish_squash, publish_rebased, publish_reworded, publish_remote],
)
def test_work_that_is_on_a_ref_is_found_however_it_came_there(attempts: Attempts, publish: Any):
    made = attempts("run-a")
    commit(made, "b", "run-a")
    tip = commit(made, "c", "run-a")
    publish(attempts, made, tip)
    attempts.die(made)

    work = attempts.look("run-a")

    assert work.commit
    assert not work.is_loose


@pytest.mark.parametrize("where", ["refs/coord/salvage/run-a", "refs/coord/run/run-a"])
def test_a_ref_of_our_own_is_no_proof(attempts: Attempts, where: str):
    """Nor is the HEAD of a workspace."""
    made = attempts("run-a")
    tip = commit(made, "b", "run-a")
    git_in(made.path, "update-ref", where, tip)
    attempts.die(made)

    work = attempts.look("run-a")

    assert work == Work(is_loose=True, workspace=made.name)


def test_part_of_the_work_by_content_is_no_proof(attempts: Attempts):
    made = attempts("run-a")
    first = commit(made, "b", "run-a")
    commit(made, "c", "run-a")
    git_in(attempts.repo, "cherry-pick", "--no-commit", first)
    git_in(attempts.repo, "commit", "--quiet", "--message", "Half of it")
    attempts.die(made)

    work = attempts.look("run-a")

    assert (work.commit, work.is_loose) == ("", True)


def test_the_same_change_by_another_run_is_no_proof(attempts: Attempts):
    made, other = attempts("run-a"), attempts("run-b")
    commit(made, "b", "run-a")
    git_in(other.path, "branch", "feature", commit(other, "b", "run-b"))
    attempts.die(made)

    assert attempts.look("run-a") == Work(is_loose=True, workspace=made.name)


def test_the_trailer_of_another_run_is_no_proof(attempts: Attempts):
    """A run_id is not the beginning of another one."""
    made = attempts("run-a")
    git_in(attempts.repo, "commit", "--quiet", "--allow-empty", "-m", "x\n\nCoord-Run: run-ab")
    attempts.die(made)

    assert attempts.look("run-a") == Work(workspace=made.name)


def test_commits_on_no_ref_are_saved_and_their_workspace_is_free(attempts: Attempts):
    made = attempts("run-a")
    tip = commit(made, "b", "run-a")
    attempts.die(made)

    work = attempts.recover("run-a")

    assert (work.saved, work.is_kept) == ("refs/coord/salvage/run-a", False)
    assert git_in(attempts.repo, "rev-parse", work.saved) == tip
    assert attempts("run-b").path == made.path


def test_a_dirty_tree_is_saved_whole_and_untouched(attempts: Attempts):
    """On top of its commits; the index and HEAD stay as they are."""
    made = attempts("run-a")
    tip = commit(made, "b", "run-a")
    Path(made.path, "a.txt").write_text("changed\n")
    Path(made.path, "new").write_text("new\n")
    Path(made.path, "c.o").write_text("ignored\n")
    git_in(made.path, "rm", "--quiet", "--cached", "b")
    before = git_in(made.path, "status", "--porcelain")
    attempts.die(made)

    work = attempts.recover("run-a")

    assert work.is_kept
    assert git_in(attempts.repo, "rev-parse", f"{work.saved}^") == tip
    shown = git_in(attempts.repo, "show", f"{work.saved}:a.txt")
    assert (shown, git_in(attempts.repo, "show", f"{work.saved}:new")) == ("changed", "new")
    assert git_in(attempts.repo, "ls-tree", "--name-only", work.saved).split() == [
        ".gitignore", "a.txt", "b", "new",
    ]  # fmt: skip
    assert git_in(made.path, "status", "--porcelain") == before
    assert git_in(made.path, "rev-parse", "HEAD") == tip


def test_what_is_published_and_what_is_loose_are_both_told(attempts: Attempts):
    made = attempts("run-a")
    tip = commit(made, "b", "run-a")
    git_in(made.path, "branch", "feature")
    Path(made.path, "more").write_text("more\n")
    attempts.die(made)

    work = attempts.recover("run-a")

    assert (work.commit, bool(work.saved), work.is_kept) == (tip, True, True)


def test_a_recovery_that_was_killed_is_repeated_with_the_same_answer(attempts: Attempts):
    """After the saving, and after another run has the workspace."""
    made = attempts("run-a")
    commit(made, "b", "run-a")
    attempts.die(made)
    looked = attempts.look("run-a")
    salvage.save(str(attempts.folder("run-a")), LEASE, "run-a", 1, looked)
    first = attempts.recover("run-a")
    attempts("run-b")

    assert attempts.look("run-a") == first


def test_what_a_killed_recovery_has_locked_does_not_keep_the_next_from_saving(attempts: Attempts):
    made = attempts("run-a")
    Path(made.path, "new").touch()
    lock = attempts.repo / ".git" / "refs" / "coord" / "salvage" / "run-a.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    (attempts.folder("run-a") / "index.1.lock").touch()
    attempts.die(made)

    work = attempts.recover("run-a")

    assert (work.saved, work.fault) == ("refs/coord/salvage/run-a", "")


def test_a_workspace_that_git_cannot_read_is_kept_and_said_to_be_so(attempts: Attempts):
    made = attempts("run-a")
    Path(made.path, ".git").write_text("gitdir: /nowhere\n")
    attempts.die(made)

    work = attempts.recover("run-a")

    assert (work.is_kept, bool(work.fault)) == (True, True)
    assert attempts("run-b").path != made.path


def test_inputs_are_laid_out_and_never_outside(attempts: Attempts, tmp_path: Path):
    blobs = tmp_path / "blobs"
    name = "ab" + "0" * 62
    (blobs / "ab").mkdir(parents=True)
    (blobs / "ab" / name).write_text("given\n")

    made = attempts("run-a", blobs=str(blobs), inputs=[{"path": "d/e.txt", "sha256": name}])

    assert Path(made.path, "d/e.txt").read_text() == "given\n"
    for path in ("../out", ".git", "a.txt/b"):
        with pytest.raises((workspace.Unfit, OSError)):
            attempts("run-b", blobs=str(blobs), inputs=[{"path": path, "sha256": name}])
