"""`lease exec`: a command runs while a lease is held, and no longer."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import until


def is_alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def test_stdin_stdout_stderr_and_status_are_the_commands_own(run, store):
    answer = run(
        "lease", "exec", "env:a", "--", "sh", "-c", "cat; echo no >&2; exit 7",
        input="hello\n", as_="agent:ada",
    )  # fmt: skip

    assert (answer.code, answer.out, answer.err) == (7, "hello\n", "no\n")
    assert run("lease", "list", as_="agent:ada").code == 1


def test_the_command_knows_its_lease_and_fence(run, store):
    run.ok("lease", "acquire", "env:b", as_="agent:ada")
    run.ok("lease", "release", "env:b", as_="agent:ada")

    told = run.ok("lease", "exec", "env:b", "--", "sh", "-c", "echo $COORD_LEASE $COORD_FENCE",
                  as_="agent:ada").out.split()  # fmt: skip

    assert told[0].startswith("lease-")
    assert told[1] == "2"


def test_options_of_the_command_are_its_own(run, store):
    said = run.ok("lease", "exec", "env:a", "--wait", "--", "echo", "--wait", "--", "x",
                  as_="agent:ada").out  # fmt: skip

    assert said == "--wait -- x\n"


@pytest.mark.parametrize(("words", "code"), [(["not-there"], 127), (["/etc"], 126), ([], 2)])
def test_what_cannot_be_run_gives_the_lease_back(run, store, words, code):
    assert run("lease", "exec", "env:a", "--", *words, as_="agent:ada").code == code
    assert run("lease", "list", as_="agent:ada").code == 1


def test_a_command_that_dies_of_a_signal_is_mirrored(run, store):
    dying = run.start("lease", "exec", "env:a", "--", "sh", "-c", "kill -KILL $$", as_="agent:ada")
    dying.communicate(timeout=60)

    assert dying.returncode == -signal.SIGKILL
    assert run("lease", "list", as_="agent:ada").code == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_signals_are_passed_on(run, store, tmp_path, number):
    ready = tmp_path / "ready"
    script = f"trap 'exit 9' {number.name[3:]}; touch {ready}; while :; do sleep 0.05; done"
    running = run.start("lease", "exec", "env:a", "--", "sh", "-c", script, as_="agent:ada",
                        stdin=subprocess.DEVNULL)  # fmt: skip
    until(ready.exists, "the command runs")

    running.send_signal(number)
    running.communicate(timeout=60)

    assert running.returncode == 9
    assert run("lease", "list", as_="agent:ada").code == 1


def test_it_is_renewed_while_the_command_runs(run, store):
    """Three times the TTL; meanwhile nobody else gets it."""
    running = run.start("lease", "exec", "env:a", "--ttl", "3s", "--", "sleep", "9",
                        as_="agent:ada")  # fmt: skip
    until(lambda: run("lease", "check", "env:a", as_="agent:bo").code == 1, "it is held")
    while running.poll() is None:
        answer = run("lease", "check", "env:a", as_="agent:bo")
        assert answer.code == 1 or running.wait(timeout=60) == 0

    assert running.returncode == 0
    renewals = run.ok("ev", "list", "--type", "lease.renew", as_="agent:bo").lines
    assert len(renewals) >= 3


@pytest.mark.parametrize("killed", ["broken", "stubborn"])
def test_a_lost_lease_ends_the_whole_tree(run, store, tmp_path, killed):
    """TERM first; what does not heed it gets KILL, also what has cut itself loose."""
    pids = tmp_path / "pids"
    trap = "trap '' TERM; " if killed == "stubborn" else ""
    script = (
        f"{trap}sleep 300 & echo $! >> {pids}; setsid sh -c 'echo $$ >> {pids}; sleep 300' & "
        f"echo $$ >> {pids}; wait; wait"
    )
    running = run.start(
        "lease",
        "exec",
        "env:a",
        "--grace",
        "1s",
        "--",
        "sh",
        "-c",
        script,
        as_="agent:ada",
    )
    until(lambda: pids.exists() and len(pids.read_text().split()) == 3, "the tree runs")

    run.ok("lease", "break", "env:a", "--why", "a test", as_="human:cy")
    _, err = running.communicate(timeout=60)

    assert running.returncode == 5
    assert b"was lost" in err
    assert [pid for pid in pids.read_text().split() if is_alive(int(pid))] == []


def keepers(holder: int) -> list[Path]:
    """The process beside the command of a holder that keeps its lease, once both are there."""
    children = Path(f"/proc/{holder}/task/{holder}/children").read_text().split()
    found = [Path(f"/proc/{pid}") for pid in children]
    ours = [child for child in found if b"bin/lease\0" in (child / "cmdline").read_bytes()]
    return ours if len(found) == 2 else []


def is_ready(keeper: Path) -> bool:
    """It lets signals in once the kernel is to tell it of its parent's death."""
    lines = (line.split() for line in (keeper / "status").read_text().splitlines())
    masks = {name: int(rest[0], 16) for name, *rest in lines if name in ("SigBlk:", "SigCgt:")}
    bit = 1 << (signal.SIGUSR1 - 1)
    return bool(masks["SigCgt:"] & bit) and not masks["SigBlk:"] & bit


def is_watching(keeper: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return any("inotify" in str(name.readlink()) for name in (keeper / "fd").iterdir())
    return False


@pytest.mark.parametrize("is_at_it", [is_ready, is_watching])
def test_a_holder_that_is_killed_takes_its_command_along(run, store, tmp_path, is_at_it):
    """The keeper ends the command and gives the lease back: nobody waits for the TTL."""
    pid_file = tmp_path / "pid"
    running = run.start("lease", "exec", "env:a", "--", "sh", "-c",
                        f"echo $$ > {pid_file}; sleep 300", as_="agent:ada")  # fmt: skip
    until(lambda: pid_file.exists() and pid_file.read_text().strip(), "the command runs")
    until(lambda: any(map(is_at_it, keepers(running.pid))), "the keeper is at its work")

    running.kill()
    running.wait()

    until(lambda: not is_alive(int(pid_file.read_text())), "the command is ended")
    until(lambda: run("lease", "check", "env:a", as_="agent:bo").code == 0, "it is given back")


def test_a_keeper_that_dies_is_replaced(run, store):
    renewed = "until grep -q lease.renew .coord/lease/*.jsonl; do sleep 0.1; done"
    running = run.start("lease", "exec", "env:a", "--ttl", "6s", "--", "sh", "-c", renewed,
                        as_="agent:ada")  # fmt: skip
    [keeper] = until(lambda: keepers(running.pid), "the keeper runs")
    os.kill(int(keeper.name), signal.SIGKILL)

    running.communicate(timeout=60)

    assert running.returncode == 0


def test_two_commands_of_one_agent_exclude_each_other(run, store):
    nested = "lease exec env:a -- true"
    answer = run.ok("lease", "exec", "env:a", "--", "sh", "-c", f"{nested}; echo $?",
                    as_="agent:ada", env={"PATH": _path()})  # fmt: skip

    assert answer.out == "5\n"


def test_what_the_agent_took_itself_outlives_its_command(run, store):
    [mine] = run.ok("lease", "acquire", "path:src/**", as_="agent:ada").lines

    run.ok("lease", "exec", "path:src/**", "--", "true", as_="agent:ada")

    [left] = run.ok("lease", "list", as_="agent:ada").lines
    assert left["lease_id"] == mine["lease_id"]


def test_ten_at_once_on_one_path_have_one_winner(run, store):
    """Nine are told who has it."""
    racing = [
        run.start("lease", "acquire", "path:src/**", as_=f"agent:a{number}") for number in range(10)
    ]
    ended = [(one, *one.communicate(timeout=120)) for one in racing]

    codes = sorted(one.returncode for one, _, _ in ended)
    [holder] = run.ok("lease", "list", as_="agent:x").lines
    assert codes == [0] + [5] * 9
    assert all(holder["agent_id"].encode() in err for one, _, err in ended if one.returncode)


def _path() -> str:
    import sys

    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
