"""`run wait` and `run watch`: until a run has ended, and what happens to runs."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from coord.cli import kit, live
from coord.cli.run import common
from coord.core import ev
from coord.core.problem import State
from coord.core.run import outcome
from coord.core.run import request as facts
from coord.edge import clock
from coord.edge.run.wake import Wake
from coord.errors import Refusal


@kit.command("wait")
@common.one_run
@click.option("--for", "span", type=common.Span(), metavar="SPAN", help="At most so long.")
def wait(call: kit.Call, run_id: str, span: int | None) -> int:
    """Wait until the run RUN has ended, print how, and exit as it did.

    The exit status is that of the command, 128 and its signal, 124 when its time was over,
    and 125 for every other outcome than succeeded.

    \b
    Exits: 3 no such run; 7 --for: it has not ended in time.
    Example: run wait run-7k2m && git push
    """
    state = until_ended(call, run_id, span)
    call.emit([facts.short(state)], _sentences, ident="run_id")
    return outcome.status_of(state)


def _sentences(rows: list[Any]) -> None:
    for row in rows:
        click.echo(kit.plain(common.sentence(row)))


def until_ended(call: kit.Call, text: str, span: int | None) -> State:
    """The state of a run once it has ended.

    Refusals: busy, when it has not in time.
    """
    ends_at = float("inf") if span is None else time.monotonic() + span / 1000
    with Wake([os.path.join(call.place.store, "run")]) as wake:
        while True:
            call.now_ms = clock.now_ms()
            state = common.state_of(call, text)
            if "outcome" in state:
                return state
            if time.monotonic() >= ends_at:
                hint = f"run why {state['run_id']}"
                raise Refusal("busy", f"{state['run_id']} is still {state['status']}", hint)
            wake.wait_until(ends_at)


@kit.command("watch")
@click.argument("run_id", required=False, metavar="[RUN]", shell_complete=common.complete_run)
@click.option("--status", type=click.Choice(["failed", "ended"]), metavar="failed|ended",
              help="Only how runs end, or fail.")  # fmt: skip
@live.options
def watch(
    call: kit.Call,
    run_id: str | None,
    status: str | None,
    since: str | None,
    cursor_file: str | None,
    limit: int | None,
) -> None:
    """Print what happens to runs, or to the run RUN, as it happens.

    With --status it prints those alone with which a run has ended, of whatever attempt; of
    `failed` those that were not succeeded, cancelled or skipped.

    \b
    Exits: 3 no such run; 130 interrupted.
    Example: run watch --status failed | msg send --to @oncall -
    """
    named = ""
    if run_id:
        with call.reading() as known:
            named = common.run_id(known, run_id)
    wanted = ev.Filter(types=("run.*",), run_id=named)
    if status is not None:
        wanted = _Endings(types=_ENDING, run_id=named, call=call, failed=status == "failed")
    live.events(call, since, cursor_file, limit, wanted)


_ENDING = ("run.completed", "run.cancelled")
_WELL = (outcome.SUCCEEDED, outcome.CANCELLED, outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class _Endings(ev.Filter):
    """The events with which runs end: not those after which another attempt follows."""

    call: kit.Call | None = None
    failed: bool = False

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Whether a run has ended with this event."""
        # Not super(): a class with slots is made anew, and the old one is meant by it.
        if not ev.Filter.matches(self, raw) or self.call is None:
            return False
        self.call.now_ms = clock.now_ms()
        with self.call.reading() as known:
            state = known.state(f"run/{raw.get('refs', {}).get('run_id')}")
        is_last = state.get("outcome") is not None and state["last"] == raw["event_id"]
        return is_last and not (self.failed and state["outcome"] in _WELL)
