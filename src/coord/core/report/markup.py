"""Texts from the journals as HTML: shown, never obeyed, and never longer than there is room.

Every text that somebody else wrote enters a page through `text` or `name_of`. Characters
that control a terminal or turn the direction of reading are shown as their numbers, as the
tools do on a terminal; long texts are cut and end in `…`.
"""

from collections.abc import Iterable

from coord.core import units

TITLE_CHARS = 160
TEXT_CHARS = 1200
# Letters of some scripts and composed signs need them; they turn and hide nothing.
_JOINERS = "\u200c\u200d"
_KEPT = {"\n": "\n", "\t": " ", "\u00a0": " "}


def cut(value: object, chars: int) -> str:
    """A text that fits; what is no text, such as a blob, as words."""
    if not isinstance(value, str):
        return "" if value is None else "(a long text)"
    return value if len(value) <= chars else value[: chars - 1] + "…"


def text(value: object, chars: int = TITLE_CHARS) -> str:
    """A text as it stands between tags or in a quoted attribute."""
    shown = cut(value, chars)
    if not shown.isprintable():
        shown = "".join(c if c.isprintable() else _visible(c) for c in shown)
    return (
        shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        .replace('"', "&quot;").replace("'", "&#39;")
    )  # fmt: skip


def _visible(char: str) -> str:
    if char in _KEPT:
        return _KEPT[char]
    if char in _JOINERS:
        return char
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{ord(char):04x}"


def name_of(kind: str, ident: object) -> str:
    """The id of an element: `i-` an item's, `e-` an event's; what HTML forbids is left out."""
    return text(f"{kind}-{''.join(str(ident)[:80].split())}", 90)


def link(kind: str, ident: str, shown: str | None = None) -> str:
    """A way to another element of the page; it works without scripts."""
    name = name_of(kind, ident)
    # In a fragment these signs stand for others; all else may stand as it is.
    target = name.replace("%", "%25")
    return f'<a href="#{target}">{text(ident if shown is None else shown, 40)}</a>'


def agent(agent_id: object) -> str:
    """An agent without the word for its kind; people keep a sign of theirs."""
    kind, _, name = str(agent_id).partition(":")
    if not name:
        return text(kind, 40)
    return text(name if kind != "human" else f"{name} (human)", 40)


def instant(instant_ms: int, to_seconds: bool = False) -> str:
    """A day and minute in UTC, or second."""
    return units.show_instant(instant_ms)[: 19 if to_seconds else 16].replace("T", " ")


class Room:
    """How many bytes of a part the page still has room for."""

    def __init__(self, limit_bytes: int) -> None:
        self.left = limit_bytes
        self.refused = 0

    def taken(self, parts: Iterable[str]) -> list[str]:
        """The parts, from the first on, that fit; the others are counted."""
        kept = []
        for part in parts:
            self.left -= len(part.encode(errors="replace"))
            if self.left < 0:
                self.refused += 1
            else:
                kept.append(part)
        return kept

    def fits(self, part: str) -> bool:
        """Whether one part more fits; then it has been taken."""
        return bool(self.taken((part,)))
