"""Many agents work off one backlog from linked worktrees, also when they are killed.

The judges are what the commands printed (the agents' ledgers) and the journals, read
without the package. `--long` takes 1,000 created items instead of a few.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import agents, journals
from tests.chaos.agents import Agent
from tests.conftest import Runner

AGENTS = 20


@pytest.fixture
def crowd() -> Iterator[list[Agent]]:
    """Agents, none of which outlives the test."""
    started: list[Agent] = []
    yield started
    agents.kill_all(started)


def start(
    crowd: list[Agent], run: Runner, trees: list[Path], count: int, **options: Any
) -> list[Agent]:
    """Start agents, spread over the worktrees."""
    notes = run.folder.parent / "notes"
    for _ in range(count):
        number = len(crowd)
        crowd.append(Agent(run, f"a{number}", trees[number % len(trees)], notes, **options))
    return crowd[-count:]


def claimed(crowd: list[Agent]) -> Counter[str]:
    """How often each item was claimed, by what the commands printed."""
    rows = [row for agent in crowd for row in agent.acknowledged]
    return Counter(row["work_id"] for row in rows if row["type"] == "work.claimed")


def unfinished(run: Runner) -> list[dict[str, Any]]:
    answer = run("wk", "list", "--limit", "0")
    return answer.lines if answer.out else []


def assert_claims_in_turn(store: Path) -> None:
    """Of each item's claims, none begins before the one before it is over."""
    running: dict[str, tuple[int, str]] = {}
    for event in journals.events(store):
        work_id = event["refs"].get("work_id", "")
        if event["type"] == "work.claimed":
            until_ms, holder = running.get(work_id, (0, ""))
            assert journals.time_ms(event) >= until_ms, f"{work_id} was still {holder}'s"
            running[work_id] = event["body"]["expires_at_ms"], event["actor"]["agent_id"]
        elif event["type"] == "work.closed":
            assert running[work_id][1] == event["actor"]["agent_id"], f"{work_id}: {event}"
            running[work_id] = (0, "")


def test_twenty_agents_claim_every_ready_item_exactly_once(
    run: Runner,
    store: Path,
    crowd: list[Agent],
    beads_file: Path,
    request: pytest.FixtureRequest,
):
    """None is left, and the only error is exit 1 at the end."""
    count = 1000 if request.config.getoption("--long") else 150
    trees = agents.worktrees(run.folder, 3)
    run.ok("wk", "import", "--from", "beads", beads_file, as_="human:kim")
    agents.create(run, [f"item {n}" for n in range(count)])
    before = {row["work_id"] for row in unfinished(run)}
    began = time.monotonic()

    agents.wait(start(crowd, run, trees, AGENTS))

    seconds = time.monotonic() - began
    times = claimed(crowd)
    print(f"\n{len(times)} items in {seconds:.1f} s: {len(times) / seconds:.1f} claims/s")
    left = unfinished(run)
    assert run("wk", "ready").code == 1
    assert not any(row.get("ready") for row in left)
    assert set(times) == before - {row["work_id"] for row in left}
    assert len(times) > count
    assert set(times.values()) == {1}
    assert "".join(agent.errors for agent in crowd) == ""
    assert [agent.statuses for agent in crowd] == [["claim: 1"]] * AGENTS
    written = Counter(e["refs"]["work_id"] for e in journals.events(store, "work.claimed"))
    assert written == times
    assert run("ev", "check").code == 0


def test_what_killed_agents_held_is_done_by_others_and_nothing_told_is_lost(
    run: Runner, store: Path, crowd: list[Agent], request: pytest.FixtureRequest
):
    """Kill -9 at any moment; a claim of the dead ends when its time is over."""
    count, kills = (1000, 100) if request.config.getoption("--long") else (60, 10)
    trees = agents.worktrees(run.folder, 3)
    items = agents.create(run, [f"item {n}" for n in range(count)])
    options = {"claim_options": "--ttl 4s"}
    chance = random.Random(4)
    doomed = start(crowd, run, trees, 3, work="kill -9 $$", **options)
    agents.wait(doomed)
    living = start(crowd, run, trees, AGENTS - len(doomed), **options)
    for _ in range(kills):
        time.sleep(chance.uniform(0.05, 0.4))
        living.pop(chance.randrange(len(living))).kill()
        living += start(crowd, run, trees, 1, **options)

    rounds = 0
    while rounds < 20 and unfinished(run):
        agents.wait(living)
        rounds += 1
        # What the dead hold comes free when its time is over, and not before.
        time.sleep(1)
        living = start(crowd, run, trees, 4, **options)
    agents.wait(living)

    assert unfinished(run) == []
    ids = journals.ids(store)
    told = [row for agent in crowd for row in agent.acknowledged]
    assert [row for row in told if row["event_id"] not in ids] == []
    assert_claims_in_turn(store)
    again = Counter(e["refs"]["work_id"] for e in journals.events(store, "work.claimed"))
    again.subtract(items)
    print(f"\n{kills + len(doomed)} killed, {len(told)} acknowledgements, "
          f"{len(+again)} items claimed again")  # fmt: skip
    closed = Counter(e["refs"]["work_id"] for e in journals.events(store, "work.closed"))
    assert closed == Counter(items)
    orphaned = {row["work_id"] for agent in doomed for row in agent.acknowledged}
    assert len(orphaned) == len(doomed)
    holders = {e["refs"]["work_id"]: e["actor"]["agent_id"]
               for e in journals.events(store, "work.closed")}  # fmt: skip
    assert not {holders[work_id] for work_id in orphaned} & {f"agent:{a.name}" for a in doomed}
    assert not any("Traceback" in agent.errors for agent in crowd)
    assert {row["code"] for row in run("ev", "check").lines} <= {"unreadable"}
