"""`--confirm remote`: a hold that no other clone can have, decided by the git remote.

The request is judged here as it would be without the remote, swapped into its record, and
judged again under the store's lock when it is recorded: meanwhile somebody on this host may
have been promised it. No lock of the store is held while git talks to the remote.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from coord.cli import kit
from coord.cli import sync as syncing
from coord.cli.exclusive import REMOTE
from coord.core import arbiter, record
from coord.edge import clock
from coord.edge.sync import Syncer, holds
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

_REHEARSED, _REHEARSED_MS = "rehearsed", 60_000
_PATIENCE_S = 60.0
# Other commands give back what was left only where that is quick, and not at every turn.
_SETTLING_S, _AGAIN_AFTER_S = 5.0, 60.0

# Takes the draft of a hold into the desk, under a lease_id ("" for a new one).
# Its body has besides: fence, expires_at_ms, confirmed, nonce.
Make = Callable[[Desk, Mapping[str, Any], str], Written]


class Request:
    """A hold to be confirmed.

    domain: of its resource. make: see `Make`. renewed: the hold that is prolonged.
    handed_over: the lease that its holder gives up for this one.
    also: further resources that the same event holds, by domain.
    """

    def __init__(
        self, domain: str, make: Make, *, renewed: arbiter.Hold | None = None,
        handed_over: str = "", take_over: bool = False,
        conflict: arbiter.Conflict = arbiter.always, also: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.domain, self.make, self.renewed = domain, make, renewed or {}
        self.also = also or {}
        self.handed_over, self.take_over, self.conflict = handed_over, take_over, conflict


class Session:
    """The clone's sync lock held, and everything pulled, to confirm holds."""

    def __init__(self, call: kit.Call, syncer: Syncer) -> None:
        self._call, self._syncer = call, syncer
        # In an inline store plain git brings the journals.
        pulls = not call.place.is_inline
        self._confirmer = holds.Confirmer(syncer, call.now_ms, pulls)
        self._confirmer.look()
        if holds.leftovers(call.place.local):
            _sent(syncer)
            self._confirmer.settle()
        syncer.save()

    def take(self, request: Request) -> Written:
        """Confirm and record a hold; refusals as for `take_all`."""
        [written] = self.take_all([request])
        return written

    def take_all(self, requests: Sequence[Request]) -> list[Written]:
        """Confirm and record holds, all of them or none.

        What was recorded before under its key is answered again, and nothing asked for it.
        Refusals: held, clock, unconfirmed, and whatever the requests themselves meet.
        """
        ends_at = time.monotonic() + holds.PATIENCE_S
        for _ in range(holds.TRIES):
            try:
                return self._taken(requests)
            except holds.Moved:
                # What was decided meanwhile is asked for with all that was recorded about it.
                self._confirmer.look()
            if time.monotonic() > ends_at:
                break
        raise holds.moved_always([one.domain for one in requests])

    def _taken(self, requests: Sequence[Request]) -> list[Written]:
        rehearsed, wanted = self._rehearse(requests)
        fresh = [place for place, one in enumerate(rehearsed) if not one.is_duplicate]
        if not fresh or self._call.dry_run:
            return rehearsed
        won = self._confirmer.win([one for place in fresh for one in wanted[place]])
        # What is recorded names the first hold of each request.
        named = {one.hold["lease_id"]: one for one in reversed(won)}
        try:
            order = [named[wanted[place][0].hold["lease_id"]] for place in fresh]
            written = self._record([requests[place] for place in fresh], order)
        except Refusal:
            # The swap's notes name what was won; where the remote does not answer any more, a
            # later command gives it back.
            with contextlib.suppress(Refusal):
                self._confirmer.settle()
            raise
        for one in won:
            self._confirmer.forget(one.domain, one.hold["nonce"])
        recorded = dict(zip(fresh, written, strict=True))
        return [recorded.get(place, one) for place, one in enumerate(rehearsed)]

    def is_over(self, domain: str) -> bool:
        """Whether nobody holds a domain any more, as far as this clone has watched it."""
        return self._confirmer.end(domain)

    def advance(self, domain: str, fence: int) -> int:
        """Raise the fence of a domain that nobody holds; answers what it was."""
        with self._call.reading() as known:
            newest = known.newest()
        return self._confirmer.advance(domain, fence, newest)

    def _rehearse(
        self, requests: Sequence[Request]
    ) -> tuple[list[Written], list[list[holds.Wanted]]]:
        """What would be written, and the holds that each request takes."""
        written, wanted = [], []
        with self._call.desk() as desk:
            desk.won = frozenset({_REHEARSED})
            newest = desk.index.newest()
            ahead_ms = desk.judged_at_ms + _REHEARSED_MS
            for request in requests:
                known = desk.state(holds.entity_of(request.domain)).get("fence", 0)
                fence = request.renewed.get("fence") or record.next_fence(known)
                body = {"fence": fence, "confirmed": REMOTE, "nonce": _REHEARSED}
                one = request.make(desk, {**body, "expires_at_ms": ahead_ms}, "")
                hold = {**_hold_of(one.raw), **_lasting(request.renewed)}
                written.append(one)
                first = holds.Wanted(request.domain, hold, known, newest, request.take_over,
                                     request.conflict, request.handed_over)  # fmt: skip
                wanted.append([first, *(_beside(first, *one) for one in request.also.items())])
        return written, wanted

    def _record(self, requests: Sequence[Request], won: Sequence[holds.Won]) -> list[Written]:
        written = []
        with self._call.desk() as desk:
            desk.won = frozenset(one.hold["nonce"] for one in won)
            for request, one in zip(requests, won, strict=True):
                desk.go_past(one.after_id)
                told = {name: one.hold[name] for name in ("fence", "expires_at_ms", "nonce")}
                decided = {**told, "confirmed": REMOTE}
                written.append(request.make(desk, decided, one.hold["lease_id"]))
            if clock.boot_ms() >= min(one.until_boot_ms for one in won):
                domains = ", ".join(dict.fromkeys(one.domain for one in won))
                text = f"the claim of {domains} was over before it could be recorded"
                raise Refusal("unconfirmed", text, "try again, or with a longer --ttl")
            desk.write()
        for one in won:
            self._syncer.note_held(one.hold["lease_id"], one.until_boot_ms)
        return written

    def close(self) -> None:
        """Send out what was recorded, if the remote answers: others see it sooner."""
        if not self._call.dry_run:
            with contextlib.suppress(Refusal):
                _sent(self._syncer)
            self._syncer.save()


def _beside(first: holds.Wanted, domain: str, resource: str) -> holds.Wanted:
    """Another resource of the same hold, whose fence is its own domain's."""
    hold = {k: v for k, v in first.hold.items() if k != "fence"}
    return first._replace(domain=domain, hold={**hold, "resource": resource}, fence=0)


def _hold_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    refs, body = raw["refs"], raw["body"]
    hold = {
        "resource": refs["resource"],
        "lease_id": refs["lease_id"],
        "agent_id": raw["actor"]["agent_id"],
        "session_id": raw["actor"].get("session_id", ""),
        "writer": raw["writer"],
        "ttl_ms": body["ttl_ms"],
    }
    return {**hold, **{flag: True for flag in record.FLAGS if body.get(flag) is True}}


def _sent(syncer: Syncer) -> bool:
    """Send our journals out; what ended is known to others before its record is free for them.

    In an inline store plain git carries them.
    """
    return syncer.place.is_inline or syncer.push(syncer.journals)


def _lasting(renewed: Mapping[str, Any]) -> dict[str, Any]:
    """What stays as it is when a hold is prolonged."""
    return {name: renewed[name] for name in ("fence", *record.FLAGS) if name in renewed}


@contextlib.contextmanager
def session(call: kit.Call) -> Iterator[Session]:
    """Reach the remote and hold the sync's lock. Refuses with `no_remote`, `unreachable`."""
    syncer = syncing.opened(call, remote_s=_PATIENCE_S)
    if syncer is None:
        hint = "git remote add origin URL, or leave --confirm remote out"
        raise Refusal("no_remote", "there is no git remote to confirm it", hint)
    with syncer.locked():
        call.is_confirming = True
        try:
            opened = Session(call, syncer)
            yield opened
            opened.close()
        finally:
            call.is_confirming = False


def give_back(call: kit.Call, ended: Sequence[tuple[str, str]]) -> None:
    """Take holds that have ended out of their records: now, or by a later sync."""
    for domain, nonce in ended:
        holds.leave_note(call.place.local, domain, nonce)
    settle(call)


def settle(call: kit.Call) -> None:
    """Give back what processes of this clone have left, if nobody is at it already."""
    holds.put_off(call.place.local, _AGAIN_AFTER_S)
    with contextlib.suppress(Refusal):
        syncer = syncing.opened(call, remote_s=_SETTLING_S)
        if syncer is not None:
            with syncer.locked(wait_s=0.01):
                confirmer = holds.Confirmer(syncer, call.now_ms)
                confirmer.look()
                if _sent(syncer):
                    confirmer.settle()
                syncer.save()
