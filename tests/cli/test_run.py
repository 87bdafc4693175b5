"""The verbs of `run`, in a pipe, with real workers and real commands."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coord.edge.run import tree
from coord.edge.store import locked
from tests.conftest import hold_up, until

ADA, BO, KIM = "agent:ada", "agent:bo", "human:kim"
DEADLINE_S = 60.0


@pytest.fixture
def ada(run: Any, store: Path) -> Callable[..., Any]:
    """`ada(words…)`: a command of `run` by ada."""
    return lambda *words, **options: run("run", *words, as_=ADA, **options)


@pytest.fixture
def requested(ada: Any) -> Callable[..., str]:
    """`requested(line, options…)`: the id of a new run of this shell line."""

    def made(line: str, *options: str) -> str:
        answer = ada("request", "--shell", line, "--quiet", *options)
        assert answer.code == 0, answer.err
        return str(answer.out.strip())

    return made


def drained(ada: Any, *options: str) -> list[Any]:
    """What a worker prints that goes on until nothing is left."""
    answer = ada("poll", "--drain", *options)
    assert answer.code == 0, answer.err
    return list(answer.lines)


def shown(ada: Any, run_id: str) -> Any:
    return ada("show", run_id).json


def types(store: Path) -> list[str]:
    """The types of all events of runs, in order."""
    lines = [line for path in (store / "run").iterdir() for line in path.read_text().splitlines()]
    return [json.loads(line)["type"] for line in lines]


def ended(ada: Any, run_id: str) -> bool:
    return bool(shown(ada, run_id)["status"] == "done")


def printing(ada: Any, run_id: str, text: str) -> None:
    """Wait until a run has printed this."""
    until(lambda: text in ada("logs", run_id).out)


def test_a_run_is_requested_claimed_started_and_completed(ada, requested, store):
    run_id = requested("echo out; echo err >&2; exit 3")

    [row] = drained(ada)

    assert (row["run_id"], row["outcome"], row["exit_code"]) == (run_id, "failed", 3)
    assert types(store) == ["run.requested", "run.claimed", "run.started", "run.completed"]
    assert sorted(ada("logs", run_id).out.split()) == ["err", "out"]


def test_exec_streams_and_mirrors_the_command(ada, store):
    answer = ada("exec", "--shell", "cat; echo err >&2; exit 7", input="in\n")

    assert (answer.code, answer.out, answer.err) == (7, "in\n", "err\n")


@pytest.mark.parametrize(
    ("line", "status"), [("exit 0", 0), ("exit 9", 9), ("kill -9 $$", 137), ("sleep 60", 124)]
)
def test_exec_and_wait_end_as_the_command_did(ada, line, status):
    answer = ada("exec", "--timeout", "500ms", "--shell", line)
    run_id = ada("list", "--status", "all").json["run_id"]

    assert answer.code == status
    assert ada("wait", run_id).code == status


def test_what_cannot_be_started_is_no_failure_of_the_command(ada, store):
    answer = ada("exec", "--", "no-such-command")

    row = ada("list", "--status", "all").json
    assert (answer.code, row["outcome"]) == (125, "infra_error")
    assert "exit_code" not in row
    assert "no-such-command" in answer.err


def test_exec_takes_nothing_from_the_queue(ada, requested):
    run_id = requested("true")

    assert ada("exec", "--", "true").code == 0

    assert shown(ada, run_id)["status"] == "queued"


def test_a_command_knows_its_run_its_cause_and_for_whom_it_acts(ada, requested, run):
    requested(f"{run.command('wk')[0]} create 'made inside'; echo $COORD_RUN $COORD_AGENT")

    assert run("run", "poll", "--drain", as_=BO).code == 0

    made = [e for e in run("ev", "list").lines if e["type"] == "work.created"]
    claim = [e for e in run("ev", "list").lines if e["type"] == "run.claimed"]
    assert [(e["actor"]["agent_id"], e["cause"]) for e in made] == [(ADA, claim[0]["event_id"])]
    assert claim[0]["actor"]["agent_id"] == BO


def test_a_command_runs_where_it_was_asked_for(ada, run, store):
    below = run.folder / "deep" / "er"
    below.mkdir(parents=True)
    run_id = ada("request", "--quiet", "--", "pwd", cwd=below).out.strip()

    drained(ada)

    assert ada("logs", run_id).out.strip() == str(below)


def test_priority_then_age_decides_who_is_next(ada, requested, store):
    order = [requested(f"echo {n}", "--priority", p) for n, p in enumerate("2120")]

    assert [row["run_id"] for row in drained(ada)] == [order[3], order[1], order[0], order[2]]


def test_a_run_comes_after_others(ada, requested):
    good, bad = requested("true"), requested("false")
    after = {
        name: requested("true", *(word for on in ons for word in ("--after", on)))
        for name, ons in {
            "both": [good, f"{bad}:any"], "ok": [bad], "failed": [f"{bad}:failed"],
            "not": [f"{good}:failed"],
        }.items()
    }  # fmt: skip

    drained(ada)

    outcomes = {name: shown(ada, run_id)["outcome"] for name, run_id in after.items()}
    assert outcomes == {
        "both": "succeeded", "ok": "skipped", "failed": "succeeded", "not": "skipped",
    }  # fmt: skip


def test_after_names_a_run_that_is_known(ada, store):
    assert ada("request", "--after", "run-none", "--", "true").error["code"] == "unknown_run"


def test_a_group_runs_no_more_at_once_than_it_says(ada, requested, tmp_path):
    line = f"echo + >> {tmp_path}/l; sleep 0.1; echo - >> {tmp_path}/l"
    for _ in range(5):
        requested(line, "--group", "gpu:2")

    drained(ada, "--max", "5")

    depth = [1 if mark == "+" else -1 for mark in (tmp_path / "l").read_text().split()]
    assert max(sum(depth[:n]) for n in range(len(depth) + 1)) <= 2
    assert len(depth) == 10


def test_a_worker_takes_only_what_it_has_the_labels_for(ada, requested):
    run_id = requested("true", "--label", "gpu", "--label", "linux")

    assert drained(ada, "--labels", "gpu") == []
    assert ada("why", run_id).json["reason"] == "labels"
    assert [row["run_id"] for row in drained(ada, "--labels", "linux,gpu")] == [run_id]


def test_a_run_that_waited_too_long_expires(ada, requested):
    run_id = requested("true", "--queue-timeout", "1ms")
    time.sleep(0.01)

    [row] = drained(ada)

    assert (row["run_id"], row["outcome"], row["attempts"]) == (run_id, "expired", 0)


def test_a_failed_run_is_tried_again_as_often_as_it_says(ada, requested, tmp_path):
    run_id = requested(f"echo x >> {tmp_path}/n; test $(wc -l < {tmp_path}/n) = 3",
                       "--retry", "5", "--backoff", "10ms")  # fmt: skip

    drained(ada)

    row = shown(ada, run_id)
    assert row["outcome"] == "succeeded"
    assert [one["outcome"] for one in row["attempts"]] == ["failed", "failed", "succeeded"]


def test_once_executes_one_run_or_says_that_there_is_none(ada, requested):
    first, second = requested("true"), requested("true")

    assert ada("poll", "--once").json["run_id"] == first
    assert shown(ada, second)["status"] == "queued"
    ada("poll", "--once")
    assert ada("poll", "--once").code == 1


def test_a_batch_is_written_whole_or_not_at_all(ada, store):
    good, bad = '{"argv":["true"]}', '{"argv":["true"],"priority":9}'

    refused = ada("request", "-", input=f"{good}\n{bad}\n")
    assert (refused.error["line"], refused.error["pointer"]) == (2, "/body/priority")
    assert ada("list").code == 1

    assert len(ada("request", "-", input=f"{good}\n{good}\n").lines) == 2


def test_a_retry_with_the_same_key_requests_nothing_new(ada, store):
    [one, other] = [ada("request", "--key", "k", "--", "true").json for _ in range(2)]

    assert one["run_id"] == other["run_id"]
    assert other["duplicate"] is True


def test_cancel_says_done_when_nothing_lives(ada, requested, run):
    run_id = requested("(env -i setsid sleep 611.1 &) ; trap '' TERM; echo ready; sleep 611.1",
                       "--grace", "200ms")  # fmt: skip
    worker = run.start("run", "poll", as_=BO)
    try:
        printing(ada, run_id, "ready")
        assert ada("cancel", run_id, "--why", "enough").code == 0

        assert shown(ada, run_id)["outcome"] == "cancelled"
        assert not any(has_word(pid, b"611.1") for pid in tree.living())
    finally:
        worker.kill()
        worker.communicate()


def has_word(pid: int, word: bytes) -> bool:
    try:
        return word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def test_a_queued_run_is_cancelled_at_once_and_an_ended_one_not_at_all(ada, requested):
    run_id = requested("true")

    assert ada("cancel", run_id).code == 0
    assert shown(ada, run_id)["outcome"] == "cancelled"
    assert ada("cancel", run_id).error["code"] == "wrong_state"


def test_the_next_worker_records_what_a_killed_one_has_started(ada, requested, run, tmp_path):
    """Nothing is executed twice by that."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run_id = requested(f"echo ready; cat {gate}; echo x >> {tmp_path}/n; exit 4")
    worker = run.start("run", "poll", as_=BO)
    printing(ada, run_id, "ready")

    worker.kill()
    worker.communicate()
    gate.write_text("")
    until(lambda: (drained(ada), ended(ada, run_id))[1])

    [attempt] = shown(ada, run_id)["attempts"]
    assert (attempt["exit_code"], attempt["told_by"]) == (4, ADA)
    assert (tmp_path / "n").read_text() == "x\n"


@pytest.mark.parametrize(("options", "attempts"), [((), 1), (("--idempotent",), 2)])
def test_when_the_shim_is_killed_the_run_is_lost_or_repeated(
    ada, requested, run, tmp_path, options, attempts
):
    line = f"echo x >> {tmp_path}/n; test $(wc -l < {tmp_path}/n) = 2 || sleep 612.1"
    run_id = requested(line, *options)
    worker = run.start("run", "poll", as_=BO)
    try:
        until((tmp_path / "n").exists)
        lock = store_of(run) / "local" / "logs" / run_id / "1" / "lock"
        os.kill(int(lock.read_text()), signal.SIGKILL)
        until(lambda: ended(ada, run_id))
    finally:
        worker.kill()
        worker.communicate()

    row = shown(ada, run_id)
    assert row["attempts"][0]["outcome"] == "lost"
    assert len(row["attempts"]) == attempts
    assert row["outcome"] == ("lost" if attempts == 1 else "succeeded")


def store_of(run: Any) -> Path:
    return Path(run.folder) / ".coord"


def test_what_a_paused_agent_has_asked_for_waits_and_what_runs_is_ended(ada, requested, run):
    first = requested("echo ready; sleep 613.1", "--grace", "100ms")
    worker = run.start("run", "poll", as_=BO)
    try:
        printing(ada, first, "ready")
        second = requested("true")
        run.ok("ev", "agent", "pause", ADA, "--why", "a test", as_=KIM)
        until(lambda: ended(ada, first))

        assert shown(ada, first)["outcome"] == "cancelled"
        assert shown(ada, second)["status"] == "queued"
        assert "paused" in [row["reason"] for row in ada("why", second).lines]
    finally:
        worker.kill()
        worker.communicate()


def test_a_run_of_another_store_is_not_executed(ada, store, run):
    body = '{"argv":["true"],"store":"elsewhere"}'
    run.ok("ev", "emit", "run.requested", "--ref", "run_id=run-other", "--body", body, as_=ADA)

    assert drained(ada) == []
    assert "elsewhere" in [row["reason"] for row in ada("why", "run-other").lines]


def test_attach_shows_the_same_bytes_and_ends_as_the_run(ada, requested, run, tmp_path):
    """It begins while the command prints; what the command printed is kept by tee."""
    line = f"seq 200000 | tee {tmp_path}/said; exit 6"
    run_id = requested(line)
    follower = run.start("run", "attach", run_id, as_=BO)
    drained(ada)

    out, _ = follower.communicate(timeout=DEADLINE_S)

    assert follower.returncode == 6
    assert digest(out) == digest((tmp_path / "said").read_bytes())
    assert ada("logs", run_id, "--since", str(len(out) - 7)).out == "200000\n"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_an_interrupted_exec_cancels_its_run(ada, run, store):
    process = run.start("run", "exec", "--grace", "100ms", "--shell", "echo ready; sleep 614.1",
                        as_=ADA)  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 130
    assert ada("list", "--status", "all").json["outcome"] == "cancelled"


INTERRUPTED = """
import os, signal
from coord.cli.run import main
from coord.edge.run import spool
taken = spool.take_new
def take_new(folder):
    os.kill(os.getpid(), signal.SIGINT)
    return taken(folder)
spool.take_new = take_new
main()
"""


def test_an_exec_that_is_interrupted_before_it_has_asked_leaves_nothing(ada, run, store):
    answer = run(sys.executable, "-c", INTERRUPTED, "exec", "--", "true", as_=ADA)

    assert (answer.code, answer.err) == (130, "")
    assert types(store) == []


def waits_for_a_lock(pid: int) -> bool:
    return any("->" in line and f" {pid} " in line for line in open("/proc/locks"))


def test_an_exec_is_interrupted_though_another_has_recorded_its_end(ada, run, store, tmp_path):
    """It was held up between the signal and its asking for an end."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    running = run.start("run", "exec", "--shell", f"echo ready; cat {gate}", as_=ADA)
    assert running.stdout.readline() == b"ready\n"
    with locked(str(store)):
        running.send_signal(signal.SIGINT)
        until(lambda: waits_for_a_lock(running.pid))
        hold_up(running)
        gate.write_text("")

    [row] = until(lambda: drained(ada))
    running.send_signal(signal.SIGCONT)
    _, err = running.communicate(timeout=DEADLINE_S)

    assert (row["outcome"], running.returncode, err) == ("succeeded", 130, b"")


def test_retry_asks_once_more_for_what_has_ended(ada, requested):
    run_id = requested("false", "--title", "t")
    assert ada("retry", run_id).error["code"] == "wrong_state"
    drained(ada)

    again = ada("retry", run_id).json["run_id"]

    row = shown(ada, again)
    assert (row["status"], row["retry_of"], row["title"]) == ("queued", run_id, "t")


def test_wait_gives_up_when_its_time_is_over(ada, requested):
    answer = ada("wait", requested("true"), "--for", "1ms")

    assert (answer.code, answer.error["code"]) == (7, "busy")


def test_watch_tells_how_runs_end_and_not_each_attempt(ada, requested, run):
    watching = run.start("run", "watch", "--status", "failed", "--since", "start", "-n", "1",
                         as_=BO)  # fmt: skip
    requested("true")
    run_id = requested("false", "--retry", "1")
    drained(ada)

    out, _ = watching.communicate(timeout=DEADLINE_S)

    [line] = out.splitlines()
    told = json.loads(line)
    assert (told["refs"]["run_id"], told["body"]["attempt"]) == (run_id, 2)


def test_gc_removes_old_logs_and_nothing_else(ada, requested):
    old, queued = requested("echo x"), requested("true", "--not-before", "1d")
    drained(ada)
    time.sleep(0.01)

    assert ada("gc", "--keep", "1d").out == ""
    assert [row["run_id"] for row in ada("gc", "--keep", "0", "--dry-run").lines] == [old]
    assert ada("logs", old).out == "x\n"
    assert [row["run_id"] for row in ada("gc", "--keep", "0").lines] == [old]
    assert ada("logs", old).error["code"] == "no_file"
    assert shown(ada, queued)["status"] == "queued"


def test_doctor_probes_for_real_and_leaves_nothing(ada, store):
    answer = ada("doctor")

    assert (answer.code, {row["ok"] for row in answer.lines}) == (0, {True})
    assert types(store) == []


def test_two_workers_execute_each_run_once(ada, run, tmp_path, store):
    lines = "\n".join(json.dumps({"shell": f"echo {n} >> {tmp_path}/n"}) for n in range(30))
    assert ada("request", "-", input=lines).code == 0
    quiet = {"stdout": subprocess.DEVNULL}
    workers = [run.start("run", "poll", "--drain", "--max", "3", as_=BO, **quiet) for _ in "ab"]

    for worker in workers:
        worker.communicate(timeout=DEADLINE_S)

    drained(ada)
    assert sorted(map(int, (tmp_path / "n").read_text().split())) == [*range(30)]


def test_a_worker_tells_of_its_run_though_another_has_recorded_its_end(
    run: Any, ada: Any, requested: Any, store: Path, tmp_path: Path
):
    """It was held up meanwhile, as on a busy machine."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    run_id = requested(f"echo begun; cat {gate}")
    worker = run.start("run", "poll", "--once", as_="bot:slow")
    until(lambda: ada("logs", run_id).out == "begun\n")
    until(lambda: "run.started" in types(store))
    hold_up(worker)
    gate.write_text("")

    others = drained(ada)
    worker.send_signal(signal.SIGCONT)
    said, _ = worker.communicate(timeout=DEADLINE_S)

    assert [row["run_id"] for row in others] == [run_id]
    assert (worker.returncode, json.loads(said)["run_id"]) == (0, run_id)
