"""Runs at another host: a real ssh server on this machine, real cuts, real deaths."""

import hashlib
import json
import os
import pwd
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from coord.edge.run import spool, tree
from tests.cli.hosted import (
    ADA,
    DEADLINE_S,
    HOST,
    asked,
    attempt_of,
    by_ada,
    connections,
    drained,
    far_folder,
    folder_of,
    git,
    pretending,
)  # fmt: skip
from tests.conftest import Runner, until


@pytest.fixture
def ada(run: Runner, store: Path, far: Path) -> Any:
    """`ada(words…)`: a command of `run` by ada, in a repository with a file."""
    return by_ada(run)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("exit 0", {"outcome": "succeeded", "exit_code": 0}),
        ("exit 7", {"outcome": "failed", "exit_code": 7}),
        ("kill -9 $$", {"outcome": "signaled", "signal": 9}),
    ],
)
def test_it_ends_here_as_it_ended_there(ada: Any, line: str, told: Any):
    run_id = asked(ada, line)

    drained(ada)

    attempt = attempt_of(ada, run_id)
    assert {
        name: attempt[name] for name in ("outcome", "exit_code", "signal") if name in attempt
    } == told
    assert attempt["host"] == "127.0.0.1"


def test_it_is_executed_below_the_folder_that_the_worker_names(
    ada: Any, run: Any, tmp_path: Path, far: Path
):
    """With the variables of its request, and nothing of the worker's environment."""
    (tmp_path / "elsewhere" / "sub").mkdir(parents=True)
    (run.folder / "sub").mkdir()
    words = ("run", "request", "--quiet", "--executor", "ssh:127.0.0.1", "--env", "A=1")
    line = "pwd; echo $A.$B.$COORD_RUN"
    asked = run(*words, "--shell", line, as_=ADA, cwd=run.folder / "sub")

    ada("poll", "--drain", "--executor", f"{HOST}:{tmp_path}/elsewhere", env={"B": "2"})

    run_id = asked.out.strip()
    assert ada("logs", run_id).out == f"{tmp_path}/elsewhere/sub\n1..{run_id}\n"


def test_a_folder_may_begin_at_home(ada: Any):
    """Which home that is, the other host says."""
    run_id = asked(ada, "pwd")

    drained(ada, f"{HOST}:~/")

    assert ada("logs", run_id).out == f"{os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)}\n"


def test_a_worker_of_another_host_takes_only_what_asks_for_that(ada: Any):
    """And a worker of this one, or of a third, nothing of it."""
    there, here = asked(ada, "true"), ada("request", "--quiet", "--", "true").out.strip()
    third = asked(ada, "true", "--label", "executor:ssh:third")

    assert [row["run_id"] for row in drained(ada)] == [there]
    assert [row["run_id"] for row in ada("poll", "--drain").lines] == [here]
    assert ada("why", third).lines[0]["reason"] == "labels"


@pytest.mark.parametrize(
    "options", [("--lock", "env:x"), ("--stdin",), ("--sandbox", "auto")], ids=lambda o: o[0]
)
def test_what_only_this_machine_has_is_refused(ada: Any, options: Any):
    answer = ada("request", "--executor", "ssh", *options, "--", "true")

    assert answer.code == 6, answer.err
    assert "another host" in answer.error["message"]


def test_the_log_is_the_same_though_the_connection_is_cut_again_and_again(
    ada: Any, run: Any, store: Path, tmp_path: Path
):
    gate = tmp_path / "gate"
    line = f"for i in 1 2 3; do seq 200000; cat {gate}; done; seq 200000 >&2"
    os.mkfifo(gate)
    run_id = asked(ada, line)
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA)
    log = Path(folder_of(store, run_id)) / "log"
    part = "".join(f"{n}\n" for n in range(1, 200_001)).encode()

    for number in (1, 2, 3):
        until(lambda n=number: log.exists() and log.stat().st_size >= n * len(part))
        tree.kill(connections(store, run_id))
        gate.write_text("")
    assert worker.wait(DEADLINE_S) == 0
    worker.communicate()

    printed = log.read_bytes()
    assert hashlib.sha256(printed).digest() == hashlib.sha256(4 * part).digest()
    assert attempt_of(ada, run_id)["logs"]["bytes"] == 4 * len(part)


def test_whoever_dies_here_costs_nothing(ada: Any, run: Any, store: Path, tmp_path: Path):
    """The worker and the near end are killed; the next worker follows what was begun."""
    gate, ledger = tmp_path / "gate", tmp_path / "ledger"
    os.mkfifo(gate)
    run_id = asked(ada, f"echo begun | tee -a {ledger}; cat {gate}; echo done")
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA)
    until(lambda: ada("logs", run_id).out == "begun\n")
    near = spool.pid_of(folder_of(store, run_id))
    worker.kill()
    os.kill(near, signal.SIGKILL)
    worker.communicate()

    # A worker of this machine, which knows nothing of that host.
    other = run.start("run", "poll", "--drain", as_=ADA)
    until(lambda: spool.pid_of(folder_of(store, run_id)) not in (0, near))
    gate.write_text("")
    said, _ = other.communicate(timeout=DEADLINE_S)

    assert json.loads(said)["run_id"] == run_id
    assert attempt_of(ada, run_id)["outcome"] == "succeeded"
    assert (ledger.read_text(), ada("logs", run_id).out) == ("begun\n", "begun\ndone\n")


def test_cancelled_is_recorded_when_nothing_of_it_lives_there(ada: Any, run: Any, store: Path):
    sleeper = f"61.{os.getpid()}"
    run_id = asked(ada, f"(setsid env -i setsid sleep {sleeper} &); echo on; sleep {sleeper}")
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA)
    until(lambda: ada("logs", run_id).out == "on\n")

    cancelled = ada("cancel", run_id)

    worker.communicate(timeout=DEADLINE_S)
    assert cancelled.code == 0, cancelled.err
    assert attempt_of(ada, run_id)["outcome"] == "cancelled"
    found = subprocess.run(["pgrep", "-f", f"sleep {sleeper}"], capture_output=True)
    assert found.stdout == b""


def test_there_is_no_worker_of_a_host_that_is_not_reached(ada: Any):
    """So that no run is claimed, and none fails, because a machine is down."""
    run_id = asked(ada, "true")

    answer = ada("poll", "--drain", "--executor", HOST, env={"GIT_SSH_COMMAND": "false"})

    assert (answer.code, answer.error["code"]) == (7, "unreachable")
    assert ada("show", run_id).json["status"] == "queued"


@pytest.mark.parametrize("name", ["-oProxyCommand=x", "a b", "", "h;x"])
def test_what_is_no_host_is_refused(ada: Any, name: str):
    answer = ada("poll", "--once", "--executor", f"ssh:{name}")

    assert (answer.code, answer.error["code"]) == (2, "usage")


def test_a_host_that_cannot_execute_anything_is_no_failure_of_the_command(ada: Any, tmp_path: Path):
    run_id = asked(ada, "true")
    no_python = pretending(tmp_path / "ssh", "echo 'sh: python3: not found' >&2; exit 127")

    ada("poll", "--once", "--executor", HOST, env=no_python)

    attempt = attempt_of(ada, run_id)
    told = (attempt["outcome"], attempt["reason"])
    assert told == ("infra_error", "127.0.0.1: sh: python3: not found")
    assert "exit_code" not in attempt


def test_what_was_never_sent_is_cancelled_though_its_host_is_not_reached(
    ada: Any, run: Any, store: Path, tmp_path: Path
):
    run_id = asked(ada, "true")
    down = pretending(tmp_path / "ssh", "echo 'No route to host' >&2; exit 255")
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA, env=down)
    until(lambda: '"unreached"' in ada("why", run_id).out)

    why = ada("why", run_id).lines[-1]
    cancelled = ada("cancel", run_id)

    worker.communicate(timeout=DEADLINE_S)
    assert why["text"] == "127.0.0.1: No route to host"
    assert (cancelled.code, attempt_of(ada, run_id)["outcome"]) == (0, "cancelled")


def test_what_a_login_prints_is_not_taken_for_an_answer(ada: Any, run: Any, tmp_path: Path):
    noisy = tmp_path / "noisy"
    noisy.write_text(f"#!/bin/sh\necho 'Welcome!'; exec {os.environ['GIT_SSH_COMMAND']} \"$@\"\n")
    noisy.chmod(0o755)
    run_id = asked(ada, "echo out")

    ada("poll", "--once", "--executor", HOST, env={"GIT_SSH_COMMAND": str(noisy)})

    assert ada("logs", run_id).out == "out\n"


def test_its_commit_and_its_artifacts_come_back(ada: Any, run: Any, store: Path):
    """It begins at a commit of ours, with inputs of ours, in a workspace there."""
    (run.folder / "in.txt").write_text("given\n")
    line = "cat a.txt in.txt > out.txt; echo b > a.txt; git commit -qam more; pwd"
    options = ("--repo-ref", "HEAD", "--input", "in.txt", "--artifact", "out.txt")
    run_id = asked(ada, line, *options)

    drained(ada)

    attempt = attempt_of(ada, run_id)
    assert attempt["outcome"] == "succeeded", attempt
    assert git(run.folder, "show", f"refs/coord/run/{run_id}:a.txt") == "b"
    assert git(run.folder, "log", "-1", "--format=%an", attempt["commit"]) == "Test"
    [artifact] = attempt["artifacts"]
    name = artifact["sha256"]
    assert (store / "blobs" / name[:2] / name).read_text() == "a\ngiven\n"
    assert "/workspaces/w1" in ada("logs", run_id).out


def test_a_change_that_it_may_not_make_is_refused_there(ada: Any, run: Any):
    line = "echo b > a.txt; git commit -qam more"
    run_id = asked(ada, line, "--repo-ref", "HEAD", "--writes", "docs/**")

    drained(ada)

    attempt = attempt_of(ada, run_id)
    assert (attempt["outcome"], attempt["paths"]) == ("refused", ["a.txt"])
    assert git(run.folder, "show", f"{attempt['salvage']}:a.txt") == "b"


def test_what_its_shim_cannot_tell_any_more_is_saved_and_lost(
    ada: Any, run: Any, store: Path, far: Path, tmp_path: Path
):
    """The shim there and its guard are killed, after a commit."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run_id = asked(
        ada, f"echo b > a.txt; git commit -qam m; echo on; cat {gate}", "--repo-ref", "HEAD"
    )
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA)
    until(lambda: ada("logs", run_id).out == "on\n")
    shim = spool.pid_of(far_folder(far, run_id))
    tree.kill([tree.living()[shim], shim])

    worker.communicate(timeout=DEADLINE_S)

    attempt = attempt_of(ada, run_id)
    assert attempt["outcome"] == "lost", attempt
    assert git(run.folder, "show", f"{attempt['salvage']}:a.txt") == "b"


def test_a_secret_is_in_no_argument_and_no_log(ada: Any, run: Any, far: Path, tmp_path: Path):
    secret = tmp_path / "token"
    secret.write_text("hunter2-hunter2\n")
    run_id = asked(ada, "echo $TOKEN | tr a-z A-Z; echo $TOKEN", "--secret", f"TOKEN={secret}")

    drained(ada)

    assert ada("logs", run_id).out.startswith("HUNTER2-HUNTER2\n")
    found = subprocess.run(
        ["grep", "-rl", "hunter2", str(far), str(run.folder)], capture_output=True
    )
    assert found.stdout == b""


def test_a_request_that_comes_late_does_not_begin_it_again(ada: Any, far: Path, tmp_path: Path):
    """What has been told to its end leaves that behind."""
    ledger = tmp_path / "ledger"
    run_id = asked(ada, f"echo once >> {ledger}")
    drained(ada)

    left = set(os.listdir(far_folder(far, run_id)))

    assert {"exit.json", "begun"} <= left <= {"exit.json", "begun", "lock"}
    assert ledger.read_text() == "once\n"


def test_the_doctor_probes_a_host_for_real(ada: Any):
    fit = ada("doctor", "--executor", HOST)
    unfit = ada("doctor", "--executor", HOST, env={"GIT_SSH_COMMAND": "false"})

    [well], [ill] = ([row for row in one.lines if row["check"] == "host"] for one in (fit, unfit))
    assert (well["executor"], well["ok"]) == (HOST, True), well
    assert (unfit.code, ill["ok"]) == (1, False)
