"""Many clones and processes at random work, killed, starved of disk and out of time.

    python tests/chaos/sync_driver.py --seconds 60 --seed 7 --clones 8 --worktrees 3
    python tests/chaos/sync_driver.py --hours 4 --epoch 300 [--inline]

Every operation is one installed command in a process group of its own, on a random
clone and worktree, under that clone's clock. Some are killed, some find that no file
may grow, one clone's disk fills now and then (where this process may mount one), and
journals are left with a torn end. At the end of an epoch all clones sync twice and are
judged by `sync_clones.faults`; the next epoch begins with new clones and the next seed.
A failure keeps the folder and prints the seed.
"""

import argparse
import contextlib
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.chaos import sync_clones, sync_disk, sync_work
from tests.chaos.sync_clones import MINUTE_MS, Clone, Ended
from tests.chaos.sync_inline import Inline

SKEW_MS = 10 * MINUTE_MS
# "No" and every refusal that another clone's work, a fault or a clock can bring about.
ORDINARY = {0, 1, 3, 4, 5, 7}
_WORKERS = 8


class Chaos:
    """One epoch: the clones, who works on them, and what was acknowledged.

    Subclasses give the other way in which journals move between clones.
    """

    init: tuple[str, ...] = ()
    confirm: tuple[str, ...] = ("none", "host", "host", "remote")
    sync_share = 0.2

    def __init__(self, folder: Path, seed: int, clones: int, worktrees: int) -> None:
        self.folder, self.seed = folder, seed
        self.chance = random.Random(seed)
        self.remote = sync_clones.bare_remote(folder / "remote.git")
        self.clones: list[Clone] = []
        self.pools: dict[str, sync_work.Pool] = {}
        self._items: list[str] = []
        self._agents = [*sync_work.ROAMING]
        self.acknowledged: set[str] = set()
        self.imported: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.exits: Counter[str] = Counter()
        self.found: list[str] = []
        self._lock = threading.Lock()
        for number in range(clones):
            self._add_clone(f"c{number}", worktrees)
        self.before = {clone.name: sync_clones.others_refs(clone) for clone in self.clones}

    def _add_clone(self, name: str, worktrees: int) -> None:
        skew_ms = self.chance.randint(-SKEW_MS, SKEW_MS)
        clone = sync_clones.clone_of(self.remote, self.folder / name, skew_ms, self.init)
        clone.add_worktrees(worktrees)
        self.clones.append(clone)
        self._agents += [f"agent:{name}t{tree}" for tree in range(worktrees + 1)]
        self.pools[name] = sync_work.Pool(self._items, self._agents, self.confirm)

    def work(self, seconds: float, workers: int = _WORKERS) -> None:
        """Let workers do random things for a while."""
        end = time.monotonic() + seconds
        threads = [
            threading.Thread(target=self._worker, args=(number, end)) for number in range(workers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _worker(self, number: int, end: float) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        try:
            while time.monotonic() < end and not self.found:
                self.step(chance)
        except Exception as error:
            self.found.append(f"worker {number}: {type(error).__name__}: {error}")
            raise

    def step(self, chance: random.Random) -> None:
        """One thing that happens to one clone."""
        clone = chance.choice(self.clones)
        draw = chance.random()
        if draw < 0.02:
            self.tear(chance, clone)
        elif draw < 0.025:
            # Somebody sets the clock, perhaps back.
            clone.skew_ms = chance.randint(-SKEW_MS, SKEW_MS)
            self.counts["clocks set"] += 1
        elif draw < 0.03 and sync_disk.is_small(self.clones[0].folder):
            self.counts["disks filled"] += sync_disk.fill(self.clones[0].folder, chance)
        elif draw < 0.03 + self.sync_share:
            self.move(chance, clone)
        else:
            self.operate(chance, clone)

    def tear(self, chance: random.Random, clone: Clone) -> None:
        """Leave half a line at the end of some journal, own or foreign."""
        segments = sync_clones.open_segments(clone.store)
        if segments:
            torn = sync_clones.tear(chance.choice(segments), chance.randint(1, 80))
            self.counts["torn ends"] += torn

    def operate(self, chance: random.Random, clone: Clone) -> None:
        """One operation of an agent, with a fault now and then."""
        tree = chance.randrange(len(clone.trees))
        agent = f"agent:{clone.name}t{tree}"
        if chance.random() < 0.15:
            agent = chance.choice(sync_work.ROAMING)
        drawn = sync_work.draw(chance, self.pools[clone.name].of(agent))
        ended = self.command(chance, clone, *drawn.words, tree=tree, as_=agent, data=drawn.data)
        if drawn.imports and ended.code == 0:
            self.imported.update(drawn.imports)

    def move(self, chance: random.Random, clone: Clone) -> None:
        """Move journals between the clone and the remote."""
        which = chance.choices(([], ["--push"], ["--pull"]), [6, 1, 1])[0]
        tool = chance.choice(("ev", "wk"))
        self.command(chance, clone, tool, "sync", *which, slow=True)

    def command(
        self,
        chance: random.Random,
        clone: Clone,
        *words: str,
        slow: bool = False,
        tree: int = 0,
        as_: str = "",
        data: bytes = b"",
    ) -> Ended:
        """Run a command under a random fault; note what it acknowledged.

        slow: it takes longer, so a kill that is to hit it comes later.
        """
        kill_after_s = limit = None
        draw = chance.random()
        if draw < 0.12:
            kill_after_s = chance.uniform(0.02, 1.0 if slow or "remote" in words else 0.3)
        elif draw < 0.16:
            limit = chance.choice([0, 1, chance.randrange(64), chance.randrange(1024)])
        options = {"kill_after_s": kill_after_s, "limit_blocks": limit, "data": data}
        ended = clone.do(*words, tree=tree, as_=as_, **options)
        self.note(clone, words, ended, as_, faulty=limit is not None)
        return ended

    def note(
        self, clone: Clone, words: tuple[str, ...], ended: Ended, as_: str, faulty: bool
    ) -> None:
        """Keep what was acknowledged, and say what no command may do."""
        verb = " ".join(words[:2])
        told = f"{clone.name}: {' '.join(words)[:200]}: exit {ended.code}: {ended.err[-1500:]}"
        with self._lock:
            self.counts["commands"] += 1
            self.counts["kills"] += ended.killed
            self.counts["limited files"] += faulty
            how = "killed" if ended.killed else f"{ended.code} {ended.error.get('code', '')}"
            self.exits[f"{verb}: {how}".strip()] += 1
            if words[1] != "sync":
                self.acknowledged.update(sync_clones.acknowledged(ended))
                for row in ended.rows:
                    self.pools[clone.name].of(as_).add(row)
            else:
                self.counts["retries"] += sum(row.get("retries", 0) for row in ended.rows)
                codes = [p["code"] for row in ended.rows for p in row.get("problems", ())]
                self.counts.update(f"problem {code}" for code in codes)
            # A starved or killed git says what it likes; a traceback is ours.
            is_bug = "Traceback" in ended.err or ended.code == 70
            if is_bug or not (ended.killed or faulty or ended.code in ORDINARY):
                self.found.append(told)

    def settle(self, now_ms: int) -> list[str]:
        """Bring every clone to the same state, as its user would."""
        return sync_clones.settle(self.clones, now_ms)

    def judge(self) -> list[str]:
        """Settle and compare: what is wrong, nothing if all is well."""
        if self.found:
            return self.found
        sync_disk.empty(self.clones[0].folder)
        end_ms = sync_clones.later_ms(30)
        found = self.settle(end_ms)
        found += sync_clones.faults(self.clones, self.acknowledged, end_ms + MINUTE_MS)
        found += sync_clones.remote_faults(self.remote)
        rows = sync_clones.materialized(self.clones[0], end_ms + MINUTE_MS).splitlines()
        there = {json.loads(row).get("work_id") for row in rows}
        if self.imported - there:
            found.append(f"imported items are lost: {sorted(self.imported - there)[:5]}")
        return found + self._touched()

    def _touched(self) -> list[str]:
        """The clones whose branches, HEAD or index a sync moved."""
        return [
            f"{clone.name}: the user's repository was touched:\n{sync_clones.others_refs(clone)}"
            for clone in self.clones
            if sync_clones.others_refs(clone) != self.before[clone.name]
        ]


class InlineChaos(Inline, Chaos):
    """The same with `.coord` as a folder of the branches, moved by plain git."""


@contextlib.contextmanager
def folder_for(seed: int, small_disk: bool) -> Iterator[Path]:
    """A folder that is removed at the end, unless an epoch in it failed."""
    folder = Path(tempfile.mkdtemp(prefix=f"coord-chaos-{seed}-"))
    with sync_disk.small(folder / "c0", small_disk):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


def epoch(
    seed: int,
    seconds: float,
    clones: int = 8,
    worktrees: int = 3,
    inline: bool = False,
    small_disk: bool = True,
) -> dict[str, object]:
    """One epoch; answers what happened, raises `AssertionError` with what is wrong.

    worktrees: linked ones of each clone, beside its main one.
    """
    began = time.monotonic()
    with folder_for(seed, small_disk) as folder:
        chaos = (InlineChaos if inline else Chaos)(folder, seed, clones, worktrees)
        worked_from = time.monotonic()
        chaos.work(seconds)
        settled_from = time.monotonic()
        found = chaos.judge()
        report = {
            "seed": seed, "inline": inline, "clones": clones, "worktrees": worktrees,
            "events": len(chaos.acknowledged), **dict(sorted(chaos.counts.items())),
            "exits": dict(sorted(chaos.exits.items())),
            "seconds": {
                "made": round(worked_from - began, 1),
                "worked": round(settled_from - worked_from, 1),
                "judged": round(time.monotonic() - settled_from, 1),
            },
        }  # fmt: skip
        told = "\n".join([f"seed {seed}, kept in {folder}: {json.dumps(report)}", *found])
        assert not found, told
    return report


def soak(arguments: argparse.Namespace) -> int:
    """Epochs until the time is over; stops at the first that fails."""
    seed, began = arguments.seed, time.monotonic()
    total_s = arguments.seconds + arguments.hours * 3600
    while True:
        left_s = total_s - (time.monotonic() - began)
        if left_s <= 0:
            return 0
        try:
            report = epoch(
                seed, min(arguments.epoch, max(left_s, 1)), arguments.clones,
                arguments.worktrees, arguments.inline,
            )  # fmt: skip
        except AssertionError as error:
            print(f"FAILED after {time.monotonic() - began:.0f} s\n{error}", flush=True)
            return 1
        clean_s = time.monotonic() - began
        print(json.dumps({"clean_s": round(clean_s), **report}), flush=True)
        seed += 1


def main() -> int:
    """Read the command line and soak."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--epoch", type=float, default=120.0, help="seconds of work in one epoch")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--clones", type=int, default=8)
    parser.add_argument("--worktrees", type=int, default=3)
    parser.add_argument("--inline", action="store_true")
    arguments = parser.parse_args()
    if not arguments.hours and not arguments.seconds:
        arguments.seconds = 60.0
    print(f"seed {arguments.seed}", flush=True)
    return soak(arguments)


if __name__ == "__main__":
    sys.exit(main())
