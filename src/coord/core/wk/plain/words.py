"""Which field and word of a plain line is which of ours."""

from collections.abc import Callable, Mapping
from typing import Any

from coord.core.wk import fields as item_fields
from coord.core.wk.columns import Column
from coord.core.wk.wanted import (
    CHECKS_CHARS,
    instant_of,
    name_of,
    priority_of,
    stamp_of,
    text_of,
    title_of,
    why_of,
    word_of,
)

Record = Mapping[str, Any]
NESTED = ("comments",)
ENDED: Mapping[str, str] = {"closed": "done"} | {word: word for word in item_fields.RESOLUTIONS}
STANDING = {"claimed": "in_progress", "submitted": "in_progress"}
LINKS = ("needs", "parent", "relates", "found_from", "duplicates")
APART = (
    "id", "work_id", "status", "labels", "acceptance", "deleted", "links", "comments", "extra",
    *LINKS,
)  # fmt: skip


def checks_of(value: object) -> list[str] | None:
    """Checks as texts, or as objects with a text."""
    if not isinstance(value, list) or not value:
        return None
    texts = [one.get("text") if isinstance(one, dict) else one for one in value]
    found = [text for text in texts if isinstance(text, str) and text]
    return found if len(found) == len(texts) and len("".join(found)) <= CHECKS_CHARS else None


def more_than_texts(value: object) -> list[Any]:
    """The checks that say more than their text."""
    told = value if isinstance(value, list) else []
    return [one for one in told if isinstance(one, dict) and [*one] != ["text"]]


def _resolution_of(value: object) -> str | None:
    return value if isinstance(value, str) and value in item_fields.RESOLUTIONS else None


def _told(ours: str, read: Callable[[Any], Any]) -> Column:
    return Column(ours, read, write=None)


FIELDS: Mapping[str, Column] = {
    "title": Column("title", title_of),
    "description": _told("description", text_of),
    "type": _told("type", word_of),
    "priority": _told("priority", priority_of),
    "assignee": _told("assignee", name_of),
    "due": _told("due_ms", instant_of),
    "due_ms": _told("due_ms", stamp_of),
    "defer_until": _told("defer_until_ms", instant_of),
    "defer_until_ms": _told("defer_until_ms", stamp_of),
    "external_ref": _told("external_ref", name_of),
    "created_at": _told("created_at_ms", instant_of),
    "created_at_ms": _told("created_at_ms", stamp_of),
    "created_by": _told("created_by", name_of),
    "updated_at": _told("updated_at_ms", instant_of),
    "updated_at_ms": _told("updated_at_ms", stamp_of),
}
CLOSED: Mapping[str, Column] = {
    "closed_at": _told("closed_at_ms", instant_of),
    "closed_at_ms": _told("closed_at_ms", stamp_of),
    "closed_by": _told("closed_by", name_of),
    "close_why": _told("close_why", why_of),
    "resolution": _told("resolution", _resolution_of),
}
SAID: Mapping[str, Column] = {
    "at": _told("at_ms", instant_of),
    "at_ms": _told("at_ms", stamp_of),
    "by": _told("by", name_of),
}
DELETED: Mapping[str, Column] = {**SAID, "why": _told("why", why_of)}
COMMENT: Mapping[str, Column] = {
    **SAID,
    "text": _told("text", text_of),
    "id": _told("comment_id", name_of),
    "comment_id": _told("comment_id", name_of),
}
