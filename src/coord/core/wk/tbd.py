"""Work items from tbd (`issues/*.md` and `ids.yml`), without loss.

    tbd                                here
    id: is-01kf…                       external_ref; the work id is the short one of
                                       ids.yml, which people use, else the long one
    dependencies: blocks X, on A       needs, from X to A: there it stands on the blocker
    parent_id, duplicate_of            parent, duplicates
    the text, and its `## Notes`       description, and one comment, `notes`
    status closed                      work.closed, as `resolution` says
    any other status                   open; the word stays in `extra.status`

A blocker tells of items that are in other files: all files are read before the first
becomes an item. What it blocks that is not among them stays in its `extra`, and becomes
a link when the file comes. A field whose value is none of ours is kept there too, as
are lists that came in another order than by name.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.wk import fields as item_fields
from coord.core.wk import giving_back
from coord.core.wk.columns import MISSING, Column, Reading
from coord.core.wk.wanted import (
    Fault,
    Link,
    Wanted,
    digest,
    instant_of,
    label_of,
    name_of,
    priority_of,
    text_of,
    title_of,
    why_of,
    without_none,
    word_of,
    work_id_of,
)

SOURCE = "tbd"
NESTED = ("dependencies",)
NOTES = "notes"
Record = Mapping[str, Any]
Again = Callable[[Mapping[str, Any]], Record]
_HEADING = re.compile(r"^## Notes[ \t]*$", re.MULTILINE | re.IGNORECASE)
_RESOLUTIONS: Mapping[str, str] = {
    **{word: word for word in item_fields.RESOLUTIONS},
    "canceled": "wontdo", "cancelled": "wontdo", "completed": "done",
}  # fmt: skip


def _when(ours: str, always: bool = False) -> Column:
    return Column(ours, instant_of, units.show_instant, always=always)


def _resolution_of(value: object) -> str | None:
    return _RESOLUTIONS.get(value) if isinstance(value, str) else None


_FIELDS: Mapping[str, Column] = {
    "title": Column("title", title_of),
    "kind": Column("type", word_of, default=item_fields.DEFAULT_TYPE, always=True),
    "priority": Column("priority", priority_of, default=item_fields.DEFAULT_PRIORITY, always=True),
    "assignee": Column("assignee", name_of),
    "due_date": _when("due_ms"),
    "deferred_until": _when("defer_until_ms"),
    "created_at": _when("created_at_ms", always=True),
    "created_by": Column("created_by", name_of),
    "updated_at": _when("updated_at_ms", always=True),
}
_ENDED: Mapping[str, Column] = {
    "closed_at": _when("closed_at_ms", always=True),
    "close_reason": Column("close_why", why_of),
    "resolution": Column("resolution", _resolution_of),
}
_LINKED: Mapping[str, str] = {"parent_id": "parent", "duplicate_of": "duplicates"}
_APART = ("type", "id", "status", "labels", "dependencies", "body", *_LINKED)


class Reader:
    """Reads the issues of one folder, in any order."""

    def __init__(self, records: Iterable[Record], short_ids: Mapping[str, str]) -> None:
        """records: all of the folder. short_ids: what each short id stands for."""
        self._short = _turned(short_ids)
        self._long: dict[str, str] = {}
        # What is blocked, by whom: from the id of the blocked to (blocker, entry's extra).
        self._blockers: dict[str, dict[str, Mapping[str, Any]]] = {}
        self._blocked: dict[str, list[str]] = {}
        known = [record for record in records if work_id_of(record.get("id"))]
        for record in known:
            self._long[self.work_id(record["id"])] = record["id"]
        for record in known:
            self._take_blocked(record)

    def work_id(self, long_id: str) -> str:
        """An item's id here: the short one that people use, where there is one."""
        return self._short.get(long_id.partition("-")[2], long_id)

    def _take_blocked(self, record: Record) -> None:
        blocker = self.work_id(record["id"])
        for entry in _entries(record):
            target = self._target(record, entry)
            if target is not None:
                more = {name: v for name, v in entry.items() if name not in ("type", "target")}
                self._blockers.setdefault(target, {})[blocker] = {"extra": more} if more else {}
                self._blocked.setdefault(blocker, []).append(target)

    def _target(self, record: Record, entry: object) -> str | None:
        """The item of this folder that an entry says is blocked."""
        if not isinstance(entry, Mapping) or entry.get("type") != "blocks":
            return None
        told = entry.get("target")
        if not isinstance(told, str) or told == record.get("id"):
            return None
        work_id = self.work_id(told)
        return work_id if self._long.get(work_id) == told else None

    def __call__(self, record: Record) -> Wanted | Fault:
        """What one issue wants an item to be."""
        long_id = work_id_of(record.get("id"))
        if long_id is None:
            return Fault("id", "is not an issue's id" if "id" in record else "is missing")
        if title_of(record.get("title")) is None:
            return Fault("title", "is not a title" if "title" in record else "is missing")
        reading = Reading(record)
        has_ended = record.get("status") == "closed"
        reading.columns({**_FIELDS, **_ENDED} if has_ended else _FIELDS, _APART)
        reading.word("id", True, "external_ref", long_id)
        kind = long_id.partition("-")[0]
        reading.word("type", record.get("type") == kind, "external_ref", kind)
        fits = record.get("status") in ("open", "closed")
        reading.word("status", fits, "status", record.get("status") if fits else MISSING)
        _read_labels(reading)
        comments = _read_body(reading)
        links = self._read_links(reading, self.work_id(long_id))
        self._read_blocked(reading)
        return self._wanted(reading, links, comments, has_ended)

    def _read_links(self, reading: Reading, work_id: str) -> dict[Link, Mapping[str, Any]]:
        links: dict[Link, Mapping[str, Any]] = {}
        for name, kind in _LINKED.items():
            if name not in reading.record:
                continue
            told = reading.record[name]
            target = work_id_of(told)
            fits = target is not None and self.work_id(target) != work_id
            if target is not None and fits:
                links[kind, self.work_id(target)] = {}
            reading.word(name, fits, "links", told if fits else MISSING)
        for blocker, more in sorted(self._blockers.get(work_id, {}).items()):
            links["needs", blocker] = more
        return links

    def _read_blocked(self, reading: Reading) -> None:
        """Account for what an issue blocks; the links stand on the others."""
        told = reading.record.get("dependencies", MISSING)
        if not isinstance(told, list) or not told:
            reading.word("dependencies", told == [], "links", [])
            return
        targets = []
        for entry in told:
            target = self._target(reading.record, entry)
            fits = target is not None and target not in targets
            if target is not None and fits:
                targets.append(target)
            for part in entry if isinstance(entry, dict) else [""]:
                place = f"links.{'kind' if part == 'type' else part}" if fits else "extra"
                reading.placed.append((f"dependencies.{part}".rstrip("."), place))
        if self._dependencies(targets) != told:
            reading.kept["dependencies"] = told

    def _dependencies(self, targets: Iterable[str]) -> list[Record]:
        ids = sorted(self._long[target] for target in targets)
        return [{"type": "blocks", "target": long_id} for long_id in ids]

    def _wanted(
        self,
        reading: Reading,
        links: Mapping[Link, Mapping[str, Any]],
        comments: Mapping[str, Mapping[str, Any]],
        has_ended: bool,
    ) -> Wanted:
        ours, record = reading.ours, reading.record
        work_id = self.work_id(record["id"])
        known = [ours[n] for n in ("created_at_ms", "updated_at_ms", "closed_at_ms") if n in ours]
        newest = max(known, default=None)
        created_at_ms = ours.get("created_at_ms", min(known, default=None))
        closed = {
            "at_ms": ours.get("closed_at_ms", newest), "as": ours.get("resolution", "done"),
            "why": ours.get("close_why"),
        }  # fmt: skip
        return Wanted(
            work_id,
            SOURCE,
            self._digest(record, work_id),
            _fields(reading),
            without_none({"at_ms": created_at_ms, "by": ours.get("created_by")}),
            ours.get("updated_at_ms", newest),
            without_none(closed) if has_ended else None,
            None,
            links,
            comments,
            {name: record[name] for name in ("created_at", "created_by") if name in record},
            reading.placed,
        )

    def _digest(self, record: Record, work_id: str) -> str:
        """Of the file, and of what the others have to do with it."""
        blockers = sorted(self._blockers.get(work_id, {}))
        blocked = sorted(self._blocked.get(work_id, ()))
        return digest([record, blockers, blocked] if blockers or blocked else record)

    def again(self, item: Mapping[str, Any], blocked: Sequence[str]) -> Record:
        """The record of an item just imported; blocked: the items that need it."""
        has_ended = item["status"] == "closed"
        made: dict[str, Any] = {
            "type": item["external_ref"].partition("-")[0],
            "id": item["external_ref"],
            "status": "closed" if has_ended else "open",
            "labels": list(item["labels"]),
            "dependencies": self._dependencies(blocked),
            **giving_back.columns(item, {**_FIELDS, **_ENDED} if has_ended else _FIELDS),
        }
        said = [one["text"] for one in item.get("comments", ()) if one["comment_id"] == NOTES]
        body = joined(item.get("description", ""), *said)
        if body:
            made["body"] = body
        for name, kind in _LINKED.items():
            for target in item.get("links", {}).get(kind, ()):
                made[name] = self._long_id(target)
        return giving_back.rest(item, made)

    def _long_id(self, work_id: str) -> str:
        back = {short: rest for rest, short in self._short.items()}
        return self._long.get(work_id) or (f"is-{back[work_id]}" if work_id in back else work_id)


def _turned(short_ids: Mapping[str, str]) -> dict[str, str]:
    """From what an id stands for to the id; of several the shortest."""
    found: dict[str, str] = {}
    for short in sorted(short_ids, key=_shortest_last):
        if work_id_of(short):
            found[short_ids[short]] = short
    return found


def _shortest_last(text: str) -> tuple[int, str]:
    return -len(text), text


def _entries(record: Record) -> list[Any]:
    told = record.get("dependencies")
    return told if isinstance(told, list) else []


def _read_labels(reading: Reading) -> None:
    told = reading.record.get("labels", MISSING)
    labels = sorted({one for one in told if label_of(one)}) if isinstance(told, list) else []
    if labels:
        reading.ours["labels"] = tuple(labels)
    reading.word("labels", bool(labels) or told == [], "labels", labels)


def parted(body: str) -> tuple[str, str]:
    """A file's text as description and notes."""
    heading = _HEADING.search(body)
    if heading is None:
        return body.strip(), ""
    return body[: heading.start()].strip(), body[heading.end() :].strip()


def joined(description: str, notes: str = "") -> str:
    """The text of a file with these."""
    parts = [description, f"## Notes\n\n{notes}" if notes else ""]
    return "".join(f"{part}\n" for part in ["\n\n".join(filter(None, parts))] if part)


def _read_body(reading: Reading) -> dict[str, Mapping[str, Any]]:
    body = reading.record.get("body", MISSING)
    if body is MISSING:
        return {}
    description, notes = map(text_of, parted(body)) if isinstance(body, str) else (None, None)
    if description is not None:
        reading.ours["description"] = description
    places = (("description", description), ("comments", notes))
    kept = " and ".join(place for place, text in places if text)
    reading.word("body", bool(kept), kept, joined(description or "", notes or ""))
    # When they were written is not told.
    return {NOTES: {"text": notes}} if notes else {}


def _fields(reading: Reading) -> dict[str, Any]:
    ours, extra = reading.ours, reading.extra()
    names = ("title", "description", "assignee", "due_ms", "defer_until_ms", "labels")
    fields = {name: ours.get(name) for name in names}
    fields["type"] = ours.get("type", item_fields.DEFAULT_TYPE)
    fields["priority"] = ours.get("priority", item_fields.DEFAULT_PRIORITY)
    fields["external_ref"] = reading.record["id"]
    return without_none({**fields, "extra": extra or None})
