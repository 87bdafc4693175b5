"""`wk stale`: what has come to rest and should not."""

from typing import Any

import click

from coord.cli import kit
from coord.cli.wk import common
from coord.core import units
from coord.core.wk import idle, view
from coord.edge.index import views

_DAY_MS = 86_400_000


@kit.command("stale")
@click.option("--days", type=click.IntRange(min=0), default=14, metavar="N", show_default=True,
              help="How long nobody may have touched an open item.")  # fmt: skip
@click.option("--silent", metavar="SPAN", default="2h", show_default=True,
              help="How long a claim may go on with nothing but renewals.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N items, 50 by default; 0 for all.")  # fmt: skip
def stale(call: kit.Call, days: int, silent: str, limit: int) -> int:
    """List the items that have come to rest, the longest resting first.

    Each has `stale`: untouched (open, and nobody changed it for --days), abandoned (its
    claim ended and nobody gave it back or finished it) or silent (claimed for --silent
    with no comment, tick, artifact or change), since when, and the reason as a sentence.

    \b
    Exits: 1 nothing is.
    Example: wk stale --days 30
    """
    silent_ms = units.parse_duration(silent)
    with call.reading() as known:
        query = views.Query(call.query_now(known), "unfinished")
        is_open, now_ms = common.is_open_in(known), query.now_ms
        rows = []
        for state in views.items(known.connection, query):
            found = idle.reason(state, now_ms, days * _DAY_MS, silent_ms)
            if found is not None:
                row = view.short(state, now_ms, is_open)
                named = {"stale": found["why"], "since_ms": found["since_ms"]}
                rows.append({**row, **named, "reason": found["text"]})
    rows.sort(key=_longest_first)
    if not rows:
        call.note("nothing has come to rest")
    return common.list_some(call, rows, limit, _table)


def _longest_first(row: dict[str, Any]) -> tuple[int, str]:
    return row["since_ms"], row["work_id"]


def _table(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables_insight

    tables_insight.reasons(rows, "stale")
