"""`ev watch`, `ev tail`, `ev replay`: events as they happen, or happened."""

import time
from typing import Any

import click

from coord.cli import kit, live, naming
from coord.cli.ev.list import filter_of, filters
from coord.core import ev

_TAIL = 10


@kit.command("watch")
@filters
@live.options
def watch(
    call: kit.Call, since: str | None, cursor_file: str | None, limit: int | None, **options: Any
) -> None:
    """Print events as they happen, one per line, until interrupted.

    It waits on the kernel and costs nothing while nothing happens. With --cursor-file
    a restarted consumer misses nothing (at least once; event_id removes repeats). An
    event more than 5 minutes ahead of the clock is marked `early`.

    \b
    Exits: 2 a filter or position is not understood; 130 interrupted.
    Example: ev watch --type 'work.*' --cursor-file ~/.seen | bridge-slack
    """
    live.events(call, since, cursor_file, limit, _filter(call, options))


def _filter(call: kit.Call, options: dict[str, Any], **bounds: str) -> ev.Filter:
    if options.get("work"):
        with call.reading() as known:
            options["work"] = naming.work_id(known, options["work"])
    return filter_of({**options, **bounds})


@kit.command("tail")
@filters
@click.option("--lines", "-n", type=click.IntRange(min=0), default=_TAIL, metavar="N",
              help="The newest N events, 10 by default.")  # fmt: skip
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens.")
def tail(call: kit.Call, lines: int, follow: bool, **options: Any) -> None:
    """Print the newest events, the newest last; with --follow, those to come too.

    \b
    Exits: 130 interrupted.
    Example: ev tail -n 20 --follow
    """
    wanted = _filter(call, options)
    with call.reading() as known:
        raws = known.select(wanted, lines)
        cursor = known.tips()
    live.print_all(call, raws)
    if follow:
        live.events(call, kit.json_text(cursor), None, None, wanted)


@kit.command("replay")
@filters
@click.option("--since", metavar="WHEN", help="From an EVENT_ID or a TIME on.")
@click.option("--until", metavar="WHEN", help="Before an EVENT_ID or a TIME.")
@click.option("--speed", type=float, metavar="F", help="Keep the original pauses, F times faster.")
def replay(
    call: kit.Call, since: str | None, until: str | None, speed: float | None, **options: Any
) -> None:
    """Print all events in order of their ids, whoever wrote them.

    \b
    Exits: 2 a bound or the speed is not understood; 130 interrupted.
    Example: ev replay --since '1d ago' --speed 60
    """
    bounds = {
        f"{name}_id": ev.boundary(text, call.now_ms)
        for name, text in (("since", since), ("until", until))
        if text
    }
    wanted = _filter(call, options, **bounds)
    with call.reading() as known:
        raws = known.select(wanted, -1)
    if speed is None:
        live.print_all(call, raws)
        return
    for pause_s, raw in ev.replay_pauses(raws, speed):
        time.sleep(pause_s)
        live.print_event(call, raw)
