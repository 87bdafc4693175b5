"""`run poll`: a worker. Claims runs, starts them, records how they ended."""

import functools
import os
import sys
import time
from collections.abc import Sequence

import click

from coord.cli import kit
from coord.cli.run import common, hosting
from coord.cli.run.competing import Competing
from coord.cli.run.ticking import Ticker
from coord.cli.run.worker import HEARD, Worker
from coord.core.run import request as facts
from coord.edge import environment, replica
from coord.edge.run.wake import Wake
from coord.errors import NO, Refusal

# What nobody was woken for is looked at in any case.
_ANYWAY_S = 10.0


@kit.command("poll")
@click.option("--once", is_flag=True, help="Execute one run, if one may start, and end.")
@click.option("--drain", is_flag=True, help="End when no run is left that may start.")
@click.option("--max", "at_once", type=click.IntRange(min=1), default=1, metavar="N",
              help="At most N runs at once; 1 by default.")  # fmt: skip
@click.option("--labels", multiple=True, metavar="NAME,...", help="What this worker has.")
@click.option("--executor", type=common.Executor(is_whole=True), default=common.LOCAL,
              metavar="local|tmux|ssh:HOST[:FOLDER]",
              help="tmux: with a window on each run, in session coord. ssh: at another host, "
              "below FOLDER there, what asks for it.")  # fmt: skip
def poll(
    call: kit.Call, once: bool, drain: bool, at_once: int, labels: Sequence[str], executor: str
) -> int:
    """Be a worker: execute the runs that were requested in this store, by priority, then age.

    Those that were requested --anywhere too, as far as their requests have come here (ev
    sync --watch brings them): the git remote decides which clone has one, a process apart
    renews that, and where it cannot be renewed the command is ended before another clone
    may begin.

    Prints a line for each run that ends: those that it has started, and those of others
    whose end it records. It waits in the kernel and costs nothing meanwhile. It may be
    ended at any time, killed too: what it has started goes on and is recorded by the next
    worker. Before each claim it records what others have left.

    \b
    Exits: 1 --once: no run may start; 4 paused; 130 interrupted.
    Example: run poll --max 4 --labels gpu,linux
    """
    names = [part.strip() for text in labels for part in text.split(",") if part.strip()]
    host = hosting.named_in(executor)
    names += host.labels if host else [common.EXECUTOR + executor]
    worker = Worker(call, names, 1 if once else at_once)
    worker.host = host
    if host:
        hosting.refuse_unfit(call.place, host)
    if executor == common.TMUX:
        _refuse_without_tmux()
        worker.on_start = functools.partial(_show, call)
    worker.has_nursery = not once
    worker.ticker = Ticker(call, names)
    if not host:
        worker.competing = Competing(call, names, replica.home(call.place))
    with call.desk() as desk:
        desk.refuse_paused()
    if once:
        worker.claims_left = 1
    return _Polling(call, worker, once, drain).run()


def _refuse_without_tmux() -> None:
    from coord.edge.run import window

    fault = window.fault(environment.child())
    if fault:
        raise Refusal("usage", fault, "run doctor tells what works here")


def _show(call: kit.Call, run_id: str) -> None:
    """Open a window on a run that has been started."""
    from coord.edge.run import launch, window

    words = [*launch.words_of("run"), "attach", run_id]
    if not window.show(run_id, words, os.getcwd(), environment.child()):
        call.warn("nothing", f"{run_id} has no window", f"run attach {run_id}")


class _Polling:
    """The worker's days: look, print, wait."""

    def __init__(self, call: kit.Call, worker: Worker, once: bool, drain: bool) -> None:
        self._call, self._worker, self._once, self._drain = call, worker, once, drain

    def run(self) -> int:
        folders = [os.path.join(self._call.place.store, tool) for tool in HEARD]
        with Wake(folders) as wake:
            while True:
                ended = self._worker.look()
                rows = [facts.short(state) for state in ended]
                self._call.emit(rows, common.tell, ident="run_id")
                sys.stdout.flush()
                if self._worker.fires():
                    continue
                if self._worker.running or not self._worker.has_written:
                    status = self._status()
                    if status is not None:
                        return status
                    self._wait(wake)

    def _status(self) -> int | None:
        """The exit status, when there is nothing more to do."""
        if self._worker.busy or (self._worker.running and not self._once):
            return None
        if self._worker.is_paused:
            with self._call.desk() as desk:
                desk.refuse_paused()
        if self._once:
            return 0 if self._worker.claims_left == 0 else NO
        is_over = self._drain and self._worker.backoff_ms() is None
        return 0 if is_over else None

    def _wait(self, wake: Wake) -> None:
        """Wait until there may be something to do."""
        wait_s = self._worker.wait_s()
        ends_at = time.monotonic() + min(_ANYWAY_S, _ANYWAY_S if wait_s is None else wait_s)
        # What we have written ourselves wakes us too, and is no reason to look.
        while not (self._worker.is_news() or self._worker.is_over()):
            if time.monotonic() >= ends_at:
                return
            wake.wait_until(ends_at, self._worker.descriptors)
