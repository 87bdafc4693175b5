"""Runs that any clone may execute: claimed, and taken from the dead, by way of the git remote.

claim      the run's record, and that of its group, swapped in one push; then the claim
           is recorded, and the attempt is this store's as any other
renew      by the keeper (`cli.run.keeping`); the shim ends what is not renewed in time
abandoned  what another clone has not renewed, and we have ourselves watched unchanged
           for its whole time, is recorded as lost; whether it is tried again says the
           request, as after any crash
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from coord.cli import confirming, kit
from coord.cli.run.common import Taken
from coord.cli.run.reaching import Reach
from coord.core import settings
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import groups, life, outcome, ready
from coord.core.run import request as facts
from coord.core.run.around import Around
from coord.edge.index import Index, runs
from coord.edge.run import spool
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

_PAGE = 50
# How many more runs than there is room for are tried where others are as fast as we.
_SPARE = 4
# How soon a hold that may be abandoned is looked at again.
_WATCH_MS = 5_000
_OTHERS = ("held", "fenced", "wrong_state", "not_ready", "not_held", "clock")


class Competing:
    """The runs of all clones, as one worker of a store goes after them."""

    def __init__(self, call: kit.Call, labels: Sequence[str], home: str) -> None:
        self._call, self._labels, self._home = call, labels, home
        self._reach = Reach(call, spool.ANYWHERE)

    def wishes(self, known: Index, now_ms: int) -> bool:
        """Whether there is a run to go after, and the remote to be asked."""
        if now_ms < self._reach.again_ms:
            return False
        sql = known.connection
        return bool(runs.anywhere(sql, now_ms, 1) or runs.abandoned(sql, self._home, now_ms))

    def next_ms(self, known: Index, now_ms: int) -> int | None:
        """When to ask again; None for not before something changes."""
        sql = known.connection
        if now_ms < self._reach.again_ms and runs.anywhere(sql, now_ms, 1):
            return self._reach.again_ms
        return now_ms + _WATCH_MS if runs.abandoned(sql, self._home, now_ms) else None

    def take(self, room: int) -> list[Taken]:
        """Claim what may start, at most so many; none where the remote does not answer."""
        taken: list[Taken] = []
        try:
            with confirming.session(self._call) as session:
                self._reach.found()
                self._give_up_lost(session)
                chosen = self._chosen(room * _SPARE)
                try:
                    self._claim(session, chosen[:room], taken)
                except Refusal as refusal:
                    if refusal.code not in _OTHERS:
                        raise
                    # One of them is somebody else's by now: each by itself, and the next.
                    for one in chosen:
                        if len(taken) < room:
                            self._claim_one(session, one, taken)
        except Refusal as refusal:
            if refusal.code not in _OTHERS:
                self._reach.lost(refusal)
        return taken

    def _chosen(self, room: int) -> list[State]:
        """Runs that may start now, of each group one; those that never will are ended."""
        found: list[State] = []
        with self._call.desk() as desk:
            around, now_ms, crowded = Around(desk), desk.judged_at_ms, set()
            offset = 0
            while len(found) < room:
                page = runs.anywhere(desk.index.connection, now_ms, _PAGE, offset)
                for run_id in page:
                    state = desk.state(f"run/{run_id}")
                    verdict = ready.judge(state, now_ms, around, self._labels)
                    group = groups.domain_of(state["spec"])
                    if verdict.what == ready.SKIP:
                        why = verdict.reasons[0].text
                        desk.take(Draft(*facts.ended_unstarted(state, outcome.SKIPPED, why)))
                    elif verdict.what == ready.START and group not in crowded:
                        found.append(state)
                        crowded |= {group} if group else set()
                offset += _PAGE
                if len(page) < _PAGE:
                    break
            desk.write()
        return found[:room]

    def _claim_one(self, session: confirming.Session, state: State, taken: list[Taken]) -> None:
        try:
            self._claim(session, [state], taken)
        except Refusal as refusal:
            if refusal.code not in _OTHERS:
                raise

    def _claim(
        self, session: confirming.Session, chosen: Sequence[State], taken: list[Taken]
    ) -> None:
        if not chosen:
            return
        claims = [_Claim(self._call, state, self._home) for state in chosen]
        try:
            session.take_all([claim.request for claim in claims])
        except BaseException:
            for claim in claims:
                claim.let_go()
            raise
        taken += [claim.taken for claim in claims if claim.taken]

    def _give_up_lost(self, session: confirming.Session) -> None:
        """End the attempts of workers that are gone, as far as the remote lets us."""
        with self._call.reading() as known:
            now_ms = self._call.query_now(known)
            names = runs.abandoned(known.connection, self._home, now_ms)
        for run_id in names:
            if not session.is_over(f"run:{run_id}"):
                continue
            with self._call.desk() as desk:
                state = desk.state(f"run/{run_id}")
                attempt = life.open_attempt(state)
                if attempt is None or life.store_of(state) == self._home:
                    continue
                begun = "started_at_ms" in attempt
                body = {"outcome": outcome.LOST, "begun": begun, "reason": "its worker is gone"}
                desk.take(Draft(*facts.of_attempt("run.completed", state, attempt, body)))
                desk.write()


class _Claim:
    """One run that is asked for: the request, and what has become of it."""

    def __init__(self, call: kit.Call, state: State, home: str) -> None:
        self._call, self._run_id, self._home = call, state["run_id"], home
        also = groups.places_of(state["spec"])
        self.request = confirming.Request(f"run:{self._run_id}", self._make, also=also)
        self.taken: Taken | None = None

    def _make(self, desk: Desk, decided: Mapping[str, Any], lease_id: str) -> Written:
        desk.refuse_paused()
        state = desk.state(f"run/{self._run_id}")
        name = lease_id or f"lease-{desk.chance.name(8)}"
        ttl_ms = int(settings.in_force(desk, "run.ttl_ms", "~"))
        fact = facts.claim_anywhere(state, name, decided, self._home, ttl_ms)
        if not lease_id:
            return desk.take(Draft(*fact, cause=self._call.cause))
        folder = spool.folder_of(self._call.place.local, self._run_id, fact[2]["attempt"])
        # Held before anybody can read of the claim: who looks then must find somebody alive.
        lock = spool.take_new(folder)
        try:
            written = desk.take(Draft(*fact, cause=self._call.cause))
        except BaseException:
            os.close(lock)
            raise
        claimed = desk.state(f"run/{self._run_id}")
        self.taken = Taken(claimed, folder, lock, written.raw["event_id"])
        return written

    def let_go(self) -> None:
        """Nothing was recorded: nobody holds the attempt."""
        if self.taken is not None:
            os.close(self.taken.lock)
            self.taken = None
