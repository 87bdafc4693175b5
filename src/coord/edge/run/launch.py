"""Starting a shim: a fork of the worker, which needs no second start of Python."""

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from coord.edge.run import shim


def words_of(tool: str) -> list[str]:
    """The words that start one of our own tools, whatever the search path says."""
    return [sys.executable, "-c", f"from coord.cli.{tool} import main; main()"]


def launch(folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]) -> int:
    """Start the shim of an attempt and answer its pid; the lock is its own from then on.

    No store may be locked and no index open meanwhile: the fork would keep them.
    """
    pid = os.fork()
    if not pid:
        _child(folder, lock, spec, environment)
    os.close(lock)
    return pid


def _child(
    folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]
) -> NoReturn:
    try:
        shim.run(folder, lock, spec, environment)
    finally:
        os._exit(0)


def bury(pid: int) -> None:
    """Take the status of a shim of ours that has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
