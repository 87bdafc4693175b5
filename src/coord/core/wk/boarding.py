"""A board of work items: the columns, what stands under each item, drawn in plain characters.

Six columns stand in two rows of three, so that titles can be read in 80 characters; where
there is room, all abreast. A line is a list of (text, style); the words say all that the
styles do.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coord.core import units

COLUMNS = ("ready", "claimed", "submitted", "blocked", "deferred", "closed")
WIDTH = 80
# From here on a column of six has the room that one of three has in 80.
WIDE = 150
_GAP = 2
_STYLES = {"ready": "green", "claimed": "yellow", "submitted": "blue", "blocked": "red"}

Row = Mapping[str, Any]
Line = list[tuple[str, str]]


def drawn(
    columns: Mapping[str, Sequence[Row]],
    totals: Mapping[str, int],
    now_ms: int,
    width: int = WIDTH,
) -> Iterator[Line]:
    """The lines of the board; a column that holds more than it shows says how many."""
    abreast = len(COLUMNS) if width >= WIDE else len(COLUMNS) // 2
    cell = (width - _GAP * (abreast - 1)) // abreast
    for start in range(0, len(COLUMNS), abreast):
        names = COLUMNS[start : start + abreast]
        blocks = [[*_block(name, columns[name], totals[name], now_ms, cell)] for name in names]
        if start:
            yield []
        for number in range(max(map(len, blocks))):
            line: Line = []
            for block in blocks:
                text, style = block[number] if number < len(block) else ("", "")
                line += [(" " * _GAP, ""), (padded(text, cell), style)]
            yield line[1:]


def _block(
    name: str, rows: Sequence[Row], total: int, now_ms: int, cell: int
) -> Iterator[tuple[str, str]]:
    yield f"{name.upper()} ({total})", f"bold {_STYLES.get(name, '')}".strip()
    yield "-" * cell, "dim"
    for row in rows:
        yield f"{row['work_id']} P{row['priority']}", "bold"
        yield f"  {row['title']}", ""
        said = note(row, now_ms)
        if said:
            yield f"  {said}", _STYLES.get(name, "dim")
    if total > len(rows):
        yield f"… and {total - len(rows)} more", "dim"


def note(row: Row, now_ms: int) -> str:
    """Who holds an item and how long, what it waits for, or how it ended."""
    if "claim" in row:
        left = units.show_age(row["claim"]["expires_at_ms"] - now_ms)
        return f"{row['claim']['agent_id'].partition(':')[2]}, {left} left"
    if row.get("blocked_by"):
        others = len(row["blocked_by"]) - 1
        return f"needs {row['blocked_by'][0]}" + (f" and {others} more" if others else "")
    if row.get("waits_for"):
        return "waits for " + " ".join(map(_waited, row["waits_for"][0].items()))
    if "resolution" in row:
        return f"{row['resolution']}, {units.show_relative(row['updated_at_ms'], now_ms)}"
    if row.get("deferred"):
        return units.show_relative(row["defer_until_ms"], now_ms)
    return ""


def _waited(on: tuple[str, Any]) -> str:
    word, value = on
    return units.show_instant(value)[:10] if word == "until_ms" else str(value)


def padded(text: str, cell: int) -> str:
    """A text cut or filled to so many columns of a terminal; wide signs take two."""
    kept, taken = [], 0
    # One sign may carry many that take no room: what is looked at is bounded too.
    for char in text[: cell * 4]:
        if not char.isprintable():
            char = " "
        taken += _columns_of(char)
        if taken > cell:
            break
        kept.append(char)
    if len(kept) < len(text):
        while kept and _width(kept) > cell - 1:
            kept.pop()
        kept.append("…")
    return "".join(kept) + " " * (cell - _width(kept))


def _width(text: Sequence[str]) -> int:
    return sum(map(_columns_of, text))


def _columns_of(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
