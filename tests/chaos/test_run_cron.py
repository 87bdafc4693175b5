"""Three hosts and one schedule: each tick once, none by who is cut off, missed ones by policy.

The hosts are clones of one remote, their clocks half a minute apart on either side; the
judge is a ledger that the commands write.
"""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import FROZEN_MS, Runner, _git

MINUTE_MS = 60_000
TICK_MS = 10 * MINUTE_MS
SKEWS_MS = (-30_000, 0, 30_000)
COMMAND = 'echo "$COORD_RUN" >> {ledger}'


class Hosts:
    """The clones, and what each is told."""

    def __init__(self, tmp_path: Path) -> None:
        _git(tmp_path, "init", "--quiet", "--bare", "hub.git")
        self.hub, self.ledger = tmp_path / "hub.git", tmp_path / "ledger"
        self.ledger.touch()
        self.runners = [Runner(tmp_path / f"host{number}") for number in range(len(SKEWS_MS))]
        for runner in self.runners:
            _git(tmp_path, "clone", "--quiet", str(self.hub), runner.folder.name)
            runner.ok("ev", "init", "--quiet")

    def clock(self, number: int, now_ms: int) -> dict[str, str]:
        return {"COORD_NOW_MS": str(now_ms + SKEWS_MS[number])}

    def request(self, *options: str) -> str:
        """A schedule that every host has heard of; every ten minutes."""
        words = ("run", "request", "--quiet", "--cron", "*/10 * * * *", *options)
        shell = COMMAND.format(ledger=self.ledger)
        asked = self.runners[1].ok(*words, "--shell", shell, as_="agent:ada", env=self.at(0))
        for number in (1, 0, 2):
            self.runners[number].ok("ev", "sync", as_=f"bot:w{number}")
        return asked.out.strip()

    def at(self, now_ms: int) -> dict[str, str]:
        return self.clock(1, FROZEN_MS + now_ms)

    def poll(self, now_ms: int, chance: random.Random) -> list[str]:
        """Let workers of all hosts look at the same time; what each says on stderr."""
        order = chance.sample(range(len(self.runners)), len(self.runners))
        started = [
            self.runners[n].start("run", "poll", "--drain", as_=f"bot:w{n}",
                                  env=self.clock(n, FROZEN_MS + now_ms))
            for n in order
        ]  # fmt: skip
        said = {n: one.communicate() for n, one in zip(order, started, strict=True)}
        return [said[n][1].decode() for n in sorted(said)]

    def cut_off(self, number: int, is_cut: bool) -> None:
        url = "/nowhere" if is_cut else str(self.hub)
        _git(self.runners[number].folder, "remote", "set-url", "origin", url)

    def fired(self) -> list[str]:
        return self.ledger.read_text().split()

    def ticks(self) -> list[int]:
        """Which ticks of the schedule the runs in the ledger are, in minutes."""
        for _ in range(2):
            for number, runner in enumerate(self.runners):
                runner.ok("ev", "sync", as_=f"bot:w{number}")
        listed = self.runners[0].ok("run", "list", "--status", "all", "--limit", "0", as_="bot:w0")
        at = {row["run_id"]: row["tick_ms"] for row in listed.lines if "tick_ms" in row}
        assert sorted(at) == sorted(self.fired())
        return sorted((tick - FROZEN_MS) // MINUTE_MS for tick in at.values())


@pytest.fixture
def hosts(tmp_path: Path) -> Hosts:
    return Hosts(tmp_path)


@pytest.fixture
def count(request: pytest.FixtureRequest) -> int:
    """How many ticks."""
    return 60 if request.config.getoption("--long") else 8


def test_each_tick_is_fired_once_and_none_by_who_is_cut_off(hosts: Hosts, count: int):
    """One is offline for an hour, or what of it fits; its clock is the one that is ahead."""
    chance = random.Random(20261121)
    schedule = hosts.request()
    before: Counter[str] = Counter()
    for tick in range(1, count + 1):
        if tick in (2, 8):
            hosts.cut_off(2, tick == 2)
        for after_ms in (-15_000, 35_000):
            said = hosts.poll(tick * TICK_MS + after_ms, chance)
            assert ("no schedule is fired here" in said[2]) <= (2 <= tick < 8)
        if tick == 3:
            why = hosts.runners[2](
                "run", "why", schedule, as_="bot:w2", env=hosts.at(tick * TICK_MS)
            )
            assert "cut_off" in {row["reason"] for row in why.lines}
        before = Counter(hosts.fired())

    assert set(before.values()) == {1}
    assert hosts.ticks() == [10 * tick for tick in range(1, count + 1)]
    for runner in hosts.runners:
        assert runner.ok("ev", "check", as_="bot:w0").code == 0


def test_who_alone_is_cut_off_fires_nothing(hosts: Hosts):
    hosts.request()
    for number in range(3):
        hosts.cut_off(number, True)

    said = hosts.poll(TICK_MS + 40_000, random.Random(1))

    assert all("no schedule is fired here" in text for text in said)
    assert hosts.fired() == []


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", []), ("once", [60]), ("all", [10, 20, 30, 40, 50, 60])]
)
def test_ticks_that_all_have_missed_are_made_up_for_by_the_policy(
    hosts: Hosts, policy: str, expected: list[int]
):
    """Nobody looks for an hour, and the newest tick is seven minutes late."""
    hosts.request("--catch-up", policy)

    hosts.poll(6 * TICK_MS + 7 * MINUTE_MS, random.Random(1))

    assert hosts.ticks() == expected


def test_a_cancelled_schedule_fires_nothing_more(hosts: Hosts):
    schedule = hosts.request()
    chance = random.Random(1)
    hosts.poll(TICK_MS + 35_000, chance)
    hosts.runners[0].ok("run", "cancel", schedule, as_="bot:w0", env=hosts.at(TICK_MS + 40_000))
    hosts.runners[0].ok("ev", "sync", as_="bot:w0")

    hosts.poll(2 * TICK_MS + 35_000, chance)

    assert len(hosts.fired()) == 1
