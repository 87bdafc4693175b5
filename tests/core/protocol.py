"""The protocol of confirmed holds as a model: every interleaving of a few clones' steps.

The model moves clones, the remote and time; what a step decides comes from the real
functions: `core.judging` and the fold judge every event, `core.record` every record. An
acquirer goes through phases, and anything may happen between two of them:

    pull     take in what the remote has
    read     read the record, judge both tiers, look at the boot-time clock
    swap     replace the record, if it is still the one that was read
    append   judge again under the store's lock, and append; else give the record back

One confirming process of a clone runs at a time (the sync's lock); hosts' acquires and
releases need the store's lock alone, so they come between. Whoever crashes leaves a note
that a swap was under way; the next process settles by what the clone's events say.

Time is in ticks. A clone's wall clock is the real time plus its skew, its boot-time clock
counts real ticks. A confirmed holder believes until the boot-time clock before its swap
plus the TTL, and being told that it was lost does not count: exclusion rests on no message.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from coord.core import arbiter, record
from coord.core import event as events
from coord.core.record import Record
from tests.core.protocol_laws import (
    ACQUIRED,
    DOMAIN,
    TICK_MS,
    TTL,
    TTL_MS,
    Fact,
    Here,
    Laws,
    Violation,
    parsed,
    promises,
)
from tests.strategies import START_MS


class Flight(NamedTuple):
    """A confirming process between two steps.

    text: the record that it will swap in. is_fresh: the record is still the one it has
    read. before: the boot-time clock before the swap.
    """

    agent: str
    is_renewal: bool
    phase: str
    is_fresh: bool = True
    text: str = ""
    before: int = 0
    after_id: str = ""
    hold: tuple[tuple[str, Any], ...] = ()


class Clone(NamedTuple):
    """What one clone knows: facts as a bit mask, since when the record is as it is (or -1)."""

    facts: int
    seen: int = -1
    flight: Flight | None = None
    has_note: bool = False


class Belief(NamedTuple):
    """Somebody who acts as the confirmed holder until a real instant."""

    agent: str
    clone: int
    lease: str
    until: int


class State(NamedTuple):
    """Everything at one instant.

    hub: what the remote has; text: the record there. pushes: what those have sent who
    crashed, not yet arrived, if the record is still the one they mean to replace. left:
    how often each move may still be made.
    """

    now: int
    clones: tuple[Clone, ...]
    hub: int = 0
    text: str = ""
    beliefs: frozenset[Belief] = frozenset()
    pushes: frozenset[str] = frozenset()
    left: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rules:
    """The guards of the protocol; a mutation switches one off."""

    watches: bool = True
    judges_again: bool = True
    heeds_floor: bool = True
    one_at_a_time: bool = True
    puts_back: bool = True


@dataclass(frozen=True)
class Setting:
    """Who may do what, how often: the bounds of an exploration.

    agents: name to the number of its clone. moves: how often each move may be made, by
    `agent verb` (confirm, host, renew) or by `crash` and `late`.
    """

    agents: dict[str, int]
    moves: dict[str, int]
    ticks: int
    skews: tuple[int, ...] = (0, 0, 0)
    rules: Rules = field(default_factory=Rules)


class Model:
    """One exploration: successors of a state, with every invariant checked on the way."""

    def __init__(self, setting: Setting) -> None:
        self.setting, self.rules = setting, setting.rules
        self.laws = Laws()
        self._known: dict[tuple[int, int, int], Here] = {}
        self._settled_so: dict[tuple[int, int, int, str], str] = {}
        self._moves = {move: place for place, move in enumerate(setting.moves)}

    def start(self) -> State:
        """Everybody knows of the item, and nobody has it."""
        clones = tuple(Clone(0) for _ in self.setting.skews)
        return State(0, clones, left=tuple(self.setting.moves.values()))

    def left(self, state: State, move: str) -> int:
        """How often a move may still be made."""
        place = self._moves.get(move)
        return 0 if place is None else state.left[place]

    def spent(self, state: State, move: str) -> State:
        """The state with one move less."""
        place = self._moves[move]
        fewer = state.left[place] - 1
        return state._replace(left=(*state.left[:place], fewer, *state.left[place + 1 :]))

    def wall_ms(self, state: State, clone: int) -> int:
        """A clone's wall clock."""
        return START_MS + (state.now + self.setting.skews[clone]) * TICK_MS

    def known(self, state: State, clone: int) -> Here:
        """What a clone judges by."""
        facts = state.clones[clone].facts
        key = clone, facts, state.now
        if key not in self._known:
            wall_ms = self.wall_ms(state, clone)
            self._known[key] = Here(self.laws, clone, self.laws.visible(facts, wall_ms), wall_ms)
        return self._known[key]

    # Every step that may come next.

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Every step of everybody: what happens, and the state after it."""
        for agent, clone in self.setting.agents.items():
            yield from self._starts(state, agent, clone)
            yield from self._hosts(state, agent, clone)
            yield from self._releases(state, agent, clone)
        for clone in range(len(state.clones)):
            yield from self._flies(state, clone)
            yield from self._settles(state, clone)
            yield from self._syncs(state, clone)
        yield from self._lands(state)
        if state.now < self.setting.ticks:
            yield "tick", ticked(state)

    def _starts(self, state: State, agent: str, clone: int) -> Iterator[tuple[str, State]]:
        """A process begins to confirm: it has pulled."""
        here = state.clones[clone]
        if here.flight is not None or here.has_note:
            return
        for verb in ("confirm", "renew"):
            holds = self._confirmed_of(state, agent, clone) is not None
            if holds == (verb == "renew") and self.left(state, f"{agent} {verb}"):
                flight = Flight(agent, verb == "renew", "read")
                pulled = here._replace(facts=here.facts | state.hub, flight=flight)
                yield f"{agent} pulls", put(self.spent(state, f"{agent} {verb}"), clone, pulled)

    def _confirmed_of(self, state: State, agent: str, clone: int) -> arbiter.Hold | None:
        claim = self.known(state, clone).claim
        if claim is None or not arbiter.is_confirmed(claim):
            return None
        believes = any(b.agent == agent and b.lease == claim["lease_id"] for b in state.beliefs)
        return claim if believes else None

    def _flies(self, state: State, clone: int) -> Iterator[tuple[str, State]]:
        here = state.clones[clone]
        flight = here.flight
        if flight is None:
            return
        step = {
            "read": self._read, "swap": self._swap, "append": self._append, "back": self._swap_back,
        }[flight.phase]  # fmt: skip
        yield f"{flight.agent} {flight.phase}s", step(state, clone, flight)
        if self.left(state, "crash"):
            crashed = put(self.spent(state, "crash"), clone, here._replace(flight=None))
            yield f"{flight.agent} crashes", crashed
            if flight.phase == "swap" and flight.is_fresh and self.left(state, "late"):
                pushes = crashed.pushes | {flight.text}
                late = self.spent(crashed, "late")._replace(pushes=pushes)
                yield f"{flight.agent} crashes, its push on the way", late

    def _read(self, state: State, clone: int, flight: Flight) -> State:
        """Read the record and judge: who may not have it learns so, the others go on."""
        state = self._looked(state, clone)
        here, known = state.clones[clone], self.known(state, clone)
        found = parsed(state.text)
        wanted = self._wanted(state, clone, flight, known)
        watched_ms = (state.now - here.seen) * TICK_MS if self.rules.watches else TTL_MS
        judged = record.judge(found, wanted, lambda _: watched_ms)
        past = judged.ran_out
        is_late = found is not None and record.is_ahead(found, known.wall_ms, past)
        if judged.in_way is not None or is_late:
            return put(state, clone, here._replace(flight=None))
        after_id = record.floor_id(found, past) if found and self.rules.heeds_floor else ""
        hold = {**wanted, "fence": wanted["fence"] or record.next_fence(
            known.domain["fence"], found.fence if found else 0)}  # fmt: skip
        hold["expires_at_ms"] = events.time_of(known.minted(after_id)) + TTL_MS
        after = record.with_hold(found, DOMAIN, hold, known.newest, judged.gone)
        flight = flight._replace(
            phase="swap", is_fresh=True, text=record.as_text(after), before=state.now,
            after_id=after_id, hold=tuple(sorted(hold.items())),
        )  # fmt: skip
        if self._judged(state, clone, flight)[1] is not None:
            return put(state, clone, here._replace(flight=None))
        return put(state, clone, here._replace(flight=flight, has_note=True))

    def _wanted(self, state: State, clone: int, flight: Flight, known: Here) -> dict[str, Any]:
        turns = [self.left(state, f"{flight.agent} {verb}") for verb in ("confirm", "renew")]
        wanted = {
            "resource": DOMAIN, "lease_id": f"lease-{flight.agent}{turns[0]}", "fence": 0,
            "agent_id": f"agent:{flight.agent}", "session_id": "", "ttl_ms": TTL_MS,
            "writer": writer_of(flight.agent, clone), "nonce": f"{flight.agent}-{turns}",
        }  # fmt: skip
        if flight.is_renewal and known.claim is not None:
            wanted |= {name: known.claim[name] for name in ("lease_id", "fence")}
        return wanted

    def _looked(self, state: State, clone: int) -> State:
        """A clone notes since when the record is as it is."""
        here = state.clones[clone]
        return put(state, clone, here._replace(seen=state.now)) if here.seen < 0 else state

    def _swapped(self, state: State, text: str) -> State:
        """The remote's record is replaced: whoever has read the old one comes too late."""
        clones = [
            c._replace(seen=-1, flight=c.flight and c.flight._replace(is_fresh=False))
            for c in state.clones
        ]
        return state._replace(text=text, clones=tuple(clones), pushes=frozenset())

    def _swap(self, state: State, clone: int, flight: Flight) -> State:
        here = state.clones[clone]
        if not flight.is_fresh:
            return put(state, clone, here._replace(flight=None, has_note=False))
        state = self._swapped(state, flight.text)
        won = here._replace(seen=state.now, flight=flight._replace(phase="append", text=""))
        return put(state, clone, won)

    def _judged(self, state: State, clone: int, flight: Flight) -> tuple[Fact, Any]:
        """The event that would be appended now, and why not."""
        known, hold = self.known(state, clone), dict(flight.hold)
        verb = "renewed" if flight.is_renewal else ACQUIRED
        fact = Fact(
            known.minted(flight.after_id), verb, flight.agent, clone, hold["lease_id"],
            hold["fence"], hold["expires_at_ms"], hold["nonce"],
        )  # fmt: skip
        return fact, self.laws.problem(fact, known, won=hold["nonce"])

    def _append(self, state: State, clone: int, flight: Flight) -> State:
        """Judge again and append while the boot-time clock allows; else give back."""
        fact, problem = self._judged(state, clone, flight)
        is_late = state.now >= flight.before + TTL
        if is_late or (problem is not None and self.rules.judges_again):
            return self._given_back(state, clone, flight)
        here = state.clones[clone]
        done = here._replace(flight=None, has_note=False)
        belief = Belief(flight.agent, clone, fact.lease, flight.before + TTL)
        return self._appended(put(state, clone, done), fact, belief)

    def _given_back(self, state: State, clone: int, flight: Flight) -> State:
        here = state.clones[clone]
        back = Flight(flight.agent, False, "back")
        return put(state, clone, here._replace(flight=back))

    # What was left behind.

    def _settles(self, state: State, clone: int) -> Iterator[tuple[str, State]]:
        """The next process of the clone gives back what is won and not held."""
        here = state.clones[clone]
        is_free = here.flight is None
        if here.has_note and is_free:
            flight = Flight(f"settler {clone}", False, "back")
            yield f"{clone} begins to settle", put(state, clone, here._replace(flight=flight))
        if here.flight is not None and here.has_note and not self.rules.one_at_a_time:
            text = self._settled(state, clone)
            if text != state.text:
                yield f"{clone} settles meanwhile", self._swapped(state, text)

    def _swap_back(self, state: State, clone: int, flight: Flight) -> State:
        """Swap in the record without what is ours and not held, as read a step before."""
        here = state.clones[clone]
        text = flight.text or self._settled(state, clone)
        if not flight.text and text != state.text:
            # Read and swap are two steps: somebody may come between.
            read = flight._replace(text=text, is_fresh=True)
            return put(state, clone, here._replace(flight=read))
        if not flight.text:
            return put(state, clone, here._replace(flight=None, has_note=False))
        if not flight.is_fresh:
            return put(state, clone, here._replace(flight=flight._replace(text="")))
        done = here._replace(seen=state.now, flight=None, has_note=False)
        return put(self._swapped(state, text), clone, done)

    def _settled(self, state: State, clone: int) -> str:
        """The record without what this clone has in it and does not hold."""
        key = clone, state.clones[clone].facts, state.now, state.text
        if key not in self._settled_so:
            known, found = self.known(state, clone), parsed(state.text)
            self._settled_so[key] = self._without_ours(clone, known, found) if found else ""
        return self._settled_so[key]

    def _without_ours(self, clone: int, known: Here, found: Record) -> str:
        writers = {writer_of(a, c) for a, c in self.setting.agents.items() if c == clone}
        nonces = {fact.nonce for fact in self.laws.facts(known.mask) if fact.nonce}
        orphans, stands, after = record.orphans(found, writers, nonces), known.stands, found
        for hold in found.holds:
            if hold["writer"] not in writers or (stands and stands.get("nonce") == hold["nonce"]):
                continue
            after = record.without(after, {hold["nonce"]}, known.newest)
            is_renewal = known.claim is not None and known.claim["lease_id"] == hold["lease_id"]
            if hold in orphans and is_renewal and self.rules.puts_back:
                back = {**known.claim, "writer": hold["writer"]}
                after = record.with_hold(after, DOMAIN, back, known.newest)
        return record.as_text(after)

    def _lands(self, state: State) -> Iterator[tuple[str, State]]:
        """A push of somebody who is gone arrives."""
        for push in state.pushes:
            yield "a late push lands", self._swapped(state, push)

    # What needs no remote.

    def _hosts(self, state: State, agent: str, clone: int) -> Iterator[tuple[str, State]]:
        """An advisory acquire, or a renewal of one."""
        known = self.known(state, clone)
        if self.left(state, f"{agent} host"):
            lease = f"host-{agent}{self.left(state, f'{agent} host')}"
            fence = known.domain["fence"] + 1
            fact = Fact(known.minted(), ACQUIRED, agent, clone, lease, fence)
            yield from self._writes(state, f"{agent} host", f"{agent} acquires", fact)
        claim = known.claim
        is_own = claim is not None and claim["agent_id"] == f"agent:{agent}"
        if claim is not None and is_own and self.left(state, f"{agent} prolong"):
            fact = Fact(known.minted(), "renewed", agent, clone, claim["lease_id"])
            if not arbiter.is_confirmed(claim):
                yield from self._writes(state, f"{agent} prolong", f"{agent} prolongs", fact)

    def _writes(
        self, state: State, move: str, label: str, fact: Fact
    ) -> Iterator[tuple[str, State]]:
        fact = fact._replace(until_ms=events.time_of(fact.event_id) + TTL_MS)
        if self.laws.problem(fact, self.known(state, fact.clone)) is None:
            yield label, self._appended(self.spent(state, move), fact)

    def _releases(self, state: State, agent: str, clone: int) -> Iterator[tuple[str, State]]:
        """A holder gives back; the record follows when it can, as the note says."""
        known = self.known(state, clone)
        claim = known.claim
        if (
            claim is None
            or claim["agent_id"] != f"agent:{agent}"
            or not self.left(state, "release")
        ):
            return
        fact = Fact(known.minted(), "released", agent, clone, claim["lease_id"])
        if self.laws.problem(fact, known) is not None:
            return
        state = self._appended(self.spent(state, "release"), fact)
        live = frozenset(b for b in state.beliefs if b.lease != fact.lease)
        here = state.clones[clone]
        has_note = here.has_note or arbiter.is_confirmed(claim)
        noted = put(state._replace(beliefs=live), clone, here._replace(has_note=has_note))
        yield f"{agent} releases", noted

    def _syncs(self, state: State, clone: int) -> Iterator[tuple[str, State]]:
        here = state.clones[clone]
        both = here.facts | state.hub
        has_news = both != here.facts or both != state.hub or (state.text and here.seen < 0)
        if here.flight is not None or not has_news:
            return
        self.laws.check(both)
        synced = put(state._replace(hub=both), clone, here._replace(facts=both))
        yield f"{clone} syncs", self._looked(synced, clone)

    def _appended(self, state: State, fact: Fact, belief: Belief | None = None) -> State:
        """The state with one more event, which has to keep every invariant."""
        self._check_promises(state, fact)
        everything = state.hub
        for clone in state.clones:
            everything |= clone.facts
        if belief is not None:
            self._check_confirmed(state, fact, belief, everything)
            rest = frozenset(b for b in state.beliefs if b.lease != belief.lease)
            state = state._replace(beliefs=rest | {belief})
        bit, here = self.laws.bit(fact), state.clones[fact.clone]
        self.laws.check(everything | bit)
        self.laws.check(here.facts | bit)
        return put(state, fact.clone, here._replace(facts=here.facts | bit))

    # The invariants.

    def _check_confirmed(self, state: State, fact: Fact, belief: Belief, everything: int) -> None:
        others = [b for b in state.beliefs if b.until > state.now and b.agent != belief.agent]
        if others:
            raise Violation(f"two believe that the remote confirmed them: {belief}, {others}")
        fences = [f.fence for f in self.laws.facts(everything) if f.nonce and f.verb == ACQUIRED]
        if fact.verb == ACQUIRED and fact.fence <= max(fences, default=0):
            raise Violation(f"a confirmed fence does not grow: {fact.fence} after {fences}")

    def _check_promises(self, state: State, fact: Fact) -> None:
        """On one host nobody gets what somebody else was promised there."""
        if fact.verb != ACQUIRED:
            return
        here = [f for f in self.laws.facts(state.clones[fact.clone].facts) if f.clone == fact.clone]
        for promised, until_ms in promises(here):
            if promised.agent != fact.agent and events.time_of(fact.event_id) < until_ms:
                raise Violation(f"a host promised to two: {promised} and {fact}")


def writer_of(agent: str, clone: int) -> str:
    """The name under which an agent writes on a clone."""
    return f"agent-{agent}.{'abc'[clone] * 6}"


def ticked(state: State) -> State:
    """Time goes on. To have watched for longer than the TTL is no different."""
    now = state.now + 1
    live = frozenset(belief for belief in state.beliefs if belief.until > now)
    seen = [-1 if c.seen < 0 else max(c.seen, now - TTL) for c in state.clones]
    clones = [clone._replace(seen=at) for clone, at in zip(state.clones, seen, strict=True)]
    return state._replace(now=now, beliefs=live, clones=tuple(clones))


def put(state: State, number: int, clone: Clone) -> State:
    """The state with one clone replaced."""
    clones = (*state.clones[:number], clone, *state.clones[number + 1 :])
    return state._replace(clones=clones)


class Found(NamedTuple):
    """How an exploration ended: what it saw, and the shortest way to a violation."""

    states: int
    steps: int
    violation: str = ""
    trace: tuple[str, ...] = ()


def explore(setting: Setting) -> Found:
    """Every state that can be reached, breadth first, each once; stops at a violation."""
    model = Model(setting)
    start = model.start()
    came: dict[State, tuple[State, str] | None] = {start: None}
    queue, steps = deque([start]), 0
    while queue:
        state = queue.popleft()
        try:
            for label, after in model.successors(state):
                steps += 1
                if after not in came:
                    came[after] = state, label
                    queue.append(after)
        except Violation as violation:
            return Found(len(came), steps, str(violation), (*_way_to(came, state), "…"))
    return Found(len(came), steps)


def _way_to(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    labels: list[str] = []
    step = came[state]
    while step is not None:
        labels.append(step[1])
        step = came[step[0]]
    return labels[::-1]
