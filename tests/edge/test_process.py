"""Processes and their signals: what comes at the wrong moment is not lost."""

import os
import signal

from coord.edge import process


def test_a_signal_that_comes_while_signals_are_taken_over_is_told(monkeypatch):
    """Else who is asked to end in that moment would go on as if nobody had."""
    taken_over = signal.signal

    def eager(number, handler):
        before = taken_over(number, handler)
        if number == signal.SIGTERM and handler is process._do_nothing:
            os.kill(os.getpid(), number)
        return before

    monkeypatch.setattr(signal, "signal", eager)
    with process.Signals() as signals:
        came, _ = signals.wait(-1, 0.0)

    assert came == [signal.SIGTERM]
