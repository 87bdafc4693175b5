"""`run gc`: remove the logs of runs that ended long ago, and workspaces that nobody uses."""

import functools
import os
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.cli.run import common
from coord.edge.index import Index
from coord.edge.run import spool

_KEPT_MS = 7 * 24 * 3_600_000


@kit.command("gc")
@click.option("--keep", type=common.Span(), default=_KEPT_MS, metavar="SPAN",
              help="Keep those of runs that ended since; 7d by default.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what would be removed.")
def gc_runs(call: kit.Call, keep: int) -> None:
    """Remove the logs and exit records of runs that ended longer ago than --keep.

    Prints a line for each run: run_id, bytes. What the journals say of a run stays, and
    so do the files of runs that have not ended or that no journal here knows. Workspaces
    that such a run had last are removed too, a line each: run_id, workspace; but no dirty
    one, which is for people: git worktree list has them all. So are refs that keep what
    such a run has committed where another ref leads there too: run_id, ref.

    \b
    Exits: 2 usage.
    Example: run gc --keep 1d
    """
    rows = []
    for row, folder in _old(call, keep):
        rows.append(row)
        if not call.dry_run:
            shutil.rmtree(folder, ignore_errors=True)
    rows += _in_git(call, keep)
    call.emit(rows, common.table, ident="run_id")


def _in_git(call: kit.Call, keep: int) -> Iterator[Mapping[str, Any]]:
    """The workspaces and the refs of old runs that are not needed."""
    from coord.edge import git
    from coord.edge.run import salvage, workspace

    place = call.place
    pool = os.path.join(place.local, workspace.FOLDER)
    if not os.path.isdir(pool):
        return
    main = git.Repository(place.git_dir, place.tree)
    with call.reading() as known:
        is_old = functools.partial(_is_old, known, call.query_now(known) - keep)
        for name, run_id in workspace.prune(pool, main, is_old, call.dry_run):
            yield {"run_id": run_id, "workspace": name, "command": f"its workspace {name}"}
        for ref, run_id in salvage.dropped(main, is_old, call.dry_run):
            yield {"run_id": run_id, "ref": ref, "command": ref}


def _is_old(known: Index, before_ms: int, run_id: str) -> bool:
    state = known.state(f"run/{run_id}")
    return "outcome" in state and state["ended_at_ms"] <= before_ms


def _old(call: kit.Call, keep: int) -> Iterator[tuple[Mapping[str, Any], str]]:
    parent = os.path.join(call.place.local, spool.FOLDER)
    names = sorted(os.listdir(parent)) if os.path.isdir(parent) else []
    with call.reading() as known:
        before_ms = call.query_now(known) - keep
        for name in names:
            if _is_old(known, before_ms, name):
                folder = os.path.join(parent, name)
                row = {"run_id": name, "bytes": _bytes_in(folder)}
                yield {**row, "command": "", "status": known.state(f"run/{name}")["status"]}, folder


def _bytes_in(folder: str) -> int:
    return sum(
        os.lstat(os.path.join(where, name)).st_size
        for where, _, files in os.walk(folder)
        for name in files
    )
