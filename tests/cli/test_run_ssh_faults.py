"""Runs at another host when something is wrong: with the connection, the disk, or who asks."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
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
    folder_of,
)
from tests.conftest import Runner, until


@pytest.fixture
def ada(run: Runner, store: Path, far: Path) -> Any:
    """`ada(words…)`: a command of `run` by ada, in a repository with a file."""
    return by_ada(run)


def script(path: Path, text: str) -> dict[str, str]:
    """The environment in which ssh is a script; `$SSH` in it is the real one."""
    path.write_text(f"#!/bin/sh\nSSH='{os.environ['GIT_SSH_COMMAND']}'\n{text}\n")
    path.chmod(0o755)
    return {"GIT_SSH_COMMAND": str(path)}


def orphaned(ada: Any, run: Runner, store: Path, line: str, *options: str) -> str:
    """A run that lives at the other host, with nobody here who follows it."""
    run_id = asked(ada, f"echo on; {line}", *options)
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA)
    until(lambda: ada("logs", run_id).out == "on\n")
    worker.kill()
    os.kill(spool.pid_of(folder_of(store, run_id)), signal.SIGKILL)
    worker.communicate()
    until(lambda: not spool.is_alive(folder_of(store, run_id)))
    return run_id


def gate_of(tmp_path: Path) -> Path:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    return gate


def ended(ada: Any, run_id: str) -> Any:
    """How a run has ended, for which somebody works."""
    until(lambda: ada("show", run_id).json["status"] == "done")
    return attempt_of(ada, run_id)


def test_what_is_executed_here_does_not_wait_for_what_is_followed_there(
    ada: Any, run: Runner, store: Path, tmp_path: Path
):
    """Neither `run exec` nor a worker of this machine, which follows it besides."""
    gate = gate_of(tmp_path)
    run_id = orphaned(ada, run, store, f"cat {gate}")
    here = ada("request", "--quiet", "--", "true").out.strip()

    executed = ada("exec", "--", "echo", "here")
    once = ada("poll", "--once", "--quiet")

    assert (executed.code, executed.out) == (0, "here\n")
    assert once.out.strip() == here
    gate.write_text("")
    drained(ada)
    assert attempt_of(ada, run_id)["outcome"] == "succeeded"


def test_who_follows_it_reaches_its_host_as_whoever_began_it(
    ada: Any, run: Runner, store: Path, tmp_path: Path
):
    """By the same words: without a port, say, they might name another machine."""
    gate = gate_of(tmp_path)
    run_id = orphaned(ada, run, store, f"cat {gate}")
    other = run.start("run", "poll", as_=ADA, env={"GIT_SSH_COMMAND": "false"})
    gate.write_text("")

    assert ended(ada, run_id)["outcome"] == "succeeded"
    other.kill()
    other.communicate()


def test_who_does_not_reach_its_host_keeps_nobody_from_it(
    ada: Any, run: Runner, store: Path, tmp_path: Path
):
    """The key that one worker has is gone, and another worker has a new one."""
    down, gate = tmp_path / "down", gate_of(tmp_path)
    env = script(tmp_path / "ssh", f'[ -e {down} ] && exit 255; exec $SSH "$@"')
    run_id = asked(ada, f"echo on; cat {gate}")
    wrong = run.start("run", "poll", "--executor", HOST, as_=ADA, env=env)
    until(lambda: ada("logs", run_id).out == "on\n")
    down.touch()
    tree.kill(connections(store, run_id))
    until(lambda: spool.unreached(folder_of(store, run_id)))
    gate.write_text("")

    right = run.start("run", "poll", "--executor", HOST, as_=ADA)

    assert ended(ada, run_id)["outcome"] == "succeeded"
    for worker in (wrong, right):
        worker.kill()
        worker.communicate()


PROXY = """
import os, subprocess, sys
link = subprocess.Popen(sys.argv[2:], stdin=0, stdout=subprocess.PIPE)
while data := os.read(link.stdout.fileno(), 1 << 18):
    is_over = b'{"is": "exit"' in data
    if is_over:
        open(sys.argv[1], "w").close()
        link.kill()
        link.wait()
        os.close(0)
    os.write(1, data)
    if is_over:
        sys.exit(255)
"""


def test_how_it_ended_is_told_though_its_host_is_gone_then(
    ada: Any, run: Runner, store: Path, tmp_path: Path
):
    """A command may switch its host off: once its exit record is here, nothing is waited for."""
    down, proxy = tmp_path / "down", tmp_path / "proxy.py"
    proxy.write_text(PROXY)
    words = f'exec {sys.executable} {proxy} {down} $SSH "$@"'
    run_id = asked(ada, "echo on")
    env = script(tmp_path / "ssh", f"[ -e {down} ] && exit 255; {words}")

    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA, env=env)

    worker.communicate(timeout=DEADLINE_S)
    assert down.exists()
    assert attempt_of(ada, run_id)["outcome"] == "succeeded"


@pytest.mark.parametrize("cut", [False, True], ids=["connected", "cut off"])
def test_it_is_over_when_nothing_of_it_lives_though_its_files_were_removed_there(
    ada: Any, run: Runner, store: Path, far: Path, cut: bool
):
    """Somebody tidies up at the other host while it runs."""
    sleeper = f"62.{os.getpid()}{int(cut)}"
    run_id = asked(ada, f"echo on; setsid sleep {sleeper}")
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA)
    until(lambda: ada("logs", run_id).out == "on\n")

    [attempts] = far.glob(f"*/attempts/{run_id}")
    shutil.rmtree(attempts.parent)
    if cut:
        tree.kill(connections(store, run_id))
    worker.communicate(timeout=DEADLINE_S)

    found = subprocess.run(["pgrep", "-f", f"sleep {sleeper}"], capture_output=True)
    assert found.stdout == b""
    # Its shim may have lived to tell that it was killed.
    assert attempt_of(ada, run_id)["outcome"] in ("lost", "signaled")


def test_a_cancel_does_not_wait_behind_what_was_printed(
    ada: Any, run: Runner, store: Path, far: Path, tmp_path: Path
):
    """Over a slow line there is more to tell than it takes in minutes."""
    throttle = f"""{sys.executable} -c 'import os, time
while data := os.read(0, 20000): os.write(1, data); time.sleep(0.1)'"""
    env = script(tmp_path / "ssh", f'$SSH "$@" | {throttle}')
    run_id = asked(ada, "echo on; head -c 30000000 /dev/zero; sleep 300")
    worker = run.start("run", "poll", "--executor", HOST, as_=ADA, env=env)
    until(lambda: ada("logs", run_id).out.startswith("on\n"))
    [there] = far.glob(f"*/attempts/{run_id}/1")

    ada("cancel", run_id, "--no-wait")

    until(lambda: not spool.is_alive(str(there)), tries=600)
    worker.kill()
    worker.communicate()
    near = spool.pid_of(folder_of(store, run_id))
    tree.kill([*connections(store, run_id), near])


def test_what_was_not_begun_in_time_is_not_begun_when_its_host_is_back(
    ada: Any, run: Runner, store: Path, tmp_path: Path
):
    """Though it was on its way when the connection went."""
    down, ledger = tmp_path / "down", tmp_path / "ledger"
    # It answers the worker, then nobody.
    once = f'[ -e {down} ] && exit 255; [ -e {down}.not ] || touch {down}; exec $SSH "$@"'
    env = script(tmp_path / "ssh", once)
    request = {"shell": f"echo once >> {ledger}", "timeouts": {"start_ms": 4000}}
    line = json.dumps({**request, "requires": ["executor:ssh"]})
    run_id = ada("request", "-", "--quiet", input=line).out.strip()
    worker = run.start("run", "poll", "--once", "--executor", HOST, as_=ADA, env=env)
    until(lambda: spool.unreached(folder_of(store, run_id)))
    (Path(folder_of(store, run_id)) / "sent").touch()

    claimed_at_ms = attempt_of(ada, run_id)["claimed_at_ms"]
    until(lambda: time.time_ns() // 1_000_000 > claimed_at_ms + 4000)
    (tmp_path / "down.not").touch()
    down.unlink()
    worker.communicate(timeout=DEADLINE_S)

    attempt = attempt_of(ada, run_id)
    told = (attempt["outcome"], attempt.get("reason"))
    assert told == ("infra_error", "it was not started in time")
    assert not ledger.exists()


RUBBISH = [
    'printf "\\ncoord-far have\\n[1]\\n"',
    """printf '\\ncoord-far have\\n{"is": "hello", "bytes": 0}\\n{"is": "exit", "bytes": 0}\\n'""",
    "printf '\\ncoord-far '; head -c 1000000 /dev/zero",
]


@pytest.mark.parametrize("answer", RUBBISH, ids=["no frame", "no record", "no line"])
def test_a_host_that_answers_rubbish_is_one_that_is_not_reached(
    ada: Any, run: Runner, store: Path, tmp_path: Path, answer: str
):
    """And the run goes on as soon as it answers well."""
    bad = tmp_path / "bad"
    # The worker is answered well, its near end is not.
    well = f'[ -e {bad}.seen ] || {{ touch {bad}.seen; exec $SSH "$@"; }}'
    line = f'{well}; [ -e {bad} ] && {{ {answer}; exit 0; }}; exec $SSH "$@"'
    env = script(tmp_path / "ssh", f"{line}")
    gate = gate_of(tmp_path)
    run_id = orphaned(ada, run, store, f"cat {gate}")
    gate.write_text("")
    bad.touch()
    worker = run.start("run", "poll", "--executor", HOST, as_=ADA, env=env)
    until(lambda: spool.unreached(folder_of(store, run_id)))
    near = spool.pid_of(folder_of(store, run_id))

    bad.unlink()

    assert ended(ada, run_id)["outcome"] == "succeeded"
    assert near == spool.pid_of(folder_of(store, run_id))
    worker.kill()
    worker.communicate()
