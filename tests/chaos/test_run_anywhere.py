"""Runs that any clone may execute: many workers, clones that die, clones that are cut off.

The jobs write a ledger, which knows nothing of journals: it is the judge.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coord.edge.run import spool
from tests.conftest import until
from tests.remotes import Side, git

# How often is looked for what takes several times a TTL, on a machine that is busy.
PATIENT = 4800
GROUPS = {"gpu": 2, "net": 3}
# Long enough for a look at it, short enough to meet others: begin, wait, end.
JOB = 'echo "begin $0 $1" >> "$LEDGER"; sleep 0.0$2; echo "end $0 $1" >> "$LEDGER"'


@pytest.fixture
def sides(tmp_path: Path) -> list[Side]:
    """Two clones of a bare remote, each with a store and linked worktrees."""
    git(tmp_path, "init", "--quiet", "--bare", tmp_path / "remote.git")
    made = []
    for name in ("ada", "bo"):
        folder = tmp_path / name
        git(tmp_path, "init", "--quiet", folder)
        who = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")
        git(folder, *who, "commit", "--quiet", "--allow-empty", "--message", "Begin")
        git(folder, "remote", "add", "origin", tmp_path / "remote.git")
        side = Side(folder, name)
        side.ok("ev", "init")
        for number in (1, 2):
            git(folder, "worktree", "add", "--quiet", tmp_path / f"{name}-{number}")
        made.append(side)
    return made


@contextlib.contextmanager
def working(sides: list[Side], workers: int, *options: str) -> Iterator[list[Any]]:
    """Workers, in turn in the clones and their worktrees, and a syncer in each clone."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(workers):
            side = sides[number % len(sides)]
            place = side.folder.parent / [side.name, f"{side.name}-1", f"{side.name}-2"][number % 3]
            words = ("run", "poll", *options)
            who = f"agent:w{number}"
            started.append(side.start(*words, cwd=place, as_=who, stdout=subprocess.DEVNULL))
        for side in sides:
            words = ("ev", "sync", "--watch", "1")
            started.append(side.start(*words, as_=f"agent:{side.name}", stdout=subprocess.DEVNULL))
        yield started
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.communicate()


def states(side: Side) -> list[dict[str, Any]]:
    return list(side("run", "list", "--status", "all", "--limit", "0").lines)


def undone(side: Side) -> list[str]:
    return [row["run_id"] for row in states(side) if row["status"] != "done"]


def test_many_workers_of_two_clones_execute_each_job_once_within_its_limits(
    sides: list[Side], tmp_path: Path, request: pytest.FixtureRequest
):
    """30 jobs, 4 workers; 2,000 and 20 with --long. Order, labels and limits hold for all."""
    jobs, workers = (2000, 20) if request.config.getoption("--long") else (30, 4)
    chance = random.Random(jobs)
    ledger = tmp_path / "ledger"
    ledger.touch()
    lines = []
    for number in range(jobs):
        group = chance.choice([None, *GROUPS])
        argv = ["sh", "-c", JOB, str(number), group or "-", str(chance.randrange(10))]
        line: dict[str, Any] = {"argv": argv, "anywhere": True, "env": {"LEDGER": str(ledger)}}
        line |= {"group": {"name": group, "limit": GROUPS[group]}} if group else {}
        line |= {"requires": ["linux"]} if chance.random() < 0.3 else {}
        line["priority"] = chance.randrange(5)
        lines.append(json.dumps(line))
    asked = sides[0].ok("run", "request", "-", input="\n".join(lines) + "\n").lines
    first = [row["run_id"] for row in asked]
    followers = []
    for number in range(jobs // 10):
        before = chance.randrange(jobs)
        words = ["--after", first[before], "--anywhere", "--env", f"LEDGER={ledger}", "--"]
        argv = ["sh", "-c", JOB, f"after-{before}-{number}", "-", "0"]
        followers.append(sides[0].ok("run", "request", *words, *argv).json["run_id"])
    sides[0].sync()

    with working(sides, workers, "--max", "2", "--labels", "linux"):
        until(
            lambda: not undone(sides[0]), "all have ended", tries=PATIENT if jobs < 100 else 24_000
        )

    for side in (*sides, sides[0]):
        side.sync()
    judge(ledger.read_text().splitlines(), jobs + len(followers))
    outcomes = {row["outcome"] for row in states(sides[0])}
    assert outcomes == {"succeeded"}
    stores = {
        raw["body"]["store"] for raw in sides[0].ok(
            "ev", "list", "--type", "run.claimed", "--limit", "0").lines
    }  # fmt: skip
    assert len(stores) == 2, "both clones had their part"
    for side in sides:
        assert side("ev", "check").out == ""


def judge(lines: list[str], jobs: int) -> None:
    """Each job began and ended once, never too many of a group at once, none too early."""
    began: list[str] = []
    ended: list[str] = []
    inside: dict[str, int] = {}
    for line in lines:
        what, name, group = line.split()
        if what == "begin":
            began.append(name)
            inside[group] = inside.get(group, 0) + 1
            assert group == "-" or inside[group] <= GROUPS[group], line
            if name.startswith("after-"):
                assert name.split("-")[1] in ended, line
        else:
            ended.append(name)
            inside[group] -= 1
    assert sorted(began) == sorted(set(began))
    assert len(began) == len(ended) == jobs


def all_of(side: Side) -> list[int]:
    """Every process that runs in a clone: its workers, shims, keeper and jobs."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/{name}/cwd") == str(side.folder) and int(name) != os.getpid():
                found.append(int(name))
    return found


@pytest.mark.parametrize("idempotent", [True, False])
def test_what_a_dead_clone_had_is_executed_elsewhere_once_more_or_said_to_be_lost(
    sides: list[Side], tmp_path: Path, idempotent: bool
):
    ada, bo = sides
    ada.ok("ev", "config", "set", "run.ttl_ms", "2s")
    ledger = tmp_path / "ledger"
    script = f'echo "$PWD" >> {ledger}; test "$PWD" != {ada.folder} || sleep 600'
    options = ["--grace", "100ms", *(["--idempotent"] if idempotent else [])]
    run_id = ada.ok("run", "request", "--anywhere", *options, "--", "sh", "-c", script).json[
        "run_id"
    ]
    ada.sync()
    polling = ada.start("run", "poll", as_="agent:w1")
    until(ledger.exists, "the job begins")
    until(lambda: ada.ok("run", "show", run_id).json["status"] == "started", "it is recorded")
    ada.sync()
    bo.sync()
    for pid in all_of(ada):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    polling.communicate()

    with working([bo], 1):
        until(lambda: "outcome" in bo.ok("run", "show", run_id).json, "bo records its end", PATIENT)

    told = bo.ok("run", "show", run_id).json
    places = ledger.read_text().splitlines()
    assert told["attempts"][0]["outcome"] == "lost"
    if idempotent:
        assert (told["outcome"], places) == ("succeeded", [str(ada.folder), str(bo.folder)])
    else:
        assert (told["outcome"], places) == ("lost", [str(ada.folder)])


def test_a_clone_that_is_cut_off_ends_its_job_before_another_may_begin_it(
    sides: list[Side], tmp_path: Path
):
    ada, bo = sides
    ada.ok("ev", "config", "set", "run.ttl_ms", "6s")
    ledger = tmp_path / "ledger"
    script = f'trap "echo ended >> {ledger}; exit 1" TERM; echo "$PWD" >> {ledger}; ' + (
        f'test "$PWD" != {ada.folder} || while :; do sleep 0.1; done'
    )
    words = ("--anywhere", "--idempotent", "--grace", "1s", "--", "sh", "-c", script)
    run_id = ada.ok("run", "request", *words).json["run_id"]
    ada.sync()
    polling = ada.start("run", "poll", as_="agent:w1")
    until(ledger.exists, "the job begins")
    ada.sync()
    bo.sync()
    git(ada.folder, "remote", "set-url", "origin", tmp_path / "nowhere")

    with working([bo], 1):
        until(lambda: "outcome" in bo.ok("run", "show", run_id).json, "bo executes it", PATIENT)
    assert polling.poll() is None, "what ended so must end no worker"
    polling.terminate()
    polling.communicate()

    assert ledger.read_text().splitlines() == [str(ada.folder), "ended", str(bo.folder)]
    assert bo.ok("run", "show", run_id).json["outcome"] == "succeeded"


def reasons(side: Side, run_id: str) -> list[str]:
    """Why a run is not executed, as `run why` has it."""
    return [row["reason"] for row in side("run", "why", run_id).lines]


def test_why_says_that_the_remote_does_not_decide_until_it_does(sides: list[Side], tmp_path: Path):
    """Of the runs that it decides about: a schedule that is not due has asked it nothing."""
    ada, _ = sides
    cron = ada.ok("run", "request", "--cron", "0 3 * * *", "--", "true").json["run_id"]
    asked = [ada.ok("run", "request", "--anywhere", "--", "true").json["run_id"] for _ in range(2)]
    git(ada.folder, "remote", "set-url", "origin", tmp_path / "nowhere")

    said = ada("run", "poll", "--once", as_="agent:w1")
    why = ada("run", "why", asked[0]).lines
    others = reasons(ada, asked[1]), reasons(ada, cron)
    git(ada.folder, "remote", "set-url", "origin", tmp_path / "remote.git")
    ada.ok("run", "poll", "--once", as_="agent:w1")

    assert [row["reason"] for row in why] == ["cut_off"]
    assert why[0]["text"] in said.err
    assert others == (["cut_off"], ["scheduled"])
    assert "cut_off" not in {*reasons(ada, asked[0]), *reasons(ada, asked[1])}


def test_a_run_of_all_clones_is_refused_where_no_remote_can_decide(run: Any, store: Path):
    answer = run("run", "request", "--anywhere", "--", "true", as_="agent:ada")

    assert (answer.code, answer.error["code"]) == (3, "no_remote")


def test_how_a_job_ended_whose_worker_was_killed_is_recorded_without_another_worker(
    sides: list[Side], tmp_path: Path
):
    ada, _ = sides
    ada.ok("ev", "config", "set", "run.ttl_ms", "12s")
    script = f"touch {tmp_path}/begun; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done; exit 7"
    words = ("--anywhere", "--grace", "100ms", "--", "sh", "-c", script)
    run_id = ada.ok("run", "request", *words).json["run_id"]
    polling = ada.start("run", "poll", as_="agent:w1")
    until((tmp_path / "begun").exists, "the job begins")
    until(lambda: ada.ok("run", "show", run_id).json["status"] == "started", "it is recorded")
    until((ada.store / "local" / "run-keeper").exists, "it has a keeper")
    polling.kill()
    polling.communicate()
    (tmp_path / "go").touch()

    until(lambda: "outcome" in ada.ok("run", "show", run_id).json, "the keeper records it", PATIENT)

    told = ada.ok("run", "show", run_id).json
    assert (told["outcome"], told["attempts"][0]["exit_code"]) == ("failed", 7)


def keepers(side: Side) -> list[int]:
    """The processes that have the keeper's lock of a store open."""
    lock = str(side.store / "local" / "run-keeper")
    found = []
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            if any(os.readlink(name) == lock for name in folder.iterdir()):
                found.append(int(folder.parent.name))
    return found


def test_a_keeper_renews_nothing_that_is_dead_and_ends(sides: list[Side], tmp_path: Path):
    """Also where nobody can record how it ended: else no clone would ever get it."""
    ada, _ = sides
    ada.ok("ev", "config", "set", "run.ttl_ms", "6s")
    words = ("--anywhere", "--grace", "100ms", "--", "sh", "-c",
             f"touch {tmp_path}/begun; sleep 600")  # fmt: skip
    run_id = ada.ok("run", "request", *words).json["run_id"]
    polling = ada.start("run", "poll", as_="agent:w1")
    until((tmp_path / "begun").exists, "the job begins")
    until(lambda: ada.ok("run", "show", run_id).json["status"] == "started", "it is recorded")
    folder = ada.store / "local" / "logs" / run_id / "1"
    until(lambda: keepers(ada), "it has a keeper")
    polling.kill()
    polling.communicate()
    [keeper] = until(lambda: keepers(ada))
    os.kill(keeper, signal.SIGSTOP)
    os.kill(spool.pid_of(str(folder)), signal.SIGKILL)
    until(lambda: not spool.is_alive(str(folder)))
    lease_id = ada.ok("run", "show", run_id).json["attempts"][0]["lease_id"]
    (folder / "exit.json").write_text(json.dumps({"lease_id": lease_id, "outcome": "none"}))

    os.kill(keeper, signal.SIGCONT)

    until(lambda: not keepers(ada), "the keeper ends")


def renewals(side: Side) -> int:
    return len(side("ev", "list", "--type", "run.renewed", "--limit", "0").lines)


def test_a_job_that_outlasts_its_claim_goes_on_while_its_keeper_renews_it(
    sides: list[Side], tmp_path: Path
):
    ada, _ = sides
    ada.ok("ev", "config", "set", "run.ttl_ms", "6s")
    ledger = tmp_path / "ledger"
    script = f"echo begun >> {ledger}; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done"
    words = ("--anywhere", "--idempotent", "--grace", "1s", "--", "sh", "-c", script)
    run_id = ada.ok("run", "request", *words).json["run_id"]

    with working(sides, 2):
        until(lambda: renewals(ada) >= 4, "it has been renewed for longer than its time", PATIENT)
        (tmp_path / "go").touch()
        until(lambda: "outcome" in ada.ok("run", "show", run_id).json, "it ends")

    assert ada.ok("run", "show", run_id).json["outcome"] == "succeeded"
    assert ledger.read_text() == "begun\n"
