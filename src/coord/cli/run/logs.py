"""`run logs` and `run attach`: what a run prints, the same bytes for everybody."""

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator

import click

from coord.cli import kit
from coord.cli.run import common
from coord.cli.run.standing import Standing
from coord.core.problem import State
from coord.core.run import outcome
from coord.edge import clock
from coord.edge.run import spool
from coord.edge.run.following import Log
from coord.edge.run.wake import Wake
from coord.errors import Refusal


@kit.command("logs")
@common.one_run
@click.option("--attempt", type=click.IntRange(min=1), metavar="N", help="The newest by default.")
@click.option("--since", "offset", type=click.IntRange(min=0), default=0, metavar="OFFSET",
              help="From this byte on.")  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until it has ended.")
def logs(call: kit.Call, run_id: str, attempt: int | None, offset: int, follow: bool) -> int:
    """Print what an attempt of the run RUN has printed, stdout and stderr as they came.

    The bytes are the command's own. A log lies on the machine that executed the run and
    is not synced; run gc removes old ones.

    \b
    Exits: 3 no such run, or no log of it here.
    Example: run logs run-7k2m --since 65536 --follow
    """
    state = common.state_of(call, run_id)
    number = attempt or len(state.get("attempts", ()))
    folder = spool.folder_of(call.place.local, state["run_id"], number)
    if not os.path.isdir(folder):
        text = f"there is no log of attempt {number} of {state['run_id']} here"
        raise Refusal("no_file", text, "run show tells who executed it")
    log = Log(folder, offset)
    if follow:
        _follow(folder, log)
    else:
        _print(log)
    return 0


def _print(log: Log) -> bytes:
    """Print what is new; its last byte, b"" where nothing is."""
    last = b""
    for data in log.news():
        try:
            common.write_all(sys.stdout, data)
        except BrokenPipeError:
            raise kit.Closed from None
        last = data[-1:] or last
    return last


def _follow(folder: str, log: Log, meanwhile: Callable[[], None] | None = None) -> bytes:
    """Print what comes until the shim is gone; `meanwhile` is called before each wait.

    Answers the last byte.
    """
    last = b""
    with Wake([folder]) as wake:
        while True:
            # Asked first: what was printed up to then is in the log.
            is_alive = spool.is_alive(folder)
            last = _print(log) or last
            if not is_alive:
                return last
            if meanwhile is not None:
                meanwhile()
            wake.wait()


@kit.command("attach")
@common.one_run
@click.option("--stdin", "feeds", is_flag=True, help="Forward stdin to it, to its end.")
def attach(call: kit.Call, run_id: str, feeds: bool) -> int:
    """Follow the run RUN live, from wherever one is, and exit as it did.

    Prints what its attempts print, from their beginning, one after the other; how it
    stands and for how long, queued, running, ended, is said on stderr at a terminal.
    Leaving does not end the run. With --stdin the command reads our stdin, where the run
    was requested with --stdin too.

    \b
    Exits: as run wait; 3 no such run; 5 --stdin: it reads nothing.
    Example: run attach run-7k2m
    """
    state = common.state_of(call, run_id)
    seen = 0
    if feeds and not state["spec"].get("stdin"):
        hint = "run request --stdin"
        raise Refusal("wrong_state", f"{state['run_id']} does not read what is forwarded", hint)
    line = contextlib.closing(Standing(call))
    with Wake([os.path.join(call.place.store, "run")]) as wake, line as standing:
        while True:
            attempts = len(state.get("attempts", ()))
            if seen < attempts:
                seen = seen + 1 if seen else attempts
                folder = spool.folder_of(call.place.local, state["run_id"], seen)
                if os.path.isdir(folder):
                    with _feeding(folder, feeds):
                        meanwhile = functools.partial(standing.show, state)
                        standing.follow(_follow(folder, Log(folder), meanwhile))
            elif "outcome" in state:
                standing.show(state)
                return outcome.status_of(state)
            else:
                standing.show(state)
                wake.wait()
            state = looked_at(call, state["run_id"])


@contextlib.contextmanager
def _feeding(folder: str, feeds: bool) -> Iterator[None]:
    """A process of its own forwards stdin meanwhile: who writes may have to wait."""
    pid = os.fork() if feeds else -1
    if not pid:
        try:
            spool.feed(folder, 0)
        finally:
            os._exit(0)
    try:
        yield
    finally:
        if feeds:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def looked_at(call: kit.Call, run_id: str) -> State:
    """A run as it stands now."""
    call.now_ms = clock.now_ms()
    with call.reading() as known:
        return known.state(f"run/{run_id}")
