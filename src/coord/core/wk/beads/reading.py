"""One line of a Beads file to what it wants an item to be."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core.wk.beads import words
from coord.core.wk.beads.words import FIELDS, NESTED, Record
from coord.core.wk.columns import MISSING, Reading
from coord.core.wk.wanted import (
    Fault,
    Link,
    Wanted,
    digest,
    label_of,
    name_of,
    text_of,
    title_of,
    without_none,
    work_id_of,
)

SOURCE = "beads"
READ_APART = ("id", "status", "labels", *NESTED)
# A key, what it stands for, and where each field of the entry went.
Entry = tuple[Any, Mapping[str, Any], Sequence[tuple[str, str]]]


def read(record: Record) -> Wanted | Fault:
    """What one line of a Beads file wants an item to be."""
    work_id, status = work_id_of(record.get("id")), record.get("status")
    if work_id is None:
        return Fault("id", "is not an item's id" if "id" in record else "is missing")
    if title_of(record.get("title")) is None:
        return Fault("title", "is not a title" if "title" in record else "is missing")
    reading = Reading(record)
    reading.placed.append(("id", "work_id"))
    reading.columns(words.columns_at(status), READ_APART)
    _read_status(reading, status)
    _read_labels(reading)
    links = _read_entries(reading, "dependencies", link_of, words.links_in_order)
    comments = _read_entries(reading, "comments", comment_of, words.comments_in_order)
    return _wanted(work_id, reading, links, comments)


def _read_status(reading: Reading, status: Any) -> None:
    fits = status in ("open", "closed", "tombstone")
    reading.word("status", fits, "status", status if fits else MISSING)


def _read_labels(reading: Reading) -> None:
    if "labels" not in reading.record:
        return
    told = reading.record["labels"]
    labels = sorted({one for one in told if label_of(one)}) if isinstance(told, list) else []
    if not labels:
        reading.keep("labels", told)
        return
    reading.place("labels", "labels", tuple(labels))
    if labels != told:
        reading.kept["labels"] = told


def _read_entries(
    reading: Reading,
    name: str,
    read_one: Callable[[str, Any], Entry | None],
    in_order: Callable[[Mapping[Any, Mapping[str, Any]]], Sequence[Any]],
) -> dict[Any, Mapping[str, Any]]:
    """Read a list of objects; keep it whole where its entries alone would not make it."""
    if name not in reading.record:
        return {}
    told = reading.record[name]
    if not isinstance(told, list) or not told:
        reading.keep(name, told)
        return {}
    found: dict[Any, Mapping[str, Any]] = {}
    for one in told:
        entry = read_one(reading.record["id"], one)
        if entry is None or entry[0] in found:
            parts = [(f"{name}.{part}", "extra") for part in one] if isinstance(one, dict) else []
            reading.placed.extend(parts if isinstance(one, dict) else [(name, "extra")])
        else:
            found[entry[0]] = entry[1]
            reading.placed.extend((f"{name}.{part}", place) for part, place in entry[2])
    is_timed = len(found) < 2 or all("at_ms" in entry for entry in found.values())
    if len(found) < len(told) or not is_timed or list(in_order(found)) != list(found):
        reading.kept[name] = told
    return found


def link_of(work_id: str, entry: Any) -> Entry | None:
    """One dependency as a link, or None where it is none of this item's."""
    if not isinstance(entry, dict) or entry.get("issue_id", work_id) != work_id:
        return None
    target = words.target_of(entry.get("depends_on_id"))
    if target is None or target == work_id:
        return None
    kind = words.kind_of(entry.get("type"))
    named = kind or "relates"
    reading = Reading(entry)
    reading.columns(words.LINK, ("issue_id", "depends_on_id", "type"))
    reading.word("issue_id", True, "work_id", work_id)
    reading.word("depends_on_id", True, "links.target", target)
    reading.word("type", kind is not None, "links.kind", words.type_of(named))
    return (named, target), reading.with_extra(), reading.placed


def comment_of(work_id: str, entry: Any) -> Entry | None:
    """One comment, or None where it is none of this item's."""
    if not isinstance(entry, dict) or entry.get("issue_id", work_id) != work_id:
        return None
    if text_of(entry.get("text")) is None:
        return None
    told = entry.get("id")
    named = str(told) if type(told) is int else name_of(told)
    comment_id = named or f"c-{digest(entry)[:16]}"
    reading = Reading(entry)
    reading.columns(words.COMMENT, ("id", "issue_id"))
    reading.word("issue_id", True, "work_id", work_id)
    reading.word("id", named is not None, "comments.comment_id", words.number_of(comment_id))
    return comment_id, reading.with_extra(), reading.placed


def _wanted(
    work_id: str,
    reading: Reading,
    links: Mapping[Link, Mapping[str, Any]],
    comments: Mapping[str, Mapping[str, Any]],
) -> Wanted:
    ours, record = reading.ours, reading.record
    columns = words.columns_at(record.get("status"))
    told = [columns[name].ours for name in words.INSTANTS if name in columns]
    known = [ours[name] for name in told if name in ours]
    newest = max(known, default=None)
    created = {"at_ms": ours.get("created_at_ms", min(known, default=None)), "by": None}
    return Wanted(
        work_id,
        SOURCE,
        digest(record),
        _fields(reading),
        without_none({**created, "by": ours.get("created_by")}),
        ours.get("updated_at_ms", newest),
        _closed(ours, newest) if "closed_at" in columns else None,
        _deleted(ours, newest) if "deleted_at" in columns else None,
        links,
        comments,
        {name: record[name] for name in ("created_at", "created_by") if name in record},
        reading.placed,
    )


def _fields(reading: Reading) -> dict[str, Any]:
    ours, extra = reading.ours, reading.extra()
    fields = {column.ours: ours.get(column.ours, column.default) for column in FIELDS.values()}
    fields["labels"] = ours.get("labels")
    return without_none({**fields, "extra": extra or None})


def _closed(ours: Mapping[str, Any], newest: int | None) -> dict[str, Any]:
    at_ms = ours.get("closed_at_ms", newest)
    return without_none({"at_ms": at_ms, "as": "done", "why": ours.get("close_why")})


def _deleted(ours: Mapping[str, Any], newest: int | None) -> dict[str, Any]:
    at_ms, by = ours.get("deleted_at_ms", newest), ours.get("deleted_by")
    return without_none({"at_ms": at_ms, "by": by, "why": ours.get("deleted_why")})
