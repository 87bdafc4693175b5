"""How long a line takes from its append in one process to `ev watch` in another."""

import os
import random
import select
import subprocess
import time
from pathlib import Path

import measure
from generate import Journal, World, make_folders

SETTLE_S = 1.0
DEADLINE_S = 10.0


def latencies_ms(folder: Path, count: int) -> list[float]:
    """Append `count` events as another clone's writer; answer when each was printed."""
    make_folders(folder / ".coord")
    watch = subprocess.Popen(
        measure.command(["ev", "watch", "--since", "now"]),
        cwd=folder,
        env=measure.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        time.sleep(SETTLE_S)
        return [one for one in _samples(folder, watch, count) if one]
    finally:
        watch.terminate()
        watch.wait()


def _samples(folder: Path, watch: subprocess.Popen[bytes], count: int) -> list[float]:
    assert watch.stdout is not None
    chance = random.Random(1)
    world = World(1, ["agent:far"], ["agent:far"])
    journal = Journal(folder / ".coord" / "wk", "agent-far.k3f7qa")
    samples = []
    for _ in range(count):
        # Uneven, so that no timer of the watcher falls in step with us.
        time.sleep(chance.uniform(0.05, 0.25))
        event = world.event(world.begin(), "created", time.time_ns() // 1_000_000, 1)
        journal.add(event)
        samples.append(_until_printed(journal, watch.stdout.fileno()))
    return samples


def _until_printed(journal: Journal, printed: int) -> float:
    """Append the journal's last line; answer the milliseconds until a line comes out."""
    path = journal.folder / f"{journal.writer}.{journal.number:04d}.jsonl"
    with open(path, "ab", buffering=0) as segment:
        begun = time.perf_counter()
        segment.write(journal.lines[-1])
    ready, _, _ = select.select([printed], [], [], DEADLINE_S)
    if not ready:
        return DEADLINE_S * 1000
    os.read(printed, 1 << 16)
    return (time.perf_counter() - begun) * 1000
