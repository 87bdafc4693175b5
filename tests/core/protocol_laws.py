"""What the model of the protocol reckons with: facts, their real folds, and the laws.

A fact stands for one real event. What is known somewhere is a set of facts, written as a
bit mask, so that a state of the model is small and its fold is reckoned once.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

from coord.core import arbiter, fold, judging, record
from coord.core import event as events
from coord.core.event import Event
from coord.core.problem import Problem
from coord.core.record import Record
from coord.core.wk import parts
from tests.strategies import START_MS, bytes_of, created, work

ITEM, DOMAIN, ENTITY = "wk-a", "work:wk-a", "work/wk-a"
TICK_MS = 60_000
TTL = 2
TTL_MS = TTL * TICK_MS
SKEW_MS = 10_000
LATE_MS = START_MS + 10**9
ACQUIRED = "claimed"


class Fact(NamedTuple):
    """One event of the item, and the clone in whose store it was written."""

    event_id: str
    verb: str
    agent: str
    clone: int
    lease: str
    fence: int = 0
    until_ms: int = 0
    nonce: str = ""


class Violation(AssertionError):
    """An invariant that does not hold."""


class Laws:
    """All facts there are, the folds of sets of them, and what has to hold of each fold."""

    def __init__(self) -> None:
        self._facts: list[Fact] = []
        self._bits: dict[Fact, int] = {}
        self._folded: dict[int, fold.Folded] = {}
        self._visible: dict[tuple[int, int], int] = {}
        self._lawful: set[int] = set()
        self._judged: dict[tuple[Fact, int, int, str], Problem | None] = {}

    def facts(self, mask: int) -> list[Fact]:
        """The facts of a mask, in order of event_id."""
        found = [fact for n, fact in enumerate(self._facts) if mask >> n & 1]
        return sorted(found)

    def bit(self, fact: Fact) -> int:
        """The mask of one fact."""
        if fact not in self._bits:
            self._bits[fact] = 1 << len(self._facts)
            self._facts.append(fact)
        return self._bits[fact]

    def folded(self, mask: int) -> fold.Folded:
        """The real fold of some facts."""
        if mask not in self._folded:
            self._folded[mask] = fold.fold(map(event_of, [CREATED, *self.facts(mask)]), LATE_MS)
        return self._folded[mask]

    def visible(self, mask: int, wall_ms: int) -> int:
        """The facts that are not quarantined at this wall clock."""
        if (mask, wall_ms) not in self._visible:
            horizon = events.horizon(wall_ms)
            near = [self.bit(f) for f in self.facts(mask) if f.event_id < horizon]
            self._visible[mask, wall_ms] = sum(near)
        return self._visible[mask, wall_ms]

    def problem(self, fact: Fact, known: "Here", won: str = "") -> Problem | None:
        """Why a clone may not write an event now, None when it may."""
        key = fact, known.mask, known.wall_ms, won
        if key not in self._judged:
            known.won = won
            self._judged[key] = judging.judge(event_of(fact), known)[1]
        return self._judged[key]

    def check(self, mask: int) -> None:
        """What holds of the fold of any events."""
        if not mask or mask in self._lawful:
            return
        facts, folded = self.facts(mask), self.folded(mask)
        state = folded.states[ENTITY]
        refused = {p.event_id: p for p in folded.problems}
        confirmed = [f for f in facts if f.nonce and f.verb == ACQUIRED]
        for fact in confirmed:
            if fact.event_id in refused:
                raise Violation(f"a confirmed acquire is refused: {refused[fact.event_id]}")
        if sorted({f.fence for f in confirmed}) != [f.fence for f in confirmed]:
            raise Violation(f"confirmed fences in another order than ids: {confirmed}")
        self._check_told(facts, state)
        self._check_tiers(facts, state)
        self._lawful.add(mask)

    def _check_told(self, facts: Sequence[Fact], state: dict[str, Any]) -> None:
        """An acknowledged hold is good until it is over or given back, or remembered as lost."""
        now_ms = events.time_of(facts[-1].event_id)
        domain = parts.domain_of(state)
        for promised, until_ms in promises(facts):
            later = [f for f in facts if f > promised and f.verb == ACQUIRED]
            if now_ms >= until_ms or any(f.agent == promised.agent for f in later):
                continue
            held = arbiter.holding(domain, promised.lease)
            kept = held or arbiter.promise(domain, promised.lease)
            if kept is None or kept["expires_at_ms"] < until_ms:
                raise Violation(f"forgotten: {promised} was told until {until_ms}, not {kept}")

    def _check_tiers(self, facts: Sequence[Fact], state: dict[str, Any]) -> None:
        """Nothing but a confirmed acquire ends a confirmed hold, whatever arrives when."""
        world, folding = Here(self, 0, 0, LATE_MS), {}
        for fact in [CREATED, *facts]:
            before = folding.get("claim")
            folding, _ = fold.advance(ENTITY, folding, event_of(fact), world)
            if before is None or not arbiter.is_confirmed(before):
                continue
            if before["lease_id"] in (fact.lease, folding.get("claim", {}).get("lease_id")):
                continue
            is_running = arbiter.runs(before, events.time_of(fact.event_id))
            if is_running and not (fact.nonce and fact.fence > before["fence"]):
                raise Violation(f"a confirmed hold yields to {fact}")
        again = [event_of(f)._replace(writer="agent-zed.zzzzzz") for f in [*facts[::-1], CREATED]]
        turned = fold.fold(again, LATE_MS).states[ENTITY]
        if not bytes_of(turned) == bytes_of(state) == bytes_of(folding):
            raise Violation("the order in which events arrive, or who wrote them, changes the fold")


class Here:
    """What one clone judges by, as `judging.Here` asks it."""

    skew_ms = SKEW_MS

    def __init__(self, laws: Laws, clone: int, mask: int, wall_ms: int) -> None:
        self.laws, self.clone, self.mask, self.wall_ms = laws, clone, mask, wall_ms
        facts = laws.facts(mask)
        self.newest = facts[-1].event_id if facts else CREATED.event_id
        self.now_ms = max(wall_ms, events.time_of(self.newest))
        self.ours = {fact.event_id for fact in facts if fact.clone == clone}
        self.folding = laws.folded(mask).states[ENTITY]
        self.domain = parts.domain_of(self.folding)
        # The claim as it stands in the state, and if it runs.
        self.stands = self.folding.get("claim")
        is_over = not self.stands or not arbiter.runs(self.stands, self.now_ms)
        self.claim = None if is_over else self.stands
        self.won = ""

    def minted(self, after_id: str = "") -> str:
        """The id of what would be written now, past another one."""
        newest = max(self.newest, after_id)
        return events.next_id(newest, self.wall_ms, bytes([self.clone + 1]) * 16)

    def state(self, entity: str) -> dict[str, Any]:
        """The folded state of the item; nothing else is known."""
        return dict(self.folding) if entity == ENTITY else {}

    def keyed(self, _event: Event) -> Sequence[Event]:
        """Nobody uses keys."""
        return ()

    def is_open(self, _work_id: str) -> bool | None:
        """Nothing needs anything."""
        return None

    def needs_of(self, _work_id: str) -> Sequence[str]:
        """Nothing needs anything."""
        return ()

    def is_ours(self, hold: arbiter.Hold) -> bool:
        """Whether it was written in this store."""
        return hold["event_id"] in self.ours

    def has_won(self, nonce: object) -> bool:
        """Whether this process swapped the record with this nonce."""
        return nonce == self.won

    def sent_since(self, _agent_id: str, _since_ms: int) -> int:
        """Nobody sends messages."""
        return 0


CREATED = Fact(events.encode_id(START_MS - 1, 0), "created", "ada", 0, "")


@cache
def event_of(fact: Fact) -> Event:
    """The real event that a fact stands for."""
    at = events.time_of(fact.event_id) - START_MS
    if fact.verb == "created":
        made = created(ITEM, at)
    else:
        body: dict[str, Any] = {}
        if fact.verb == ACQUIRED:
            body = {"fence": fact.fence, "confirmed": "remote" if fact.nonce else "host"}
        if fact.until_ms:
            body |= {"ttl_ms": TTL_MS, "expires_at_ms": fact.until_ms}
        if fact.nonce:
            body["nonce"] = fact.nonce
        refs = {"resource": DOMAIN}
        made = work(fact.verb, at, fact.agent, ITEM, lease=fact.lease, refs=refs, **body)
    return made._replace(event_id=fact.event_id, raw={**made.raw, "event_id": fact.event_id})


def promises(facts: Sequence[Fact]) -> Iterator[tuple[Fact, int]]:
    """Every acquire that was not given back, and until when its holder was told to have it."""
    released = {fact.lease for fact in facts if fact.verb == "released"}
    for fact in facts:
        if fact.verb == ACQUIRED and fact.lease not in released:
            yield fact, max(f.until_ms for f in facts if f.lease == fact.lease)


@cache
def parsed(text: str) -> Record | None:
    """The record that stands on the remote."""
    if not text:
        return None
    found = record.parse(text.encode(), DOMAIN)
    assert found is not None, text
    return found
