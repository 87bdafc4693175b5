"""The files that `wk import` reads: whose they are, their records, and how to read them."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.cli import kit
from coord.core.wk import beads, github, importing, plain, tbd
from coord.errors import Refusal

_NO_CLOCK_MS = 0
FORMS = ("beads", "jsonl", "tbd", "github")


class Source(NamedTuple):
    """One file, ready to be read.

    rows: where each record stands (a line's or record's number, a file's name), and the
    record or the `Fault` in its place. unit: what such a place is called.
    again: what an export would make of a record, for the account to compare.
    """

    form: str
    rows: Sequence[tuple[int | str, Any]]
    read: Callable[[Any], Any]
    nested: Sequence[str]
    again: Callable[[Any], Any]
    unit: str = "line"


def opened(path: str, form: str | None) -> Source:
    """The file, folder or stdin (-) of this name; its format is found out where not given."""
    is_folder = path != "-" and os.path.isdir(path)
    if form == "tbd" or (form is None and is_folder):
        return _tbd(path)
    text = kit.text_of("-") if path == "-" else kit.file_text(path)
    if form in (None, "github") and text.lstrip().startswith("["):
        return _github(list(_records(text)), "record")
    rows = list(_lines(text))
    chosen = form or _form_of(rows)
    if chosen == "github":
        return _github(rows, "line")
    if chosen == "beads":
        return Source(chosen, rows, beads.read, beads.NESTED, _exported(beads.write))
    reader = plain.Reader([record for _, record in rows if isinstance(record, Mapping)])
    return Source(chosen, rows, reader, plain.NESTED, _exported(plain.write))


def _lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, kit.json_value(line, "it")
            except Refusal as refusal:
                yield number, importing.Fault("", refusal.message)


def _records(text: str) -> Iterator[tuple[int, Any]]:
    yield from enumerate(kit.json_value(text, "it"), start=1)


def _form_of(rows: Iterable[tuple[Any, Any]]) -> str:
    for _, record in rows:
        if isinstance(record, Mapping):
            if "issue_type" in record:
                return "beads"
            return "github" if {"number", "title", "state"} <= record.keys() else "jsonl"
    return "jsonl"


def _exported(write: Callable[[Any, int], Any]) -> Callable[[Any], Any]:
    return lambda wanted: write(_new_item(wanted), _NO_CLOCK_MS)


def _new_item(wanted: Any) -> dict[str, Any]:
    return importing.after(None, importing.plan(wanted, None, None))


def _github(rows: Sequence[tuple[int | str, Any]], unit: str) -> Source:
    return Source("github", rows, github.read, github.NESTED, _github_again, unit)


def _github_again(wanted: Any) -> Any:
    return github.again(_new_item(wanted))


def _tbd(folder: str) -> Source:
    from coord.edge import frontmatter

    if not os.path.isdir(folder):
        raise Refusal("no_file", f"{folder} is no folder", "name the folder with tbd's ids.yml")
    rows = [(name, _record_of(found)) for name, found in frontmatter.issues(folder)]
    records = [record for _, record in rows if isinstance(record, Mapping)]
    reader = tbd.Reader(records, frontmatter.short_ids(folder))
    blocked = _blocked(reader, records)
    again = functools.partial(_tbd_again, reader, blocked)
    return Source("tbd", rows, reader, tbd.NESTED, again, "file")


def _tbd_again(
    reader: tbd.Reader, blocked: Mapping[str, Sequence[str]], wanted: Any
) -> Mapping[str, Any]:
    return reader.again(_new_item(wanted), blocked.get(wanted.work_id, ()))


def _record_of(found: Any) -> Any:
    return importing.Fault("", found) if isinstance(found, str) else found


def _blocked(reader: tbd.Reader, records: Iterable[Any]) -> dict[str, list[str]]:
    """Which items need an item, from what all records want."""
    found: dict[str, list[str]] = {}
    for record in records:
        wanted = reader(record)
        if isinstance(wanted, importing.Wanted):
            for kind, target in wanted.links:
                if kind == "needs":
                    found.setdefault(target, []).append(wanted.work_id)
    return found
