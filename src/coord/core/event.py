"""What an event is, how its id carries time, and which entities it belongs to.

An event is one immutable JSON object (DESIGN §4). Its id is a ULID whose first
ten characters are milliseconds; ids are compared as strings. Reading checks only
what folds rely on; `edge.schemas` checks the rest for whatever comes from outside.

    type's first word   journal   entity whose fold reads it
    work, artifact      wk        work/<refs.work_id>
    agent               ev        agent/<refs.agent_id>, "*" for all agents
    config              ev        config/<body.key>
    msg                 msg       msg/<event_id> of what is sent or a rule that reminds,
                                  msg/<refs.message_id> of what is done about one
    lease               lease     lease/<domain of refs.resource> (`core.resource`)
    run                 run       run/<refs.run_id>
    lease, run          theirs    else work/<refs.work_id> where one is named
    anything else       ev        work/<refs.work_id> where one is named
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeGuard

from coord.core import digest, resource

MAX_LINE_BYTES = 64 * 1024
# How many objects and lists may stand in one another: what reads, compares or writes
# deeper ones gives up at some depth of its own.
MAX_DEPTH = 100
QUARANTINE_MS = 5 * 60 * 1000
VERSION = 1

KEY_ORDER = (
    "event_id", "ts", "project", "type", "actor", "refs", "body", "cause", "links",
    "idempotency_key", "writer", "seq", "prev", "v",
)  # fmt: skip
JOURNALS = {"work": "wk", "artifact": "wk", "lease": "lease", "msg": "msg", "run": "run"}
TOOLS = ("wk", "ev", "lease", "msg", "run")
# Where journals lie: what could not be merged with one of the tools' is read like them.
ATTIC = "attic"
FOLDERS = (*TOOLS, ATTIC)
# What makes a message, or a rule that reminds; and what is done about one.
MAILED = frozenset({"msg.sent", "msg.reminded"})
RECEIPTS = frozenset({"msg.read", "msg.acked", "msg.snoozed", "msg.suppressed"})
RESERVED = frozenset({"work", "artifact", "lease", "msg", "run", "agent", "config"})
# The last millisecond of the year 9999, and the bound of every other integer too:
# beyond it a date cannot be written, and soon a sum no longer fits where it is kept.
MAX_INTEGER = 253_402_300_799_999
# Where an event is written is not part of what it says: a line that was written
# again under another replica is the same event.
POSITION_KEYS = ("writer", "seq", "prev")
# Parts of a body that say when it was judged: a retry of the same request differs.
MINTED = frozenset({"fence", "expires_at_ms", "base", "nonce"})

CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
EVENT_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
TYPE = re.compile(r"[a-z][a-z0-9_-]*(\.[a-z0-9_-]+)+")
AGENT_ID = re.compile(r"(agent|human|bot):[^\s\x00-\x1f\x7f]{1,120}")
WRITER = re.compile(r"[a-z0-9-]{1,64}\.[a-z2-7]{6}")
_NESTS = (Mapping, list, tuple)
_RANDOM_BITS = 80
# What an absent object reads as; nobody changes it.
_NONE: Mapping[str, Any] = {}
_PAIRS = [one + other for one in CROCKFORD for other in CROCKFORD]
# Crockford's digits as those that `int` reads in base 32.
_AS_BASE32 = str.maketrans(CROCKFORD, "0123456789abcdefghijklmnopqrstuv")


class Event(NamedTuple):
    """One event as folds see it; `raw` keeps every key, known or not."""

    event_id: str
    type: str
    agent_id: str
    session_id: str
    refs: Mapping[str, Any]
    body: Mapping[str, Any]
    key: str
    writer: str
    raw: Mapping[str, Any]

    @property
    def time_ms(self) -> int:
        """The hybrid clock's instant, milliseconds since the epoch."""
        return int(self.event_id[:10].translate(_AS_BASE32), 32)


def fault_in(raw: object) -> str:
    """Name what keeps a parsed line from being read as an event; "" if nothing does."""
    if not isinstance(raw, dict):
        return "is not a JSON object"
    event_id, kind, actor = raw.get("event_id"), raw.get("type"), raw.get("actor")
    if not (isinstance(event_id, str) and EVENT_ID.fullmatch(event_id)):
        return "event_id is not a ULID"
    if not (isinstance(kind, str) and TYPE.fullmatch(kind)):
        return "type is not a dotted lower-case name"
    if not (isinstance(actor, dict) and isinstance(actor.get("agent_id"), str)):
        return "actor.agent_id is missing"
    if not isinstance(raw.get("writer"), str) or not is_integer(raw.get("seq"), least=1):
        return "writer or seq is missing"
    if not isinstance(raw.get("refs", _NONE), dict):
        return "refs is not an object"
    if not isinstance(raw.get("body", _NONE), dict):
        return "body is not an object"
    if "session_id" in actor and not isinstance(actor["session_id"], str):
        return "actor.session_id is not a string"
    if "idempotency_key" in raw and not isinstance(raw["idempotency_key"], str):
        return "idempotency_key is not a string"
    return ""


def is_too_deep(value: object) -> bool:
    """Whether more than `MAX_DEPTH` objects and lists stand in one another."""
    # Level by level and no recursion: that is what would fail.
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [part for nest in level if isinstance(nest, _NESTS) for part in _parts_of(nest)]
        if not level:
            return False
    return any(isinstance(part, _NESTS) for part in level)


def _parts_of(nest: Any) -> Iterable[Any]:
    return nest.values() if isinstance(nest, Mapping) else nest


def is_integer(value: object, least: int = 0) -> TypeGuard[int]:
    """Whether a value is an integer that can be kept and reckoned with."""
    return type(value) is int and least <= value <= MAX_INTEGER


def from_raw(raw: Mapping[str, Any]) -> Event:
    """Read a parsed line that `fault_in` found nothing in."""
    actor = raw["actor"]
    return Event(
        raw["event_id"],
        raw["type"],
        actor["agent_id"],
        actor.get("session_id", ""),
        raw.get("refs", _NONE),
        raw.get("body", _NONE),
        raw.get("idempotency_key", ""),
        raw["writer"],
        raw,
    )


def journal_of(kind: str) -> str:
    """The tool in whose folder events of this type are written."""
    return JOURNALS.get(kind.partition(".")[0], "ev")


def entity_of(raw: Mapping[str, Any]) -> str:
    """The entity whose fold reads this event, or "" for one that nothing folds."""
    kind: str = raw["type"]
    if kind.startswith("agent."):
        family, name = "agent", raw.get("refs", _NONE).get("agent_id")
    elif kind.startswith("config."):
        family, name = "config", raw.get("body", _NONE).get("key")
    elif kind.startswith("lease.") and isinstance(raw.get("refs", _NONE).get("resource"), str):
        family, name = "lease", resource.domain_of(raw["refs"]["resource"])
    elif kind.startswith("run.") and isinstance(raw.get("refs", _NONE).get("run_id"), str):
        family, name = "run", raw["refs"]["run_id"]
    elif kind in MAILED:
        family, name = "msg", raw["event_id"]
    elif kind in RECEIPTS:
        family, name = "msg", raw.get("refs", _NONE).get("message_id")
    else:
        family, name = "work", raw.get("refs", _NONE).get("work_id")
    return f"{family}/{name}" if name and isinstance(name, str) else ""


def key_scope(raw: Mapping[str, Any]) -> str:
    """What an idempotency key is unique in: agent, type and key; "" without a key."""
    key = raw.get("idempotency_key")
    return f"{raw['actor']['agent_id']}\n{raw['type']}\n{key}" if key else ""


def content_of(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The event without where it is written, for comparing two lines."""
    return {key: value for key, value in raw.items() if key not in POSITION_KEYS}


def says_the_same(one: Event, other: Event) -> bool:
    """Whether two events under one idempotency key state the same fact.

    Whether a long text stands in its line or in a blob depends on the rest of the line.
    """
    return _agree(_fact(one), _fact(other))


def _fact(event: Event) -> list[dict[str, Any]]:
    """What was asked for, without what says when and under which hold it was judged."""
    refs = {key: value for key, value in event.refs.items() if key != "lease_id"}
    return [refs, {key: value for key, value in event.body.items() if key not in MINTED}]


def _agree(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, a blob being equal to the text it stands for."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_agree(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_agree, one, other))
    text, blob = (other, one) if isinstance(one, Mapping) else (one, other)
    if isinstance(text, str) and isinstance(blob, Mapping):
        data = text.encode(errors="surrogatepass")
        return bool(blob.get("sha256") == digest.sha256(data).hexdigest())
    return bool(one == other)


def time_of(event_id: str) -> int:
    """Milliseconds since the epoch that an event id carries."""
    return int(event_id[:10].translate(_AS_BASE32), 32)


def encode_id(time_ms: int, random: int) -> str:
    """A ULID of 48 bits of time and 80 bits of chance."""
    value = (time_ms << _RANDOM_BITS) | random
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def decode_id(event_id: str) -> tuple[int, int]:
    """The time in milliseconds and the random part of an event id."""
    value = int(event_id.translate(_AS_BASE32), 32)
    return value >> _RANDOM_BITS, value & ((1 << _RANDOM_BITS) - 1)


def first_id_at(time_ms: int) -> str:
    """The smallest event id of a millisecond; every later event's is at least it."""
    return encode_id(max(0, time_ms), 0)


def next_id(newest: str, now_ms: int, entropy: bytes) -> str:
    """The hybrid clock's next id: past the wall clock's millisecond and past `newest`.

    newest: the largest id folded in the store or written by this writer, or "".
    entropy: at least 16 random bytes.
    While the wall clock is not past `newest`, its millisecond stays and the random
    part grows by 1…2^48: two clones that saw the same newest id must not mint the
    same next one, which growing by one would make them do.
    """
    fresh = int.from_bytes(entropy[:10], "big")
    if not newest:
        return encode_id(now_ms, fresh)
    time_ms, random = decode_id(newest)
    if now_ms > time_ms:
        return encode_id(now_ms, fresh)
    random += 1 + int.from_bytes(entropy[10:16], "big")
    return encode_id(time_ms + (random >> _RANDOM_BITS), random & ((1 << _RANDOM_BITS) - 1))


def horizon(now_ms: int) -> str:
    """The first event id that is quarantined at this wall clock."""
    return first_id_at(now_ms + QUARANTINE_MS + 1)


def slug(text: str) -> str:
    """A text as a file name's part: `agent:Bo Ray` becomes `agent-bo-ray`.

    A long or empty one ends in a hash, so that two never meet by being cut.
    """
    plain = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    if plain and len(plain) <= 48:
        return plain
    return f"{plain[:39]}-{digest.sha256(text.encode()).hexdigest()[:8]}".lstrip("-")
