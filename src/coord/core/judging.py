"""Whether an event may be written here and now: the fold's answer, and more.

A write is first folded into the state as it stands; what the fold would call a
problem is refused. Then come the rules that only hold where and when one writes,
for which every replica need not agree: what another host's clock may still hold,
what this host has promised, whether the items named exist, whether needs would go
round in a circle. `ev emit` and the tools' own verbs pass through here alike.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from coord.core import arbiter, event, fold
from coord.core.event import Event
from coord.core.problem import Problem, State, World
from coord.core.wk import parts, view

EXCLUSIVE = frozenset({"work.claimed", "work.accepted", "lease.acquire", "run.claimed"})


class Here(World, Protocol):
    """What may be read when judging a write."""

    def is_open(self, work_id: str) -> bool | None:
        """Whether an item is still to be done; None when it is not known."""

    def needs_of(self, work_id: str) -> Iterable[str]:
        """The items that an item needs."""

    def is_ours(self, hold: arbiter.Hold) -> bool:
        """Whether a hold was acquired in this store."""

    @property
    def skew_ms(self) -> int:
        """How much longer than its expiry another store's hold is respected."""


Rule = Callable[[Event, State, Here], Problem | None]


def judge(written: Event, here: Here) -> tuple[State, Problem | None]:
    """Judge a write against what is known here.

    Returns the state of its entity after it, and why it is refused, or None.
    """
    entity = event.entity_of(written.raw)
    if not entity:
        return {}, fold.pause_problem(written, here)
    state = here.state(entity)
    after, problems = fold.advance(entity, state, written, here)
    for problem in problems:
        if not problem.stands or _is_refused_here(problem, written):
            return state, problem
    if written.type.startswith("work.") and "held" in {p.code for p in problems}:
        return state, problems[-1]
    rule = RULES.get(written.type)
    return after, rule(written, state, here) if rule else None


def _is_refused_here(problem: Problem, written: Event) -> bool:
    """Marks that the fold lets stand, for they may come from elsewhere, but a writer not."""
    if problem.code == "paused":
        return not (written.type == "agent.resumed" and written.agent_id.startswith("human:"))
    return problem.code in ("exists", "key_reused")


def _claim(written: Event, state: State, here: Here) -> Problem | None:
    return _way(written, parts.domain_of(state), here) or _readiness(written, state, here)


def _acceptance(written: Event, state: State, here: Here) -> Problem | None:
    """The sender's own hold is no obstacle; what this host promised others is."""
    return _way(written, parts.freed(state), here)


def _way(written: Event, domain: arbiter.Domain, here: Here) -> Problem | None:
    """Whether this host may grant it, and its fence is the next."""
    wanted = arbiter.hold_from(written)
    assert not isinstance(wanted, Problem), "the fold has accepted it"
    hold = arbiter.standing_in_way(
        domain,
        wanted,
        written.time_ms,
        is_ours=here.is_ours,
        skew_ms=here.skew_ms,
        take_over=written.body.get("take_over") is True,
    )
    if hold is not None:
        return Problem(written.event_id, "held", arbiter.held_text(hold))
    return _fence(written, domain)


def _fence(written: Event, domain: arbiter.Domain) -> Problem | None:
    if written.body.get("confirmed") == "remote":
        text = "a hold is confirmed by the remote that decided it, not by whoever says so"
        return Problem(written.event_id, "not_allowed", text)
    fence, largest = written.body["fence"], domain["fence"]
    if fence == largest + 1:
        return None
    text = f"fence {fence} is not the one above {largest}, the largest known"
    return Problem(written.event_id, "fenced", text)


def _readiness(written: Event, state: State, here: Here) -> Problem | None:
    if written.body.get("anyway") is True:
        return None
    if view.is_deferred(state, written.time_ms):
        return Problem(written.event_id, "not_ready", f"{state['work_id']} is deferred")
    needs = view.open_needs(state, here.is_open)
    if needs:
        text = f"{state['work_id']} needs {', '.join(needs)}, which is not closed"
        return Problem(written.event_id, "not_ready", text)
    if view.open_waits(state, written.time_ms, here.is_open):
        [reason, *_] = view.reasons({**state, "status": "open"}, written.time_ms, here.is_open)
        return Problem(written.event_id, "not_ready", f"{state['work_id']} {reason}")
    return None


def _link(written: Event, state: State, here: Here) -> Problem | None:
    kind, target = written.body["kind"], written.body["target"]
    # An import states what another tool accepted: links into nothing, even circles.
    if "imported" in written.body or "updated_at_ms" in written.body:
        return None
    if here.is_open(target) is None:
        return Problem(written.event_id, "unknown_work", f"no work item {target} is known")
    if kind not in ("needs", "parent"):
        return None
    below: Callable[[str], Iterable[str]] = here.needs_of
    if kind == "parent":
        below = _parents_in(here)
    path = view.needs_cycle(state["work_id"], target, below)
    if path:
        word = " needs " if kind == "needs" else " is part of "
        return Problem(written.event_id, "cycle", f"that would be a circle: {word.join(path)}")
    return None


def _parents_in(here: Here) -> Callable[[str], Iterable[str]]:
    return lambda work_id: view.targets(here.state(f"work/{work_id}"), "parent")


def _hold(written: Event, state: State, here: Here) -> Problem | None:
    target = written.body.get("on", {}).get("item")
    if target is None:
        return None
    if target == state["work_id"]:
        return Problem(written.event_id, "cycle", f"{target} cannot wait for itself")
    if here.is_open(target) is None:
        return Problem(written.event_id, "unknown_work", f"no work item {target} is known")
    return None


RULES: Mapping[str, Rule] = {
    "work.claimed": _claim,
    "work.accepted": _acceptance,
    "work.linked": _link,
    "work.held": _hold,
}
