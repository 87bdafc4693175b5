"""`wk log`: the history of an item."""

from collections.abc import Mapping
from typing import Any

from coord.cli import kit, naming
from coord.core.wk import history


@kit.command("log")
@naming.one_id
def log(call: kit.Call, work_id: str) -> None:
    """Print every change of the item ID, oldest first: who, when, why, from what to what.

    What was refused stands there too, with its problem.

    \b
    Exits: 3 no such item.
    Example: wk log wk-7k2m
    """
    with call.reading() as known:
        whole = naming.work_id(known, work_id)
        events = known.of_entity(f"work/{whole}")
        rows = list(history.history(events, whole, known))
    call.emit(rows, _table, ident="event_id")


def _table(rows: list[Mapping[str, Any]]) -> None:
    from coord.cli import tables

    tables.history(rows)
