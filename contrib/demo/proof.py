"""Whether every ready item was done exactly once.

Rules: the proof compares two records that know nothing of each other: the ledger,
one line per piece of work that was really done, and the lines of the journals. What
was to be done is what the store listed as open before the agents began.
"""

import collections
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scratch import Scratch


@dataclass(frozen=True, slots=True)
class Check:
    """One statement of the proof, and the items it is not true of."""

    statement: str
    offenders: tuple[str, ...] = ()


def items(scratch: Scratch) -> dict[str, dict[str, Any]]:
    """The state of every work item, by id."""
    return {item["work_id"]: item for item in scratch.lines("ev", "materialize", "work")}


def open_items(state: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The items that are neither closed nor deleted."""
    return {
        work_id
        for work_id, item in state.items()
        if item["status"] != "closed" and "deleted" not in item
    }


def ledger(scratch: Scratch) -> list[tuple[str, str]]:
    """(agent, item) per piece of work done, in the order of doing."""
    lines = scratch.ledger.read_text().splitlines()
    return [(agent, item) for agent, _, item in (line.partition(" ") for line in lines)]


def events(scratch: Scratch, tool: str = "wk") -> Iterator[dict[str, Any]]:
    """Every event of a tool, about work items unless said, from the bare files."""
    for segment in sorted((scratch.main / ".coord" / tool).glob("*.jsonl")):
        for line in segment.read_text(encoding="utf-8").splitlines():
            yield json.loads(line)


def journal(scratch: Scratch, kind: str, agents: Iterable[str]) -> list[tuple[str, str]]:
    """(agent, item) per event of a type that these agents wrote, from the bare files."""
    wanted = set(agents)
    return [
        (event["actor"]["agent_id"], event["refs"]["work_id"])
        for event in events(scratch)
        if event["type"] == kind and event["actor"]["agent_id"] in wanted
    ]


def repeated(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """The items that occur more than once."""
    counts = collections.Counter(item for _, item in pairs)
    return tuple(sorted(item for item, count in counts.items() if count > 1))


def prove(scratch: Scratch, before: set[str], agents: Iterable[str]) -> list[Check]:
    """Every statement of the proof, true or not."""
    agents = tuple(agents)
    done = ledger(scratch)
    claims = journal(scratch, "work.claimed", agents)
    closes = journal(scratch, "work.closed", agents)
    worked = {item for _, item in done}
    left = open_items(items(scratch))
    ready = {item["work_id"] for item in scratch.lines("wk", "ready", "--json", good=(0, 1))}
    return [
        Check(f"the ledger names {len(worked)} items, none twice", repeated(done)),
        Check(
            f"the journals hold {len(claims)} claims, one for each of them, by the same agents",
            repeated(claims) + differing(claims, done),
        ),
        Check(
            f"the journals hold {len(closes)} closes, one for each of them, by the same agents",
            repeated(closes) + differing(closes, done),
        ),
        Check(
            f"of {len(before)} open items {len(worked)} are closed and {len(left)} left",
            tuple(sorted((before - worked) ^ left)),
        ),
        Check("nothing that is left is ready", tuple(sorted(ready))),
        *executed(scratch, done),
        *(between_clones(scratch) if scratch.has_remote else ()),
    ]


def executed(scratch: Scratch, done: list[tuple[str, str]]) -> list[Check]:
    """What must be true of the runs that did the work."""
    asked = {}
    ended = set()
    for event in events(scratch, "run"):
        if event["type"] == "run.requested":
            asked[event["refs"]["run_id"]] = event["actor"]["agent_id"], event["body"]["title"]
        elif event["type"] == "run.completed" and event["body"]["outcome"] == "succeeded":
            ended.add(event["refs"]["run_id"])
    good = [asked[run_id] for run_id in sorted(ended)]
    leased = [
        event["actor"]["agent_id"]
        for event in events(scratch, "lease")
        if event["type"] == "lease.acquire" and event["refs"]["resource"].startswith("path:")
    ]
    unequal = collections.Counter(leased)
    unequal.subtract(agent for agent, _ in done)
    return [
        Check(
            f"{len(good)} runs succeeded, one for each of them, by the same agents",
            repeated(good) + differing(good, done),
        ),
        Check(
            f"{len(leased)} leases of paths were held for them, one each",
            tuple(sorted(agent for agent, count in unequal.items() if count)),
        ),
    ]


def between_clones(scratch: Scratch) -> list[Check]:
    """What must be true where several clones took part."""
    now = f"{time.time_ns() // 1_000_000}"
    states = {
        clone.name: scratch.run(
            "env", f"COORD_NOW_MS={now}", "ev", "materialize", "work", where=clone
        )
        for clone in scratch.clones
    }
    first = states[scratch.main.name]
    advisory = [
        event["refs"]["work_id"]
        for event in events(scratch)
        if event["type"] == "work.claimed" and event["body"]["confirmed"] != "remote"
    ]
    return [
        Check("the remote decided every claim", tuple(sorted(advisory))),
        Check(
            f"{len(states)} clones have the same state, byte for byte",
            tuple(sorted(name for name, state in states.items() if state != first)),
        ),
    ]


def differing(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> tuple[str, ...]:
    """The items that only one record has, or that it gives to another agent."""
    return tuple(sorted({item for _, item in set(one) ^ set(other)}))
