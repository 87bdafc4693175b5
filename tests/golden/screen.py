"""A terminal of so many columns, in tmux: what a person sees there, as text."""

import itertools
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

DEADLINE_S = 60.0
LINES = 60


class Screen:
    """A tmux server of its own, whose panes show commands that run in a folder."""

    def __init__(self, socket: str, folder: Path, environment: Mapping[str, str]) -> None:
        self._socket, self._folder, self._environment = socket, folder, environment
        self._numbers = itertools.count()

    def tmux(self, *words: str) -> str:
        """Run a tmux command; what it prints."""
        done = subprocess.run(
            ["tmux", "-S", self._socket, "-f", "/dev/null", *words],
            cwd=self._folder, env=dict(self._environment), capture_output=True, timeout=DEADLINE_S,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode()

    def start(self, columns: int, *words: str, lines: int = LINES) -> str:
        """Run a command on a terminal of its own; the terminal's name."""
        name = f"s{next(self._numbers)}"
        size = ("-x", str(columns), "-y", str(lines))
        self.tmux(
            "set-option", "-g", "remain-on-exit", "on", ";",
            "set-option", "-g", "remain-on-exit-format", "", ";",
            "set-option", "-g", "status", "off", ";",
            "new-session", "-d", "-s", name, *size, *words,
        )  # fmt: skip
        return name

    def ended(self, name: str) -> str:
        """What a terminal shows when its command has ended and all of it was read."""
        self.until(name, lambda _: self._ask(name, "#{pane_dead}") == "1")
        return self.text(name)

    def text(self, name: str) -> str:
        """What a terminal shows now."""
        lines = self.tmux("capture-pane", "-p", "-t", name).split("\n")
        return "\n".join(line.rstrip() for line in lines).rstrip("\n") + "\n"

    def _ask(self, name: str, what: str) -> str:
        return self.tmux("display-message", "-p", "-t", name, what).strip()

    def until(self, name: str, holds: Callable[[str], bool]) -> str:
        """Wait until what a terminal shows is as wanted; that text."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            text = self.text(name)
            if holds(text):
                return self.text(name)
            time.sleep(0.02)
        raise AssertionError(f"{name} never came to show it:\n{self.text(name)}")


@contextmanager
def opened(folder: Path, environment: Mapping[str, str], socket: Path) -> Iterator[Screen]:
    """A server without sessions, and its end."""
    # The test runner's workers have a width of their own in the environment.
    kept = {k: v for k, v in environment.items() if k not in ("COLUMNS", "LINES")}
    own = {**kept, "TERM": "screen-256color"}
    screen = Screen(str(socket), folder, own)
    # Without a session a server ends at once: this one holds it.
    screen.tmux("new-session", "-d", "-s", "holds", "cat")
    try:
        yield screen
    finally:
        screen.tmux("kill-server")
