"""The fold of one domain of resources (DESIGN §8), by the arbiter: who holds what.

    acquire   the arbiter; a pool: while fewer than its places are taken
    renew     prolongs the hold of that lease_id, by its holder, while it runs
    release   by its holder: ends the hold, or the acquire that was refused
    break     by a person or the owner of the holding agent: ends it, says why
    others    any event of the holder that names the lease prolongs an advisory hold

Two holds conflict unless both are shared; of `path:` also only where some path matches
both globs. Somebody who holds `src/**` and asks for `src/a.py` has both then; who asks
for the same resource again has the new hold alone; what a command holds (`exec`) stands
beside that. In a pool every acquire takes a place
of its own; where holders say different sizes, the smallest counts.

Holds that are over stay to be seen for `KEPT_MS`.
"""

import functools
from collections.abc import Mapping
from typing import Any, Protocol

from coord.core import arbiter, globs, registry, resource
from coord.core.arbiter import Conflict, Domain, Hold
from coord.core.event import Event
from coord.core.problem import NOTE, Patch, Problem, State, World
from coord.core.resource import Resource

KEPT_MS = 24 * 3_600_000
# What of an acquire the hold says besides what the arbiter needs.
_TOLD = ("why", "ignorecase", "exec")
_NOT_DOMAIN = ("domain", "last")


class Here(Protocol):
    """What is known where an acquire is written."""

    def is_ours(self, hold: Hold) -> bool:
        """Whether a hold was acquired in this store."""

    @property
    def skew_ms(self) -> int:
        """How much longer than its expiry another store's hold is respected."""


def domain_in(state: Mapping[str, Any]) -> Domain:
    """The arbiter's view of a domain's state."""
    return {**arbiter.EMPTY, **{k: v for k, v in state.items() if k not in _NOT_DOMAIN}}


def named_in(event: Event) -> Resource | None:
    """The resource that an event is about, None when it cannot be leased."""
    found = resource.read(event.refs["resource"])
    return found if found and found.kind != resource.WORK else None


def conflict(one: Hold, other: Hold, ignorecase: bool = False, is_exec: bool = False) -> bool:
    """Whether two holds of a domain exclude each other, or one replaces the other.

    ignorecase, is_exec: what the one that is asked for says, which is not in it yet.
    """
    ours = (one["agent_id"], one["session_id"]) == (other["agent_id"], other["session_id"])
    of_command = is_exec or one.get("exec") is True or other.get("exec") is True
    if one["resource"] == other["resource"] and ours and not of_command:
        return True
    if ours or (one.get("shared") is True and other.get("shared") is True):
        return False
    return meet(one, other["resource"], ignorecase)


def meet(hold: Hold, wanted: str, ignorecase: bool = False) -> bool:
    """Whether a hold's resource and another of its domain are partly the same."""
    path = f"{resource.PATH}:"
    if not (hold["resource"].startswith(path) and wanted.startswith(path)):
        return True
    either = ignorecase or hold.get("ignorecase") is True
    return globs.overlap(hold["resource"][len(path) :], wanted[len(path) :], either)


def _conflict_of(event: Event) -> Conflict:
    said = event.body
    return functools.partial(
        conflict, ignorecase=said.get("ignorecase") is True, is_exec=said.get("exec") is True
    )


def _acquired(state: State, event: Event, _world: World) -> Patch | Problem:
    named = named_in(event)
    if named is None:
        return Problem(event.event_id, "bad_data", "refs.resource is none that can be leased")
    if named.places > 1 and event.body.get("shared") is True:
        return Problem(event.event_id, "bad_data", f"{named} is a pool and cannot be shared")
    domain = _pruned(domain_in(state), event.time_ms)
    if _is_pool(domain, named):
        after, problem = _taken_place(domain, event, named)
    else:
        after, problem = arbiter.acquire(domain, event, _conflict_of(event))
    if problem is not None and problem.code == "bad_data":
        return problem
    patch = {**after, "domain": named.domain}
    for tier in ("holds", "refused"):
        patch[tier] = [_told(hold, event) for hold in after[tier]]
    return {**patch, NOTE: problem} if problem else patch


def _told(hold: Hold, event: Event) -> Hold:
    """The hold with what else its acquire says; any other as it is."""
    if hold["event_id"] != event.event_id:
        return hold
    told = {name: event.body[name] for name in _TOLD if name in event.body}
    if isinstance(event.refs.get("work_id"), str):
        told["work_id"] = event.refs["work_id"]
    return {**hold, **told}


def _pruned(domain: Domain, at_ms: int) -> Domain:
    """The domain without the holds that were over long ago: they would pile up."""
    kept = [hold for hold in domain["holds"] if arbiter.runs(hold, at_ms, KEPT_MS)]
    return {**domain, "holds": kept}


def _is_pool(domain: Domain, named: Resource) -> bool:
    if named.is_path:
        return False
    return named.places > 1 or any(places_of(hold) > 1 for hold in domain["holds"])


def places_of(hold: Hold) -> int:
    """How many places the pool of a hold has; 1 for what is no pool."""
    return resource.places_of(hold["resource"])


def _taken_place(domain: Domain, event: Event, named: Resource) -> tuple[Domain, Problem | None]:
    """Judge an acquire in a pool: who holds a place is a rival, whoever it is."""
    wanted = arbiter.hold_from(event)
    if isinstance(wanted, Problem):
        return domain, wanted
    if event.body.get("take_over") is True:
        left = [hold for hold in domain["holds"] if not _of_another_session(hold, wanted)]
        domain = {**domain, "holds": left}
    against = [hold for hold in domain["holds"] if _takes_place(hold, wanted, event.time_ms)]
    places = min([named.places, *map(places_of, against)])
    if len(against) >= places and not arbiter.is_confirmed(wanted):
        problem = Problem(event.event_id, "held", arbiter.held_text(against[0]))
        return arbiter.refuse(domain, event), problem
    after, refusal = arbiter.acquire(domain, event, _never)
    return _fitting(after, against, len(against) + 1 - places), refusal


def _of_another_session(hold: Hold, wanted: Hold) -> bool:
    same = hold["agent_id"] == wanted["agent_id"]
    return same and bool(hold["session_id"] != wanted["session_id"])


def _takes_place(hold: Hold, wanted: Hold, at_ms: int, grace_ms: int = 0) -> bool:
    both_shared = hold.get("shared") is True and wanted.get("shared") is True
    return not both_shared and arbiter.runs(hold, at_ms, grace_ms)


def _never(_one: Hold, _other: Hold) -> bool:
    return False


def _fitting(after: Domain, against: list[Hold], too_many: int) -> Domain:
    """The pool once a confirmed acquire has its place: the newest advisory hold goes
    first, then the oldest confirmed one; they are promises from then on."""
    if too_many <= 0:
        return after
    advisory = [hold for hold in against if not arbiter.is_confirmed(hold)]
    confirmed = [hold for hold in against if arbiter.is_confirmed(hold)]
    ended = [*advisory[::-1], *confirmed][:too_many]
    kept = [hold for hold in after["holds"] if hold not in ended]
    return {**after, "holds": kept, "refused": [*after["refused"], *ended]}


def _renewed(state: State, event: Event, _world: World) -> Patch | Problem:
    before = domain_in(state)
    after, problem = arbiter.renew(before, event)
    if problem is None:
        return after
    return problem if after is before else {**after, NOTE: problem}


def _released(state: State, event: Event, _world: World) -> Patch | Problem:
    hold = any_of(state, event.refs.get("lease_id"))
    if hold is None:
        return Problem(event.event_id, "not_held", f"{event.refs['resource']}: no such lease")
    if not arbiter.is_holder(hold, event):
        return Problem(event.event_id, "not_allowed", arbiter.held_text(hold))
    return arbiter.release(domain_in(state), hold["lease_id"])


def _broken(state: State, event: Event, world: World) -> Patch | Problem:
    hold = any_of(state, event.refs.get("lease_id"))
    if hold is None:
        return Problem(event.event_id, "not_held", f"{event.refs['resource']}: no such lease")
    owner = registry.owner_of(world, hold["agent_id"], event.event_id)
    if not (registry.is_human(event.agent_id) or event.agent_id == owner):
        text = f"{arbiter.held_text(hold)}; only a person or its owner may break that"
        return Problem(event.event_id, "not_allowed", text)
    return arbiter.release(domain_in(state), hold["lease_id"])


def any_of(state: Mapping[str, Any], lease_id: object) -> Hold | None:
    """The hold of a lease_id, granted or refused, over or not."""
    for hold in (*state.get("holds", ()), *state.get("refused", ())):
        if hold["lease_id"] == lease_id:
            found: Hold = hold
            return found
    return None


def otherwise(state: State, event: Event, _world: World) -> Patch:
    """Any other event that names a lease: its holder's prolongs it."""
    before = domain_in(state)
    after = arbiter.touch(before, event)
    return {} if after is before else after


STEPS = {
    "lease.acquire": _acquired,
    "lease.renew": _renewed,
    "lease.release": _released,
    "lease.break": _broken,
}


def in_way(written: Event, state: State, here: Here) -> Hold | None:
    """What forbids to grant an acquire here and now, beyond what the fold would refuse."""
    wanted, named = arbiter.hold_from(written), named_in(written)
    assert not isinstance(wanted, Problem), "the fold has accepted it"
    assert named is not None, "the fold has accepted it"
    domain, take_over = domain_in(state), written.body.get("take_over") is True
    if not _is_pool(domain, named):
        return arbiter.standing_in_way(
            domain, wanted, written.time_ms, is_ours=here.is_ours, skew_ms=here.skew_ms,
            take_over=take_over, conflict=_conflict_of(written),
        )  # fmt: skip
    promises = [hold for hold in domain["refused"] if here.is_ours(hold)]
    standing = [
        hold
        for hold in (*domain["holds"], *promises)
        if _takes_place(
            hold,
            wanted,
            written.time_ms,
            arbiter.grace_ms(hold, wanted, here.is_ours, here.skew_ms),
        )
        if not (take_over and _of_another_session(hold, wanted))
    ]
    places = min([named.places, *map(places_of, standing)])
    return standing[0] if len(standing) >= places else None


def own_in_way(state: State, wanted: Hold, at_ms: int, ignorecase: bool) -> Hold | None:
    """The running hold of another command of the same holder, for a command.

    Commands that run at once under one name are each somebody else to the other.
    """
    for hold in state.get("holds", ()):
        ours = arbiter.same_holder(hold, wanted) and hold.get("exec") is True
        if (
            ours
            and _takes_place(hold, wanted, at_ms)
            and meet(hold, wanted["resource"], ignorecase)
        ):
            found: Hold = hold
            return found
    return None
