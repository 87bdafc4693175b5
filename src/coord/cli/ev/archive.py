"""`ev archive`: the refs of writers long silent, gathered into one."""

from typing import Any

import click

from coord.cli import kit
from coord.cli import sync as syncing
from coord.core import units
from coord.edge.sync import archive
from coord.errors import Refusal


@kit.command("archive")
@click.option("--silent", default="30d", metavar="SPAN", show_default=True,
              help="Writers without an event for so long.")  # fmt: skip
@click.option("--remote", metavar="R", help="A git remote or a URL; origin unless configured.")
@click.option("--dry-run", is_flag=True, help="Say which writers it would be.")
def archive_refs(call: kit.Call, silent: str, remote: str | None) -> None:
    """Gather the remote's refs of writers silent for SPAN into one, refs/coord/archive.

    Every clone and session makes a writer, and each has a ref; a remote with thousands is
    slow to ask. The lines stay the same, byte for byte, and so does every fold: it is read
    back before anything moves. A writer who comes back goes on. Prints the archive's tip,
    the `writers` that went in, and what was left out as `problems`.

    \b
    Exits: 3 no such remote; 4 the remote refuses it; 7 it does not answer, or somebody
           wrote meanwhile.
    Example: ev archive --silent 14d --dry-run
    """
    if call.place.is_inline:
        text = "an inline store has no refs: git keeps its files with the branch"
        raise Refusal("wrong_state", text, "nothing needs to be archived")
    syncer = syncing.opened(call, remote or "")
    if syncer is None:
        raise Refusal("no_remote", "there is no git remote", "git remote add origin URL")
    silent_ms = units.parse_duration(silent)
    with syncer.locked():
        found = archive.gather(syncer, silent_ms, call.now_ms, call.dry_run)
        syncer.save()
    row = {"remote": syncer.target.remote, "archive": found.tip, "writers": found.writers}
    call.emit([{**row, "problems": found.problems}], _say, ident="archive")


def _say(rows: list[Any]) -> None:
    for row in rows:
        events = sum(entry["events"] for entry in row["writers"])
        click.echo(f"{len(row['writers'])} writers with {events} events are in the archive")
        for problem in row["problems"]:
            click.echo(kit.plain(problem["message"]))
