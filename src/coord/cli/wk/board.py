"""`wk board`: everything at a glance, in columns, once or live."""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from coord.cli import kit, live, screen
from coord.cli.wk import common
from coord.core import units
from coord.core.wk import boarding, view
from coord.edge import clock
from coord.edge.index import Index, views

_SORTS = {"closed": "updated"}
# How old the times that it shows may get while nothing happens.
_REFRESH_S = 30.0


class _Wish(NamedTuple):
    """Which part of the board is wanted."""

    limit: int
    since: str
    width: int | None


class _Seen(NamedTuple):
    """The board at one moment; `next_ms` is when time alone changes it."""

    columns: dict[str, list[dict[str, Any]]]
    totals: dict[str, int]
    now_ms: int
    next_ms: int | None


@kit.command("board")
@click.option("--format", "form", type=click.Choice(["text"]), default=None,
              help="Draw the columns in a pipe too.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=1), default=6, metavar="N",
              show_default=True, help="At most N items in a column.")  # fmt: skip
@click.option("--since", metavar="TIME", default="7d ago", show_default=True,
              help="Which closed items are recent.")  # fmt: skip
@click.option("--width", type=click.IntRange(40, screen.WIDEST), default=None, metavar="N",
              help="How wide the text is; as the terminal, or 80.")  # fmt: skip
@click.option("--watch", is_flag=True, help="Go on and show what changes, until interrupted.")
def board(
    call: kit.Call, form: str | None, limit: int, since: str, width: int | None, watch: bool
) -> None:
    """Show what is ready, claimed, submitted, blocked, deferred and recently closed.

    In a pipe one item a line with its `column`, and how many there are in the column as
    `of`; on a terminal, or with --format text, columns with who holds what for how long
    still, and what the blocked ones need. With --watch the terminal shows the board as it
    is now at any time; a pipe gets a line again whenever it has changed.

    \b
    Exits: 2 usage; 130 interrupted, with --watch.
    Example: wk board --watch
    """
    wish = _Wish(limit, since, width)
    is_drawn = form == "text" or (call.for_people and not call.quiet)
    if watch:
        _watch(call, wish, is_drawn)
        return
    seen = _look(call, wish)
    if is_drawn:
        screen.show(_lines(seen, wish))
    else:
        call.emit(_rows(seen))
        more = {name: n for name, n in seen.totals.items() if n > len(seen.columns[name])}
        if more:
            words = ", ".join(f"{len(seen.columns[name])} of {more[name]} {name}" for name in more)
            kit.note_more(words, "--limit N, or wk list --status COLUMN", **more)


def _look(call: kit.Call, wish: _Wish) -> _Seen:
    columns, totals = {}, {}
    with call.reading() as known:
        now_ms = call.query_now(known)
        since_ms = units.parse_instant(wish.since, now_ms)
        for name in boarding.COLUMNS:
            query = _query(name, wish.limit, now_ms, since_ms)
            columns[name] = _items(known, query)
            totals[name] = len(columns[name])
            if totals[name] == wish.limit and name not in ("ready", "blocked"):
                totals[name] = views.count(known.connection, query)
        if wish.limit in (totals["ready"], totals["blocked"]):
            # What makes an item blocked is dear to ask: once for both.
            counts = views.count_ready_and_blocked(known.connection, now_ms)
            totals["ready"], totals["blocked"] = counts
        next_ms = views.next_boundary(known.connection, now_ms)
    return _Seen(columns, totals, now_ms, next_ms)


def _query(name: str, limit: int, now_ms: int, since_ms: int) -> views.Query:
    where = {"updated_after_ms": since_ms} if name == "closed" else {}
    return views.Query(now_ms, name, where, _SORTS.get(name, "priority"), limit=limit)


def _items(known: Index, query: views.Query) -> list[dict[str, Any]]:
    is_open = common.is_open_in(known)
    states = views.items(known.connection, query)
    return [view.short(state, query.now_ms, is_open) for state in states]


def _rows(seen: _Seen) -> Iterator[dict[str, Any]]:
    for name, rows in seen.columns.items():
        for row in rows:
            yield {"column": name, "of": seen.totals[name], **row}


def _lines(seen: _Seen, wish: _Wish) -> Iterator[screen.Line]:
    return boarding.drawn(seen.columns, seen.totals, seen.now_ms, wish.width or screen.size()[0])


def _watch(call: kit.Call, wish: _Wish, is_drawn: bool) -> None:
    if is_drawn and screen.can_move():
        with screen.Picture() as picture:
            for seen in _moments(call, wish, _REFRESH_S):
                picture.draw(_lines(seen, wish))
        return
    told: dict[str, dict[str, Any]] = {}
    for seen in _moments(call, wish, None):
        rows = {row["work_id"]: row for row in _rows(seen)}
        changed = [row for row in rows.values() if told.get(row["work_id"]) != row]
        if is_drawn and changed:
            screen.show([*_lines(seen, wish), []])
        elif not is_drawn:
            call.emit(changed)
        told = rows
        sys.stdout.flush()


def _moments(call: kit.Call, wish: _Wish, refresh_s: float | None) -> Iterator[_Seen]:
    """The board now, and again whenever something was written or a time has come."""
    from coord.edge import watch as journals

    folder = call.place.store
    cursor = journals.cursor_at(folder, "now")
    while True:
        call.now_ms = clock.now_ms()
        seen = _look(call, wish)
        yield seen
        waits_s = [] if refresh_s is None else [refresh_s]
        if seen.next_ms is not None:
            waits_s.append(max(0.0, (seen.next_ms - clock.now_ms()) / 1000 + 0.001))
        deadline_s = min(waits_s, default=None)
        for batch in journals.follow(
            folder,
            cursor,
            on_damage=lambda _: None,
            deadline_s=deadline_s,
            before_wait=live.still_read,
        ):
            cursor = dict(batch.cursor)
            break
