"""`wk show`: everything about items."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.wk import fields, view
from coord.edge import blobs
from coord.edge.index import Index, views


@kit.command("show")
@naming.many_ids
def show(call: kit.Call, ids: Sequence[str]) -> None:
    """Print everything known about the items ID... .

    An ID may be shortened to a unique prefix of three or more characters. Values that
    lost a concurrent edit stand under `conflicts`.

    \b
    Exits: 3 there is no such item, or the prefix fits several.
    Example: wk show wk-7k2m
    """
    with call.reading() as known:
        now_ms = call.query_now(known)
        rows = [_row(call, known, naming.work_id(known, text), now_ms) for text in ids]
        if call.for_people:
            rows = [{**row, "titles": _titles(known, row)} for row in rows]
    call.emit(rows, functools.partial(_cards, now_ms=now_ms))


def _row(call: kit.Call, known: Index, work_id: str, now_ms: int) -> dict[str, Any]:
    row = view.whole(common.state_of(known, work_id), now_ms, common.is_open_in(known))
    row.update(_incoming(known, work_id))
    for holder in (row, *row.get("comments", ())):
        for name in ("description", "text"):
            if fields.is_blob(holder.get(name)):
                text = blobs.load(call.place.store, holder[name])
                holder[name] = holder[name] if text is None else text
    return row


def _incoming(known: Index, work_id: str) -> dict[str, Any]:
    """The items that link here: `linked_from` by kind."""
    groups: dict[str, list[str]] = {}
    for kind, other in views.linked_to(known.connection, work_id):
        groups.setdefault(kind, []).append(other)
    return {"linked_from": groups} if groups else {}


def _titles(known: Index, row: Mapping[str, Any]) -> dict[str, str]:
    """The titles of the items that this one is linked with, for the card."""
    groups = (row.get("links", {}), row.get("linked_from", {}))
    linked = {other for group in groups for others in group.values() for other in others}
    return views.titles(known.connection, sorted(linked))


def _cards(rows: list[dict[str, Any]], now_ms: int) -> None:
    from coord.cli import tables

    for row in rows:
        tables.card(row, now_ms)
