"""Recording: judge under the store's lock, append, and only then report.

Every write takes the store's lock, catches up, mints ids inside the lock of each
journal it appends to, has every event judged against all that was folded and
judged before it, and appends the batch with one sync per journal. Nothing is
written when one draft of a batch is refused.

What one tool alone needs is imported where it is needed: every command pays for what
stands at the top.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import arbiter, judging, registry, resource
from coord.core import event as events
from coord.core.draft import Author, Draft, event_of, scope_of
from coord.core.event import Event
from coord.core.problem import Problem, State
from coord.edge import blobs, index, journal, presence, store
from coord.edge.clock import Chance
from coord.edge.index import Index
from coord.edge.replica import Replica, home
from coord.edge.store import Place
from coord.errors import Refusal

# What takes, renews or ends a hold is not refused for its being over.
_OF_THE_HOLD = frozenset({
    "work.renewed", "work.released", "lease.renew", "lease.release", "lease.break",
    "run.renewed", "run.completed", *judging.EXCLUSIVE,
})  # fmt: skip
_WHEN_LIFTED = "it goes on when that is lifted: ev agent resume"


class Written(NamedTuple):
    """One event of a batch: its keys, and whether an earlier one already said it."""

    raw: Mapping[str, Any]
    is_duplicate: bool = False


class Settings(NamedTuple):
    """What a clone's config.yaml says that judging depends on."""

    skew_ms: int


class Desk:
    """Where drafts become events: the store is locked and its index caught up.

    It is the `Here` of `core.judging`: the index, overlaid with this batch.
    """

    def __init__(
        self, place: Place, author: Author, known: Index, now_ms: int, settings: Settings
    ) -> None:
        self.place, self.author, self.index, self.now_ms = place, author, known, now_ms
        self.skew_ms = settings.skew_ms
        self.newest = known.newest()
        self._stamp = stamp(now_ms)
        self.chance = Chance(self.newest)
        self._replica = Replica(place, known.newest_known())
        self._states: dict[str, State] = {}
        self._keys: dict[str, list[Event]] = {}
        self._appenders: dict[str, journal.Appender] = {}
        self._blobs: dict[str, bytes] = {}
        self._sent = 0
        self._locks = contextlib.ExitStack()
        self._taken: set[str] = set()
        # The nonces with which this process has swapped the remote's records.
        self.won: frozenset[str] = frozenset()
        # The confirmed holds that this batch ends: their records are still to be given back.
        self.ended: list[tuple[str, str]] = []
        self.is_written = False

    @property
    def judged_at_ms(self) -> int:
        """Now, as queries see it: never before the newest folded event."""
        newest_ms = events.time_of(self.newest) if self.newest else 0
        return max(self.now_ms, newest_ms)

    def state(self, entity: str) -> State:
        """An entity's state, with this batch's events."""
        return self._states[entity] if entity in self._states else self.index.state(entity)

    def keyed(self, event: Event) -> Sequence[Event]:
        """Events of the same key, with this batch's."""
        ours = self._keys.get(events.key_scope(event.raw), [])
        return [*self.index.keyed(event), *ours]

    def is_open(self, work_id: str) -> bool | None:
        """Whether an item is still to be done; None when it is not known."""
        state = self.state(f"work/{work_id}")
        return state["status"] != "closed" if state else None

    def needs_of(self, work_id: str) -> Iterable[str]:
        """The items that an item needs."""
        from coord.core.wk import view

        return view.targets(self.state(f"work/{work_id}"), "needs")

    def is_ours(self, hold: arbiter.Hold) -> bool:
        """Whether a hold was acquired in this store."""
        return self._is_ours(hold["event_id"])

    def _is_ours(self, event_id: str) -> bool:
        if event_id in self._taken:
            return True
        return self._replica.is_ours(event_id, self.index.writers_of(event_id))

    def has_won(self, nonce: object) -> bool:
        """Whether this process has swapped the remote's record with this nonce."""
        return nonce in self.won

    @property
    def home(self) -> str:
        """What names this store."""
        return home(self.place)

    def taken_in(self, group: str) -> Sequence[int]:
        """The limits of the runs that take a place in this group, with this batch's."""
        from coord.core.run import life
        from coord.edge.index import runs

        found = dict(runs.taken_in(self.index.connection, group))
        for entity, state in self._states.items():
            if entity.startswith("run/") and state:
                found.pop(state["run_id"], None)
                limit = life.place_in(state, group)
                if limit:
                    found[state["run_id"]] = limit
        return [*found.values()]

    def sent_since(self, agent_id: str, since_ms: int) -> int:
        """How many messages an agent has sent from an instant on, with this batch's."""
        from coord.edge.index import mail

        ours = self._sent if agent_id == self.author.agent_id else 0
        return mail.sent_since(self.index.connection, agent_id, since_ms) + ours

    def take(self, draft: Draft) -> Written:
        """Judge one draft and take it into the batch; raises the refusal otherwise."""
        if events.is_too_deep(draft.body):
            text = f"the body has more than {events.MAX_DEPTH} objects and lists in one another"
            raise Refusal("bad_data", text)
        earlier = self._said_before(draft)
        if earlier is not None:
            return earlier
        if draft.type in judging.EXCLUSIVE:
            self._refuse_early_clock(draft)
        appender = self._appender(events.journal_of(draft.type))
        event_id = self._mint(appender)
        raw, event = event_of(draft, self.author, event_id, self._stamp, appender.writer)
        before = arbiter.confirmed_in(self.state(events.entity_of(raw)))
        if draft.refs.get("lease_id") in before and draft.type not in _OF_THE_HOLD:
            self._refuse_over(draft.refs["lease_id"])
        after, problem = judging.judge(event, self)
        if problem is not None:
            raise self._refusal(problem, event)
        placed = appender.add(raw)
        if placed is None:
            placed, after = self._fitted(appender, raw, event)
        self.newest = event_id
        self._taken.add(event_id)
        if before:
            self._note_ended(before, arbiter.confirmed_in(after), after)
        entity = events.entity_of(raw)
        if entity:
            self._states[entity] = after
        self._sent += raw["type"] == "msg.sent"
        if event.key:
            again = event._replace(raw=placed)
            self._keys.setdefault(events.key_scope(raw), []).append(again)
        return Written(placed)

    def _fitted(
        self, appender: journal.Appender, raw: Mapping[str, Any], event: Event
    ) -> tuple[dict[str, Any], State]:
        """Take an event with its long texts kept apart, as written and the state after it.

        Refused where it would have no effect then: not every text may stand elsewhere, and
        what is acknowledged counts.
        """
        short = blobs.fitted(raw, self._blobs)
        after, problem = judging.judge(event._replace(body=short["body"], raw=short), self)
        placed = appender.add(short) if problem is None else None
        if placed is None:
            raise _too_large(raw)
        return placed, after

    def _refuse_over(self, lease_id: str) -> None:
        """Refuse what a confirmed hold no longer allows: other clones wait on their own clocks."""
        from coord.edge.sync import kept

        if kept.is_over_here(self.place.local, lease_id):
            text = "the confirmed hold is over: its time has passed here, or this machine restarted"
            raise Refusal("not_held", text, "renew it: wk renew", lease_id=lease_id)

    def go_past(self, event_id: str) -> None:
        """Let the next event's id be larger than this one."""
        self.newest = max(self.newest, event_id)

    def _note_ended(
        self, before: Mapping[str, Any], after: Mapping[str, Any], state: State
    ) -> None:
        from coord.core.run import groups, life

        for lease_id in before.keys() - after.keys():
            hold = before[lease_id]
            # Nobody claims a run that is done: its record may say what it likes.
            if state.get("status") != life.DONE:
                self.ended.append((resource.domain_of(hold["resource"]), hold["nonce"]))
            beside = groups.domain_of(state["spec"]) if "spec" in state else ""
            if beside:
                self.ended.append((beside, hold["nonce"]))

    def _said_before(self, draft: Draft) -> Written | None:
        if not draft.key:
            return None
        scope = scope_of(draft, self.author)
        earlier = [*self.index.by_key(scope), *(e.raw for e in self._keys.get(scope, []))]
        if not earlier:
            return None
        first = {**earlier[0], "writer": earlier[0].get("writer", "")}
        raw, _ = event_of(draft, self.author, first["event_id"], first.get("ts", ""), "")
        again = events.from_raw({**raw, "writer": ""})
        if events.says_the_same(events.from_raw(first), again):
            self._refuse_if_lost(events.from_raw(first))
            return Written(earlier[0], is_duplicate=True)
        raise Refusal(
            "key_reused",
            f"key {draft.key!r} already stands for {earlier[0]['event_id']}, with other content",
            "use another key for another request",
            event_id=earlier[0]["event_id"],
        )

    def _refuse_if_lost(self, first: Event) -> None:
        """A retry must not be told that it holds what somebody else holds by now."""
        if first.type not in judging.EXCLUSIVE:
            return
        if first.type == "lease.acquire":
            self._refuse_if_leased(first)
            return
        work_id = first.refs.get("work_id", "")
        state = self.state(f"work/{work_id}")
        held = state.get("claim")
        if held is None or held["lease_id"] == first.refs.get("lease_id"):
            return
        if arbiter.runs(held, self.judged_at_ms):
            hint, facts = _holder_facts(
                self.state(f"work/{first.refs['work_id']}"), held["resource"]
            )
            raise Refusal("held", arbiter.held_text(held), hint, **facts)

    def _refuse_if_leased(self, first: Event) -> None:
        from coord.core.lease import domain as leases

        state = self.state(events.entity_of(first.raw))
        if arbiter.holding(leases.domain_in(state), first.refs["lease_id"]) is not None:
            return
        hold = leases.in_way(first, state, self)
        if hold is not None and arbiter.runs(hold, self.judged_at_ms):
            hint, facts = _lease_holder(hold)
            raise Refusal("held", arbiter.held_text(hold), hint, **facts)

    def said_with(self, key: str) -> list[Written]:
        """What this agent has written under a key, of whatever type."""
        if not key:
            return []
        found = self.index.by_agent_key(self.author.agent_id, key)
        return [Written(raw, is_duplicate=True) for raw in found]

    def refuse_paused(self) -> None:
        """Refuse at once who may not write, whatever there would be to write."""
        pause = registry.pause_of(self, self.author.agent_id, "~")
        if pause is not None:
            text = f"{self.author.agent_id} was paused by {pause['by']}: {pause['why']}"
            raise Refusal("paused", text, _WHEN_LIFTED, paused_by=pause["by"])

    def _refuse_early_clock(self, draft: Draft) -> None:
        """Refuse to judge what an event of our own from the future may yet decide."""
        horizon = events.horizon(self.now_ms)
        entity = events.entity_of({"type": draft.type, "refs": draft.refs})
        for raw in self.index.early_of(entity, horizon):
            if self._is_ours(raw["event_id"]):
                about = entity.partition("/")[2]
                raise Refusal(
                    "clock",
                    f"this store has written {raw['event_id']} about {about}, which lies more"
                    " than 5 minutes ahead of the clock",
                    "set the clock right, take another item, or wait until that time has come",
                )

    def _appender(self, tool: str) -> journal.Appender:
        if tool not in self._appenders:
            self._locks.enter_context(store.locked(os.path.join(self.place.store, tool)))
            self._appenders[tool] = self._opened(tool)
        return self._appenders[tool]

    def _opened(self, tool: str) -> journal.Appender:
        """This clone's journal; under a new replica if it does not end as it should."""
        for _ in range(2):
            writer = self._replica.writer(self.author.agent_id, self.chance)
            appender = journal.Appender(self.place.store, tool, writer)
            tip = appender.tip
            expected = self.index.tip(tool, writer)
            goes_on = (tip.seq, tip.digest) == (expected.seq, expected.digest)
            as_written = self._replica.ended_as_written(f"{tool}/{writer}", tip.seq, tip.digest)
            if goes_on and as_written and tip.event_id < events.horizon(self.now_ms):
                if self._replica.is_committed(f"{tool}/{writer}"):
                    appender.begin_segment()
                return appender
            self._replica.renew(self.chance)
        raise AssertionError("a new replica has no journal yet")

    def _mint(self, appender: journal.Appender) -> str:
        newest = max(self.newest, appender.tip.event_id)
        return events.next_id(newest, self.now_ms, self.chance.draw(16))

    def _refusal(self, problem: Problem, event: Event) -> Refusal:
        hint, facts = _next_step(problem, event, self)
        return Refusal(problem.code, problem.message, hint, **facts)

    def write(self) -> None:
        """Append the batch; every journal is on disk when this returns."""
        self.is_written = True
        blobs.store(self.place.store, self._blobs)
        for tool, appender in self._appenders.items():
            self._replica.begins(f"{tool}/{appender.writer}")
            appender.write()
            self._replica.wrote(f"{tool}/{appender.writer}", appender.tip.seq, appender.tip.digest)
        presence.beat(self.place.local, self.author, self.now_ms)

    def keep(self, data: bytes) -> dict[str, Any]:
        """Keep bytes as a blob, written with the batch: {sha256, body_bytes}."""
        return blobs.noted(data, self._blobs)

    def close(self) -> None:
        """Let the journals' locks go."""
        self._locks.close()


def _next_step(problem: Problem, event: Event, desk: Desk) -> tuple[str, dict[str, Any]]:
    """The hint and the facts that go with a refused write."""
    work_id = event.refs.get("work_id", "")
    if problem.code == "paused":
        pause = registry.pause_of(desk, event.agent_id, "~") or {}
        return _WHEN_LIFTED, {"paused_by": pause.get("by")}
    if event.type.startswith("lease."):
        return _lease_step(problem, event, desk)
    if problem.code in ("held", "fenced"):
        hint, facts = _holder_facts(desk.state(f"work/{work_id}"), work_id)
        told = f"until then it is theirs; wk comment {work_id} tells them something"
        return hint if event.type in judging.EXCLUSIVE else told, facts
    if problem.code == "lost":
        return f"let it go: wk release {work_id}", {"work_id": work_id}
    if problem.code == "not_held":
        return f"wk claim {work_id}", {"work_id": work_id}
    if problem.code == "hops":
        return "somebody should look at it; a reply without --auto begins anew", {}
    if problem.code == "rate":
        return "wait a minute, or a person may: ev config set msg.rate_per_minute N", {}
    if problem.code == "unverified":
        return f"wk submit {work_id}, then another agent: wk verify {work_id} --pass", {}
    if problem.code == "not_ready":
        return f"wk show {work_id} says more; --anyway claims it all the same", {}
    return "", {"work_id": work_id} if work_id else {}


def _lease_step(problem: Problem, event: Event, desk: Desk) -> tuple[str, dict[str, Any]]:
    """The same for leases: who holds it, since when, why, and whom to write to."""
    from coord.core.lease import domain as leases

    resource = event.refs.get("resource", "")
    if problem.code == "held":
        hold = leases.in_way(event, desk.state(events.entity_of(event.raw)), desk)
        if hold is not None:
            hint, facts = _lease_holder(hold)
            return hint, {"resource": resource, **facts}
    if problem.code == "not_held":
        return f"lease acquire {resource}", {"resource": resource}
    return "", {"resource": resource} if resource else {}


def _lease_holder(hold: arbiter.Hold) -> tuple[str, dict[str, Any]]:
    told = ("lease_id", "fence", "acquired_at_ms", "expires_at_ms", "confirmed", "why", "work_id")
    facts = {
        "holder": hold["agent_id"],
        "holder_session": hold["session_id"],
        "held": hold["resource"],
        **{name: hold[name] for name in told if name in hold},
    }
    return f"--wait waits for it; msg send --to {hold['agent_id']} asks for it", facts


def _too_large(raw: Mapping[str, Any]) -> Refusal:
    text = f"the event does not fit into a line of {events.MAX_LINE_BYTES} bytes"
    return Refusal("too_large", text, "only texts of its body can be kept apart", type=raw["type"])


def _holder_facts(state: State, work_id: str) -> tuple[str, dict[str, Any]]:
    claim = state.get("claim")
    if claim is None:
        return "", {"work_id": work_id}
    facts = {
        "holder": claim["agent_id"],
        "holder_session": claim["session_id"],
        "fence": claim["fence"],
        "expires_at_ms": claim["expires_at_ms"],
    }
    return "take another with: wk claim --next", {"work_id": work_id, **facts}


@contextlib.contextmanager
def desk(
    place: Place, author: Author, now_ms: int, settings: Callable[[Index], Settings]
) -> Iterator[Desk]:
    """The store locked, caught up and ready to judge; `write` appends what was taken."""
    store.make_folders(place)
    with store.locked(place.store), index.opened(place.store, now_ms) as known:
        _finish_lines(place, known, now_ms)
        opened = Desk(place, author, known, now_ms, settings(known))
        try:
            yield opened
        finally:
            opened.close()


def _finish_lines(place: Place, known: Index, now_ms: int) -> None:
    """Complete what this store's writers left torn, before anything is judged.

    A line that lacks nothing but its newline counts once it has one: were that to come
    with its writer's next event, it would be older than all that was judged without it.
    """
    torn = known.unfinished()
    replica = Replica(place, known.newest()) if torn else None
    ours = [segment for segment in torn if replica and replica.may_finish(segment)]
    for segment in ours:
        with store.locked(os.path.dirname(segment.path)):
            journal.finish(segment.path)
    if ours:
        known.catch_up(now_ms)


def stamp(now_ms: int) -> str:
    """RFC 3339 UTC with milliseconds."""
    seconds, rest = divmod(now_ms, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest:03d}Z"
