"""What lasted: claims, leases, runs, their attempts, and messages, each with its events.

    kind      begins with                      ends with
    claim     work.claimed, work.accepted      whatever takes it off the item, or its time
    lease     lease.acquire                    release, break, another's acquire, or its time
    run       run.requested                    its outcome
    attempt   run.claimed                      its outcome; its run is its parent
    message   msg.sent                         the last that a recipient did about it

An acquire that was refused lasted no time and is none of them. What goes on ends now and
is `open`. Nothing is kept: an entity's events are folded again, and what a step changed
in who holds what begins a span or ends one.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import arbiter, fold
from coord.core.arbiter import Hold
from coord.core.event import Event
from coord.core.msg import mail
from coord.core.problem import State, World
from coord.core.run import wanted

CLAIM, LEASE, RUN, ATTEMPT, MESSAGE = KINDS = "claim lease run attempt message".split()
OPEN, EXPIRED, LOST = "open expired lost".split()
NAME_CHARS = 80
# How the event that ended a hold says it ended.
_ENDED = {
    "work.released": "released", "work.closed": "closed", "work.deleted": "deleted",
    "work.accepted": "handed_off", "lease.release": "released", "lease.break": "broken",
}  # fmt: skip
Raw = Mapping[str, Any]


class Span(NamedTuple):
    """Something that lasted.

    event_id: of the event that began it, and its name everywhere.
    outcome: how it ended; `open` while it goes on.
    events: those that are part of it, in order, the one that began it first.
    parent: the event_id of the span it is a part of, "" for none.
    facts: what else is known, by name: texts, integers and lists of texts.
    """

    kind: str
    event_id: str
    name: str
    agent_id: str
    session_id: str
    start_ms: int
    end_ms: int
    outcome: str
    events: Sequence[Raw]
    parent: str
    facts: Mapping[str, Any]


def of_entity(entity: str, ordered: Sequence[Event], world: World, now_ms: int) -> list[Span]:
    """The spans of one entity, in order of the events that began them.

    ordered: all its folded events. now_ms: where what goes on ends (DESIGN §5).
    """
    read = _READ.get(family_of(entity))
    return [*read(entity, ordered, world, now_ms)] if read else []


def may_last(entity: str) -> bool:
    """Whether entities of this family have spans at all."""
    return family_of(entity) in _READ


def family_of(entity: str) -> str:
    """The first word of an entity's name."""
    return entity.partition("/")[0]


class _Lasting:
    """A hold that was granted, while its events are read."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold
        self.events: list[Raw] = []
        self.end_ms = 0
        self.outcome = OPEN

    def end(self, by: Event) -> None:
        """It is not there any more after this event, or its time was over before."""
        if not arbiter.runs(self.hold, by.time_ms):
            self.end_ms, self.outcome = self.hold["expires_at_ms"], EXPIRED
            return
        other = "replaced" if arbiter.is_holder(self.hold, by) else LOST
        self.end_ms, self.outcome = by.time_ms, _ENDED.get(by.type, other)
        self.events.append(by.raw)

    def takes(self, one: Event) -> bool:
        """Whether an event is part of it: it names the lease, or its holder works on the item."""
        if self.hold["lease_id"] == one.refs.get("lease_id"):
            return True
        is_claim = self.hold["resource"].startswith("work:")
        return (
            is_claim and arbiter.is_holder(self.hold, one) and arbiter.runs(self.hold, one.time_ms)
        )


def _holds(entity: str, ordered: Sequence[Event], world: World, now_ms: int) -> Iterator[Span]:
    """Fold step by step: a hold lasts from the event that put it there to the one that took it."""
    state: State = {}
    found: list[_Lasting] = []
    going: dict[str, _Lasting] = {}
    for one in ordered:
        state, _ = fold.advance(entity, state, one, world)
        holds = {hold["event_id"]: hold for hold in _held(state)}
        for event_id in [name for name in going if name not in holds]:
            going.pop(event_id).end(one)
        for event_id, hold in holds.items():
            if event_id not in going:
                going[event_id] = _Lasting(hold)
                found.append(going[event_id])
            lasting = going[event_id]
            lasting.hold = hold
            if lasting.takes(one):
                lasting.events.append(one.raw)
    title = state.get("title", "")
    for lasting in found:
        yield _hold_span(lasting, title, now_ms)


def _held(state: State) -> Iterable[Hold]:
    return [state["claim"]] if "claim" in state else state.get("holds", ())


def _hold_span(lasting: _Lasting, title: str, now_ms: int) -> Span:
    hold, end_ms, outcome = lasting.hold, lasting.end_ms, lasting.outcome
    if outcome == OPEN:
        is_over = not arbiter.runs(hold, now_ms)
        end_ms, outcome = (hold["expires_at_ms"], EXPIRED) if is_over else (now_ms, OPEN)
    kind, _, item = hold["resource"].partition(":")
    is_claim = kind == "work"
    work = {"work_id": item} if is_claim else _known(hold, "work_id")
    return Span(
        CLAIM if is_claim else LEASE,
        hold["event_id"],
        _named("claim", title or item) if is_claim else _named("lease", hold["resource"]),
        hold["agent_id"],
        hold["session_id"],
        hold["acquired_at_ms"],
        max(hold["acquired_at_ms"], end_ms),
        outcome,
        lasting.events,
        "",
        {**work, **_known(hold, "resource", "lease_id", "fence", "confirmed")},
    )


def _run(entity: str, ordered: Sequence[Event], world: World, now_ms: int) -> Iterator[Span]:
    state, _ = fold.fold_entity(entity, ordered, world)
    if not state:
        return
    attempts = {one["lease_id"]: one for one in state.get("attempts", ())}
    parts: dict[str, list[Event]] = {name: [] for name in ("", *attempts)}
    for one in ordered:
        if one.event_id >= state["request_event"]:
            lease_id = one.refs.get("lease_id")
            is_of = isinstance(lease_id, str) and lease_id in attempts
            parts[str(lease_id) if is_of else ""].append(one)
    request = parts[""][0]
    yield Span(
        RUN,
        state["request_event"],
        _named("run", wanted.shown(state["spec"])),
        state["requested_by"],
        request.session_id,
        state["requested_at_ms"],
        state.get("ended_at_ms", now_ms),
        state.get("outcome", OPEN),
        [one.raw for one in parts[""]],
        "",
        {**_known(request.refs, "work_id"), **_known(state, "run_id", "status", "reason")},
    )
    for lease_id, attempt in attempts.items():
        yield _attempt(state, attempt, parts[lease_id], now_ms)


def _attempt(state: State, attempt: Raw, ordered: Sequence[Event], now_ms: int) -> Span:
    claims = [one.event_id for one in ordered if one.time_ms == attempt["claimed_at_ms"]]
    about = ("lease_id", "fence", "attempt", "started_at_ms", "exit_code", "signal", "reason")
    return Span(
        ATTEMPT,
        claims[0],
        _named(f"attempt {attempt['attempt']}:", wanted.shown(state["spec"])),
        attempt["agent_id"],
        attempt["session_id"],
        attempt["claimed_at_ms"],
        attempt.get("ended_at_ms", now_ms),
        attempt.get("outcome", OPEN),
        [one.raw for one in ordered],
        state["request_event"],
        {**_known(state, "run_id"), **_known(attempt, *about)},
    )


def _message(entity: str, ordered: Sequence[Event], world: World, _now_ms: int) -> Iterator[Span]:
    state, _ = fold.fold_entity(entity, ordered, world)
    if "message_id" not in state:
        return
    receipts, everybody = state["receipts"], mail.recipients(state)
    said_ms = [
        known[name]
        for known in receipts.values()
        for name in ("read_at_ms", "acked_at_ms")
        if name in known
    ]
    unread = [name for name in everybody if "read_at_ms" not in receipts.get(name, {})]
    text = state.get("subject") or state.get("text")
    about = ("thread_id", "work_id", "run_id", "reply_to", "importance")
    yield Span(
        MESSAGE,
        state["message_id"],
        _named("message", text if isinstance(text, str) else state["thread_id"]),
        state["from"],
        state.get("session_id", ""),
        state["sent_at_ms"],
        max([state["sent_at_ms"], *said_ms]),
        "unread" if unread else "read",
        [one.raw for one in ordered if one.event_id >= state["message_id"]],
        "",
        {**_known(state, *about), "to": everybody, **({"unread_by": unread} if unread else {})},
    )


def _known(said: Raw, *names: str) -> dict[str, Any]:
    """What is said of these, as far as it is a text or an integer."""
    found = {name: said[name] for name in names if name in said}
    return {name: value for name, value in found.items() if isinstance(value, str | int)}


def _named(kind: str, text: str) -> str:
    line = " ".join(text.split())
    cut = line if len(line) <= NAME_CHARS else f"{line[: NAME_CHARS - 1]}…"
    return f"{kind} {cut}".rstrip()


_READ: Mapping[str, Callable[[str, Sequence[Event], World, int], Iterator[Span]]] = {
    "work": _holds, "lease": _holds, "run": _run, "msg": _message,
}  # fmt: skip
