"""`run rollback RUN`: undo what the steps of a run have done, the newest first, each once."""

import os
import tempfile
from typing import Any, NamedTuple

import click

from coord.cli import kit
from coord.cli.run import common
from coord.cli.run.step import Result, executed, lineage, printed_by
from coord.cli.run.worker import Worker
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import life, steps
from coord.core.run import request as facts
from coord.edge import clock, environment, process, replica
from coord.edge.run import stepping
from coord.errors import Refusal

Undo = tuple[State, steps.Step]


@kit.command("rollback", writes=True)
@common.one_run
def rollback(call: kit.Call, run_id: str) -> None:
    """Execute the undos of the completed steps of the run RUN, the newest first, each once.

    Prints a line for each; what the undos print goes to stderr, and each reads on stdin
    what its step has printed. It stops at the first that fails; repeated, it goes on with
    that one. A step that failed, or has no undo, is passed over. RUN must have ended; the
    steps that it has taken over (run retry --resume) are undone too. --dry-run prints the
    events with which the undos would begin.

    \b
    Exits: 3 no such run; 4 a step was executed in another store; 5 it has not ended, an undo
           failed, or nobody knows how a step ended; 7 another rollback is under way.
    Example: run rollback run-7k2m --why "the deploy was wrong"
    """
    if call.key:
        raise Refusal("usage", "a rollback has no --key", "repeated, it undoes nothing twice")
    state = _ended(call, run_id)
    if call.dry_run:
        with call.desk() as desk:
            chain = lineage(desk, state["run_id"])
            undos = [desk.take(_begun(call, undo, chain)) for undo in steps.to_undo(chain)]
            call.acknowledge(undos, str)
        return
    folder = stepping.folder_of(call.place.local, state["run_id"])
    _enter(call, state)
    with stepping.alone(folder, "rollback"), process.Signals() as signals:
        while True:
            following = _next(call, state["run_id"])
            if following is None:
                return
            _emit(call, following.undo, _undone(call, following, signals))


def _ended(call: kit.Call, text: str) -> State:
    """The run, which has ended: also when nobody had noticed before."""
    worker = Worker(call)
    worker.takes_queue = False
    worker.look()
    call.now_ms = clock.now_ms()
    state = common.state_of(call, text)
    run_id = state["run_id"]
    if "resumed_by" in state:
        other = state["resumed_by"]
        raise Refusal("wrong_state", f"{other} goes on with its steps", f"run rollback {other}")
    if state["status"] != life.DONE:
        raise Refusal("wrong_state", f"{run_id} is {state['status']}", f"run cancel {run_id}")
    return state


def _enter(call: kit.Call, state: State) -> None:
    """Stand where the run's command stood."""
    top = common.top_of(call) or call.place.tree
    folder = os.path.join(top, state["spec"].get("cwd", ""))
    try:
        os.chdir(folder)
    except OSError as error:
        text = f"cannot enter {folder}: {os.strerror(error.errno or 0)}"
        raise Refusal("no_file", text, "the undos are executed where the run was") from error


class Following(NamedTuple):
    """The undo that comes next, begun: what its step printed, and its event."""

    undo: Undo
    printed: bytes
    begun: str


def _next(call: kit.Call, run_id: str) -> Following | None:
    """Record that the next undo begins; None when none is left."""
    call.now_ms = clock.now_ms()
    with call.desk() as desk:
        chain = lineage(desk, run_id)
        undo = next(steps.to_undo(chain), None)
        if undo is None:
            return None
        draft = _begun(call, undo, chain)
        printed = printed_by(call, desk.index, undo[1])
        written = desk.take(draft)
        desk.write()
    return Following(undo, printed, str(written.raw["event_id"]))


def _begun(call: kit.Call, undo: Undo, chain: list[State]) -> Draft:
    state, step = undo
    name = step["name"]
    if steps.is_in_doubt(step):
        text = f"nobody knows how step {name} of {state['run_id']}, or its undo, ended"
        hint = (f"look at what it did, then: run step {name} --run {chain[0]['run_id']}"
                " --done, or --redo")  # fmt: skip
        raise Refusal("wrong_state", text, hint, step=name)
    attempts = {one["attempt"]: one for one in state["attempts"]}
    if attempts.get(step["attempt"], {}).get("store", state["spec"].get("store")) != replica.home(
        call.place
    ):
        text = f"step {name} of {state['run_id']} was executed in another store"
        raise Refusal("not_allowed", text, "undo it there, and go on here after a sync")
    on = {"to": state["resumed_by"]} if "resumed_by" in state else {}
    return call.draft(*facts.of_step(state, "undoing", name, **on))


def _undone(call: kit.Call, following: Following, signals: process.Signals) -> Result:
    """Execute an undo and record how it ended."""
    (state, step), begun = following.undo, following.begun
    told = environment.child(COORD_RUN=state["run_id"], COORD_CAUSE=begun)
    with tempfile.TemporaryFile() as source:
        source.write(following.printed)
        source.seek(0)
        words, streams = ["/bin/sh", "-c", step["undo"]], {0: source.fileno()}
        result = executed(words, {**told, **state["spec"].get("env", {})}, signals, streams, out=2)
    call.now_ms = clock.now_ms()
    fact = facts.of_step(state, "undone", step["name"], start=begun, **result.told())
    with call.desk() as desk:
        desk.take(Draft(*fact, cause=begun))
        desk.write()
    return result


def _emit(call: kit.Call, undo: Undo, result: Result) -> None:
    state, step = undo
    row = {"run_id": state["run_id"], "step": step["name"], **result.told()}
    call.emit([row], _sentences, ident="step")
    if result.code:
        text = f"the undo of step {step['name']} ended with {result.code}"
        hint = f"repeated, it goes on with this one: run rollback {state['run_id']}"
        raise Refusal("wrong_state", text, hint, **row)


def _sentences(rows: list[Any]) -> None:
    for row in rows:
        how = "undone" if row.get("exit_code") == 0 else "NOT undone"
        click.echo(kit.plain(f"{row['run_id']}: step {row['step']} {how}"))
