"""A window of tmux on each run: somebody may look on, and nothing depends on it.

The window shows `run attach`: it follows the log that the shim writes. Closing it, or ending
tmux, changes nothing about the run. It needs nothing but the standard library and tmux.
"""

import os
import shutil
from collections.abc import Mapping, Sequence

from coord.edge import process

SESSION = "coord"


def fault(environment: Mapping[str, str]) -> str:
    """What keeps windows from being opened here; "" for nothing."""
    if not shutil.which("tmux"):
        return "tmux is not installed"
    # A server of its own, so that nobody's is touched.
    private = ("-L", f"coord-probe-{os.getpid()}", "-f", os.devnull)
    is_open = not tmux([*private, "new-session", "-d", "-s", SESSION, "sleep 10"], environment)
    tmux([*private, "kill-server"], environment)
    return "" if is_open else "tmux starts no session"


def show(name: str, words: Sequence[str], folder: str, environment: Mapping[str, str]) -> bool:
    """Open a window that executes a command; whether there is one.

    name: what the window is called. folder: where the command begins.
    """
    told = ["-c", folder, "-n", name, "--", *words]
    new = ["new-window", "-d", "-t", f"={SESSION}:", *told]
    if tmux(new, environment) == 0:
        return True
    # There is no session; another worker may make it in the same moment.
    session = ["new-session", "-d", "-s", SESSION, *told]
    return tmux(session, environment) == 0 or tmux(new, environment) == 0


def tmux(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Execute tmux, quietly, to its end; its exit status."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    try:
        streams = dict.fromkeys((0, 1, 2), nowhere)
        pid = process.start(["tmux", *words], environment, streams).pid
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except process.NotStarted as error:
        return error.status
    finally:
        os.close(nowhere)
