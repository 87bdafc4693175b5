"""Whatever order edits, pushes, pulls, crashes and losses come in: one state everywhere.

The state machine does to three clones what happens to clones; the driver lets many
processes loose on eight. Both are judged by `sync_clones.faults`. `--long` takes minutes.
"""

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.chaos import sync_clones, sync_driver
from tests.chaos.forked import ForkedClone, Forks
from tests.chaos.sync_clones import MINUTE_MS, Ended
from tests.conftest import FROZEN_MS

CLONES = ("a", "b", "c")
END_MS = FROZEN_MS + 1000 * MINUTE_MS
CONFIRM = ["none", "host", "remote"]
WHICH = st.integers(0, 9)
WORD = st.sampled_from(["one", "two", "three"])
SKEWS = st.integers(-10, 10)


@pytest.fixture
def forks() -> Iterator[Forks]:
    """What the machine's commands are forked from."""
    opened = Forks()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A remote and its clones before anything was written."""
    folder = tmp_path_factory.mktemp("template")
    remote = sync_clones.bare_remote(folder / "remote.git")
    for name in CLONES:
        sync_clones.clone_of(remote, folder / name)
    return folder


class Machine(RuleBasedStateMachine):
    """Three clones and what happens to them; `forks` and `template` are set by the test."""

    forks: Forks
    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="coord-machine-"))
        self.clones: list[ForkedClone] = []
        self.items: list[str] = []
        self.acknowledged: set[str] = set()
        self.backups: dict[str, Path] = {}
        self.is_forked = self.is_restoring = False
        self.wall_ms = FROZEN_MS

    @initialize(skews=st.lists(SKEWS, min_size=3, max_size=3))
    def begin(self, skews: list[int]) -> None:
        for name, skew in zip(CLONES, skews, strict=True):
            self.adopt(self.template / name, name, skew * MINUTE_MS)
        shutil.copytree(self.template / "remote.git", self.folder / "remote.git")

    def adopt(self, source: Path, name: str, skew_ms: int) -> ForkedClone:
        """A copy of a clone becomes a clone of this run's remote."""
        folder = self.folder / name
        subprocess.run(["cp", "-a", source, folder], check=True)
        config = folder / ".git" / "config"
        here = str(self.folder / "remote.git")
        config.write_text(config.read_text().replace(str(self.template / "remote.git"), here))
        clone = ForkedClone(name, folder, self.forks, skew_ms)
        self.clones.append(clone)
        return clone

    def clone(self, which: int) -> ForkedClone:
        """One of the clones, its clock moved on."""
        clone = self.clones[which % len(self.clones)]
        self.wall_ms += 700
        clone.wall_ms = self.wall_ms
        return clone

    def item(self, which: int) -> str:
        """One of the items; not every clone knows it."""
        return self.items[which % len(self.items)] if self.items else "wk-none"

    def do(self, which: int, *words: str) -> Ended:
        """Run a command and note what it acknowledged."""
        ended = self.clone(which).do(*words)
        told = f"{self.clones[which % len(self.clones)].name}: {words}: {ended}"
        assert ended.code in sync_driver.ORDINARY, told
        assert "Traceback" not in ended.err, told
        if words[1] != "sync":
            self.acknowledged.update(sync_clones.acknowledged(ended))
            self.items += [r["work_id"] for r in ended.rows if r.get("type") == "work.created"]
        return ended

    @rule(which=WHICH, word=WORD)
    def create(self, which: int, word: str) -> None:
        self.do(which, "wk", "create", word)

    @rule(which=WHICH, item=WHICH, word=WORD)
    def update(self, which: int, item: int, word: str) -> None:
        self.do(which, "wk", "update", self.item(item), "--title", word, "--label", word)

    @rule(which=WHICH, item=WHICH, confirm=st.sampled_from(CONFIRM))
    def claim(self, which: int, item: int, confirm: str) -> None:
        self.do(which, "wk", "claim", self.item(item), "--ttl", "1m", "--confirm", confirm)

    @rule(which=WHICH, item=WHICH, verb=st.sampled_from(["close", "release", "renew", "reopen"]))
    def verb(self, which: int, item: int, verb: str) -> None:
        self.do(which, "wk", verb, self.item(item))

    @rule(which=WHICH, count=st.integers(1, 3))
    def emit(self, which: int, count: int) -> None:
        for _ in range(count):
            self.do(which, "ev", "emit", "chaos.happened")

    @rule(which=WHICH, way=st.sampled_from(["", "", "--pull", "--push"]))
    def sync(self, which: int, way: str) -> None:
        ended = self.do(which, "ev", "sync", *([way] if way else []))
        assert ended.code == 0, ended

    @rule(which=WHICH, skew=SKEWS)
    def set_clock(self, which: int, skew: int) -> None:
        self.clone(which).skew_ms = skew * MINUTE_MS

    @rule(which=WHICH)
    def delete_local(self, which: int) -> None:
        shutil.rmtree(self.clone(which).store / "local", ignore_errors=True)

    @rule(which=WHICH)
    def delete_refs(self, which: int) -> None:
        """All of ours in the clone; what they led to is then garbage."""
        clone = self.clone(which)
        listed = clone.ok("git", "for-each-ref", "--format=delete %(refname)", "refs/coord").out
        clone.ok("git", "update-ref", "--stdin", data=listed.encode())

    @rule(which=WHICH, is_rolled_back=st.booleans())
    def lose_remote_ref(self, which: int, is_rolled_back: bool) -> None:
        """Somebody deletes a writer's ref, or forces it back by a commit."""
        remote = self.folder / "remote.git"
        listed = git(remote, "for-each-ref", "--format=%(refname)", "refs/coord/w").split()
        if not listed:
            return
        ref = listed[which % len(listed)]
        older = git(remote, "rev-list", "--max-count=2", ref).split()[1:]
        where = (
            ["update-ref", ref, older[0]] if is_rolled_back and older else ["update-ref", "-d", ref]
        )
        git(remote, *where)
        self.forget_what_is_nowhere()
        self.is_restoring = True

    @rule(which=WHICH)
    def collect_garbage(self, which: int) -> None:
        self.clone(which).ok("git", "gc", "--quiet", "--prune=now")

    @rule(which=WHICH, journal=WHICH, length=st.integers(1, 80))
    def tear(self, which: int, journal: int, length: int) -> None:
        segments = sync_clones.open_segments(self.clone(which).store)
        if segments:
            sync_clones.tear(segments[journal % len(segments)], length)

    @precondition(lambda self: len(self.clones) < 5)
    @rule(which=WHICH, is_twin=st.booleans())
    def copy(self, which: int, is_twin: bool) -> None:
        """A copied clone; a twin believes that it is the one it was copied from."""
        source = self.clone(which)
        name = f"{source.name}{len(self.clones)}"
        clone = self.adopt(source.folder, name, source.skew_ms)
        clone.agent = source.agent
        replica = clone.store / "local" / "replica"
        if is_twin and replica.exists():
            kept = {**json.loads(replica.read_bytes()), "path": str(clone.store)}
            replica.write_text(json.dumps(kept, separators=(",", ":")))
            self.is_forked = True

    @rule(which=WHICH)
    def back_up(self, which: int) -> None:
        clone = self.clone(which)
        backup = self.folder / f"{clone.name}.backup"
        shutil.rmtree(backup, ignore_errors=True)
        subprocess.run(["cp", "-a", clone.folder, backup], check=True)
        self.backups[clone.name] = backup

    @precondition(lambda self: self.backups)
    @rule(which=WHICH)
    def restore(self, which: int) -> None:
        """What only the clone itself had is gone with it, and nobody can ask for it."""
        name = sorted(self.backups)[which % len(self.backups)]
        clone = next(clone for clone in self.clones if clone.name == name)
        shutil.rmtree(clone.folder)
        subprocess.run(["cp", "-a", self.backups[name], clone.folder], check=True)
        self.forget_what_is_nowhere()
        self.is_forked = True

    def forget_what_is_nowhere(self) -> None:
        """What neither a clone nor the remote has any more cannot come back."""
        living = ids_in(self.folder / "remote.git")
        self.acknowledged &= living.union(*(journal_ids(clone) for clone in self.clones))

    def teardown(self) -> None:
        """All sync twice and are alike; nothing acknowledged is lost; damage is named."""
        try:
            found = self.judged() if self.clones else []
        finally:
            # What failed is run again by its steps, not looked for in a folder.
            shutil.rmtree(self.folder)
        told = "\n".join(found)
        assert not found, told

    def judged(self) -> list[str]:
        """What is wrong in the end."""
        restoring = ["--restore"] if self.is_forked or self.is_restoring else []
        found = sync_clones.settle(self.clones, END_MS, 2, *restoring)
        named = {"unreadable", *(["forked"] if self.is_forked else [])}
        late_ms = END_MS + MINUTE_MS
        found += sync_clones.faults(self.clones, self.acknowledged, late_ms, frozenset(named))
        return found + sync_clones.remote_faults(self.folder / "remote.git")


def journal_ids(clone: ForkedClone) -> set[str]:
    """The ids of all events that a clone has."""
    return sync_clones.journals.ids(clone.store)


def ids_in(remote: Path) -> set[str]:
    """The ids of all events that a remote's refs lead to."""
    listed = git(remote, "rev-list", "--objects", "--all")
    names = "".join(line.split()[0] + "\n" for line in listed.splitlines())
    data = git(remote, "cat-file", "--batch", data=names)
    lines = [line for line in data.split("\n") if line.startswith('{"event_id":"')]
    return {line[13:39] for line in lines if '"type":' in line}


def git(folder: Path, *words: str, data: str = "") -> str:
    """What a git command prints that has to succeed."""
    ended = sync_clones.execute(("git", *words), folder, sync_clones.isolated(), data.encode())
    assert ended.code == 0, ended
    return ended.out


def test_three_clones_end_alike_whatever_happens_to_them(
    forks: Forks, template: Path, request: pytest.FixtureRequest
):
    """Crashes, copies, backups and lost caches included."""
    Machine.forks, Machine.template = forks, template
    is_long = request.config.getoption("--long")
    settings = hypothesis.settings(
        max_examples=int(os.environ.get("MACHINE_EXAMPLES", 300 if is_long else 10)),
        stateful_step_count=30,
        deadline=None,
    )

    hypothesis.stateful.run_state_machine_as_test(Machine, settings=settings)


@pytest.mark.parametrize("inline", [False, True], ids=["refs", "inline"])
def test_eight_clones_at_random_work_end_alike(
    inline: bool, need: object, request: pytest.FixtureRequest
):
    """Killed, out of disk and of time; the seed is printed and kept in a failure."""
    is_long = request.config.getoption("--long")
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"\nseed {seed}")

    report = sync_driver.epoch(seed, 300.0 if is_long else 20.0, inline=inline)

    print(json.dumps(report))
    assert report["events"]
