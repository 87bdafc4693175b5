"""Work items from GitHub's issues, as `gh issue list --json …` prints them, without loss.

    GitHub                       here
    number                       the work id, gh-NUMBER
    url                          external_ref
    body                         description
    state, stateReason           closed as done; NOT_PLANNED is wontdo, DUPLICATE duplicate
    author, assignees            created_by, assignee: the login; the first of several
    labels                       labels, by name; `bug` and `enhancement` tell the type too
    comments                     comments

The more that a label, a person or a comment has to it, a milestone and every other field
stay in `extra` under their own names.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.wk import fields as item_fields
from coord.core.wk import giving_back
from coord.core.wk.columns import MISSING, Column, Reading
from coord.core.wk.wanted import (
    Fault,
    Wanted,
    digest,
    instant_of,
    label_of,
    name_of,
    text_of,
    title_of,
    without_none,
)

SOURCE = "github"
NESTED = ("comments",)
PREFIX = "gh-"
Record = Mapping[str, Any]
_TYPES = {"bug": "bug", "enhancement": "feature"}
_RESOLUTIONS = {"COMPLETED": "done", "NOT_PLANNED": "wontdo", "DUPLICATE": "duplicate"}
_REASONS = {ours: word for word, ours in _RESOLUTIONS.items()}


def _shown(instant_ms: int) -> str:
    """An instant as GitHub writes it: without milliseconds where there are none."""
    return units.show_instant(instant_ms).replace(".000Z", "Z")


def _login_of(value: object) -> str | None:
    return name_of(value.get("login")) if isinstance(value, Mapping) else None


def _person(login: str) -> Record:
    return {"login": login}


def _first_login_of(value: object) -> str | None:
    return _login_of(value[0]) if isinstance(value, list) and value else None


def _people(login: str) -> list[Record]:
    return [_person(login)]


def _when(ours: str, always: bool = False) -> Column:
    return Column(ours, instant_of, _shown, always=always)


_FIELDS: Mapping[str, Column] = {
    "title": Column("title", title_of),
    "body": Column("description", text_of),
    "author": Column("created_by", _login_of, _person),
    "assignees": Column("assignee", _first_login_of, _people),
    "createdAt": _when("created_at_ms", always=True),
    "updatedAt": _when("updated_at_ms", always=True),
    "url": Column("external_ref", name_of),
}
_ENDED: Mapping[str, Column] = {
    "closedAt": _when("closed_at_ms", always=True),
    "stateReason": Column("resolution", _RESOLUTIONS.get, _REASONS.get),
}
_COMMENT: Mapping[str, Column] = {
    "id": Column("comment_id", name_of, always=True),
    "author": Column("by", _login_of, _person, always=True),
    "body": Column("text", text_of),
    "createdAt": _when("at_ms", always=True),
}


def read(record: Record) -> Wanted | Fault:
    """What one issue wants an item to be."""
    number = record.get("number")
    if type(number) is not int or number < 1:
        return Fault("number", "is not an issue's number" if "number" in record else "is missing")
    if title_of(record.get("title")) is None:
        return Fault("title", "is not a title" if "title" in record else "is missing")
    reading = Reading(record)
    reading.placed.append(("number", "work_id"))
    has_ended = record.get("state") == "CLOSED"
    table = {**_FIELDS, **_ENDED} if has_ended else _FIELDS
    reading.columns(table, ("number", "state", "labels", "comments"))
    fits = record.get("state") in ("OPEN", "CLOSED")
    reading.word("state", fits, "status", record.get("state") if fits else MISSING)
    _read_labels(reading)
    comments = _read_comments(reading)
    return _wanted(f"{PREFIX}{number}", reading, comments, has_ended)


def _wanted(
    work_id: str, reading: Reading, comments: Mapping[str, Mapping[str, Any]], has_ended: bool
) -> Wanted:
    ours, record = reading.ours, reading.record
    known = [ours[n] for n in ("created_at_ms", "updated_at_ms", "closed_at_ms") if n in ours]
    newest = max(known, default=None)
    created_at_ms = ours.get("created_at_ms", min(known, default=None))
    closed = {"at_ms": ours.get("closed_at_ms", newest), "as": ours.get("resolution", "done")}
    return Wanted(
        work_id,
        SOURCE,
        digest(record),
        _fields(reading),
        without_none({"at_ms": created_at_ms, "by": ours.get("created_by")}),
        ours.get("updated_at_ms", newest),
        without_none(closed) if has_ended else None,
        None,
        {},
        comments,
        {name: record[name] for name in ("createdAt", "author") if name in record},
        reading.placed,
    )


def _fields(reading: Reading) -> dict[str, Any]:
    ours, extra = reading.ours, reading.extra()
    names = ("title", "description", "assignee", "external_ref", "labels")
    fields = {name: ours.get(name) for name in names}
    told = [_TYPES[label] for label in ours.get("labels", ()) if label in _TYPES]
    fields["type"] = told[0] if told else item_fields.DEFAULT_TYPE
    fields["priority"] = item_fields.DEFAULT_PRIORITY
    return without_none({**fields, "extra": extra or None})


def _read_labels(reading: Reading) -> None:
    told = reading.record.get("labels", MISSING)
    named = [_name_of(one) for one in told] if isinstance(told, list) else []
    labels = sorted({name for name in named if name is not None})
    if labels:
        reading.ours["labels"] = tuple(labels)
    reading.word("labels", bool(labels) or told == [], "labels", _labels(labels))


def _name_of(label: object) -> str | None:
    return label_of(label.get("name")) if isinstance(label, Mapping) else None


def _labels(names: Sequence[str]) -> list[Record]:
    return [{"name": name} for name in names]


def _read_comments(reading: Reading) -> dict[str, Mapping[str, Any]]:
    told = reading.record.get("comments", MISSING)
    if not isinstance(told, list) or not told:
        reading.word("comments", told == [], "comments", [])
        return {}
    found: dict[str, Mapping[str, Any]] = {}
    for one in told:
        said = _comment_of(one)
        if said is None or said[0] in found:
            parts = [f"comments.{part}" for part in one] if isinstance(one, dict) else ["comments"]
            reading.placed.extend((part, "extra") for part in parts)
        else:
            found[said[0]] = said[1]
            reading.placed.extend((f"comments.{part}", place) for part, place in said[2])
    if len(found) < len(told) or list(found) != _in_order(found):
        reading.kept["comments"] = told
    return found


def _comment_of(told: object) -> tuple[str, Mapping[str, Any], Sequence[tuple[str, str]]] | None:
    if not isinstance(told, Mapping) or text_of(told.get("body")) is None:
        return None
    reading = Reading(told)
    reading.columns(_COMMENT)
    comment_id = reading.ours.pop("comment_id", None) or f"c-{digest(told)[:16]}"
    return comment_id, reading.with_extra(), reading.placed


def _in_order(comments: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """As an item has them: in the order in which they were read, which is by instant."""
    return sorted(comments, key=_instant_in(comments))


def _instant_in(comments: Mapping[str, Mapping[str, Any]]) -> Callable[[str], int]:
    instants = {name: comment.get("at_ms", 0) for name, comment in comments.items()}
    return instants.__getitem__


def again(item: Mapping[str, Any]) -> Record:
    """The record of an item that was just imported."""
    has_ended = item["status"] == "closed"
    said = [giving_back.rest(one, giving_back.columns(one, _COMMENT))
            for one in item.get("comments", ())]  # fmt: skip
    made: dict[str, Any] = {
        "number": int(item["work_id"].removeprefix(PREFIX)),
        "state": "CLOSED" if has_ended else "OPEN",
        "labels": _labels(item["labels"]),
        "comments": said,
        **giving_back.columns(item, {**_FIELDS, **_ENDED} if has_ended else _FIELDS),
    }
    return giving_back.rest(item, made)


def repository_of(reference: object) -> str:
    """The repository of an issue's address, "" for another text."""
    parts = reference.split("/") if isinstance(reference, str) else []
    return "/".join(parts[:-2]) if len(parts) > 4 and parts[-2] == "issues" else ""
