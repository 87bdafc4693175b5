"""What an item that was just imported says of the record it came from.

For formats that are read and never exported: an account believes no reader, so the
record is put together again from our fields and from what `extra` keeps.
"""

from collections.abc import Mapping
from typing import Any

from coord.core.wk.columns import Column, as_is
from coord.core.wk.wanted import MARK

Record = dict[str, Any]


def columns(item: Mapping[str, Any], table: Mapping[str, Column]) -> Record:
    """The fields of a table: the original where it is kept, else what the item says."""
    extra = item.get("extra", {})
    absent = extra.get(MARK, {}).get("absent", ())
    found = {}
    for name, column in table.items():
        current = item.get(column.ours)
        if name in extra:
            found[name] = extra[name]
        elif name not in absent and current is not None:
            found[name] = (column.write or as_is)(current)
    return found


def rest(item: Mapping[str, Any], made: Mapping[str, Any]) -> Record:
    """The whole record: what is kept in `extra`, and what was made where nothing is."""
    extra = item.get("extra", {})
    mark = extra.get(MARK, {})
    kept = {name: value for name, value in extra.items() if name != MARK}
    if "value" in mark:
        kept[MARK] = mark["value"]
    absent = mark.get("absent", ())
    return {**{name: value for name, value in made.items() if name not in absent}, **kept}
