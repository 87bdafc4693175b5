"""Who waits for whom: circles among those who wait for leases on one host.

A waiter waits for whoever holds what it wants, and for whoever asked for that before.
A hold belongs to every waiter of its agent and session, for such an agent does one thing
at a time; one that a command has belongs to those inside that command alone. Pools are
left out: one place that becomes free is enough, whoever gives it back.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    path = _way_back(mine, mine, tickets, holds, {mine.number})
    if not path or max(ticket.number for ticket, _ in path) != mine.number:
        return []
    return [f"{ticket.agent_id} waits for {what}" for ticket, what in path]


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
) -> Iterable[tuple[Ticket, str]]:
    blocking = [hold for hold in holds if _blocks(hold, at)]
    for other in tickets.values():
        for hold in blocking:
            if _has(other, at, hold):
                yield other, f"{hold['resource']}, which {hold['agent_id']} holds"
    for other in tickets.values():
        if goes_first(other, at):
            yield other, f"{', '.join(at.wants)}, which {other.agent_id} asked for before"


def _blocks(hold: Hold, at: Ticket) -> bool:
    if hold.get("shared") is True and at.shared:
        return False
    ours = (hold["agent_id"], hold["session_id"]) == at.holder
    if ours and not (at.exec and hold.get("exec") is True):
        return False
    return any(_is_wanted(hold, text, at.ignorecase) for text in at.wants)


def _is_wanted(hold: Hold, text: str, ignorecase: bool) -> bool:
    for named in (text, hold["resource"]):
        read = resource.read(named)
        if read is None or read.places > 1:
            return False
    same = resource.domain_of(hold["resource"]) == resource.domain_of(text)
    return same and domain.meet(hold, text, ignorecase)


def _has(ticket: Ticket, at: Ticket, hold: Hold) -> bool:
    """Whether a waiter keeps a hold from being given back by waiting."""
    if hold["lease_id"] in ticket.leases:
        return True
    theirs = (hold["agent_id"], hold["session_id"]) == ticket.holder
    return theirs and hold.get("exec") is not True and ticket.holder != at.holder
