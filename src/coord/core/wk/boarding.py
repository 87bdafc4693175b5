"""The items as columns, by what can happen to them next, drawn in plain characters.

Six columns stand in two rows of three, so that titles can be read in 80 characters.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

COLUMNS = ("ready", "claimed", "submitted", "blocked", "deferred", "closed")
ABREAST = 3
WIDTH = 80
_GAP = 2

Row = Mapping[str, Any]


def drawn(
    columns: Mapping[str, Sequence[Row]], totals: Mapping[str, int], width: int = WIDTH
) -> Iterator[str]:
    """The lines of the board; a column that holds more than it shows says how many."""
    cell = (width - _GAP * (ABREAST - 1)) // ABREAST
    for start in range(0, len(COLUMNS), ABREAST):
        names = COLUMNS[start : start + ABREAST]
        blocks = [_block(name, columns[name], totals[name], cell) for name in names]
        height = max(map(len, blocks))
        if start:
            yield ""
        for number in range(height):
            cells = (block[number] if number < len(block) else "" for block in blocks)
            yield (" " * _GAP).join(padded(text, cell) for text in cells).rstrip()


def _block(name: str, rows: Sequence[Row], total: int, cell: int) -> list[str]:
    head = f"{name.upper()} ({total})"
    lines = [head, "-" * cell]
    for row in rows:
        who = f" {row['claim']['agent_id'].partition(':')[2]}:" if "claim" in row else ""
        lines.append(f"{row['work_id']} P{row['priority']}{who}")
        lines.append(f"  {row['title']}")
    if total > len(rows):
        lines.append(f"… and {total - len(rows)} more")
    return lines


def padded(text: str, cell: int) -> str:
    """A text cut or filled to so many columns of a terminal; wide signs take two."""
    shown = "".join(char if char.isprintable() else " " for char in text)
    if _width(shown) > cell:
        while _width(shown) > cell - 1:
            shown = shown[:-1]
        shown += "…"
    return shown + " " * (cell - _width(shown))


def _width(text: str) -> int:
    if text.isascii():
        return len(text)
    return sum(_columns_of(char) for char in text)


def _columns_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
