"""Pausing an agent ends what it has running, wherever that is heard; nothing resumes by itself."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until

ADA, BO, KIM = "agent:ada", "agent:bo", "human:kim"
DEADLINE_S = 60.0
# Ignores TERM: only KILL after the grace ends it.
STUBBORN = "trap '' TERM; touch ready; while :; do sleep 0.1; done"


@pytest.fixture
def ada(run: Any, store: Path) -> Callable[..., Any]:
    return lambda *words, **options: run("run", *words, **{"as_": ADA, **options})


@pytest.fixture
def pause(run: Any) -> Callable[..., Any]:
    """`pause()`, and `pause("resume")`: what a person does to ada."""
    return lambda verb="pause", *more: run.ok("ev", "agent", verb, ADA, *more, as_=KIM)


def rows(ada: Any) -> list[Any]:
    return list(ada("list", "--status", "all").lines)


def test_what_exec_executes_is_ended_though_no_worker_is_there(ada, run, pause):
    words = ("exec", "--grace", "100ms", "--shell", STUBBORN)
    process = run.start("run", *words, as_=ADA)
    until((run.folder / "ready").exists)

    pause("pause", "--why", "stop")

    assert process.wait(DEADLINE_S) == 125
    assert b"agent:ada was paused by human:kim" in process.stderr.read()
    [row] = rows(ada)
    assert (row["outcome"], row["signal"]) == ("cancelled", 9)


def test_a_worker_that_is_paused_records_what_it_ends_and_takes_no_more(ada, run, pause):
    worker = run.start("run", "poll", as_=ADA)
    ada("request", "--grace", "100ms", "--shell", STUBBORN)
    until((run.folder / "ready").exists)
    ada("request", "--", "true")

    pause("pause", "--why", "stop")

    assert worker.wait(DEADLINE_S) == 4
    assert [row.get("outcome", row["status"]) for row in rows(ada)] == ["queued", "cancelled"]


def test_nothing_that_was_ended_begins_again_when_the_pause_is_lifted(ada, run, pause):
    worker = run.start("run", "poll", as_=BO)
    try:
        ada("request", "--grace", "100ms", "--idempotent", "--retry", "3", "--shell", STUBBORN)
        until((run.folder / "ready").exists)
        pause("pause", "--why", "stop")
        until(lambda: "outcome" in rows(ada)[0])

        pause("resume")
        marker = ada("request", "--quiet", "--", "true").out.strip()
        assert ada("wait", marker).code == 0

        assert [row["attempts"] for row in rows(ada)] == [1, 1]
        assert rows(ada)[1]["outcome"] == "cancelled"
    finally:
        worker.kill()
        worker.communicate()


def test_a_pause_ends_what_runs_on_another_host_that_hears_of_it(ada, run, pause, tmp_path):
    """Heard by a sync of any process there; its worker was asleep until then."""
    remote, other = tmp_path / "remote.git", tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    for words in (("remote", "add", "origin", remote), ("push", "--quiet", "origin", "HEAD")):
        subprocess.run(["git", *words], cwd=run.folder, check=True)
    subprocess.run(["git", "clone", "--quiet", remote, other], check=True)
    for folder in (run.folder, other):
        run.ok("ev", "init", cwd=folder, as_=BO)
    run.ok("run", "request", "--grace", "100ms", "--shell", STUBBORN, cwd=other, as_=ADA)
    worker = run.start("run", "poll", cwd=other, as_=BO)
    try:
        until((other / "ready").exists)
        pause("pause", "--why", "stop")

        run.ok("ev", "sync", as_=KIM)
        run.ok("ev", "sync", cwd=other, as_=BO)

        row = until(lambda: [r for r in rows_in(run, other) if "outcome" in r])[0]
        assert row["outcome"] == "cancelled"
    finally:
        worker.kill()
        worker.communicate()


def rows_in(run: Any, folder: Path) -> list[Any]:
    return list(run("run", "list", "--status", "all", cwd=folder, as_=BO).lines)


def test_a_step_that_a_pause_ends_is_recorded_as_it_ended(ada, run, pause):
    """What has happened is told by whomever it may; the attempt is over all the same."""
    tool = run.command("run")[0]
    line = (
        f"{tool} step one -- sh -c 'trap \"exit 3\" TERM; touch ready; while :; do sleep 0.1; done'"
    )
    process = run.start("run", "exec", "--shell", line, as_=ADA)
    until((run.folder / "ready").exists)

    pause("pause", "--why", "stop")

    assert process.wait(DEADLINE_S) == 125
    [step] = ada("show", rows(ada)[0]["run_id"]).json["steps"]
    assert (step["status"], step["exit_code"]) == ("done", 3)
