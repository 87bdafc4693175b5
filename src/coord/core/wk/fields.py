"""The fields of a work item and what fits into each."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from coord.core.event import is_integer

TITLE_CHARS = 1000
NAME_CHARS = 200
STATUSES = ("open", "claimed", "submitted", "closed")
RESOLUTIONS = ("done", "wontdo", "duplicate", "obsolete")
TYPES = ("task", "bug", "feature", "epic", "chore")
# What every item has: these can be set, not taken away.
ALWAYS = ("title", "type", "priority")
DEFAULT_TYPE = "task"
DEFAULT_PRIORITY = 2
WORD = re.compile(r"[a-z][a-z0-9_-]{0,39}")
WORK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")

# Link kinds with a meaning of their own; any other word is kept and shown.
LINKS: Mapping[str, str] = {
    "needs": "needs",
    "parent": "is part of",
    "relates": "relates to",
    "found_from": "was found while working on",
    "duplicates": "duplicates",
}


def is_blob(value: object) -> bool:
    """Whether a value stands for a long text kept in `blobs/`."""
    return isinstance(value, dict) and type(value.get("sha256")) is str


def _is_title(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_text(value: object) -> bool:
    return isinstance(value, str) or is_blob(value)


def _is_word(value: object) -> bool:
    return isinstance(value, str) and WORD.fullmatch(value) is not None


def _is_priority(value: object) -> bool:
    return type(value) is int and 0 <= value <= 4


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value) > 0


def _are_checks(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def are_labels(value: object) -> bool:
    """Whether a value is a list of label texts."""
    return isinstance(value, list) and all(_is_name(part) for part in value)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


FITS: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "title": (_is_title, "a text that is not empty"),
    "description": (_is_text, "a text"),
    "type": (_is_word, "a lower-case word"),
    "priority": (_is_priority, "an integer from 0 to 4"),
    "acceptance": (_are_checks, "a list of texts"),
    "assignee": (_is_name, "a name"),
    "due_ms": (is_integer, "milliseconds since the epoch"),
    "defer_until_ms": (is_integer, "milliseconds since the epoch"),
    "external_ref": (_is_name, "a text"),
    "extra": (_is_object, "an object"),
}


def fault_in(values: object) -> str:
    """Name the first field that does not fit; "" when all do."""
    if not isinstance(values, dict):
        return "the fields are not an object"
    for name, value in values.items():
        check = FITS.get(name)
        if check is not None and not check[0](value):
            return f"{name} is not {check[1]}"
    return ""


def stored(values: Mapping[str, Any]) -> dict[str, Any]:
    """The known fields among `values` as the state keeps them."""
    kept = {name: values[name] for name in FITS if name in values}
    if "acceptance" in kept:
        kept["acceptance"] = [{"text": text} for text in kept["acceptance"]]
    return kept
