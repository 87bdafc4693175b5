"""`wk graph` and `wk critical`: how the items hang together as a whole."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.wk import graph as graphs
from coord.core.wk import view
from coord.edge.index import Index, views
from coord.errors import NO

_KINDS = ("needs", "parent")
_EDGES = 500


@kit.command("graph")
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=naming.complete_work)
@click.option("--format", "form", type=click.Choice([*graphs.DRAWINGS]), default=None,
              help="Draw it so; text on a terminal, JSON Lines in a pipe by default.")  # fmt: skip
@click.option("--kind", "kinds", multiple=True, metavar="KIND",
              help="Only links of KIND, such as relates; needs and parent by default.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=_EDGES, metavar="N",
              help=f"At most N links, {_EDGES} by default; 0 for all.")  # fmt: skip
def graph(
    call: kit.Call, ids: Sequence[str], form: str | None, kinds: Sequence[str], limit: int
) -> int:
    """Draw what needs what, and what is part of what.

    Of everything still to be done; with ID... of all that hangs together with these, what
    is closed too. An arrow goes from an item to what it needs.

    \b
    Exits: 1 there are no links; 3 no such item.
    Example: wk graph --format dot | dot -Tsvg > work.svg
    """
    with call.reading() as known:
        edges = _edges(known, ids, common.multiple(kinds) or _KINDS)
        shown = edges[:limit] if limit else edges
        names = {end for one, _, other in shown for end in (one, other)}
        titles = views.titles(known.connection, sorted(names))
    if form or (call.for_people and not call.quiet):
        for line in graphs.DRAWINGS[form or "text"](shown, titles):
            click.echo(kit.plain(line))
    else:
        rows = ({"work_id": one, "kind": kind, "target": other} for one, kind, other in shown)
        call.emit(rows)
    if len(shown) < len(edges):
        hint = "--limit 0 for all, or name items"
        kit.note_more(f"{len(shown)} of {len(edges)}", hint, shown=len(shown))
    return 0 if shown else NO


def _edges(known: Index, ids: Sequence[str], kinds: Sequence[str]) -> list[graphs.Edge]:
    sql = known.connection
    if not ids:
        return sorted((o, kind, t) for kind in kinds for o, t in views.all_links(sql, kind))
    wanted = [naming.work_id(known, text) for text in ids]
    edges = [(one, kind, t) for kind in kinds for one, t in views.every_link(sql, kind)]
    return graphs.around(wanted, sorted(edges))


@kit.command("critical")
@click.option("--chain", is_flag=True, help="The longest chain instead, first things first.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N items, 50 by default; 0 for all.")  # fmt: skip
def critical(call: kit.Call, chain: bool, limit: int) -> int:
    """List what holds up the most: the items that the most others wait for.

    Each with `waiting`, how many wait for it in the end, `chain`, its place in the longest
    chain of needs, where it has one, and the reason as a sentence: what becomes ready when
    it closes.

    \b
    Exits: 1 nothing waits for anything.
    Example: wk critical -n 5
    """
    with call.reading() as known:
        rows = list(_critical(call, known, chain))
    return common.list_some(call, rows, limit, _table)


def _critical(call: kit.Call, known: Index, chain: bool) -> Iterator[dict[str, Any]]:
    needs = graphs.needs_of(views.needs_among(known.connection))
    counts, longest = graphs.waiting_for(needs), graphs.longest_chain(needs)
    place = {work_id: number for number, work_id in enumerate(longest, start=1)}
    ordered = longest if chain else sorted(counts, key=lambda work_id: (-counts[work_id], work_id))
    now_ms, is_open = call.query_now(known), common.is_open_in(known)
    reasons = graphs.reasons(needs, ordered, counts, longest)
    for work_id, reason in zip(ordered, reasons, strict=True):
        row = view.short(common.state_of(known, work_id), now_ms, is_open)
        row["waiting"] = counts.get(work_id, 0)
        if work_id in place:
            row["chain"] = place[work_id]
        yield {**row, "reason": reason}


def _table(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables_insight

    told = [{**row, "title": f"{row['title'][:400]} ({row['status']})"} for row in rows]
    tables_insight.reasons(told, "waiting")
