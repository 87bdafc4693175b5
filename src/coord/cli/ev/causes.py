"""`ev tree` and `ev why`: what followed from an event, and what led to something."""

import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit, naming
from coord.core import causes
from coord.edge import git
from coord.edge.index import Index
from coord.errors import NO, Refusal

_HISTORY = 5


@kit.command("tree")
@click.argument("event_id", metavar="ID")
@click.option("--format", "form", type=click.Choice(("text", "dot", "mermaid", "svg")),
              default=None, help="Draw it so, also in a pipe.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N events, 50 by default; 0 for all.")  # fmt: skip
def tree(call: kit.Call, event_id: str, form: str | None, limit: int) -> None:
    """Print the event ID and what followed from it, as a tree.

    An event follows from those that its `cause` and `links` name. In a pipe each line is
    an event with its `depth`; one that several led to is told once and marked `seen`
    elsewhere. --format draws the tree instead, in text, for Graphviz or Mermaid, or as SVG.

    \b
    Exits: 3 there is no such event, or the prefix fits several.
    Example: ev tree 01M7XFM2YV06473CBVNAWKDGP0
    """
    with call.reading() as known:
        start = known.event(naming.event_id(known, event_id))
        assert start is not None, "its id was found"
        rows = causes.tree(start, known.caused_by)
        shown = list(itertools.islice(rows, limit or None))
        more = bool(limit) and next(rows, None) is not None
    if form:
        from coord.core import causes_drawn

        for line in causes_drawn.DRAWINGS[form](shown):
            click.echo(kit.plain(line))
    else:
        _emit(call, shown)
    if more:
        kit.note_more(f"the first {limit}", "--limit 0 for all", shown=limit)


@kit.command("why")
@click.argument("what", metavar="ID|PATH|COMMIT")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N lines, 50 by default; 0 for all.")  # fmt: skip
def why(call: kit.Call, what: str, limit: int) -> int:
    """Print what led to an event, a file or a commit.

    For an event ID: its causes and theirs, the oldest first, itself last. For a file
    PATH: the events that mention it (runs, claims, …) and the commits that changed it,
    the newest first, as `event` and `commit`. For a COMMIT: itself and the newest
    history of the work items that its `Work:` trailer names.

    \b
    Exits: 1 nothing mentions the file; 3 it is no event, file or commit.
    Example: ev why src/login.py
    """
    with call.reading() as known:
        rows, more = _answer(known, what, limit)
    _emit(call, rows)
    if more:
        kit.note_more(f"{len(rows)}", "--limit 0 for all", shown=len(rows))
    return 0 if rows else NO


def _answer(known: Index, what: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    if len(what) >= naming.SHORTEST and known.matching_ids(what.upper(), 1):
        start = known.event(naming.event_id(known, what))
        assert start is not None, "its id was found"
        return causes.chain(start, known.event, limit)
    if os.path.lexists(what):
        return _of_path(known, what, limit)
    commit = git.is_commit(what, os.getcwd()) if not what.startswith("-") else ""
    if commit:
        return list(_of_commit(known, commit)), False
    found = _of_path(known, what, limit)
    if found[0]:
        # It is gone by now, but it was there.
        return found
    text = f"{what[:80]!r} is no event, file or commit"
    raise Refusal("unknown_event", text, "ev list lists events; wk log ID tells of a work item")


def _of_path(known: Index, what: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Events and commits about a file, the newest first; and whether there are more."""
    from coord.edge.index import mentions

    path = git.path_in_tree(what, os.getcwd())
    wanted = limit + 1 if limit else 0
    rows: list[dict[str, Any]] = [dict(raw) for raw in mentions.of_path(known, path, wanted)]
    rows += git.commits_of(what, os.getcwd(), wanted)
    rows.sort(key=causes.when, reverse=True)
    return (rows[:limit], len(rows) > limit) if limit else (rows, False)


def _of_commit(known: Index, commit: str) -> Iterator[dict[str, Any]]:
    from coord.core.wk import history

    [row] = git.commits(["-1", commit], os.getcwd())
    yield row
    for work_id in row["work"]:
        events = known.of_entity(f"work/{work_id}")
        entries = list(history.history(events, work_id, known))
        for entry in entries[-_HISTORY:]:
            raw = known.event(entry["event_id"])
            assert raw is not None, "it was folded"
            yield dict(raw)


def _emit(call: kit.Call, rows: list[dict[str, Any]]) -> None:
    if call.quiet:
        for row in rows:
            click.echo(row.get("event_id") or row["commit"])
    else:
        call.emit(rows, _table)


def _table(rows: list[Mapping[str, Any]]) -> None:
    from coord.cli import tables

    tables.causes(rows)
