"""`lease check`: may I touch it? The answer that editors and scripts ask for all the time."""

import functools
from collections.abc import Sequence
from typing import Any

import click

from coord.cli import kit
from coord.cli.lease import common
from coord.core import arbiter, resource
from coord.core.arbiter import Hold
from coord.core.lease import request
from coord.core.resource import Resource
from coord.edge.index import Index, holds
from coord.errors import NO


@kit.command("check")
@common.resources
@click.option("--shared", is_flag=True, help="Whether I could share it.")
def check(call: kit.Call, resources: Sequence[str], shared: bool) -> int:
    """Say of each RESOURCE... whether it is free, mine, or held by somebody else.

    Prints a line each: resource, state (free, mine, held) and the hold that decides; with
    `promised` where another clone had it first, but this host was told otherwise and keeps
    its word. Nothing is written. work:ID may be asked for too.

    \b
    Exits: 1 one of them is held by somebody else; 2 outside of the repository.
    Example: lease check path:src/a.py && $EDITOR src/a.py
    """
    claims = [text for text in resources if text.startswith(f"{resource.WORK}:")]
    named = common.named(call, [text for text in resources if text not in claims])
    ignorecase = any(one.is_path for one in named) and common.tree_of(call).ignorecase
    with call.reading() as known:
        now_ms = call.query_now(known)
        rows = [_row(call, known, one, shared, ignorecase, now_ms) for one in named]
        rows += [_claim(call, known, text, now_ms) for text in claims]
    call.emit(rows, functools.partial(_table, now_ms=now_ms), ident="resource")
    return NO if any(row["state"] == "held" for row in rows) else 0


def _row(
    call: kit.Call, known: Index, named: Resource, shared: bool, ignorecase: bool, now_ms: int
) -> dict[str, Any]:
    author = call.author
    running = common.running(known, named, now_ms)
    state, hold = request.answer(
        running, named, author.agent_id, author.session_id, shared, ignorecase
    )
    promised = False
    if state == "free":
        promises = _promises(call, known, named, now_ms)
        found = request.answer(
            promises, named, author.agent_id, author.session_id, shared, ignorecase
        )
        promised = found[0] == "held"
        state, hold = found if promised else (state, hold)
    row: dict[str, Any] = {"resource": str(named), "state": state}
    if hold is None:
        return row
    shown = request.row(hold, now_ms)
    row |= {"held" if k == "resource" else k: v for k, v in shown.items()}
    return {**row, "promised": True} if promised else row


def _promises(call: kit.Call, known: Index, named: Resource, now_ms: int) -> list[Hold]:
    """What this host was promised and has lost: it keeps its word until that is over."""
    found = holds.promised(known.connection, named.domain, now_ms)
    if not found:
        return []
    from coord.edge.replica import Replica

    here = Replica(call.place, known.newest_known())
    return [h for h in found if here.is_ours(h["event_id"], known.writers_of(h["event_id"]))]


def _claim(call: kit.Call, known: Index, text: str, now_ms: int) -> dict[str, Any]:
    hold: Hold | None = known.state(f"work/{text.partition(':')[2]}").get("claim")
    if hold is None or not arbiter.runs(hold, now_ms):
        return {"resource": text, "state": "free"}
    state = "mine" if common.is_mine(hold, call) else "held"
    return {"resource": text, "state": state, **request.row(hold, now_ms)}


def _table(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables_holding

    tables_holding.checked(rows, now_ms)
