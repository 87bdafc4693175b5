"""What a worker does at every look: recover, note, end, claim, start.

    gather    read only: of each open attempt of this store, what is true about it, with
              its lock taken where no shim has it, so that none can begin meanwhile
    record    under the store's lock, in one batch: how attempts ended and that they have
              started; runs that can never start; claims of those whose turn it is
    start     the shims, once the claims are on disk and the store is free again

When a shim of ours has ended and nobody else has written, what it has left is gathered
under the lock at once: one opening of the index and one sync end a run and begin the next.

Recovery so runs before every claim, and any worker ends what another one has begun.
"""

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from coord.cli import kit
from coord.cli.run import confining, files, hosting
from coord.cli.run.common import Taken, top_of
from coord.cli.run.ticking import Ticker
from coord.cli.run.watched import Watched
from coord.core import registry
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import life, outcome, ready, recovery, wanted
from coord.core.run import request as facts
from coord.core.run.around import Around
from coord.edge import clock, environment, replica
from coord.edge.index import Index, holds, runs
from coord.edge.run import launch, nursery, shim, spool, truth
from coord.edge.writing import Desk
from coord.errors import Refusal

if TYPE_CHECKING:
    from coord.cli.run.competing import Competing

_PAGE = 50
# Journals whose events may let a run start or end: of runs, agents and leases.
HEARD = ("run", "ev", "lease")
# How long looks that ask about our own shims alone may follow one another.
_NARROW_S = 1.0
# How soon an attempt is looked at again whose shim has not said yet that it begins.
_SOON_S = 0.02
# How soon an attempt at another host that nobody follows.
_REACH_MS = 250
# What makes a completion of ours wrong: somebody else was first, which is well.
_TOO_LATE = ("fenced", "wrong_state", "not_held")
_NOT_MINE = ("held", "fenced", "wrong_state", "not_ready", "not_allowed")
Begin = Callable[[Desk], Sequence[str]]
Noted = tuple[str, Mapping[str, Any]]
Sizes = list[tuple[str, int]]


class Found(NamedTuple):
    """What a look found out about an open attempt, to be recorded."""

    run_id: str
    lease_id: str
    bodies: Sequence[Noted]


class Worker:
    """One process that executes runs of a store, up to `at_once` at a time."""

    # Whether the command reads what we would: only one that we execute for ourselves.
    keeps_stdin = False
    # Whether it takes runs from the queue, or only those that it is given.
    takes_queue = True

    # Whoever is told of each run that it starts.
    on_start: Callable[[str], None] | None = None

    # Whether it lives long enough for a process that starts its shims.
    has_nursery = False

    def __init__(self, call: kit.Call, labels: Sequence[str] = (), at_once: int = 1) -> None:
        self._call, self._labels, self._at_once = call, labels, at_once
        self._home = replica.home(call.place)
        self._watched = Watched()
        self._nursery: nursery.Nursery | None = None
        self._next_ms: int | None = None
        self._tick_ms: int | None = None
        self._is_soon = False
        # Whether our own agent may not take anything: what has ended is recorded all the same.
        self.is_paused = False
        # Whether a run that we could claim waits for somebody's lease.
        self._waits_for_lease = False
        # The journals as they were when we last read them, with what we have written since.
        self._seen: Sizes = []
        self._whole_look_at = 0.0
        # Fires schedules; None for who executes only what it is given.
        self.ticker: Ticker | None = None
        # Goes after the runs of all clones; None for who does not.
        self.competing: Competing | None = None
        self._competes = False
        # How many runs it may still claim; -1 for any number.
        self.claims_left = -1
        # The other host that it executes at; None for here.
        self.host: hosting.Host | None = None
        # The attempts at other hosts that nobody follows, and the runs that we follow at
        # hosts that are not ours.
        self._unreached: list[State] = []
        self._followed: set[str] = set()
        # Whether the last look has recorded something, which may let others start.
        self.has_written = False

    @property
    def running(self) -> int:
        """How many runs of this worker have not ended."""
        return len(self._watched.own) + len(self._unreached)

    @property
    def busy(self) -> int:
        """How many take a place of it: not what it follows besides."""
        waiting = {state["run_id"] for state in self._unreached if self.host}
        return len({*self._watched.own, *waiting} - self._followed)

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when an attempt of this store ends."""
        return self._watched.descriptors

    def is_news(self) -> bool:
        """Whether a journal holds what we have neither read nor written."""
        return self._sizes() != self._seen

    def _sizes(self) -> Sizes:
        found = []
        for tool in HEARD:
            with os.scandir(os.path.join(self._call.place.store, tool)) as entries:
                found += [(entry.path, entry.stat().st_size) for entry in entries]
        return sorted(found)

    def wait_s(self) -> float | None:
        """When to look again though nothing has changed; None for not before something does."""
        if self._is_soon:
            return _SOON_S
        if self._next_ms is None:
            return None
        return max(0.0, (self._next_ms - clock.now_ms()) / 1000) + 0.001

    def look(self, begin: Begin | None = None) -> list[State]:
        """Do what there is to do; answer the runs that ended by it, and ours that others ended.

        begin: writes requests of its own and answers the runs to claim, instead of the queue.
        """
        ended = self._look_here(begin)
        if self.competing and self._competes and self._has_room():
            self._competes = False
            room = self._at_once - self.busy
            room = room if self.claims_left < 0 else min(room, self.claims_left)
            for one in self.competing.take(room):
                self.has_written = True
                self.claims_left -= self.claims_left > 0
                self._start(one, None)
        return ended

    def _look_here(self, begin: Begin | None) -> list[State]:
        """Do what there is to do in this store."""
        self._call.now_ms = clock.now_ms()
        self.has_written = False
        with contextlib.ExitStack() as locks:
            over = [] if begin or self._must_look_around() else self._watched.over()
            found: list[Found] = []
            missed: list[State] = []
            if not over:
                found, missed, wants_claims = self._gathered(locks)
                if not (found or wants_claims or begin or self._unreached):
                    return missed
            ended, taken = self._recorded(found, begin, over, locks)
        for one in taken:
            self._start(one, self.host)
        self._reach()
        return missed + ended

    def _must_look_around(self) -> bool:
        """Whether there may be more to do than to end what has ended here."""
        return time.monotonic() - self._whole_look_at > _NARROW_S or self.is_news()

    def is_over(self) -> bool:
        """Whether a shim of this store that we watch has ended."""
        return bool(self._watched.over())

    def _gathered(self, locks: contextlib.ExitStack) -> tuple[list[Found], list[State], bool]:
        """What to record, our runs whose end somebody else has recorded, and whether to claim."""
        self._whole_look_at = time.monotonic()
        self._seen = self._sizes()
        with self._call.reading() as known:
            open_runs = runs.open_runs(known.connection, self._home)
            states = [known.state(f"run/{run_id}") for run_id in open_runs]
            ours = (name for name in self._watched.own if name not in open_runs)
            missed = [known.state(f"run/{name}") for name in ours]
            now_ms = self._call.query_now(known)
            sql = known.connection
            wants = bool(runs.overdue(sql, self._home, now_ms))
            wants |= self._has_room() and bool(runs.candidates(sql, self._home, now_ms, 1))
            self._note_next(known, now_ms)
            self._competes = bool(self.competing and self.competing.wishes(known, now_ms))
            self._end_paused(known, states)
        if any(map(life.is_anywhere, states)):
            from coord.cli.run import keeping

            keeping.start(self._call)
        self._is_soon = False
        self._unreached = []
        names = [state["run_id"] for state in states]
        self._watched.keep(names)
        self._followed.intersection_update(names)
        found = [self._find(state, locks) for state in states]
        return [one for one in found if one], missed, wants

    def _note_next(self, known: Index, now_ms: int) -> None:
        """When to look again, though nobody writes."""
        self._tick_ms = self.ticker.next_ms(known) if self.ticker else None
        found = [self._tick_ms, runs.next_boundary(known.connection, now_ms)]
        if self.competing:
            found.append(self.competing.next_ms(known, now_ms))
        if self._waits_for_lease:
            found.append(holds.next_end(known.connection, now_ms))
        self._next_ms = min((at_ms for at_ms in found if at_ms is not None), default=None)

    def fires(self) -> bool:
        """Fire the schedules that the last look found due; whether there were any."""
        is_due = self._tick_ms is not None and self._tick_ms <= clock.now_ms()
        if not (self.ticker and is_due):
            return False
        self.ticker.fire()
        return True

    def _has_room(self) -> bool:
        is_open = self.takes_queue and self.claims_left != 0
        return is_open and self.busy < self._at_once

    def _end_paused(self, known: Index, states: Sequence[State]) -> None:
        """What a paused agent has running is ended: by its shim, as by a cancel."""
        for state in states:
            pause = registry.pause_of(known, state["requested_by"], "~")
            if pause is not None:
                self._tell(state, f"{state['requested_by']} was paused by {pause['by']}")

    def _tell(self, state: State, why: str) -> None:
        folder = self._folder(state)
        if not os.path.exists(os.path.join(folder, shim.CANCEL)):
            spool.cancel(folder, why)

    def _folder(self, state: State) -> str:
        attempt = state["attempts"][-1]["attempt"]
        return spool.folder_of(self._call.place.local, state["run_id"], attempt)

    def _find(self, state: State, locks: contextlib.ExitStack) -> Found | None:
        """What is to be recorded about an open attempt."""
        attempt, folder = state["attempts"][-1], self._folder(state)
        run_id, lease_id = state["run_id"], attempt["lease_id"]
        if state["status"] == life.CANCELLING:
            self._tell(state, state["cancel"].get("why", f"cancelled by {state['cancel']['by']}"))
        known = locks.enter_context(truth.known(folder, lease_id))
        action, body = recovery.decide(state, known)
        if action == recovery.END:
            if not spool.end_tree(folder):
                return None
            known = known._replace(tree_lives=False)
            action, body = recovery.decide(state, known)
        is_unsaid = known.exit is None and known.work is None
        if action == recovery.COMPLETE and is_unsaid and "repo_ref" in state["spec"]:
            action, body = files.recovered(self._call.place, state, folder, known)
        bodies: list[Noted] = [*self._start_noted(state, folder)]
        if action == recovery.REACH:
            self._unreached.append(state)
        elif action == recovery.ADOPT:
            self._is_soon |= not self._watched.adopt(run_id, lease_id, folder)
        else:
            bodies.append(("run.completed", body))
        return Found(run_id, lease_id, bodies) if bodies else None

    def _start_noted(self, state: State, folder: str) -> Iterator[Noted]:
        """That the command has begun, once the shim says so."""
        attempt = state["attempts"][-1]
        if "started_at_ms" in attempt:
            return
        if os.path.exists(os.path.join(folder, shim.BEGUN)):
            pid = spool.pid_of(folder)
            spec = state["spec"]
            named = {**files.started(folder, spec), **confining.started(folder, spec)}
            named |= hosting.started(folder)
            yield "run.started", {**({"pid": pid} if pid else {}), **named}
        else:
            self._is_soon = True

    def _recorded(
        self, found: list[Found], begin: Begin | None, over: Sequence[str],
        locks: contextlib.ExitStack,
    ) -> tuple[list[State], list[Taken]]:  # fmt: skip
        taken: list[Taken] = []
        ended: list[State] = []
        try:
            with self._call.desk() as desk:
                # Nobody else writes from here on; what somebody wrote meanwhile stays news.
                is_all_read = not self.is_news()
                found += self._left(desk, over, locks)
                for one in found:
                    ended += self._noted(desk, one)
                chosen = begin(desk) if begin else None
                self._claim(desk, chosen, taken, ended)
                self.has_written = bool(found or ended or taken)
                if self.has_written or begin:
                    desk.write()
                if is_all_read:
                    self._seen = self._sizes()
                self._note_next(desk.index, desk.judged_at_ms)
        except BaseException:
            for claimed in taken:
                os.close(claimed.lock)
            raise
        return ended, taken

    def _left(
        self, desk: Desk, over: Sequence[str], locks: contextlib.ExitStack
    ) -> Iterator[Found]:
        """What shims that have ended left behind, where they could record it themselves."""
        for run_id in over:
            state = desk.state(f"run/{run_id}")
            attempt = life.open_attempt(state)
            folder = self._folder(state)
            if attempt and spool.exit_record(folder, attempt["lease_id"]) is not None:
                found = self._find(state, locks)
                if found:
                    yield found
            else:
                self._whole_look_at = 0.0

    def _noted(self, desk: Desk, found: Found) -> Iterator[State]:
        """Record what was found, unless the attempt has ended meanwhile."""
        for kind, body in found.bodies:
            state = desk.state(f"run/{found.run_id}")
            attempt = life.open_attempt(state)
            if attempt is None or attempt["lease_id"] != found.lease_id:
                return
            fact = facts.of_attempt(kind, state, attempt, body)
            try:
                desk.take(Draft(*fact, cause=self._call.cause))
            except Refusal as refusal:
                if refusal.code not in _TOO_LATE:
                    raise
                return
            if kind == "run.completed":
                self._watched.let_go(found.run_id)
                yield desk.state(f"run/{found.run_id}")

    def _claim(
        self, desk: Desk, chosen: Sequence[str] | None, taken: list[Taken], ended: list[State]
    ) -> None:
        for run_id in runs.overdue(desk.index.connection, self._home, desk.judged_at_ms):
            ended += self._judged(desk, run_id, [], can_start=False)
        if chosen is None and not self.takes_queue:
            return
        self._waits_for_lease = False
        pause = registry.pause_of(desk, desk.author.agent_id, "~")
        self.is_paused = pause is not None and chosen is None
        if self.is_paused:
            return
        candidates = self._candidates(desk) if chosen is None else iter(chosen)
        while self.busy + len(taken) < self._at_once and self.claims_left != 0:
            candidate = next(candidates, None)
            if candidate is None:
                return
            before = len(taken)
            ended += self._judged(desk, candidate, taken, can_start=True)
            if len(taken) > before and self.claims_left > 0:
                self.claims_left -= 1

    def _candidates(self, desk: Desk) -> Iterator[str]:
        offset = 0
        while True:
            page = runs.candidates(
                desk.index.connection, self._home, desk.judged_at_ms, _PAGE, offset
            )
            yield from page
            if len(page) < _PAGE:
                return
            offset += _PAGE

    def _judged(
        self, desk: Desk, run_id: str, taken: list[Taken], can_start: bool
    ) -> Iterator[State]:
        """Claim a queued run, or record that it never starts."""
        state = desk.state(f"run/{run_id}")
        if state.get("status") != life.QUEUED:
            return
        verdict = ready.judge(state, desk.judged_at_ms, Around(desk), self._labels)
        if verdict.what == ready.START and can_start:
            self._take(desk, state, taken)
        elif any(reason.code == ready.LOCKS for reason in verdict.reasons):
            self._waits_for_lease = True
        elif verdict.what in (ready.SKIP, ready.EXPIRE):
            how = outcome.SKIPPED if verdict.what == ready.SKIP else outcome.EXPIRED
            fact = facts.ended_unstarted(state, how, verdict.reasons[0].text)
            desk.take(Draft(*fact, cause=self._call.cause))
            yield desk.state(f"run/{run_id}")

    def _take(self, desk: Desk, state: State, taken: list[Taken]) -> None:
        fact = facts.claim(state, f"lease-{desk.chance.name(8)}")
        number = fact[2]["attempt"]
        folder = spool.folder_of(self._call.place.local, state["run_id"], number)
        # Held before anybody can read of the claim: who looks then must find somebody alive.
        lock = spool.take_new(folder)
        try:
            written = desk.take(Draft(*fact, cause=self._call.cause))
        except Refusal as refusal:
            os.close(lock)
            if refusal.code not in _NOT_MINE:
                raise
            return
        claimed = desk.state(f"run/{state['run_id']}")
        taken.append(Taken(claimed, folder, lock, written.raw["event_id"]))

    def _reach(self) -> None:
        """Follow the attempts at other hosts that nobody follows any more."""
        waiting, self._unreached = self._unreached, []
        for state in waiting:
            folder = self._folder(state)
            found = hosting.left_alone(folder, state["attempts"][-1]["lease_id"], self.host)
            if found:
                host, cause, lock = found
                self._start(Taken(state, folder, lock, cause), host)
                if not (self.host and self.host.name == host.name):
                    self._followed.add(state["run_id"])
            else:
                self._unreached.append(state)
                at_ms = clock.now_ms() + _REACH_MS
                self._next_ms = min(at_ms, self._next_ms or at_ms)

    def _start(self, one: Taken, host: hosting.Host | None) -> None:
        """Start the shim of a claimed attempt, or the near end of one at another host."""
        state, attempt = one.state, one.state["attempts"][-1]
        spec = state["spec"]
        self._followed.discard(state["run_id"])
        told = {
            "run_id": state["run_id"],
            **{name: attempt[name] for name in ("attempt", "lease_id", "fence", "claimed_at_ms")},
            "words": wanted.locked(spec, launch.words_of("lease")),
            "cwd": os.path.join(self._top, spec.get("cwd", "")),
            "timeouts": spec.get("timeouts", {}),
            "grace_ms": spec.get("grace_ms", wanted.DEFAULT_GRACE_MS),
            "stdin": self.keeps_stdin,
            "feeds": spec.get("stdin", False),
            **files.told(self._call.place, spec, self._top),
            **confining.told(self._call.place, spec, self._top),
        }
        if life.is_anywhere(state):
            from coord.edge.sync import kept

            until_ms = kept.until_boot_ms(self._call.place.local, attempt["lease_id"])
            told |= {"until_boot_ms": until_ms, "margin_ms": facts.MARGIN_MS}
            # Its keeper is to be started at the next look.
            self._whole_look_at = 0.0
        child = environment.child(
            COORD_RUN=state["run_id"], COORD_CAUSE=one.cause,
            COORD_AGENT=state["requested_by"], COORD_SESSION="",
        )  # fmt: skip
        child = {**confining.environment(child, spec), **spec.get("env", {})}
        if host:
            host = hosting.begin(self._call.place, one.folder, host, one.cause)
            told = hosting.told(self._call.place, state, host, told, one.cause)
            child = environment.child()
        pid = self._launched(one, told, child)
        if self.on_start:
            self.on_start(state["run_id"])
        self._watched.start(state["run_id"], attempt["lease_id"], pid)
        self._is_soon = True

    def _launched(self, one: Taken, told: Mapping[str, Any], child: Mapping[str, str]) -> int:
        """Start a shim; its pid, or 0 when nobody knows whether it was started."""
        if self._nursery is None:
            pid = launch.launch(one.folder, one.lock, told, child)
            if self.has_nursery:
                self._nursery = nursery.Nursery(environment.child())
            return pid
        try:
            return self._nursery.start(one.folder, one.lock, told, child)
        except nursery.Gone:
            self._nursery.close()
            self._nursery = None
            return 0

    @functools.cached_property
    def _top(self) -> str:
        return top_of(self._call) or self._call.place.tree

    def backoff_ms(self) -> int | None:
        """When the next retry of a run is due that has been tried; None for none."""
        with self._call.reading() as known:
            now_ms = self._call.query_now(known)
            query = runs.Query("queued")
            due = [state.get("again_at_ms", 0) for state in runs.listed(known.connection, query)]
        return min((at_ms for at_ms in due if at_ms > now_ms), default=None)
