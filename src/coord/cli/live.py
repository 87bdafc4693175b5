"""What the `watch` verbs of all tools share: events as they happen, one per line."""

import functools
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.core import ev
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


def batches(call: kit.Call, since: str | None, cursor_file: str | None) -> Iterator[watch.Batch]:
    """Batches from where the options say, each remembered once it was handled."""
    folder = call.place.store
    saved = watch.CursorFile(cursor_file) if cursor_file else None
    cursor = saved.load() if saved and since is None else None
    if cursor is None:
        cursor = watch.cursor_at(folder, since or "now")
    if saved:
        # What is written before the first batch must not be lost to a restart.
        saved.save(cursor)
    for batch in watch.follow(folder, cursor, on_damage=functools.partial(_tell, call)):
        yield batch
        sys.stdout.flush()
        if saved:
            saved.save(batch.cursor)


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
    shown = 0
    for batch in batches(call, since, cursor_file):
        for raw, is_early in batch.events:
            if wanted.matches(raw):
                print_event(call, {**raw, "early": True} if is_early else raw)
                shown += 1
                if shown == limit:
                    return


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
