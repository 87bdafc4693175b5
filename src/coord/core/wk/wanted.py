"""What one version of a foreign file wants an item to be, and which values fit into it.

A reader answers a `Wanted`, or the `Fault` that keeps a line from being an item.
The `…_of` functions answer a value that fits one of our fields, or None: then the
reader keeps the original in `extra`, so that an export gives it back.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from coord.core import units
from coord.core.wk import fields as item_fields

Link = tuple[str, str]
LABEL_CHARS = 100
# What a line cannot move out to `blobs/` must leave room for the rest of it; a text of
# this many bytes is never moved out.
NAME_BYTES = 255
WHY_CHARS = 4000
CHECKS_CHARS = 16_000
# The one name in `extra` that readers, plan and writers share: {absent, withdrawn,
# comment_id, value}. `absent`: fields that the line lacked although an item always has
# them. `withdrawn`: comments that a later version of the file no longer had. `comment_id`:
# under which id the file has a comment. `value`: the file's own field of this name.
MARK = "import"
_UNTOLD = {"at_ms", "by", "event_id", "comment_id"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a line cannot be an item: the field that decides ("" for the line), and why."""

    field: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one version of a file wants an item to be.

    sha256: of the line's canonical JSON.
    fields: title, type and priority always; description, labels (sorted), acceptance
    (list of texts), assignee, due_ms, defer_until_ms, external_ref, extra where given.
    created: at_ms, by. closed: at_ms, by, as, why. deleted: at_ms, by, why, extra.
    links, comments: at_ms, by, extra; a comment also its text.
    origin: how `extra` says who created the item and when, for an item whose own
    creation says otherwise: creation is a fact that no later event can change.
    placed: each field of the line with where it went: our field's name, or `extra`.
    """

    work_id: str
    source: str
    sha256: str
    fields: Mapping[str, Any]
    created: Mapping[str, Any] = field(default_factory=dict)
    updated_at_ms: int | None = None
    closed: Mapping[str, Any] | None = None
    deleted: Mapping[str, Any] | None = None
    links: Mapping[Link, Mapping[str, Any]] = field(default_factory=dict)
    comments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    placed: Sequence[tuple[str, str]] = ()


def digest(record: object) -> str:
    """SHA-256 of a record's canonical JSON, whatever the order of its keys."""
    return sha256(json.dumps(record, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def same(here: object, told: object) -> bool:
    """Whether two JSON values are equal; a blob here equals the text it stands for."""
    if item_fields.is_blob(here) and isinstance(told, str):
        named = here["sha256"] if isinstance(here, Mapping) else ""
        return bool(named == sha256(told.encode(errors="surrogatepass")).hexdigest())
    if isinstance(here, Mapping) and isinstance(told, Mapping):
        return here.keys() == told.keys() and all(same(here[k], told[k]) for k in told)
    if isinstance(here, list | tuple) and isinstance(told, list | tuple):
        return len(here) == len(told) and all(map(same, here, told))
    return type(here) is type(told) and here == told


def says(here: Mapping[str, Any], told: Mapping[str, Any]) -> bool:
    """Whether a link, comment or ending that is here is what the file tells.

    Who and when may be anything where the file does not tell them.
    """
    return here.keys() - _UNTOLD <= told.keys() and all(
        same(here.get(name), value) for name, value in told.items()
    )


def wants_the_same(told: Wanted, again: Wanted | Fault) -> bool:
    """Whether another reading of an item wants all that one wants, who and when it tells too."""
    if isinstance(again, Fault) or told.work_id != again.work_id:
        return False
    ends = [(told.closed, again.closed), (told.deleted, again.deleted)]
    return (
        same(told.fields, again.fields)
        and says(again.created, told.created)
        and told.updated_at_ms in (None, again.updated_at_ms)
        and all((one is None) == (other is None) for one, other in ends)
        and all(says(other, one) for one, other in ends if one is not None and other is not None)
        and told.links.keys() == again.links.keys()
        and told.comments.keys() == again.comments.keys()
        and all(says(again.links[name], link) for name, link in told.links.items())
        and all(says(again.comments[name], said) for name, said in told.comments.items())
    )


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are known."""
    return {name: value for name, value in values.items() if value is not None}


def instant_of(value: object) -> int | None:
    """Milliseconds since the epoch of an RFC 3339 text.

    Digits past the millisecond are cut; without an offset it is UTC. The zero time
    of other languages (year 1) is none of ours.
    """
    if not isinstance(value, str) or not value[:4].isdecimal():
        return None
    try:
        read = datetime.fromisoformat(value)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return stamp_of((aware - _EPOCH) // _MILLISECOND)
    except (ValueError, OverflowError):
        return None


def stamp_of(value: object) -> int | None:
    """An integer that is an instant in milliseconds since the epoch."""
    fits = isinstance(value, int) and type(value) is int and 0 <= value <= units.LATEST_MS
    return value if fits and isinstance(value, int) else None


def text_of(value: object) -> str | None:
    """A text that is not empty."""
    return value if isinstance(value, str) and value else None


def name_of(value: object) -> str | None:
    """A text that can stand for a person, a reference or a comment's id."""
    if not isinstance(value, str) or not value:
        return None
    return value if len(value.encode(errors="replace")) <= NAME_BYTES else None


def why_of(value: object) -> str | None:
    """A text that can stand as a reason."""
    return value if isinstance(value, str) and 0 < len(value) <= WHY_CHARS else None


def work_id_of(value: object) -> str | None:
    """A text that can be a work item's id."""
    return value if isinstance(value, str) and item_fields.WORK_ID.fullmatch(value) else None


def word_of(value: object) -> str | None:
    """A text that can be a type or a kind of link."""
    return value if isinstance(value, str) and item_fields.WORD.fullmatch(value) else None


def title_of(value: object) -> str | None:
    """A title, cut at what an item takes."""
    if not isinstance(value, str) or not value.strip():
        return None
    limit = item_fields.TITLE_CHARS
    return value if len(value) <= limit else value.strip()[:limit]


def label_of(value: object) -> str | None:
    """A text that can be a label."""
    if name_of(value) is None or not isinstance(value, str) or len(value) > LABEL_CHARS:
        return None
    return None if any(char < " " or char == "\x7f" for char in value) else value


_PRIORITIES = {f"{prefix}{n}": n for n in range(5) for prefix in ("", "p", "P")}


def priority_of(value: object) -> int | None:
    """A priority: 0 to 4, also as "1" or "P1"."""
    if isinstance(value, str):
        return _PRIORITIES.get(value)
    return value if type(value) is int and 0 <= value <= 4 else None
