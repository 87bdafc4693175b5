"""Kill -9 and SIGSTOP at both ends of an ssh connection: every run ends once, as it happened.

The judge is the ledger that the commands write, as in `test_run`. Whatever is stopped goes on
after a moment: what stays stopped for ever is the kernel's to explain.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from coord.edge.run import tree
from tests.bench import tunnel
from tests.chaos.test_run import all_runs, faults_of, kill, requests, worked_off
from tests.conftest import Runner

SEED = 20261122
DEADLINE_S = 120.0
HOST = "ssh:127.0.0.1"
KINDS = ("worker", "guard", "near", "ssh", "sshd-session", "far", "shim", "far-guard", "job")


@pytest.fixture
def size(request: pytest.FixtureRequest) -> int:
    """How many runs."""
    return 200 if request.config.getoption("--long") else 16


@pytest.fixture
def far(tmp_path: Path) -> Iterator[Path]:
    """The other host, which is this machine by ssh: the folder of its state."""
    if not tunnel.SSHD:
        pytest.skip("needs sshd")
    with tunnel.other_host(tmp_path / "far") as state:
        yield state


class Victims:
    """Two workers of the other host, and whatever they have started, here and there."""

    def __init__(self, run: Runner, store: Path, far: Path) -> None:
        self._run, self._logs, self._far = run, store / "local" / "logs", far
        self.workers: list[subprocess.Popen[bytes]] = []

    def hire(self) -> None:
        """Let there be two workers that live."""
        self.workers = [worker for worker in self.workers if worker.poll() is None]
        while len(self.workers) < 2:
            words = ("poll", "--max", "3", "--executor", HOST)
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self.workers.append(self._run.start("run", *words, as_="bot:w", **quiet))

    def kinds(self) -> dict[str, list[int]]:
        """The processes that live, by what they are."""
        living = tree.living()
        near = holders(self._logs, "*/*/lock", living, "run-near")
        shims = holders(self._far, "*/attempts/*/*/lock", living, "run-shim")
        links = [pid for pid, above in living.items() if above in near]
        ends = [pid for pid in living if is_far_end(pid, self._far)]
        return {
            "worker": [worker.pid for worker in self.workers],
            "guard": [living[pid] for pid in near if living[pid] > 1],
            "near": near,
            "ssh": links,
            "far": ends,
            "sshd-session": [living[pid] for pid in ends if living[pid] > 1],
            "shim": shims,
            "far-guard": [living[pid] for pid in shims if living[pid] > 1],
            "job": [pid for pid, above in living.items() if above in shims],
        }

    def strike(self, chance: random.Random) -> None:
        """Kill or stop one of a kind, or kill one of each."""
        kinds = self.kinds()
        kind = chance.choice([*KINDS, "all", "all there"])
        if kind in KINDS:
            for pid in kinds[kind][:1]:
                how = kill if chance.random() < 0.7 else stopped_for_a_moment
                how(pid)
            return
        for name in KINDS if kind == "all" else KINDS[4:]:
            for pid in kinds[name][:2]:
                kill(pid)


def stopped_for_a_moment(pid: int) -> None:
    for number, pause_s in ((signal.SIGSTOP, 0.7), (signal.SIGCONT, 0.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        time.sleep(pause_s)


def is_far_end(pid: int, far: Path) -> bool:
    """Whether a process is what a connection has started there; its shims look alike."""
    with contextlib.suppress(OSError):
        about = Path(f"/proc/{pid}")
        is_there = os.fsencode(far.parent) in (about / "environ").read_bytes()
        is_booted = b"exec(b.read(" in (about / "cmdline").read_bytes()
        return is_there and is_booted and called(pid).startswith("python")
    return False


def holders(folder: Path, names: str, living: dict[int, int], name: str) -> list[int]:
    """The living processes that hold the locks of attempts, and are called so."""
    found = [path.read_text().strip() for path in folder.glob(names)]
    return [int(pid) for pid in found if pid and int(pid) in living and called(int(pid)) == name]


def called(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def test_every_run_ends_once_as_it_happened_whoever_is_killed_at_either_end(
    run: Runner, store: Path, far: Path, tmp_path: Path, size: int
):
    """No run that must not be repeated is, none is stuck, no success is made up."""
    chance = random.Random(SEED)
    ledger = tmp_path / "ledger"
    ledger.touch()
    asked = [json.loads(line) for line in requests(ledger, size, chance).splitlines()]
    lines = "\n".join(json.dumps({**one, "requires": ["executor:ssh"]}) for one in asked)
    run.ok("run", "request", "-", as_="agent:ada", input=lines)
    deadline_s = DEADLINE_S * (1 if size < 100 else 10)
    worked_off(run, Victims(run, store, far), chance, size * 3 // 4, deadline_s)

    said = Counter(ledger.read_text().splitlines())
    rows = all_runs(run)
    assert [fault for row in rows for fault in faults_of(row, said)] == []
    assert len(rows) == size
