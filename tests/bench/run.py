"""Measure what the tools cost and print a table: `run.py [--big] [--json] [--only NAME]`.

Every time is told as a ratio to F as well, the start of a Python that imports click,
orjson and sqlite3 and does nothing, measured in turns with the commands. Bounds are
those of the project's issue; none is asserted, for a slow machine is no bug.

    commands   the hot verbs on the real items, index warm        1.5 F, 45 MiB
    catch-up   after 1,000 events of another clone                1.3 F
    import     the real items                                     4 s
    emit       100,000 events through `ev emit -`, indexed        30,000 a second
    watch      append in one process to line in another           20 ms
    sync       against a bare remote, by `--only sync` or a part's name, as sync-quiet:
               see syncing.py
    run        asking for runs and executing them, by `--only run` or a part's name: see
               running.py
    lease msg  holding and telling, by `--only lease` or `msg`: see holding.py
    --big      100,000 items, 1,000,000 events:
    cold       the index from nothing                             25 s, 500 MiB
    big        the hot verbs                                      2 F, 45 MiB
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import holding
import measure
import running
import syncing
import watching
from measure import Asked, Case, Row

HERE = Path(__file__).resolve().parent
Samples = Mapping[str, measure.Sample]
DATA = HERE.parents[2] / "shared" / "data" / "beads-issues.jsonl"
PEAK_MIB = 45.0
EMITTED = 100_000
BIG_ITEMS = 100_000


def cases(work_id: str) -> dict[str, Case]:
    """The hot verbs; after each that writes, the index is brought up to date again."""
    catch_up = ["wk", "list", "--limit", "1"]
    return {
        "wk ready": Case(["wk", "ready"]),
        "wk list": Case(["wk", "list"]),
        "wk show": Case(["wk", "show", work_id]),
        "wk claim --next": Case(
            ["wk", "claim", "--next"], after=[["wk", "release", "{work_id}"], catch_up]
        ),
        "wk create": Case(["wk", "create", "item {turn}"], after=[catch_up]),
        "wk update": Case(
            ["wk", "update", work_id, "--description", "text {turn}"], after=[catch_up]
        ),
        "ev emit": Case(
            ["ev", "emit", "bench.turned", "--ref", f"work_id={work_id}", "--body", '{"n":{turn}}'],
            after=[catch_up],
        ),
        "wk ready, 1 event later": Case(["wk", "ready"], before=[["wk", "create", "more {turn}"]]),
    }


def timed(found: Samples, base: Samples, limit: float, peak_mib: float | None) -> Iterator[Row]:
    """Rows of commands whose bound is a multiple of F."""
    for name, sample in found.items():
        ratio, cpu_ratio = ratios(sample, base["F"])
        ok = ratio <= limit and (peak_mib is None or sample.peak_mib <= peak_mib)
        bound = f"{limit} F" + (f", {peak_mib:.0f} MiB" if peak_mib else "")
        yield Row(name, sample.median_ms, "ms", ratio, cpu_ratio, bound, ok, sample.peak_mib)


def floors(base: Samples) -> Iterator[Row]:
    """Rows of the floors themselves."""
    for name, sample in base.items():
        yield Row(
            name, sample.median_ms, "ms", *ratios(sample, base["F"]), peak_mib=sample.peak_mib
        )


def ratios(sample: measure.Sample, floor: measure.Sample) -> tuple[float, float]:
    """How many floors a command takes: by the clock, and in processor time."""
    return sample.median_ms / floor.median_ms, sample.cpu_ms / floor.cpu_ms


def hot_verbs(folder: Path, rounds: int, limit: float) -> Iterator[Row]:
    """The floors and every hot verb."""
    work_id = measure.work_id_in(measure.run(["wk", "list", "--limit", "1"], folder).out)
    base, found = measure.in_turns(cases(work_id), folder, rounds)
    yield from floors(base)
    yield from timed(found, base, limit, PEAK_MIB)


def new_store(folder: Path) -> Path:
    """An empty repository with a store."""
    folder.mkdir(parents=True)
    measure.run(["git", "init", "--quiet"], folder)
    measure.run(["ev", "init"], folder)
    return folder


def real_store(asked: Asked) -> Path:
    """A store with the real items, imported once."""
    folder = asked.folder / "real"
    if not folder.exists():
        new_store(folder)
        measure.run(["wk", "import", "--from", "beads", str(asked.data)], folder)
    measure.run(["wk", "list", "--limit", "1"], folder)
    return folder


def big_store(asked: Asked) -> Path:
    """The generated store."""
    folder = asked.folder / "big"
    if not folder.exists():
        items = ["--items", str(BIG_ITEMS)]
        measure.run([sys.executable, str(HERE / "generate.py"), str(folder), *items], HERE)
    return folder


def commands(asked: Asked) -> Iterator[Row]:
    """The hot verbs on the real items."""
    yield from hot_verbs(real_store(asked), asked.rounds, 1.5)


def big_commands(asked: Asked) -> Iterator[Row]:
    """The hot verbs on the generated items."""
    folder = big_store(asked)
    measure.run(["wk", "list", "--limit", "1"], folder)
    yield from hot_verbs(folder, asked.rounds, 2.0)


def catching_up(asked: Asked) -> Iterator[Row]:
    """A reading verb that finds 1,000 new events of another clone."""
    folder = real_store(asked)
    visit = [sys.executable, str(HERE / "generate.py"), str(folder), "--visit", "--seed", "{turn}"]
    case = Case(["wk", "list", "--limit", "1"], before=[visit])
    base, found = measure.in_turns({"catch up, 1,000 events": case}, folder, asked.rounds)
    yield from timed(found, base, 1.3, None)


def importing(asked: Asked) -> Iterator[Row]:
    """The real file, into an empty store."""
    folder = new_store(asked.folder / "import")
    done = measure.run(["wk", "import", "--from", "beads", str(asked.data)], folder)
    shutil.rmtree(folder)
    seconds = done.wall_ms / 1000
    yield Row("wk import", seconds, "s", bound="4 s", ok=seconds <= 4, peak_mib=done.peak_mib)


def emitting(asked: Asked) -> Iterator[Row]:
    """A batch of events of an own type, and the first reader after it."""
    folder = new_store(asked.folder / "emit")
    batch = asked.folder / "batch.jsonl"
    with open(batch, "w", encoding="ascii") as stream:
        for number in range(EMITTED):
            stream.write(f'{{"type":"bench.counted","body":{{"n":{number}}}}}\n')
    done = measure.run(["ev", "emit", "-"], folder, stdin=batch)
    reader = measure.run(["ev", "list", "--limit", "1"], folder)
    shutil.rmtree(folder)
    rate = EMITTED / (done.wall_ms + reader.wall_ms) * 1000
    yield Row(
        "ev emit -", rate, "events/s", bound="30,000/s", ok=rate >= 30_000, peak_mib=done.peak_mib
    )


def watched(asked: Asked) -> Iterator[Row]:
    """From append to line."""
    folder = new_store(asked.folder / "watch")
    middle = median(watching.latencies_ms(folder, 50))
    shutil.rmtree(folder)
    yield Row("ev watch, append to line", middle, "ms", bound="20 ms", ok=middle <= 20)


def cold(asked: Asked) -> Iterator[Row]:
    """The index of 1,000,000 events from nothing."""
    folder = big_store(asked)
    shutil.rmtree(folder / ".coord" / "local", ignore_errors=True)
    done = measure.run(["wk", "list", "--limit", "1"], folder)
    seconds = done.wall_ms / 1000
    ok = seconds <= 25 and done.peak_mib <= 500
    yield Row(
        "cold index, 1M events", seconds, "s", bound="25 s, 500 MiB", ok=ok, peak_mib=done.peak_mib
    )


SMALL: Mapping[str, Callable[[Asked], Iterator[Row]]] = {
    "import": importing,
    "commands": commands,
    "catch-up": catching_up,
    "emit": emitting,
    "watch": watched,
    **syncing.SMALL,
    **running.SMALL,
    **holding.SMALL,
}
BIG: Mapping[str, Callable[[Asked], Iterator[Row]]] = {
    "cold": cold,
    "big": big_commands,
    **syncing.BIG,
    **running.BIG,
    **holding.BIG,
}


PARTS = ("sync", "run", "lease", "msg")


def printed(row: Row) -> str:
    """One line of the table."""
    numbers = [
        f"{number:{width}}" if number is not None else " " * int(width.partition(".")[0])
        for number, width in ((row.ratio, "7.2f"), (row.cpu_ratio, "7.2f"), (row.peak_mib, "6.0f"))
    ]
    verdict = {True: "ok", False: "MISSED", None: ""}[row.ok]
    value = f"{row.value:10,.0f}" if row.unit == "events/s" else f"{row.value:10.1f}"
    return f"{row.name:26}{value} {row.unit:9}{''.join(numbers)}  {row.bound:14} {verdict}".rstrip()


def show(section: str, rows: Iterator[Row], as_json: bool) -> None:
    """Print a section's rows as they come."""
    if not as_json:
        head = f"{section:26}{'median':>10} {'':9}{'of F':>7}{'CPU':>7}{'MiB':>6}  bound"
        print(f"\n{head}", flush=True)
    for row in rows:
        if as_json:
            told: dict[str, Any] = {"section": section, **asdict(row)}
            print(json.dumps({k: v for k, v in told.items() if v not in (None, "")}), flush=True)
        else:
            print(printed(row), flush=True)


def wanted(only: str, big: bool) -> dict[str, Callable[[Asked], Iterator[Row]]]:
    """The sections asked for, in order."""
    sections = {**SMALL, **(BIG if big or only else {})}
    return {
        name: section
        for name, section in sections.items()
        if not only or name == only or name.startswith(f"{only}-")
    }


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--big", action="store_true", help="also 1,000,000 generated events")
    parser.add_argument("--json", action="store_true", help="JSON Lines instead of a table")
    parser.add_argument("--only", default="", metavar="NAME", choices=[*SMALL, *BIG, *PARTS])
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--data", type=Path, default=DATA, help="Beads items to import")
    parser.add_argument("--folder", type=Path, help="keep the stores here, to measure again")
    given = parser.parse_args()
    if not given.data.exists():
        sys.exit(f"bench: no {given.data}; name Beads items with --data FILE")
    with tempfile.TemporaryDirectory(prefix="coord-bench-") as temporary:
        folder = (given.folder or Path(temporary)).resolve()
        asked = Asked(given.data.resolve(), folder, given.rounds)
        for name, section in wanted(given.only, given.big).items():
            show(name, section(asked), given.json)


if __name__ == "__main__":
    main()
