"""`--wait`: first come, first served; the dead leave the line; circles are refused."""

import signal
from pathlib import Path

import pytest

from tests.conftest import until


def line(store: Path) -> list[str]:
    folder = store / "local" / "waiting"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def waiting(run, store, *resources: str, as_: str, span: str = "60s"):
    """Start a waiter, and wait until it stands in line."""
    before = len(line(store))
    started = run.start("lease", "acquire", *resources, "--wait", span, as_=as_)
    until(lambda: len(line(store)) > before or started.poll() is not None, f"{as_} waits")
    return started


def holder(run) -> str:
    listed = run("lease", "list", as_="agent:x").lines
    return listed[0]["agent_id"] if listed else ""


def test_waiters_get_it_in_the_order_in_which_they_came(run, store):
    run.ok("lease", "acquire", "env:a", as_="agent:w0")
    waiters = [waiting(run, store, "env:a", as_=f"agent:w{n}") for n in (1, 2, 3)]

    for number in (1, 2, 3):
        run.ok("lease", "release", "env:a", as_=f"agent:w{number - 1}")
        _, err = waiters[number - 1].communicate(timeout=60)
        assert (waiters[number - 1].returncode, err) == (0, b"")
        assert holder(run) == f"agent:w{number}"
    assert line(store) == []


def test_waiters_that_die_leave_the_line(run, store):
    run.ok("lease", "acquire", "env:a", as_="agent:w0")
    dead, alive = [waiting(run, store, "env:a", as_=f"agent:w{n}") for n in (1, 2)]
    dead.send_signal(signal.SIGKILL)
    dead.wait()

    run.ok("lease", "release", "env:a", as_="agent:w0")
    alive.communicate(timeout=60)

    assert (alive.returncode, holder(run)) == (0, "agent:w2")


def test_a_wait_that_is_over_names_the_holder(run, store):
    run.ok("lease", "acquire", "env:a", as_="agent:w0")

    refused = run("lease", "acquire", "env:a", "--wait", "1s", as_="agent:w1")

    assert (refused.code, refused.error["holder"]) == (5, "agent:w0")
    assert line(store) == []


def test_what_runs_out_goes_to_who_waits(run, store):
    run.ok("lease", "acquire", "env:a", "--ttl", "2s", as_="agent:w0")

    run.ok("lease", "acquire", "env:a", "--wait", "60s", as_="agent:w1")

    assert holder(run) == "agent:w1"


def test_who_wants_something_else_does_not_stand_in_line(run, store):
    run.ok("lease", "acquire", "path:src/**", as_="agent:w0")
    stuck = waiting(run, store, "path:src/a.py", "path:lib/a.py", as_="agent:w1")

    run.ok("lease", "acquire", "path:docs/a.md", "--wait", as_="agent:w2")
    behind = waiting(run, store, "path:lib/*.py", as_="agent:w3")

    assert behind.poll() is None
    run.ok("lease", "release", "path:src/**", as_="agent:w0")
    assert stuck.wait(timeout=60) == 0
    run.ok("lease", "release", "path:lib/a.py", as_="agent:w1")
    assert behind.wait(timeout=60) == 0
    for one in (stuck, behind):
        one.communicate()


def test_a_circle_of_waiters_is_refused_to_the_last_and_named(run, store):
    for name, resource in (("a", "env:a"), ("b", "env:b"), ("c", "env:c")):
        run.ok("lease", "acquire", resource, as_=f"agent:{name}")
    first = waiting(run, store, "env:b", as_="agent:a")
    second = waiting(run, store, "env:c", as_="agent:b")

    refused = run("lease", "acquire", "env:a", "--wait", "60s", as_="agent:c")

    assert (refused.code, refused.error["code"]) == (5, "deadlock")
    assert len(refused.error["circle"]) == 3
    assert all(f"agent:{name} waits for" in refused.error["message"] for name in "abc")
    run.ok("lease", "release", "env:c", as_="agent:c")
    assert second.wait(timeout=60) == 0
    run.ok("lease", "release", "env:b", as_="agent:b")
    assert first.wait(timeout=60) == 0
    for one in (first, second):
        one.communicate()


def test_a_command_that_waits_for_its_own_lease_is_refused(run, store):
    refused = run(
        "lease", "exec", "env:a", "--", *run.command("lease", "exec"), "env:a", "--wait", "--",
        "true", as_="agent:ada",
    )  # fmt: skip

    assert (refused.code, refused.error["code"]) == (5, "deadlock")


@pytest.mark.parametrize("removed", [False, True])
def test_the_line_is_order_and_nothing_else(run, store, removed):
    """Without its folder waiters still get it, one at a time."""
    run.ok("lease", "acquire", "env:a", as_="agent:w0")
    waiters = [waiting(run, store, "env:a", as_=f"agent:w{n}") for n in (1, 2)]
    if removed:
        for path in (store / "local" / "waiting").iterdir():
            path.unlink()

    run.ok("lease", "release", "env:a", as_="agent:w0")
    until(lambda: [one.poll() for one in waiters].count(None) == 1, "one has it")
    got = holder(run)
    run.ok("lease", "release", "env:a", as_=got)
    until(lambda: None not in [one.poll() for one in waiters], "the other has it")

    assert [one.returncode for one in waiters] == [0, 0]
    for one in waiters:
        one.communicate()
