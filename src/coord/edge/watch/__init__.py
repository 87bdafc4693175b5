"""Live reading: the events of all journals as they are written.

    for batch in follow(folder, cursor_at(folder, "now"), on_damage=tell):
        …                       print batch.events
        saved.save(batch.cursor)

Rules: a wake-up of the kernel is a hint; what counts is what the files say, and they
are looked at once a second in any case. A line counts when its newline is there. At
least once: the cursor of a batch covers what was yielded up to and with it, so whoever
stores it after the batch was handled misses nothing. Events come as they arrive, within
a batch in order of their ids; one that arrives late, with an old id, comes all the same.
"""

import threading
import time
from collections.abc import Callable, Iterator

from coord.core import ev
from coord.edge import clock
from coord.edge.watch.cursor_file import CursorFile, parsed
from coord.edge.watch.finding import ANY_ID, newest
from coord.edge.watch.reading import Batch, Damage, Unread, grouped, listed
from coord.edge.watch.waiting import SWEEP_S, Ending, Waiter
from coord.errors import Refusal

__all__ = ["Batch", "CursorFile", "Damage", "cursor_at", "follow"]


def follow(
    folder: str,
    cursor: ev.Cursor | None,
    *,
    on_damage: Callable[[Damage], None],
    deadline_s: float | None = None,
    stop: threading.Event | None = None,
    before_wait: Callable[[], None] | None = None,
) -> Iterator[Batch]:
    """Yield what is not yet delivered, then what is written, in batches.

    folder: the `.coord` folder. cursor: where to begin; None is now, {} the start.
    on_damage: told, once each, of lines that cannot be used.
    deadline_s: ends when nothing is left to deliver and this many seconds have
    passed; 0 reads what is there. stop: ends at the next batch or within a second.
    before_wait: called once a second at least; what it raises ends the waiting.
    Raises KeyboardInterrupt on SIGINT, wherever it arrives.
    """
    stop = stop or threading.Event()
    start = cursor_at(folder, "now") if cursor is None else cursor
    ends_at = float("inf") if deadline_s is None else time.monotonic() + deadline_s
    unread = Unread(folder, start, on_damage)
    # What is there already needs no kernel; loading the library for it takes a while.
    yield from _until_stopped(unread, stop)
    if stop.is_set() or time.monotonic() >= ends_at:
        return
    with Waiter(folder) as waiter:
        while True:
            yield from _until_stopped(unread, stop)
            if stop.is_set() or time.monotonic() >= ends_at:
                return
            if before_wait is not None:
                before_wait()
            waiter.wait(Ending(min(ends_at, time.monotonic() + SWEEP_S), stop))


def _until_stopped(unread: Unread, stop: threading.Event) -> Iterator[Batch]:
    for batch in unread.batches():
        yield batch
        if stop.is_set():
            return


def cursor_at(folder: str, since: str) -> dict[str, int]:
    """The cursor that `--since now|start|CURSOR|EVENT_ID|TIME` means in this store.

    For an EVENT_ID or a TIME: in each journal, behind the newest event before it; a
    journal that appears later is read from its beginning.
    Refusals: usage.
    """
    text = since.strip()
    if text == "start":
        return {}
    if text.startswith("{"):
        cursor = parsed(text)
        if cursor is None:
            hint = 'give one like {"wk/agent-bo.a2b3c4": 17}'
            raise Refusal("usage", f"{text[:60]!r} is no cursor", hint)
        return cursor
    bound = ANY_ID if text == "now" else ev.boundary(text, clock.now_ms())
    return _ends_before(folder, bound)


def _ends_before(folder: str, bound: str) -> dict[str, int]:
    """Each journal's newest event before an id."""
    groups = grouped(listed(folder))
    found = {name: newest(segments, before_id=bound) for name, segments in groups}
    return {name: line.seq for name, line in found.items() if line is not None}
