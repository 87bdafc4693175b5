"""`wk import` and `wk export`: backlogs from and to elsewhere."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.cli.wk import sources
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.wk import beads, github, importing, markdown, plain
from coord.edge import blobs
from coord.edge.index import views
from coord.edge.writing import Desk
from coord.errors import BAD_DATA, Refusal


@kit.command("import", writes=True)
@click.argument("source", metavar="FILE")
@click.option("--from", "form", type=click.Choice(sources.FORMS),
              help="The file's format; found out from what it holds by default.")  # fmt: skip
@click.option("--partial", is_flag=True, help="Import the good records when some are broken.")
def import_items(call: kit.Call, source: str, form: str | None, partial: bool) -> int:
    """Import the work items of FILE (- is stdin) and print an account of every field.

    FILE is a file of Beads, plain JSON Lines, the output of `gh issue list --json`, or
    the folder of tbd that holds ids.yml.

    Items keep their ids, times and authors. The same file again adds nothing; a later
    version of it adds the difference, and never takes back what was changed here. The
    account says for each field of the file how often it was kept as one of ours, kept in
    `extra`, or dropped, which must be never.

    \b
    Exits: 3 no such file; 4 closed items, where verify is required; 6 broken records (with
           --partial the rest is imported).
    Example: wk import --from beads .beads/issues.jsonl
    """
    found = sources.opened(source, form)
    account = importing.Account(found.form, found.nested, found.unit)
    rows = _progress(call, found.rows, "reading")
    items = importing.collect(rows, found.read, account, found.again)
    if account.bad and not partial:
        first = account.bad[0]
        raise Refusal(
            "bad_data",
            f"{found.unit} {first[found.unit]}: {first['reason']}"
            f" ({len(account.bad)} broken {found.unit}s)",
            "nothing is imported; --partial imports the rest",
            bad=account.bad,
            **{found.unit: first[found.unit]},
        )
    try:
        written = call.record(lambda desk: _drafts(call, desk, items, account))
    except Refusal as refusal:
        if refusal.code == "unverified":
            refusal.hint = "a human sets verify to optional, imports, and sets it again"
        raise
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
        _refuse_other_repository(versions[-1], state)
        base = _base(desk, state)
        here = desk.judged_at_ms, desk.author.agent_id, desk.author.session_id
        if importing.is_held_back(versions[-1], state, base, *here):
            account.held.append(work_id)
        planned = importing.plan_versions(versions, state, base, *here)
        for fact in planned:
            # An import repeats nothing by itself, and one key cannot stand for many events.
            yield call.draft(fact["type"], fact["refs"], fact["body"])._replace(key="")


def _refuse_other_repository(wanted: importing.Wanted, state: State | None) -> None:
    """Every repository has an issue 1: two of them are not one item."""
    if wanted.source != github.SOURCE or state is None:
        return
    here, there = state.get("external_ref"), wanted.fields.get("external_ref")
    if github.repository_of(here) and github.repository_of(here) != github.repository_of(there):
        text = f"{wanted.work_id} is {here} already, and {there} here"
        raise Refusal("exists", text, "give each repository a store of its own")


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
            if text is None and "body_bytes" in value:
                hint = "its file in .coord/blobs is not here: ev check --full lists them"
                call.warn("blob", f"a text of {value['body_bytes']} bytes is missing", hint)
        elif isinstance(value, dict | list):
            _load_blobs(call, value)
