"""Write a large store straight as journals: `generate.py FOLDER [--items N] [--seed N]`.

FOLDER becomes a git repository with a `.coord` of N items and about 10 N events.
Rules: one seed, one store, byte for byte; every event is one that the tools could have
written, so the fold finds no problem; nothing of the package is used, only the format
that coord-journal(5) tells.

`generate.py FOLDER --visit` adds instead what a sync may bring: 1,000 events of a
writer on another clone, on 200 items, a quarter of them new.
"""

import argparse
import base64
import hashlib
import heapq
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

TOOLS = ("wk", "ev", "lease", "msg", "run")
SEGMENT_BYTES = 1 << 20
BEGIN_MS = 1_735_689_600_000  # 2025-01-01, so that every claim is over by now
ITEM_EVERY_MS = 200_000
MINUTE_MS = 60_000
DAY_MS = 1440 * MINUTE_MS
TTL_MS = 30 * MINUTE_MS
OPEN_SHARE = 0.1
VISITED = 200
BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
CROCKFORD = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ"
TO_CROCKFORD = bytes.maketrans(BASE32, CROCKFORD)

AGENTS = [f"agent:{name}" for name in "ada bo cy dee eli fay gus hal ivy joe".split()]
PEOPLE = ["human:lena", "human:omar"]
REPLICAS = ("k3f7qa", "m5zt2d", "x6wbny")
LABELS = "api backend cli docs flaky frontend parser perf security storage tests ux".split()
TYPES = ("task", "task", "task", "bug", "bug", "feature", "chore", "epic")
WORDS = (
    "the index reads a journal when another worktree writes while its lock is held and then "
    "answers slowly because every line was parsed again after the cache had been dropped so "
    "that users wait for a result which does not change until the next event comes in from "
    "some other clone or the remote refuses to answer within the time that was agreed on"
).split()
# What happens to an item before somebody takes it, and while it is held.
BEFORE = ("priority", "labels", "comment", "comment", "needs", "relates", "describe")
DURING = ("renewed", "renewed", "comment", "comment", "labels", "describe")


@dataclass(slots=True)
class Journal:
    """One writer's journal of one tool: its chain and the open segment's lines."""

    folder: Path
    writer: str
    seq: int = 0
    prev: str = ""
    number: int = 1
    lines: list[bytes] = field(default_factory=list)
    size: int = 0

    def add(self, event: dict[str, Any]) -> None:
        """Append one event; a segment that has reached its size is written out."""
        if self.size >= SEGMENT_BYTES:
            self.write()
            self.number += 1
        self.seq += 1
        event.update(writer=self.writer, seq=self.seq)
        if self.prev:
            event["prev"] = self.prev
        event["v"] = 1
        line = orjson.dumps(event)
        self.prev = hashlib.sha256(line).hexdigest()[:32]
        self.lines.append(line + b"\n")
        self.size += len(line) + 1

    def write(self) -> None:
        """Write the open segment."""
        if self.lines:
            path = self.folder / f"{self.writer}.{self.number:04d}.jsonl"
            path.write_bytes(b"".join(self.lines))
        self.lines, self.size = [], 0


@dataclass(slots=True)
class Item:
    """What must be known of an item to go on with it."""

    work_id: str
    is_open: bool
    steps: list[str]
    holder: str = ""
    lease_id: str = ""
    fence: int = 0
    # Which event set each field's current value; under "" the one that created it.
    values: dict[str, str] = field(default_factory=dict)


def event_id(time_ms: int, chance: int) -> str:
    """The ULID of a millisecond with 80 random bits."""
    # 50 bits are ten digits: base32 takes them as the first 50 of 80.
    digits = base64.b32encode((time_ms << 30).to_bytes(10, "big"))[:10]
    digits += base64.b32encode(chance.to_bytes(10, "big"))
    return digits.translate(TO_CROCKFORD).decode()


def stamp(time_ms: int) -> str:
    """RFC 3339 UTC with milliseconds."""
    seconds, rest = divmod(time_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"


def name(chance: random.Random, length: int) -> str:
    """A random lower-case base32 word."""
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz234567", k=length))


def text(chance: random.Random, words: int) -> str:
    """A sentence of about six characters a word."""
    return " ".join(chance.choices(WORDS, k=words)).capitalize()


def steps_of(chance: random.Random, is_open: bool) -> list[str]:
    """An item's life: created, talked about, then held once or twice; ten steps on average."""
    length = chance.randint(6, 14)
    before = chance.randint(1, length - 4)
    rest = length - 1 - before
    first = chance.randint(3, rest - 3) if rest >= 6 and chance.random() < 0.5 else 0
    rounds = [first, rest - first] if first else [rest]
    steps = ["created", *chance.choices(BEFORE, k=before)]
    for size in rounds:
        steps += ["claimed", *chance.choices(DURING, k=size - 2), "released"]
    if not is_open:
        steps[-1] = "closed"
    return steps


class World:
    """The items of a generated store and the chance that moves them."""

    def __init__(
        self, seed: int, agents: Sequence[str] = AGENTS, people: Sequence[str] = PEOPLE
    ) -> None:
        self.chance = random.Random(seed)
        self.agents, self.people = agents, people
        self.items: list[Item] = []
        self.unfinished: list[Item] = []

    def begin(self) -> Item:
        """A new item, with its life planned."""
        is_open = self.chance.random() < OPEN_SHARE
        item = Item(f"wk-{name(self.chance, 8)}", is_open, steps_of(self.chance, is_open)[::-1])
        self.items.append(item)
        if is_open:
            self.unfinished.append(item)
        return item

    def other(self, item: Item) -> str:
        """An item to link to: of an unfinished one, half the time another unfinished one."""
        candidates: Sequence[Item] = self.items[-2000:]
        if item.is_open and self.chance.random() < 0.5:
            candidates = self.unfinished[-200:]
        found = self.chance.choice(candidates)
        # Only an earlier item, so that needs never go round in a circle.
        return found.work_id if found is not item else ""

    def event(self, item: Item, step: str, now_ms: int, chance_bits: int) -> dict[str, Any]:
        """The next event of an item, without its place in a journal."""
        identity = event_id(now_ms, chance_bits)
        refs: dict[str, Any] = {"work_id": item.work_id}
        agent = item.holder or self.chance.choice(self.people if step == "created" else self.agents)
        if step == "claimed":
            item.holder, item.lease_id = agent, f"lease-{name(self.chance, 8)}"
            item.fence += 1
        if item.lease_id:
            refs["lease_id"] = item.lease_id
        if step in ("claimed", "renewed"):
            refs["resource"] = f"work:{item.work_id}"
        kind, body = self.fact(item, step, now_ms)
        if step == "created":
            item.values[""] = identity
        for changed in body.get("set", {}):
            if "" in item.values:
                body["base"] = {changed: item.values.get(changed, item.values[""])}
            item.values[changed] = identity
        if step in ("released", "closed"):
            item.holder = item.lease_id = ""
        return {
            "event_id": identity, "ts": stamp(now_ms), "project": "bench/generated", "type": kind,
            "actor": {"agent_id": agent}, "refs": refs, "body": body,
        }  # fmt: skip

    def fact(self, item: Item, step: str, now_ms: int) -> tuple[str, dict[str, Any]]:
        """A step's type and body."""
        chance = self.chance
        until = {"ttl_ms": TTL_MS, "expires_at_ms": now_ms + TTL_MS}
        match step:
            case "created":
                return "work.created", {
                    "title": text(chance, 7), "description": text(chance, 20),
                    "type": chance.choice(TYPES), "priority": chance.randint(0, 4),
                    "labels": chance.sample(LABELS, chance.randint(0, 2)),
                }  # fmt: skip
            case "priority":
                return "work.updated", {"set": {"priority": chance.randint(0, 4)}}
            case "describe":
                return "work.updated", {"set": {"description": text(chance, 20)}}
            case "labels":
                return "work.updated", {"add": {"labels": [chance.choice(LABELS)]}}
            case "needs" | "relates":
                target = self.other(item)
                if target:
                    return "work.linked", {"kind": step, "target": target}
            case "claimed":
                return "work.claimed", {"fence": item.fence, **until, "confirmed": "host"}
            case "renewed":
                return "work.renewed", until
            case "released":
                return "work.released", {}
            case "closed":
                return "work.closed", {"as": "done", "why": text(chance, 8)}
        return "work.commented", {"text": text(chance, 15)}


def lives(world: World, items: int) -> Iterator[tuple[int, Item, str]]:
    """Every step of every item with its instant, in order of time."""
    waiting: list[tuple[int, int, Item]] = []
    born = 0
    while waiting or born < items:
        next_birth = BEGIN_MS + born * ITEM_EVERY_MS
        if born < items and (not waiting or waiting[0][0] >= next_birth):
            heapq.heappush(waiting, (next_birth, born, world.begin()))
            born += 1
        now_ms, number, item = heapq.heappop(waiting)
        step = item.steps.pop()
        yield now_ms, item, step
        if item.steps:
            # What is held moves on before its time is over.
            pause_ms = 20 * MINUTE_MS if step == "claimed" or item.holder else 3 * DAY_MS
            heapq.heappush(waiting, (now_ms + world.chance.randint(1, pause_ms), number, item))


def writer_of(agent_id: str, replica: str) -> str:
    """A journal's name: `agent:ada` writes as `agent-ada.<replica>`."""
    return f"{agent_id.replace(':', '-')}.{replica}"


def fill(store: Path, items: int, seed: int) -> int:
    """Write the journals of a whole store; answers how many events."""
    make_folders(store)
    world = World(seed)
    journals = {
        agent: Journal(store / "wk", writer_of(agent, REPLICAS[number % len(REPLICAS)]))
        for number, agent in enumerate(AGENTS + PEOPLE)
    }
    last_ms = count = 0
    for at_ms, item, step in lives(world, items):
        # Ids grow with their milliseconds alone: no two events share one.
        last_ms = max(at_ms, last_ms + 1)
        event = world.event(item, step, last_ms, world.chance.getrandbits(80))
        journals[event["actor"]["agent_id"]].add(event)
        count += 1
    for journal in journals.values():
        journal.write()
    return count


def known_items(store: Path) -> list[str]:
    """The ids of all items created in a store."""
    found = []
    for path in sorted((store / "wk").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            if b'"work.created"' in line:
                found.append(orjson.loads(line)["refs"]["work_id"])
    return found


def visit(store: Path, seed: int, now_ms: int) -> int:
    """Append what another clone's writer did: five events on each of 200 items.

    now_ms: all ids are of this millisecond; the present one sorts after all there is.
    """
    # Another writer and other items each time, also in a store visited before.
    world = World(seed + now_ms, ["agent:far"], ["agent:far"])
    chance = world.chance
    journal = Journal(store / "wk", writer_of("agent:far", name(chance, 6)))
    new = ["created", "priority", "claimed", "comment", "closed"]
    old = ["priority", "comment", "labels", "describe", "comment"]
    visited = [
        *(Item(f"wk-{name(chance, 8)}", False, new) for _ in range(VISITED // 4)),
        *(
            Item(work_id, False, old)
            for work_id in chance.sample(known_items(store), VISITED * 3 // 4)
        ),
    ]
    steps = [(item, step) for item in visited for step in item.steps]
    for number, (item, step) in enumerate(steps):
        journal.add(world.event(item, step, now_ms, (number << 48) + chance.getrandbits(47)))
    journal.write()
    return len(steps)


def make_folders(store: Path) -> None:
    """The store's folders, in a repository of its own."""
    for tool in TOOLS:
        (store / tool).mkdir(parents=True, exist_ok=True)
    if not (store.parent / ".git").exists():
        subprocess.run(["git", "init", "--quiet", store.parent], check=True)


def main() -> None:
    """Generate what the command line asks for and say how much."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--visit", action="store_true", help="add events of another clone")
    asked = parser.parse_args()
    store = asked.folder.resolve() / ".coord"
    begun = time.perf_counter()
    if asked.visit:
        count = visit(store, asked.seed, time.time_ns() // 1_000_000)
    elif any((store / "wk").glob("*.jsonl")):
        sys.exit(f"generate: {store} has journals already")
    else:
        count = fill(store, asked.items, asked.seed)
    print(f"{count:,} events in {time.perf_counter() - begun:.1f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
