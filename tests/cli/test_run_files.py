"""Runs with files of their own: at a commit, in a workspace, judged and kept."""

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from coord.edge.run import spool
from tests.conftest import hold_up, until

ADA = "agent:ada"


@pytest.fixture
def ada(run, store):
    """`ada(words…)`: a command of `run` by ada, in a repository with a file."""
    (run.folder / "a.txt").write_text("a\n")
    git(run.folder, "add", "a.txt")
    git(run.folder, "commit", "--quiet", "--message", "a file")

    def call(*words, **options):
        return run("run", *words, as_=ADA, **options)

    return call


def git(folder, *words):
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def last(ada, run_id=""):
    """The newest run, or this one, and its newest attempt."""
    run_id = run_id or ada("list", "--status", "all", "--quiet").out.split()[0]
    row = ada("show", run_id).json
    return row, (row.get("attempts") or [{}])[-1]


def test_a_run_at_a_ref_is_executed_at_the_commit_that_it_was_then(ada, run, store):
    """In a tree of its own: the caller's is neither read nor changed."""
    run_id = ada("request", "--repo-ref", "HEAD", "--shell", "cat a.txt; echo x > a.txt").json[
        "run_id"
    ]
    then = git(run.folder, "rev-parse", "HEAD")
    (run.folder / "a.txt").write_text("b\n")
    git(run.folder, "commit", "--quiet", "--all", "--message", "later")
    (run.folder / "a.txt").write_text("dirty\n")

    ada("poll", "--drain")

    row, attempt = last(ada, run_id)
    assert row["repo_ref"] == {"ref": "HEAD", "commit": then}
    assert ada("logs", run_id).out == "a\n"
    assert (run.folder / "a.txt").read_text() == "dirty\n"
    assert (row["outcome"], attempt["workspace"], attempt["kept"]) == ("succeeded", "w1", "w1")


def test_a_ref_that_is_none_is_refused(ada):
    answer = ada("exec", "--repo-ref", "no-such", "--", "true")

    assert (answer.code, answer.error["code"]) == (3, "no_commit")


@pytest.mark.parametrize("option", ["--writes", "--input"])
def test_what_needs_a_workspace_says_so(ada, option):
    answer = ada("exec", option, "a.txt", "--", "true")

    assert (answer.code, answer.error["code"]) == (2, "usage")


def test_a_workspace_that_cannot_be_made_is_never_the_commands_failure(ada):
    line = {"argv": ["true"], "repo_ref": {"commit": "f" * 40}}
    ada("request", "-", input=json.dumps(line))

    [row] = ada("poll", "--drain").lines

    assert (row["outcome"], "exit_code" in row) == ("infra_error", False)


def test_a_command_in_a_folder_that_the_commit_does_not_have_is_never_its_failure(ada, run):
    (run.folder / "new").mkdir()

    answer = ada("exec", "--repo-ref", "HEAD", "--", "true", cwd=run.folder / "new")

    assert (answer.code, last(ada)[0]["outcome"]) == (125, "infra_error")


def test_what_a_run_commits_is_named_and_kept(ada, run):
    """Under a ref of ours, though no branch has it."""
    ada("exec", "--repo-ref", "HEAD", "--shell", "echo b > b; git add b; git commit -qm two")

    row, attempt = last(ada)
    ref = f"refs/coord/run/{row['run_id']}"
    assert git(run.folder, "rev-parse", ref) == attempt["commit"]
    trailers = git(run.folder, "log", "-1", "--format=%(trailers:key=Coord-Run,valueonly)", ref)
    assert trailers == row["run_id"]
    assert "kept" not in attempt


def test_what_a_run_may_not_write_is_refused_and_nothing_is_published(ada, run):
    line = "mkdir d; echo x > d/b; echo y > a.txt; git add .; git commit -qm two; echo z > d/c"

    answer = ada(
        "exec", "--repo-ref", "HEAD", "--writes", "d/*b", "--artifact", "d/*", "--shell", line
    )

    row, attempt = last(ada)
    assert (answer.code, row["outcome"]) == (125, "refused")
    assert attempt["paths"] == ["a.txt", "d/c"]
    assert not attempt.keys() & {"artifacts", "commit"}
    assert git(run.folder, "for-each-ref", "refs/coord/run") == ""
    assert git(run.folder, "show", f"{attempt['salvage']}:d/b") == "x"


@pytest.mark.parametrize(
    "hide",
    [
        "git update-index --assume-unchanged a.txt",
        "git update-index --skip-worktree a.txt",
        "git add a.txt; git commit -qm hidden",
    ],
)
def test_a_change_is_not_hidden_by_what_git_is_told_about_it(ada, hide):
    ada("exec", "--repo-ref", "HEAD", "--writes", "b", "--shell", f"echo x > a.txt; {hide}")

    assert last(ada)[1]["paths"] == ["a.txt"]


def test_what_a_run_may_write_is_published(ada):
    ada("exec", "--repo-ref", "HEAD", "--writes", "*.txt", "--shell", "echo x > a.txt")

    assert last(ada)[0]["outcome"] == "succeeded"


@pytest.mark.parametrize("ref", [("--repo-ref", "HEAD"), ()])
def test_artifacts_are_kept_as_blobs_and_given_back(ada, run, tmp_path, ref):
    """Their workspace is free again: nothing else is in it."""
    line = "mkdir -p out/d; printf one > out/1; printf 'two\\0' > out/d/2; echo no > 3"
    ada("exec", *ref, "--artifact", "out/**", "--shell", line.replace("echo no > 3", "true"))
    row, attempt = last(ada)

    answer = ada("show", row["run_id"], "--artifacts", tmp_path / "saved")

    assert [one["path"] for one in attempt["artifacts"]] == ["out/1", "out/d/2"]
    assert answer.code == 0
    assert (tmp_path / "saved/out/d/2").read_bytes() == b"two\0"
    assert "kept" not in attempt
    assert ada("show", row["run_id"], "--artifacts", tmp_path / "b", "--quiet").code == 0
    assert run.ok("ev", "check", "--full", as_=ADA).code == 0


def test_artifacts_lie_inside_the_tree(ada, tmp_path):
    """A link is no file, and leads nowhere."""
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key").write_text("key")
    line = f"ln -s {tmp_path}/secret out; ln -s {tmp_path}/secret/key key; echo x > x"
    globs = ("--artifact", "out/*", "--artifact", "key", "--artifact", "x")
    ada("exec", "--repo-ref", "HEAD", *globs, "--shell", line)

    assert [one["path"] for one in last(ada)[1]["artifacts"]] == ["x"]


def test_a_run_without_artifacts_has_none_to_give(ada, tmp_path):
    ada("exec", "--", "true")

    assert ada("show", last(ada)[0]["run_id"], "--artifacts", tmp_path / "saved").code == 1


def test_inputs_are_what_the_files_were_when_it_was_asked_for(ada, run):
    """They are no change of the run's."""
    (run.folder / "in.txt").write_text("then\n")
    words = ("--repo-ref", "HEAD", "--input", "in.txt", "--writes", "b")
    run_id = ada("request", *words, "--shell", "cat in.txt").json["run_id"]
    (run.folder / "in.txt").write_text("now\n")

    ada("poll", "--drain")

    row, attempt = last(ada, run_id)
    assert (row["outcome"], "kept" in attempt) == ("succeeded", False)
    assert ada("logs", run_id).out == "then\n"


def killed(ada, run, line, *options):
    """Request a line, kill its shim once it says `ready`, and let a worker see to it."""
    run_id = ada(
        "request", "--repo-ref", "HEAD", *options, "--shell",
        f'[ "$(cat "{run.folder}/times" 2>/dev/null)" ] && exit; echo 1 >> "{run.folder}/times";'
        f"{line}; echo ready; sleep 60",
    ).json["run_id"]  # fmt: skip
    worker = run.start("run", "poll", "--drain", as_="agent:w")
    until(lambda: "ready" in ada("logs", run_id).out, "the command is ready")
    lock = run.folder / ".coord" / "local" / "logs" / run_id / "1" / "lock"
    os.kill(int(lock.read_text()), signal.SIGKILL)
    worker.communicate(timeout=60)
    return ada("show", run_id).json


def test_exec_prints_what_an_attempt_printed_that_another_worker_had_meanwhile(ada, run, store):
    """It was held up when its own one had been lost before it began."""
    pool = store / "local" / "workspaces"
    pool.mkdir(parents=True)
    lock = os.open(pool / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    running = run.start("run", "exec", "--repo-ref", "HEAD", "--", "echo", "hello", as_=ADA)
    until(lambda: (pool / "w1.json").exists(), "the shim makes a workspace")
    run_id = last(ada)[0]["run_id"]
    hold_up(running)
    os.kill(spool.pid_of(str(store / "local" / "logs" / run_id / "1")), signal.SIGKILL)
    os.close(lock)

    until(lambda: ada("poll", "--drain").out)
    running.send_signal(signal.SIGCONT)
    out, err = running.communicate(timeout=60)

    outcomes = [attempt["outcome"] for attempt in last(ada, run_id)[0]["attempts"]]
    assert outcomes == ["lost", "succeeded"]
    assert (running.returncode, out, err) == (0, b"hello\n", b"")


COMMITS = "echo b > b; git add b; git commit -qm two"


def test_merged_work_is_never_redone(ada, run):
    row = killed(ada, run, f"{COMMITS}; git branch feature", "--idempotent")

    [attempt] = row["attempts"]
    assert (row["outcome"], attempt["commit"]) == (
        "lost", git(run.folder, "rev-parse", "feature")
    )  # fmt: skip
    assert "its commit" in attempt["reason"]
    assert (run.folder / "times").read_text() == "1\n"


def test_partial_work_is_saved_and_begun_anew_where_that_does_no_harm(ada, run):
    row = killed(ada, run, f"{COMMITS}; echo dirt > c", "--idempotent")

    first, second = row["attempts"]
    assert (row["outcome"], first["outcome"], second["outcome"]) == (
        "succeeded", "lost", "succeeded",
    )  # fmt: skip
    assert first["salvage"] == f"refs/coord/salvage/{row['run_id']}"
    names = git(run.folder, "ls-tree", "--name-only", first["salvage"]).split()
    assert names == ["a.txt", "b", "c"]
    assert (first["workspace"], first["kept"], second["workspace"]) == ("w1", "w1", "w2")


def test_partial_work_of_what_must_not_be_repeated_is_saved_and_lost(ada, run):
    row = killed(ada, run, COMMITS)

    [attempt] = row["attempts"]
    assert (row["outcome"], "commit" in attempt, "kept" in attempt) == ("lost", False, False)
    assert git(run.folder, "show", f"{attempt['salvage']}:b") == "b"


def test_gc_removes_the_clean_workspaces_alone(ada, run, store: Path):
    ada("exec", "--repo-ref", "HEAD", "--", "touch", "new")
    ada("exec", "--repo-ref", "HEAD", "--", "true")

    rows = ada("gc", "--keep", "0").lines

    assert [row["workspace"] for row in rows if "workspace" in row] == ["w2"]
    left = {path.name for path in (store / "local/workspaces").iterdir()}
    assert left == {"lock", "w1", "w1.json", "w1.hooks"}
    assert len(git(run.folder, "worktree", "list").splitlines()) == 2


def test_gc_drops_the_refs_that_keep_nothing_any_more(ada, run):
    """What no other ref leads to is the work of somebody."""
    for name in ("merged", "loose"):
        line = f"echo x > {name}; git add .; git commit -qm {name}"
        ada("exec", "--repo-ref", "HEAD", "--title", name, "--shell", line)
    rows = {row["title"]: row["run_id"] for row in ada("list", "--status", "all").lines}
    git(run.folder, "branch", "feature", f"refs/coord/run/{rows['merged']}")

    said = [row.get("ref") for row in ada("gc", "--keep", "0").lines]

    assert [ref for ref in said if ref] == [f"refs/coord/run/{rows['merged']}"]
    left = git(run.folder, "for-each-ref", "--format=%(refname)", "refs/coord/run")
    assert left == f"refs/coord/run/{rows['loose']}"
