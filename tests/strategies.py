"""Events for tests: builders for one, and hypothesis strategies for many that collide.

Rules: instants are milliseconds after `START_MS`, so that a test reads like a table.
The strategies draw from few items, agents, leases, keys, ids and instants, for bugs
sit where two events meet; whatever has no effect on its own is drawn as well.
"""

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from hypothesis import settings
from hypothesis import strategies as st

from coord.core import event as events
from coord.core.event import Event

# Many small folders come and go: in memory, where there is one to be had.
SCRATCH = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
START_MS = 1_767_258_000_000
# At this wall clock nothing that the strategies draw is quarantined.
LATE_MS = START_MS + 3_600_000
SPAN_MS = 40
Raw = dict[str, Any]


def examples(count: int) -> settings:
    """Hypothesis settings for this many examples; many times that under `--long`."""
    return settings(max_examples=count * settings.default.max_examples // 100)


def id_at(at: int, nth: int = 0) -> str:
    """The nth event id of a millisecond."""
    return events.encode_id(START_MS + at, nth)


def raw(kind: str, at: int = 0, by: str = "ada", **parts: Any) -> Raw:
    """A parsed line.

    by: an agent's name or whole id. parts: `refs`, `body`, `key`, `session`, `nth`,
    `replica`, `seq`, and any other key of the envelope.
    """
    agent_id = by if ":" in by else f"agent:{by}"
    session = parts.pop("session", "")
    writer = f"{events.slug(agent_id)}.{parts.pop('replica', 'aaaaaa')}"
    line = {
        "event_id": id_at(at, parts.pop("nth", 0)),
        "type": kind,
        "actor": {"agent_id": agent_id, **({"session_id": session} if session else {})},
        "refs": parts.pop("refs", {}),
        "body": parts.pop("body", {}),
        "idempotency_key": parts.pop("key", ""),
        "writer": writer,
        "seq": parts.pop("seq", 1),
        **parts,
        "v": 1,
    }
    return {key: value for key, value in line.items() if value != ""}


def event(kind: str, at: int = 0, by: str = "ada", **parts: Any) -> Event:
    """The event of `raw`."""
    return events.from_raw(raw(kind, at, by, **parts))


def of(raws: Iterable[Mapping[str, Any]]) -> list[Event]:
    """Parsed lines as folds see them."""
    return [events.from_raw(line) for line in raws]


def work(verb: str, at: int = 0, by: str = "ada", item: str = "wk-a", **parts: Any) -> Event:
    """An event of a work item; `lease` and every key of a body may be given by name."""
    known = {k: parts.pop(k) for k in ("key", "session", "nth", "replica") if k in parts}
    refs = {"work_id": item, **parts.pop("refs", {})}
    if "lease" in parts:
        refs["lease_id"] = parts.pop("lease")
    return event(f"work.{verb}", at, by, refs=refs, body=parts, **known)


def created(item: str = "wk-a", at: int = 0, by: str = "ada", **body: Any) -> Event:
    """An item comes to be."""
    return work("created", at, by, item, **{"title": "something", **body})


def claimed(by: str, at: int, ttl: int = 1000, item: str = "wk-a", **parts: Any) -> Event:
    """An item is claimed; the lease is named after the agent unless `lease` says otherwise."""
    lease = parts.pop("lease", f"lease-{by}")
    refs = {"resource": parts.pop("resource", f"work:{item}"), "lease_id": lease}
    until = START_MS + at + ttl
    body = {"fence": 1, "ttl_ms": ttl, "expires_at_ms": until, "confirmed": "host", **parts}
    return work("claimed", at, by, item, refs=refs, **body)


def acquire(by: str, at: int, ttl: int = 1000, fence: int = 1, **parts: Any) -> Event:
    """An acquire of env:staging for the arbiter."""
    refs = {"resource": "env:staging", "lease_id": parts.pop("lease", f"lease-{by}")}
    known = {k: parts.pop(k) for k in ("session", "nth", "replica") if k in parts}
    body = {"fence": fence, "ttl_ms": ttl, "expires_at_ms": START_MS + at + ttl, **parts}
    return event("lease.acquire", at, by, refs=refs, body=body, **known)


def paused(who: str, at: int, by: str = "human:cy", **parts: Any) -> Event:
    """An agent, or `*`, is paused."""
    return event("agent.paused", at, by, refs={"agent_id": who}, body={"why": "a test"}, **parts)


def resumed(who: str, at: int, by: str = "human:cy", **parts: Any) -> Event:
    """A pause is lifted."""
    return event("agent.resumed", at, by, refs={"agent_id": who}, **parts)


def bytes_of(value: Any) -> bytes:
    """What two values are compared by when they must be the same to the last byte."""
    return orjson.dumps(value)


# An item on which every verb has something to do.
KNOWN = (
    created(at=-9, labels=["x"], description="long"),
    created("wk-b", at=-8),
    claimed("ada", -7, lease="lease-1"),
    work("linked", -6, kind="needs", target="wk-b"),
    work("commented", -5, text="hello"),
    work("updated", -4, by="bo", set={"title": "else"}, base={"title": ""}),
)

AGENTS = ("agent:ada", "agent:bo", "human:cy")
ITEMS = ("wk-a", "wk-b", "wk-c")
LEASES = ("lease-1", "lease-2", "lease-3")
INSTANTS = st.integers(0, SPAN_MS)
AFTER_START = INSTANTS.map(lambda at: START_MS + at)
UNTIL = st.integers(SPAN_MS // 4, 2 * SPAN_MS).map(lambda at: START_MS + at)
IDS = st.builds(id_at, INSTANTS, st.integers(0, 1))
LABELS = st.lists(st.sampled_from(["x", "y", "z"]), max_size=2)
TEXTS = st.sampled_from(["one", "two", "\x00 three\u2028"])
SPANS = st.integers(1, SPAN_MS)
FENCES = st.integers(1, 3)
RECIPIENTS = st.lists(st.sampled_from(AGENTS), max_size=2)
BLOBS = st.just({"sha256": "ab" * 32, "body_bytes": 70_000})
FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "title": TEXTS,
    "description": TEXTS | BLOBS,
    "type": st.sampled_from(["task", "bug"]),
    "priority": st.integers(0, 4),
    "acceptance": st.lists(TEXTS, max_size=2),
    "assignee": st.sampled_from(AGENTS),
    "due_ms": AFTER_START,
    "defer_until_ms": AFTER_START,
    "external_ref": TEXTS,
    "extra": st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 2), max_size=2),
}
TOLD_NAMES = ("why", "at_ms", "by", "updated_at_ms", "imported", "labels", "extra")
TOLD = st.fixed_dictionaries(
    {},
    optional={
        "why": TEXTS,
        "at_ms": AFTER_START,
        "by": st.sampled_from(["human:dee", "agent:ada"]),
        "updated_at_ms": AFTER_START,
        "imported": st.just({"from": "jsonl", "sha256": "cd" * 32}),
        "later": st.integers(0, 2),
    },
)


def fields(*needed: str) -> st.SearchStrategy[Raw]:
    """Some fields of an item; `needed` are always there."""
    rest = {name: values for name, values in FIELDS.items() if name not in needed}
    return st.fixed_dictionaries({name: FIELDS[name] for name in needed}, optional=rest)


CHANGE = st.fixed_dictionaries({"labels": LABELS})
LINK = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["needs", "needs", "needs", "parent", "waits_for"]),
        "target": st.sampled_from([*ITEMS, "wk-unknown"]),
    }
)
WAITS = st.one_of(
    st.fixed_dictionaries({"item": st.sampled_from([*ITEMS, "wk-unknown"])}),
    st.fixed_dictionaries({"until_ms": AFTER_START}),
    st.just({"agent": "agent:bo"}),
)
TAKING = {
    "fence": FENCES,
    "ttl_ms": SPANS,
    "expires_at_ms": UNTIL,
    "confirmed": st.sampled_from(["host", "host", "none", "remote"]),
}
# Every type that something folds, with bodies that mostly fit; and types that nothing does.
BODIES: Mapping[str, st.SearchStrategy[Raw]] = {
    "work.created": fields("title").flatmap(
        lambda body: LABELS.map(lambda labels: {**body, "labels": labels})
    ),
    "work.updated": st.fixed_dictionaries(
        {},
        optional={
            "set": fields(),
            "unset": st.lists(st.sampled_from([*FIELDS, "status"]), max_size=2),
            "add": CHANGE,
            "remove": CHANGE,
            "base": st.dictionaries(st.sampled_from(list(FIELDS)), IDS, max_size=3),
        },
    ),
    "work.claimed": st.fixed_dictionaries(TAKING, optional={"take_over": st.booleans()}),
    "work.renewed": st.fixed_dictionaries({}, optional={"ttl_ms": SPANS, "expires_at_ms": UNTIL}),
    "work.released": st.fixed_dictionaries({}, optional={"break": st.booleans()}),
    "work.closed": st.fixed_dictionaries({"as": st.sampled_from(["done", "wontdo", "never"])}),
    "work.reopened": st.just({}),
    "work.deleted": st.just({}),
    "work.linked": LINK,
    "work.unlinked": LINK,
    "work.commented": st.fixed_dictionaries(
        {"text": TEXTS}, optional={"comment_id": st.sampled_from(["c1", "c2"])}
    ),
    "agent.registered": st.fixed_dictionaries(
        {"mode": st.sampled_from(["listening", "human"])},
        optional={"owner": st.sampled_from(["human:cy", "agent:bo"]), "period_ms": TEXTS},
    ),
    "agent.paused": st.fixed_dictionaries({}, optional={"why": TEXTS}),
    "agent.resumed": st.just({}),
    "config.set": st.fixed_dictionaries(
        {"key": st.sampled_from(["claim.ttl_ms", "verify", "later.setting"])},
        optional={"value": st.sampled_from([1000, 2000, "soon", "required"])},
    ),
    "work.submitted": st.fixed_dictionaries({}, optional={"commit": TEXTS}),
    "work.verified": st.fixed_dictionaries(
        {"submission": IDS, "verdict": st.sampled_from(["pass", "fail", "cannot", "maybe"])}
    ),
    "work.handed_off": st.fixed_dictionaries(
        {"to": st.sampled_from(AGENTS), "expires_at_ms": UNTIL}
    ),
    "work.accepted": st.fixed_dictionaries({"offer": IDS, **TAKING}),
    "work.declined": st.fixed_dictionaries({"offer": IDS}),
    "work.held": st.fixed_dictionaries({"on": WAITS}) | st.fixed_dictionaries({"lift": IDS}),
    "work.ticked": st.fixed_dictionaries({"check": TEXTS}, optional={"undone": st.booleans()}),
    "artifact.added": st.fixed_dictionaries({"uri": TEXTS}),
    "lease.acquire": st.fixed_dictionaries(TAKING),
    "work.pondered": st.just({"passed": True}),
    "build.finished": st.just({"passed": True}),
    "msg.pondered": st.just({"passed": True}),
    "msg.sent": st.fixed_dictionaries(
        {"to": RECIPIENTS},
        optional={
            "cc": RECIPIENTS,
            "text": TEXTS | BLOBS,
            "importance": st.sampled_from(["low", "urgent", "loud"]),
            "ack": st.sampled_from(["none", "required"]),
            "expires_at_ms": AFTER_START,
        },
    ),
    "msg.read": st.just({}),
    "msg.acked": st.fixed_dictionaries({}, optional={"why": TEXTS}),
    "msg.snoozed": st.fixed_dictionaries({"until_ms": AFTER_START | TEXTS}),
    "msg.suppressed": st.just({}),
    "msg.reminded": st.fixed_dictionaries({"every_ms": SPANS, "max": FENCES}),
}


@dataclass(frozen=True)
class Crowd:
    """What a history is about: the fewer the types, agents and keys, the more they meet."""

    kinds: Sequence[str]
    agents: Sequence[str] = AGENTS
    keys: Sequence[str] = ("", "", "", "k1", "k2")
    items: Sequence[str] = ITEMS
    leases: Sequence[str] = LEASES


# What is exclusive, and what decides about it, is drawn more than its share.
ANYTHING = Crowd(
    [*BODIES, *["work.claimed"] * 5, *["work.closed", "work.updated", "agent.paused"] * 2]
)
CROWDS = {
    "anything": ANYTHING,
    "keys": Crowd(["work.commented", "work.created"], ["agent:ada"], ["k1", "k1", ""]),
    "pauses": Crowd(["agent.paused", "agent.resumed", "work.claimed", "config.set"]),
    "claims": Crowd([kind for kind in BODIES if kind[:5] == "work."], AGENTS[:2], [""], ITEMS[:2]),
    "links": Crowd(["work.linked", "work.unlinked", "work.closed", "work.held"], keys=[""]),
    "mail": Crowd(
        [*["msg.sent"] * 3, "msg.reminded", *sorted(events.RECEIPTS), "agent.paused"],
        keys=["", "", "k1"],
    ),
    "custody": Crowd(
        [
            *["work.claimed", "work.submitted", "work.handed_off"] * 3,
            "work.verified",
            "work.accepted",
            "work.declined",
            "work.held",
            "work.closed",
            "config.set",
        ],
        keys=[""],
        items=ITEMS[:1],
        leases=LEASES[:1],
    ),
}
# Which event a part of a body has to name for the event to have an effect.
# One in four events names another as its cause, two of them one that is often there.
CAUSES = ("",) * 9 + (id_at(-1, 0), id_at(-1, 1), id_at(0))
ANSWERS = {"submission": "work.submitted", "offer": "work.handed_off", "lift": "work.held"}


@st.composite
def raws(draw: st.DrawFn, crowd: Crowd = ANYTHING) -> Raw:
    """One event that is likely to meet another."""
    kind = draw(st.sampled_from(crowd.kinds))
    item = draw(st.sampled_from(crowd.items))
    refs = {"work_id": item}
    if kind.startswith("agent."):
        refs = {"agent_id": draw(st.sampled_from([*AGENTS[:2], "*", "human:cy"]))}
    elif kind.startswith("config."):
        refs = {}
    elif kind in events.RECEIPTS:
        refs = {"message_id": draw(IDS)}
    elif draw(st.booleans()) or kind in ("work.claimed", "work.renewed", "lease.acquire"):
        refs |= {"lease_id": draw(st.sampled_from(crowd.leases)), "resource": f"work:{item}"}
    body = draw(BODIES[kind])
    if draw(st.integers(0, 3)) == 0:
        body = {**body, **draw(TOLD)}
    return raw(
        kind,
        draw(INSTANTS),
        draw(st.sampled_from(crowd.agents)),
        nth=draw(st.integers(0, 2)),
        refs=refs,
        body=body,
        key=draw(st.sampled_from(crowd.keys)),
        session=draw(st.sampled_from(["", "", "s1"])),
        replica=draw(st.sampled_from(["aaaaaa", "bbbbbb"])),
        cause=draw(st.sampled_from(CAUSES)),
    )


@st.composite
def histories(draw: st.DrawFn, crowd: Crowd = ANYTHING, max_size: int = 24) -> list[Raw]:
    """Events in order of arrival: items are mostly there, some lines come twice.

    A repeat stands under another replica or says something else under the same id.
    """
    first = [raw("work.created", -1, refs={"work_id": item}, body={"title": item}, nth=n)
             for n, item in enumerate(ITEMS)]  # fmt: skip
    lines = first[draw(st.sampled_from([0, 0, 0, 1, 3])) :]
    lines += draw(st.lists(raws(crowd), min_size=6, max_size=max_size))
    lines = [_answering(draw, line, lines) for line in lines]
    for _ in range(draw(st.integers(0, 3)) if lines else 0):
        lines.append(_again(draw, draw(st.sampled_from(lines)), crowd))
    return draw(st.permutations(lines))


def _answering(draw: st.DrawFn, line: Raw, lines: Sequence[Raw]) -> Raw:
    """The line, mostly answering one that is there instead of any event id."""
    body = line["body"]
    mails = [other for other in lines if other["type"] in events.MAILED]
    if line["type"] in events.RECEIPTS and mails and draw(st.integers(0, 3)):
        refs = {"message_id": draw(st.sampled_from(mails))["event_id"]}
        return {**line, "event_id": events.next_id(line["event_id"], 0, bytes(16)), "refs": refs}
    for part in sorted(ANSWERS.keys() & body.keys()):
        asked = [other for other in lines if other["type"] == ANSWERS[part]]
        if asked and draw(st.integers(0, 3)):
            chosen = draw(st.sampled_from(asked))
            refs = {**line["refs"], "work_id": chosen["refs"]["work_id"]}
            return {**line, "refs": refs, "body": {**body, part: chosen["event_id"]}}
    return line


def _again(draw: st.DrawFn, line: Raw, crowd: Crowd) -> Raw:
    variants = [
        line,
        {**line, "writer": "agent-ada.cccccc", "seq": 9},
        {**line, "body": {**line["body"], "later": 1}},
        {**line, "idempotency_key": draw(st.sampled_from(["k1", "k2"]))},
        {key: value for key, value in line.items() if key != "idempotency_key"},
        {**line, "type": draw(st.sampled_from(crowd.kinds))},
        {**line, "refs": {**line["refs"], "work_id": draw(st.sampled_from(ITEMS))}},
    ]
    return draw(st.sampled_from(variants))


# Wall clocks at which the quarantine begins before, among and after what is drawn.
CLOCKS = st.integers(-1, SPAN_MS + 2).map(
    lambda at: START_MS + at - events.QUARANTINE_MS - 1
) | st.just(LATE_MS)  # fmt: skip

# Any JSON that a line may hold, with the numbers at which machines begin to differ.
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False,
    allow_infinity=False) | st.text(max_size=4) | st.sampled_from(["", *ITEMS, *LEASES]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner,
    max_size=2),
    max_leaves=4,
)  # fmt: skip


@st.composite
def strange(draw: st.DrawFn) -> Raw:
    """A line that reads as an event and one of whose parts is anything at all."""
    line = draw(raws())
    body, refs = dict(line["body"]), dict(line["refs"])
    known = {"work.updated": ["set", "unset", "add", "remove", "base"]}.get(line["type"], [])
    holder = draw(st.sampled_from([body, body, body, refs]))
    names = [*holder, *known, *TOLD_NAMES] if holder is body else [*holder]
    if holder is body and isinstance(body.get("set"), dict) and draw(st.booleans()):
        holder = body["set"] = dict(body["set"])
        names = list(FIELDS)
    if names:
        holder[draw(st.sampled_from(names))] = draw(JSON | st.lists(JSON, min_size=1, max_size=2))
    told = draw(st.dictionaries(st.sampled_from(["cause", "links", "ts", "v"]), JSON, max_size=1))
    return {**line, **told, "body": body, "refs": refs}


@dataclass
class Files:
    """Journals as their writers append them: numbered, chained, one line each."""

    folder: Path

    def __post_init__(self) -> None:
        self._tips: dict[Path, tuple[int, str]] = {}
        for tool in (*events.TOOLS, "local"):
            (self.folder / tool).mkdir(parents=True, exist_ok=True)

    def append(self, lines: Sequence[Raw]) -> None:
        """Append each line to the journal of its type and writer."""
        for line in lines:
            tool = events.journal_of(line["type"])
            path = self.folder / tool / f"{line['writer']}.0001.jsonl"
            seq, digest = self._tips.get(path, (0, ""))
            chained = {**line, "seq": seq + 1, **({"prev": digest} if digest else {})}
            data = orjson.dumps(chained)
            with path.open("ab") as stream:
                stream.write(data + b"\n")
            self._tips[path] = seq + 1, hashlib.sha256(data).hexdigest()[:32]
