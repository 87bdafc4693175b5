"""The shim: what it executes, how it ends it, what it records; and what a dead one leaves."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from coord.edge.run import nursery, output, shim, spool, tree, truth
from coord.edge.run.following import Log
from tests.conftest import until

# Other sessions of these tests on this machine have runs, and sleepers, of their own.
OWN = str(os.getpid())
RUN = f"run-shim{OWN}"
DEADLINE_S = 30.0
# Starts the shim of an attempt as a worker does, and says that it has.
WORKER = """
import json, os, sys
from coord.edge.run import launch, nursery, spool
folder, told = sys.argv[1], json.loads(sys.argv[2])
lock = spool.take_new(folder)
environment = {**os.environ, "COORD_RUN": told["run_id"]}
starts = nursery.Nursery(os.environ).start if told["in_nursery"] else launch.launch
starts(folder, lock, told, environment)
print("started", flush=True)
sys.stdin.read()
"""


class Attempt:
    """One attempt under way: its folder, and the worker that has started it."""

    def __init__(self, folder: Path, spec: Mapping[str, Any]) -> None:
        self.folder = folder
        words = [sys.executable, "-c", WORKER, str(folder), json.dumps(spec)]
        pipe = subprocess.PIPE
        self.worker = subprocess.Popen(words, stdin=pipe, stdout=pipe)
        assert self.worker.stdout is not None
        assert self.worker.stdout.readline() == b"started\n"

    @property
    def pid(self) -> int:
        return spool.pid_of(str(self.folder))

    def printed(self, text: str) -> None:
        """Wait until the log has this text."""
        until(lambda: text.encode() in b"".join(Log(str(self.folder)).news()))

    def over(self) -> Mapping[str, Any] | None:
        """Wait until the shim is gone; its exit record."""
        until(lambda: not spool.is_alive(str(self.folder)))
        return spool.exit_record(str(self.folder), "lease-1")


def own(text: str) -> str:
    """The same, with numbers of seconds to sleep that nobody else sleeps."""
    return re.sub(r"\b60\d\.\d\b", rf"\g<0>{OWN}", text)


class Starter:
    """`start(words, …)`: an attempt of its own in a folder."""

    def __init__(self, folder: Path, in_nursery: bool) -> None:
        self._folder, self._in_nursery = folder, in_nursery
        self.made: list[Attempt] = []

    def __call__(self, *words: str, **more: Any) -> Attempt:
        spec = {
            "run_id": RUN, "attempt": 1, "lease_id": "lease-1", "fence": 1,
            "words": [own(word) for word in words],
            "cwd": str(self._folder), "timeouts": {}, "grace_ms": 300, "claimed_at_ms": 0,
            "in_nursery": self._in_nursery, **more,
        }  # fmt: skip
        self.made.append(Attempt(self._folder / "logs" / str(len(self.made)), spec))
        return self.made[-1]


@pytest.fixture
def start(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Starter]:
    """A starter; nothing of what it starts outlives the test."""
    starter = Starter(tmp_path, getattr(request, "param", "alone") == "nursery")
    yield starter
    for attempt in starter.made:
        spool.cancel(str(attempt.folder), "the test is over")
        attempt.worker.kill()
        attempt.worker.communicate()
        attempt.over()


def sleeping(mark: str) -> list[int]:
    """The processes that live and have this number of seconds to sleep."""
    found = []
    for pid in tree.living():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if own(mark).encode() in words:
            found.append(pid)
    return found


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["true"], {"outcome": "succeeded", "exit_code": 0}),
        (["sh", "-c", "exit 7"], {"outcome": "failed", "exit_code": 7}),
        (["sh", "-c", "kill -9 $$"], {"outcome": "signaled", "signal": 9}),
        (["no-such-command"], {"outcome": "infra_error"}),
    ],
)
def test_the_exit_record_says_what_really_happened(start: Starter, words: Any, told: Any):
    """What never ran has no exit status."""
    record = start(*words).over()

    assert record is not None
    keys = ("outcome", "exit_code", "signal")
    assert {name: record[name] for name in keys if name in record} == told


def test_a_folder_that_is_not_there_is_no_failure_of_the_command(start: Starter, tmp_path: Path):
    record = start("true", cwd=str(tmp_path / "gone")).over()

    assert record is not None
    assert record["outcome"] == "infra_error"
    assert "cannot enter" in record["reason"]


@pytest.mark.parametrize(
    ("timeouts", "reason"), [({"wall_ms": 200}, "wall"), ({"idle_ms": 200}, "idle")]
)
def test_a_command_whose_time_is_over_is_ended_and_said_to_be(start: Starter, timeouts, reason):
    record = start("sh", "-c", "echo begun; sleep 601.5", timeouts=timeouts).over()

    assert record is not None
    assert (record["outcome"], record["reason"]) == ("timed_out", reason)
    assert sleeping("601.5") == []


def test_what_prints_is_not_idle(start: Starter):
    line = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done"
    record = start("sh", "-c", line, timeouts={"idle_ms": 5000}).over()

    assert record is not None
    assert record["outcome"] == "succeeded"


LOOSE = {
    "a child": "sleep 602.{n} & echo ready; wait",
    "a double fork": "(sleep 602.{n} &) & echo ready; sleep 602.{n}",
    "setsid": "setsid sleep 602.{n} & echo ready; sleep 602.{n}",
    "without environment": "(env -i setsid sleep 602.{n} &) & echo ready; sleep 602.{n}",
    "deaf": "trap '' TERM INT HUP; echo ready; while :; do sleep 602.{n}; done",
    "stopped": "sleep 602.{n} & until grep -q sleep /proc/$!/comm; do :; done; kill -STOP $!;"
    " echo ready; wait",
}


@pytest.mark.parametrize("kind", LOOSE)
def test_after_a_cancel_nothing_of_the_tree_lives(start: Starter, kind: str):
    mark = str([*LOOSE].index(kind) + 1)
    attempt = start("sh", "-c", LOOSE[kind].format(n=mark))
    attempt.printed("ready")
    until(lambda: sleeping(f"602.{mark}"))

    spool.cancel(str(attempt.folder), "enough")
    record = attempt.over()

    assert record is not None
    assert (record["outcome"], record["reason"]) == ("cancelled", "enough")
    assert sleeping(f"602.{mark}") == []


BOMB = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for _ in range(49):
    if not os.fork():
        os.setsid()
        break
while True:
    parent = os.getppid()
    time.sleep(0.02)
    if os.getppid() != parent or not os.path.exists(f"/proc/{parent}"):
        if not os.fork():
            os.setsid()
"""


def test_a_crowd_that_respawns_is_ended(start: Starter):
    """Fifty deaf processes; whoever sees another one die makes a new one."""
    attempt = start(sys.executable, "-c", BOMB, "603.1", grace_ms=100)
    attempt.printed("ready")
    until(lambda: len(sleeping("603.1")) >= 40)

    spool.cancel(str(attempt.folder), "enough")
    record = attempt.over()

    assert record is not None
    assert record["outcome"] == "cancelled"
    assert sleeping("603.1") == []


def test_what_a_command_leaves_behind_is_ended_and_counted(start: Starter):
    record = start("sh", "-c", "setsid sleep 604.1 & exit 3").over()

    assert record is not None
    assert (record["outcome"], record["exit_code"], record["left_behind"]) == ("failed", 3, 1)
    assert sleeping("604.1") == []


def test_a_cancel_before_the_shim_is_ready_executes_nothing(start: Starter, tmp_path: Path):
    spool.cancel(str(tmp_path / "logs" / "0"), "too soon")

    record = start("touch", str(tmp_path / "ran")).over()

    assert record is not None
    assert record["outcome"] == "cancelled"
    assert "exit_code" not in record
    assert not (tmp_path / "ran").exists()


def test_no_tail_is_lost_of_what_prints_and_exits_at_once(start: Starter, tmp_path: Path):
    attempts = [start("sh", "-c", f"printf 'no newline {n}'; exit 1") for n in range(20)]
    for number, attempt in enumerate(attempts):
        attempt.over()
        text = f"no newline {number}".encode()
        assert b"".join(Log(str(attempt.folder)).news()) == text


def test_a_follower_has_the_same_bytes_whatever_it_misses(start: Starter):
    """It begins anew at its offset, again and again, while the command prints."""
    line = "import sys\nfor n in range(40000): print(n, file=(sys.stdout, sys.stderr)[n % 2])"
    attempt = start(sys.executable, "-c", line)
    folder = str(attempt.folder)
    got = b""
    while True:
        is_alive = spool.is_alive(folder)
        for data in Log(folder, len(got)).news():
            got += data[: 1 + len(data) // 2]
            break
        if not is_alive and len(got) == os.path.getsize(os.path.join(folder, output.LOG)):
            break

    record = attempt.over()
    assert record is not None
    assert got == Path(folder, output.LOG).read_bytes()
    assert len(got) == record["logs"]["bytes"]
    parted: dict[int, bytes] = {1: b"", 2: b""}
    for stream, data in Log(folder).parted():
        parted[stream] += data
    assert [int(n) for n in parted[1].split()] == [*range(0, 40000, 2)]
    assert [int(n) for n in parted[2].split()] == [*range(1, 40000, 2)]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe that a command reads: it goes on once somebody has written into it."""
    made = tmp_path / "gate"
    os.mkfifo(made)
    return made


def test_the_death_of_the_worker_costs_nothing(start: Starter, gate: Path):
    attempt = start("sh", "-c", f"echo begun; cat {gate}; echo end; exit 4")
    attempt.printed("begun")

    attempt.worker.kill()
    attempt.worker.wait()

    with truth.known(str(attempt.folder), "lease-1") as facts:
        assert facts.is_alive
    gate.write_text("")
    record = attempt.over()
    assert record is not None
    assert (record["exit_code"], record["logs"]["bytes"]) == (4, 10)


def test_a_command_dies_with_its_shim_and_leaves_no_exit_record(start: Starter):
    attempt = start("sleep", "605.2")
    until(lambda: sleeping("605.2"))

    os.kill(attempt.pid, signal.SIGKILL)

    until(lambda: not sleeping("605.2"))
    assert spool.exit_record(str(attempt.folder), "lease-1") is None


EITHER = pytest.mark.parametrize("start", ["alone", "nursery"], indirect=True)
# It bears no sign of its attempt: no environment, no descriptor, another session and parent.
ESCAPES = "(env -i setsid sh -c 'exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; sleep {0}; sleep {0}' &)"


@EITHER
def test_what_a_killed_shim_has_left_is_ended_by_its_guard(start: Starter):
    """The lock says that the attempt lives until nothing of it does; no worker has to look."""
    attempt = start("sh", "-c", f"{ESCAPES.format('605.3')}; echo ready; sleep 605.3")
    attempt.printed("ready")
    until(lambda: len(sleeping("605.3")) == 2)
    attempt.worker.kill()

    os.kill(attempt.pid, signal.SIGKILL)

    assert attempt.over() is None
    assert sleeping("605.3") == []


@EITHER
def test_the_guard_ends_with_its_shim(start: Starter, gate: Path):
    """One that serves a worker ends with the worker, when none of its shims lives."""
    attempt = start("sh", "-c", f"echo ready; cat {gate}")
    attempt.printed("ready")
    guard = tree.living()[attempt.pid]
    attempt.worker.kill()
    gate.write_text("")

    assert attempt.over() is not None
    until(lambda: guard not in tree.living())


def test_a_nursery_that_cannot_start_a_shim_says_so_though_others_live(tmp_path: Path):
    """Else its worker waits for the answer as long as they do, and the lock stays held."""
    told = {"run_id": RUN, "attempt": 1, "lease_id": "lease-1", "fence": 1, "cwd": "/",
            "timeouts": {}, "grace_ms": 300, "claimed_at_ms": 0}  # fmt: skip
    folders = [str(tmp_path / name) for name in "12"]
    parent = nursery.Nursery(os.environ)
    words = ["sleep", own("605.4")]
    parent.start(folders[0], spool.take_new(folders[0]), {**told, "words": words}, os.environ)
    used = set(map(int, os.listdir(f"/proc/{parent.pid}/fd")))
    full = min(set(range(len(used) + 1)) - used)
    resource.prlimit(parent.pid, resource.RLIMIT_NOFILE, (full, full))
    lock = spool.take_new(folders[1])

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(parent.start, folders[1], lock, {**told, "words": words}, os.environ)
        wait([asked], DEADLINE_S)
        is_answered, is_held = asked.done(), spool.is_alive(folders[1])
        spool.cancel(folders[0], "the test is over")

    assert (is_answered, is_held) == (True, False)
    assert isinstance(asked.exception(), nursery.Gone)
    parent.close()


@EITHER
def test_what_a_dead_shim_has_left_is_found_and_ended(start: Starter):
    """Also without a guard: by what it bears of its attempt."""
    attempt = start("sh", "-c", "sleep 605.1 & echo ready; sleep 605.1")
    attempt.printed("ready")

    os.kill(tree.living()[attempt.pid], signal.SIGKILL)
    os.kill(attempt.pid, signal.SIGKILL)
    until(lambda: not spool.is_alive(str(attempt.folder)))

    with truth.known(str(attempt.folder), "lease-1") as facts:
        assert (facts.begun, facts.tree_lives) == (True, True)
    assert spool.end_tree(str(attempt.folder))
    assert sleeping("605.1") == []


def test_the_signals_of_a_terminal_do_not_reach_the_shim(start: Starter, gate: Path):
    attempt = start("sh", "-c", f"echo ready; cat {gate}; exit 5")
    attempt.printed("ready")

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(attempt.pid, number)

    gate.write_text("")
    record = attempt.over()
    assert record is not None
    assert record["exit_code"] == 5


def test_the_exit_record_of_another_attempt_is_not_taken_for_this_one(start: Starter):
    attempt = start("true")
    attempt.over()

    assert spool.exit_record(str(attempt.folder), "lease-2") is None


def test_an_attempt_is_started_once(start: Starter):
    attempt = start("true")
    attempt.over()

    with pytest.raises(Exception, match="another attempt"):
        spool.take_new(str(attempt.folder))


def test_whoever_looks_between_claim_and_start_finds_somebody_alive(tmp_path: Path):
    lock = spool.take_new(str(tmp_path / "1"))

    with truth.known(str(tmp_path / "1"), "lease-1") as facts:
        assert facts.is_alive
    os.close(lock)
    with truth.known(str(tmp_path / "1"), "lease-1") as facts:
        assert (facts.is_alive, facts.begun) == (False, False)


def opened_first(pipe: Path, faults: list[OSError]) -> None:
    """Open a pipe for writing in the moment in which it is there."""
    while True:
        try:
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
            return
        except FileNotFoundError:
            continue
        except OSError as error:
            faults.append(error)
            return


def test_whoever_sees_the_pipe_of_stdin_finds_its_reader(start: Starter, tmp_path: Path):
    """Else what is to be fed would be lost, and the command would wait for ever."""
    faults: list[OSError] = []
    for number in range(20):
        pipe = tmp_path / "logs" / str(number) / shim.STDIN
        eager = threading.Thread(target=opened_first, args=(pipe, faults))
        eager.start()
        attempt = start("sleep", "60", feeds=True)
        eager.join(DEADLINE_S)
        spool.cancel(str(attempt.folder), "enough")

    assert faults == []
