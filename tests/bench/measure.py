"""Run a command as its own process and tell its wall time and its peak memory.

Rules: this process stays small, for Linux counts a parent's memory at the moment of
the start into its child's peak; whatever is large runs as a process of its own. What
is compared is measured in turns, so that noise hits all of it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

TOOLS = Path(sys.executable).parent
FLOORS = {
    "bare python": [sys.executable, "-I", "-c", "pass"],
    "F": [sys.executable, "-I", "-c", "import click, orjson, sqlite3"],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table; `bound` and `ok` are left out where nothing is promised.

    value: in `unit`, of which less is better, except for events/s.
    ratio: to what the section says, F where it says nothing.
    cpu_ratio: of processor times, for judging on a machine that is busy otherwise.
    """

    name: str
    value: float
    unit: str
    ratio: float | None = None
    cpu_ratio: float | None = None
    bound: str = ""
    ok: bool | None = None
    peak_mib: float | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    data: Path
    folder: Path
    rounds: int


@dataclass(frozen=True, slots=True)
class Run:
    """How one process went: wall and processor time, peak memory, what it printed."""

    wall_ms: float
    cpu_ms: float
    peak_mib: float
    out: bytes


@dataclass(slots=True)
class Sample:
    """What a name has cost, run by run."""

    walls_ms: list[float] = field(default_factory=list)
    cpus_ms: list[float] = field(default_factory=list)
    peak_mib: float = 0.0

    def add(self, run: Run) -> None:
        """Count one more run."""
        self.walls_ms.append(run.wall_ms)
        self.cpus_ms.append(run.cpu_ms)
        self.peak_mib = max(self.peak_mib, run.peak_mib)

    @property
    def median_ms(self) -> float:
        """The median of all runs' wall times."""
        return median(self.walls_ms)

    @property
    def cpu_ms(self) -> float:
        """The median of all runs' processor times."""
        return median(self.cpus_ms)


def environment() -> dict[str, str]:
    """This process's, without what would change how the tools work or start."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("COORD_", "PYTHON"))}
    return {**kept, "COORD_AGENT": "agent:bench"}


def command(words: Sequence[str]) -> list[str]:
    """The words to execute; an installed tool lies beside this Python."""
    return [str(TOOLS / words[0]) if (TOOLS / words[0]).exists() else words[0], *words[1:]]


def run(words: Sequence[str], folder: Path, stdin: Path | None = None) -> Run:
    """Run a command that has to succeed; with `stdin`, what it prints is thrown away."""
    with open(stdin or os.devnull, "rb") as source, tempfile.TemporaryFile() as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(
            command(words),
            cwd=folder,
            env=environment(),
            stdin=source,
            stdout=subprocess.DEVNULL if stdin else subprocess.PIPE,
            stderr=errors,
        )
        out = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
        wall_ms = (time.perf_counter() - begun) * 1000
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.stdout:
            process.stdout.close()
        if process.returncode:
            errors.seek(0)
            told = errors.read().decode()[-2000:]
            sys.exit(f"bench: {' '.join(words)}: exit {process.returncode}\n{told}")
    cpu_ms = (usage.ru_utime + usage.ru_stime) * 1000
    return Run(wall_ms, cpu_ms, usage.ru_maxrss / 1024, out)


def in_turns(
    cases: Mapping[str, "Case"], folder: Path, rounds: int
) -> tuple[dict[str, Sample], dict[str, Sample]]:
    """Run the floors and each case `rounds` times, in turns; the first turn is not counted.

    Returns what the floors and what the cases cost.
    """
    floors = {name: Sample() for name in FLOORS}
    samples = {name: Sample() for name in cases}
    for turn in range(rounds + 1):
        for name, words in FLOORS.items():
            done = run(words, folder)
            if turn:
                floors[name].add(done)
        for name, case in cases.items():
            done = case.once(folder, turn)
            if turn:
                samples[name].add(done)
    return floors, samples


@dataclass(slots=True)
class Case:
    """A command to measure, with what has to happen around it and is not timed.

    words: `{turn}` in them becomes the turn's number.
    before, after: commands; in `after`, `{work_id}` is that of the first line printed.
    """

    words: Sequence[str]
    before: Iterable[Sequence[str]] = ()
    after: Iterable[Sequence[str]] = ()

    def once(self, folder: Path, turn: int) -> Run:
        """Run it once."""
        for words in self.before:
            run(_filled(words, turn=str(turn)), folder)
        done = run(_filled(self.words, turn=str(turn)), folder)
        for words in self.after:
            run(_filled(words, work_id=work_id_in(done.out)), folder)
        return done


def _filled(words: Sequence[str], **values: str) -> list[str]:
    filled = list(words)
    for name, value in values.items():
        filled = [word.replace(f"{{{name}}}", value) for word in filled]
    return filled


def work_id_in(out: bytes) -> str:
    """The `work_id` of the first line printed."""
    import json

    return str(json.loads(out.splitlines()[0])["work_id"]) if out else ""
