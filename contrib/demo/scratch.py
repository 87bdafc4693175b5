"""Clones of a repository, each with three linked worktrees, and commands run in them.

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
    """The scratch folder, and the environment to act in it.

    clones: their main working trees. worktrees: all linked ones, of each clone in turn.
    """

    def __init__(self, folder: Path, clones: int) -> None:
        self.folder = folder
        suffixes = ["", *(f"-{number}" for number in range(2, clones + 1))]
        self.clones = [folder / f"main{suffix}" for suffix in suffixes]
        self.worktrees = [name + suffix for name in WORKTREES for suffix in suffixes]
        self.main = self.clones[0]
        self.ledger = folder / "ledger"
        self.errors = folder / "errors"
        tools = Path(sys.executable).parent
        kept = {key: value for key, value in os.environ.items() if not key.startswith("COORD_")}
        self.environment = {**kept, "PATH": f"{tools}{os.pathsep}{kept['PATH']}"}

    @property
    def has_remote(self) -> bool:
        """Whether the clones meet at a remote."""
        return len(self.clones) > 1

    def make(self) -> None:
        """Create the repository, its clones with their worktrees and their stores."""
        self.main.mkdir()
        self.ledger.touch()
        self.run("git", "init", "--quiet")
        self._introduce(self.main)
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "Begin")
        if self.has_remote:
            self.run("git", "clone", "--quiet", "--bare", ".", "../remote.git")
            self.run("git", "remote", "add", "origin", "../remote.git")
        for clone in self.clones[1:]:
            self.run("git", "clone", "--quiet", "../remote.git", f"../{clone.name}")
            self._introduce(clone)
        for number, name in enumerate(self.worktrees):
            clone = self.clones[number % len(self.clones)]
            self.run("git", "worktree", "add", "--quiet", f"../{name}", where=clone)
        for clone in self.clones:
            self.run("ev", "init", where=clone)

    def _introduce(self, clone: Path) -> None:
        self.run("git", "config", "user.name", "Demo", where=clone)
        self.run("git", "config", "user.email", "demo@example.invalid", where=clone)

    def sync(self) -> None:
        """Let every clone have what the others have."""
        if self.has_remote:
            for clone in [*self.clones, *self.clones[:-1]]:
                self.run("ev", "sync", "--as", "human:demo", where=clone)

    def run(self, *command: str, good: tuple[int, ...] = (0,), where: Path | None = None) -> str:
        """Run a command and answer its output; failing ends the demo.

        where: the main worktree of the first clone unless it is said.
        """
        done = subprocess.run(
            command,
            cwd=where or self.main,
            env=self.environment,
            capture_output=True,
            text=True,
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
