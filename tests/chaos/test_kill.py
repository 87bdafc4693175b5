"""Kill -9 while commands append: what was acknowledged is there, what is torn is named.

Torn tails come about by themselves only rarely, so one test makes the system cut a
write short (a limit on the file's size), and one leaves a tail torn at any byte.
"""

import functools
import json
import os
import random
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.chaos import journals
from tests.conftest import Runner

APPENDS = 1000


def told(out: bytes) -> list[str]:
    """The event ids of the acknowledgements that came out whole."""
    whole = out[: out.rfind(b"\n") + 1].splitlines()
    return [json.loads(line)["event_id"] for line in whole]


def torn(store: Path) -> set[tuple[str, int]]:
    """Every line that is no event, by file and byte."""
    return {(str(x.path), x.offset) for x in journals.lines(store) if x.event is None}


def assert_whole(run: Runner, store: Path, acknowledged: list[str]) -> None:
    """Nothing told is lost, damage is named, and the next append works."""
    assert set(acknowledged) <= journals.ids(store)
    after = run.ok("ev", "emit", "test.after").json["event_id"]
    assert after in journals.ids(store)
    answer = run("ev", "check")
    named = {(row["path"], row["offset"]) for row in answer.lines if row["kind"] == "journal"}
    assert named == torn(store)
    assert answer.code == (1 if named else 0)
    last = run.ok("ev", "list", "--limit", "1").json
    assert last["event_id"] == after


def killed_after(process: subprocess.Popen[bytes], data: bytes, delay_s: float) -> bytes:
    """Feed a command and kill it after a while; what it printed until then."""
    timer = threading.Timer(delay_s, process.send_signal, [signal.SIGKILL])
    timer.start()
    try:
        return process.communicate(data, timeout=120)[0]
    finally:
        timer.cancel()


BATCHES = {
    "ev": (["ev", "emit", "-"], b'{"type":"test.done","body":{"text":"%s"}}\n' % (b"x" * 200)),
    "wk": (["wk", "create", "-"], b'{"title":"one of many","labels":["load"]}\n'),
}


@pytest.mark.parametrize("tool", BATCHES)
def test_a_batch_killed_at_any_point_loses_nothing_it_acknowledged(
    run: Runner, store: Path, tool: str
):
    words, line = BATCHES[tool]
    chance = random.Random(tool)
    began = time.monotonic()
    run.ok(*words, input=line * APPENDS)
    whole_s = time.monotonic() - began

    acknowledged: list[str] = []
    for _ in range(6):
        process = run.start(*words, stdin=subprocess.PIPE)
        delay_s = chance.uniform(0.3, 1.1) * whole_s
        acknowledged += told(killed_after(process, line * APPENDS, delay_s))

    assert_whole(run, store, acknowledged)


def test_single_appends_killed_at_any_point_lose_nothing_they_acknowledged(
    run: Runner, store: Path, tmp_path: Path
):
    """Five loops of `ev emit` and `wk create`, killed with their commands, ten times."""
    loop = 'while :; do "$EV" emit test.done; "$WK" create item; done >>"$1" 2>>"$1.err"'
    environment = run.environment(
        "agent:ada", {"EV": run.command("ev")[0], "WK": run.command("wk")[0]}
    )
    chance = random.Random(9)
    ledgers = [tmp_path / f"ledger{n}" for n in range(10)]
    for start in range(0, len(ledgers), 5):
        loops = [
            subprocess.Popen(
                ["sh", "-c", loop, "sh", str(ledger)],
                cwd=run.folder, env=environment, start_new_session=True,
            )
            for ledger in ledgers[start : start + 5]
        ]  # fmt: skip
        for process in loops:
            time.sleep(chance.uniform(0.1, 0.6))
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    acknowledged = [event_id for ledger in ledgers for event_id in told(ledger.read_bytes())]
    assert acknowledged
    assert_whole(run, store, acknowledged)


def limit(size: int) -> None:
    """What a child does first: no file may grow beyond `size` bytes."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_a_write_that_the_system_cuts_short_is_refused_and_harms_nothing(run: Runner, store: Path):
    """The file ends in the middle of a line; the batch was not acknowledged."""
    before = told(run.ok("ev", "emit", "-", input=BATCHES["ev"][1] * 10).out.encode())
    size = sum(path.stat().st_size for path in (store / "ev").iterdir())

    process = run.start(
        "ev", "emit", "-", stdin=subprocess.PIPE, preexec_fn=functools.partial(limit, size + 1000)
    )
    out, err = process.communicate(BATCHES["ev"][1] * 10, timeout=60)

    assert (process.returncode, out) == (7, b"")
    assert json.loads(err)["error"]["code"] == "disk"
    assert sum(path.stat().st_size for path in (store / "ev").iterdir()) == size + 1000
    assert_whole(run, store, before)
    assert torn(store)


def test_a_tail_torn_at_any_byte_is_named_and_passed_over(run: Runner, store: Path):
    """A tail that lacks only its newline is whole: the next append completes it."""
    kept = run.ok("ev", "emit", "test.kept").json["event_id"]
    run.ok("ev", "emit", "test.torn", "--body", '{"text":"ž"}')
    file = journals.files(store)[0]
    data = file.read_bytes()
    start = data.rfind(b"\n", 0, -1) + 1
    cuts = [start + 1, start + 2, (start + len(data)) // 2, len(data) - 2, len(data) - 1]

    for cut in cuts:
        file.write_bytes(data[:cut])
        assert_whole(run, store, [kept])
        assert len(torn(store)) == (0 if cut == len(data) - 1 else 1)
