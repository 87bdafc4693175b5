"""`wk dep`: how items hang together."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.draft import Draft
from coord.core.wk import fields, view
from coord.edge.index import Index, views
from coord.edge.writing import Desk
from coord.errors import NO, Refusal

_OPTIONS = (
    ("needs", "needs", "It cannot begin before OTHER is closed."),
    ("blocks", "blocks", "OTHER cannot begin before it is closed."),
    ("parent", "parent", "It is part of OTHER."),
    ("relates", "relates", "It has to do with OTHER."),
    ("found_from", "found-from", "It was found while working on OTHER."),
    ("duplicates", "duplicates", "It says the same as OTHER."),
)


@click.group("dep", cls=kit.LazyGroup, verbs={
    "add": "coord.cli.wk.dep:add",
    "rm": "coord.cli.wk.dep:remove",
    "tree": "coord.cli.wk.dep:tree",
    "cycles": "coord.cli.wk.dep:cycles",
})  # fmt: skip
def dep() -> None:
    """How items hang together: needs, parts, relations."""


def _kinds(function: Any) -> Any:
    for name, option, text in reversed(_OPTIONS):
        function = click.option(f"--{option}", name, multiple=True, metavar="OTHER", help=text)(
            function
        )
    return function


def _pairs(
    desk: Desk, text: str, options: dict[str, Sequence[str]]
) -> Iterator[tuple[str, str, str]]:
    """(item, kind, target) for each link named; `--blocks` is a need the other way."""
    work_id = naming.work_id(desk.index, text)
    named = [(kind, other) for kind, others in options.items() for other in others]
    if not named:
        raise Refusal("usage", "name another item", "wk dep add ID --needs OTHER")
    for kind, other in named:
        target = naming.work_id(desk.index, other)
        yield (target, "needs", work_id) if kind == "blocks" else (work_id, kind, target)


@kit.command("add", writes=True)
@naming.one_id
@_kinds
def add(call: kit.Call, work_id: str, **options: Any) -> None:
    """Link the item ID to another; the answer says it as a sentence.

    \b
    Exits: 3 no such item; 5 the needs would go round in a circle.
    Example: wk dep add wk-7k2m --needs wk-9x4p
    """
    written = call.record(lambda desk: _links(call, desk, work_id, options, "work.linked"))
    call.acknowledge(written, _say, ident="work_id")
    if not written:
        call.note("it says that already")


def _links(
    call: kit.Call, desk: Desk, text: str, options: dict[str, Sequence[str]], kind_of: str
) -> Iterator[Draft]:
    pairs = list(_pairs(desk, text, options))
    for work_id, kind, target in pairs:
        key = call.key_of(f"{work_id}:{kind}:{target}", len(pairs))
        links = desk.state(f"work/{work_id}").get("links", {})
        exists = target in links.get(kind, {})
        if exists == (kind_of == "work.linked") and call.earlier(desk, kind_of, key) is None:
            continue
        yield call.draft(kind_of, {"work_id": work_id}, {"kind": kind, "target": target}, key=key)


def _say(raw: kit.Row) -> str:
    body = raw["body"]
    text = common.sentence(body["kind"], raw["refs"]["work_id"], body["target"])
    return text if raw["type"] == "work.linked" else f"no longer: {text}"


@kit.command("rm", writes=True)
@naming.one_id
@_kinds
def remove(call: kit.Call, work_id: str, **options: Any) -> int:
    """Take a link between the item ID and another away.

    \b
    Exits: 1 there is no such link; 3 no such item.
    Example: wk dep rm wk-7k2m --needs wk-9x4p
    """
    written = call.record(lambda desk: _links(call, desk, work_id, options, "work.unlinked"))
    call.acknowledge(written, _say, ident="work_id")
    return 0 if written else NO


@kit.command("tree")
@naming.one_id
@click.option("--up", is_flag=True, help="What needs it, instead of what it needs.")
@click.option("--kind", default="needs", metavar="KIND", show_default=True,
              help=f"Which links: {', '.join(fields.LINKS)}.")  # fmt: skip
def tree(call: kit.Call, work_id: str, up: bool, kind: str) -> None:
    """Print what the item ID needs, and what that needs, as a tree.

    In a pipe each line has its depth; an item met again is marked `seen` and not
    followed.

    \b
    Exits: 3 no such item.
    Example: wk dep tree wk-7k2m
    """
    with call.reading() as known:
        rows = list(_walk(call, known, naming.work_id(known, work_id), up, kind))
    call.emit(rows, _tree)


def _walk(call: kit.Call, known: Index, root: str, up: bool, kind: str) -> Iterator[dict[str, Any]]:
    now_ms, is_open = call.query_now(known), common.is_open_in(known)
    waiting, seen = [(root, 0)], set()
    while waiting:
        work_id, depth = waiting.pop()
        state = known.state(f"work/{work_id}")
        row: dict[str, Any] = {"depth": depth, "work_id": work_id}
        if not state:
            yield {**row, "unknown": True}
            continue
        row.update(view.short(state, now_ms, is_open))
        if work_id in seen:
            yield {**row, "seen": True}
            continue
        seen.add(work_id)
        yield row
        others = (
            [other for word, other in views.linked_to(known.connection, work_id) if word == kind]
            if up
            else view.targets(state, kind)
        )
        waiting.extend((other, depth + 1) for other in sorted(others, reverse=True))


def _tree(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables

    tables.tree(rows)


@kit.command("cycles")
def cycles(call: kit.Call) -> int:
    """List the groups of items that need each other in a circle.

    No command makes such a circle, but two clones together can. Its items stay
    blocked until one need is taken away with `wk dep rm`.

    \b
    Exits: 1 there is none.
    Example: wk dep cycles
    """
    links: dict[str, list[str]] = {}
    with call.reading() as known:
        for work_id, target in views.all_links(known.connection, "needs"):
            links.setdefault(work_id, []).append(target)
    groups = view.cycles(links)
    if call.quiet:
        for group in groups:
            click.echo(" ".join(group))
    else:
        call.emit([{"work_ids": group} for group in groups], _circles)
    return 0 if groups else NO


def _circles(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(kit.plain(" and ".join(row["work_ids"]) + " need each other"))
