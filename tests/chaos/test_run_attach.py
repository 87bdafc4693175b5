"""Following what runs print: the same bytes for everybody, however slow, and no tail lost."""

import hashlib
import json
import random
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Runner

PRINTS = (
    "import hashlib, os, sys\n"
    "digest, left = hashlib.sha256(), {size}\n"
    "while left:\n"
    "    data = os.urandom(min(left, 1 << 16)).hex().encode()[: min(left, 1 << 16)]\n"
    "    sys.stdout.buffer.write(data); digest.update(data); left -= len(data)\n"
    "sys.stdout.flush()\n"
    "open({hash!r}, 'w').write(digest.hexdigest())\n"
)
PIECE = 1 << 16


@pytest.fixture
def megabytes(request: pytest.FixtureRequest) -> int:
    return 100 if request.config.getoption("--long") else 8


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How many jobs that print and exit."""
    return 200 if request.config.getoption("--long") else 40


def follow(run: Runner, run_id: str, since: int) -> subprocess.Popen[bytes]:
    return run.start("run", "logs", run_id, "--follow", "--since", str(since), as_="bot:f")


def read_interrupted(run: Runner, run_id: str, chance: random.Random) -> bytearray:
    """All that a run prints, by a follower that is killed again and again and reads slowly."""
    data = bytearray()
    while True:
        follower = follow(run, run_id, len(data))
        assert follower.stdout is not None
        left = chance.randrange(1 << 20, 8 << 20)
        while left > 0 and (part := follower.stdout.read1(PIECE)):
            data += part
            left -= len(part)
        is_over = left > 0
        follower.kill()
        follower.communicate()
        if is_over:
            return data


def test_a_follower_that_is_slow_and_comes_back_reads_the_same_bytes(
    run: Runner, store: Path, tmp_path: Path, megabytes: int
):
    """Another follower reads nothing at all, and the command ends all the same."""
    told, size = tmp_path / "hash", megabytes << 20
    script = tmp_path / "prints.py"
    script.write_text(PRINTS.format(size=size, hash=str(told)))
    asked = run.ok("run", "request", "--quiet", "--", "python3", script, as_="agent:ada")
    run_id = asked.out.strip()
    worker = run.start("run", "poll", "--once", as_="bot:w")
    while not list((store / "local" / "logs" / run_id).glob("1/log")):
        assert worker.poll() is None
    stalled = follow(run, run_id, 0)
    try:
        data = read_interrupted(run, run_id, random.Random(20261121))
        assert worker.wait(120) == 0
    finally:
        stalled.kill()
        stalled.communicate()
        worker.kill()
        worker.communicate()

    assert len(data) == size
    assert hashlib.sha256(data).hexdigest() == told.read_text()
    shown = run.ok("run", "show", run_id, as_="bot:w").json
    assert shown["attempts"][0]["logs"]["bytes"] == size


def test_no_tail_is_lost_of_jobs_that_print_and_exit_at_once(run: Runner, store: Path, count: int):
    """Each prints its number ten thousand times; the last line is another one."""
    shell = "yes {n} | head -n 10000; printf 'end of {n}'; exit 3"
    lines = [json.dumps({"shell": shell.format(n=n), "title": str(n)}) for n in range(count)]
    run.ok("run", "request", "-", as_="agent:ada", input="\n".join(lines))

    run.ok("run", "poll", "--drain", "--max", "4", as_="bot:w")

    listed = run.ok("run", "list", "--status", "all", "--limit", "0", as_="bot:w").lines
    assert len(listed) == count
    for row in listed:
        n, log = row["title"], store / "local" / "logs" / row["run_id"] / "1" / "log"
        assert log.read_text() == f"{n}\n" * 10000 + f"end of {n}"
        assert row["exit_code"] == 3
