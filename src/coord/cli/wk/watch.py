"""`wk watch`: work items as they change, or as they become ready."""

from typing import Any

import click

from coord.cli import kit, live, losing, naming
from coord.cli.wk import common
from coord.cli.wk.list import filters, where_of
from coord.core import ev
from coord.core.wk import view
from coord.edge import clock
from coord.edge import watch as journals
from coord.edge.index import Index, views
from coord.errors import Refusal


@kit.command("watch")
@click.argument("work_id", required=False, metavar="[ID]", shell_complete=naming.complete_work)
@click.option("--ready", is_flag=True, help="Print an item each time it becomes ready.")
@filters
@live.options
def watch(
    call: kit.Call,
    work_id: str | None,
    ready: bool,
    since: str | None,
    cursor_file: str | None,
    limit: int | None,
    **options: Any,
) -> None:
    """Print what happens to work items, or to the item ID, as it happens.

    A claim of this host that another clone has won is told as `work.lost`, which nobody
    wrote. With --ready it prints items instead of events: first those that are ready, then
    each one as it becomes so, also when a claim runs out or a deferral ends. The
    filters choose items and go with --ready.

    \b
    Exits: 3 no such item; 130 interrupted.
    Example: wk watch --ready --type bug --quiet | xargs -n1 ./work-on
    """
    if ready:
        if since or cursor_file:
            text = "--ready begins with what is ready now; it has no past"
            raise Refusal("usage", text, "leave --since and --cursor-file out")
        _Readiness(call, options, limit).run()
        return
    if any(options.values()):
        raise Refusal("usage", "filters choose ready items", "wk watch --ready --help")
    wanted = ev.Filter(types=("work.*",))
    if work_id:
        with call.reading() as known:
            wanted = ev.Filter(work_id=naming.work_id(known, work_id))
    live.events(call, since, cursor_file, limit, wanted, losing.teller(call, "work"))


class _Readiness:
    """Which items were ready at the last look, and when time alone changes that."""

    def __init__(self, call: kit.Call, options: dict[str, Any], limit: int | None) -> None:
        self._call, self._options = call, options
        self._left = limit
        self._before: set[str] = set()
        self._look_again_ms: int | None = None

    def run(self) -> None:
        """Look whenever something was written or a time has come, until interrupted."""
        folder = self._call.place.store
        cursor: ev.Cursor = journals.cursor_at(folder, "now")
        while self._look():
            for batch in journals.follow(
                folder,
                cursor,
                on_damage=lambda _: None,
                deadline_s=self._wait_s(),
                before_wait=live.still_read,
            ):
                cursor = batch.cursor
                break

    def _wait_s(self) -> float | None:
        if self._look_again_ms is None:
            return None
        return max(0.0, (self._look_again_ms - clock.now_ms()) / 1000 + 0.001)

    def _look(self) -> bool:
        """Print what has become ready; False when enough was printed."""
        self._call.now_ms = clock.now_ms()
        with self._call.reading() as known:
            now_ms = self._call.query_now(known)
            where = where_of(self._call, known, self._options)
            found = views.work_ids(known.connection, views.Query(now_ms, "ready", where))
            new = [work_id for work_id in found if work_id not in self._before]
            rows = [self._row(known, work_id, now_ms) for work_id in new]
            self._look_again_ms = views.next_boundary(known.connection, now_ms)
        self._before = set(found)
        for row in rows:
            live.print_row(self._call, row)
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    return False
        return True

    def _row(self, known: Index, work_id: str, now_ms: int) -> dict[str, Any]:
        return view.short(known.state(f"work/{work_id}"), now_ms, common.is_open_in(known))
