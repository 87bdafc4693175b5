"""Whether an event may be written here and now: the fold's answer, and more.

A write is first folded into the state as it stands; what the fold would call a
problem is refused. Then come the rules that only hold where and when one writes,
for which every replica need not agree: what another host's clock may still hold,
what this host has promised, whether the items named exist, whether needs would go
round in a circle. `ev emit` and the tools' own verbs pass through here alike.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from coord.core import arbiter, event, fold, settings
from coord.core.event import Event
from coord.core.lease import domain as leases
from coord.core.msg import mail
from coord.core.problem import Problem, State, World
from coord.core.run import life, ready, steps
from coord.core.run.around import Around
from coord.core.wk import parts, view

MINUTE_MS = 60_000
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
    rule = RULES.get(written.type)
    return after, (rule(written, state, here) if rule else None) or _loss(written, state, here)


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
        is_end = written.type in _ENDS_OF_RUNS or steps.tells_an_end(written)
        is_lifted = written.type == "agent.resumed" and written.agent_id.startswith("human:")
        return not (is_end or is_lifted)
    return problem.code in ("exists", "key_reused")


def _claim(written: Event, state: State, here: Here) -> Problem | None:
    return _way(written, parts.domain_of(state), here) or _readiness(written, state, here)


def _acceptance(written: Event, state: State, here: Here) -> Problem | None:
    """The sender's own hold is no obstacle; what this host promised others is."""
    return _way(written, parts.freed(state), here)


def _lease(written: Event, state: State, here: Here) -> Problem | None:
    hold = leases.in_way(written, state, here)
    if hold is not None:
        return Problem(written.event_id, "held", arbiter.held_text(hold))
    return _fence(written, leases.domain_in(state), here)


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
    return _fence(written, domain, here)


def _fence(written: Event, domain: arbiter.Domain, here: Here) -> Problem | None:
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


def _renewal(written: Event, state: State, here: Here) -> Problem | None:
    return _confirmed_anew(written, parts.domain_of(state), here)


def _lease_renewal(written: Event, state: State, here: Here) -> Problem | None:
    return _confirmed_anew(written, leases.domain_in(state), here)


def _run_renewal(written: Event, state: State, here: Here) -> Problem | None:
    if state["status"] == life.SCHEDULED:
        return None
    return _confirmed_anew(written, life.domain_in(state), here)


def _confirmed_anew(written: Event, domain: arbiter.Domain, here: Here) -> Problem | None:
    hold = arbiter.holding(domain, written.refs["lease_id"])
    assert hold is not None, "the fold has accepted it"
    if not arbiter.is_confirmed(hold) or here.has_won(written.body["nonce"]):
        return None
    text = "a confirmed hold is renewed through the remote that confirmed it"
    return Problem(written.event_id, "not_allowed", text)


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


def _message(written: Event, _state: State, here: Here) -> Problem | None:
    """The brakes on loops; reminders have their own, for each rule sends only so many."""
    if written.agent_id == mail.REMINDER:
        return None
    parent = here.state(f"msg/{written.refs.get('reply_to')}")
    hops = parent.get("hops", 0)
    if written.body.get("auto") is True and hops >= mail.MAX_HOPS:
        text = f"{hops} automatic replies in a row led to {parent['message_id']}: the chain stops"
        return Problem(written.event_id, "hops", text)
    if written.body.get("auto") is True and written.body.get("hops") != hops + 1:
        text = f"hops is not {hops + 1}, one above that of what it answers"
        return Problem(written.event_id, "bad_data", text)
    cap = settings.in_force(here, "msg.rate_per_minute", written.event_id)
    if here.sent_since(written.agent_id, written.time_ms - MINUTE_MS) >= cap:
        text = f"{written.agent_id} has sent {cap} messages within a minute, which is its cap"
        return Problem(written.event_id, "rate", text)
    return None


def _request(written: Event, _state: State, here: Here) -> Problem | None:
    for one in written.body.get("after", ()):
        if not here.state(f"run/{one['run_id']}"):
            return Problem(written.event_id, "unknown_run", f"no run {one['run_id']} is known")
    return None


def _run(written: Event, state: State, here: Here) -> Problem | None:
    """A run is executed in the store that asked for it: only there the kernel says who lives.

    Where it may be executed anywhere, in the store that won its claim at the remote.
    """
    run_id = state["run_id"]
    if life.is_anywhere(state) != (written.body.get("confirmed") == "remote"):
        text = f"{run_id} is claimed by way of the git remote if any clone may execute it, else not"
        return Problem(written.event_id, "not_allowed", text)
    if not life.is_anywhere(state) and state["spec"].get("store") != here.home:
        text = f"{run_id} was requested in another store, which executes it"
        return Problem(written.event_id, "not_allowed", text)
    attempt = life.open_attempt(state)
    if attempt is not None:
        text = f"attempt {attempt['attempt']} of {run_id} has not ended"
        return Problem(written.event_id, "held", text)
    verdict = ready.judge(state, written.time_ms, Around(here))
    if verdict.what != ready.START:
        text = f"{run_id} cannot start: {verdict.reasons[0].text}"
        return Problem(written.event_id, "not_ready", text)
    return _fence(written, life.domain_in(state), here)


RULES: Mapping[str, Rule] = {
    "run.requested": _request,
    "run.claimed": _run,
    "run.renewed": _run_renewal,
    "msg.sent": _message,
    "work.claimed": _claim,
    "work.accepted": _acceptance,
    "work.renewed": _renewal,
    "lease.acquire": _lease,
    "lease.renew": _lease_renewal,
    "work.linked": _link,
    "work.held": _hold,
}
