"""A repository with three linked worktrees, and commands run in them.

Rules: no setting of the person who runs the demo is read or changed; every process
that is started is ended, also when the demo is interrupted.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORKTREES = ("north", "east", "west")
ENDING_S = 5.0


class Scratch:
    """The scratch folder, and the environment to act in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.main = folder / "main"
        self.ledger = folder / "ledger"
        self.errors = folder / "errors"
        tools = Path(sys.executable).parent
        kept = {key: value for key, value in os.environ.items() if not key.startswith("COORD_")}
        self.environment = {**kept, "PATH": f"{tools}{os.pathsep}{kept['PATH']}"}

    def make(self) -> None:
        """Create the repository, its worktrees and its store."""
        self.main.mkdir()
        self.ledger.touch()
        self.run("git", "init", "--quiet")
        self.run("git", "config", "user.name", "Demo")
        self.run("git", "config", "user.email", "demo@example.invalid")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "Begin")
        for name in WORKTREES:
            self.run("git", "worktree", "add", "--quiet", f"../{name}")
        self.run("ev", "init")

    def run(self, *command: str, good: tuple[int, ...] = (0,)) -> str:
        """Run a command in the main worktree and answer its output; failing ends the demo."""
        done = subprocess.run(
            command, cwd=self.main, env=self.environment, capture_output=True, text=True
        )
        if done.returncode not in good:
            sys.exit(f"demo: {' '.join(command)}: exit {done.returncode}\n{done.stderr}")
        return done.stdout

    def lines(self, *command: str, good: tuple[int, ...] = (0,)) -> list[dict[str, Any]]:
        """Run a command that prints JSON Lines and answer them."""
        return [json.loads(line) for line in self.run(*command, good=good).splitlines()]

    @contextlib.contextmanager
    def started(self, name: str, where: str, *command: str) -> Iterator[subprocess.Popen[str]]:
        """A command running in a worktree as an agent; it has ended when the block is left."""
        # A process group of its own, so that ending it also ends what it started.
        with (
            self.errors.open("a") as errors,
            subprocess.Popen(
                command,
                cwd=self.folder / where,
                env={**self.environment, "COORD_AGENT": f"agent:{name}"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            try:
                yield process
            finally:
                end(process)


def end(process: subprocess.Popen[str]) -> None:
    """Ask a process and what it started to end, and insist after a while."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(ENDING_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
