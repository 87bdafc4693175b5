"""Whether an event may be written here and now: the fold's answer, and more.

A write is first folded into the state as it stands; what the fold would call a
problem is refused. Then come the rules that only hold where and when one writes,
for which every replica need not agree: what another host's clock may still hold,
what this host has promised, whether the items named exist, whether needs would go
round in a circle. `ev emit` and the tools' own verbs pass through here alike.

Each tool has its own rules, `core.TOOL.judging`; what several of them ask is here.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from coord.core import arbiter, event, fold
from coord.core.event import Event
from coord.core.problem import Problem, State, World

EXCLUSIVE = frozenset({"work.claimed", "work.accepted", "lease.acquire", "run.claimed"})


class Here(World, Protocol):
    """What may be read when judging a write."""

    def is_open(self, work_id: str) -> bool | None:
        """Whether an item is still to be done; None when it is not known."""

    def needs_of(self, work_id: str) -> Iterable[str]:
        """The items that an item needs."""

    def is_ours(self, hold: arbiter.Hold) -> bool:
        """Whether a hold was acquired in this store."""

    def has_won(self, nonce: object) -> bool:
        """Whether the remote's record has this nonce because this process swapped it in."""

    def sent_since(self, agent_id: str, since_ms: int) -> int:
        """How many messages an agent has sent from an instant on."""

    def taken_in(self, group: str) -> Sequence[int]:
        """The limits that the runs say which take a place in this group now."""

    @property
    def home(self) -> str:
        """What names this store."""

    @property
    def skew_ms(self) -> int:
        """How much longer than its expiry another store's hold is respected."""


# Letting go of what was lost, and asking for it again.
_FREE_OF_LOSS = frozenset({"work.released", "work.claimed", "work.accepted"})

Rule = Callable[[Event, State, Here], Problem | None]
# By the first word of a type, where its rules are: a command loads those that it needs.
_RULES: Mapping[str, str] = {
    "work": "coord.core.wk.judging",
    "msg": "coord.core.msg.judging",
    "lease": "coord.core.lease.judging",
    "run": "coord.core.run.judging",
}


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
    rule = _rules_of(written.type.partition(".")[0]).get(written.type)
    return after, (rule(written, state, here) if rule else None) or _loss(written, state, here)


@functools.cache
def _rules_of(word: str) -> Mapping[str, Rule]:
    if word not in _RULES:
        return {}
    rules: Mapping[str, Rule] = importlib.import_module(_RULES[word]).RULES
    return rules


def _loss(written: Event, state: State, here: Here) -> Problem | None:
    """Tell who goes on with what it has lost: this host had promised it, and it may not know."""
    if written.type in _FREE_OF_LOSS or not written.type.startswith(("work.", "artifact.")):
        return None
    claim = state.get("claim")
    if claim and arbiter.is_holder(claim, written):
        return None
    for hold in state.get("refused", ()):
        is_theirs = arbiter.is_holder(hold, written) and arbiter.runs(hold, written.time_ms)
        if is_theirs and here.is_ours(hold):
            now = arbiter.held_text(claim) if claim else "nobody has it now"
            text = f"{written.agent_id} has lost its claim of {state['work_id']}: {now}"
            return Problem(written.event_id, "lost", text)
    return None


# What has happened to a run is true of whomever it is told by.
_ENDS_OF_RUNS = frozenset({"run.started", "run.completed", "run.cancelled"})


def _is_refused_here(problem: Problem, written: Event) -> bool:
    """Marks that the fold lets stand, for they may come from elsewhere, but a writer not."""
    if problem.code == "paused":
        from coord.core.run import steps

        is_end = written.type in _ENDS_OF_RUNS or steps.tells_an_end(written)
        is_lifted = written.type == "agent.resumed" and written.agent_id.startswith("human:")
        return not (is_end or is_lifted)
    return problem.code in ("exists", "key_reused")


def grant_problem(written: Event, domain: arbiter.Domain, here: Here) -> Problem | None:
    """Why this host may not grant an acquire, or its fence is not the next."""
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
    return fence_problem(written, domain, here)


def fence_problem(written: Event, domain: arbiter.Domain, here: Here) -> Problem | None:
    """Why the fence of an acquire is not the next one."""
    fence, largest = written.body["fence"], domain["fence"]
    if written.body.get("confirmed") != "remote":
        if fence == largest + 1:
            return None
        text = f"fence {fence} is not the one above {largest}, the largest known"
        return Problem(written.event_id, "fenced", text)
    if not here.has_won(written.body.get("nonce")):
        text = "a hold is confirmed by the remote that decided it, not by whoever says so"
        return Problem(written.event_id, "not_allowed", text)
    if fence > largest and fence % arbiter.CONFIRMED_STEP == 0:
        return None
    text = f"fence {fence} is not a confirmed one above {largest}, the largest known"
    return Problem(written.event_id, "fenced", text)


def renewal_problem(written: Event, domain: arbiter.Domain, here: Here) -> Problem | None:
    """Why a hold may not be renewed like this: the remote confirms its own anew."""
    hold = arbiter.holding(domain, written.refs["lease_id"])
    assert hold is not None, "the fold has accepted it"
    if not arbiter.is_confirmed(hold) or here.has_won(written.body["nonce"]):
        return None
    text = "a confirmed hold is renewed through the remote that confirmed it"
    return Problem(written.event_id, "not_allowed", text)
