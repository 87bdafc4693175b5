"""What somebody wants to record, before it is an event.

A draft has the parts that its author decides; id, time and writer come when it is
written. Spans become instants then too: `expires_at_ms` is the event's own time
plus `ttl_ms`; but what the remote confirmed ends when its record says.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import digest
from coord.core import event as events
from coord.core.event import Event

TAKING = frozenset({
    "work.claimed", "work.renewed", "work.accepted", "work.handed_off",
    "lease.acquire", "lease.renew", "run.claimed",
})  # fmt: skip
# A record's default for what is not given; nobody changes it.
NOTHING: Mapping[str, Any] = {}


class Draft(NamedTuple):
    """One fact to be recorded.

    key: an idempotency key, or "". more: envelope keys this version does not know.
    """

    type: str
    refs: Mapping[str, Any] = NOTHING
    body: Mapping[str, Any] = NOTHING
    cause: str = ""
    links: Sequence[str] = ()
    key: str = ""
    more: Mapping[str, Any] = NOTHING


class Author(NamedTuple):
    """Who writes, and for which project."""

    agent_id: str
    session_id: str = ""
    project: str = ""

    @property
    def actor(self) -> dict[str, str]:
        """The event's `actor`."""
        session = {"session_id": self.session_id} if self.session_id else {}
        return {"agent_id": self.agent_id, **session}


def event_of(
    draft: Draft, author: Author, event_id: str, ts: str, writer: str
) -> tuple[dict[str, Any], Event]:
    """The event that a draft becomes under an id, as raw keys and for folding."""
    body = dict(draft.body)
    is_recorded = body.get("confirmed") == "remote"
    if draft.type in TAKING and not is_recorded and type(body.get("ttl_ms")) is int:
        body["expires_at_ms"] = events.time_of(event_id) + body["ttl_ms"]
    raw: dict[str, Any] = {
        "event_id": event_id,
        "ts": ts,
        "project": author.project,
        "type": draft.type,
        "actor": author.actor,
        "refs": dict(draft.refs),
        "body": body,
        "cause": draft.cause,
        "links": list(draft.links),
        "idempotency_key": draft.key,
        **draft.more,
    }
    raw = {key: value for key, value in raw.items() if value not in ("", [])}
    event = Event(
        event_id, draft.type, author.agent_id, author.session_id,
        raw["refs"], body, draft.key, writer, raw,
    )  # fmt: skip
    return raw, event


def scope_of(draft: Draft, author: Author) -> str:
    """What the draft's key is unique in; "" without one."""
    return f"{author.agent_id}\n{draft.type}\n{draft.key}" if draft.key else ""


def keyed_name(scope: str, part: str) -> bytes:
    """Bytes for an id that a keyed request mints: every retry, on any clone, the same."""
    return digest.sha256(f"{scope}\n{part}".encode()).digest()[:16]
