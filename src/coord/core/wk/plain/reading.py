"""One plain line to what it wants an item to be."""

from base64 import b32encode
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

from coord.core.wk import fields as item_fields
from coord.core.wk.columns import Column, Reading
from coord.core.wk.plain import words
from coord.core.wk.plain.words import Record
from coord.core.wk.wanted import (
    MARK,
    Fault,
    Link,
    Wanted,
    digest,
    label_of,
    text_of,
    title_of,
    without_none,
    word_of,
    work_id_of,
)

SOURCE = "jsonl"
TargetOf = Callable[[object], str | None]


class Reader:
    """Reads the lines of one file, in their order."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        """records: all lines of the file, so that a line can name others by title."""
        self._seen: dict[str, int] = {}
        self._ids: set[str] = set()
        self._titles: dict[str, str] = {}
        for record in records:
            work_id = self._id_of(record)
            if isinstance(work_id, str):
                self._ids.add(work_id)
                self._titles.setdefault(str(record.get("title")), work_id)
        self._seen.clear()

    def __call__(self, record: Record) -> Wanted | Fault:
        """What the next line wants an item to be."""
        work_id = self._id_of(record)
        if isinstance(work_id, Fault):
            return work_id
        if title_of(record.get("title")) is None:
            return _no_title(record)
        return _read_line(record, work_id, self._target_of)

    def _id_of(self, record: Record) -> str | Fault:
        for name in ("work_id", "id"):
            if name in record:
                return work_id_of(record[name]) or Fault(name, "is not an item's id")
        title = record.get("title")
        if not isinstance(title, str) or title_of(title) is None:
            return _no_title(record)
        number = self._seen[title] = self._seen.get(title, 0) + 1
        return derived_id(title, number)

    def _target_of(self, told: object) -> str | None:
        """The item that a text names: an id of this file, a title of it, any other id."""
        if not isinstance(told, str) or told in self._ids:
            return work_id_of(told)
        return self._titles.get(told) or work_id_of(told)


def read(record: Record) -> Wanted | Fault:
    """What a line that stands alone wants an item to be."""
    return Reader([record])(record)


def derived_id(title: str, number: int) -> str:
    """The id of the number-th line with this title that has none of its own."""
    return f"wk-{_short(f'{number} {title}', 8)}"


def _short(text: str, size: int) -> str:
    data = sha256(text.encode(errors="surrogatepass")).digest()
    return b32encode(data).decode().lower()[:size]


def _no_title(record: Record) -> Fault:
    return Fault("title", "is not a title" if "title" in record else "is missing")


def _read_line(record: Record, work_id: str, target_of: TargetOf) -> Wanted:
    reading = Reading(record)
    has_ended = _read_status(reading)
    reading.columns({**words.FIELDS, **words.CLOSED} if has_ended else words.FIELDS, words.APART)
    _read_ids(reading)
    _read_labels(reading)
    _read_checks(reading)
    deleted = _read_deleted(reading)
    links = _read_links(reading, work_id, target_of)
    comments = _read_comments(reading)
    ours = reading.ours
    known = [ours[name] for name in ("created_at_ms", "closed_at_ms") if name in ours]
    return Wanted(
        work_id,
        SOURCE,
        digest(record),
        _fields(reading),
        without_none({"at_ms": ours.get("created_at_ms"), "by": ours.get("created_by")}),
        ours.get("updated_at_ms", max(known, default=None)),
        _closed(ours) if has_ended else None,
        deleted,
        links,
        comments,
        {name: ours[name] for name in ("created_at_ms", "created_by") if name in ours},
        reading.placed,
    )


def _read_status(reading: Reading) -> bool:
    """Account for the status; answer whether it tells how the item was closed."""
    record = reading.record
    word = record.get("status")
    is_tombstone = word == "deleted" and isinstance(record.get("deleted"), dict)
    if isinstance(word, str) and word in words.ENDED:
        reading.place("status", "status", word)
        return True
    if word == "open" or is_tombstone:
        reading.place("status", "status", word)
    elif "status" in record:
        reading.keep("status", words.STANDING.get(word, word) if isinstance(word, str) else word)
    return is_tombstone and not record.keys().isdisjoint(words.CLOSED)


def _closed(ours: Mapping[str, Any]) -> dict[str, Any]:
    how = ours.get("resolution") or words.ENDED.get(ours["status"], "done")
    at_ms = ours.get("closed_at_ms", ours.get("updated_at_ms"))
    found = {"at_ms": at_ms, "by": ours.get("closed_by"), "as": how}
    return without_none({**found, "why": ours.get("close_why")})


def _read_ids(reading: Reading) -> None:
    names = [name for name in ("work_id", "id") if name in reading.record]
    for number, name in enumerate(names):
        if number == 0:
            reading.placed.append((name, "work_id"))
        else:
            reading.keep(name, reading.record[name])


def _read_labels(reading: Reading) -> None:
    if "labels" not in reading.record:
        return
    told = reading.record["labels"]
    labels = [one for one in told if label_of(one)] if isinstance(told, list) else []
    if not labels:
        reading.keep("labels", told)
        return
    reading.place("labels", "labels", tuple(sorted(set(labels))))
    if len(labels) < len(told):
        reading.kept["labels"] = [one for one in told if not label_of(one)]


def _read_checks(reading: Reading) -> None:
    if "acceptance" not in reading.record:
        return
    told = reading.record["acceptance"]
    texts = words.checks_of(told)
    if texts is None:
        reading.keep("acceptance", told)
        return
    reading.place("acceptance", "acceptance", texts)
    more = words.more_than_texts(told)
    if more:
        reading.kept["acceptance"] = more


def _read_deleted(reading: Reading) -> dict[str, Any] | None:
    if "deleted" not in reading.record:
        return None
    told = reading.record["deleted"]
    if not isinstance(told, dict):
        reading.keep("deleted", told)
        return None
    reading.placed.append(("deleted", "deleted"))
    return _part(told, words.DELETED).ours


def _part(told: Record, columns: Mapping[str, Column]) -> Reading:
    """A link, comment or tombstone; `extra` is among what became ours."""
    part = Reading(told)
    part.columns(columns, ("extra",))
    extra = _joined_extra(part)
    if extra:
        part.ours["extra"] = extra
    return part


def _joined_extra(reading: Reading) -> dict[str, Any]:
    """The exported `extra` and what is kept besides, each under a name of its own."""
    nested = reading.record.get("extra")
    extra = dict(nested) if isinstance(nested, dict) else {}
    if isinstance(nested, dict):
        reading.placed.append(("extra", "extra"))
    elif "extra" in reading.record:
        reading.keep("extra", nested)
    for name, value in reading.kept.items():
        free = name
        while free in extra or free == MARK:
            free += "_"
        extra[free] = value
    return extra


def _fields(reading: Reading) -> dict[str, Any]:
    ours, extra = reading.ours, _joined_extra(reading)
    fields = {name: ours[name] for name in (*item_fields.FITS, "labels") if name in ours}
    fields.setdefault("type", item_fields.DEFAULT_TYPE)
    fields.setdefault("priority", item_fields.DEFAULT_PRIORITY)
    return {**fields, "extra": extra} if extra else fields


def _read_links(
    reading: Reading, work_id: str, target_of: TargetOf
) -> dict[Link, Mapping[str, Any]]:
    links = _Links(work_id)
    for name in ("links", *words.LINKS):
        if name not in reading.record:
            continue
        told = reading.record[name]
        if name != "links":
            left = links.take(name, told, target_of)
        elif isinstance(told, dict):
            # An export names items by their ids alone; a title may look like one.
            groups = {kind: links.take(kind, told[kind], work_id_of) for kind in told}
            left = {kind: group for kind, group in groups.items() if group}
        else:
            left = told
        reading.placed.append((name, "extra" if left == told else "links"))
        if left or left == told:
            reading.kept[name] = left
    return links.found


class _Links:
    """The links of one line."""

    def __init__(self, work_id: str) -> None:
        self.work_id = work_id
        self.found: dict[Link, Mapping[str, Any]] = {}

    def take(self, kind: str, group: Any, target_of: TargetOf) -> Any:
        """Take the links of one kind; answer what of it names no other item."""
        links = group if isinstance(group, dict) else {}
        names = group if isinstance(group, list | dict) else [group]
        left = [
            told
            for told in names
            if not self._one(kind, target_of(told), links[told] if links else {})
        ]
        if isinstance(group, dict):
            return {told: group[told] for told in left}
        return left if isinstance(group, list) or not left else group

    def _one(self, kind: str, target: str | None, link: Any) -> bool:
        if target in (None, self.work_id) or word_of(kind) is None or not isinstance(link, dict):
            return False
        self.found.setdefault((kind, str(target)), _part(link, words.SAID).ours)
        return True


def _read_comments(reading: Reading) -> dict[str, Mapping[str, Any]]:
    told = reading.record.get("comments", ())
    if not isinstance(told, list) or not told:
        if "comments" in reading.record:
            reading.keep("comments", told)
        return {}
    comments: dict[str, Mapping[str, Any]] = {}
    left = []
    for one in told:
        placed = _take_comment(comments, one)
        if placed is None:
            left.append(one)
            names = [f"comments.{name}" for name in one] if isinstance(one, dict) else ["comments"]
            placed = [(name, "extra") for name in names]
        reading.placed.extend(placed)
    if left:
        reading.kept["comments"] = left
    return comments


def _take_comment(
    comments: dict[str, Mapping[str, Any]], told: Any
) -> list[tuple[str, str]] | None:
    """Take one comment and answer where its fields went; None where it can be none."""
    entry = {"text": told} if isinstance(told, str) else told
    if not isinstance(entry, dict) or text_of(entry.get("text")) is None:
        return None
    part = _part(entry, words.COMMENT)
    comment_id = part.ours.pop("comment_id", None) or _comment_id(comments, part.ours)
    if comment_id in comments:
        return None
    comments[comment_id] = part.ours
    if isinstance(told, str):
        return [("comments", "comments")]
    return [(f"comments.{name}", place) for name, place in part.placed]


def _comment_id(comments: Mapping[str, Any], comment: Mapping[str, Any]) -> str:
    """An id from what a comment says, so that a second import finds it again."""
    number = 1
    while True:
        comment_id = f"c-{_short(f'{digest(comment)} {number}', 12)}"
        if comment_id not in comments:
            return comment_id
        number += 1
