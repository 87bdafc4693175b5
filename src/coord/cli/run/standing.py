"""How a run stands, on one line at a terminal: queued, running, ended, and for how long.

The line goes to stderr and is drawn over itself, once a second, as long as nobody else
writes to that terminal: where stdout is one too, what the command prints would run into it,
so there it is told once that it runs. What has ended stays. Elsewhere nothing is drawn.
"""

import contextlib
import os
import sys

from coord.cli import kit
from coord.core import units
from coord.core.problem import State
from coord.core.run import life
from coord.edge import clock

_NUMBERS = {"exit_code": "exit code", "signal": "signal"}


class Standing:
    """The line, until it is closed."""

    def __init__(self, call: kit.Call) -> None:
        self._is_on = sys.stderr.isatty() and not call.quiet
        self._is_shared = sys.stdout.isatty()
        self._drawn = ""
        self._told = 0

    def close(self) -> None:
        """Take away what is drawn and not told."""
        self._draw("")

    def follow(self, last: bytes) -> None:
        """Go on after what the command printed, whose last byte this was."""
        if self._is_on and self._is_shared and last not in (b"", b"\n"):
            self._write("\n")

    def show(self, state: State) -> None:
        """Draw how it stands now."""
        if not self._is_on:
            return
        if "outcome" in state:
            self._tell(state)
        elif not self._is_shared or life.open_attempt(state) is None:
            self._draw(words(state, clock.now_ms()))
        elif self._told < len(state["attempts"]):
            self._told = len(state["attempts"])
            self._tell(state)

    def _tell(self, state: State) -> None:
        """Draw it and leave it there."""
        self._draw(words(state, clock.now_ms()))
        self._write("\n")
        self._drawn = ""

    def _draw(self, line: str) -> None:
        cut = kit.plain(line)[: _columns() - 1]
        if cut != self._drawn:
            before = self._drawn
            # Noted first: whoever is interrupted within this takes it away all the same.
            self._drawn = cut or before
            # Over what stood there, and back to the beginning where nothing is to stand.
            self._write(f"\r{cut.ljust(len(before))}" + ("" if cut else "\r"))
            self._drawn = cut

    @staticmethod
    def _write(text: str) -> None:
        # A terminal that is gone is no reason for whoever follows the log to end.
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), text.encode())


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return 80


def words(state: State, now_ms: int) -> str:
    """Its state and for how long, as a sentence."""
    run_id, attempts = state["run_id"], state.get("attempts", ())
    last = attempts[-1] if attempts else {}
    asked_at_ms: int = state["requested_at_ms"]
    if "outcome" in state:
        since_ms = last.get("claimed_at_ms", asked_at_ms)
        how = "".join(f" ({_NUMBERS[name]} {last[name]})" for name in _NUMBERS if name in last)
        return f"{run_id} {state['outcome']}{how} after {_age(since_ms, state['ended_at_ms'])}"
    if life.open_attempt(state) is None:
        since_ms = last.get("ended_at_ms", asked_at_ms)
        again = " again" if attempts else ""
        return f"{run_id} {state['status']}{again} for {_age(since_ms, now_ms)}"
    verb = "is being cancelled" if state["status"] == life.CANCELLING else "runs"
    return f"{run_id} {verb}, attempt {len(attempts)}, for {_age(last['claimed_at_ms'], now_ms)}"


def _age(since_ms: int, now_ms: int) -> str:
    return units.show_age(max(0, now_ms - since_ms))
