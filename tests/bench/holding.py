"""What leases and mail cost while many leases run and much mail lies there.

lease       check, acquire, acquire path: and guard of 50 paths, 1,000 live leases   1.5 F
            a contended lease from release to the next command                       30 ms
msg         send and inbox with 10,000 messages                                      1.5 F
            (100,000 with --big)                                                     2 F
"""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from statistics import median

import measure
from measure import Asked, Case, Row

LEASES, PATHS, MESSAGES, MANY = 1000, 50, 10_000, 100_000
HANDED_OVER = 12
_CATCH_UP = ["ev", "list", "--limit", "1"]


def _store(asked: Asked, name: str) -> tuple[Path, bool]:
    """A store, and whether it is new."""
    folder = asked.folder / name
    if folder.exists():
        return folder, False
    folder.mkdir(parents=True)
    measure.run(["git", "init", "--quiet"], folder)
    measure.run(["ev", "init"], folder)
    return folder, True


def _timed(cases: Mapping[str, Case], folder: Path, rounds: int, limit: float) -> Iterator[Row]:
    base, found = measure.in_turns(cases, folder, rounds)
    floor = base["F"]
    for name, sample in found.items():
        ratio, cpu = sample.median_ms / floor.median_ms, sample.cpu_ms / floor.cpu_ms
        yield Row(name, sample.median_ms, "ms", ratio, cpu, f"{limit} F", ratio <= limit,
                  sample.peak_mib)  # fmt: skip


def leases(asked: Asked) -> Iterator[Row]:
    """The hot verbs among 1,000 live leases; the index is warm, as after any other command."""
    folder, is_new = _store(asked, "leases")
    if is_new:
        for start in range(0, LEASES, 250):
            names = [f"path:src/m{n:04}/**" for n in range(start, start + 250)]
            measure.run(["lease", "acquire", *names, "--ttl", "7d"], folder)
    guarded = [f"src/m{n:04}/a.py" for n in range(PATHS)]
    cases = {
        "lease check": Case(["lease", "check", "path:docs/a.md"], before=[_CATCH_UP]),
        "lease acquire": Case(["lease", "acquire", "env:e{turn}"], before=[_CATCH_UP]),
        "lease acquire path:": Case(["lease", "acquire", "path:docs/{turn}"], before=[_CATCH_UP]),
        f"lease guard, {PATHS} paths": Case(["lease", "guard", *guarded], before=[_CATCH_UP]),
    }
    yield from _timed(cases, folder, asked.rounds, 1.5)


def handing_over(asked: Asked) -> Iterator[Row]:
    """From a release to the first word of the command that waited for it."""
    folder, _ = _store(asked, "handing-over")
    found = []
    for _ in range(HANDED_OVER):
        measure.run(["lease", "acquire", "env:x"], folder)
        words = measure.command(["lease", "exec", "env:x", "--wait", "--", "date", "+%s%N"])
        environment = {**measure.environment(), "COORD_AGENT": "agent:other"}
        waiting = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE)
        time.sleep(0.5)
        measure.run(["lease", "release", "env:x"], folder)
        begun = int(waiting.communicate()[0])
        raws = measure.run(["ev", "list", "--type", "lease.release", "--limit", "9"], folder).out
        lines = [json.loads(line) for line in raws.splitlines()]
        [mine] = [x for x in lines if x["actor"]["agent_id"] == "agent:bench"][-1:]
        released_ms = int(mine["event_id"][:10].translate(_DIGITS), 32)
        found.append(begun / 1e6 - released_ms)
    middle = median(found)
    yield Row("lease, handed over", middle, "ms", bound="30 ms", ok=middle <= 30)


# Crockford's digits as those that `int` reads.
_DIGITS = str.maketrans("0123456789ABCDEFGHJKMNPQRSTVWXYZ", "0123456789abcdefghijklmnopqrstuv")


def mail(asked: Asked, count: int = MESSAGES, limit: float = 1.5) -> Iterator[Row]:
    """Sending and looking, among much mail of fifty agents."""
    folder, is_new = _store(asked, f"mail-{count}")
    if is_new:
        measure.run(["ev", "config", "set", "msg.rate_per_minute", "1000000"], folder)
        lines = folder / "lines"
        with open(lines, "w", encoding="ascii") as stream:
            for number in range(count):
                to = f"agent:a{number % 50}"
                text = {"to": [to], "subject": f"about {number}", "text": f"body of {number}"}
                stream.write(json.dumps(text) + "\n")
        measure.run(["msg", "send", "--allow-unknown", "-"], folder, stdin=lines)
    send = ["msg", "send", "--to", "agent:a1", "--allow-unknown", "--subject", "turn {turn}"]
    cases = {
        f"msg send, {count:,}": Case(send, before=[_CATCH_UP]),
        f"msg inbox, {count:,}": Case(["msg", "inbox", "--me", "agent:a1"], before=[_CATCH_UP]),
    }
    yield from _timed(cases, folder, asked.rounds, limit)


def much_mail(asked: Asked) -> Iterator[Row]:
    """The same among 100,000 messages."""
    yield from mail(asked, MANY, 2.0)


SMALL: Mapping[str, Callable[[Asked], Iterator[Row]]] = {
    "lease-verbs": leases,
    "lease-over": handing_over,
    "msg-verbs": mail,
}
BIG: Mapping[str, Callable[[Asked], Iterator[Row]]] = {"msg-many": much_mail}
