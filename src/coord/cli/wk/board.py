"""`wk board`: everything at a glance, in plain columns."""

from collections.abc import Iterator
from typing import Any

import click

from coord.cli import kit
from coord.cli.wk import common
from coord.core import units
from coord.core.wk import boarding, view
from coord.edge.index import Index, views

_SORTS = {"closed": "updated"}


@kit.command("board")
@click.option("--format", "form", type=click.Choice(["text"]), default=None,
              help="Draw the columns in a pipe too.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=1), default=6, metavar="N",
              show_default=True, help="At most N items in a column.")  # fmt: skip
@click.option("--since", metavar="TIME", default="7d ago", show_default=True,
              help="Which closed items are recent.")  # fmt: skip
@click.option("--width", type=click.IntRange(40, 400), default=boarding.WIDTH, metavar="N",
              show_default=True, help="How wide the text is.")  # fmt: skip
def board(call: kit.Call, form: str | None, limit: int, since: str, width: int) -> None:
    """Show what is ready, claimed, submitted, blocked, deferred and recently closed.

    In a pipe one item a line with its `column`, and how many there are in the column as
    `of`; on a terminal, or with --format text, columns of plain characters.

    \b
    Exits: 2 usage.
    Example: wk board --format text
    """
    with call.reading() as known:
        since_ms = units.parse_instant(since, call.query_now(known))
        columns, totals = {}, {}
        for name in boarding.COLUMNS:
            columns[name], totals[name] = _column(call, known, name, limit, since_ms)
    if form == "text" or (call.for_people and not call.quiet):
        for line in boarding.drawn(columns, totals, width):
            click.echo(kit.plain(line))
    else:
        call.emit(_rows(columns, totals))
        more = {name: total for name, total in totals.items() if total > len(columns[name])}
        if more:
            words = ", ".join(f"{len(columns[name])} of {more[name]} {name}" for name in more)
            kit.note_more(words, "--limit N, or wk list --status COLUMN", **more)


def _column(
    call: kit.Call, known: Index, name: str, limit: int, since_ms: int
) -> tuple[list[dict[str, Any]], int]:
    where = {"updated_after_ms": since_ms} if name == "closed" else {}
    sort = _SORTS.get(name, "priority")
    query = views.Query(call.query_now(known), name, where, sort, limit=limit)
    is_open = common.is_open_in(known)
    states = views.items(known.connection, query)
    rows = [view.short(state, query.now_ms, is_open) for state in states]
    return rows, views.count(known.connection, query) if len(rows) == limit else len(rows)


def _rows(
    columns: dict[str, list[dict[str, Any]]], totals: dict[str, int]
) -> Iterator[dict[str, Any]]:
    for name, rows in columns.items():
        for row in rows:
            yield {"column": name, "of": totals[name], **row}
