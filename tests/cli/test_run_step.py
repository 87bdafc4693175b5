"""Steps of a run: executed once, told again, settled by a person, undone in reverse."""

import contextlib
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coord.core.run import steps
from tests.conftest import until

ADA = "agent:ada"
DEADLINE_S = 60.0
# What a step does when it must be seen whether it was done: a line in a ledger.
NOTE = "echo {0} >> ledger; echo printed {0}"


class Steps:
    """A store in which scripts are executed as runs."""

    def __init__(self, run: Any) -> None:
        self._run = run
        self.folder: Path = run.folder
        self.tool = run.command("run")[0]

    def __call__(self, *words: str, **options: Any) -> Any:
        return self._run("run", *words, **{"as_": ADA, **options})

    def script(self, *lines: str, name: str = "script.sh") -> str:
        """Write a script that ends at its first failure; `run` in it is ours."""
        text = "\n".join(("set -e", f'run() {{ "{self.tool}" "$@"; }}', *lines))
        (self.folder / name).write_text(text + "\n")
        return name

    def executed(self, *lines: str, options: tuple[str, ...] = ()) -> Any:
        """Execute a script as a run, here and now."""
        return self("exec", *options, "--", "sh", self.script(*lines))

    def id(self) -> str:
        """The newest run."""
        return str(self("list", "--status", "all", "--quiet").out.split()[0])

    def shown(self, run_id: str = "") -> Any:
        return self("show", run_id or self.id()).json

    def statuses(self, run_id: str = "") -> dict[str, str]:
        return {step["name"]: step["status"] for step in self.shown(run_id).get("steps", ())}

    def lines(self, name: str = "ledger") -> list[str]:
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def events(self) -> list[dict[str, Any]]:
        folder = self.folder / ".coord" / "run"
        texts = [path.read_text() for path in sorted(folder.iterdir())]
        return [json.loads(line) for text in texts for line in text.splitlines()]


@pytest.fixture
def work(run: Any, store: Path) -> Steps:
    return Steps(run)


def noted(name: str, *options: str) -> str:
    """A step that writes its name into the ledger."""
    return f"run step {name} {' '.join(options)} -- sh -c '{NOTE.format(name)}'"


def test_a_step_is_executed_once_and_told_again(work):
    answer = work.executed(noted("one"), noted("one"))

    assert (answer.code, answer.out) == (0, "printed one\nprinted one\n")
    assert work.lines() == ["one"]


def test_the_exit_status_comes_back_too(work):
    answer = work.executed(*["run step no -- sh -c 'echo x >> ledger; exit 7' || echo $?"] * 2)

    assert (answer.out, work.lines()) == ("7\n7\n", ["x"])


def test_a_later_attempt_is_told_what_the_first_has_done(work):
    script = work.script(noted("one"), "[ -e again ] || { touch again; exit 1; }", noted("two"))
    asked = ("--retry", "1", "--quiet", "--", "sh", script)
    run_id = work("request", *asked).out.strip()

    assert work("poll", "--drain").code == 0

    assert len(work.shown(run_id)["attempts"]) == 2
    assert work("logs", run_id).out == "printed one\nprinted two\n"
    assert work.lines() == ["one", "two"]


def test_a_result_names_its_start_and_both_carry_the_fence_of_the_attempt(work):
    work.executed(noted("one"))

    start, end = [event for event in work.events() if event["type"] == "run.step"]
    claim = next(event for event in work.events() if event["type"] == "run.claimed")
    assert (start["body"]["phase"], end["body"]["phase"]) == ("started", "ended")
    assert end["body"]["start"] == end["cause"] == start["event_id"]
    assert start["cause"] == claim["event_id"]
    for event in (start, end):
        assert event["refs"]["lease_id"] == claim["refs"]["lease_id"]
        assert event["body"]["fence"] == claim["body"]["fence"]


def test_what_a_step_emits_is_caused_by_the_step(work, run):
    wk = run.command("wk")[0]
    item = run.ok("wk", "create", "thing", "--quiet", as_=ADA).out.strip()

    work.executed(f"{wk} comment {item} plain", f"run step note -- {wk} comment {item} stepped")

    said = {e["body"]["text"]: e["cause"] for e in run("ev", "list").lines
            if e["type"] == "work.commented"}  # fmt: skip
    claim, start, _ = [e for e in work.events() if e["type"] in ("run.claimed", "run.step")]
    assert said == {"plain": claim["event_id"], "stepped": start["event_id"]}
    tree = run.ok("ev", "tree", claim["event_id"]).out
    assert "work.commented" in tree
    assert "run.step" in tree


@pytest.mark.parametrize("size", [10, 5000, 300_000])
def test_output_comes_back_byte_for_byte(work, size):
    """Short texts stand in the event, others, and what is no text, in a blob."""
    command = f"head -c {size} /dev/urandom | tee bytes"

    answer = work.executed(*[f"run step big -- sh -c '{command}' > out$n; n=2" for _ in (1, 2)])

    assert answer.code == 0, answer.err
    printed = [(work.folder / name).read_bytes() for name in ("bytes", "out", "out2")]
    assert printed[0] == printed[1] == printed[2]


def test_a_name_stands_for_one_command_in_an_attempt(work):
    answer = work.executed("run step one -- true", "run step one -- false")

    assert answer.code == 5
    assert "stands for true in this attempt" in answer.err


def test_a_failure_is_kept_unless_only_success_is_to_be(work):
    flaky = "sh -c 'echo x >> ledger; [ $(wc -l < ledger) -ge 3 ]'"

    answer = work.executed(f"until run step flaky --retry-failed -- {flaky}; do :; done",
                           f"run step flaky --retry-failed -- {flaky}")  # fmt: skip

    assert (answer.code, work.lines()) == (0, ["x", "x", "x"])


def test_outside_of_a_run_there_are_no_steps(work):
    answer = work("step", "one", "--", "true")

    assert (answer.code, answer.error["code"]) == (2, "usage")
    assert "run exec" in answer.error["hint"]


def test_a_step_that_cannot_be_executed_may_be_tried_again(work):
    answer = work.executed("run step one -- ./tool || echo $?",
                           "printf '#!/bin/sh\\necho made\\n' > tool; chmod +x tool",
                           "run step one -- ./tool")  # fmt: skip

    assert answer.out == "127\nmade\n"


def test_steps_may_execute_steps_but_not_themselves(work):
    inner = 'run step inner -- sh -c "echo inner >> ledger"'.replace("run ", f"{work.tool} ")
    knot = f"{work.tool} step knot -- true"

    answer = work.executed(f"run step outer -- sh -c '{inner}; echo outer >> ledger'",
                           f"run step knot -- {knot} || echo refused")  # fmt: skip

    assert (answer.out, work.lines()) == ("refused\n", ["inner", "outer"])
    assert "asked for by its own command" in answer.err


def test_of_two_that_ask_at_once_one_executes_and_the_other_is_told(work):
    slow = "sh -c 'echo x >> ledger; until [ -e go ]; do sleep 0.05; done; echo done'"

    answer = work.executed(
        f"run step slow -- {slow} > a & one=$!", f"run step slow -- {slow} > b & two=$!",
        "until [ -s ledger ]; do sleep 0.05; done", "touch go", "wait $one; wait $two", "cat a b",
    )  # fmt: skip

    assert (answer.out, work.lines()) == ("done\ndone\n", ["x"])


def test_a_step_that_leaves_a_process_behind_is_over_with_its_command(work):
    answer = work.executed(*["run step bg -- sh -c 'sleep 60 & echo started'"] * 2)

    assert (answer.code, answer.out) == (0, "started\nstarted\n")


KILLED = "run step broken {0} -- sh -c 'echo x >> ledger; kill -9 $PPID; sleep 0.3' || true"


def test_a_start_without_a_result_is_seen_and_not_repeated(work):
    work.executed(KILLED.format(""))
    run_id = work.id()

    again = work("retry", run_id, "--resume", "--quiet").out.strip()
    work("poll", "--drain")

    assert work.statuses(run_id) == {"broken": "started"}
    assert work.lines() == ["x"]
    log = work("logs", again).out
    assert "run step broken --run" in log
    assert "--done, or --redo" in log


def test_nobody_takes_a_step_for_over_while_its_command_lives(work):
    """The step's process was killed; its command goes on, and who asks waits for it."""
    line = "sh -c 'echo a >> ledger; kill -9 $PPID; sleep 1; echo b >> ledger'"

    answer = work.executed(
        f"run step broken --idempotent -- {line} || true",
        "run step broken --idempotent -- sh -c 'echo c >> ledger'",
    )

    assert (answer.code, work.lines()) == (0, ["a", "b", "c"])


def test_an_idempotent_step_is_executed_again(work):
    work.executed(KILLED.format("--idempotent"), "run step broken --idempotent -- true")

    assert work.statuses() == {"broken": "done"}


def test_a_step_that_a_signal_ended_has_no_result(work):
    answer = work.executed("run step hurt -- sh -c 'kill -9 $$' || echo $?")

    assert answer.out == "137\n"
    assert work.statuses() == {"hurt": "interrupted"}


@pytest.mark.parametrize(("how", "ledger"), [("--done", ["x"]), ("--redo", ["x", "y"])])
def test_a_person_settles_what_nobody_knows(work, how, ledger):
    work.executed(KILLED.format(""), "exit 1")
    run_id = work.id()

    assert work("step", "broken", "--run", run_id, how, as_="human:kim").code == 0

    work.script("run step broken -- sh -c 'echo y >> ledger'")
    again = work("retry", run_id, "--resume", "--quiet").out.strip()
    work("poll", "--drain")
    assert work.shown(again)["outcome"] == "succeeded"
    assert work.lines() == ledger


def test_what_goes_on_is_not_settled(work, run):
    line = "run step slow -- sh -c 'touch ready; until [ -e go ]; do sleep 0.05; done'"
    process = run.start("run", "exec", "--", "sh", work.script(line), as_=ADA)
    until((work.folder / "ready").exists)

    answer = work("step", "slow", "--run", work.id(), "--done")

    assert (answer.code, answer.error["code"]) == (7, "busy")
    (work.folder / "go").touch()
    assert process.wait(DEADLINE_S) == 0
    assert work.statuses() == {"slow": "done"}


def test_what_is_certain_is_not_settled(work):
    work.executed(noted("one"))

    answer = work("step", "one", "--run", work.id(), "--redo")

    assert (answer.code, answer.error["code"]) == (5, "wrong_state")


def test_a_retry_executes_all_steps_anew_unless_it_resumes(work):
    work.executed(noted("one"), "[ -e fixed ]")
    run_id = work.id()
    (work.folder / "fixed").touch()

    work("retry", run_id)
    work("poll", "--drain")
    assert work.lines() == ["one", "one"]
    work("retry", run_id, "--resume")
    work("poll", "--drain")

    assert work.lines() == ["one", "one"]


def test_the_steps_of_a_run_go_on_with_one_other(work):
    work.executed(noted("one", "--undo 'echo undone >> ledger'"))
    run_id = work.id()
    again = work("retry", run_id, "--resume", "--quiet").out.strip()
    work("poll", "--drain")

    second, rolled = work("retry", run_id, "--resume"), work("rollback", run_id)
    assert (second.code, rolled.code) == (5, 5)
    assert again in rolled.error["message"]
    assert work("rollback", again).code == 0
    assert work.lines() == ["one", "undone"]


def undoable(name: str) -> str:
    return noted(name, f"--undo 'echo {name} $(cat) >> undone'")


def test_rollback_undoes_in_reverse_and_each_once(work):
    """Each undo reads what its step has printed; steps that failed, or have none, are left."""
    work.executed(undoable("one"), noted("two"), undoable("three"),
                  "run step four --undo 'echo four >> undone' -- false")  # fmt: skip

    rows = work("rollback", work.id()).lines
    again = work("rollback", work.id())

    assert [row["step"] for row in rows] == ["three", "one"]
    assert (again.code, again.out) == (0, "")
    text = (work.folder / "undone").read_text()
    assert text == "three printed three\none printed one\n"


def test_rollback_stops_at_the_first_undo_that_fails_and_goes_on_there(work):
    work.executed(undoable("one"), "run step two --undo 'echo try >> undone; [ -e ok ]' -- true",
                  undoable("three"))  # fmt: skip

    first = work("rollback", work.id())
    (work.folder / "ok").touch()
    second = work("rollback", work.id())

    assert (first.code, first.error["code"]) == (5, "wrong_state")
    assert [row["step"] for row in second.lines] == ["two", "one"]
    assert work.lines("undone") == "three printed three try try one printed one".split()


def test_a_run_that_goes_on_is_not_rolled_back(work, run):
    process = run.start(
        "run", "exec", "--", "sh", work.script(undoable("one"), "sleep 60"), as_=ADA
    )
    until(lambda: "done" in work.statuses().values() if work("list").lines else False)

    answer = work("rollback", work.id())

    assert (answer.code, answer.error["code"]) == (5, "wrong_state")
    process.send_signal(signal.SIGINT)
    process.wait()
    assert work("rollback", work.id()).code == 0


def test_of_two_rollbacks_at_once_one_is_refused(work, run):
    slow = "echo x >> undone; until [ -e go ]; do sleep 0.05; done"
    work.executed(f"run step one --undo '{slow}' -- true")
    first = run.start("run", "rollback", work.id(), as_=ADA)
    until(lambda: work.lines("undone"))

    second = work("rollback", work.id())

    assert (second.code, second.error["code"]) == (7, "busy")
    (work.folder / "go").touch()
    assert first.wait() == 0
    assert work.lines("undone") == ["x"]


def test_an_undo_that_was_killed_is_for_a_person_to_settle(work, run):
    work.executed("run step one --undo 'echo x >> undone; kill -9 $PPID' -- true")
    run_id = work.id()
    assert work("rollback", run_id).code == -signal.SIGKILL

    answer = work("rollback", run_id)
    assert (answer.code, work.lines("undone")) == (5, ["x"])
    assert work("step", "one", "--run", run_id, "--done").code == 0

    assert work("rollback", run_id).code == 0
    assert work.lines("undone") == ["x"]


TEN = [undoable(f"s{n}") for n in range(10)]


def test_a_script_of_ten_steps_killed_after_each_does_each_once(work):
    """Ten attempts, each killed after one step more; what a step printed is always told."""
    lines: list[str] = []
    for number, line in enumerate(TEN):
        lines += [line, f"[ -e after{number} ] || {{ touch after{number}; kill -9 $$; }}"]
    script = work.script(*lines)
    asked = ("--retry", "10", "--quiet", "--", "sh", script)
    run_id = work("request", *asked).out.strip()

    work("poll", "--drain")

    state = work.shown(run_id)
    assert [a["outcome"] for a in state["attempts"]] == ["signaled"] * 10 + ["succeeded"]
    assert work.lines() == [f"s{n}" for n in range(10)]
    assert work("logs", run_id).out.split("\n") == [f"printed s{n}" for n in range(10)] + [""]
    assert [row["step"] for row in work("rollback", run_id).lines] == [
        f"s{n}" for n in reversed(range(10))
    ]


def processes_of(run_id: str) -> Iterator[int]:
    mark = f"COORD_RUN={run_id}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environment = Path(f"/proc/{name}/environ").read_bytes()
            except OSError:
                continue
            if mark in environment.split(b"\0"):
                yield int(name)


def settled_by_ledger(work: Steps, run_id: str) -> None:
    """Do as a person would: look at what a step did, and say so."""
    for name, status in work.statuses(run_id).items():
        if status in (steps.STARTED, steps.INTERRUPTED):
            how = "--done" if name in work.lines() else "--redo"
            answer = work("step", name, "--run", run_id, how, as_="human:kim")
            assert answer.code == 0, answer.err


def gone_on(work: Steps, run_id: str) -> str:
    """The run that is to be executed next: where one has ended, one that goes on with it."""
    state = work.shown(run_id)
    if state["status"] != "done" or state["outcome"] == "succeeded":
        return run_id
    settled_by_ledger(work, run_id)
    return str(work("retry", run_id, "--resume", "--quiet").out.strip())


def killed_at_random(work: Steps, run: Any, run_id: str, chance: random.Random) -> None:
    """Let a worker begin, and kill it and some of what it has started."""
    worker = run.start("run", "poll", "--drain", as_=ADA, stdout=subprocess.DEVNULL)
    time.sleep(chance.random())
    worker.kill()
    worker.wait()
    for pid in processes_of(run_id):
        if chance.random() < 0.7:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("--long")
        metafunc.parametrize("seed", range(20 if is_long else 1))


def test_killed_at_any_instant_each_step_is_done_once(work, run, seed):
    """What nobody knows is settled by who looks at the ledger; all else goes on by itself."""
    chance = random.Random(seed)
    run_id = work("request", "--quiet", "--", "sh", work.script(*TEN)).out.strip()
    for _ in range(4):
        killed_at_random(work, run, run_id, chance)
        run_id = gone_on(work, run_id)

    while work.shown(run_id).get("outcome") != "succeeded":
        run_id = gone_on(work, run_id)
        work("poll", "--drain")

    assert work.lines() == [f"s{n}" for n in range(10)]


def test_what_another_store_has_executed_is_undone_there(work, run, tmp_path):
    """And is told here: the steps of a run travel with its journal."""
    remote, other = tmp_path / "remote.git", tmp_path / "other"
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    for words in (("remote", "add", "origin", remote), ("push", "--quiet", "origin", "HEAD")):
        subprocess.run(["git", *words], cwd=run.folder, check=True)
    subprocess.run(["git", "clone", "--quiet", remote, other], check=True)
    run.ok("ev", "init", cwd=other, as_=ADA)
    script = run.folder / work.script(undoable("one"))
    assert work("exec", "--", "sh", script, cwd=other).code == 0
    run.ok("ev", "sync", cwd=other, as_=ADA)
    run.ok("ev", "sync", as_=ADA)
    run_id = work.id()

    here, there = work("rollback", run_id), work("rollback", run_id, cwd=other)

    assert work.statuses(run_id) == {"one": "done"}
    assert (here.code, here.error["code"]) == (4, "not_allowed")
    assert [row["step"] for row in there.lines] == ["one"]
    assert (other / "undone").read_text() == "one printed one\n"
