"""`wk list` and `wk ready`: which items there are, and which one could begin with."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core import units
from coord.core.wk import view
from coord.edge import identity
from coord.edge.index import Index, views
from coord.errors import NO

F = TypeVar("F", bound=Callable[..., Any])


def filters(function: F) -> F:
    """The options that choose items by their fields."""
    for option in reversed((
        click.option("--type", "type_", metavar="WORD", help="Of this type."),
        click.option("--priority", "-p", type=common.PRIORITY, metavar="0-4",
                     help="Of this priority."),
        click.option("--label", "-l", metavar="LABEL", help="With this label."),
        click.option("--without-label", metavar="LABEL", help="Without this label."),
        click.option("--assignee", metavar="NAME", help="Assigned to NAME."),
        click.option("--claimed-by", metavar="AGENT", help="Claimed by AGENT now."),
        click.option("--mine", is_flag=True, help="Claimed by me now."),
        click.option("--created-by", metavar="NAME", help="Created by NAME."),
        click.option("--parent", metavar="ID", help="Part of ID."),
        click.option("--needs", metavar="ID", help="That need ID."),
        click.option("--external-ref", metavar="REF", help="So called in another tracker."),
        click.option("--resolution", metavar="WORD", help="Closed as done, wontdo, …"),
        click.option("--text", metavar="TEXT", help="With TEXT in the title."),
        click.option("--due-before", metavar="TIME", help="Due before TIME: 2026-12-24, 3d."),
        click.option("--created-after", metavar="TIME", help="Created since TIME: 2d ago."),
        click.option("--updated-after", metavar="TIME", help="Changed since TIME: 2h ago."),
    )):  # fmt: skip
        function = option(function)
    return function


def where_of(call: kit.Call, known: Index, options: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that were given, as `views.Query.where`."""
    found = {
        name: options[option]
        for name, option in (
            ("type", "type_"), ("priority", "priority"), ("label", "label"),
            ("without_label", "without_label"), ("assignee", "assignee"),
            ("created_by", "created_by"), ("external_ref", "external_ref"),
            ("resolution", "resolution"),
        )
        if options.get(option) is not None
    }  # fmt: skip
    if options.get("mine"):
        found["claimed_by"] = call.author.agent_id
    elif options.get("claimed_by"):
        found["claimed_by"] = identity.agent_id(options["claimed_by"])
    for name in ("parent", "needs"):
        if options.get(name):
            found[name] = naming.work_id(known, options[name])
    if options.get("text"):
        escaped = options["text"].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found["text"] = f"%{escaped}%"
    for name in ("due_before", "created_after", "updated_after"):
        if options.get(name):
            ahead = name == "due_before"
            found[f"{name}_ms"] = units.parse_instant(options[name], call.now_ms, ahead=ahead)
    return found


def paged(function: F) -> F:
    """The options of a bounded, sorted list."""
    for option in reversed((
        click.option("--sort", type=click.Choice([*views.SORTS]), default="priority",
                     help="In which order; priority, then age, is the default."),
        click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT,
                     metavar="N", help="At most N items, 50 by default; 0 for all."),
        click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
                     help="Pass over the first N."),
    )):  # fmt: skip
        function = option(function)
    return function


@kit.command("list")
@click.option("--status", type=click.Choice([*views.STATUSES]), default="unfinished",
              help="What state they are in; unfinished is the default.")  # fmt: skip
@filters
@paged
def list_items(call: kit.Call, status: str, **options: Any) -> int:
    """List work items, the most urgent first.

    Prints one item a line: work_id, title, type, priority, status, labels, … and `ready`
    or what keeps it from being so. Without --status it lists what is not closed.

    \b
    Exits: 1 nothing matches.
    Example: wk list --label backend --sort updated
    """
    return _list(call, status, options)


@kit.command("ready")
@click.option("--explain", is_flag=True, help="List what is not ready, each with the reasons.")
@filters
@paged
def ready(call: kit.Call, explain: bool, **options: Any) -> int:
    """List the items that somebody could begin with now.

    Ready is what is open or has an expired claim, is not deferred, and needs nothing
    that is still to be done.

    \b
    Exits: 1 nothing is ready (with --explain: nothing waits).
    Example: wk ready --type bug -n 5
    """
    return _explain(call, options) if explain else _list(call, "ready", options)


def _query(call: kit.Call, known: Index, status: str, options: Mapping[str, Any]) -> views.Query:
    return views.Query(
        now_ms=call.query_now(known),
        status=status,
        where=where_of(call, known, options),
        sort=options["sort"],
        limit=options["limit"] or -1,
        offset=options["offset"],
    )


def _list(call: kit.Call, status: str, options: Mapping[str, Any]) -> int:
    with call.reading() as known:
        query = _query(call, known, status, options)
        states = views.items(known.connection, query)
        is_open = common.is_open_in(known)
        rows = [view.short(state, query.now_ms, is_open) for state in states]
        total = len(rows)
        if len(rows) == options["limit"] or options["offset"]:
            total = views.count(known.connection, query)
    call.emit(rows, _table)
    kit.note_page(len(rows), total, options["offset"])
    if not rows:
        call.note("nothing matches")
    return 0 if rows else NO


def _explain(call: kit.Call, options: Mapping[str, Any]) -> int:
    with call.reading() as known:
        query = _query(call, known, "unfinished", {**options, "limit": 0, "offset": 0})
        is_open = common.is_open_in(known)
        rows = []
        for state in views.items(known.connection, query):
            reasons = view.reasons(state, query.now_ms, is_open)
            if reasons:
                row = view.short(state, query.now_ms, is_open)
                rows.append({**row, "reasons": reasons})
    start, limit = options["offset"], options["limit"] or len(rows)
    shown = rows[start : start + limit]
    call.emit(shown, _table)
    kit.note_page(len(shown), len(rows), start)
    return 0 if shown else NO


def _table(rows: list[Mapping[str, Any]]) -> None:
    from coord.cli import tables

    tables.items(rows)
