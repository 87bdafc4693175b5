"""`wk conflicts`: what was overwritten by somebody who did not know of it."""

from collections.abc import Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.problem import State
from coord.edge.index import views


@kit.command("conflicts")
@click.argument("ids", nargs=-1, metavar="[ID...]", shell_complete=naming.complete_work)
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N values, 50 by default; 0 for all.")  # fmt: skip
def conflicts(call: kit.Call, ids: Sequence[str], limit: int) -> int:
    """List the values that lost a concurrent edit, of the items ID... or of all.

    Two clones that change one field without knowing of each other: the newer value is
    kept, the other stays here, with both authors, until somebody edits the field again.

    \b
    Exits: 1 there is none; 3 no such item.
    Example: wk conflicts wk-7k2m
    """
    with call.reading() as known:
        if ids:
            states = [common.state_of(known, naming.work_id(known, text)) for text in ids]
        else:
            states = views.contested(known.connection)
    rows = [row for state in states for row in _rows(state)]
    return common.list_some(call, rows, limit, _table)


def _rows(state: State) -> list[dict[str, Any]]:
    return [{"work_id": state["work_id"], **lost} for lost in state.get("conflicts", ())]


def _table(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables

    columns = ("work_id", "field", "lost", "lost_by", "kept", "kept_by")
    tables.facts([{name: row.get(name, "") for name in columns} for row in rows])
