"""`ev serve`: the page of `ev report`, live, for browsers on this machine."""

import contextlib
import functools
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from coord.cli import kit
from coord.cli.ev import report
from coord.edge import clock, index, watch
from coord.edge.index import Index, views
from coord.errors import Refusal

if TYPE_CHECKING:
    from coord.core.report.page import Assets
    from coord.edge import serving

# Of one batch that many events are sent one by one; the page comes anew in any case.
_TOLD = 200


@kit.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="Listen on port N; any that is free by default.")  # fmt: skip
@click.option("--since", metavar="WHEN", default=None,
              help="From an EVENT_ID or a TIME on: 30d; everything by default.")  # fmt: skip
def serve(call: kit.Call, port: int, since: str | None) -> None:
    """Serve the page of `ev report` on this machine, with what happens as it happens.

    Prints the address to open, then goes on until it is interrupted or ended. It listens
    on the loopback address alone, never writes, and answers nobody but its own page: any
    program of this machine can read it, though.

    \b
    Exits: 2 WHEN is not understood; 7 the port is taken; 130 interrupted.
    Example: ev serve --port 8400
    """
    from coord.edge import pages, serving

    pictured = Pictured(call, since, pages.assets())
    # Refuses what is wrong before anybody is told of an address.
    pictured.page()
    server = serving.Server(port, pictured, pictured.assets.policy(connects=True))
    stop = threading.Event()
    cursor = watch.cursor_at(call.place.store, "now")
    teller = threading.Thread(target=_tell, args=(pictured, server, cursor, stop), daemon=True)
    row = {"url": server.url, "port": server.port, "pid": os.getpid()}
    with _ended_by_term():
        try:
            teller.start()
            call.emit([row], _table, ident="url")
            sys.stdout.flush()
            server.serve_forever(poll_interval=1)
        finally:
            stop.set()
            server.readers.end()
            server.server_close()
            teller.join(2)


def _table(rows: list[Mapping[str, Any]]) -> None:
    for row in rows:
        click.echo(f"{row['url']}  (Ctrl-C ends it)")


@contextlib.contextmanager
def _ended_by_term() -> Iterator[None]:
    """To be asked to end is no failure: exit 0."""
    before = signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except _Terminated:
        return
    finally:
        signal.signal(signal.SIGTERM, before)


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminated(_number: int, _frame: FrameType | None) -> None:
    raise _Terminated


class Pictured:
    """The page as it is now; made once for all who ask while nothing happens."""

    def __init__(self, call: kit.Call, since: str | None, assets: "Assets") -> None:
        self.call, self.since, self.assets = call, since, assets
        self._lock = threading.Lock()
        self._made: tuple[object, bytes] = (None, b"")
        self._next_ms: int | None = None

    def page(self) -> bytes:
        """The page; what is told in relation to now is at most half a minute old."""
        with self._lock:
            return self._asked(self._page)

    def _page(self, known: Index) -> bytes:
        from coord.core.report import page

        state = (known.tips(), self.call.now_ms // 30_000, self._next_ms)
        if state != self._made[0] or self.is_due():
            facts = report.gathered(self.call, known, self.since)
            text = page.rendered(facts, self.assets, live=True)
            self._next_ms = views.next_boundary(known.connection, facts.now_ms)
            self._made = ((*state[:2], self._next_ms), text.encode(errors="replace"))
        return self._made[1]

    def news(self, raws: Sequence[Mapping[str, Any]]) -> bytes:
        """The rows of these events and of the items they are about, as JSON."""
        return self._asked(functools.partial(self._news, raws))

    def _news(self, raws: Sequence[Mapping[str, Any]], known: Index) -> bytes:
        from coord.core.report import page

        facts, gone = report.around(known, raws, self.call.query_now(known))
        return kit.json_text(page.news(facts, raws, gone)).encode()

    def hello(self) -> bytes:
        """Which event is the newest: who begins to listen may have missed some."""
        return self._asked(_newest)

    def is_due(self) -> bool:
        """Whether time alone has changed what the page last told."""
        return self._next_ms is not None and clock.now_ms() >= self._next_ms

    def _asked(self, answer: Callable[[Index], bytes]) -> bytes:
        """An answer of the index as of this moment; where it is damaged, of a new one."""
        for _ in range(2):
            # A server lives longer than a command.
            self.call.now_ms = clock.now_ms()
            try:
                with self.call.reading() as known:
                    return answer(known)
            except index.DAMAGE:
                index.discard(self.call.place.local)
        raise Refusal("busy", "the index was damaged twice", "try again")


def _newest(known: Index) -> bytes:
    return known.newest().encode()


def _tell(
    pictured: Pictured, server: "serving.Server", cursor: dict[str, int], stop: threading.Event
) -> None:
    """Send what is written to all who wait for it."""
    from coord.edge import serving

    folder = pictured.call.place.store
    for batch in watch.follow(folder, cursor, on_damage=_ignored, stop=stop):
        if not server.readers.count():
            continue
        raws = [raw for raw, is_early in batch.events if not is_early][-_TOLD:]
        try:
            server.readers.tell(serving.message("news", pictured.news(raws)))
        except Refusal:
            # Whoever listens asks for the whole page then.
            server.readers.tell(serving.message("due", b"now"))


def _ignored(_damage: watch.Damage) -> None:
    """`ev check` tells of damage."""
