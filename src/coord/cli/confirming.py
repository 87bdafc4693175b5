"""`--confirm remote`: a hold that no other clone can have, decided by the git remote.

The request is judged here as it would be without the remote, swapped into its record, and
judged again under the store's lock when it is recorded: meanwhile somebody on this host may
have been promised it. No lock of the store is held while git talks to the remote.
"""

import contextlib
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

    domain: of its resource. make: see `Make`. fence: of the hold that is renewed.
    handed_over: the lease that its holder gives up for this one.
    """

    def __init__(
        self, domain: str, make: Make, *, fence: int = 0, handed_over: str = "",
        take_over: bool = False, conflict: arbiter.Conflict = arbiter.always,
    ) -> None:  # fmt: skip
        self.domain, self.make, self.fence = domain, make, fence
        self.handed_over, self.take_over, self.conflict = handed_over, take_over, conflict


class Session:
    """The clone's sync lock held, and everything pulled, to confirm holds one by one."""

    def __init__(self, call: kit.Call, syncer: Syncer) -> None:
        self._call, self._syncer = call, syncer
        self._confirmer = holds.Confirmer(syncer, call.now_ms)
        self._confirmer.look()
        if not call.place.is_inline:
            syncer.pull(syncer.journals)
        if holds.leftovers(call.place.local):
            _sent(syncer)
            self._confirmer.settle()
        syncer.save()

    def take(self, request: Request) -> Written:
        """Confirm and record a hold.

        Refusals: held, clock, unconfirmed, and whatever the request itself meets.
        """
        rehearsed, wanted = self._rehearse(request)
        if rehearsed.is_duplicate or self._call.dry_run:
            return rehearsed
        won = self._confirmer.win(wanted)
        nonce = won.hold["nonce"]
        try:
            written = self._record(request, won)
        except Refusal:
            self._confirmer.give_back(won.domain, nonce)
            raise
        self._confirmer.forget(nonce)
        return written

    def advance(self, domain: str, fence: int) -> int:
        """Raise the fence of a domain that nobody holds; answers what it was."""
        with self._call.reading() as known:
            newest = known.newest()
        return self._confirmer.advance(domain, fence, newest)

    def _rehearse(self, request: Request) -> tuple[Written, holds.Wanted]:
        with self._call.desk() as desk:
            desk.won = frozenset({_REHEARSED})
            known = desk.state(holds.entity_of(request.domain)).get("fence", 0)
            fence = request.fence or record.next_fence(known)
            body = {"fence": fence, "confirmed": REMOTE, "nonce": _REHEARSED}
            ahead_ms = desk.judged_at_ms + _REHEARSED_MS
            written = request.make(desk, {**body, "expires_at_ms": ahead_ms}, "")
            newest = desk.index.newest()
        hold = _hold_of(written.raw)
        if request.fence:
            hold["fence"] = request.fence
        wanted = holds.Wanted(request.domain, hold, known, newest, request.take_over,
                              request.conflict, request.handed_over)  # fmt: skip
        return written, wanted

    def _record(self, request: Request, won: holds.Won) -> Written:
        body = {name: won.hold[name] for name in ("fence", "expires_at_ms", "nonce")}
        with self._call.desk() as desk:
            desk.won = frozenset({won.hold["nonce"]})
            desk.go_past(won.after_id)
            written = request.make(desk, {**body, "confirmed": REMOTE}, won.hold["lease_id"])
            if clock.boot_ms() >= won.until_boot_ms:
                text = f"the claim of {won.domain} was over before it could be recorded"
                raise Refusal("unconfirmed", text, "try again, or with a longer --ttl")
            desk.write()
        self._syncer.note_held(won.hold["lease_id"], won.until_boot_ms)
        return written

    def close(self) -> None:
        """Send out what was recorded, if the remote answers: others see it sooner."""
        if not self._call.dry_run:
            with contextlib.suppress(Refusal):
                _sent(self._syncer)
            self._syncer.save()


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
    return {**hold, "shared": True} if body.get("shared") is True else hold


def _sent(syncer: Syncer) -> bool:
    """Send our journals out; what ended is known to others before its record is free for them.

    In an inline store plain git carries them.
    """
    return syncer.place.is_inline or syncer.push(syncer.journals)


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
