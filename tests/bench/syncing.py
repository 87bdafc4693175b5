"""What a sync costs, against a bare remote on this machine and git's own commands.

    sync-quiet    nothing to do                           2 × git ls-remote, no write
    sync-push     1,000 new events                        3 × git commit && git push
    sync-import   10,000 events of another clone          1 s beyond git fetch
    sync-crowd    16 clones push at once                  no retry
    --big:
    sync-ssh      the first two by ssh on loopback: git's own command takes as long as it
                  does for most people, and the start of Python weighs as little
    sync-growth   1,000 syncs of one event each           3 × the journals, packed
    sync-fresh    the first sync of a clone: 1,000        10 s
                  writers, 100,000 events; also archived

The ratios of this page are to git's command, not to F. A row "beyond F" leaves out what
it takes to start Python with click, orjson and sqlite3: what is left is ours to save.
"""

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import generate
import measure
import tunnel
from measure import Asked, Case, Row

TURNS = 7
PUSHED = 1_000
IMPORTED = 10_000
PER_COMMIT = 10
GROWN = 1_000
CROWD, CROWD_EVENTS, CROWD_ROUNDS = 16, 50, 5
WRITERS, ITEMS = 1_000, 10_000
# A sync always does; git by itself does not.
WAITING = "core.fsync=committed,loose-object,reference"
Files = Mapping[str, tuple[int, ...]]


def remote_in(folder: Path) -> Path:
    """A bare repository for everybody."""
    remote = folder / "remote.git"
    measure.run(["git", "init", "--quiet", "--bare", str(remote)], folder)
    return remote


def clone_of(remote: Path, name: str, prefix: str = "") -> Path:
    """A clone with an empty store and somebody who may commit.

    prefix: what the remote's URL begins with, if it is one.
    """
    folder = remote.parent / name
    measure.run(["git", "clone", "--quiet", f"{prefix}{remote}", str(folder)], remote.parent)
    for key in ("name", "email"):
        measure.run(["git", "config", f"user.{key}", "bench"], folder)
    measure.run(["ev", "init"], folder)
    return folder


def section(asked: Asked, name: str) -> Path:
    """The section's own folder, empty."""
    folder = asked.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def emit(folder: Path, count: int) -> None:
    """Add events to a clone."""
    batch = folder.parent / f"batch-{count}.jsonl"
    if not batch.exists():
        lines = (f'{{"type":"bench.counted","body":{{"n":{n}}}}}\n' for n in range(count))
        batch.write_text("".join(lines))
    measure.run(["ev", "emit", "-"], folder, stdin=batch)


def said(run: measure.Run) -> dict[str, list[dict[str, int]]]:
    """The line that a sync has printed."""
    found: dict[str, list[dict[str, int]]] = json.loads(run.out)
    return found


def beside(
    name: str, ours: measure.Sample, gits: measure.Sample, floor: measure.Sample, limit: float
) -> Iterator[Row]:
    """A sync beside git's own command, whole and without the start of Python."""
    yield Row(
        name, ours.median_ms, "ms", ours.median_ms / gits.median_ms, ours.cpu_ms / gits.cpu_ms,
        f"{limit:.0f} × git", ours.median_ms <= limit * gits.median_ms, ours.peak_mib,
    )  # fmt: skip
    rest_ms = max(0.0, ours.median_ms - floor.median_ms)
    rest_cpu_ms = max(0.0, ours.cpu_ms - floor.cpu_ms)
    yield Row(
        "  beyond F", rest_ms, "ms", rest_ms / gits.median_ms, rest_cpu_ms / gits.cpu_ms,
        f"{limit:.0f} × git", rest_ms <= limit * gits.median_ms,
    )  # fmt: skip


def gits_own(name: str, sample: measure.Sample) -> Row:
    """The row of git's command."""
    return Row(name, sample.median_ms, "ms", 1.0, 1.0, peak_mib=sample.peak_mib)


def quiet(asked: Asked, prefix: str = "") -> Iterator[Row]:
    """A sync with nothing to do; nothing on either side may be written."""
    folder = section(asked, "sync-quiet")
    remote = remote_in(folder)
    ours = clone_of(remote, "ours", prefix)
    measure.run(["wk", "import", "--from", "beads", str(asked.data)], ours)
    measure.run(["ev", "sync"], ours)
    measure.run(["ev", "sync"], ours)
    cases = {
        "git ls-remote": Case(["git", "ls-remote", "origin", "refs/coord/*"]),
        "ev sync, quiet": Case(["ev", "sync"]),
    }
    before = {**files_of(ours), **files_of(remote)}
    base, found = measure.in_turns(cases, ours, asked.rounds)
    after = {**files_of(ours), **files_of(remote)}
    gits = found["git ls-remote"]
    yield Row("F", base["F"].median_ms, "ms", base["F"].median_ms / gits.median_ms)
    yield gits_own("git ls-remote", gits)
    yield from beside("ev sync, quiet", found["ev sync, quiet"], gits, base["F"], 2)
    changed = {name for name, _ in set(before.items()) ^ set(after.items())}
    yield Row(f"  written, of {len(after):,}", len(changed), "files", bound="0", ok=not changed)


def files_of(folder: Path) -> Files:
    """Everything below a folder, folders included, with inode, size and times."""
    found = {}
    for path in (folder, *folder.rglob("*")):
        info = path.lstat()
        found[str(path)] = (info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return found


def by_ssh(asked: Asked) -> Iterator[Row]:
    """Nothing to do, and something, by way of an ssh server on this machine."""
    with tunnel.remotes(asked.folder / "sshd") as prefix:
        yield from quiet(asked, prefix)
        yield from pushing(asked, prefix)


def pushing(asked: Asked, prefix: str = "") -> Iterator[Row]:
    """New events of one clone, beside a commit and push of as many bytes."""
    folder = section(asked, "sync-push")
    remote = remote_in(folder)
    ours, theirs = clone_of(remote, "ours", prefix), clone_of(remote, "theirs", prefix)
    emit(ours, PUSHED)
    measure.run(["ev", "sync"], ours)
    floor, sync, plain, safe = (measure.Sample() for _ in range(4))
    for turn in range(TURNS):
        emit(ours, PUSHED)
        lines = b"".join(path.read_bytes() for path in sorted(ours.glob(".coord/ev/*.jsonl")))
        newest = b"".join(lines.splitlines(True)[-PUSHED:])
        floor.add(measure.run(measure.FLOORS["F"], folder))
        sync.add(measure.run(["ev", "sync"], ours))
        plain.add(commit_and_push(theirs, f"plain-{turn}", newest, "git"))
        safe.add(commit_and_push(theirs, f"safe-{turn}", newest[::-1], f"git -c {WAITING}"))
    yield gits_own("git commit && push", plain)
    yield from beside(f"ev sync, {PUSHED:,} events", sync, plain, floor, 3)
    ratio = safe.median_ms / plain.median_ms
    yield Row("git, waiting for disks", safe.median_ms, "ms", ratio, safe.cpu_ms / plain.cpu_ms)


def commit_and_push(folder: Path, name: str, data: bytes, git: str) -> measure.Run:
    """Commit and push one new file the ordinary way."""
    (folder / name).write_bytes(data)
    measure.run(["git", "add", "."], folder)
    words = f"{git} commit --quiet -m x && {git} push --quiet origin HEAD"
    return measure.run(["sh", "-c", words], folder)


def importing(asked: Asked) -> Iterator[Row]:
    """Many events of another clone, in commits of a thousand."""
    folder = section(asked, "sync-import")
    remote = remote_in(folder)
    theirs = clone_of(remote, "theirs")
    for _ in range(IMPORTED // PUSHED):
        emit(theirs, PUSHED)
        measure.run(["ev", "sync"], theirs)
    sync, fetch = measure.Sample(), measure.Sample()
    for turn in range(max(3, TURNS // 2)):
        plain = clone_of(remote, f"plain-{turn}")
        words = ["git", "fetch", "--quiet", "origin", "refs/coord/w/*:refs/coord/w/*"]
        fetch.add(measure.run(words, plain))
        done = measure.run(["ev", "sync"], clone_of(remote, f"ours-{turn}"))
        assert said(done)["in"][0]["events"] == IMPORTED, "not everything came in"
        sync.add(done)
    beyond_ms = sync.median_ms - fetch.median_ms
    yield gits_own("git fetch", fetch)
    yield Row(f"ev sync, {IMPORTED:,} events", sync.median_ms, "ms", peak_mib=sync.peak_mib)
    yield Row("  beyond git fetch", beyond_ms, "ms", bound="1000 ms", ok=beyond_ms <= 1000)


def crowd(asked: Asked) -> Iterator[Row]:
    """Clones that push at once, several times over."""
    folder = section(asked, "sync-crowd")
    remote = remote_in(folder)
    clones = [clone_of(remote, f"clone-{number}") for number in range(CROWD)]
    walls_s, each_ms, retries = [], [], 0
    for _ in range(CROWD_ROUNDS):
        for clone in clones:
            emit(clone, CROWD_EVENTS)
        begun = time.perf_counter()
        pushes = [subprocess.Popen(
            measure.command(["ev", "sync", "--push"]), cwd=clone, env=measure.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        ) for clone in clones]  # fmt: skip
        each_ms += ended_ms(pushes, begun)
        walls_s.append(time.perf_counter() - begun)
        answers = [json.loads(push.communicate()[0]) for push in pushes]
        assert all(a["out"][0]["events"] == CROWD_EVENTS for a in answers), "not all went out"
        retries += sum(answer["retries"] for answer in answers)
    rate = CROWD * CROWD_EVENTS / median(walls_s)
    yield Row(f"{CROWD} clones at once", rate, "events/s")
    yield Row("  median of their times", median(each_ms), "ms")
    yield Row("  slowest", max(each_ms), "ms")
    yield Row("  retries", retries, "", bound="0", ok=not retries)


def ended_ms(processes: Sequence[subprocess.Popen[bytes]], begun: float) -> list[float]:
    """When each of them had ended; their output is small enough to wait in the pipe."""
    waiting = {process.pid: process for process in processes}
    found = []
    while waiting:
        pid, status = os.wait()
        waiting.pop(pid).returncode = os.waitstatus_to_exitcode(status)
        assert status == 0, f"a sync ended with {os.waitstatus_to_exitcode(status)}"
        found.append((time.perf_counter() - begun) * 1000)
    return found


def growth(asked: Asked) -> Iterator[Row]:
    """One event a sync: how the remote grows, packed and as it is."""
    folder = section(asked, "sync-growth")
    remote = remote_in(folder)
    ours = clone_of(remote, "ours")
    empty = size_of(remote)
    words = f"for n in $(seq {GROWN}); do ev emit bench.counted --quiet && ev sync --quiet; done"
    begun = time.perf_counter()
    measure.run(["sh", "-c", f"export PATH={measure.TOOLS}:$PATH; {words} >{folder}/ids"], ours)
    seconds = time.perf_counter() - begun
    journals = sum(path.stat().st_size for path in ours.glob(".coord/*/*.jsonl"))
    loose = size_of(remote) - empty
    measure.run(["git", "gc", "--quiet", "--prune=now"], remote)
    packed = size_of(remote) - empty
    yield Row("journals", journals / 1024, "KiB", 1.0)
    yield Row("remote, as it is", loose / 1024, "KiB", loose / journals)
    ok = packed <= 3 * journals
    yield Row("remote, git gc", packed / 1024, "KiB", packed / journals, bound="3", ok=ok)
    yield Row("emit and sync", seconds * 1000 / GROWN, "ms")


def size_of(folder: Path) -> int:
    """The bytes in all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def fresh(asked: Asked) -> Iterator[Row]:
    """The first sync of a clone, with many writers; and when they have been archived."""
    folder = section(asked, "sync-fresh")
    remote = remote_in(folder)
    count = push_writers(remote)
    yield Row("on the remote", count, "events")
    yield from first_sync(remote, "fresh", "first sync")
    keeper = folder / "fresh"
    done = measure.run(["ev", "archive", "--silent", "30d"], keeper)
    yield Row("ev archive", done.wall_ms / 1000, "s", peak_mib=done.peak_mib)
    yield from first_sync(remote, "later", "first sync, archived")


def first_sync(remote: Path, name: str, title: str) -> Iterator[Row]:
    """The first and the second sync of a new clone."""
    clone = clone_of(remote, name)
    done = measure.run(["ev", "sync"], clone)
    problems = said(done)["problems"]
    assert not problems, f"the remote is not what it should be: {problems[:2]}"
    seconds = done.wall_ms / 1000
    yield Row(title, seconds, "s", bound="10 s", ok=seconds <= 10, peak_mib=done.peak_mib)
    yield Row("  of the processor", done.cpu_ms / 1000, "s")
    again = measure.run(["ev", "sync"], clone)
    yield Row("  the next, quiet", again.wall_ms, "ms", peak_mib=again.peak_mib)


def push_writers(remote: Path) -> int:
    """Fill the remote as many clones would have, ten events at a time; answer how many."""
    agents = [f"agent:a{number:04d}" for number in range(WRITERS)]
    world = generate.World(1, agents, agents)
    journals = {
        agent: generate.Journal(remote, generate.writer_of(agent, generate.name(world.chance, 6)))
        for agent in agents
    }
    last_ms = 0
    for at_ms, item, step in generate.lives(world, ITEMS):
        last_ms = max(at_ms, last_ms + 1)
        event = world.event(item, step, last_ms, world.chance.getrandbits(80))
        journals[event["actor"]["agent_id"]].add(event)
    marks = itertools.count(1)
    with subprocess.Popen(
        ["git", "fast-import", "--quiet"], cwd=remote, stdin=subprocess.PIPE
    ) as importer:
        assert importer.stdin
        for journal in journals.values():
            importer.stdin.writelines(commits_of(journal, marks))
    assert importer.returncode == 0, "git fast-import failed"
    return sum(journal.seq for journal in journals.values())


def commits_of(journal: generate.Journal, marks: Iterator[int]) -> Iterable[bytes]:
    """A journal as the commits of its writer's ref: each has the lines that are new."""
    for begin in range(0, len(journal.lines), PER_COMMIT):
        data = b"".join(journal.lines[begin : begin + PER_COMMIT])
        mark = next(marks)
        yield f"commit refs/coord/w/{journal.writer}\nmark :{mark}\n".encode()
        yield f"committer coord <coord> {1_700_000_000 + mark} +0000\ndata 0\n".encode()
        if begin:
            yield f"from :{mark - 1}\n".encode()
        yield b"deleteall\n"
        yield f"M 100644 inline wk.jsonl\ndata {len(data)}\n".encode() + data + b"\n"


SMALL: Mapping[str, Callable[[Asked], Iterator[Row]]] = {
    "sync-quiet": quiet,
    "sync-push": pushing,
    "sync-import": importing,
    "sync-crowd": crowd,
}
BIG: Mapping[str, Callable[[Asked], Iterator[Row]]] = {
    "sync-ssh": by_ssh,
    "sync-growth": growth,
    "sync-fresh": fresh,
}
