"""Who holds what: the one arbiter of claims, leases and runs (DESIGN §8).

A *domain* is {"holds": […], "refused": […], "fence": n}: the holds that were
granted and not given back, the acquires that were refused and not given back, and
the largest fence known. Moves come in order of event_id.

    confirmed acquire   good unless a conflicting confirmed one has a fence at least
                        as large; ends every conflicting hold, of either tier
    advisory acquire    good if at its time nobody else's conflicting hold runs;
                        replaces its own holder's conflicting ones
    renew               the hold of that lease_id, by its holder, while it runs
    release             ends the hold of that lease_id

The *holder* is an agent in one session; another session of the same agent is
somebody else until it says `take_over`. A hold runs while time < expires_at_ms.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.event import Event, is_integer
from coord.core.problem import Problem

Hold = Mapping[str, Any]
Domain = Mapping[str, Any]
Conflict = Callable[[Hold, Hold], bool]

EMPTY: Domain = {"holds": [], "refused": [], "fence": 0}


def always(_one: Hold, _other: Hold) -> bool:
    """The conflict rule of a domain with a single exclusive resource."""
    return True


def hold_from(event: Event) -> dict[str, Any] | Problem:
    """The hold an acquire asks for; a problem when the event lacks what that takes."""
    refs, body = event.refs, event.body
    lease_id, resource = refs.get("lease_id"), refs.get("resource")
    fence, ttl_ms, expires_at_ms = (body.get(k) for k in ("fence", "ttl_ms", "expires_at_ms"))
    if not (isinstance(lease_id, str) and isinstance(resource, str)):
        return Problem(event.event_id, "bad_data", "an acquire names its lease_id and resource")
    if not all(is_integer(n, least=1) for n in (fence, ttl_ms, expires_at_ms)):
        return Problem(event.event_id, "bad_data", "fence, ttl_ms, expires_at_ms are integers > 0")
    hold = {
        "lease_id": lease_id, "resource": resource,
        "agent_id": event.agent_id, "session_id": event.session_id, "writer": event.writer,
        "fence": fence, "ttl_ms": ttl_ms, "confirmed": body.get("confirmed", "none"),
        "event_id": event.event_id, "acquired_at_ms": event.time_ms,
        "expires_at_ms": expires_at_ms,
    }  # fmt: skip
    hold.update({key: body[key] for key in ("shared", "nonce") if key in body})
    return hold


def runs(hold: Hold, at_ms: int, grace_ms: int = 0) -> bool:
    """Whether a hold still runs; at expires_at_ms itself it is over."""
    return bool(at_ms < hold["expires_at_ms"] + grace_ms)


def is_confirmed(hold: Hold) -> bool:
    """Whether the git remote's compare-and-swap decided this hold."""
    return bool(hold["confirmed"] == "remote")


def same_holder(hold: Hold, wanted: Hold, take_over: bool = False) -> bool:
    """Whether both are one agent's, in one session or taken over from another."""
    if hold["agent_id"] != wanted["agent_id"]:
        return False
    return take_over or bool(hold["session_id"] == wanted["session_id"])


def is_holder(hold: Hold, event: Event) -> bool:
    """Whether an event comes from who holds this, in the session that took it."""
    theirs = event.agent_id, event.session_id
    return bool((hold["agent_id"], hold["session_id"]) == theirs)


def acquire(
    domain: Domain, event: Event, conflict: Conflict = always
) -> tuple[Domain, Problem | None]:
    """Judge an acquire at its own time.

    conflict: whether two holds of this domain exclude each other.
    Returns the domain after it, and the problem `held` when it was refused; a
    refused acquire still counts for the fence and stays in `refused` until its time
    is over, for its holder was promised the host (DESIGN §8, rule 3).
    """
    wanted = hold_from(event)
    if isinstance(wanted, Problem):
        return domain, wanted
    rivals = _rivals(domain["holds"], wanted, event, conflict)
    refused = [h for h in domain["refused"] if runs(h, event.time_ms)]
    fence = max(domain["fence"], wanted["fence"])
    if rivals:
        judged = {"holds": domain["holds"], "refused": [*refused, wanted], "fence": fence}
        return judged, Problem(event.event_id, "held", held_text(rivals[0]))
    kept = [h for h in domain["holds"] if not conflict(h, wanted)]
    return {"holds": [*kept, wanted], "refused": refused, "fence": fence}, None


def _rivals(
    holds: Sequence[Hold], wanted: Hold, event: Event, conflict: Conflict
) -> Sequence[Hold]:
    against = [h for h in holds if conflict(h, wanted)]
    if is_confirmed(wanted):
        return [h for h in against if is_confirmed(h) and h["fence"] >= wanted["fence"]]
    take_over = event.body.get("take_over") is True
    return [h for h in against if runs(h, event.time_ms) and not same_holder(h, wanted, take_over)]


def held_text(hold: Hold) -> str:
    """The one sentence that names a holder."""
    kind, _, name = hold["resource"].partition(":")
    what = f"{name} is claimed" if kind == "work" else f"{hold['resource']} is held"
    session = f" in session {hold['session_id']}" if hold["session_id"] else ""
    until = units.show_instant(hold["expires_at_ms"])
    return f"{what} by {hold['agent_id']}{session} until {until} (fence {hold['fence']})"


def holding(domain: Domain, lease_id: object) -> Hold | None:
    """The granted hold of this lease_id, expired or not; None when there is none."""
    for hold in domain["holds"]:
        if hold["lease_id"] == lease_id:
            found: Hold = hold
            return found
    return None


def renew(domain: Domain, event: Event) -> Domain | Problem:
    """Prolong the hold that the event names, by its holder, while it runs."""
    hold = holding(domain, event.refs.get("lease_id"))
    if hold is None or not is_holder(hold, event):
        return Problem(event.event_id, "not_held", f"{event.agent_id} does not hold this lease")
    if not runs(hold, event.time_ms):
        return Problem(event.event_id, "not_held", f"the hold of {event.agent_id} was over")
    ttl_ms = event.body.get("ttl_ms", hold["ttl_ms"])
    until = event.body.get("expires_at_ms", event.time_ms + hold["ttl_ms"])
    if not (is_integer(ttl_ms, least=1) and is_integer(until, least=1)):
        return Problem(event.event_id, "bad_data", "ttl_ms and expires_at_ms are integers")
    return _replaced(domain, hold, {**hold, "ttl_ms": ttl_ms, "expires_at_ms": until})


def touch(domain: Domain, event: Event) -> Domain:
    """Renew the advisory hold that any event of its holder names; else change nothing."""
    hold = holding(domain, event.refs.get("lease_id"))
    if hold is None or is_confirmed(hold) or not is_holder(hold, event):
        return domain
    until = event.time_ms + hold["ttl_ms"]
    if not runs(hold, event.time_ms) or until <= hold["expires_at_ms"]:
        return domain
    return _replaced(domain, hold, {**hold, "expires_at_ms": until})


def release(domain: Domain, lease_id: object) -> Domain:
    """End the hold, or the refused acquire, of this lease_id."""
    return {
        "holds": [h for h in domain["holds"] if h["lease_id"] != lease_id],
        "refused": [h for h in domain["refused"] if h["lease_id"] != lease_id],
        "fence": domain["fence"],
    }


def _replaced(domain: Domain, old: Hold, new: Hold) -> Domain:
    return {**domain, "holds": [new if h is old else h for h in domain["holds"]]}


def standing_in_way(
    domain: Domain,
    wanted: Hold,
    now_ms: int,
    *,
    is_ours: Callable[[Hold], bool],
    skew_ms: int,
    take_over: bool = False,
    conflict: Conflict = always,
) -> Hold | None:
    """What forbids asking for a hold here and now, beyond what the fold would refuse.

    is_ours: whether a hold was acquired in this store.
    skew_ms: how much longer than its expiry another store's hold is respected,
        because its clock may be slower than ours.
    An acquire that this store granted and the fold has since refused still counts
    until it is over: its holder was promised the host.
    """
    for hold in (*domain["holds"], *domain["refused"]):
        grace_ms = 0 if is_ours(hold) else skew_ms
        if hold in domain["refused"] and not is_ours(hold):
            continue
        if same_holder(hold, wanted, take_over) or not conflict(hold, wanted):
            continue
        if runs(hold, now_ms, grace_ms):
            found: Hold = hold
            return found
    return None
