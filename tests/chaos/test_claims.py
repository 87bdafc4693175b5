"""`--confirm remote`: one winner at most, told to all, whatever is killed and whoever's clock.

Against one bare remote, through the installed commands. `--long` takes 200 rounds.
"""

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.chaos import agents, claiming, journals, sync_clones
from tests.chaos.agents import Agent
from tests.chaos.claiming import REMOTE, Asked
from tests.chaos.sync_clones import MINUTE_MS, Clone
from tests.conftest import Runner

RACERS = 8
ITEMS = 40
# What the remote does before it takes the first push: the other clone is faster.
OVERTAKING = """#!/bin/sh
[ ! -e {once} ] || exit 0
: > {once}
cd {tree} || exit
env -i PATH="$PATH" GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null COORD_AGENT={agent} sh -c \\
    '{wk} claim {item} --confirm remote && {wk} close {item} && {ev} sync' > {once}.out 2>&1
echo $? > {once}
"""


@pytest.fixture
def rounds(request: pytest.FixtureRequest) -> int:
    """How often the clones race."""
    return 200 if request.config.getoption("--long") else 10


def assert_alike(clones: Sequence[Clone]) -> None:
    """All have synced: one state, nothing damaged, the remote whole."""
    late_ms = sync_clones.later_ms(60)
    found = sync_clones.settle(clones, late_ms)
    found += sync_clones.faults(clones, (), late_ms + MINUTE_MS)
    assert not found, "\n".join(found)


def claims_of(clone: Clone, item: str) -> list[str]:
    """Who claimed an item, by the journals of a clone."""
    events = journals.events(clone.store, "work.claimed")
    return [e["actor"]["agent_id"] for e in events if e["refs"]["work_id"] == item]


@pytest.mark.parametrize(
    ("name", "skews_min", "slow"),
    [
        ("one clock", [0] * RACERS, 0),
        ("4 min apart", [-2, 2] * (RACERS // 2), 0),
        ("10 min apart", [-5] * 4 + [5] * 4, 4),
    ],
    ids=["one-clock", "4-min-apart", "10-min-apart"],
)
def test_of_clones_that_claim_at_once_one_wins_and_the_others_are_told_its_name(
    tmp_path: Path, rounds: int, name: str, skews_min: list[int], slow: int
):
    """Ten minutes apart the slow clocks may say that they cannot know: exit 7."""
    clones = claiming.clones_of(tmp_path, [minutes * MINUTE_MS for minutes in skews_min])
    may_be_ahead = [clone.name for clone in clones[:slow]]
    raced: list[list[Asked]] = []

    for item in claiming.items_known_to_all(clones, rounds):
        raced.append(claiming.race(clones, item))
        assert not (found := [*claiming.faults_of(raced[-1], may_be_ahead)]), found

    print("\n" + claiming.figures(name, raced))
    assert_alike(clones)
    for item, asked in zip(known_items(clones[0]), raced, strict=True):
        assert claims_of(clones[0], item) == [one.agent for one in asked if one.has_won]


def known_items(clone: Clone) -> list[str]:
    """All items in the order in which they were made."""
    return [event["refs"]["work_id"] for event in journals.events(clone.store, "work.created")]


@pytest.mark.parametrize("between", [False, True], ids=["anywhere", "between-swap-and-append"])
def test_what_a_killed_claim_may_have_won_is_given_back_by_its_writers_next_command(
    tmp_path: Path, rounds: int, between: bool
):
    """Half are killed at random, or all in the moment in which one has won."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"\nseed {seed}")
    chance = random.Random(seed)
    *clones, fresh = claiming.clones_of(tmp_path, [0] * (RACERS + 1))
    raced: list[list[Asked]] = []
    ends: Counter[str] = Counter()

    for item in claiming.items_known_to_all([*clones, fresh], rounds):
        if between:
            asked = claiming.race(clones, item, kill_when=claiming.record_of(tmp_path, item))
        else:
            asked = claiming.race(clones, item, claiming.delays(chance, clones, 1.5))
        raced.append(asked)
        assert sum(one.has_won for one in asked) <= 1, asked
        names = {one.agent for one in asked}
        for one in asked:
            told = one.ended.error.get("holder") in names
            assert one.ended.killed or one.has_won or (one.ended.code == 5 and told), one
        ends[recover(chance, item, asked, fresh)] += 1

    print(claiming.figures("killed", raced), dict(ends))
    assert_alike([*clones, fresh])


def recover(chance: random.Random, item: str, asked: Sequence[Asked], fresh: Clone) -> str:
    """Let the killed clones go on and a fresh one claim; answers what there was to give back."""
    killed = [one.clone for one in asked if one.ended.killed]
    for clone in killed:
        next_words = chance.choice([("ev", "sync"), ("wk", "comment", item, "here again")])
        clone.ok(*next_words)
    holders = [one.clone for one in asked if one.clone.agent in claims_of(one.clone, item)]
    assert len(holders) <= 1, f"{item}: {[clone.name for clone in holders]} have recorded it"
    for clone in holders:
        held = fresh.do("wk", "claim", item, *REMOTE)
        assert (held.code, held.error.get("holder")) == (5, clone.agent), held
        clone.ok("wk", "release", item)
        clone.ok("ev", "sync")

    taken = fresh.ok("wk", "claim", item, *REMOTE).rows[0]

    assert taken["confirmed"] == "remote"
    if not holders:
        return "nobody held it"
    return "its winner held it" if any(one.has_won for one in asked) else "a killed one held it"


def test_a_confirmed_hold_passes_on_only_when_released_or_seen_unchanged_for_its_ttl(
    tmp_path: Path,
):
    """A renewal changes the record, so who waits begins to wait anew."""
    ada, bo = claiming.clones_of(tmp_path, [0, 0])
    first, second = claiming.items_known_to_all([ada, bo], 2)
    taken = ada.ok("wk", "claim", first, *REMOTE, "--ttl", "4s").rows[0]
    for _ in range(3):
        refused = bo.do("wk", "claim", first, *REMOTE, "--ttl", "4s")
        assert (refused.code, refused.error["holder"]) == (5, ada.agent), refused
        ada.ok("wk", "renew", first, "--ttl", "4s")
    assert bo.do("wk", "claim", first, *REMOTE).code == 5
    time.sleep(4.5)

    passed = bo.ok("wk", "claim", first, *REMOTE).rows[0]
    late = ada.do("wk", "close", first)
    again = ada.do("wk", "renew", first)
    ada.ok("wk", "claim", second, *REMOTE)
    ada.ok("wk", "release", second)
    released = bo.do("wk", "claim", second, *REMOTE)

    assert passed["fence"] > taken["fence"]
    assert (late.code, again.code) == (5, 5), (late, again)
    assert released.code == 0, released
    assert_alike([ada, bo])


def test_a_confirmed_claim_ends_an_advisory_one_whose_holder_is_told(tmp_path: Path):
    """The other clone did not know of it; its next sync and its next command say so."""
    ada, bo = claiming.clones_of(tmp_path, [0, 0])
    (item,) = claiming.items_known_to_all([ada, bo], 1)
    ada.ok("wk", "claim", item)

    bo.ok("wk", "claim", item, *REMOTE)
    told = ada.ok("ev", "sync").rows[0]["lost"]
    refused = ada.do("wk", "close", item)

    assert [(row["work_id"], row["holder"]) for row in told] == [(item, bo.agent)]
    assert refused.code == 5, refused
    assert_alike([ada, bo])


def test_who_was_overtaken_learns_what_happened_before_it_asks_again(tmp_path: Path):
    """The other clone claims, closes and lets go in the moment in which our swap arrives."""
    ada, bo = claiming.clones_of(tmp_path, [0, 0])
    (item,) = claiming.items_known_to_all([ada, bo], 1)
    hook = tmp_path / "remote.git" / "hooks" / "pre-receive"
    told = {"once": tmp_path / "once", "tree": bo.folder, "agent": bo.agent, "item": item}
    hook.write_text(OVERTAKING.format(**told, wk=bo.command("wk"), ev=bo.command("ev")))
    hook.chmod(0o755)

    refused = ada.do("wk", "claim", item, *REMOTE)

    assert (tmp_path / "once").read_text() == "0\n"
    assert refused.code == 5, refused
    assert_alike([ada, bo])
    events = journals.events(ada.store, "work.claimed")
    assert [e["actor"]["agent_id"] for e in events] == [bo.agent]


@pytest.fixture
def crowd() -> Iterator[list[Agent]]:
    """Agents, none of which outlives the test."""
    started: list[Agent] = []
    yield started
    agents.kill_all(started)


def test_eight_loops_in_worktrees_of_two_clones_finish_a_backlog(
    tmp_path: Path, crowd: list[Agent]
):
    """By confirmed claims alone; each item is claimed and closed exactly once."""
    clones = claiming.clones_of(tmp_path, [0, 0])
    for clone in clones:
        clone.add_worktrees(4)
    items = claiming.items_known_to_all(clones, ITEMS)
    trees = [tree for pair in zip(*(clone.trees[1:] for clone in clones), strict=True)
             for tree in pair]  # fmt: skip
    began = time.monotonic()

    # Exit 7 is no end: whoever was told to try again does.
    going = dict(enumerate(trees))
    while going:
        again = start(crowd, tmp_path / "notes", going)
        agents.wait(again.values())
        going = {n: trees[n] for n, agent in again.items() if agent.statuses[-1] != "claim: 1"}
        assert all(agent.statuses[-1] in ("claim: 1", "claim: 7") for agent in again.values()), [
            (agent.statuses, agent.errors[-500:]) for agent in again.values()
        ]

    print(f"\n{ITEMS} items in {time.monotonic() - began:.1f} s, {len(crowd)} loops begun")
    assert_alike(clones)
    for kind in ("work.claimed", "work.closed"):
        events = [*journals.events(clones[0].store, kind)]
        written = Counter(e["refs"]["work_id"] for e in events)
        twice = [e for e in events if written[e["refs"]["work_id"]] > 1]
        assert written == Counter(items), twice
    told = Counter(row["work_id"] for agent in crowd for row in agent.acknowledged
                   if row["type"] == "work.closed")  # fmt: skip
    assert told == Counter(items)


def start(crowd: list[Agent], notes: Path, trees: dict[int, Path]) -> dict[int, Agent]:
    """A loop in each worktree, under the number of its agent."""
    begun = {}
    for number, tree in trees.items():
        folder = notes / str(len(crowd))
        begun[number] = Agent(Runner(tree), f"a{number}", tree, folder, " ".join(REMOTE))
        crowd.append(begun[number])
    return begun
