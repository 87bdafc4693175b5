"""`run exec -- CMD`: request, execute here, stream, exit as the command did."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from coord.cli import kit
from coord.cli.run import cancel, common, confining, files
from coord.cli.run.logs import looked_at
from coord.cli.run.worker import HEARD, Worker
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import outcome
from coord.core.run import request as facts
from coord.edge import clock
from coord.edge.run import spool
from coord.edge.run.following import Log
from coord.edge.run.wake import Wake
from coord.edge.writing import Desk
from coord.errors import INTERRUPTED, Refusal


@kit.command("exec", writes=True)
@click.option("--shell", metavar="LINE", help="A line for sh -c instead of words after --.")
@files.options
@confining.options
@common.bounds
def _exec(call: kit.Call, shell: str | None, **options: Any) -> int:
    """Execute the command after -- as a run, here and at once, and exit as it did.

    What it prints goes to stdout and stderr, and into the log; stdin is its own unless
    that is a terminal. When this process is interrupted the run is cancelled; when it is
    killed the run goes on, and the next worker records how it ended. --dry-run prints
    the request and executes nothing.

    \b
    Exits: as run wait; 130 interrupted.
    Example: run exec --timeout 10m -- make test
    """
    body = common.command_in(shell)
    if not body:
        raise Refusal("usage", "there is nothing to execute", "give words after --, or --shell")
    body |= {**common.place_of(call), **common.spec_of(options), **common.locks_of(call, options)}
    body |= {**files.spec_of(call, options), **confining.spec_of(options, is_now=True)}
    if call.dry_run:
        with call.desk() as desk:
            call.acknowledge([desk.take(_draft(call, desk, body))], str)
        return 0
    return _Executing(call, body).run()


exec_command = common.with_command(_exec)


def _draft(call: kit.Call, desk: Desk, body: Mapping[str, Any]) -> Any:
    kind, refs, said = facts.requested(
        common.fresh_id(desk, call.key), files.with_blobs(desk, body)
    )
    common.refuse_fault(refs, said)
    return call.draft(kind, refs, said)


class _Executing:
    """One run, from its request to its end."""

    def __init__(self, call: kit.Call, body: Mapping[str, Any]) -> None:
        self._call, self._body = call, body
        self._worker = Worker(call)
        self._worker.takes_queue = False
        self._worker.keeps_stdin = not os.isatty(0)
        self._run_id = ""
        self._attempt = 0

    def run(self) -> int:
        try:
            with _interrupted_by_signals():
                state = self._to_the_end()
        except KeyboardInterrupt:
            if self._run_id:
                self._cancel()
            return INTERRUPTED
        return self._answered(state)

    def _to_the_end(self) -> State:
        with Wake([os.path.join(self._call.place.store, tool) for tool in HEARD]) as wake:
            self._worker.look(self._begin)
            while True:
                state = looked_at(self._call, self._run_id)
                attempts = len(state.get("attempts", ()))
                if attempts > self._attempt:
                    # Whoever has executed it, and whether it has ended or not.
                    self._attempt = attempts
                    self._follow(self._folder(state))
                    self._worker.look()
                elif "outcome" in state:
                    return state
                elif state["status"] == "queued":
                    # Its worker, which is us, could not start it: once more.
                    self._worker.look(self._again)
                    if looked_at(self._call, self._run_id)["status"] == "queued":
                        wake.wait(self._worker.descriptors, self._worker.wait_s())
                else:
                    wake.wait(self._worker.descriptors, self._worker.wait_s())
                    self._worker.look()

    def _begin(self, desk: Desk) -> Sequence[str]:
        written = desk.take(_draft(self._call, desk, self._body))
        self._run_id = str(written.raw["refs"]["run_id"])
        return [self._run_id]

    def _again(self, _desk: Desk) -> Sequence[str]:
        return [self._run_id]

    def _folder(self, state: State) -> str:
        attempt = state["attempts"][-1]["attempt"]
        return spool.folder_of(self._call.place.local, self._run_id, attempt)

    def _follow(self, folder: str) -> None:
        """Copy what the command prints until its shim is gone; a pause ends it meanwhile."""
        log, agents = Log(folder), os.path.join(self._call.place.store, "ev")
        heard = _sizes_in(agents)
        with Wake([folder, agents]) as wake:
            while True:
                if _sizes_in(agents) != heard:
                    heard = _sizes_in(agents)
                    self._worker.look()
                is_alive = spool.is_alive(folder)
                for stream, data in log.parted():
                    _write(stream, data)
                if not is_alive:
                    return
                wake.wait(self._worker.descriptors)

    def _cancel(self) -> None:
        self._call.now_ms = clock.now_ms()
        self._call.why = self._call.why or "interrupted"
        if self._call.record(self._cancelling):
            cancel.end(self._call, [self._run_id])

    def _cancelling(self, desk: Desk) -> Iterator[Draft]:
        """The cancel; none where nothing was recorded yet, or it has ended meanwhile."""
        state = desk.state(f"run/{self._run_id}")
        if state and "outcome" not in state:
            yield self._call.draft(*facts.cancelled(state), key="")

    def _answered(self, state: State) -> int:
        if state["outcome"] not in (outcome.SUCCEEDED, outcome.FAILED, outcome.SIGNALED):
            attempts = state.get("attempts", ())
            reason = (attempts[-1] if attempts else state).get("reason", "")
            text = f"{self._run_id}: {state['outcome']}{': ' if reason else ''}{reason}"
            self._call.warn(state["outcome"], text, f"run show {self._run_id}")
        return outcome.status_of(state)


def _sizes_in(folder: str) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}


def _write(stream: int, data: bytes) -> None:
    target = sys.stdout if stream == 1 else sys.stderr
    # Whoever has had enough of it does not end the command.
    with contextlib.suppress(BrokenPipeError):
        common.write_all(target, data)


@contextlib.contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """TERM and HUP interrupt as INT does."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
