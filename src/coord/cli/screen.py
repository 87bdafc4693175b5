"""What is drawn on a terminal without a library: how wide it is, colours, a picture that stays.

For views that are looked at often or for long; importing rich costs more than they do.
A line is a sequence of (text, style). Texts are escaped here: nothing from the journals
moves the cursor. Colour says nothing that the words do not say.
"""

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence

import click

from coord.cli.kit import plain
from coord.edge import environment

Line = Sequence[tuple[str, str]]

WIDEST = 400
_STYLES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34",
    "magenta": "35", "cyan": "36",
}  # fmt: skip
# Go to the corner, clear the rest of each line behind it and what is below the last one:
# no moment shows an empty screen.
_HOME, _LINE_END, _BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"


def size() -> tuple[int, int]:
    """Columns and lines of the terminal; 80 and 24 where there is none."""
    columns, lines = _of_environment("COLUMNS"), _of_environment("LINES")
    with contextlib.suppress(OSError, ValueError):
        found = os.get_terminal_size(sys.stdout.fileno())
        columns, lines = columns or found.columns, lines or found.lines
    return min(max(columns or 80, 40), WIDEST), max(lines or 24, 4)


def _of_environment(name: str) -> int:
    text = environment.get(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0


def is_coloured() -> bool:
    """Whether stdout takes colours and nobody asked for none."""
    if environment.get("NO_COLOR") or environment.get("TERM") in ("", "dumb"):
        return False
    return sys.stdout.isatty()


def can_move() -> bool:
    """Whether stdout is a terminal whose cursor can be moved."""
    return sys.stdout.isatty() and environment.get("TERM") not in ("", "dumb")


def painted(line: Line, coloured: bool) -> str:
    """One line as it is written."""
    return "".join(_styled(plain(text), style if coloured else "") for text, style in line)


def _styled(text: str, style: str) -> str:
    codes = ";".join(_STYLES[word] for word in style.split())
    return f"\x1b[{codes}m{text}\x1b[0m" if codes and text else text


def show(lines: Iterable[Line]) -> None:
    """Write lines, coloured where that is wanted."""
    coloured = is_coloured()
    for line in lines:
        click.echo(painted(line, coloured).rstrip(), color=True)


class Picture:
    """A screen that is drawn over itself, and given back as it was."""

    def __init__(self) -> None:
        self._before = ""

    def __enter__(self) -> "Picture":
        _write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        _write(_LEAVE)

    def draw(self, lines: Iterable[Line]) -> None:
        """Show these lines, as many as fit; nothing is written where nothing changed."""
        coloured, height = is_coloured(), size()[1]
        shown = [painted(line, coloured) for line in lines]
        if len(shown) > height:
            shown = [*shown[: height - 1], f"… {len(shown) - height + 1} more lines"]
        picture = _HOME + "\r\n".join(line + _LINE_END for line in shown) + _BELOW
        if picture != self._before:
            _write(picture)
            self._before = picture


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
