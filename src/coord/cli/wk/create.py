"""`wk create`: put something on the list."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.draft import Draft
from coord.core.wk import request
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

Record = tuple[dict[str, Any], dict[str, list[str]], str]


@kit.command("create", writes=True)
@click.argument("title")
@common.item_fields
@click.option("--label", "-l", "labels", multiple=True, metavar="LABEL", help="May be repeated.")
@click.option("--parent", multiple=True, metavar="ID", help="The item it is part of.")
@click.option("--needs", multiple=True, metavar="ID", help="What must be closed first.")
@click.option("--found-from", multiple=True, metavar="ID", help="What turned it up.")
@click.option("--partial", is_flag=True, help="With -: write the good lines of a batch.")
def create(
    call: kit.Call,
    title: str,
    labels: Sequence[str],
    parent: Sequence[str],
    needs: Sequence[str],
    found_from: Sequence[str],
    partial: bool,
    **options: Any,
) -> int:
    """Create a work item called TITLE and print its acknowledgement.

    TITLE - reads JSON Lines from stdin, one item a line: title, description, type,
    priority, labels, acceptance, assignee, due_ms, defer_until_ms, external_ref, extra,
    needs, parent, found_from, relates, duplicates, work_id.

    \b
    Exits: 3 an item it should link to is unknown; 5 the id or key is taken;
           6 a value does not fit.
    Example: wk create "Fix the login" --type bug -p 1 --needs wk-7k2m
    """
    if title == "-":
        return _batch(call, partial)
    options["title"] = kit.text_of(title).rstrip("\n")
    body = common.given_fields(call.now_ms, options)
    if labels:
        body["labels"] = common.multiple(labels)
    common.refuse_fault("work.created", {"work_id": "wk-new"}, body)
    wanted = {"parent": parent, "needs": needs, "found_from": found_from}
    record = (body, {kind: common.multiple(ids) for kind, ids in wanted.items()}, "")
    written = call.record(lambda desk: _drafts(call, desk, record, call.key))
    _acknowledge(call, written)
    return 0


def _acknowledge(call: kit.Call, written: Sequence[Written]) -> None:
    created = [one for one in written if one.raw["type"] == "work.created"]
    call.acknowledge(written if call.dry_run else created, _say, ident="work_id")


def _say(raw: kit.Row) -> str:
    return f"{raw['refs']['work_id']} created: {raw['body']['title']}"


def _drafts(call: kit.Call, desk: Desk, record: Record, key: str) -> Iterator[Draft]:
    body, wanted, given = record
    if given and not key and desk.state(f"work/{given}"):
        hint = f"wk update {given} changes it; without work_id a new id is minted"
        raise Refusal("exists", f"there is an item {given} already", hint, work_id=given)
    # Before anything is drafted: an item without the links it was asked for is half of it.
    whole = {kind: [_known(desk, target) for target in ids] for kind, ids in wanted.items()}
    work_id = given or common.fresh_id(desk, desk.author, key, "wk-", "work.created")
    is_retry = call.earlier(desk, "work.created", key) is not None
    yield call.draft(*request.creation(work_id, body), key=key)
    if is_retry:
        # Its links were written with it, and may have been changed since.
        return
    for kind, refs, said in request.links(work_id, desk.state(f"work/{work_id}"), whole):
        yield Draft(kind, refs, said, cause=call.cause)


def _known(desk: Desk, target: str) -> str:
    """The whole id of an item, which may be one of this batch."""
    return target if desk.state(f"work/{target}") else naming.work_id(desk.index, target)


def _batch(call: kit.Call, partial: bool) -> int:
    written, faults = call.batch(
        kit.text_of("-"), _checked, functools.partial(_numbered, call), partial
    )
    _acknowledge(call, written)
    return call.finish_batch(faults)


def _numbered(call: kit.Call, desk: Desk, number: int, record: Record) -> Iterator[Draft]:
    yield from _drafts(call, desk, record, f"{call.key}:{number}" if call.key else "")


def _checked(raw: object, _number: int) -> Record:
    from coord.edge import schemas

    body, wanted, given = request.record_of(raw)
    schemas.check_draft("work.created", {"work_id": given or "wk-new"}, body)
    return body, wanted, given
