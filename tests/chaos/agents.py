"""Agents that claim, work and close until nothing is ready, as processes of their own.

Each is a shell loop over the installed commands and leads a process group, so that all
of it can be killed at once. What the commands print goes straight to its ledger: a line
there is an acknowledgement, whatever happened to the agent afterwards.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.conftest import Runner

DEADLINE_S = 1800.0
# Exit 1: nothing is ready. Exit 5 of a close: somebody has taken it over by now.
_LOOP = """
while :; do
    "$WK" claim --next $CLAIM_OPTIONS >"$NOTES/claim" 2>>"$NOTES/errors"; status=$?
    cat "$NOTES/claim" >>"$NOTES/ledger"
    [ $status -eq 0 ] || break
    id=$(sed 's/.*"work_id":"\\([^"]*\\)".*/\\1/' "$NOTES/claim")
    eval "$WORK"
    "$WK" close "$id" --as done >>"$NOTES/ledger" 2>>"$NOTES/errors" ||
        echo "close: $?" >>"$NOTES/statuses"
done
echo "claim: $status" >>"$NOTES/statuses"
"""


class Agent:
    """One loop: where it runs, and the folder that keeps what it was told.

    work: a shell command between claim and close.
    """

    def __init__(
        self,
        run: Runner,
        name: str,
        tree: Path,
        notes: Path,
        claim_options: str = "",
        work: str = ":",
    ) -> None:
        self.name, self.notes = name, notes / name
        self.notes.mkdir(parents=True)
        environment = run.environment(
            f"agent:{name}",
            {
                "WK": run.command("wk")[0],
                "CLAIM_OPTIONS": claim_options,
                "WORK": work,
                "NOTES": str(self.notes),
            },
        )
        self.process = subprocess.Popen(
            ["sh", "-c", _LOOP], cwd=tree, env=environment, start_new_session=True
        )

    def kill(self) -> None:
        """Kill -9 the loop and the command it is running."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    @property
    def acknowledged(self) -> list[dict[str, Any]]:
        """Every acknowledgement that a command printed, once."""
        text = self._text("ledger") + self._text("claim")
        # A killed `cat` leaves half a line, which stands whole in `claim`.
        whole = [line for line in text.splitlines() if line.endswith("}")]
        rows = [json.loads(line) for line in whole if line.startswith('{"event_id"')]
        return [*{row["event_id"]: row for row in rows}.values()]

    def _text(self, name: str) -> str:
        file = self.notes / name
        return file.read_text() if file.exists() else ""

    @property
    def statuses(self) -> list[str]:
        """How the loop and its closes ended, but for success."""
        return self._text("statuses").splitlines()

    @property
    def errors(self) -> str:
        """Everything on stderr."""
        return self._text("errors")


def wait(agents: Iterable[Agent], deadline_s: float = DEADLINE_S) -> None:
    """Wait until every agent has found nothing ready."""
    end = time.monotonic() + deadline_s
    for agent in agents:
        agent.process.wait(timeout=max(1.0, end - time.monotonic()))


def kill_all(agents: Iterable[Agent]) -> None:
    """Leave no process behind, however a test ended."""
    for agent in agents:
        agent.kill()


def worktrees(repo: Path, count: int) -> list[Path]:
    """Linked worktrees of a repository, beside it."""
    made = [repo.parent / f"tree{n}" for n in range(count)]
    for path in made:
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", path], cwd=repo, check=True
        )
    return made


def create(run: Runner, titles: Sequence[str], **fields: Any) -> list[str]:
    """Create items in one batch; answer their ids."""
    text = "".join(json.dumps({"title": title, **fields}) + "\n" for title in titles)
    answer = run.ok("wk", "create", "-", input=text, as_="human:kim")
    return [row["work_id"] for row in answer.lines]
