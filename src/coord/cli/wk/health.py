"""`wk health`: what is not well with the work, each with the reason."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.cli.wk import common
from coord.core import units
from coord.core.wk import graph
from coord.core.wk import health as judged
from coord.edge import git
from coord.edge.index import Index, views
from coord.errors import NO


@kit.command("health")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(judged.KINDS),
              help="Only this; may be repeated.")  # fmt: skip
@click.option("--silent", metavar="SPAN", default="2h", show_default=True,
              help="How long a claim may go on with nothing but renewals.")  # fmt: skip
@click.option("--since", metavar="TIME", default="7d ago", show_default=True,
              help="Which commits of the current branch to look at.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N rows, 50 by default; 0 for all.")  # fmt: skip
def health(call: kit.Call, kinds: Sequence[str], silent: str, since: str, limit: int) -> int:
    """List what is not well with the work, and why.

    Each row has `health`: abandoned or silent (a claim without progress), unverified
    (submitted, and judged or closed by nobody), unreachable (it needs itself over others,
    or waits for such items) and unmentioned (a commit that names no work item, by the
    trailer Work: or in its subject); since when; and the reason as a sentence.

    \b
    Exits: 1 all is well.
    Example: wk health --kind silent --kind abandoned
    """
    silent_ms = units.parse_duration(silent)
    with call.reading() as known:
        now_ms = call.query_now(known)
        since_ms = units.parse_instant(since, now_ms)
        wanted = kinds or judged.KINDS
        found = [*_of_items(known, now_ms, silent_ms)]
        if "unmentioned" in wanted:
            found += _of_commits(known, since_ms)
    rows = sorted((row for row in found if row["health"] in wanted), key=_order)
    shown = rows[:limit] if limit else rows
    if call.quiet:
        for row in shown:
            click.echo(row.get("work_id") or row["commit"])
    else:
        call.emit(shown, _table)
    if not rows:
        call.note("all is well")
    common.note_cut(shown, rows)
    return 0 if shown else NO


def _order(row: dict[str, Any]) -> tuple[int, int, str]:
    """By kind, and the longest first."""
    name = row.get("work_id") or row["commit"]
    return judged.KINDS.index(row["health"]), row["since_ms"], name


def _of_items(known: Index, now_ms: int, silent_ms: int) -> Iterator[dict[str, Any]]:
    needs = graph.needs_of(views.needs_among(known.connection))
    states = views.items(known.connection, views.Query(now_ms, "unfinished"))
    yield from judged.of_items(states, needs, now_ms, silent_ms)


def _of_commits(known: Index, since_ms: int) -> Iterator[dict[str, Any]]:
    words = ["--no-merges", f"--since=@{since_ms // 1000}"]
    commits = git.commits(words, os.getcwd())
    ids = views.work_ids(known.connection, views.Query(0, "all")) if commits else []
    yield from judged.of_commits(commits, ids)


def _table(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables_insight

    tables_insight.reasons(rows, "health")
