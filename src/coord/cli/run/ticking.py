"""Firing schedules: a tick becomes a run of this store, once in the world.

    host     the store that asked fires; its lock decides
    remote   the schedule's record on the git remote says up to which instant its ticks were
             fired. Whoever raises it has won the ticks between, and requests their runs in
             its own store. Who cannot reach the remote fires none

A clone that dies between winning ticks and writing them has fired them to nobody: at most
once. The run of a tick has an id that every clone derives from schedule and instant.
"""

from collections.abc import Sequence

from coord.cli import confirming, kit
from coord.cli.run.common import PREFIX
from coord.cli.run.reaching import Reach
from coord.core import event as events
from coord.core import registry
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import life, schedule
from coord.core.run import request as facts
from coord.edge import clock, replica, zones
from coord.edge.clock import base32
from coord.edge.index import Index, runs
from coord.edge.run import spool
from coord.edge.writing import Desk
from coord.errors import Refusal


class Ticker:
    """The schedules of a store, as one worker watches them."""

    def __init__(self, call: kit.Call, labels: Sequence[str]) -> None:
        self._call, self._labels = call, set(labels)
        self._home = replica.home(call.place)
        self._reach = Reach(call, spool.SCHEDULES)
        # The schedules in zones that this machine does not know, said once.
        self._foreign: set[str] = set()
        # By schedule: up to when others have fired it, though their events are not here yet.
        self._elsewhere: dict[str, int] = {}
        # By schedule: after which instant which tick comes next.
        self._ahead: dict[str, tuple[int, int]] = {}

    def next_ms(self, known: Index) -> int | None:
        """When a schedule that this worker may fire is due; None for never."""
        return min((self._next(state) for state in self._ours(known)), default=None)

    def _ours(self, known: Index) -> list[State]:
        names = runs.schedules(known.connection)
        return [s for s in (known.state(f"run/{n}") for n in names) if self._may_fire(known, s)]

    def _may_fire(self, known: Index, state: State) -> bool:
        spec = state["spec"]
        is_ours = spec.get("store") == self._home or _is_remote(state)
        pause = registry.pause_of(known, state["requested_by"], "~")
        has_labels = self._labels.issuperset(spec.get("requires", ()))
        return is_ours and not pause and has_labels and self._knows_zone(state)

    def _knows_zone(self, state: State) -> bool:
        """Whether this machine has the zone's table: a schedule comes from any clone."""
        try:
            zones.named(state["spec"]["schedule"].get("tz", ""))
            return True
        except Refusal as refusal:
            if state["run_id"] not in self._foreign:
                self._foreign.add(state["run_id"])
                text = f"{state['run_id']} is not fired here: {refusal.message}"
                self._call.warn("zone", text, "install this machine's time zones (tzdata)")
            return False

    def _next(self, state: State) -> int:
        after_ms = self._fired(state)
        if self._ahead.get(state["run_id"], (0, 0))[0] != after_ms:
            plan = state["spec"]["schedule"]
            zone = zones.named(plan.get("tz", ""))
            found = schedule.next_after(plan, state["requested_at_ms"], after_ms, zone)
            self._ahead[state["run_id"]] = after_ms, runs.NEVER_MS if found is None else found
        next_ms = self._ahead[state["run_id"]][1]
        return max(next_ms, self._reach.again_ms) if _is_remote(state) else next_ms

    def _fired(self, state: State) -> int:
        """Up to when a schedule has been fired, as far as is known here."""
        elsewhere = self._elsewhere.get(state["run_id"], 0)
        told = int(state["requested_at_ms"]), int(state.get("fired_through_ms", 0))
        return max(*told, elsewhere)

    def fire(self) -> None:
        """Fire what is due."""
        waiting = self._waiting()
        for state in waiting:
            if not _is_remote(state):
                self._record(state, 0)
        if any(map(_is_remote, waiting)):
            self._compete()

    def _waiting(self) -> list[State]:
        self._call.now_ms = clock.now_ms()
        with self._call.reading() as known:
            now_ms = self._call.query_now(known)
            return [state for state in self._ours(known) if self._next(state) <= now_ms]

    def _compete(self) -> None:
        """Win ticks at the remote, and record what was won."""
        try:
            with confirming.session(self._call) as session:
                self._reach.found()
                # Asked again: what others have fired came in just now.
                for state in filter(_is_remote, self._waiting()):
                    self._win(session, state)
        except Refusal as refusal:
            self._reach.lost(refusal)

    def _win(self, session: confirming.Session, state: State) -> None:
        now_ms = self._call.now_ms
        before_ms = session.advance(f"run:{state['run_id']}", now_ms)
        self._elsewhere[state["run_id"]] = before_ms
        if before_ms > now_ms + events.QUARANTINE_MS:
            text = f"{state['run_id']} was fired more than 5 minutes ahead of this clock"
            raise Refusal("clock", text, "set this machine's clock right")
        if before_ms < now_ms:
            self._record(state, before_ms)

    def _record(self, state: State, before_ms: int) -> None:
        """Request the runs of the ticks since an instant, and note up to when that is."""
        now_ms = self._call.now_ms
        with self._call.desk() as desk:
            fresh = desk.state(f"run/{state['run_id']}")
            fired_ms = max(fresh["requested_at_ms"], fresh.get("fired_through_ms", 0))
            if fresh["status"] != life.SCHEDULED or fired_ms >= now_ms:
                return
            plan = fresh["spec"]["schedule"]
            zone = zones.named(plan.get("tz", ""))
            begun_ms, after_ms = fresh["requested_at_ms"], max(before_ms, fired_ms)
            for tick_ms in schedule.due(plan, begun_ms, after_ms, now_ms, zone):
                self._request(desk, fresh, tick_ms)
            fact = facts.fired(fresh, now_ms, "remote" if _is_remote(fresh) else "host")
            desk.take(Draft(*fact, cause=fresh["request_event"]))
            desk.write()

    def _request(self, desk: Desk, state: State, tick_ms: int) -> None:
        name = PREFIX + base32(schedule.tick_id(state["run_id"], tick_ms))[:16]
        if not desk.state(f"run/{name}"):
            fact = facts.tick(state, tick_ms, name, self._home)
            desk.take(Draft(*fact, cause=state["request_event"]))


def _is_remote(state: State) -> bool:
    return bool(state["spec"]["schedule"].get("confirmed") == "remote")
