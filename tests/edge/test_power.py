"""When the power goes: what was acknowledged is on the disk, and both repositories are whole.

A file system in a file takes the place of the disk. The call with which ext4 shuts down at
once, without writing anything that it still has in memory, takes the place of the power.
What the kernel had not been made to write by then is gone, as it would be on a real disk.
"""

import contextlib
import fcntl
import json
import os
import random
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import Answer, Runner

_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
_WITHOUT_THE_LOG = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
IMAGE_BYTES = 192 << 20
TRIES = 600
SAFE = "committed,loose-object,reference"
ROUNDS, LONG_ROUNDS = 4, 200


class Disk:
    """A file system of its own, whose power can be cut."""

    def __init__(self, folder: Path) -> None:
        self.image = folder / "disk.img"
        self.root = folder / "disk"
        self.root.mkdir()
        with open(self.image, "wb") as stream:
            stream.truncate(IMAGE_BYTES)
        self._try("mkfs.ext4", "-q", "-F", str(self.image))
        self.mount()

    def _try(self, *words: str) -> None:
        try:
            done = subprocess.run(words, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip(f"needs {words[0]}")
        if done.returncode:
            pytest.skip(f"needs the right to {words[0]}: {done.stderr.strip()}")

    def mount(self) -> None:
        """Turn it on; the file system recovers by its own log."""
        self._try("mount", "-o", "loop", str(self.image), str(self.root))

    def log(self) -> None:
        """Write the file system's log: names and sizes, but not the contents behind them.

        A disk does so every few seconds, and contents that nobody waits for up to half a
        minute later.
        """
        with open(self.root / "log", "wb") as stream:
            os.fsync(stream.fileno())

    def cut(self) -> None:
        """Cut the power: from now on nothing is written."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _WITHOUT_THE_LOG))
        except OSError as error:
            pytest.skip(f"needs ext4's shutdown call: {error.strerror}")
        finally:
            os.close(descriptor)

    def settle(self) -> None:
        """Write everything: what comes next is all that can be lost."""
        subprocess.run(["sync", "-f", self.root], check=True)

    def come_back(self) -> None:
        """The power is there again."""
        self.unmount()
        self.mount()

    def unmount(self) -> None:
        """Turn it off; what still runs there has to end first."""
        for _ in range(TRIES):
            if subprocess.run(["umount", self.root], capture_output=True).returncode == 0:
                return
            time.sleep(0.05)
        raise AssertionError("something still uses the disk")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that is unmounted at the end, whatever happens."""
    opened = Disk(tmp_path)
    try:
        yield opened
    finally:
        with contextlib.suppress(AssertionError):
            opened.unmount()


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    return LONG_ROUNDS if request.config.getoption("--long") else ROUNDS


def bare(folder: Path) -> Path:
    """A remote that waits for its disk, as a hosting service does."""
    subprocess.run(["git", "init", "--quiet", "--bare", folder], check=True)
    subprocess.run(["git", "-C", folder, "config", "core.fsync", SAFE], check=True)
    return folder


def clone(remote: Path, folder: Path, agent: str) -> Runner:
    """A clone with a store that has synced."""
    subprocess.run(["git", "init", "--quiet", folder], check=True)
    subprocess.run(["git", "-C", folder, "remote", "add", "origin", remote], check=True)
    subprocess.run(["git", "-C", folder, "config", "coord.agent", agent], check=True)
    made = Runner(folder)
    made.ok("ev", "init")
    made.ok("ev", "sync")
    return made


def until_dark(
    disk: Disk, run: Runner, commands: Sequence[Sequence[str]], after_s: float, logged: bool
) -> list[Answer]:
    """Run commands one after the other, and cut the power after so many seconds.

    logged: just behind a moment at which the file system has written its log.
    Returns how those ended that had ended before.
    """
    begun, answers = time.monotonic(), []
    for words in commands:
        process = run.start(*words)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, begun + after_s - time.monotonic()))
        if process.returncode is None:
            _go_dark(disk, logged)
            process.kill()
            process.communicate()
            break
        out, err = process.communicate()
        answers.append(Answer(process.returncode, out.decode(), err.decode()))
    else:
        _go_dark(disk, logged)
    disk.come_back()
    return answers


def _go_dark(disk: Disk, logged: bool) -> None:
    if logged:
        disk.log()
    disk.cut()


def as_its_keeper_would(remote: Path) -> None:
    """Take away what a git that died has locked: git itself leaves that to people."""
    for path in remote.rglob("*.lock"):
        path.unlink()


def events_in(run: Runner) -> set[str]:
    """The ids of all events in the journals that can be read, from the bare files."""
    found = set()
    for path in run.folder.glob(".coord/*/*.jsonl"):
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):
                found.add(json.loads(line)["event_id"])
    return found


def assert_whole(repository: Path) -> None:
    """Git finds every object that a ref needs, and none of them damaged."""
    done = subprocess.run(
        ["git", "-C", repository, "fsck", "--full", "--strict", "--no-dangling"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, f"{repository}: {done.stdout}{done.stderr}"


def test_what_a_write_acknowledged_survives_a_power_cut(disk: Disk, tmp_path: Path, rounds: int):
    """Also with the index, the replica's name and half a line lost on the way."""
    run = clone(bare(tmp_path / "remote.git"), disk.root / "ours", "agent:ada")
    disk.settle()
    chance = random.Random(1)
    acknowledged: set[str] = set()
    for number in range(rounds):
        commands = [("wk", "create", f"item {number} {n}") for n in range(20)]
        answers = until_dark(disk, run, commands, chance.uniform(0.1, 1.0), number % 2 == 0)
        acknowledged |= {answer.json["event_id"] for answer in answers}

        assert acknowledged <= events_in(run)
        run.ok("wk", "create", f"after {number}")
    assert acknowledged, "no write had ended in any round"
    run.ok("ev", "sync")


@pytest.mark.parametrize("where", ["elsewhere", "on the same disk"])
def test_a_sync_is_finished_by_the_next_one_after_a_power_cut(
    disk: Disk, tmp_path: Path, rounds: int, where: str
):
    """What the remote had accepted, it has, unless it went dark itself.

    Then git may have forgotten the push, for it does not wait for a ref's new name; the
    journal that was pushed has not, and the next sync pushes it again.
    """
    remote = bare((tmp_path if where == "elsewhere" else disk.root) / "remote.git")
    ours = clone(remote, disk.root / "ours", "agent:ada")
    theirs = clone(remote, tmp_path / "theirs", "agent:bo")
    chance = random.Random(where)
    took_s = sync_time_s(ours)
    for number in range(rounds):
        pending = events_of(theirs, number) | events_of(ours, number)
        theirs.ok("ev", "sync")
        disk.settle()
        after_s = chance.uniform(0.2, 1.3) * took_s
        answers = until_dark(disk, ours, [("ev", "sync")], after_s, number % 2 == 0)

        as_its_keeper_would(remote)
        assert_whole(ours.folder)
        assert_whole(remote)
        if answers and where == "elsewhere":
            theirs.ok("ev", "sync")
            assert pending <= events_in(theirs), "an acknowledged push is gone"
        assert not ours.ok("ev", "sync").json["problems"]
        theirs.ok("ev", "sync")
        assert pending <= events_in(ours)
        assert pending <= events_in(theirs)
        assert materialized(ours) == materialized(theirs)


def sync_time_s(run: Runner) -> float:
    """How long a sync with something to do takes here."""
    run.ok("wk", "create", "first")
    begun = time.monotonic()
    run.ok("ev", "sync")
    return time.monotonic() - begun


def events_of(run: Runner, number: int) -> set[str]:
    """New items, acknowledged; some with a text that is kept as a blob."""
    lines = [{"title": f"item {number}.{n}"} for n in range(20)]
    lines.append({"title": "long", "description": f"{number} " * 40_000})
    batch = "".join(json.dumps(line) + "\n" for line in lines)
    return {row["event_id"] for row in run.ok("wk", "create", "-", input=batch).lines}


def materialized(run: Runner) -> str:
    """The state of all items, at one moment for everybody."""
    return run.ok("ev", "materialize", "work", env={"COORD_NOW_MS": "4000000000000"}).out
