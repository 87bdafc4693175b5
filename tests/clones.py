"""A store for tests of the edge: what is written in it, refused by it and folded from it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coord.core.draft import Author, Draft
from coord.core.fold import Folded, fold
from coord.edge import index, journal, writing
from coord.edge.index import reading
from coord.edge.store import Place
from coord.errors import Refusal
from tests.strategies import START_MS, of

SKEW_MS = 10_000
LAST = {"now": 3_600_000}


class Clone:
    """A `.coord` folder in a folder of its own; instants are ms after `START_MS`."""

    def __init__(self, folder: Path, git_dir: str = "") -> None:
        self.place = Place(str(folder / ".coord"), str(folder), git_dir)
        self.store = folder / ".coord"

    def write(
        self, *drafts: Draft, by: str = "ada", session: str = "", now: int = 0, won: str = ""
    ) -> list[Mapping[str, Any]]:
        """Write a batch; answer its events as acknowledged, `duplicate` among their keys.

        won: a nonce with which this process has swapped the remote's record.
        """
        agent_id = by if ":" in by else f"agent:{by}"
        with writing.desk(
            self.place,
            Author(agent_id, session, "team/project"),
            START_MS + now,
            lambda _: writing.Settings(SKEW_MS),
        ) as desk:
            desk.won = frozenset({won})
            written = [desk.take(draft) for draft in drafts]
            desk.write()
        return [{**w.raw, "duplicate": True} if w.is_duplicate else dict(w.raw) for w in written]

    def refusal(self, *drafts: Draft, **how: Any) -> Refusal:
        """What a batch is refused with; nothing of it is written."""
        before = self.bytes()
        with pytest.raises(Refusal) as refused:
            self.write(*drafts, **how)
        assert self.bytes() == before
        return refused.value

    def bytes(self) -> dict[str, bytes]:
        """Every segment with what it holds."""
        found = sorted(self.store.glob("*/*.jsonl"))
        return {str(path.relative_to(self.store)): path.read_bytes() for path in found}

    def lines(self) -> list[Mapping[str, Any]]:
        """Every line that the reader uses, read without an index."""
        groups = reading.journals(journal.segments(str(self.store)))
        return [
            line.raw
            for group in groups
            for part in reading.settled_journal(group)
            for line in part.lines
            if line.raw is not None
        ]

    def folded(self, now: int = LAST["now"]) -> Folded:
        """The fold of all lines, without an index."""
        return fold(of(self.lines()), START_MS + now)

    def state(self, entity: str, now: int = LAST["now"]) -> dict[str, Any]:
        """One entity as the index has it, which must be as the fold has it."""
        with index.opened(str(self.store), START_MS + now) as known:
            found = known.state(entity)
        assert found == self.folded(now).states.get(entity, {})
        return found

    def status(self, item: str) -> str:
        """The stored status of an item."""
        return str(self.state(f"work/{item}")["status"])


def create(item: str = "wk-a", key: str = "", **body: Any) -> Draft:
    """An item comes to be."""
    return Draft("work.created", {"work_id": item}, {"title": item, **body}, key=key)


def claim(item: str = "wk-a", fence: int = 1, ttl: int = 60_000, **parts: Any) -> Draft:
    """A claim; `lease` and every key of a body may be given by name."""
    lease, key = parts.pop("lease", f"lease-{fence}"), parts.pop("key", "")
    refs = {"work_id": item, "resource": f"work:{item}", "lease_id": lease}
    body = {"fence": fence, "ttl_ms": ttl, "confirmed": "host", **parts}
    return Draft("work.claimed", refs, body, key=key)


def say(verb: str, item: str = "wk-a", lease: str = "", key: str = "", **body: Any) -> Draft:
    """Any other event of an item."""
    refs = {"work_id": item, **({"lease_id": lease} if lease else {})}
    return Draft(f"work.{verb}", refs, body, key=key)


def link(item: str, kind: str, target: str) -> Draft:
    """One item points at another."""
    return say("linked", item, kind=kind, target=target)


def agent(verb: str, who: str, **body: Any) -> Draft:
    """An event of an agent."""
    return Draft(f"agent.{verb}", {"agent_id": who}, body)
