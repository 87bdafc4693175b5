"""What the `watch` verbs of all tools share: events as they happen, one per line."""

import functools
import select
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.core import ev
from coord.edge import clock, watch

F = TypeVar("F", bound=Callable[..., Any])
Raw = Mapping[str, Any]
Derive = Callable[[Iterable[Raw]], Iterable[Raw]]


def _as_it_is(raw: Raw) -> Raw:
    return raw


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


def still_read() -> None:
    """End a watch whose reader is gone: nobody would be told, and it would wait for ever.

    Else it learnt that only when it next had something to say.
    """
    waiting = select.poll()
    waiting.register(1, 0)
    if any(flags & (select.POLLERR | select.POLLHUP) for _, flags in waiting.poll(0)):
        raise kit.Closed


def _batches(
    call: kit.Call, since: str | None, saved: watch.CursorFile | None
) -> Iterator[watch.Batch]:
    """Batches from where the options say."""
    folder = call.place.store
    cursor = saved.load() if saved else None
    if cursor is None:
        cursor = watch.cursor_at(folder, since or "now")
    if saved:
        # What is written before the first batch must not be lost to a restart.
        saved.save(cursor)
    tell = functools.partial(_tell, call)
    yield from watch.follow(folder, cursor, on_damage=tell, before_wait=still_read)


def _tell(call: kit.Call, damage: watch.Damage) -> None:
    text = f"{damage.path} at byte {damage.offset}: {damage.message}"
    call.warn(damage.code, text, "ev check says more")


def events(
    call: kit.Call,
    since: str | None,
    cursor_file: str | None,
    limit: int | None,
    wanted: ev.Filter,
    derive: Derive | None = None,
    mark: Callable[[Raw], Raw] = _as_it_is,
) -> None:
    """Print the events that a filter takes, flushed line by line.

    derive: what follows from a batch and nobody has written; it is printed after it.
    mark: what to print for an event.
    """
    saved = watch.CursorFile(cursor_file) if cursor_file else None
    left = limit or sys.maxsize
    for batch in _batches(call, since, saved):
        left = _print_wanted(call, batch, wanted, left, saved, mark)
        if not left:
            return
        call.now_ms = clock.now_ms()
        for raw in derive(raw for raw, _ in batch.events) if derive else ():
            print_event(call, raw)


def _print_wanted(
    call: kit.Call,
    batch: watch.Batch,
    wanted: ev.Filter,
    left: int,
    saved: watch.CursorFile | None,
    mark: Callable[[Raw], Raw],
) -> int:
    """Print what a filter takes of a batch, at most `left`; answer how many are left."""
    cursor = batch.cursor
    for number, (raw, is_early) in enumerate(batch.events, start=1):
        if wanted.matches(raw):
            print_event(call, mark({**raw, "early": True} if is_early else raw))
            left -= 1
            if not left:
                cursor = batch.cursor_after(number)
                break
    sys.stdout.flush()
    if saved:
        saved.save(cursor)
    return left


def print_event(call: kit.Call, raw: Raw) -> None:
    """One event, as a line for people or programs, at once."""
    if call.quiet:
        # What is derived has no id of its own: the lease that it is about.
        click.echo(raw.get("event_id") or raw["refs"]["lease_id"])
    elif call.for_people:
        from coord.cli import tables

        tables.events([raw], clock.now_ms())
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
