"""`ev list` and `ev show`: which events there are."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coord.cli import kit, naming
from coord.core import ev
from coord.edge import identity
from coord.edge.index import Index
from coord.errors import NO

F = TypeVar("F", bound=Callable[..., Any])


def filters(function: F) -> F:
    """The options that choose events."""
    for option in reversed((
        click.option("--type", "types", multiple=True, metavar="GLOB",
                     help="Of this type: work.claimed, 'work.*'; may be repeated."),
        click.option("--agent", metavar="AGENT", help="Written by AGENT."),
        click.option("--work", metavar="ID", help="About this work item."),
        click.option("--thread", metavar="ID", help="About this thread."),
        click.option("--run", metavar="ID", help="About this run."),
        click.option("--grep", metavar="TEXT", help="With TEXT anywhere in the line."),
    )):  # fmt: skip
        function = option(function)
    return function


def filter_of(options: Mapping[str, Any]) -> ev.Filter:
    """The filter that was given."""
    agent = options.get("agent")
    return ev.Filter(
        types=tuple(options.get("types") or ()),
        agent_id=identity.agent_id(agent) if agent else "",
        work_id=options.get("work") or "",
        thread_id=options.get("thread") or "",
        run_id=options.get("run") or "",
        since_id=options.get("since_id", ""),
        until_id=options.get("until_id", ""),
        grep=options.get("grep") or "",
    )


@kit.command("list")
@filters
@click.option("--since", metavar="WHEN", help="From an EVENT_ID or a TIME on: 2h ago.")
@click.option("--until", metavar="WHEN", help="Before an EVENT_ID or a TIME.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="The newest N, 50 by default; 0 for all.")  # fmt: skip
def list_events(
    call: kit.Call, since: str | None, until: str | None, limit: int, **options: Any
) -> int:
    """List events in order of their ids, the newest last.

    \b
    Exits: 1 nothing matches.
    Example: ev list --type 'work.*' --agent agent:ada --since '2h ago'
    """
    bounds = {
        f"{name}_id": ev.boundary(text, call.now_ms)
        for name, text in (("since", since), ("until", until))
        if text
    }
    with call.reading() as known:
        if options["work"]:
            options["work"] = naming.work_id(known, options["work"])
        wanted = filter_of({**options, **bounds})
        rows = known.select(wanted, limit + 1 if limit else -1)
    more = bool(limit) and len(rows) > limit
    shown = rows[-limit:] if limit else rows
    call.emit(shown, _table, ident="event_id")
    if more:
        hint = "--limit 0 for all, or narrow with filters"
        kit.note_more(f"the newest {len(shown)}", hint, shown=len(shown))
    return 0 if shown else NO


def _table(rows: list[Mapping[str, Any]]) -> None:
    from coord.cli import tables

    tables.events(rows)


@kit.command("show")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def show(call: kit.Call, ids: Sequence[str]) -> None:
    """Print the events ID... as they were written, with the problems they caused.

    An ID may be shortened to a unique prefix of three or more characters.

    \b
    Exits: 3 there is no such event, or the prefix fits several.
    Example: ev show 01M7XFM2YV06473CBVNAWKDGP0
    """
    with call.reading() as known:
        rows = [_shown(known, text) for text in ids]
    call.emit(rows, ident="event_id")


def _shown(known: Index, text: str) -> dict[str, Any]:
    raw = known.event(naming.event_id(known, text))
    assert raw is not None, "its id was found"
    problems = [
        {"code": p.code, "message": p.message, "stands": p.stands}
        for p in known.problems_of(raw["event_id"])
    ]
    return {**raw, "problems": problems} if problems else dict(raw)
