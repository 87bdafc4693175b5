"""Events as CloudEvents 1.0 in JSON, and back.

    ours              CloudEvents
    event_id          id
    project, writer   source: /project/writer
    type, ts, body    type, time, data
    refs              subject: the first of work_id, run_id, … as kind/value; all of them
                      in the extension `refs`, as JSON text
    cause             causationid; and correlationid is the event it all began with
    links             links, separated by spaces
    actor             agent, session
    idempotency_key   idempotencykey

Back, the id becomes the idempotency key, so that reading twice adds nothing; `time` and
`agent` become the body's `at_ms` and `by`: when it really happened and who did it. What
names events of the other store (`base`) is left out. Attributes that mean nothing here
stay in the envelope.
"""

from collections.abc import Callable, Mapping
from typing import Any

from coord.core import units
from coord.core.event import AGENT_ID, EVENT_ID, KEY_ORDER
from coord.errors import Refusal

SPEC = "1.0"
_SUBJECTS = ("work_id", "run_id", "thread_id", "lease_id", "agent_id", "resource")
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/")
_OURS = frozenset(
    "specversion id source type time subject datacontenttype dataschema data data_base64 refs"
    " correlationid causationid links agent session idempotencykey".split()
)
Raw = Mapping[str, Any]
Parsed = Callable[[str], Any]


def exported(raw: Raw, root: str, as_text: Callable[[object], str]) -> dict[str, Any]:
    """One event as a CloudEvent.

    root: the id of the event it all began with. as_text: a value as JSON text.
    """
    refs = raw.get("refs") or {}
    subject = next((f"{name}/{refs[name]}" for name in _SUBJECTS if name in refs), None)
    found = {
        "specversion": SPEC,
        "id": raw["event_id"],
        "source": _quoted(f"/{raw.get('project', '')}/{raw['writer']}"),
        "type": raw["type"],
        "time": raw.get("ts"),
        "subject": subject,
        "datacontenttype": "application/json",
        "data": raw.get("body") or {},
        "correlationid": root,
        "causationid": raw.get("cause"),
        "links": " ".join(raw.get("links") or ()),
        "agent": raw["actor"]["agent_id"],
        "session": raw["actor"].get("session_id"),
        "refs": as_text(refs) if refs else None,
        "idempotencykey": raw.get("idempotency_key"),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _quoted(text: str) -> str:
    """A URI reference: every byte that may not stand there is escaped."""
    return "".join(chr(b) if chr(b) in _SAFE else f"%{b:02X}" for b in text.encode())


def draft_of(cloud: object, parsed: Parsed) -> dict[str, Any]:
    """A CloudEvent as the keys of an event to be written.

    parsed: a value from JSON text. Refusals: bad_data.
    """
    if not isinstance(cloud, dict):
        raise Refusal("bad_data", "a CloudEvent is a JSON object", pointer="")
    for name in ("specversion", "id", "source", "type"):
        if not isinstance(cloud.get(name), str) or not cloud[name]:
            text = f"a CloudEvent has {name}, a text"
            raise Refusal("bad_data", text, "CloudEvents 1.0, one JSON object a line",
                          pointer=f"/{name}")  # fmt: skip
    if not cloud["specversion"].startswith("1."):
        text = f"CloudEvents {cloud['specversion'][:20]} is not understood"
        raise Refusal("bad_data", text, "only 1.0 is", pointer="/specversion")
    more = {name: value for name, value in cloud.items() if name not in (*_OURS, *KEY_ORDER)}
    found = {
        **{name: value for name, value in more.items() if value is not None},
        "type": cloud["type"],
        "refs": _refs(cloud, parsed),
        "body": _body(cloud),
        "idempotency_key": cloud["id"],
    }
    if _is_event_id(cloud.get("causationid")):
        found["cause"] = cloud["causationid"]
    links = [name for name in str(cloud.get("links") or "").split() if _is_event_id(name)]
    return {**found, "links": links} if links else found


def _is_event_id(value: object) -> bool:
    return isinstance(value, str) and EVENT_ID.fullmatch(value) is not None


def _refs(cloud: Raw, parsed: Parsed) -> dict[str, Any]:
    """What it is about; where another system wrote it, its source and subject."""
    if isinstance(cloud.get("refs"), str):
        refs = parsed(cloud["refs"])
        if not isinstance(refs, dict):
            raise Refusal("bad_data", "refs is no JSON object", pointer="/refs")
        return refs
    if isinstance(cloud.get("correlationid"), str) and _is_event_id(cloud["id"]):
        return {}
    named = {name: cloud.get(name) for name in ("source", "subject")}
    return {name: value for name, value in named.items() if isinstance(value, str) and value}


def _body(cloud: Raw) -> dict[str, Any]:
    data = cloud.get("data", {})
    body = dict(data) if isinstance(data, dict) else {"data": data}
    body.pop("base", None)
    if isinstance(cloud.get("data_base64"), str):
        body["data_base64"] = cloud["data_base64"]
    if isinstance(cloud.get("time"), str):
        body.setdefault("at_ms", _instant(cloud["time"]))
    agent = cloud.get("agent")
    if isinstance(agent, str) and AGENT_ID.fullmatch(agent):
        body.setdefault("by", agent)
    return body


def _instant(text: str) -> int:
    try:
        if not text[:4].isdigit():
            raise Refusal("bad_data", f"{text[:40]!r} is no instant")
        return units.parse_instant(text, 0)
    except Refusal as refusal:
        hint = "one that fits: 2026-11-20T21:30:00Z"
        raise Refusal("bad_data", refusal.message, hint, pointer="/time") from refusal
