"""`wk artifact`: what belongs to an item."""

from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk.custody import placed, refs_of, state_of
from coord.core.draft import Draft
from coord.edge.writing import Desk
from coord.errors import NO


@click.group("artifact", cls=kit.LazyGroup, verbs={
    "add": "coord.cli.wk.artifact:add",
    "list": "coord.cli.wk.artifact:list_artifacts",
})  # fmt: skip
def artifact() -> None:
    """What belongs to an item: links, commits, files."""


@kit.command("add", writes=True)
@naming.one_id
@click.argument("what", metavar="URI|PATH|COMMIT")
@click.option("--kind", metavar="WORD", help="diff, log, pr, report, or any word.")
def add(call: kit.Call, work_id: str, what: str, kind: str | None) -> None:
    """Add a link, a file or a commit to the item ID.

    A file is kept in the store under its SHA-256, as it is now.

    \b
    Exits: 3 no such item, file or commit; 6 the kind is no word.
    Example: wk artifact add wk-7k2m build/report.html --kind report
    """
    written = call.record(lambda desk: [_added(call, desk, work_id, what, kind)])
    call.acknowledge(written, lambda raw: f"{raw['refs']['work_id']} has {what}", "work_id")


def _added(call: kit.Call, desk: Desk, text: str, what: str, kind: str | None) -> Draft:
    body: dict[str, Any] = {**placed(desk, what), "kind": kind}
    draft = call.draft("artifact.added", refs_of(desk, state_of(desk, text)), body)
    if kind is not None:
        from coord.edge import schemas

        schemas.check_draft(draft.type, draft.refs, draft.body)
    return draft


@kit.command("list")
@naming.one_id
def list_artifacts(call: kit.Call, work_id: str) -> int:
    """List what belongs to the item ID, oldest first.

    \b
    Exits: 1 there is nothing; 3 no such item.
    Example: wk artifact list wk-7k2m
    """
    with call.reading() as known:
        state = known.state(f"work/{naming.work_id(known, work_id)}")
    rows = state.get("artifacts", [])
    call.emit(rows, _table, ident="event_id")
    return 0 if rows else NO


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)
