"""`wk import` and `wk export`: backlogs from and to elsewhere."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.wk import beads, importing, markdown, plain
from coord.edge import blobs
from coord.edge.index import views
from coord.edge.writing import Desk
from coord.errors import BAD_DATA, Refusal

_NO_CLOCK_MS = 0


@kit.command("import", writes=True)
@click.argument("source", metavar="FILE")
@click.option("--from", "form", type=click.Choice(["beads", "jsonl"]),
              help="The file's format; found out from its lines by default.")  # fmt: skip
@click.option("--partial", is_flag=True, help="Import the good lines when some are broken.")
def import_items(call: kit.Call, source: str, form: str | None, partial: bool) -> int:
    """Import the work items of FILE (- is stdin) and print an account of every field.

    Items keep their ids, times and authors. The same file again adds nothing; a later
    version of it adds the difference, and never takes back what was changed here. The
    account says for each field of the file how often it was kept as one of ours, kept in
    `extra`, or dropped, which must be never.

    \b
    Exits: 3 no such file; 6 broken lines (with --partial the rest is imported).
    Example: wk import --from beads .beads/issues.jsonl
    """
    text = kit.text_of("-") if source == "-" else kit.file_text(source)
    lines = list(_lines(text))
    chosen = form or _format_of(lines)
    records = [record for _, record in lines if isinstance(record, Mapping)]
    read: Callable[[Any], Any] = beads.read if chosen == "beads" else plain.Reader(records)
    account = importing.Account(chosen, beads.NESTED if chosen == "beads" else plain.NESTED)
    again = _again(beads.write if chosen == "beads" else plain.write)
    items = importing.collect(_progress(call, lines, "reading"), read, account, again)
    if account.bad and not partial:
        first = account.bad[0]
        raise Refusal(
            "bad_data",
            f"line {first['line']}: {first['reason']} ({len(account.bad)} broken lines)",
            "nothing is imported; --partial imports the rest",
            bad=account.bad,
            line=first["line"],
        )
    written = call.record(lambda desk: _drafts(call, desk, items, account))
    _report(call, account, len(written))
    return BAD_DATA if account.bad else 0


def _report(call: kit.Call, account: importing.Account, count: int) -> None:
    row = {**account.as_json(), "events": 0 if call.dry_run else count}
    if call.dry_run:
        row["would_write"] = count
    if not call.for_people:
        kit.out(row)
        return
    from coord.cli import tables

    tables.account(row)


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, kit.json_value(line, "it")
            except Refusal as refusal:
                yield number, importing.Fault("", refusal.message)


def _format_of(lines: Iterable[tuple[int, Any]]) -> str:
    for _, record in lines:
        if isinstance(record, Mapping):
            return "beads" if "issue_type" in record else "jsonl"
    return "jsonl"


def _again(write: Callable[[Any, int], Any]) -> Callable[[Any], Any]:
    """What an export would make of a line, for the account to compare."""
    return lambda wanted: write(
        importing.after(None, importing.plan(wanted, None, None)), _NO_CLOCK_MS
    )


def _progress(call: kit.Call, rows: Sequence[Any], what: str) -> Iterable[Any]:
    """The rows, with a bar on stderr where a person waits."""
    if not sys.stderr.isatty() or call.quiet or len(rows) < 1000:
        yield from rows
        return
    with click.progressbar(rows, label=what, file=sys.stderr) as shown:
        yield from shown


def _drafts(
    call: kit.Call, desk: Desk, items: Sequence[Sequence[Any]], account: importing.Account
) -> Iterator[Draft]:
    for versions in _progress(call, items, "importing"):
        work_id = versions[0].work_id
        state = desk.state(f"work/{work_id}") or None
        base = _base(desk, state)
        here = desk.judged_at_ms, desk.author.agent_id
        if importing.is_held_back(versions[-1], state, base, *here):
            account.held.append(work_id)
        planned = importing.plan_versions(versions, state, base, *here)
        for fact in planned:
            # An import repeats nothing by itself, and one key cannot stand for many events.
            yield call.draft(fact["type"], fact["refs"], fact["body"])._replace(key="")


def _base(desk: Desk, state: State | None) -> Any:
    if state is None or "imported" not in state:
        return None
    return importing.last_imported(desk.index.of_entity(f"work/{state['work_id']}"))


@kit.command("export")
@click.option("--to", "form", type=click.Choice(["beads", "jsonl", "md"]), default="jsonl",
              help="The format; jsonl is the default.")  # fmt: skip
@click.option("--status", type=click.Choice([*views.STATUSES]), default=None,
              help="Only items in this state; all by default, deletions too.")  # fmt: skip
def export(call: kit.Call, form: str, status: str | None) -> None:
    """Print the work items for another tool, sorted by id.

    beads and jsonl are JSON Lines that `wk import` reads back; md is for people.

    \b
    Exits: 2 usage.
    Example: wk export --to beads > issues.jsonl
    """
    with call.reading() as known:
        now_ms = call.query_now(known)
        names = [status] if status else ["all", "deleted"]
        states = [
            state
            for name in names
            for state in views.items(known.connection, views.Query(now_ms, name, sort="id"))
        ]
    states.sort(key=_id_of)
    for state in states:
        _load_blobs(call, state)
    if form == "md":
        for line in markdown.write(states, now_ms):
            click.echo(line)
        return
    write = beads.write if form == "beads" else plain.write
    for state in states:
        kit.out(write(state, now_ms))


def _id_of(state: State) -> str:
    return str(state["work_id"])


def _load_blobs(call: kit.Call, node: Any) -> None:
    """Put long texts back where their blobs stand."""
    entries = list(node.items()) if isinstance(node, dict) else list(enumerate(node))
    for key, value in entries:
        if isinstance(value, dict) and isinstance(value.get("sha256"), str):
            text = blobs.load(call.place.store, value) if "body_bytes" in value else None
            node[key] = value if text is None else text
        elif isinstance(value, dict | list):
            _load_blobs(call, value)
