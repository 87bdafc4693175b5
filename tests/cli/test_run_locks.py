"""`--lock`: a run starts once what it needs is free, and has it for itself while it lives."""

import json

import pytest

from tests.conftest import until


@pytest.fixture
def ada(run, store):
    """Commands as agent:ada."""

    def call(*words, **options):
        return run(*words, as_="agent:ada", **options)

    return call


def held(run):
    return [row["resource"] for row in run("lease", "list", as_="agent:x").lines]


def test_the_command_holds_what_its_run_names_and_gives_it_back(ada, run):
    (run.folder / "src").mkdir()
    words = ("--lock", "path:a/*.py", "--lock", "env:x", "--", "lease", "list")
    env = {"PATH": f"{run.command('lease')[0].rpartition('/')[0]}:/usr/bin:/bin"}

    done = ada("run", "exec", *words, cwd=run.folder / "src", env=env)

    rows = [json.loads(line) for line in done.out.splitlines()]
    assert [(r["resource"], r["agent_id"]) for r in rows] == [
        ("path:src/a/*.py", "agent:ada"), ("env:x", "agent:ada"),
    ]  # fmt: skip
    assert held(run) == []


def test_a_run_waits_in_the_queue_until_its_lock_is_free_and_says_for_whom(ada, run):
    lease = run.ok("lease", "acquire", "path:src/**", as_="agent:bo").json
    run_id = ada("run", "request", "--lock", "path:src/a.py", "--", "true").json["run_id"]
    other = ada("run", "request", "--", "true").json["run_id"]
    polling = run.start("run", "poll", as_="agent:w")
    until(lambda: ada("run", "show", other).json["status"] == "done", "the other run ends")

    why = ada("run", "why", run_id).json
    run.ok("lease", "release", lease["lease_id"], as_="agent:bo")
    until(lambda: ada("run", "show", run_id).json["status"] == "done", "it is executed")
    polling.terminate()
    polling.communicate(timeout=60)

    assert (why["reason"], "agent:bo" in why["text"]) == ("locks", True)
    assert ada("run", "show", run_id).json["outcome"] == "succeeded"


def test_a_run_starts_once_the_lease_in_its_way_has_run_out(ada, run):
    run.ok("lease", "acquire", "env:a", "--ttl", "2s", as_="agent:bo")

    done = ada("run", "exec", "--lock", "env:a", "--", "true")

    assert done.code == 0


def test_runs_that_need_the_same_are_executed_one_after_the_other(ada, run):
    script = 'test ! -e inside && touch inside && sleep 0.2 && rm inside && echo "$0" >> log'
    for number in range(4):
        ada("run", "request", "--lock", "env:a", "--", "sh", "-c", script, str(number))

    run.ok("run", "poll", "--drain", "--max", "4", as_="agent:w")

    assert len((run.folder / "log").read_text().splitlines()) == 4


def test_a_pool_lets_as_many_run_as_it_has_places(ada, run):
    run.ok("lease", "acquire", "gpu:a*2", as_="agent:bo")
    run.ok("lease", "acquire", "gpu:a*2", as_="agent:cy")
    run_id = ada("run", "request", "--lock", "gpu:a*2", "--", "true").json["run_id"]

    full = ada("run", "why", run_id).json
    lease = next(r for r in run("lease", "list", as_="agent:x").lines if "bo" in r["agent_id"])
    run.ok("lease", "release", lease["lease_id"], as_="agent:bo")
    run.ok("run", "poll", "--drain", as_="agent:w")

    assert full["reason"] == "locks"
    assert ada("run", "show", run_id).json["outcome"] == "succeeded"


@pytest.mark.parametrize("named", ["work:wk-a", "nothing", "path:../out"])
def test_a_lock_that_cannot_be_leased_is_refused_at_once(ada, named):
    assert ada("run", "request", "--lock", named, "--", "true").code == 2


def test_a_batch_line_with_a_lock_that_is_none_is_named(ada):
    line = json.dumps({"argv": ["true"], "locks": ["work:wk-a"]})

    answer = ada("run", "request", "-", input=line + "\n")

    assert (answer.code, answer.error["code"]) == (6, "bad_data")
