"""Runs with a window of tmux: it shows them, and nothing depends on it."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until

ADA = "agent:ada"


@pytest.fixture
def tmux(
    tmp_path: Path, need: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., str]]:
    """`tmux(words…)`: what a server of tmux of our own answers; it ends with the test."""
    need("tmux")
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)
    yield asked
    asked("kill-server")


def asked(*words: str) -> str:
    done = subprocess.run(["tmux", *words], capture_output=True, text=True)
    return done.stdout


def test_a_window_shows_a_run_and_closing_it_changes_nothing(run: Any, store: Path, tmux: Any):
    """The shim writes the log, not the pane; the session is made once."""
    line = "echo begun; until test -e go; do sleep 0.05; done; echo ended; exit 3"
    names = [
        run.ok("run", "request", "--quiet", "--executor", "tmux", "--shell", line, as_=ADA)
        .out.strip() for _ in range(2)
    ]  # fmt: skip
    words = ("poll", "--drain", "--max", "2", "--executor", "tmux", "--quiet")
    worker = run.start("run", *words, as_=ADA)

    for name in names:
        until(lambda name=name: "begun" in tmux("capture-pane", "-p", "-t", f"coord:{name}"), name)
    windows = tmux("list-windows", "-a", "-F", "#{session_name} #{window_name}").split("\n")
    tmux("kill-window", "-t", f"coord:{names[0]}")
    (run.folder / "go").touch()
    worker.communicate(timeout=60)

    assert sorted(filter(None, windows)) == sorted(f"coord {name}" for name in names)
    for name in names:
        assert run("run", "logs", name, as_=ADA).out == "begun\nended\n"
        assert run("run", "show", name, as_=ADA).json["attempts"][0]["exit_code"] == 3


def test_a_run_waits_for_a_worker_with_its_executor(run: Any, store: Path):
    name = run.ok("run", "request", "--quiet", "--executor", "tmux", "--", "true", as_=ADA)
    other = run.ok("run", "request", "--quiet", "--executor", "local", "--", "true", as_=ADA)

    polled = run("run", "poll", "--drain", "--quiet", as_=ADA)

    assert polled.out == other.out
    why = run("run", "why", name.out.strip(), as_=ADA).json
    assert why["text"] == "it needs a worker with executor:tmux"


def test_without_tmux_there_is_no_such_worker(run: Any, store: Path, tmp_path: Path):
    """It says so at once, and executes nothing some other way."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").symlink_to("/usr/bin/git")

    answer = run("run", "poll", "--executor", "tmux", as_=ADA, env={"PATH": str(tmp_path / "bin")})

    assert (answer.code, answer.error["message"]) == (2, "tmux is not installed")
