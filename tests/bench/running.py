"""What runs cost: asking, starting, many jobs, and a worker that has nothing to do.

run-ask     `run request` in an empty store and with 20,000 finished runs    1.5 F
            (100,000 with --big), and a batch of 10,000                      5,000 a second
run-work    request to start with a waiting worker                           30 ms
            100 jobs that do nothing, one warm worker, eight at once         400 ms
            the same one at a time                                           no bound
            processor time of an idle worker                                 0 %
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import measure
from measure import Asked, Case, Row

JOBS, BATCH, FINISHED, MANY = 100, 10_000, 20_000, 100_000
IDLE_S = 10
ENDED = """
import sys
from coord.core.draft import Author, Draft
from coord.edge import clock, replica, store, writing
place = store.find("")
home, count = replica.home(place), int(sys.argv[1])
for start in range(0, count, 5000):
    with writing.desk(place, Author("agent:bench"), clock.now_ms(),
                      lambda _: writing.Settings(10_000)) as desk:
        for number in range(start, min(count, start + 5000)):
            refs = {"run_id": f"run-done{number}"}
            desk.take(Draft("run.requested", refs, {"argv": ["true"], "store": home}))
            desk.take(Draft("run.completed", refs, {"outcome": "expired"}))
        desk.write()
"""


def _store(asked: Asked, name: str) -> Path:
    folder = asked.folder / name
    if not folder.exists():
        folder.mkdir(parents=True)
        measure.run(["git", "init", "--quiet"], folder)
        measure.run(["ev", "init"], folder)
    return folder


def asking(asked: Asked, finished: int = FINISHED) -> Iterator[Row]:
    """`run request` with nothing and with many finished runs in the store."""
    cases = {"empty": 0, f"{finished:,} ended": finished}
    for name, count in cases.items():
        folder = _store(asked, f"ask-{count}")
        if count and not (folder / "filled").exists():
            measure.run([sys.executable, "-c", ENDED, str(count)], folder)
            (folder / "filled").touch()
        measure.run(["run", "request", "--", "true"], folder)
        case = Case(["run", "request", "--", "true"], before=[["ev", "list", "--limit", "1"]])
        base, found = measure.in_turns({"request": case}, folder, asked.rounds)
        [sample], floor = found.values(), base["F"]
        ratio, cpu = sample.median_ms / floor.median_ms, sample.cpu_ms / floor.cpu_ms
        yield Row(f"run request, {name}", sample.median_ms, "ms", ratio, cpu, "1.5 F",
                  ratio <= 1.5, sample.peak_mib)  # fmt: skip


def asking_much(asked: Asked) -> Iterator[Row]:
    """The same among 100,000."""
    yield from asking(asked, MANY)


def batch(asked: Asked) -> Iterator[Row]:
    """Many requests at once."""
    folder = _store(asked, "batch")
    (folder / "lines").write_text((json.dumps({"argv": ["true"]}) + "\n") * BATCH)
    done = measure.run(["run", "request", "-"], folder, stdin=folder / "lines")
    rate = BATCH / done.wall_ms * 1000
    yield Row("run request -", rate, "events/s", bound="5,000/s", ok=rate >= 5000)


class Warm:
    """A worker that waits."""

    def __init__(self, folder: Path, at_once: int) -> None:
        self._folder = folder
        words = measure.command(["run", "poll", "--max", str(at_once)])
        self.process = subprocess.Popen(
            words, cwd=folder, env=measure.environment(), stdout=subprocess.PIPE
        )
        self.execute(1)

    def execute(self, count: int) -> float:
        """Ask for jobs that do nothing, and wait until all have ended: milliseconds."""
        lines = (json.dumps({"argv": ["true"]}) + "\n") * count
        words = measure.command(["run", "request", "-"])
        asking = subprocess.Popen(words, cwd=self._folder, env=measure.environment(),
                                  stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)  # fmt: skip
        asking.communicate(lines.encode())
        begun = time.perf_counter()
        assert self.process.stdout is not None
        ended = 0
        while ended < count:
            ended += b'"outcome"' in self.process.stdout.readline()
        return (time.perf_counter() - begun) * 1000

    def latency_ms(self) -> float:
        """From the request's own instant to that of the command's first word."""
        words = measure.command(["run", "request", "--quiet", "--", "date", "+%s%3N"])
        done = subprocess.run(words, cwd=self._folder, env=measure.environment(),
                              capture_output=True, check=True)  # fmt: skip
        run_id = done.stdout.decode().strip()
        assert self.process.stdout is not None
        self.process.stdout.readline()
        log = self._folder / ".coord" / "local" / "logs" / run_id / "1" / "log"
        shown = measure.run(["run", "show", run_id], self._folder).out
        return int(log.read_text()) - int(json.loads(shown)["requested_at_ms"])

    def cpu_ms(self) -> float:
        """Processor time so far."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(parts[11]) + int(parts[12])) * 1000 / os.sysconf("SC_CLK_TCK")

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()


def working(asked: Asked) -> Iterator[Row]:
    """A warm worker, with eight at once and one at a time; and idle."""
    for at_once, bound in ((8, 400.0), (1, None)):
        worker = Warm(_store(asked, f"work-{at_once}"), at_once)
        try:
            middle = median(worker.execute(JOBS) for _ in range(3))
            ok = None if bound is None else middle <= bound
            told = "" if bound is None else f"{bound:.0f} ms"
            yield Row(f"{JOBS} jobs, {at_once} at once", middle, "ms", bound=told, ok=ok)
            if at_once == 1:
                found = median(worker.latency_ms() for _ in range(15))
                yield Row("request to start", found, "ms", bound="30 ms", ok=found <= 30)
                before = worker.cpu_ms()
                time.sleep(IDLE_S)
                share = (worker.cpu_ms() - before) / (IDLE_S * 10)
                yield Row("idle worker", share, "% CPU", bound="0 %", ok=share < 0.5)
        finally:
            worker.close()


SMALL: Mapping[str, Callable[[Asked], Iterator[Row]]] = {
    "run-ask": asking,
    "run-batch": batch,
    "run-work": working,
}
BIG: Mapping[str, Callable[[Asked], Iterator[Row]]] = {"run-many": asking_much}
