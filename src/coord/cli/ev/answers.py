"""`ev status`, `digest`, `prime`: what moved, what waits, what is stuck, and how to begin."""

import functools
from collections.abc import Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core import answers, ev, registry, settings
from coord.core import event as events
from coord.core.answers import Gathered
from coord.core.problem import State
from coord.core.wk import custody
from coord.edge.index import Index, views
from coord.edge.index import answers as asked
from coord.errors import NO

_MOVED = 500


@kit.command("status")
@click.option("--since", metavar="WHEN", default="15m",
              help="What moved counts from here: a TIME or EVENT_ID; 15m by default.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=5, metavar="N",
              help="At most N rows a section, 5 by default; 0 for all.")  # fmt: skip
def status(call: kit.Call, since: str, limit: int) -> int:
    """Print what moved, what waits and for whom, what is stuck since when.

    A row has its `section` (moved, waits, stuck, contested, paused, ready), work_id or
    agent_id, `reason` and `since_ms`. A claim is stuck when nothing was heard for half
    its time or when it ended; a hold when it is a day old.

    \b
    Exits: 1 there is nothing to say, and nothing is printed.
    Example: ev status --since 1h
    """
    with call.reading() as known:
        gathered = _gathered(known, call.query_now(known))
        newest = known.select(ev.Filter(since_id=ev.boundary(since, call.now_ms)), _MOVED)
        found = answers.status(gathered._replace(moved=newest))
        rows, left = answers.cut(found, limit)
    if call.quiet:
        for row in rows:
            click.echo(row.get("work_id") or row.get("agent_id"))
    else:
        call.emit(rows, functools.partial(_table, now_ms=gathered.now_ms))
    if left:
        kit.note_more(f"{left} more rows", "--limit 0 for all", left=left)
    return 0 if rows else NO


def _table(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables

    tables.sections(rows, now_ms)


def _gathered(known: Index, now_ms: int) -> Gathered:
    sql = known.connection
    oldest = views.items(sql, views.Query(now_ms, "ready", sort="created", limit=1))
    return Gathered(
        now_ms,
        known,
        functools.partial(_is_open, known),
        submitted=views.items(sql, views.Query(now_ms, "submitted", limit=asked.MOST)),
        claimed=asked.claimed(known),
        waiting=asked.waiting(known, now_ms),
        contested=asked.contested(known, now_ms - answers.LONG_MS),
        agents=[state for _, state in known.states("agent")],
        ready=oldest[0] if oldest else None,
        ready_count=views.count(sql, views.Query(now_ms, "ready")) if oldest else 0,
    )


def _is_open(known: Index, work_id: str) -> bool | None:
    state = known.state(f"work/{work_id}")
    return state["status"] != "closed" if state else None


@kit.command("digest")
@click.option("--since", metavar="WHEN", default="1d",
              help="A TIME or EVENT_ID; one day by default.")  # fmt: skip
def digest(call: kit.Call, since: str) -> int:
    """Print a short report in Markdown: created, closed, by whom, what waits, what is stuck.

    With --json it is the value of `text`.

    \b
    Exits: 1 there is nothing to say, and nothing is printed.
    Example: ev digest --since 2026-11-20 | mail -s Morning team@example.org
    """
    since_ms = events.time_of(ev.boundary(since, call.now_ms))
    with call.reading() as known:
        now_ms = call.query_now(known)
        gathered = _gathered(known, now_ms)
        query = views.Query(now_ms, "all", {"created_after_ms": since_ms}, sort="created")
        created = views.items(known.connection, query)
        closed = asked.closed_since(known, since_ms)
        project = call.place.tree.rpartition("/")[2]
        lines = answers.digest(project, since_ms, created, closed, gathered)
    if lines:
        _print(call, "".join(f"{line}\n" for line in lines))
    return 0 if lines else NO


def _print(call: kit.Call, text: str) -> None:
    if call.wants_json:
        kit.out({"text": text})
    else:
        # Data, not words: a newline is a newline, all else unseen stays visible.
        click.echo("\n".join(map(kit.plain, text.split("\n"))), nl=False)


@kit.command("prime")
@click.option("--brief", is_flag=True, help="The least that one has to know.")
def prime(call: kit.Call, brief: bool) -> None:
    """Print what an agent needs to begin: who it is, what it holds, what is ready, and how.

    Plain text for a prompt, at most 1,500 tokens, with --brief 300; with --json it is
    the value of `text`. Titles in it are data that others wrote, not instructions.

    \b
    Exits: 4 it is not known who acts.
    Example: ev prime --as agent:ada >> prompt.txt
    """
    from coord.core import priming

    author = call.author
    with call.reading() as known:
        now_ms = call.query_now(known)
        ready = views.Query(now_ms, "ready", limit=5)
        held = views.Query(now_ms, "claimed", {"claimed_by": author.agent_id})
        told = priming.Briefing(
            author.agent_id,
            author.session_id,
            author.project,
            now_ms,
            registry.owner_of(known, author.agent_id, "~"),
            registry.pause_of(known, author.agent_id, "~"),
            held=views.items(known.connection, held),
            offers=_offers_to(author.agent_id, asked.claimed(known), now_ms),
            ready=views.items(known.connection, ready),
            ready_count=views.count(known.connection, ready),
            must_verify=settings.in_force(known, "verify", "~") == "required",
        )
    _print(call, priming.text(told, brief))


def _offers_to(
    agent_id: str, claimed: Sequence[tuple[str, State]], now_ms: int
) -> list[tuple[State, Any]]:
    offers = [(state, custody.offer_at(state, now_ms)) for _, state in claimed]
    return [(state, offer) for state, offer in offers if offer and offer["to"] == agent_id]
