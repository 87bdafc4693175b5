"""A backlog as Markdown, for people: grouped by status, a task-list line per item.

Titles and names are escaped, so that nothing in them is markup; descriptions and
comments are indented as code blocks, so that nothing in them can be. Control
characters and what turns the direction of text are shown by their number.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.wk import fields, view

Item = Mapping[str, Any]
GROUPS = ("claimed", "submitted", "open", "closed", "deleted")
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#|~&!$@])")
# C0 but newline and tab, DEL, C1, line and paragraph separators, marks of direction.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def write(items: Iterable[Item], now_ms: int) -> Iterator[str]:
    """The lines of a backlog, without newlines, by status, priority and age."""
    groups: dict[str, list[Item]] = {name: [] for name in GROUPS}
    for item in items:
        groups[view.status_at(dict(item), now_ms)].append(item)
    yield "# Work items"
    for name, group in groups.items():
        if group:
            yield ""
            yield f"## {name.capitalize()} ({len(group)})"
            yield ""
            for item in sorted(group, key=_by_priority):
                yield from _item(item, now_ms)


def _by_priority(item: Item) -> tuple[int, int, str]:
    return item["priority"], item["created_at_ms"], item["work_id"]


def inline(text: object) -> str:
    """A text that stands in a line: no markup, no newline, nothing unseen."""
    shown = str(text).replace("\n", "\\n").replace("\t", "\\t")
    return _MARKUP.sub(r"\\\1", visible(shown))


def visible(text: str) -> str:
    """A text whose unseen characters are shown by their number."""
    return _UNSEEN.sub(_numbered, text)


def _numbered(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _block(text: object) -> Iterator[str]:
    """A long text as an indented code block, deep enough for any list entry before it."""
    shown = _blob_text(text) if fields.is_blob(text) else str(text)
    yield ""
    for line in visible(shown.replace("\r\n", "\n")).split("\n"):
        yield f"        {line}".rstrip()
    yield ""


def _blob_text(blob: object) -> str:
    found = blob if isinstance(blob, Mapping) else {}
    return f"({found.get('body_bytes')} bytes, blob {found.get('sha256')})"


def _item(item: Item, now_ms: int) -> Iterator[str]:
    status = view.status_at(dict(item), now_ms)
    box = "x" if status in ("closed", "deleted") else " "
    facts = ", ".join([f"P{item['priority']}", *map(inline, (item["type"], *item["labels"]))])
    yield f"- [{box}] **{inline(item['work_id'])}** {inline(item['title'])} ({facts})"
    for name, value in _facts(item, status):
        yield f"  - {name}: {value}"
    for check in item.get("acceptance", []):
        yield f"  - [{'x' if 'ticked' in check else ' '}] {inline(check['text'])}"
    if "description" in item:
        yield from _block(item["description"])
    for said in item.get("comments", []):
        yield f"  - {inline(said['by'])}, {units.show_instant(said['at_ms'])}:"
        yield from _block(said["text"])


def _facts(item: Item, status: str) -> Sequence[tuple[str, str]]:
    """What is known besides, in a fixed order."""
    facts = []
    if status == "claimed":
        claim = item["claim"]
        until = units.show_instant(claim["expires_at_ms"])
        facts.append(("claimed by", f"{inline(claim['agent_id'])} until {until}"))
    for name in ("assignee", "external_ref"):
        if name in item:
            facts.append((name.replace("_", " "), inline(item[name])))
    for name in ("due_ms", "defer_until_ms"):
        if name in item:
            facts.append((name[:-3].replace("_", " "), units.show_instant(item[name])))
    for kind, group in sorted(item.get("links", {}).items()):
        facts.append((inline(kind), ", ".join(map(inline, sorted(group)))))
    if status == "closed":
        facts.append(("closed", _ending(item, "resolution", "closed_by", "close_why")))
    if status == "deleted":
        facts.append(("deleted", _ending(item["deleted"], "", "by", "why")))
    return facts


def _ending(told: Mapping[str, Any], how: str, by: str, why: str) -> str:
    at_ms = told.get("closed_at_ms", told.get("at_ms"))
    parts = [str(told.get(how, "")), f"by {inline(told[by])}" if by in told else ""]
    if at_ms is not None:
        parts.append(units.show_instant(at_ms))
    reason = f": {inline(told[why])}" if why in told else ""
    return " ".join(part for part in parts if part) + reason
