"""What agents do at random: one table of operations, each the words of one command."""

import json
import random
import string
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

# Some agents work from everywhere, so that keys, sessions and holds meet across clones.
ROAMING = ("agent:roam", "human:kim")
_TITLES = ("fix the login", "ärger mit Umlauten", "write the page", "a\tb", "日本語", "tidy up")


class Words(NamedTuple):
    """A command and what it reads from stdin.

    imports: the ids of items that it brings in; it prints no event ids.
    """

    words: tuple[str, ...]
    data: bytes = b""
    imports: tuple[str, ...] = ()


class Pool:
    """The items that an agent may name: made in its clone, made anywhere, held by it.

    everywhere: a clone may not know them yet.
    """

    def __init__(
        self,
        everywhere: list[str],
        agents: list[str],
        confirm: Sequence[str],
        here: list[str] | None = None,
    ) -> None:
        self.everywhere, self.agents, self.confirm = everywhere, agents, confirm
        self.here: list[str] = [] if here is None else here
        self.held: list[str] = []
        self._of: dict[str, Pool] = {}

    def of(self, agent: str) -> "Pool":
        """The same for one agent of the clone."""
        if agent not in self._of:
            self._of[agent] = Pool(self.everywhere, self.agents, self.confirm, self.here)
        return self._of[agent]

    def add(self, row: Mapping[str, object]) -> None:
        """Note what an acknowledgement says."""
        work_id = str(row.get("work_id"))
        if row.get("type") == "work.created":
            self.here.append(work_id)
            self.everywhere.append(work_id)
        elif row.get("type") == "work.claimed":
            self.held.append(work_id)

    def item(self, chance: random.Random) -> str:
        """One item, recent ones more often, so that clones meet at it."""
        items = self.here if self.here and chance.random() < 0.5 else self.everywhere
        if not items:
            return "wk-none"
        return chance.choice(items[-12:] if chance.random() < 0.7 else items)

    def mine(self, chance: random.Random) -> str:
        """An item that the agent has claimed before, mostly."""
        if not self.held or chance.random() < 0.2:
            return self.item(chance)
        return chance.choice(self.held[-3:])


Operation = Callable[[random.Random, Pool], Words]


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(string.ascii_lowercase, k=6))


def create(chance: random.Random, pool: Pool) -> Words:
    words = ["wk", "create", f"{chance.choice(_TITLES)} {_word(chance)}", "-p", _digit(chance)]
    if chance.random() < 0.3:
        words += ["--label", chance.choice("abc")]
    if pool.everywhere and chance.random() < 0.2:
        words += ["--parent", pool.item(chance)]
    return Words(tuple(words))


def create_keyed(chance: random.Random, _pool: Pool) -> Words:
    """The same request from several clones makes one item."""
    number = chance.randrange(20)
    return Words(("wk", "create", f"keyed {number}", "--key", f"key-{number}"))


def create_many(chance: random.Random, _pool: Pool) -> Words:
    rows = [{"title": f"batch {_word(chance)}", "priority": n % 5} for n in range(8)]
    return Words(("wk", "create", "-"), _lines(rows))


def import_some(chance: random.Random, _pool: Pool) -> Words:
    """Some ids meet across clones, with other content."""
    ids = tuple(f"im-{chance.randrange(200):04d}" for _ in range(5))
    rows = [{"work_id": x, "title": f"import {_word(chance)}"} for x in dict.fromkeys(ids)]
    return Words(("wk", "import", "--from", "jsonl", "-"), _lines(rows), ids)


def update(chance: random.Random, pool: Pool) -> Words:
    changes = [
        ("-p", _digit(chance)), ("--title", _word(chance)), ("--label", chance.choice("abcd")),
        ("--unlabel", chance.choice("abcd")), ("--assignee", chance.choice(["bo", "cy"])),
        ("--type", chance.choice(["bug", "chore"])), ("--description", _word(chance) * 50),
    ]  # fmt: skip
    return Words(("wk", "update", pool.item(chance), *chance.choice(changes)))


def claim(chance: random.Random, pool: Pool) -> Words:
    how = ("--confirm", chance.choice(pool.confirm)) if pool.confirm else ()
    ttl = chance.choice(["2s", "20s", "10m", "30m"])
    which = "--next" if chance.random() < 0.3 else pool.item(chance)
    return Words(("wk", "claim", which, "--ttl", ttl, *how))


def comment(chance: random.Random, pool: Pool) -> Words:
    # A long one does not fit into a line and becomes a blob.
    text = _word(chance) * (12_000 if chance.random() < 0.05 else 3)
    return Words(("wk", "comment", pool.item(chance), "-"), text.encode())


def emit(chance: random.Random, pool: Pool) -> Words:
    ref = f"work_id={pool.item(chance)}"
    return Words(("ev", "emit", f"chaos.{_word(chance)}", "--ref", ref, "--body", '{"n":1}'))


def emit_many(chance: random.Random, _pool: Pool) -> Words:
    rows = [{"type": "chaos.batch", "body": {"n": n, "word": _word(chance)}} for n in range(20)]
    return Words(("ev", "emit", "-"), _lines(rows))


def link(chance: random.Random, pool: Pool) -> Words:
    kind = chance.choice(["--needs", "--relates", "--parent"])
    verb = "rm" if chance.random() < 0.3 else "add"
    return Words(("wk", "dep", verb, pool.item(chance), kind, pool.item(chance)))


def handoff(chance: random.Random, pool: Pool) -> Words:
    to = chance.choice(pool.agents)
    return Words(("wk", "handoff", pool.mine(chance), "--to", to, "--why", "my session ends"))


def hold(chance: random.Random, pool: Pool) -> Words:
    item = pool.item(chance)
    if chance.random() < 0.5:
        return Words(("wk", "hold", item, "--lift", "--why", "enough"))
    return Words(("wk", "hold", item, "--on", "human:kim", "--why", "needs the budget"))


def configure(chance: random.Random, _pool: Pool) -> Words:
    return Words(("ev", "config", "set", "claim.ttl_ms", f"{chance.randrange(10, 60)}m"))


class OnItem(NamedTuple):
    """A verb whose only argument is an item; mine: one that the agent holds."""

    verb: str
    options: tuple[str, ...] = ()
    mine: bool = False

    def __call__(self, chance: random.Random, pool: Pool) -> Words:
        item = pool.mine(chance) if self.mine else pool.item(chance)
        return Words(("wk", self.verb, item, *self.options))


# How often each is drawn, in relation to the others.
OPERATIONS: Mapping[Operation, int] = {
    create: 8, create_keyed: 2, create_many: 1, import_some: 2, update: 10, claim: 10,
    comment: 6, emit: 6, emit_many: 1, link: 4, handoff: 3, hold: 2, configure: 1,
    OnItem("close", mine=True): 4, OnItem("release", mine=True): 4, OnItem("renew", mine=True): 4,
    OnItem("submit", mine=True): 2, OnItem("reopen"): 2, OnItem("accept"): 3,
    OnItem("decline", ("--why", "no time")): 1, OnItem("verify", ("--pass",)): 2,
}  # fmt: skip


def draw(chance: random.Random, pool: Pool) -> Words:
    """The next thing that somebody does."""
    operation = chance.choices([*OPERATIONS], [*OPERATIONS.values()])[0]
    return operation(chance, pool)


def _digit(chance: random.Random) -> str:
    return str(chance.randrange(5))


def _lines(rows: Sequence[Mapping[str, object]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()
