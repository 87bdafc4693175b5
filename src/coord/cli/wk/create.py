"""`wk create`: put something on the list."""

from collections.abc import Iterator, Mapping, Sequence
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
    work_id = given or common.fresh_id(desk, desk.author, key, "wk-", "work.created")
    yield call.draft(*request.creation(work_id, body), key=key)
    whole = {
        kind: [naming.work_id(desk.index, target) if not desk.state(f"work/{target}") else target
               for target in targets]
        for kind, targets in wanted.items()
    }  # fmt: skip
    for kind, refs, said in request.links(work_id, desk.state(f"work/{work_id}"), whole):
        yield Draft(kind, refs, said, cause=call.cause)


def _batch(call: kit.Call, partial: bool) -> int:
    records, faults = _records(kit.text_of("-"), partial)
    if records:
        written = call.record(lambda desk: _all_drafts(call, desk, records))
        _acknowledge(call, written)
    for fault in faults[:-1]:
        call.report(fault)
    if faults:
        raise faults[-1]
    return 0


def _all_drafts(call: kit.Call, desk: Desk, records: Mapping[int, Record]) -> Iterator[Draft]:
    for number, record in records.items():
        key = f"{call.key}:{number}" if call.key else ""
        desk.line = number
        yield from _drafts(call, desk, record, key)


def _records(text: str, partial: bool) -> tuple[dict[int, Record], list[Refusal]]:
    """The batch's items by line number, and what is wrong with the others."""
    records: dict[int, Record] = {}
    faults: list[Refusal] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            records[number] = _checked(kit.json_value(line, "this"))
        except Refusal as refusal:
            refusal.at_line(number)
            if not partial:
                raise
            faults.append(refusal)
    return records, faults


def _checked(raw: object) -> Record:
    from coord.edge import schemas

    body, wanted, given = request.record_of(raw)
    schemas.check_draft("work.created", {"work_id": given or "wk-new"}, body)
    return body, wanted, given
