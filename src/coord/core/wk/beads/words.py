"""Which field and word of Beads is which of ours."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.wk import fields as item_fields
from coord.core.wk.columns import Column
from coord.core.wk.wanted import (
    CHECKS_CHARS,
    Link,
    instant_of,
    name_of,
    priority_of,
    text_of,
    title_of,
    why_of,
    word_of,
    work_id_of,
)

Record = Mapping[str, Any]
NESTED = ("dependencies", "comments")
ORDER = (
    "id", "title", "description", "design", "acceptance_criteria", "notes", "status", "priority",
    "issue_type", "assignee", "owner", "estimated_minutes", "created_at", "created_by",
    "updated_at", "closed_at", "close_reason", "due_at", "defer_until", "external_ref", "labels",
    "dependencies", "comments", "deleted_at", "deleted_by", "delete_reason", "original_type",
)  # fmt: skip
PLACE = {name: number for number, name in enumerate(ORDER)}
_LISTED = re.compile(r"\s*([-*+•]|[0-9]{1,3}[.)])\s+\S")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,17}")


def _checks_of(value: object) -> list[str] | None:
    if not isinstance(value, str) or not value.strip() or len(value) > CHECKS_CHARS:
        return None
    lines = value.split("\n")
    return lines if all(map(_LISTED.match, lines)) else [value]


def _when(ours: str, always: bool = False, fixed: bool = False) -> Column:
    return Column(ours, instant_of, units.show_instant, None, always, fixed)


def _who(ours: str, fixed: bool = False) -> Column:
    return Column(ours, name_of, always=True, fixed=fixed)


FIELDS: Mapping[str, Column] = {
    "title": Column("title", title_of),
    "description": Column("description", text_of),
    "acceptance_criteria": Column("acceptance", _checks_of, "\n".join),
    "priority": Column("priority", priority_of, default=item_fields.DEFAULT_PRIORITY, always=True),
    "issue_type": Column("type", word_of, default=item_fields.DEFAULT_TYPE, always=True),
    "assignee": Column("assignee", name_of),
    "due_at": _when("due_ms"),
    "defer_until": _when("defer_until_ms"),
    "external_ref": Column("external_ref", name_of),
}
# How an item came to be and how it ended: facts, not fields.
BORN: Mapping[str, Column] = {
    "created_at": _when("created_at_ms", always=True, fixed=True),
    "created_by": _who("created_by", fixed=True),
    "updated_at": _when("updated_at_ms", always=True),
}
ENDS: Mapping[str, Mapping[str, Column]] = {
    "closed": {
        "closed_at": _when("closed_at_ms", always=True),
        "close_reason": Column("close_why", why_of),
    },
    "tombstone": {
        "deleted_at": _when("deleted_at_ms", always=True),
        "deleted_by": _who("deleted_by"),
        "delete_reason": Column("deleted_why", why_of),
    },
}
INSTANTS = ("created_at", "updated_at", "closed_at", "deleted_at")


def columns_at(status: object) -> dict[str, Column]:
    """The columns of a line with this status."""
    ends = ENDS.get(status, {}) if isinstance(status, str) else {}
    return {**FIELDS, **BORN, **ends}


LINK: Mapping[str, Column] = {
    "created_at": _when("at_ms", always=True),
    "created_by": _who("by"),
}
COMMENT: Mapping[str, Column] = {
    "author": _who("by"),
    "text": Column("text", text_of),
    "created_at": _when("at_ms", always=True),
}

KINDS: Mapping[str, str] = {
    "blocks": "needs",
    "blocked-by": "needs",
    "depends-on": "needs",
    "parent-child": "parent",
    "discovered-from": "found_from",
    "related": "relates",
    "relates-to": "relates",
    "duplicates": "duplicates",
}
_TYPES: Mapping[str, str] = {
    "needs": "blocks",
    "parent": "parent-child",
    "found_from": "discovered-from",
    "relates": "related",
}


def kind_of(type_word: object) -> str | None:
    """Our kind of link for a dependency's type; None for what is no word."""
    dashed = type_word.replace("_", "-") if isinstance(type_word, str) else ""
    return KINDS.get(dashed) or word_of(type_word)


def type_of(kind: str) -> str:
    """How Beads calls a kind of link."""
    return _TYPES.get(kind, kind)


def target_of(told: object) -> str | None:
    """The item that a dependency points at; None where it can be no item.

    `external:gastown:gt-1` lies in another project: what is called gt-1 here, if
    anything, is something else.
    """
    if isinstance(told, str) and told.startswith("external:"):
        return work_id_of(told.replace(":", "."))
    return work_id_of(told)


def number_of(comment_id: str) -> int | str:
    """A comment's id as Beads writes it: a number where it is one."""
    return int(comment_id) if _NUMBER.fullmatch(comment_id) else comment_id


def links_in_order(links: Mapping[Link, Mapping[str, Any]]) -> Sequence[Link]:
    """Links by when they were made."""
    return sorted(links, key=lambda name: (links[name].get("at_ms", 0), *name))


def comments_in_order(comments: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """Comments by when they were made; of one instant, by their numbers."""
    return sorted(comments, key=lambda name: (comments[name].get("at_ms", 0), len(name), name))
