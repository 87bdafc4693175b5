"""One item's state to its line of a Beads file."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.wk import view
from coord.core.wk.beads import reading, words
from coord.core.wk.columns import MISSING, Column, as_is
from coord.core.wk.wanted import MARK, Link, instant_of, label_of, name_of

UNKNOWN: Any = object()
STATUSES = {"deleted": "tombstone", "claimed": "in_progress", "submitted": "in_progress"}


def write(item: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """The Beads record of an item's state.

    item: as folded, with its long texts in it instead of blobs.
    now_ms: a claim that runs then makes it in_progress.
    """
    originals = Originals(item.get("extra", {}))
    status = view.status_at(dict(item), now_ms)
    status = STATUSES.get(status, status)
    record: dict[str, Any] = {"id": item["work_id"]}
    _write_columns(record, words.columns_at(status), _values(item), originals)
    _write_status(record, item, status, originals)
    labels = {label: label for label in item["labels"]}
    _fill(record, "labels", labels, originals, _label_of)
    _fill(record, "dependencies", _dependencies(item), originals, reading.link_of)
    _fill(record, "comments", _comments(item, originals), originals, reading.comment_of)
    for name, value in originals.rest.items():
        record.setdefault(name, value)
    return dict(sorted(record.items(), key=_place))


def _place(pair: tuple[str, Any]) -> int:
    return words.PLACE.get(pair[0], len(words.PLACE))


class Originals:
    """What `extra` remembers of the line that an item came from.

    rest: what was not asked for yet; people may have put anything there.
    """

    def __init__(self, extra: Mapping[str, Any]) -> None:
        self.rest = dict(extra)
        mark = self.rest.get(MARK)
        self.mark: Mapping[str, Any] = mark if isinstance(mark, Mapping) else {}
        if isinstance(mark, Mapping):
            self.rest.pop(MARK)
            if "value" in mark:
                self.rest[MARK] = mark["value"]

    def named(self, part: str) -> Sequence[Any]:
        """A list of the mark."""
        value = self.mark.get(part)
        return value if isinstance(value, list) else []

    def of(self, name: str) -> Any:
        """A field's original, MISSING where the line lacked it, UNKNOWN where not told."""
        return MISSING if name in self.named("absent") else self.rest.get(name, UNKNOWN)

    def take(self, name: str) -> Any:
        """The same; then the field is dealt with."""
        original = self.of(name)
        self.rest.pop(name, None)
        return original


def _values(item: Mapping[str, Any]) -> dict[str, Any]:
    """The state with its parts under the names that columns use."""
    values = {**item, **{f"deleted_{k}": v for k, v in item.get("deleted", {}).items()}}
    if "acceptance" in item:
        values["acceptance"] = [check["text"] for check in item["acceptance"]]
    return values


def _write_columns(
    record: dict[str, Any],
    columns: Mapping[str, Column],
    values: Mapping[str, Any],
    originals: Originals,
) -> None:
    """Give each original back while it means what the item says, else write the item's value."""
    newest = _newest_told(columns, values, originals)
    for name, column in columns.items():
        current, original = values.get(column.ours), originals.of(name)
        if original is UNKNOWN or not _still_means(name, column, original, current, newest):
            if current is not None:
                record[name] = (column.write or as_is)(current)
        elif original is not MISSING:
            record[name] = original
    for name in columns:
        originals.take(name)


def _still_means(
    name: str, column: Column, original: Any, current: Any, newest: int | None
) -> bool:
    meant = None if original is MISSING else column.read(original)
    if column.fixed:
        return True
    if meant is None and column.always and column.read is name_of:
        # Who is not told can be anybody.
        return True
    if meant is None and name in words.INSTANTS:
        return newest in (None, current)
    return bool(current == (column.default if meant is None else meant))


def _newest_told(
    columns: Mapping[str, Column], values: Mapping[str, Any], originals: Originals
) -> int | None:
    """The newest instant that the line told: reading takes it where one is not told."""
    told = []
    for name in words.INSTANTS:
        if name in columns:
            original = originals.of(name)
            here = values.get(columns[name].ours)
            told.append(here if original is UNKNOWN else instant_of(original))
    return max((instant for instant in told if instant is not None), default=None)


def _write_status(
    record: dict[str, Any], item: Mapping[str, Any], status: str, originals: Originals
) -> None:
    """Give an open item its word back unless something changed the status since."""
    original = originals.take("status")
    told_by = item["values"].get("extra", item["created_event"])
    if status != "open" or original is UNKNOWN or item.get("status_event", "") > told_by:
        record["status"] = status
    elif original is not MISSING:
        record["status"] = original


def _fill(
    record: dict[str, Any],
    name: str,
    made: Mapping[Any, Any],
    originals: Originals,
    read_one: Callable[[str, Any], Any],
) -> None:
    """Write a list, along the one that came where that is kept."""
    original = originals.take(name)
    if isinstance(original, list):
        filled = _filled(record["id"], original, made, read_one)
        if filled or not original:
            record[name] = filled
    elif made:
        record[name] = list(made.values())
    elif original is not UNKNOWN and original is not MISSING:
        record[name] = original


def _filled(
    work_id: str,
    template: Sequence[Any],
    made: Mapping[Any, Any],
    read_one: Callable[[str, Any], Any],
) -> list[Any]:
    """The template's entries that still stand or stand for nothing here, then what is new."""
    left, seen = dict(made), set()
    filled = []
    for entry in template:
        found = read_one(work_id, entry)
        key = found[0] if found else None
        if key is None or key in seen:
            filled.append(entry)
        elif key in left:
            filled.append(left.pop(key))
            seen.add(key)
    return [*filled, *left.values()]


def _label_of(_work_id: str, entry: Any) -> tuple[str] | None:
    label = label_of(entry)
    return None if label is None else (label,)


def _dependencies(item: Mapping[str, Any]) -> dict[Link, dict[str, Any]]:
    links = {
        (kind, target): link
        for kind, group in item.get("links", {}).items()
        for target, link in group.items()
    }
    return {name: _dependency(item, name, links[name]) for name in words.links_in_order(links)}


def _dependency(item: Mapping[str, Any], name: Link, link: Mapping[str, Any]) -> dict[str, Any]:
    entry = {
        "issue_id": item["work_id"],
        "depends_on_id": name[1],
        "type": words.type_of(name[0]),
        "created_at": units.show_instant(link["at_ms"]),
        "created_by": link["by"],
    }
    return _restored(entry, Originals(link.get("extra", {})))


def _comments(item: Mapping[str, Any], originals: Originals) -> dict[str, dict[str, Any]]:
    """The comments by the id that the file has for them."""
    withdrawn = originals.named("withdrawn")
    here: dict[str, Mapping[str, Any]] = {}
    for said in item.get("comments", []):
        name = said["comment_id"]
        in_file = str(Originals(said.get("extra", {})).mark.get("comment_id", name))
        if name not in withdrawn:
            here[name if in_file in here else in_file] = said
    return {name: _comment(item, name, here[name]) for name in words.comments_in_order(here)}


def _comment(item: Mapping[str, Any], in_file: str, said: Mapping[str, Any]) -> dict[str, Any]:
    entry = {
        "id": words.number_of(in_file),
        "issue_id": item["work_id"],
        "author": said["by"],
        "text": said["text"],
        "created_at": units.show_instant(said["at_ms"]),
    }
    return _restored(entry, Originals(said.get("extra", {})))


def _restored(entry: Mapping[str, Any], originals: Originals) -> dict[str, Any]:
    """An entry with its originals: who, when and what are facts that never change."""
    absent = originals.named("absent")
    return {**{k: v for k, v in entry.items() if k not in absent}, **originals.rest}
