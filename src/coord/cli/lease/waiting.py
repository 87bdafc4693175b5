"""`--wait`: in line, in the kernel, until what is asked for is free.

    before me in line    wait for that waiter's ticket
    first in line        try; if it is held, wait until a lease is given back or over;
                         the remote wakes nobody, so it is asked again after a while

A wake-up is a hint: what decides is the next try, under the store's lock.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from coord.cli import kit
from coord.cli.exclusive import REMOTE
from coord.cli.lease import common
from coord.cli.lease.acquire import Asked, attempt
from coord.core import ev, resource
from coord.core.arbiter import Hold
from coord.core.lease.waiting import Ticket, circle, goes_first
from coord.edge import clock, environment
from coord.edge import watch as journals
from coord.edge.waiting import FOREVER_S, Queue
from coord.errors import Refusal

_GIVES_BACK = ("lease.release", "lease.break")
_WAITED_FOR = ("held", "fenced")
# How soon the remote is asked again: at first, and at most.
_REMOTE_S = 0.5, 8.0


def acquired(call: kit.Call, asked: Asked) -> list[kit.Row]:
    """Acquire all resources of a request, waiting as long as it says.

    Refusals: held when the time is over, deadlock, and those of a first try.
    """
    waiter = _Waiter(call, asked)
    try:
        return waiter.run()
    finally:
        waiter.queue.leave()


class _Waiter:
    """One place in the line."""

    def __init__(self, call: kit.Call, asked: Asked) -> None:
        self._call, self._asked = call, asked
        self.queue = Queue(call.place.local)
        is_endless = asked.wait_ms == common.FOREVER
        wait_s = FOREVER_S if is_endless else asked.wait_ms / 1000
        self._ends_at = time.monotonic() + wait_s
        self._cursor: ev.Cursor = {}
        self._asked_s = _REMOTE_S[0] / 2

    @property
    def _left_s(self) -> float:
        return self._ends_at - time.monotonic()

    def run(self) -> list[kit.Row]:
        mine = self._ticket(0)
        if not any(goes_first(other, mine._replace(number=1 << 62)) for other in self._others()):
            try:
                return self._attempt()
            except Refusal as refusal:
                if refusal.code not in _WAITED_FOR or self._call.dry_run:
                    raise
        mine = mine._replace(number=self.queue.enter(self._kept(mine)))
        while True:
            self._refuse_circle(mine)
            before = [other for other in self._others() if goes_first(other, mine)]
            if before:
                self._wait_in_line(before[-1].number)
                continue
            rows = self._first_in_line()
            if rows is not None:
                return rows

    def _ticket(self, number: int) -> Ticket:
        author, wanted = self._call.author, self._asked.wanted
        wants = [str(named) for named in self._asked.resources]
        leases = environment.get(environment.LEASE).split()
        return Ticket(
            number, author.agent_id, author.session_id, wants, wanted.shared,
            wanted.ignorecase, leases, wanted.exec,
        )  # fmt: skip

    def _kept(self, ticket: Ticket) -> Mapping[str, Any]:
        return {**ticket._asdict(), "since_ms": clock.now_ms()}

    def _others(self) -> Sequence[Ticket]:
        tickets = self.queue.tickets().items()
        return [Ticket.read(*entry) for entry in tickets if entry[0] != self.queue.number]

    def _attempt(self) -> list[kit.Row]:
        self._call.now_ms = clock.now_ms()
        return attempt(self._call, self._asked)

    def _first_in_line(self) -> list[kit.Row] | None:
        """Try; if it is held wait until that may have changed and answer None."""
        self._cursor = journals.cursor_at(self._call.place.store, "now")
        try:
            return self._attempt()
        except Refusal as refusal:
            if refusal.code not in _WAITED_FOR or self._left_s <= 0:
                raise
            self._wait_for_change(self._until_ms(refusal))
        return None

    def _until_ms(self, refusal: Refusal) -> int | None:
        """When to try again, should nobody say before that something was given back."""
        until_ms: int | None = refusal.facts.get("expires_at_ms")
        if self._asked.wanted.confirmed != REMOTE:
            return until_ms
        self._asked_s = min(_REMOTE_S[1], self._asked_s * 2)
        again_ms: int = min(int(self._asked_s * 1000), refusal.facts.get("free_in_ms", 1 << 62))
        return clock.now_ms() + again_ms

    def _wait_in_line(self, number: int) -> None:
        try:
            self.queue.wait_for(number, max(0.001, self._left_s))
        except Refusal as refusal:
            if refusal.code != "busy":
                raise
        if self._left_s <= 0:
            # Whoever holds it is the one to name; a try does so, or succeeds.
            self._attempt_at_last()

    def _attempt_at_last(self) -> None:
        wants = ", ".join(str(named) for named in self._asked.resources)
        text = f"{wants} did not become free in time: others were before in line"
        raise Refusal("held", text, "lease list shows who holds what")

    def _wait_for_change(self, until_ms: int | None) -> None:
        """Return when a lease of these domains was given back, or the holder's time is over."""
        left_s = self._left_s
        if until_ms is not None:
            left_s = min(left_s, max(0.0, (until_ms - clock.now_ms()) / 1000) + 0.001)
        domains = {named.domain for named in self._asked.resources}
        for batch in journals.follow(
            self._call.place.store, self._cursor, on_damage=_ignore, deadline_s=left_s
        ):
            if any(_gives_back(raw, domains) for raw, _ in batch.events):
                return

    def _refuse_circle(self, mine: Ticket) -> None:
        others = self._others()
        self._call.now_ms = clock.now_ms()
        with self._call.reading() as known:
            now_ms = self._call.query_now(known)
            wanted = {text for ticket in (*others, mine) for text in ticket.wants}
            holds: list[Hold] = []
            for text in sorted({resource.domain_of(text) for text in wanted}):
                state = known.state(f"lease/{text}")
                holds += [h for h in state.get("holds", ()) if now_ms < h["expires_at_ms"]]
        found = circle(mine, others, holds)
        if found:
            text = f"waiting would never end: {'; '.join(found)}"
            hint = "give back what you hold, or ask one of them to"
            raise Refusal("deadlock", text, hint, circle=found)


def _gives_back(raw: Mapping[str, Any], domains: set[str]) -> bool:
    if raw["type"] not in _GIVES_BACK:
        return False
    named = raw.get("refs", {}).get("resource")
    return isinstance(named, str) and resource.domain_of(named) in domains


def _ignore(_damage: journals.Damage) -> None:
    """What cannot be read wakes nobody; `ev check` tells of it."""
