"""`wk search`: find items by what they say."""

from collections.abc import Sequence
from typing import Any

import click

from coord.cli import kit
from coord.cli.wk import common
from coord.core.wk import searching, view
from coord.edge.index import Index, search, views
from coord.errors import NO, Refusal


@kit.command("search")
@click.argument("text", nargs=-1, required=True, metavar="TEXT...")
@click.option("--status", type=click.Choice(search.STATUSES), default="all",
              help="Only items in this state; all by default.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N items, 50 by default; 0 for all.")  # fmt: skip
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
              help="Pass over the first N.")  # fmt: skip
def search_items(call: kit.Call, text: Sequence[str], status: str, limit: int, offset: int) -> int:
    """Find the items whose title, description or comments have all words of TEXT.

    The best first. A word ending in * stands for all words that begin so; "two words"
    in quotes have to follow each other. Each item has `found_in` and, where a text says
    more than the title, an `excerpt`.

    \b
    Exits: 1 nothing matches; 2 TEXT has no word.
    Example: wk search 'login crash*' --status unfinished
    """
    asked = " ".join(kit.text_of(part) for part in text)
    terms = searching.parse(asked)
    if not terms:
        hint = "words are letters and digits: wk search login"
        raise Refusal("usage", f"{asked[:60]!r} has no word to search for", hint)
    with call.reading() as known:
        query = views.Query(call.query_now(known), status, limit=limit or -1, offset=offset)
        hits = search.find(known, terms, query)
        rows = [_row(known, query, work_id, terms) for work_id in hits.work_ids]
    call.emit(rows, _table)
    kit.note_page(len(rows), hits.total, offset)
    if not rows:
        call.note("nothing matches")
    return 0 if rows else NO


def _row(
    known: Index, query: views.Query, work_id: str, terms: Sequence[searching.Term]
) -> dict[str, Any]:
    state = common.state_of(known, work_id)
    row = view.short(state, query.now_ms, common.is_open_in(known))
    return {**row, **searching.answer(search.texts_of(known.folder, state), terms)}


def _table(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables

    tables.items(rows)
