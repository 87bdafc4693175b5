"""`run gc`: remove the logs of runs that ended long ago."""

import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.cli.run import common
from coord.edge.run import spool

_KEPT_MS = 7 * 24 * 3_600_000


@kit.command("gc")
@click.option("--keep", type=common.Span(), default=_KEPT_MS, metavar="SPAN",
              help="Keep those of runs that ended since; 7d by default.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
def gc_runs(call: kit.Call, keep: int) -> None:
    """Remove the logs and exit records of runs that ended longer ago than --keep.

    Prints a line for each run: run_id, bytes. What the journals say of a run stays, and
    so do the files of runs that have not ended or that no journal here knows.

    \b
    Exits: 2 usage.
    Example: run gc --keep 1d
    """
    rows = []
    for row, folder in _old(call, keep):
        rows.append(row)
        if not call.dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    call.emit(rows, common.table, ident="run_id")


def _old(call: kit.Call, keep: int) -> Iterator[tuple[Mapping[str, Any], str]]:
    parent = os.path.join(call.place.local, spool.FOLDER)
    names = sorted(os.listdir(parent)) if os.path.isdir(parent) else []
    with call.reading() as known:
        before_ms = call.query_now(known) - keep
        for name in names:
            state = known.state(f"run/{name}")
            if "outcome" in state and state["ended_at_ms"] <= before_ms:
                folder = os.path.join(parent, name)
                row = {"run_id": name, "bytes": _bytes_in(folder)}
                yield {**row, "command": "", "status": state["status"]}, folder


def _bytes_in(folder: str) -> int:
    return sum(
        os.lstat(os.path.join(where, name)).st_size
        for where, _, files in os.walk(folder)
        for name in files
    )
