"""Leases under load: many processes, one resource, and holders that die.

What happens inside is written to one file, line by line. The proof of exclusion is in its
order: the lines of one fence stand together, and fences only grow.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from coord.core import event as events
from tests.conftest import Runner

TTL_MS = 4000
BIN = Path(sys.executable).parent
# Read, think, write: without a lock, increments are lost at once.
COUNT = 'n=$(cat counter); echo "$COORD_FENCE" >> log; echo $((n + 1)) > counter'
STEPS = (
    'echo "$COORD_FENCE in $PPID" >> log; for i in 1 2 3 4 5 6; do sleep 0.05;'
    ' echo "$COORD_FENCE step" >> log; done; echo "$COORD_FENCE out" >> log'
)


def worker(run: Runner, number: int, times: int, body: str, *options: str) -> Any:
    """A process that runs a command under the lease again and again; killed ones count."""
    script = (
        f"for i in $(seq {times}); do lease exec env:counter --wait {' '.join(options)}"
        ' -- sh -c "$BODY" || [ $? = 137 ] || exit 1; done'
    )
    env = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "BODY": body}
    return run.start("bash", "-c", script, as_=f"agent:w{number}", env=env)


def finish(workers: list[Any]) -> None:
    for one in workers:
        _, err = one.communicate(timeout=3600)
        assert one.returncode == 0, err.decode()


def fences_in(log: Path) -> list[int]:
    return [int(line.split()[0]) for line in log.read_text().splitlines()]


def assert_one_at_a_time(log: Path) -> None:
    """Once a later fence has begun nothing of an earlier one happens any more."""
    fences = fences_in(log)
    assert fences == sorted(fences)


def test_no_increment_is_lost_between_many_processes(
    run: Runner, store: Path, request: pytest.FixtureRequest
):
    """8 processes x 10; 20 x 200 with --long. All are one agent's in every third process."""
    count, times = (20, 200) if request.config.getoption("--long") else (8, 10)
    (run.folder / "counter").write_text("0\n")

    finish([worker(run, number % (count - 2), times, COUNT) for number in range(count)])

    assert (run.folder / "counter").read_text() == f"{count * times}\n"
    fences = fences_in(run.folder / "log")
    assert fences == sorted(set(fences))
    assert run("lease", "list", as_="agent:x").code == 1
    assert run("ev", "check").code == 0


@pytest.mark.parametrize("killed", ["holder", "everything"])
def test_no_two_are_inside_when_holders_are_killed(
    run: Runner, store: Path, request: pytest.FixtureRequest, killed: str
):
    """A killed holder's command is ended by the keeper; where that is killed too, the TTL frees."""
    kills = 10 if request.config.getoption("--long") else 3
    chance = random.Random(killed)
    log = run.folder / "log"
    workers = [worker(run, n, 2 + kills, STEPS, "--ttl", f"{TTL_MS}ms") for n in range(4)]
    for _ in range(kills):
        kill_inside(log, chance, everything=killed == "everything")
    finish(workers)

    assert_one_at_a_time(log)
    assert_freed_in_time(run)


def kill_inside(log: Path, chance: random.Random, everything: bool) -> None:
    """Kill -9 whoever is inside, at some moment."""
    time.sleep(chance.uniform(0.5, 2))
    while True:
        lines = log.read_text().splitlines() if log.exists() else []
        inside = [line for line in lines if " in " in line]
        if inside and not lines[-1].endswith("out"):
            break
        time.sleep(0.01)
    holder = int(inside[-1].split()[2])
    children = _children(holder)
    for pid in (holder, *(children if everything else ())):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def assert_freed_in_time(run: Runner) -> None:
    """What a dead holder left is taken soon after the end of what it was promised.

    Nobody waits on a clock that ticks now and then: the slack is the machine's load.
    """
    freed_ms, waited = 0, []
    for raw in run.ok("ev", "list", "--type", "lease.*", "--limit", "0").lines:
        at_ms = events.time_of(raw["event_id"])
        if raw["type"] == "lease.acquire":
            waited += [at_ms - freed_ms] if freed_ms else []
            freed_ms = raw["body"]["expires_at_ms"]
        elif raw["type"] == "lease.renew":
            freed_ms = raw["body"]["expires_at_ms"]
        else:
            freed_ms = at_ms
    print(f"\nfree until taken, in ms: {sorted(waited)}")
    assert max(waited) <= TTL_MS


def test_a_holder_that_slept_past_its_time_is_stopped_by_its_fence(run: Runner, store: Path):
    """The resource keeps the largest fence it has seen and takes nothing older."""
    (run.folder / "fence").write_text("0\n")
    write = (
        'if [ "$COORD_FENCE" -ge "$(cat fence)" ]; then echo "$COORD_FENCE" > fence;'
        ' echo "$COORD_FENCE wrote" >> log; else echo "$COORD_FENCE refused" >> log; fi'
    )
    slow = f'trap "" TERM; touch ready; while [ ! -e go ]; do sleep 0.1; done; {write}'
    old = run.start("lease", "exec", "env:a", "--ttl", "2s", "--", "sh", "-c", slow, as_="agent:o")
    _until(run.folder / "ready")
    asleep = [old.pid, *_children(old.pid)]
    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)

    run.ok("lease", "exec", "env:a", "--wait", "--", "sh", "-c", write, as_="agent:n")
    (run.folder / "go").touch()
    for pid in asleep[::-1]:
        os.kill(pid, signal.SIGCONT)
    old.communicate(timeout=60)

    assert old.returncode == 5
    assert (run.folder / "log").read_text().splitlines() == ["2 wrote", "1 refused"]


def _until(path: Path) -> None:
    for _ in range(1200):
        if path.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{path} did not come")


def test_the_line_serves_all_and_leaves_nothing_behind(run: Runner, store: Path):
    """Ten waiters for overlapping paths, started at once."""
    (run.folder / "src").mkdir()
    body = 'echo "$COORD_FENCE" >> log; sleep 0.05; echo "$COORD_FENCE" >> log'
    globs = ["path:src/**", "path:src/*.py", "path:src/a*", "path:**/a.py", "path:src/a.py"] * 2
    waiters: list[subprocess.Popen[bytes]] = [
        run.start("lease", "exec", glob, "--wait", "--", "sh", "-c", body, as_=f"agent:w{n}")
        for n, glob in enumerate(globs)
    ]
    finish(waiters)

    fences = fences_in(run.folder / "log")
    assert fences[::2] == fences[1::2]
    assert sorted(fences[::2]) == list(range(1, 11))
    assert list((store / "local" / "waiting").iterdir()) == []
