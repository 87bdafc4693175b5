"""`run cancel`: end runs, and say so once nothing of them lives."""

import os
import time
from collections.abc import Iterator, Sequence

import click

from coord.cli import kit
from coord.cli.run import common
from coord.cli.run.worker import Worker
from coord.core.draft import Draft
from coord.core.run import life, wanted
from coord.core.run import request as facts
from coord.edge import replica
from coord.edge.index import runs
from coord.edge.run.wake import Wake
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

# What the kernel may take to end a tree after KILL.
_SLACK_S = 30.0


@kit.command("cancel", writes=True)
@common.many_runs
@click.option("--no-wait", is_flag=True, help="Do not wait until they have ended.")
def cancel(call: kit.Call, run_ids: Sequence[str], no_wait: bool) -> int:
    """End the runs RUN...: TERM to all that each has started, after its grace KILL.

    It is done when nothing of them lives, and waits for that; until then they are
    `cancelling`. One that nobody has started is over at once. A run of another store is
    ended there, when it hears of it.

    \b
    Exits: 3 no such run; 5 it has ended; 7 something of it still lives.
    Example: run cancel run-7k2m --why "wrong branch"
    """
    written = call.record(lambda desk: _drafts(call, desk, run_ids))
    call.acknowledge(written, lambda raw: f"{raw['refs']['run_id']} cancelling", ident="run_id")
    names = [str(one.raw["refs"]["run_id"]) for one in written]
    if not (no_wait or call.dry_run):
        end(call, names)
    return 0


def _drafts(call: kit.Call, desk: Desk, texts: Sequence[str]) -> Iterator[Draft | Written]:
    for text in dict.fromkeys(texts):
        state = desk.state(f"run/{common.run_id(desk.index, text)}")
        if state["status"] == life.DONE and not call.key:
            text = f"{state['run_id']} has ended: {state['outcome']}"
            raise Refusal("wrong_state", text, f"run show {state['run_id']}")
        yield call.draft(*facts.cancelled(state), key=call.key_of(state["run_id"], len(texts)))


def end(call: kit.Call, run_ids: Sequence[str]) -> None:
    """Wait until runs have ended, recording it where no worker does.

    Refusals: busy.
    """
    worker = Worker(call)
    worker.takes_queue = False
    ends_at = time.monotonic() + _SLACK_S + _grace_s(call, run_ids)
    with Wake([os.path.join(call.place.store, "run")]) as wake:
        while True:
            worker.look()
            with call.reading() as known:
                live = sorted(runs.live_among(known.connection, run_ids))
            if not live:
                return
            if time.monotonic() >= ends_at:
                hint = "run why tells more"
                raise Refusal("busy", f"{', '.join(live)}: something of it still lives", hint)
            wait_s = worker.wait_s()
            left_s = ends_at - time.monotonic()
            wake.wait(worker.descriptors, left_s if wait_s is None else min(wait_s, left_s))


def _grace_s(call: kit.Call, run_ids: Sequence[str]) -> float:
    """The longest grace of the runs that are ended here; others are not waited for."""
    home = replica.home(call.place)
    with call.reading() as known:
        states = [known.state(f"run/{name}") for name in run_ids]
    ours = [state["spec"] for state in states if life.store_of(state) == home]
    graces = [spec.get("grace_ms", wanted.DEFAULT_GRACE_MS) for spec in ours]
    return max(graces, default=0) / 1000
