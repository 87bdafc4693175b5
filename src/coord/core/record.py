"""The record of one domain on the git remote: who holds what that the remote confirmed.

    {"v":1, "domain":…, "fence":n, "event_id":…, "holds":[{"resource":…, "lease_id":…,
     "agent_id":…, "session_id":…, "writer":…, "fence":n, "ttl_ms":n, "expires_at_ms":n,
     "nonce":…, "shared":true, "exec":true, "ignorecase":true}]}

It is replaced as a whole, by compare-and-swap, and never deleted, for it keeps the
fence. Rules of whoever replaces it (DESIGN §8):

    a nonce is one swap's alone, and stands in the event that is appended once it is won
    a hold of somebody else stands until it is released, or until one has oneself watched
    it unchanged, which its nonce tells, for its whole `ttl_ms`: clocks of two machines are
    not compared. What others hold in the record of a domain may come and go meanwhile
    the successor's event is newer than the record's and than the end of what ran out
    a nonce of one's own that is in no event is an *orphan*: a crash, or an answer lost
    on the way. It is released and never completed; where the lease was held before, as
    a renewal leaves it, the hold that stands in the events is put back

A record that cannot be read is not a free one: it is left alone.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import arbiter, digest, event, resource
from coord.core.arbiter import Conflict, Hold

VERSION = 1
_TEXTS = ("resource", "lease_id", "agent_id", "writer", "nonce")
# What a hold may say besides; absent is no.
FLAGS = ("shared", "exec", "ignorecase")
_NUMBERS = ("fence", "ttl_ms", "expires_at_ms")


class Record(NamedTuple):
    """What the remote knows of one domain.

    fence: the largest confirmed one. event_id: the newest that any of its swappers knew,
        or the beginning of the newest hold; what succeeds is newer.
    holds: with `session_id` always, and those of `FLAGS` that are true.
    """

    domain: str
    fence: int
    event_id: str
    holds: tuple[Hold, ...] = ()


def name(domain: str) -> str:
    """What the record of a domain is called on the remote."""
    return digest.sha256(domain.encode()).hexdigest()[:32]


def parse(data: bytes, domain: str) -> Record | None:
    """The record of this domain; None for anything else, which is to be left alone."""
    # Imported here and below: most commands never meet a record.
    import json

    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or type(raw.get("v")) is not int or raw["v"] != VERSION:
        return None
    fence, event_id, holds = raw.get("fence"), raw.get("event_id"), raw.get("holds")
    if raw.get("domain") != domain or not event.is_integer(fence) or not isinstance(holds, list):
        return None
    if not (isinstance(event_id, str) and event.EVENT_ID.fullmatch(event_id)):
        return None
    if not all(isinstance(hold, dict) and _is_hold(hold) for hold in holds):
        return None
    return Record(domain, fence, event_id, tuple(map(_kept, holds)))


def _is_hold(raw: Mapping[str, Any]) -> bool:
    texts = all(isinstance(raw.get(key), str) and raw[key] for key in _TEXTS)
    numbers = all(event.is_integer(raw.get(key), least=1) for key in _NUMBERS)
    return texts and numbers and isinstance(raw.get("session_id", ""), str)


def _kept(hold: Hold) -> Hold:
    """A hold as records have it: the arbiter's has more, a parsed one may have less."""
    kept = {key: hold[key] for key in (*_TEXTS, *_NUMBERS)}
    kept["session_id"] = hold.get("session_id", "")
    return {**kept, **{key: True for key in FLAGS if hold.get(key) is True}}


def as_text(record: Record) -> str:
    """The record's canonical JSON: `parse` gives the same record again."""
    import json

    holds = [{key: value for key, value in h.items() if value != ""} for h in record.holds]
    raw = {**record._asdict(), "holds": holds, "v": VERSION}
    return json.dumps(raw, sort_keys=True, separators=(",", ":"))


def next_fence(*known: int) -> int:
    """The next fence of a confirmed acquire, above all that are known."""
    step = arbiter.CONFIRMED_STEP
    return (max(known, default=0) // step + 1) * step


class Judged(NamedTuple):
    """What a record says to somebody who asks for a hold.

    in_way: the hold that forbids it. ran_out: whose holders did not come back; the new
    hold begins after them. gone: the nonces of the holds that it takes the place of.
    """

    in_way: Hold | None
    ran_out: Sequence[Hold]
    gone: frozenset[str]


def judge(
    record: Record | None,
    wanted: Hold,
    watched_ms: Callable[[Hold], int],
    take_over: bool = False,
    conflict: Conflict = arbiter.always,
) -> Judged:
    """Ask a record for a hold, or for one more place in a pool.

    wanted: has `writer` too. The same agent and session on another clone is somebody
    else until it says `take_over`: both clones would believe that they hold.
    watched_ms: for how long, on the boot-time clock, this clone has itself seen a hold
    stand in the record as it is; -1 when it sees it for the first time.
    """
    holds = record.holds if record else ()
    if any(_places(hold) > 1 for hold in (*holds, wanted)):
        # Every acquire takes a place of its own, also its holder's second one.
        against = [h for h in holds if not _is_renewed(h, wanted)]
        rivals = [h for h in against if not (take_over and _is_of_another_session(h, wanted))]
    else:
        against = [h for h in holds if conflict(h, wanted)]
        rivals = [h for h in against if not _is_own(h, wanted, take_over)]
    standing = [h for h in rivals if watched_ms(h) < h["ttl_ms"]]
    ran_out = [h for h in rivals if h not in standing]
    places = min(map(_places, (*standing, wanted)))
    in_way = standing[0] if len(standing) >= places else None
    gone = frozenset(h["nonce"] for h in against if h not in standing)
    return Judged(in_way, ran_out, gone)


def _places(hold: Hold) -> int:
    return resource.places_of(hold["resource"])


def _is_renewed(hold: Hold, wanted: Hold) -> bool:
    return all(hold[key] == wanted[key] for key in ("lease_id", "writer", "session_id"))


def _is_of_another_session(hold: Hold, wanted: Hold) -> bool:
    same = (hold["session_id"], hold["writer"]) == (wanted["session_id"], wanted["writer"])
    return bool(hold["agent_id"] == wanted["agent_id"]) and not same


def _is_own(hold: Hold, wanted: Hold, take_over: bool) -> bool:
    is_here = bool(hold["writer"] == wanted["writer"])
    return arbiter.same_holder(hold, wanted, take_over) and (is_here or take_over)


def floor_id(record: Record, superseded: Iterable[Hold] = ()) -> str:
    """The event id that the successor's has to exceed.

    superseded: what ran out unreleased; the successor begins after it.
    """
    ends = [event.first_id_at(hold["expires_at_ms"]) for hold in superseded]
    return max([record.event_id, *ends])


def is_ahead(record: Record, now_ms: int, superseded: Iterable[Hold] = ()) -> bool:
    """Whether the successor's event would lie more than five minutes ahead of this clock."""
    return floor_id(record, superseded) >= event.horizon(now_ms)


def with_hold(
    record: Record | None,
    domain: str,
    hold: Hold,
    event_id: str,
    gone: Collection[str] = (),
) -> Record:
    """The record with a hold, in the place of the one of its lease; the fence never shrinks.

    event_id: the newest event that is known here. gone: nonces of others that give way.
    """
    before = record or Record(domain, 0, event_id)
    new = _kept(hold)
    kept = [h for h in before.holds if h["lease_id"] != new["lease_id"] and h["nonce"] not in gone]
    # The hold begins after what ran out before it. That has to outlast it: it may be
    # released without an event, and its successor still comes after both.
    begins = event.first_id_at(new["expires_at_ms"] - new["ttl_ms"])
    newest = max(before.event_id, event_id, begins)
    return Record(domain, max(before.fence, new["fence"]), newest, (*kept, new))


def without(record: Record, nonces: Collection[str], event_id: str) -> Record:
    """The record after these were released; it keeps its fence."""
    kept = tuple(hold for hold in record.holds if hold["nonce"] not in nonces)
    return record._replace(event_id=max(record.event_id, event_id), holds=kept)


def orphans(
    record: Record, writers: Collection[str], known_nonces: Collection[str]
) -> Sequence[Hold]:
    """The holds of these writers whose nonce is in none of their events."""
    ours = [hold for hold in record.holds if hold["writer"] in writers]
    return [hold for hold in ours if hold["nonce"] not in known_nonces]
