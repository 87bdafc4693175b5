"""Processes and their signals: what comes at the wrong moment is not lost."""

import functools
import os
import signal

from coord.edge import process


def at_once(taken_over, number, handler):
    """Take a signal over; it comes in the moment after."""
    before = taken_over(number, handler)
    if number == signal.SIGTERM and handler is process._do_nothing:
        os.kill(os.getpid(), number)
    return before


def test_a_signal_that_comes_while_signals_are_taken_over_is_told(monkeypatch):
    """Else who is asked to end in that moment would go on as if nobody had."""
    monkeypatch.setattr(signal, "signal", functools.partial(at_once, signal.signal))

    with process.Signals() as signals:
        came, _ = signals.wait(-1, 0.0)

    assert came == [signal.SIGTERM]
