"""What the `watch` verbs of all tools share: events as they happen, one per line."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.core import ev, event
from coord.edge import watch

F = TypeVar("F", bound=Callable[..., Any])
Raw = Mapping[str, Any]


def options(function: F) -> F:
    """The options of a stream of events: where it begins and where it is remembered."""
    for option in reversed((
        click.option("--since", metavar="WHEN", default=None,
                     help="now (the default), start, an EVENT_ID, a TIME or a cursor."),
        click.option("--cursor-file", metavar="F",
                     help="Keep the position in F after each batch, and go on from there."),
        click.option("--limit", "-n", type=click.IntRange(min=1), metavar="N",
                     help="End after N events."),
    )):  # fmt: skip
        function = option(function)
    return function


def _batches(
    call: kit.Call, since: str | None, saved: watch.CursorFile | None
) -> Iterator[watch.Batch]:
    """Batches from where the options say."""
    folder = call.place.store
    cursor = saved.load() if saved and since is None else None
    if cursor is None:
        cursor = watch.cursor_at(folder, since or "now")
    if saved:
        # What is written before the first batch must not be lost to a restart.
        saved.save(cursor)
    yield from watch.follow(folder, cursor, on_damage=functools.partial(_tell, call))


def _tell(call: kit.Call, damage: watch.Damage) -> None:
    call.note(f"{damage.path} at byte {damage.offset}: {damage.message}")


def events(
    call: kit.Call,
    since: str | None,
    cursor_file: str | None,
    limit: int | None,
    wanted: ev.Filter,
) -> None:
    """Print the events that a filter takes, flushed line by line."""
    saved = watch.CursorFile(cursor_file) if cursor_file else None
    shown = 0
    for batch in _batches(call, since, saved):
        rest = iter(batch.events)
        for raw, is_early in rest:
            if wanted.matches(raw):
                print_event(call, {**raw, "early": True} if is_early else raw)
                shown += 1
                if shown == limit:
                    break
        sys.stdout.flush()
        if saved:
            saved.save(_cursor_before(rest, batch.cursor))
        if shown == limit:
            return


def _cursor_before(rest: Iterable[tuple[Raw, bool]], end: ev.Cursor) -> ev.Cursor:
    """Where to go on when the last events before a cursor were not delivered."""
    cursor = dict(end)
    for raw, _ in rest:
        name = f"{event.journal_of(raw['type'])}/{raw['writer']}"
        if name in cursor:
            cursor[name] = min(cursor[name], raw["seq"] - 1)
    return cursor


def print_event(call: kit.Call, raw: Raw) -> None:
    """One event, as a line for people or programs, at once."""
    if call.quiet:
        click.echo(raw["event_id"])
    elif call.for_people:
        from coord.cli import tables

        tables.events([raw])
    else:
        kit.out(raw)
        sys.stdout.flush()


def print_row(call: kit.Call, row: Raw) -> None:
    """One work item, at once."""
    if call.quiet:
        click.echo(row["work_id"])
    elif call.for_people:
        click.echo(kit.plain(f"{row['work_id']} P{row['priority']} {row['title']}"))
    else:
        kit.out(row)
        sys.stdout.flush()


def print_all(call: kit.Call, raws: Iterable[Raw]) -> None:
    """Events in order, at once."""
    for raw in raws:
        print_event(call, raw)
