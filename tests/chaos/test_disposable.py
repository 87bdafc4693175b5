"""`.coord/local` may go at any moment, and lines may come in any order: same answers."""

import random
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos import agents, journals
from tests.chaos.agents import Agent
from tests.conftest import Runner

NOW = {"COORD_NOW_MS": "1890000000000"}


@pytest.fixture
def crowd() -> Iterator[list[Agent]]:
    started: list[Agent] = []
    yield started
    agents.kill_all(started)


@pytest.fixture
def remover(store: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing but remove `.coord/local`, again and again."""
    loop = 'while :; do rm -rf "$1"; sleep 0.03; done'
    process = subprocess.Popen(
        ["sh", "-c", loop, "sh", str(store / "local")], stderr=subprocess.DEVNULL
    )
    yield process
    process.kill()
    process.wait()


def materialized(run: Runner, *arguments: str, data: bytes = b"") -> str:
    return run.ok("ev", "materialize", "work", *arguments, input=data, env=NOW).out


def all_lines(store: Path) -> list[bytes]:
    return [line.data + b"\n" for line in journals.lines(store)]


def worked_on(run: Runner) -> list[str]:
    """A few items with a history of every kind."""
    ids = agents.create(run, [f"item {n}" for n in range(12)], labels=["load"], priority=1)
    for n, agent in enumerate(("agent:ada", "agent:bo", "agent:cy")):
        run.ok("wk", "claim", ids[n], as_=agent)
        run.ok("wk", "comment", ids[n], "on it", as_=agent)
        run.ok("wk", "update", ids[n + 3], "-p", "3", "--unlabel", "load", as_=agent)
    run.ok("wk", "close", ids[0], as_="agent:ada")
    run.ok("wk", "dep", "add", ids[6], "--needs", ids[1], as_="agent:bo")
    run.ok("wk", "claim", ids[7], "--ttl", "1s", "--key", "k", as_="agent:bo")
    run.ok("ev", "agent", "pause", "cy", "--why", "test", as_="human:kim")
    run.ok("ev", "emit", "build.done", "--ref", f"work_id={ids[2]}", as_="agent:ada")
    return ids


def test_without_local_the_fold_gives_the_same_bytes(run: Runner, store: Path):
    worked_on(run)
    before = materialized(run)

    for _ in range(3):
        shutil.rmtree(store / "local")

        assert materialized(run) == before


def test_a_pipe_of_all_journals_gives_the_same_bytes_in_any_order(run: Runner, store: Path):
    """Also when lines come twice, and when they come one journal after the other."""
    worked_on(run)
    stored = materialized(run)
    lines = all_lines(store)
    chance = random.Random(6)

    assert materialized(run, "-", data=b"".join(lines)) == stored
    for _ in range(5):
        several = [*lines, *chance.choices(lines, k=len(lines))]
        chance.shuffle(several)
        assert materialized(run, "-", data=b"".join(several)) == stored


def test_agents_at_work_do_not_notice_that_local_is_removed(
    run: Runner, store: Path, crowd: list[Agent], remover: subprocess.Popen[bytes]
):
    """One winner per claim, no traceback, and the index answers what the journals say."""
    trees = agents.worktrees(run.folder, 3)
    items = agents.create(run, [f"item {n}" for n in range(40)])
    notes = run.folder.parent / "notes"
    crowd += [Agent(run, f"a{n}", trees[n % 3], notes) for n in range(8)]
    writer = 'for n in 1 2 3 4 5 6; do "$0" create "more $n" --quiet || echo "$n: $?"; done'
    writers = [
        run.start("sh", "-c", writer, *run.command("wk"), as_=f"agent:w{n}") for n in range(3)
    ]

    while any(agent.process.poll() is None for agent in crowd):
        listed = run("wk", "list", "--limit", "3")
        assert listed.code in (0, 1), listed.err
        run.ok("ev", "materialize", "work")
    said = [process.communicate(timeout=120) for process in writers]
    assert remover.poll() is None
    remover.kill()
    remover.wait()

    assert "".join(err.decode() for _, err in said) == ""
    assert [len(out.splitlines()) for out, _ in said] == [6, 6, 6]
    assert "".join(agent.errors for agent in crowd) == ""
    assert {status for agent in crowd for status in agent.statuses} == {"claim: 1"}
    claims = Counter(e["refs"]["work_id"] for e in journals.events(store, "work.claimed"))
    assert set(items) <= set(claims)
    assert set(claims.values()) == {1}
    ids = journals.ids(store)
    assert all(row["event_id"] in ids for agent in crowd for row in agent.acknowledged)
    assert run("ev", "check").code == 0
    stored = materialized(run)
    assert materialized(run, "-", data=b"".join(all_lines(store))) == stored
    shutil.rmtree(store / "local", ignore_errors=True)
    assert materialized(run) == stored
