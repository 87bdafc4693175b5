"""`run attach` at a terminal: how the run stands, on a line that never meets the log's bytes."""

import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from coord.cli.run.standing import Standing, words
from tests.conftest import until
from tests.golden import screen

ADA, BO = "agent:ada", "bot:worker"


@pytest.fixture
def terminals(run, store, need):
    """Terminals of eighty columns in the store, for ada."""
    need("tmux")
    with (
        tempfile.TemporaryDirectory(prefix="attach") as short,
        screen.opened(run.folder, run.environment(ADA), Path(short) / "s") as opened,
    ):
        yield opened


def requested(run, line):
    asked = run.ok("run", "request", "--quiet", "--shell", line, as_=ADA)
    return asked.out.strip()


def worker(run):
    """A worker of its own process that ends when nothing is left."""
    return run.start("run", "poll", "--drain", "--quiet", as_=BO)


@pytest.fixture
def gate(run):
    """A command that prints, waits for the file `go`, prints again and fails."""
    return "echo one; while [ ! -e go ]; do sleep 0.05; done; printf 'two'; exit 3"


def test_a_terminal_tells_queued_running_and_ended(run, terminals, gate):
    """Where both streams are the terminal, it stands still while the command prints."""
    run_id = requested(run, gate)
    shown = terminals.start(80, *run.command("run", "attach", run_id))
    terminals.until(shown, lambda text: f"{run_id} queued for " in text)

    process = worker(run)
    terminals.until(shown, lambda text: "\none\n" in text)
    (run.folder / "go").touch()
    text = terminals.ended(shown)
    process.communicate()

    assert re.fullmatch(
        rf"{run_id} runs, attempt 1, for \d+s *\none\n"
        rf"two\n{run_id} failed \(exit code 3\) after \d+s\n",
        text,
    ), text


def test_a_log_that_goes_elsewhere_has_the_commands_bytes_alone(run, terminals, gate):
    """And the line is drawn over itself until the end."""
    run_id = requested(run, gate)
    tool = run.command("run", "attach", run_id)[0]
    shown = terminals.start(80, "sh", "-c", f"{tool} attach {run_id} >log")
    process = worker(run)
    terminals.until(shown, lambda text: f"{run_id} runs, attempt 1, for " in text)
    until(lambda: (run.folder / "log").read_bytes() == b"one\n", "it prints at once")

    (run.folder / "go").touch()
    text = terminals.ended(shown)
    process.communicate()

    assert re.fullmatch(rf"{run_id} failed \(exit code 3\) after \d+s *\n", text), text
    assert (run.folder / "log").read_bytes() == b"one\ntwo"


def test_who_leaves_takes_the_line_along(run, terminals):
    run_id = requested(run, "true")
    tool = run.command("run", "attach", run_id)[0]
    shown = terminals.start(80, "sh", "-c", f"trap : INT; {tool} attach {run_id}; echo left $?")
    terminals.until(shown, lambda text: "queued for" in text)

    terminals.tmux("send-keys", "-t", shown, "C-c")
    text = terminals.ended(shown)

    assert "queued" not in text
    assert text.endswith("left 130\n")


class Interrupted(Standing):
    """A line whose drawing is interrupted once it is on the terminal."""

    screen = ""

    def _write(self, text):
        self.screen += text
        if len(self.screen) == len(text):
            raise KeyboardInterrupt


def test_a_line_goes_though_its_drawing_was_interrupted():
    line = Interrupted(SimpleNamespace(quiet=False))
    with pytest.raises(KeyboardInterrupt):
        line._draw("queued")
    line.close()

    assert line.screen == "\rqueued\r      \r"


def test_nothing_is_drawn_where_no_terminal_is(run, store):
    run_id = requested(run, "echo one")
    worker(run).communicate()

    answer = run("run", "attach", run_id, as_=ADA)

    assert (answer.code, answer.out, answer.err) == (0, "one\n", "")


SAID = {"run_id": "run-a", "requested_at_ms": 1000, "status": "queued"}
TRIED = {"claimed_at_ms": 3000, "ended_at_ms": 9000, "outcome": "failed", "exit_code": 2}
OPEN = {"claimed_at_ms": 10_000}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ({}, "run-a queued for 1m"),
        ({"status": "scheduled"}, "run-a scheduled for 1m"),
        ({"attempts": [TRIED]}, "run-a queued again for 52s"),
        ({"attempts": [TRIED, OPEN], "status": "started"}, "run-a runs, attempt 2, for 51s"),
        ({"attempts": [OPEN], "status": "cancelling"},
         "run-a is being cancelled, attempt 1, for 51s"),
        ({"attempts": [TRIED], "status": "done", "outcome": "failed", "ended_at_ms": 9000},
         "run-a failed (exit code 2) after 6s"),
        ({"status": "done", "outcome": "skipped", "ended_at_ms": 4000}, "run-a skipped after 3s"),
    ],
)  # fmt: skip
def test_the_line_says_how_it_stands_and_for_how_long(state, expected):
    assert words({**SAID, **state}, 61_000) == expected


def test_a_worker_at_a_terminal_tells_each_end_as_a_sentence(run, terminals):
    run_id = requested(run, "exit 3")

    text = terminals.ended(terminals.start(80, *run.command("run", "poll", "--drain")))

    assert text == f"{run_id} failed (exit code 3): exit 3\n"
