"""`run list`, `show` and `why`: which runs there are, and how they stand."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.cli.run import common
from coord.core.problem import State
from coord.core.run import life, ready
from coord.core.run import request as facts
from coord.core.run.around import Around
from coord.edge import replica
from coord.edge.index import Index, runs
from coord.edge.run import spool
from coord.errors import NO


@kit.command("list")
@click.option("--status", type=click.Choice([*runs.STATUSES]), default="unfinished",
              help="unfinished is the default.")  # fmt: skip
@click.option("--schedules", "status", flag_value="scheduled", help="Schedules instead.")
@click.option("--mine", is_flag=True, help="What I have requested.")
@click.option("--group", metavar="NAME", help="Of this group.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N runs, 50 by default; 0 for all.")  # fmt: skip
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
              help="Pass over the first N.")  # fmt: skip
def list_runs(
    call: kit.Call,
    status: str,
    mine: bool,
    group: str | None,
    limit: int,
    offset: int,
) -> int:
    """List runs, the newest first.

    Prints a line each: run_id, status, outcome, exit_code or signal, who requested it and
    when, the command. `failed` is whatever ended and was not succeeded, cancelled or skipped.

    \b
    Exits: 1 there is none.
    Example: run list --status failed --mine
    """
    agent_id = call.author.agent_id if mine else ""
    query = runs.Query(status, agent_id, group or "", limit or -1, offset)
    with call.reading() as known:
        rows = [facts.short(state) for state in runs.listed(known.connection, query)]
        total = runs.count(known.connection, query)
        now_ms = call.query_now(known)
    call.emit(rows, functools.partial(_table, now_ms=now_ms), ident="run_id")
    kit.note_page(len(rows), total, offset)
    if not total:
        call.note("there is none; --status all lists those that have ended too")
    return 0 if rows else NO


def _table(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables_holding

    tables_holding.runs(rows, now_ms)


@kit.command("show")
@common.one_run
@click.option("--artifacts", metavar="DIR", help="Write its artifacts below DIR as well.")
def show(call: kit.Call, run_id: str, artifacts: str | None) -> int:
    """Show the run RUN whole: what was asked for, its attempts, how each ended.

    \b
    Exits: 1 --artifacts: there are none, or not all of them are here; 3 no such run.
    Example: run show run-7k2m --artifacts out
    """
    with call.reading() as known:
        state = known.state(f"run/{common.run_id(known, run_id)}")
        now_ms = call.query_now(known)
    cards = functools.partial(_cards, now_ms=now_ms)
    call.emit([facts.row(state)], cards, ident="run_id")
    return 0 if artifacts is None else _write_artifacts(call, state, artifacts)


def _write_artifacts(call: kit.Call, state: State, folder: str) -> int:
    """Write the artifacts of a run's last attempt; NO unless there are some, and all here."""
    from coord.cli.run import files

    attempts = state.get("attempts", ())
    found = attempts[-1].get("artifacts", ()) if attempts else ()
    missing = files.saved_to(folder, call.place.store, found)
    for text in missing:
        call.warn("no_file", text, "ev sync brings the blobs of other clones")
    return NO if missing or not found else 0


def _cards(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables

    for row in rows:
        tables.pairs(row, now_ms)


@kit.command("why")
@common.one_run
def why(call: kit.Call, run_id: str) -> int:
    """Say why the run RUN is not being executed: a line for each reason.

    \b
    Exits: 1 nothing stands in its way; 3 no such run.
    Example: run why run-7k2m
    """
    with call.reading() as known:
        state = known.state(f"run/{common.run_id(known, run_id)}")
        rows = [*_reasons(call, known, state)]
    call.emit(rows, _sentences, ident="reason")
    if not rows:
        call.note(f"nothing keeps {state['run_id']} from being executed")
    return 0 if rows else NO


def _reasons(call: kit.Call, known: Index, state: State) -> Iterator[Mapping[str, str]]:
    now_ms = call.query_now(known)
    for reason in ready.why(state, now_ms, Around(_Stored(known))):
        yield {"run_id": state["run_id"], "reason": reason.code, "text": reason.text}
    attempt = life.open_attempt(state)
    if state["status"] == life.SCHEDULED:
        text = spool.cut_off(call.place.local, spool.SCHEDULES)
        if text and state["spec"]["schedule"]["confirmed"] == "remote":
            yield {"run_id": state["run_id"], "reason": "cut_off", "text": text}
    elif attempt is None and life.is_anywhere(state) and state["status"] != life.DONE:
        text = spool.cut_off(call.place.local, spool.ANYWHERE)
        if text:
            yield {"run_id": state["run_id"], "reason": "cut_off", "text": text}
    elif state["status"] != life.DONE and life.store_of(state) != replica.home(call.place):
        text = "another store executes it"
        if not life.is_anywhere(state):
            text = "it was requested in another store, which executes it"
        yield {"run_id": state["run_id"], "reason": "elsewhere", "text": text}
    elif attempt is not None:
        folder = spool.folder_of(call.place.local, state["run_id"], attempt["attempt"])
        if not spool.is_alive(folder):
            text = "its process has ended, and no worker has recorded it: run poll does"
            yield {"run_id": state["run_id"], "reason": "unrecorded", "text": text}
        elif spool.unreached(folder):
            text = spool.unreached(folder)
            yield {"run_id": state["run_id"], "reason": "unreached", "text": text}


class _Stored:
    """The index as readiness asks it."""

    def __init__(self, known: Index) -> None:
        self._known = known
        self.state, self.keyed = known.state, known.keyed

    def taken_in(self, group: str) -> list[int]:
        """The limits that the runs say which take a place in this group now."""
        return [limit for _, limit in runs.taken_in(self._known.connection, group)]


def _sentences(rows: list[Any]) -> None:
    for row in rows:
        click.echo(kit.plain(f"{row['run_id']}: {row['text']}"))
