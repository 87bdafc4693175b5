"""Runs at another host, which is this machine by ssh: asking for them, and looking at them."""

import os
import subprocess
from pathlib import Path
from typing import Any

from coord.edge.run import spool, tree
from tests.conftest import Runner

ADA = "agent:ada"
HOST = "ssh:127.0.0.1"
DEADLINE_S = 60.0


def by_ada(run: Runner) -> Any:
    """`ada(words…)`: a command of `run` by ada, in a repository with a file."""
    (run.folder / "a.txt").write_text("a\n")
    git(run.folder, "add", "a.txt")
    git(run.folder, "commit", "--quiet", "--message", "a file")
    return lambda *words, **options: run("run", *words, as_=ADA, **options)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def asked(ada: Any, line: str, *options: str) -> str:
    """The id of a new run that is to be executed at another host."""
    answer = ada("request", "--quiet", "--executor", "ssh", *options, "--shell", line)
    assert answer.code == 0, answer.err
    return str(answer.out.strip())


def drained(ada: Any, host: str = HOST) -> list[Any]:
    """What a worker of that host prints that goes on until nothing is left."""
    answer = ada("poll", "--drain", "--executor", host)
    assert answer.code == 0, answer.err
    return list(answer.lines)


def attempt_of(ada: Any, run_id: str) -> Any:
    return ada("show", run_id).json["attempts"][-1]


def folder_of(store: Path, run_id: str) -> str:
    return spool.folder_of(str(store / "local"), run_id, 1)


def connections(store: Path, run_id: str) -> set[int]:
    """The ssh processes of the near end of a run."""
    near = spool.pid_of(folder_of(store, run_id))
    return {pid for pid, parent in tree.living().items() if parent == near}


def far_folder(far: Path, run_id: str) -> str:
    """Where the attempt's files lie at the other host."""
    [found] = far.glob(f"*/attempts/{run_id}/1")
    return str(found)


def pretending(path: Path, line: str) -> dict[str, str]:
    """The environment in which ssh is a script: as the real one the first time, then this."""
    real = os.environ["GIT_SSH_COMMAND"]
    path.write_text(
        f'#!/bin/sh\n[ -e "$0.used" ] || {{ : > "$0.used"; exec {real} "$@"; }}\n{line}\n'
    )
    path.chmod(0o755)
    return {"GIT_SSH_COMMAND": str(path)}
