"""`run request` where one is enough: dedupe keys, schedules, batches."""

import pytest

from tests.conftest import Runner


@pytest.fixture
def ask(run: Runner, store):
    """Ask for a run under a key; answers what is printed."""

    def asked(*options: str, code: int = 0, by: str = "agent:ada"):
        words = ("run", "request", "--dedupe", "deploy", *options, "--", "sleep", "60.5")
        answer = run(*words, as_=by)
        assert answer.code == code, answer.err
        return answer.json if code == 0 else answer.error

    return asked


def test_a_request_joins_the_run_with_its_key_until_that_has_ended(ask, run: Runner):
    first = ask()
    joined = ask(by="agent:bo")
    run.ok("run", "cancel", first["run_id"], as_="agent:ada")
    later = ask()

    assert (joined["run_id"], joined["duplicate"]) == (first["run_id"], True)
    assert later["run_id"] != first["run_id"]


def test_a_request_may_be_refused_while_there_is_one(ask):
    first = ask()

    refused = ask("--if-there", "refuse", code=5)

    assert (refused["code"], refused["run_id"]) == ("exists", first["run_id"])


def test_what_replaces_a_run_begins_when_nothing_of_that_lives(ask, run: Runner, store):
    """A queued one is over at once, one that runs is ended first."""
    first = ask()["run_id"]
    second = ask("--if-there", "replace")["run_id"]
    worker = run.start("run", "poll", as_="bot:w")
    try:
        begun = store / "local" / "logs" / second / "1" / "begun"
        while not begun.exists():
            assert worker.poll() is None
        third = ask("--if-there", "replace")["run_id"]
        ended = run("run", "wait", second, as_="bot:w")
        run.ok("run", "cancel", third, as_="bot:w")
    finally:
        worker.kill()
        worker.communicate()

    states = [run.ok("run", "show", one, as_="bot:w").json for one in (first, second, third)]
    assert [state["outcome"] for state in states] == ["cancelled"] * 3
    assert ended.code == 125
    assert {"run_id": second, "on": "any"} in states[2]["after"]


def test_a_retry_under_an_idempotency_key_answers_what_it_did_then(ask, run: Runner):
    ask()
    first = ask("--if-there", "replace", "--key", "k")
    again = ask("--if-there", "replace", "--key", "k")

    assert (again["run_id"], again["duplicate"]) == (first["run_id"], True)


@pytest.mark.parametrize(
    "options",
    [
        ("--cron", "61 * * * *"), ("--cron", "@often"), ("--every", "10ms"),
        ("--cron", "0 0 30 2 *"), ("--cron", "0 0 31 apr,jun *"), ("--tz", "UTC"),
        ("--cron", "* * * * *", "--every", "1h"), ("--every", "1h", "--tz", "UTC"),
        ("--cron", "* * * * *", "--tz", "Mars/Olympus"), ("--every", "1h", "--expires", "1d"),
        ("--catch-up", "all"), ("--if-there", "join"),
    ],
)  # fmt: skip
def test_what_makes_no_schedule_is_refused(run: Runner, store, options):
    answer = run("run", "request", *options, "--", "true", as_="agent:ada")

    assert (answer.code, answer.error["code"]) == (2, "usage")


def test_without_a_remote_the_workers_of_the_store_fire_each_tick_once(run: Runner, store, frozen):
    """Two of them at the same time; a second look fires nothing."""
    words = ("run", "request", "--every", "10m", "--", "true")
    run.ok(*words, as_="agent:ada", env=frozen())
    later = frozen(now_ms=1_767_258_000_000 + 601_000)

    workers = [run.start("run", "poll", "--drain", as_=f"bot:w{n}", env=later) for n in (1, 2)]
    said = [worker.communicate()[0].decode() for worker in workers]
    again = run.ok("run", "poll", "--drain", as_="bot:w1", env=later)

    fired = run.ok("ev", "list", "--type", "run.requested", as_="agent:ada").out
    assert fired.count('"tick_ms":1767258600000') == 1
    assert '"tick_ms":1767258600000' in "".join(said)
    assert again.lines == []


def test_attach_forwards_stdin_to_its_end(run: Runner, store):
    """More than a pipe holds; who attaches without it changes nothing."""
    asked = run.ok("run", "request", "--quiet", "--stdin", "--", "wc", "-c", as_="agent:ada")
    run_id = asked.out.strip()
    worker = run.start("run", "poll", "--once", as_="bot:w")
    try:
        attached = run("run", "attach", run_id, "--stdin", as_="bot:a", input=b"x" * 300_000)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.communicate()

    assert (attached.code, attached.out.strip()) == (0, "300000")


def test_what_reads_nothing_is_not_fed(run: Runner, store):
    asked = run.ok("run", "request", "--quiet", "--", "cat", as_="agent:ada")

    fed = run("run", "attach", asked.out.strip(), "--stdin", as_="bot:a", input="x")

    assert (fed.code, fed.error["code"]) == (5, "wrong_state")


def test_a_schedule_in_a_zone_that_is_not_known_here_ends_no_worker(run: Runner, store, frozen):
    """Another clone may have written it; that machine knew the zone."""
    body = (
        '{"argv":["true"],"schedule":{"cron":"* * * * *","tz":"Mars/Olympus","confirmed":"remote"}}'
    )
    words = ("ev", "emit", "run.requested", "--ref", "run_id=run-far", "--body", body)
    run.ok(*words, as_="agent:ada", env=frozen())

    polled = run.ok("run", "poll", "--drain", as_="bot:w", env=frozen(now_ms=1_767_258_600_000))

    assert "Mars/Olympus" in polled.err
    assert polled.lines == []


@pytest.mark.parametrize(
    "option", [("--executor", "ssh"), ("--sandbox", "auto"), ("--lock", "a:b")]
)
def test_an_option_that_a_batch_would_not_heed_is_refused(run: Runner, store, option):
    """What was meant for a sandbox, or for another host, is not to be executed here."""
    answer = run("run", "request", "-", *option, as_="agent:ada", input='{"argv":["true"]}\n')

    assert (answer.code, answer.error["code"]) == (2, "usage")
    assert option[0] in answer.error["message"]
    assert run("run", "list", as_="agent:ada").code == 1
