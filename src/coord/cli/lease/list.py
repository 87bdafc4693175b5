"""`lease list` and `show`: who holds what, and how one lease came and went."""

import functools
from collections.abc import Mapping
from typing import Any

import click

from coord.cli import kit
from coord.cli.lease import common
from coord.core import ev, globs
from coord.core.arbiter import Hold
from coord.core.lease import request
from coord.edge.index import Index, holds
from coord.errors import NO, Refusal


@kit.command("list")
@click.option("--mine", is_flag=True, help="What I hold, and what I have lost.")
@click.option("--expired", is_flag=True, help="What was not given back and is over.")
@click.option("--path", metavar="FILE", help="What covers this file.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N leases, 50 by default; 0 for all.")  # fmt: skip
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
              help="Pass over the first N.")  # fmt: skip
def list_leases(
    call: kit.Call, mine: bool, expired: bool, path: str | None, limit: int, offset: int
) -> int:
    """List who holds what, the longest held first; claims of work items too.

    Prints a line each: resource, lease_id, agent_id, fence, confirmed, since when and
    until when, why. What another clone's acquire has beaten is marked `lost`.

    \b
    Exits: 1 nothing is held.
    Example: lease list --path src/api/login.py
    """
    with call.reading() as known:
        now_ms = call.query_now(known)
        found = _of_path(call, known, path, now_ms) if path else _all(call, known, now_ms, expired)
        if mine:
            found = [hold for hold in found if hold["agent_id"] == call.author.agent_id]
            found += [{**hold, "lost": True} for hold in _lost(call, known, now_ms)]
    rows = [_row(hold, now_ms) for hold in found]
    shown = rows[offset : offset + limit] if limit else rows[offset:]
    call.emit(shown, functools.partial(_table, now_ms=now_ms), ident="lease_id")
    kit.note_page(len(shown), len(rows), offset)
    if not rows:
        call.note("nothing is held")
    return 0 if shown else NO


def _all(call: kit.Call, known: Index, now_ms: int, expired: bool) -> list[dict[str, Any]]:
    found = holds.listed(known.connection, now_ms, expired=expired)
    return found if expired else [*found, *holds.claims(known.connection, now_ms)]


def _lost(call: kit.Call, known: Index, now_ms: int) -> list[dict[str, Any]]:
    return holds.lost_of(known.connection, call.author.agent_id, now_ms)


def _of_path(call: kit.Call, known: Index, path: str, now_ms: int) -> list[dict[str, Any]]:
    tree = common.tree_of(call)
    named = tree.path(path)
    if named is None:
        raise Refusal("usage", f"{path[:60]!r} lies outside of the repository")
    glob = globs.quoted(named)
    ignorecase = tree.ignorecase
    near = holds.near(known.connection, [glob], now_ms)
    return [hold for hold in near if request.covers(hold, glob, ignorecase)]


def _row(hold: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    row = request.row(hold, now_ms)
    return {**row, "lost": True} if hold.get("lost") else row


@kit.command("show")
@click.argument("target", metavar="LEASE|RESOURCE", shell_complete=common.complete_lease)
def show(call: kit.Call, target: str) -> int:
    """Show a lease, or who holds a resource, and what happened to it.

    Prints one object per lease: as in `lease list`, with `events`, the oldest first. A
    lease that was given back is found by its whole id.

    \b
    Exits: 3 no such lease, or nobody holds the resource.
    Example: lease show env:staging
    """
    with call.reading() as known:
        now_ms = call.query_now(known)
        found = common.found(call, known, target)
        rows = [{**_row(hold, now_ms), "events": _events(known, hold)} for hold in found]
        rows = rows or _ended(known, target)
    if not rows:
        raise common.unknown(target)
    call.emit(rows, functools.partial(_cards, now_ms=now_ms), ident="lease_id")
    return 0


def _events(known: Index, hold: Hold) -> list[dict[str, Any]]:
    from coord.core import resource

    entity = f"lease/{resource.domain_of(hold['resource'])}"
    wanted = hold["lease_id"]
    return [_event(e.raw) for e in known.of_entity(entity) if e.refs.get("lease_id") == wanted]


def _ended(known: Index, lease_id: str) -> list[dict[str, Any]]:
    """A lease that was given back: only its events are left."""
    wanted = ev.Filter(types=("lease.*",), grep=lease_id)
    raws = [raw for raw in known.select(wanted, -1) if _lease_of(raw) == lease_id]
    if not raws:
        return []
    row = {"resource": raws[0]["refs"].get("resource", ""), "lease_id": lease_id, "ended": True}
    return [{**row, "events": [_event(raw) for raw in raws]}]


def _lease_of(raw: Mapping[str, Any]) -> object:
    return raw.get("refs", {}).get("lease_id")


def _event(raw: Mapping[str, Any]) -> dict[str, Any]:
    row = {"event_id": raw["event_id"], "ts": raw["ts"], "type": raw["type"]}
    row["agent_id"] = raw["actor"]["agent_id"]
    body = raw.get("body", {})
    told = ("fence", "expires_at_ms", "confirmed", "why", "holder")
    return {**row, **{name: body[name] for name in told if name in body}}


def _table(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables_holding

    tables_holding.leases(rows, now_ms)


def _cards(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables

    for row in rows:
        tables.pairs({name: value for name, value in row.items() if name != "events"}, now_ms)
        for event in row["events"]:
            event = {**event, "actor": {"agent_id": event["agent_id"]}, "body": event}
            tables.events([event], now_ms)
