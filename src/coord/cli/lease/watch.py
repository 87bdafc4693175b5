"""`lease watch`: leases as they come and go, and what the passing of time does to them.

Two things happen to a lease that nobody writes down; they are derived here, once each:

    lease.expire   its time is over and it was not given back
    lease.lost     it ended without its holder's doing: another clone's acquire was good
                   before, or the remote confirmed somebody else's

They are told by whoever watches while they happen.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit, live
from coord.cli.lease import common
from coord.core import resource, units
from coord.core.lease import domain
from coord.core.resource import Resource
from coord.edge import clock
from coord.edge import watch as journals
from coord.edge.index import holds

_ENDS = ("lease.release", "lease.break")


@kit.command("watch")
@click.argument("resources", nargs=-1, metavar="[RESOURCE...]")
@live.options
def watch(
    call: kit.Call,
    resources: Sequence[str],
    since: str | None,
    cursor_file: str | None,
    limit: int | None,
) -> None:
    """Print what happens to leases, or to those that meet RESOURCE..., as it happens.

    Besides the events it prints lease.expire and lease.lost, marked `derived`, when a
    lease runs out, or is lost to somebody else, while it watches.

    \b
    Exits: 130 interrupted.
    Example: lease watch 'path:src/**' --since 1h
    """
    wanted = common.named(call, resources)
    _Watch(call, wanted, limit or sys.maxsize).run(since, cursor_file)


class _Watch:
    """What was held at the last look, and what has been given back since."""

    def __init__(self, call: kit.Call, wanted: Sequence[Resource], left: int) -> None:
        self._call, self._wanted, self._left = call, wanted, left
        self._before: dict[str, Mapping[str, Any]] = {}
        self._ended: set[object] = set()
        # The acquires since the last look, and when that was.
        self._begun: set[str] = set()
        self._looked_ms = 0
        self._next_ms: int | None = None

    def run(self, since: str | None, cursor_file: str | None) -> None:
        """Follow the journals until interrupted or enough was printed."""
        folder = self._call.place.store
        saved = journals.CursorFile(cursor_file) if cursor_file else None
        cursor = saved.load() if saved else None
        if cursor is None:
            cursor = journals.cursor_at(folder, since or "now")
        self._look()
        while True:
            for batch in journals.follow(
                folder,
                cursor,
                on_damage=_ignore,
                deadline_s=self._wait_s(),
                before_wait=live.still_read,
            ):
                cursor = batch.cursor
                if not self._print_events(raw for raw, _ in batch.events):
                    return
                break
            if not self._look():
                return
            if saved:
                saved.save(cursor)

    def _wait_s(self) -> float | None:
        if self._next_ms is None:
            return None
        return max(0.0, (self._next_ms - clock.now_ms()) / 1000 + 0.001)

    def _print_events(self, raws: Iterable[Mapping[str, Any]]) -> bool:
        for raw in raws:
            if not raw["type"].startswith("lease."):
                continue
            if raw["type"] == "lease.acquire":
                self._begun.add(raw["event_id"])
            if raw["type"] in _ENDS:
                self._ended.add(raw.get("refs", {}).get("lease_id"))
            if self._is_wanted(raw.get("refs", {})) and not self._print(raw):
                return False
        return True

    def _is_wanted(self, refs: Mapping[str, Any]) -> bool:
        named = refs.get("resource")
        if not self._wanted:
            return True
        if not isinstance(named, str):
            return False
        held = {"resource": named}
        return any(
            one.domain == resource.domain_of(named) and domain.meet(held, str(one))
            for one in self._wanted
        )

    def _print(self, raw: Mapping[str, Any]) -> bool:
        """Print one; False when enough was printed."""
        if self._call.quiet:
            click.echo(str(raw.get("refs", {}).get("lease_id", "")))
        else:
            live.print_event(self._call, raw)
        sys.stdout.flush()
        self._left -= 1
        return self._left > 0

    def _look(self) -> bool:
        """Tell what time, or somebody else, has done to what was held; then note what is."""
        self._call.now_ms = clock.now_ms()
        with self._call.reading() as known:
            now_ms = self._call.query_now(known)
            sql = known.connection
            running: dict[str, Mapping[str, Any]] = {
                hold["event_id"]: hold for hold in holds.listed(sql, now_ms)
            }
            over = {hold["event_id"]: hold for hold in holds.listed(sql, now_ms, expired=True)}
            self._next_ms = holds.next_end(sql, now_ms)
        before, self._before = {**self._before, **self._brief(over)}, running
        self._looked_ms = now_ms
        heirs = {(h["agent_id"], h["session_id"], h["resource"]) for h in running.values()}
        for event_id, hold in before.items():
            if event_id in running or hold["lease_id"] in self._ended:
                continue
            if (hold["agent_id"], hold["session_id"], hold["resource"]) in heirs:
                # Its holder has asked for it anew.
                continue
            kind = "lease.expire" if event_id in over else "lease.lost"
            if self._is_wanted(hold) and not self._print(_derived(kind, hold, now_ms)):
                return False
        self._ended.clear()
        self._begun.clear()
        return True

    def _brief(self, over: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
        """What has begun and run out since the last look, which found it neither time."""
        begun = {event_id: over[event_id] for event_id in self._begun & over.keys()}
        return {name: h for name, h in begun.items() if h["expires_at_ms"] >= self._looked_ms}


def _derived(kind: str, hold: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """What nobody has written, in the form of an event."""
    at_ms = hold["expires_at_ms"] if kind == "lease.expire" else now_ms
    session = {"session_id": hold["session_id"]} if hold["session_id"] else {}
    return {
        "type": kind,
        "derived": True,
        "ts": units.show_instant(at_ms),
        "actor": {"agent_id": hold["agent_id"], **session},
        "refs": {"resource": hold["resource"], "lease_id": hold["lease_id"]},
        "body": {"fence": hold["fence"]},
        "cause": hold["event_id"],
    }


def _ignore(_damage: journals.Damage) -> None:
    """`ev check` tells of what cannot be read."""
