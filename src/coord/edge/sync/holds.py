"""Confirming a hold: one compare-and-swap on the git remote that everybody can reach.

    refs/coord/hold/<name of the domain>    commits of `hold.json` (core.record)

    pull, judge here, swap      won: judge again under the store's lock and append
                                lost: nothing is appended
                                no answer: nothing is appended, and a *leftover* stays

A leftover is a note in `local/confirming/`, written before the swap and taken away after the
append: whoever finds one, holding the sync's lock, knows that its process is gone. It is
settled by what our events say: a nonce that is in none is released, a hold that is over
gives its record back.

A record is only judged together with journals that were pulled after it was listed: who
gives one back has sent before what ended. Where it moves meanwhile both are asked for anew.
"""

import contextlib
import functools
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import arbiter, record
from coord.core import event as events
from coord.core.arbiter import Hold
from coord.core.record import Record
from coord.core.run import groups
from coord.edge import clock, index, journal, store
from coord.edge.clock import Chance
from coord.edge.index import runs
from coord.edge.replica import Replica
from coord.edge.sync import MARKED, Syncer, outgoing
from coord.edge.sync.target import is_race, refused, unreachable
from coord.errors import Refusal

HOLDS = "hold/"
_FILE = "hold.json"
TRIES = 8
PATIENCE_S = 30.0
_AT_ONCE = 50


class Moved(Exception):
    """A record is not as it was listed, or what led to it may not be known here."""


class Wanted(NamedTuple):
    """A hold to be confirmed; several of one lease_id are won by one event, under one nonce.

    hold: its resource, lease_id, agent_id, session_id, writer, ttl_ms (and fence, for one
    that is renewed). fence: the largest known here. newest: the newest event id.
    handed_over: the lease that its holder gives up for this one.
    """

    domain: str
    hold: Mapping[str, Any]
    fence: int
    newest: str
    take_over: bool = False
    conflict: arbiter.Conflict = arbiter.always
    handed_over: str = ""


class Won(NamedTuple):
    """What the swap has won: the hold as recorded, after which id its event comes, until when.

    until_boot_ms: on the boot-time clock; then it is over, whatever the wall clock says.
    """

    domain: str
    hold: Hold
    after_id: str
    until_boot_ms: int


class Confirmer:
    """The records of holds on one remote; the syncer's lock is held."""

    def __init__(self, syncer: Syncer, now_ms: int, pulls: bool = False) -> None:
        """pulls: whether journals are pulled at each look, for who judges by them."""
        self._syncer, self._now_ms, self._pulls = syncer, now_ms, pulls
        self._repository, self._target = syncer.repository, syncer.target
        self._listing: dict[str, str] = {}
        self._listed_before: dict[str, str] = {}
        self._local = syncer.place.local

    def look(self) -> None:
        """Ask the remote for all its refs, and note when each record was first seen so."""
        self._listed_before = self._listing
        self.note(self._syncer.listing())
        if self._pulls:
            self._syncer.pull(self._syncer.journals)

    def note(self, listing: Mapping[str, str]) -> None:
        """Remember since when, on this machine's boot-time clock, each record is as it is."""
        self._listing = dict(listing)
        seen, boot = self._syncer.kept["holds"], clock.boot_id()
        for name, commit in listing.items():
            before = seen.get(name, [])
            if name.startswith(HOLDS) and (len(before) < 4 or before[:2] != [commit, boot]):
                nonces = before[3] if len(before) > 3 and before[1] == boot else {}
                seen[name] = [commit, boot, clock.boot_ms(), nonces]

    def win(self, wanted: Sequence[Wanted]) -> list[Won]:
        """Swap the records of all these domains, or refuse: `held`, `clock`, `unconfirmed`.

        All are swapped or none. Several holds of one domain are taken in their order.
        Raises `Moved` when somebody else was faster.
        """
        won, afters = self._judged_all(wanted)
        before_boot_ms = clock.boot_ms()
        for one in won:
            leave_note(self._local, one.domain, one.hold["nonce"])
        try:
            self._swap(afters)
        except Moved:
            for one in won:
                self.forget(one.domain, one.hold["nonce"])
            raise
        return [one._replace(until_boot_ms=before_boot_ms + one.hold["ttl_ms"]) for one in won]

    def advance(self, domain: str, fence: int, newest: str) -> int:
        """Raise the fence of a domain that nobody holds; answers the one that was there.

        Whoever raised it from there to here is the only one: it counts what was done.
        Refusals: unconfirmed.
        """
        for _ in range(TRIES):
            with contextlib.suppress(Moved):
                found = self._read(domain)
                before = found.fence if found else 0
                if before < fence:
                    after_id = max(newest, found.event_id if found else "")
                    self._swap([Record(domain, fence, after_id)])
                return before
            self.look()
        raise moved_always([domain])

    def end(self, domain: str) -> bool:
        """Whether nobody holds a domain any more; what ran out is taken from its record."""
        for _ in range(TRIES):
            with contextlib.suppress(Moved):
                found = self._read(domain)
                if found is None:
                    return True
                if any(self._watched_ms(domain, hold) < hold["ttl_ms"] for hold in found.holds):
                    return False
                if found.holds:
                    nonces = {hold["nonce"] for hold in found.holds}
                    self._swap([record.without(found, nonces, record.floor_id(found, found.holds))])
                    return True
                if not self._is_new(domain):
                    return True
            self.look()
        return False

    def _judged_all(self, wanted: Sequence[Wanted]) -> tuple[list[Won], list[Record]]:
        """What would be won, and how the records are then."""
        self._bring([one.domain for one in wanted])
        records: dict[str, Record | None] = {}
        nonces: dict[str, str] = {}
        won: list[Won] = []
        for one in wanted:
            lease_id = one.hold["lease_id"]
            if one.domain not in records:
                records[one.domain] = self._read_for(one)
                if lease_id not in nonces:
                    self._refuse_unheard_of(one, records[one.domain])
            chance = Chance(f"{one.hold['writer']} {one.newest} {lease_id}")
            nonce = nonces.setdefault(lease_id, chance.name(16))
            one_won, records[one.domain] = self._judged(one, nonce, records[one.domain])
            won.append(one_won)
        return won, [after for after in records.values() if after is not None]

    def _refuse_unheard_of(self, wanted: Wanted, found: Record | None) -> None:
        """Raise `Moved` where a record tells of a hold whose events may not have been pulled."""
        if found is not None and found.fence > wanted.fence and self._is_new(wanted.domain):
            raise Moved

    def _is_new(self, domain: str) -> bool:
        """Whether a record was not seen yet as it is when the journals were listed.

        A remote reads its refs one after the other: a listing may have a journal as it was
        before a hold ended, and the record as it was afterwards.
        """
        name = HOLDS + record.name(domain)
        return self._listing.get(name) != self._listed_before.get(name)

    def _read_for(self, wanted: Wanted) -> Record | None:
        """The record of a request's domain, without what its holder gives up for it."""
        found = self._read(wanted.domain)
        if found is not None and wanted.handed_over:
            given = {h["nonce"] for h in found.holds if h["lease_id"] == wanted.handed_over}
            found = record.without(found, given, found.event_id)
        return found

    def _judged(self, wanted: Wanted, nonce: str, found: Record | None) -> tuple[Won, Record]:
        """What a swap would win, and the record then. Refusals: held, clock."""
        hold = {**wanted.hold, "nonce": nonce}
        judged = record.judge(
            found, hold, functools.partial(self._watched_ms, wanted.domain),
            wanted.take_over, wanted.conflict,
        )  # fmt: skip
        if judged.in_way is not None:
            raise self._held(wanted, judged.in_way)
        past = judged.ran_out
        if found is not None and record.is_ahead(found, self._now_ms, past):
            text = f"the record of {wanted.domain} lies more than 5 minutes ahead of this clock"
            raise Refusal("clock", text, "set this machine's clock right")
        after_id = record.floor_id(found, past) if found else ""
        begins_ms = max(self._now_ms, *(events.time_of(i) for i in (after_id, wanted.newest) if i),
                        0)  # fmt: skip
        fences = (wanted.fence, found.fence if found else 0)
        hold.setdefault("fence", record.next_fence(*fences))
        hold["expires_at_ms"] = begins_ms + hold["ttl_ms"]
        newest = wanted.newest or events.first_id_at(self._now_ms)
        after = record.with_hold(found, wanted.domain, hold, newest, judged.gone)
        return Won(wanted.domain, hold, after_id, 0), after

    def _held(self, wanted: Wanted, hold: Hold) -> Refusal:
        left_ms = hold["ttl_ms"] - max(0, self._watched_ms(wanted.domain, hold))
        return Refusal(
            "held",
            f"{arbiter.held_text(hold)}, confirmed by {self._target.remote}",
            f"free when released, or once seen unchanged for {left_ms // 1000 + 1} s more",
            holder=hold["agent_id"],
            fence=hold["fence"],
            expires_at_ms=hold["expires_at_ms"],
            free_in_ms=left_ms,
        )

    def _watched_ms(self, domain: str, hold: Hold) -> int:
        """For how long this clone has seen a hold stand in its record, by its nonce."""
        seen = self._syncer.kept["holds"].get(HOLDS + record.name(domain))
        if not seen or seen[1] != clock.boot_id():
            return -1
        return clock.boot_ms() - int(seen[3].get(hold["nonce"], seen[2]))

    def _note_nonces(self, found: Record) -> None:
        """Remember since when each hold of a record has stood in it."""
        seen = self._syncer.kept["holds"].get(HOLDS + record.name(found.domain))
        if seen and seen[1] == clock.boot_id():
            nonces = [hold["nonce"] for hold in found.holds]
            seen[3] = {nonce: seen[3].get(nonce, seen[2]) for nonce in nonces}

    def _read(self, domain: str) -> Record | None:
        """The record as the listing has it; None where there is none yet; raises `Moved`."""
        name = HOLDS + record.name(domain)
        commit = self._listing.get(name)
        if commit is None:
            return None
        path = f"{commit}:{_FILE}"
        [data] = self._repository.objects([path])
        if data is None:
            self._syncer.fetch([name])
            [data] = self._repository.objects([path])
        found = record.parse(data or b"", domain)
        if data is not None and found is None:
            text = f"the record of {domain} on {self._target.remote} cannot be read"
            raise Refusal("unconfirmed", text, f"see: git show {commit}")
        if found is None:
            # Between the listing and the fetch.
            raise Moved
        self._note_nonces(found)
        return found

    def _swap(self, afters: Sequence[Record]) -> None:
        """Replace the records of these domains; raises `Moved` if not all are as listed."""
        names = [HOLDS + record.name(after.domain) for after in afters]
        befores = [self._listing.get(name, "") for name in names]
        commands: list[bytes] = []
        for after, name, before in zip(afters, names, befores, strict=True):
            files = {_FILE: record.as_text(after).encode()}
            ref = self._target.tracking + name
            commands += [*outgoing.commit(ref, before, self._now_ms, files), MARKED]
        commits = self._syncer.made(commands)
        refs = [self._target.prefix + name for name in names]
        moves = list(zip(refs, befores, commits, strict=True))
        answer, failed = self._repository.push(self._target.remote, moves, atomic=len(moves) > 1)
        if failed:
            # All fail together; one that is refused says why, the others that it was atomic.
            reason = next(itertools.filterfalse(is_race, failed.values()), "")
            if reason:
                raise refused(self._target, reason)
            raise Moved
        if answer.status:
            reason = unreachable(self._target, answer).message
            hint = "the next command or sync of this clone gives back what it may have won"
            raise Refusal("unconfirmed", f"not known to be held: {reason}", hint)
        self.note({**self._listing, **dict(zip(names, commits, strict=True))})

    # What a process that has ended may have left.

    def forget(self, domain: str, nonce: str) -> None:
        """Take a note away: its swap and its event are both there, or neither."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_note_path(self._local, domain, nonce))

    def settle(self) -> None:
        """Give back what leftovers say was won and is not held, many in one push."""
        names = leftovers(self._local)
        for start in range(0, len(names), _AT_ONCE):
            paths = [
                os.path.join(self._local, store.CONFIRMING, n) for n in names[start:][:_AT_ONCE]
            ]
            notes = [note for note in map(_read_note, paths) if note is not None]
            if self._settled(list(dict.fromkeys(str(note["domain"]) for note in notes))):
                for path in paths:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(path)

    def _settled(self, domains: Sequence[str]) -> bool:
        for _ in range(TRIES):
            with contextlib.suppress(Moved):
                self._bring(domains)
                there = [found for found in map(self._read, domains) if found]
                afters = [(found, self._without_ours(found)) for found in there]
                changed = [after for found, after in afters if after != found]
                if changed:
                    self._swap(changed)
                return True
            self.look()
        return False

    def _bring(self, domains: Sequence[str]) -> None:
        """Have the records of these domains here, with one fetch."""
        names = [HOLDS + record.name(domain) for domain in domains]
        there = [name for name in names if name in self._listing]
        paths = [f"{self._listing[name]}:{_FILE}" for name in there]
        found = self._repository.objects(paths) if paths else []
        missing = [name for name, data in zip(there, found, strict=True) if data is None]
        if missing:
            self._syncer.fetch(missing)

    def _without_ours(self, found: Record) -> Record:
        """The record without what this clone has in it and does not hold."""
        place = self._syncer.place
        with index.opened(place.store, self._now_ms) as known:
            replica = Replica(place, known.newest_known())
            ours = {hold["writer"] for hold in found.holds if replica.owns(hold["writer"])}
            held = _held_in(known, found.domain)
            after = found
            for hold in found.holds:
                stands = held.get(hold["lease_id"])
                if hold["writer"] not in ours or (stands and stands.get("nonce") == hold["nonce"]):
                    continue
                after = record.without(after, {hold["nonce"]}, known.newest())
                if stands is not None and arbiter.runs(stands, self._now_ms):
                    # A renewal that was not recorded: what it was before is still held.
                    back = {**stands, "writer": hold["writer"]}
                    after = record.with_hold(after, found.domain, back, known.newest())
            return after


def moved_always(domains: Sequence[str]) -> Refusal:
    """The refusal of a swap for which somebody else was faster each time."""
    text = f"the record of {', '.join(dict.fromkeys(domains))} moved each time we asked for it"
    return Refusal("unconfirmed", text, "try again")


def leave_note(local: str, domain: str, nonce: str) -> None:
    """Note that a swap is about to be made, or is to be undone."""
    path = _note_path(local, domain, nonce)
    with store.refusing_disk_errors(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(journal.as_json({"domain": domain, "nonce": nonce}))


def _note_path(local: str, domain: str, nonce: str) -> str:
    return os.path.join(local, store.CONFIRMING, f"{nonce}-{record.name(domain)[:8]}")


def leftovers(local: str) -> Sequence[str]:
    """The notes of swaps whose outcome was never recorded, or is being recorded now."""
    try:
        return sorted(os.listdir(os.path.join(local, store.CONFIRMING)))
    except FileNotFoundError:
        return []


def put_off(local: str, seconds: float) -> None:
    """Let commands leave the notes alone for a while, should this try fail."""
    again_at = time.time() + seconds
    for name in leftovers(local):
        with contextlib.suppress(FileNotFoundError):
            os.utime(os.path.join(local, store.CONFIRMING, name), (again_at, again_at))


def _read_note(path: str) -> Mapping[str, Any] | None:
    try:
        with open(path, "rb") as stream:
            found = journal.from_json(stream.read())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and "domain" in found else None


def entity_of(domain: str) -> str:
    """The entity whose fold tells who holds a domain."""
    kind, _, name = domain.partition(":")
    return f"{kind}/{name}" if kind in ("work", "run") else f"lease/{domain}"


def _held_in(known: index.Index, domain: str) -> Mapping[str, Hold]:
    """The confirmed holds of a domain, as the fold has them, by lease."""
    if not domain.startswith(groups.DOMAIN):
        return arbiter.confirmed_in(known.state(entity_of(domain)))
    found: dict[str, Hold] = {}
    for run_id, limit in runs.taken_in(known.connection, domain.removeprefix(groups.DOMAIN)):
        for lease_id, hold in arbiter.confirmed_in(known.state(f"run/{run_id}")).items():
            found[lease_id] = {**hold, "resource": groups.resource_of(domain, limit)}
    return found
