"""Who holds what: the one arbiter of claims, leases and runs (DESIGN §8).

A *domain* is {"holds": […], "refused": […], "fence": n, "confirmed_fence": n}: the
holds that were granted and not given back, the *promises* (below), the largest fence
known, and the largest that a confirmed acquire was granted with (absent while there
is none). Moves come in order of event_id.

    confirmed acquire   good if its fence is above every confirmed one granted so far;
                        ends every conflicting hold, of either tier
    advisory acquire    good if at its time no conflicting hold runs but its own
                        holder's advisory ones, which it replaces
    renew               the hold of that lease_id, by its holder, while it runs
    release             ends the hold of that lease_id

A *promise*, in `refused`, is an acquire that is not good, or not any more, although
its time is not over: one that was refused, or a hold that a confirmed acquire ended.
Whoever wrote it was told otherwise, so the store it was written in keeps its word
until the promise is over or given back, and its holder can be told `lost`.

The *holder* is an agent in one session; another session of the same agent is
somebody else until it says `take_over`. A hold runs while time < expires_at_ms. Which
clone holds a line is no part of a hold: the same event may stand in two journals.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core import units
from coord.core.event import Event, is_integer
from coord.core.problem import Problem

Hold = Mapping[str, Any]
Domain = Mapping[str, Any]
Conflict = Callable[[Hold, Hold], bool]

# Confirmed fences are multiples of it: between two there is room for those of hosts.
CONFIRMED_STEP = 1_000_000
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
        "agent_id": event.agent_id, "session_id": event.session_id,
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


def confirmed_in(state: Mapping[str, Any]) -> dict[str, Hold]:
    """The confirmed holds of an entity's state, a work item's or a domain's, by lease."""
    claim = state.get("claim")
    holds = [claim] if claim else state.get("holds", ())
    return {hold["lease_id"]: hold for hold in holds if is_confirmed(hold)}


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
    Returns the domain after it, and the problem when it was refused, `held` if by
    another hold; a refused acquire still counts for the fence and is a promise.
    """
    wanted = hold_from(event)
    if isinstance(wanted, Problem):
        return domain, wanted
    ended = [h for h in domain["holds"] if conflict(h, wanted)]
    problem = _refusal(domain, wanted, event, ended)
    if problem is not None:
        return refuse(domain, event), problem
    take_over = event.body.get("take_over") is True
    kept = [h for h in domain["holds"] if h not in ended] if ended else domain["holds"]
    lost = [h for h in ended if not same_holder(h, wanted, take_over)]
    after = {
        **domain,
        "holds": [*kept, wanted],
        "refused": _running([*domain["refused"], *lost], event),
        "fence": max(domain["fence"], wanted["fence"]),
    }
    return ({**after, "confirmed_fence": wanted["fence"]} if is_confirmed(wanted) else after), None


def refuse(domain: Domain, event: Event) -> Domain:
    """The domain after an acquire that is refused, for whatever reason."""
    wanted = hold_from(event)
    if isinstance(wanted, Problem):
        return domain
    refused = _running([*domain["refused"], wanted], event)
    return {**domain, "refused": refused, "fence": max(domain["fence"], wanted["fence"])}


def _running(holds: Sequence[Hold], event: Event) -> list[Hold]:
    return [h for h in holds if runs(h, event.time_ms)]


def _refusal(domain: Domain, wanted: Hold, event: Event, against: Sequence[Hold]) -> Problem | None:
    if is_confirmed(wanted):
        return _confirmed_refusal(domain, wanted, event, against)
    take_over = event.body.get("take_over") is True
    for hold in _running(against, event):
        # Not even its own holder replaces what the remote confirmed by what it did not.
        if is_confirmed(hold) or not same_holder(hold, wanted, take_over):
            return Problem(event.event_id, "held", held_text(hold))
    return None


def _confirmed_refusal(
    domain: Domain, wanted: Hold, event: Event, against: Sequence[Hold]
) -> Problem | None:
    """Refuse an acquire whose interval is empty, for such a one ends nothing."""
    if not runs(wanted, event.time_ms):
        return Problem(event.event_id, "not_held", "its time was over before it was recorded")
    largest = domain.get("confirmed_fence", 0)
    if wanted["fence"] > largest:
        return None
    for hold in _running([h for h in against if is_confirmed(h)], event):
        return Problem(event.event_id, "held", held_text(hold))
    text = f"{wanted['resource']}: fence {wanted['fence']} is not above {largest}, confirmed before"
    return Problem(event.event_id, "held", text)


def held_text(hold: Hold) -> str:
    """The one sentence that names a holder."""
    kind, _, name = hold["resource"].partition(":")
    what = f"{name} is claimed" if kind == "work" else f"{hold['resource']} is held"
    session = f" in session {hold['session_id']}" if hold["session_id"] else ""
    until = units.show_instant(hold["expires_at_ms"])
    return f"{what} by {hold['agent_id']}{session} until {until} (fence {hold['fence']})"


def holding(domain: Domain, lease_id: object) -> Hold | None:
    """The granted hold of this lease_id, expired or not; None when there is none."""
    return _of_lease(domain["holds"], lease_id)


def promise(domain: Domain, lease_id: object) -> Hold | None:
    """The promise of this lease_id; None when there is none."""
    return _of_lease(domain["refused"], lease_id)


def _of_lease(holds: Sequence[Hold], lease_id: object) -> Hold | None:
    return next((hold for hold in holds if hold["lease_id"] == lease_id), None)


def renew(domain: Domain, event: Event) -> tuple[Domain, Problem | None]:
    """Prolong the hold that the event names, by its holder, while it runs.

    A confirmed one is renewed by the remote: the event has the nonce of its record.
    A promise is prolonged too, though the renewal is refused: its holder did not know
    of the loss and was told the longer time.
    """
    lease_id = event.refs.get("lease_id")
    lost = promise(domain, lease_id)
    hold = holding(domain, lease_id) or lost
    if hold is None or not is_holder(hold, event):
        text = f"{event.agent_id} does not hold this lease"
        return domain, Problem(event.event_id, "not_held", text)
    if not runs(hold, event.time_ms):
        text = f"the hold of {event.agent_id} was over"
        return domain, Problem(event.event_id, "not_held", text)
    new = _renewed(hold, event)
    if isinstance(new, Problem):
        return domain, new
    if hold is lost:
        text = f"{event.agent_id} has lost this lease"
        return _replaced(domain, hold, new), Problem(event.event_id, "not_held", text)
    return _replaced(domain, hold, new), None


def _renewed(hold: Hold, event: Event) -> Hold | Problem:
    ttl_ms = event.body.get("ttl_ms", hold["ttl_ms"])
    until = event.body.get("expires_at_ms", event.time_ms + hold["ttl_ms"])
    if not (is_integer(ttl_ms, least=1) and is_integer(until, least=1)):
        return Problem(event.event_id, "bad_data", "ttl_ms and expires_at_ms are integers")
    new = {**hold, "ttl_ms": ttl_ms, "expires_at_ms": until}
    if not is_confirmed(hold):
        return new
    nonce = event.body.get("nonce")
    if not isinstance(nonce, str):
        text = "a confirmed hold is renewed through the remote that confirmed it"
        return Problem(event.event_id, "not_allowed", text)
    return {**new, "nonce": nonce}


def touch(domain: Domain, event: Event) -> Domain:
    """Renew the advisory hold, or promise, that any event of its holder names."""
    lease_id = event.refs.get("lease_id")
    hold = holding(domain, lease_id) or promise(domain, lease_id)
    if hold is None or is_confirmed(hold) or not is_holder(hold, event):
        return domain
    until = event.time_ms + hold["ttl_ms"]
    if not runs(hold, event.time_ms) or until <= hold["expires_at_ms"]:
        return domain
    return _replaced(domain, hold, {**hold, "expires_at_ms": until})


def release(domain: Domain, lease_id: object) -> Domain:
    """End the hold, or the promise, of this lease_id."""
    return {
        **domain,
        "holds": [h for h in domain["holds"] if h["lease_id"] != lease_id],
        "refused": [h for h in domain["refused"] if h["lease_id"] != lease_id],
    }


def _replaced(domain: Domain, old: Hold, new: Hold) -> Domain:
    kept = {part: [new if h is old else h for h in domain[part]] for part in ("holds", "refused")}
    return {**domain, **kept}


def grace_ms(hold: Hold, wanted: Hold, is_ours: Callable[[Hold], bool], skew_ms: int) -> int:
    """How much longer than its expiry a hold is respected by whoever asks for another one.

    is_ours, skew_ms: see `standing_in_way`.
    """
    is_exact = is_ours(hold) or (is_confirmed(hold) and is_confirmed(wanted))
    return 0 if is_exact else skew_ms


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
        because its clock may be slower than ours. Between two confirmed holds the
        record on the remote decides that, by watching instead of by clocks.
    A promise of this store still counts until it is over.
    """
    promises = [h for h in domain["refused"] if is_ours(h)]
    for hold in (*domain["holds"], *promises):
        if same_holder(hold, wanted, take_over) or not conflict(hold, wanted):
            continue
        if runs(hold, now_ms, grace_ms(hold, wanted, is_ours, skew_ms)):
            found: Hold = hold
            return found
    return None
