"""Kill -9 of workers, shims and commands: every run ends once, as it really happened.

The judge is a ledger that the commands write themselves: a line when one begins and a
line when it is about to exit. Some of them commit in a workspace: see `committing`.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from coord.edge.run import tree
from tests.chaos import committing
from tests.conftest import Runner

SEED = 20261121
DEADLINE_S = 90.0
JOB = (
    'echo "begin $COORD_RUN" >> {ledger}; sleep {nap}; echo "end $COORD_RUN" >> {ledger}; exit {n}'
)


@pytest.fixture
def size(request: pytest.FixtureRequest) -> int:
    """How many runs."""
    return 500 if request.config.getoption("--long") else 20


def requests(ledger: Path, count: int, chance: random.Random) -> str:
    """Runs of which every other may be repeated, every fifth exits with 3, some commit."""
    lines = []
    for number in range(count):
        nap, status = round(chance.uniform(0, 0.2), 3), 3 if number % 5 == 0 else 0
        line = {"shell": JOB.format(ledger=ledger, nap=nap, n=status), "title": str(status)}
        if number % 4 > 1:
            merges = int(number % 8 > 3)
            job = committing.JOB.format(ledger=ledger, nap=nap, n=status, merges=merges)
            line |= {"shell": job, "repo_ref": "HEAD"}
        if number % 2:
            line |= {"idempotent": True, "crash_max": 50}
        lines.append(json.dumps(line))
    return "\n".join(lines)


class Victims:
    """Two workers, and whatever they have started."""

    def __init__(self, run: Runner, store: Path) -> None:
        self._run, self._logs = run, store / "local" / "logs"
        self.workers: list[subprocess.Popen[bytes]] = []

    def hire(self) -> None:
        """Let there be two workers that live."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.workers.append(self._run.start("run", "poll", "--max", "2", as_="bot:w", **quiet))

    def shims(self) -> list[int]:
        """The shims that live."""
        living = tree.living()
        named = [path.read_text().strip() for path in self._logs.glob("*/*/lock")]
        return [int(pid) for pid in named if pid and is_shim(int(pid), living)]

    def strike(self, chance: random.Random) -> None:
        """Kill a worker, a shim, a command, or one of each."""
        kind = chance.choice(["worker", "nursery", "shim", "job", "all"])
        shims = self.shims()
        jobs = [pid for pid, parent in tree.living().items() if parent in shims]
        if kind in ("worker", "all"):
            kill(chance.choice(self.workers).pid)
        if kind in ("nursery", "all"):
            kill(chance.choice(nurseries_of([worker.pid for worker in self.workers]) or [0]))
        if kind in ("shim", "all") and shims:
            kill(chance.choice(shims))
        if kind in ("job", "all") and jobs:
            kill(chance.choice(jobs))


def is_shim(pid: int, living: dict[int, int]) -> bool:
    """Whether a process is a shim; the number may be another's by now."""
    if pid not in living:
        return False
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "run-shim"
    except OSError:
        return False


def nurseries_of(workers: list[int]) -> list[int]:
    """The processes that start the shims of these workers."""
    return [pid for pid, parent in tree.living().items() if parent in workers]


def kill(pid: int) -> None:
    if not pid:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def unfinished(run: Runner) -> int:
    return len(run("run", "list", "--limit", "0", as_="bot:w").lines)


def test_every_run_ends_once_as_it_happened_whoever_is_killed(
    run: Runner, store: Path, tmp_path: Path, size: int
):
    """No run that must not be repeated is, none is stuck, and no success is made up."""
    chance = random.Random(SEED)
    ledger = tmp_path / "ledger"
    ledger.touch()
    run.ok("run", "request", "-", as_="agent:ada", input=requests(ledger, size, chance))
    deadline_s = DEADLINE_S * (1 if size < 100 else 20)
    worked_off(run, Victims(run, store), chance, size * 2 // 5, deadline_s)

    assert judged(run, ledger, size) == []
    assert git_is_sound(run)


def worked_off(
    run: Runner, victims: Any, chance: random.Random, strikes: int, deadline_s: float
) -> None:
    """Let the workers go on, struck now and then, until every run has ended; then end them."""
    ends_at = time.monotonic() + deadline_s
    try:
        victims.hire()
        for _ in range(strikes):
            time.sleep(chance.uniform(0.05, 0.6))
            victims.strike(chance)
            victims.hire()
        while unfinished(run):
            if time.monotonic() > ends_at:
                raise AssertionError(run("run", "list", as_="bot:w").out)
            victims.hire()
            time.sleep(0.2)
    finally:
        for worker in victims.workers:
            worker.kill()
            worker.communicate()


def all_runs(run: Runner) -> list[Any]:
    """Every run, whole."""
    listed = run.ok("run", "list", "--status", "all", "--limit", "0", as_="bot:w").lines
    return [run.ok("run", "show", row["run_id"], as_="bot:w").json for row in listed]


def judged(run: Runner, ledger: Path, size: int) -> list[str]:
    """What the outcomes and the ledger say against each other."""
    said = Counter(ledger.read_text().splitlines())
    rows = all_runs(run)
    assert len(rows) == size
    judge = committing.Judge(run.folder, ledger)
    return [fault for row in rows for fault in (*faults_of(row, said), *judge.faults_of(row))]


def git_is_sound(run: Runner) -> bool:
    """Whether git finds nothing wrong, and the user's own tree was left alone."""
    run.ok("git", "fsck", "--connectivity-only")
    return run.ok("git", "status", "--porcelain", "--untracked-files=no").out == ""


def faults_of(row: dict, said: Counter[str]) -> list[str]:
    """What is wrong with how one run ended."""
    run_id, how = row["run_id"], row["outcome"]
    begun, ended = said[f"begin {run_id}"], said[f"end {run_id}"]
    last = row["attempts"][-1]
    found = []
    is_unmade = how == "infra_error" and "repo_ref" in row and not begun
    if how not in ("succeeded", "failed", "signaled", "lost") and not is_unmade:
        found.append(f"{run_id} is {how}: {last}")
    if begun > 1 and not row.get("idempotent"):
        found.append(f"{run_id} ran {begun} times")
    if how in ("succeeded", "failed") and not ended:
        found.append(f"{run_id} is {how} and never came to its end")
    if how in ("succeeded", "failed") and str(last["exit_code"]) != row["title"]:
        found.append(f"{run_id} is {how} with {last['exit_code']}")
    if how == "lost" and row.get("idempotent") and "commit" not in last:
        found.append(f"{run_id} is lost within its crash budget")
    if how == "signaled" and last["signal"] != signal.SIGKILL:
        found.append(f"{run_id} got signal {last['signal']}")
    return found
