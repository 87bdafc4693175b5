"""Who waits for whom: circles among those who wait for leases on one host.

A waiter waits for whoever holds what it wants, and for whoever asked for that before.
A hold belongs to every waiter of its agent and session, for such an agent does one thing
at a time; one that a command has belongs to those inside that command alone. For a pool
one waits in vain only where whoever holds any of its places does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import globs, resource
from coord.core.arbiter import Hold
from coord.core.lease import domain


class Ticket(NamedTuple):
    """One waiter. leases: those of the command it runs inside; exec: for a command."""

    number: int
    agent_id: str
    session_id: str
    wants: Sequence[str]
    shared: bool
    ignorecase: bool
    leases: Sequence[str]
    exec: bool = False

    @classmethod
    def read(cls, number: int, kept: Mapping[str, Any]) -> "Ticket":
        """A ticket as it was kept; what is missing counts as empty."""
        return cls(
            number, str(kept.get("agent_id", "")), str(kept.get("session_id", "")),
            [str(text) for text in kept.get("wants", ())], kept.get("shared") is True,
            kept.get("ignorecase") is True, [str(text) for text in kept.get("leases", ())],
            kept.get("exec") is True,
        )  # fmt: skip

    @property
    def holder(self) -> tuple[str, str]:
        """Who asks."""
        return self.agent_id, self.session_id


def goes_first(earlier: Ticket, mine: Ticket) -> bool:
    """Whether an earlier waiter's wish and a later one's cannot both be granted."""
    if earlier.number >= mine.number or (earlier.shared and mine.shared):
        return False
    either = earlier.ignorecase or mine.ignorecase
    return any(_same(one, other, either) for one in earlier.wants for other in mine.wants)


def _same(one: str, other: str, ignorecase: bool) -> bool:
    if resource.domain_of(one) != resource.domain_of(other):
        return False
    if not one.startswith("path:"):
        return True
    return globs.overlap(one.partition(":")[2], other.partition(":")[2], ignorecase)


def circle(mine: Ticket, others: Iterable[Ticket], holds: Sequence[Hold]) -> list[str]:
    """The circle that waiting would close, as sentences; [] when there is none.

    Of the waiters in a circle the youngest gives way, so that only one does.
    """
    tickets = {ticket.number: ticket for ticket in (*others, mine)}
    inside = _waited_for(_in_vain(tickets, holds), holds)
    if max(inside, default=0) != mine.number:
        return []
    path = _way_back(mine, mine, inside, holds, {mine.number})
    if not path:
        # Between two circles: each waiter with one that it waits for.
        path = [(one, next(_waits_for(one, inside, holds))[1]) for one in inside.values()]
    return [f"{ticket.agent_id} waits for {what}" for ticket, what in path]


def _in_vain(tickets: Mapping[int, Ticket], holds: Sequence[Hold]) -> dict[int, Ticket]:
    """Those who would wait for ever although all others go on and give back."""
    found = dict(tickets)
    while True:
        rest = {n: t for n, t in found.items() if _is_stuck(t, found, holds)}
        if len(rest) == len(found):
            return found
        found = rest


def _is_stuck(at: Ticket, stuck: Mapping[int, Ticket], holds: Sequence[Hold]) -> bool:
    """Whether a waiter cannot be granted all it wants while these give nothing back."""
    if any(goes_first(other, at) for other in stuck.values()):
        return True
    for text in at.wants:
        kept = [
            hold
            for hold in holds
            if _blocks(hold, at, text) and any(_has(other, at, hold) for other in stuck.values())
        ]
        if kept and len(kept) >= min(
            map(resource.places_of, (text, *(h["resource"] for h in kept)))
        ):
            return True
    return False


def _waited_for(stuck: dict[int, Ticket], holds: Sequence[Hold]) -> dict[int, Ticket]:
    """Those of them for whom one of them waits: the others only stand behind a circle."""
    found = stuck
    while True:
        awaited = {o.number for t in found.values() for o, _ in _waits_for(t, found, holds)}
        if awaited == found.keys():
            return found
        found = {number: found[number] for number in awaited}


def _way_back(
    at: Ticket, mine: Ticket, tickets: Mapping[int, Ticket], holds: Sequence[Hold], seen: set[int]
) -> list[tuple[Ticket, str]]:
    for after, what in _waits_for(at, tickets, holds):
        if after.number == mine.number:
            return [(at, what)]
        if after.number not in seen:
            seen.add(after.number)
            rest = _way_back(after, mine, tickets, holds, seen)
            if rest:
                return [(at, what), *rest]
    return []


def _waits_for(
    at: Ticket, tickets: Mapping[int, Ticket], holds: Sequence[Hold]
) -> Iterator[tuple[Ticket, str]]:
    blocking = [hold for hold in holds if any(_blocks(hold, at, text) for text in at.wants)]
    for other in tickets.values():
        for hold in blocking:
            if _has(other, at, hold):
                yield other, f"{hold['resource']}, which {hold['agent_id']} holds"
    for other in tickets.values():
        if goes_first(other, at):
            yield other, f"{', '.join(at.wants)}, which {other.agent_id} asked for before"


def _blocks(hold: Hold, at: Ticket, text: str) -> bool:
    """Whether a hold takes what a waiter wants, or a place of it."""
    if resource.domain_of(hold["resource"]) != resource.domain_of(text):
        return False
    if hold.get("shared") is True and at.shared:
        return False
    if resource.places_of(text) > 1 or resource.places_of(hold["resource"]) > 1:
        return True
    ours = (hold["agent_id"], hold["session_id"]) == at.holder
    if ours and not (at.exec and hold.get("exec") is True):
        return False
    return domain.meet(hold, text, at.ignorecase)


def _has(ticket: Ticket, at: Ticket, hold: Hold) -> bool:
    """Whether a waiter keeps a hold from being given back by waiting."""
    if hold["lease_id"] in ticket.leases:
        return True
    theirs = (hold["agent_id"], hold["session_id"]) == ticket.holder
    return theirs and hold.get("exec") is not True and ticket.holder != at.holder
