"""Clones that ask for one item at once, what each was told, and how long it took."""

import hashlib
import random
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import NamedTuple

from tests.chaos import sync_clones
from tests.chaos.sync_clones import Clone, Ended

REMOTE = ("--confirm", "remote")


def record_of(folder: Path, item: str) -> Path:
    """The file of an item's record in the remote, as long as no ref is packed there."""
    name = hashlib.sha256(f"work:{item}".encode()).hexdigest()[:32]
    return folder / "remote.git" / "refs" / "coord" / "hold" / name


class Asked(NamedTuple):
    """One clone's part in a race; swaps: how often it tried to move the record."""

    clone: Clone
    ended: Ended
    seconds: float
    swaps: int

    @property
    def agent(self) -> str:
        """Who asked."""
        return self.clone.agent

    @property
    def has_won(self) -> bool:
        """Whether it was told that it holds the item, confirmed by the remote."""
        rows = self.ended.rows
        return bool(rows) and rows[0].get("confirmed") == "remote"


def clones_of(folder: Path, skews_ms: Sequence[int]) -> list[Clone]:
    """A remote and a clone for each clock."""
    remote = sync_clones.bare_remote(folder / "remote.git")
    return [
        sync_clones.clone_of(remote, folder / f"c{number}", skew_ms)
        for number, skew_ms in enumerate(skews_ms)
    ]


def items_known_to_all(clones: Sequence[Clone], count: int) -> list[str]:
    """Items made by the clone with the slowest clock, so that none is early for anybody."""
    slowest = min(clones, key=_skew)
    rows = "".join(f'{{"title":"item {number}"}}\n' for number in range(count))
    made = slowest.ok("wk", "create", "-", data=rows.encode()).rows
    for clone in (slowest, *clones):
        clone.ok("ev", "sync")
    return [row["work_id"] for row in made]


def _skew(clone: Clone) -> int:
    return clone.skew_ms


def race(
    clones: Sequence[Clone],
    item: str,
    kills: Mapping[str, float] | None = None,
    kill_when: Path | None = None,
) -> list[Asked]:
    """All claim one item at the same moment.

    kills: after how many seconds which clones are killed. kill_when: all of them are, as
    soon as there is such a file.
    """
    barrier = Barrier(len(clones))
    with ThreadPoolExecutor(len(clones)) as pool:
        asked = [
            pool.submit(_ask, barrier, clone, item, (kills or {}).get(clone.name), kill_when)
            for clone in clones
        ]
    return [one.result() for one in asked]


def _ask(
    barrier: Barrier,
    clone: Clone,
    item: str,
    kill_after_s: float | None,
    kill_when: Path | None,
) -> Asked:
    trace = clone.folder.with_name(f"{clone.name}.trace")
    trace.unlink(missing_ok=True)
    barrier.wait()
    began = time.monotonic()
    # Git notes what it was called with; `env` hands this to the command alone.
    traced = ("env", f"GIT_TRACE={trace}", clone.command("wk"))
    kills = {"kill_after_s": kill_after_s, "kill_when": kill_when}
    ended = clone.do(*traced, "claim", item, *REMOTE, **kills)
    seconds = time.monotonic() - began
    text = trace.read_text(errors="replace") if trace.exists() else ""
    calls = [line for line in text.splitlines() if "trace: built-in: git push" in line]
    return Asked(clone, ended, seconds, sum("refs/coord/hold/" in line for line in calls))


def faults_of(asked: Sequence[Asked], may_be_ahead: Iterable[str] = ()) -> Iterator[str]:
    """What a race without kills must not end in.

    may_be_ahead: the clones whose clock may be too slow to tell, which is exit 7.
    """
    winners = [one for one in asked if one.has_won]
    if len(winners) != 1:
        yield f"{len(winners)} winners: {[one.agent for one in winners]}"
        return
    for one in asked:
        if one.has_won:
            continue
        error = one.ended.error
        if one.ended.code == 7 and error.get("code") == "clock" and one.clone.name in may_be_ahead:
            continue
        if (one.ended.code, error.get("code")) != (5, "held"):
            yield f"{one.agent}: exit {one.ended.code}: {one.ended.err[-600:]}"
        elif error.get("holder") != winners[0].agent:
            yield f"{one.agent} was told {error.get('holder')}, not {winners[0].agent}"


def figures(name: str, rounds: Sequence[Sequence[Asked]]) -> str:
    """One line: the wall time of all claims, and how often swaps were tried again."""
    every = [one for asked in rounds for one in asked]
    seconds = sorted(one.seconds for one in every if not one.ended.killed) or [0.0]
    swaps = [one.swaps for one in every]
    killed = sum(one.ended.killed for one in every)
    again = sum(max(0, n - 1) for n in swaps)
    p90 = seconds[int(len(seconds) * 0.9)]
    return (
        f"{name}: {len(rounds)} rounds, {len(swaps)} claims, {killed} killed;"
        f" min {seconds[0]:.2f} median {statistics.median(seconds):.2f} p90 {p90:.2f}"
        f" max {seconds[-1]:.2f} s; {sum(swaps)} swaps tried, {again} of them again"
    )


def delays(chance: random.Random, clones: Sequence[Clone], longest_s: float) -> dict[str, float]:
    """Half of the clones, each to be killed after a while."""
    chosen = chance.sample([clone.name for clone in clones], len(clones) // 2)
    return {name: chance.uniform(0.03, longest_s) for name in chosen}
