"""The fold of one message, and of one rule that reminds: `type -> step` (DESIGN §7).

    event          entity                on nothing        on a message        on a rule
    sent           msg/<its own id>      the message
    reminded       msg/<its own id>      the rule
    read, acked    msg/<message_id>      unknown_message   by a recipient      wrong_state
    snoozed        msg/<message_id>      unknown_message   by a recipient      by anybody
    suppressed     msg/<message_id>      unknown_message   by a recipient or   by anybody
                                                           its sender

A message never changes; what its recipients do about it is kept per recipient in
`receipts`, the first instant of each, so that every clone says the same. Reading
again, or acknowledging twice, changes nothing. Of a message that two clones sent under
one key the later id is `same_as` the earlier; what is done about it changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from coord.core import digest
from coord.core.event import AGENT_ID, MAILED, Event, is_integer
from coord.core.problem import Patch, Problem, State, World

IMPORTANCE = ("low", "normal", "high", "urgent")
ACKS = ("none", "wanted", "required")
MAX_HOPS = 8
SUBJECT_CHARS = 200
# Whoever runs `tick`: one author for all clones, so that keys mean the same everywhere.
REMINDER = "bot:reminder"

Step = Callable[[State, Event, World], Patch | Problem]


def _are_agents(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(name, str) and AGENT_ID.fullmatch(name) for name in value
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) or is_blob(value)


def is_blob(value: object) -> bool:
    """Whether it stands for a long text or a file."""
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("sha256"), str)
        and is_integer(value.get("body_bytes"))
    )


def _are_attachments(value: object) -> bool:
    return isinstance(value, list) and all(
        is_blob(part) and isinstance(part.get("name"), str) for part in value
    )


def _is_subject(value: object) -> bool:
    return isinstance(value, str) and len(value) <= SUBJECT_CHARS


def _is_importance(value: object) -> bool:
    return value in IMPORTANCE if isinstance(value, str) else False


def _is_ack(value: object) -> bool:
    return value in ACKS if isinstance(value, str) else False


def _is_flag(value: object) -> bool:
    return value is True


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _is_name(value: object) -> bool:
    return isinstance(value, str)


def _is_reminder(value: object) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get("rule_id"), str):
        return False
    return is_integer(value.get("number"), least=1)


# What a message says besides who wrote it; what is not there has no value.
FITS: Mapping[str, Callable[[object], bool]] = {
    "to": _are_agents,
    "cc": _are_agents,
    "subject": _is_subject,
    "text": _is_text,
    "importance": _is_importance,
    "ack": _is_ack,
    "ack_by_ms": is_integer,
    "expires_at_ms": is_integer,
    "attachments": _are_attachments,
    "wake": _is_flag,
    "auto": _is_flag,
    "hops": is_integer,
    "addressed": _are_texts,
    "forwards": _is_name,
    "reminder": _is_reminder,
}
_REFS = ("work_id", "run_id", "reply_to")


def _bad(event: Event, text: str) -> Problem:
    return Problem(event.event_id, "bad_data", text)


def _sent(state: State, event: Event, _world: World) -> Patch | Problem:
    body, refs = event.body, event.refs
    for name, fits in FITS.items():
        if name in body and not fits(body[name]):
            return _bad(event, f"{name} does not fit")
    to = _once(body.get("to", ()))
    cc = [name for name in _once(body.get("cc", ())) if name not in to]
    if not to and not cc:
        return _bad(event, "a message is to somebody")
    patch: dict[str, Any] = {
        "message_id": event.event_id,
        "thread_id": _thread(event),
        "from": event.agent_id,
        "to": to,
        "sent_at_ms": event.time_ms,
        "importance": "normal",
        "receipts": {},
    }
    if cc:
        patch["cc"] = cc
    if event.session_id:
        patch["session_id"] = event.session_id
    patch.update({k: body[k] for k in FITS if k in body and k not in ("to", "cc")})
    patch.update({k: refs[k] for k in _REFS if isinstance(refs.get(k), str)})
    return patch


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _thread(event: Event) -> str:
    named = event.refs.get("thread_id")
    return named if isinstance(named, str) and named else f"th-{event.event_id[-8:].lower()}"


def recipients(state: Mapping[str, Any]) -> list[str]:
    """Everybody a message is for, in order."""
    return [*state["to"], *state.get("cc", ())]


def sameness(said: Mapping[str, Any]) -> str:
    """What two messages that say the same have in common, whoever they are for.

    said: a state, or what will be one. A long text counts by the name of its blob.
    """
    text = said.get("text", "")
    if isinstance(text, str):
        text = digest.sha256(text.encode(errors="surrogatepass")).hexdigest()
    else:
        text = text["sha256"]
    files = [part["sha256"] for part in said.get("attachments", ())]
    parts = [said.get("subject", ""), text, said.get("reply_to", ""), said.get("work_id", "")]
    joined = "\n".join([*parts, *files, str(said.get("reminder", ""))])
    return digest.sha256(joined.encode(errors="surrogatepass")).hexdigest()[:32]


def _unknown(event: Event) -> Problem:
    text = f"no message {event.refs.get('message_id')} is known"
    return Problem(event.event_id, "unknown_message", text)


def _stranger(state: State, event: Event) -> Problem:
    text = f"{state['message_id']} is not for {event.agent_id}"
    return Problem(event.event_id, "not_allowed", text)


def _noted(state: State, event: Event, said: Mapping[str, Any]) -> Patch:
    """What this recipient did, kept unless the same was known before."""
    known = state["receipts"].get(event.agent_id, {})
    merged = {**known, **said}
    if merged == known:
        return {}
    return {"receipts": {**state["receipts"], event.agent_id: merged}}


def _read(state: State, event: Event, _world: World) -> Patch | Problem:
    fault = _not_theirs(state, event)
    if fault is not None or "same_as" in state:
        return fault or {}
    known = state["receipts"].get(event.agent_id, {})
    return {} if "read_at_ms" in known else _noted(state, event, {"read_at_ms": event.time_ms})


def _acked(state: State, event: Event, _world: World) -> Patch | Problem:
    fault = _not_theirs(state, event)
    if fault is not None or "same_as" in state:
        return fault or {}
    known = state["receipts"].get(event.agent_id, {})
    if "acked_at_ms" in known:
        return {}
    said: dict[str, Any] = {"read_at_ms": event.time_ms, **known, "acked_at_ms": event.time_ms}
    if isinstance(event.body.get("why"), str):
        said["ack_why"] = event.body["why"]
    return _noted(state, event, said)


def repeated(state: State, event: Event, first_id: str) -> State:
    """The state of an entity after an event that an earlier one under its key has said.

    Of a message that two clones sent it names the one that counts, so that what was done
    about the other is not about nothing.
    """
    if event.type not in MAILED or state:
        return state
    return {"same_as": first_id, "last": event.event_id}


def _not_theirs(state: State, event: Event) -> Problem | None:
    if not state:
        return _unknown(event)
    if "rule_id" in state:
        text = f"{state['rule_id']} is a rule that reminds, not a message"
        return Problem(event.event_id, "wrong_state", text)
    if "same_as" in state:
        return None
    return None if event.agent_id in recipients(state) else _stranger(state, event)


def _snoozed(state: State, event: Event, _world: World) -> Patch | Problem:
    until_ms = event.body.get("until_ms")
    if not is_integer(until_ms):
        return _bad(event, "until_ms is not an instant")
    if "rule_id" in state:
        return {"snoozed_until_ms": until_ms, "snoozed_by": event.agent_id}
    fault = _not_theirs(state, event)
    if fault is not None or "same_as" in state:
        return fault or {}
    return _noted(state, event, {"snoozed_until_ms": until_ms})


def _suppressed(state: State, event: Event, _world: World) -> Patch | Problem:
    said = {"suppressed_at_ms": event.time_ms}
    if not state:
        return _unknown(event)
    if "same_as" in state:
        return {}
    if "rule_id" in state or event.agent_id == state["from"]:
        whole = {**said, "suppressed_by": event.agent_id}
        return {} if "suppressed_at_ms" in state else whole
    fault = _not_theirs(state, event)
    if fault is not None:
        return fault
    known = state["receipts"].get(event.agent_id, {})
    return {} if "suppressed_at_ms" in known else _noted(state, event, said)


def _reminded(_state: State, event: Event, _world: World) -> Patch | Problem:
    body, refs = event.body, event.refs
    about = {k: refs[k] for k in ("message_id", "work_id") if isinstance(refs.get(k), str)}
    if len(about) != 1:
        return _bad(event, "a rule reminds of one message or of one work item")
    if not all(is_integer(body.get(k), least=1) for k in ("every_ms", "max")):
        return _bad(event, "every_ms and max are integers above 0")
    quiet = body.get("quiet")
    if quiet is not None and not are_quiet_hours(quiet):
        return _bad(event, "quiet does not fit")
    patch: dict[str, Any] = {
        "rule_id": event.event_id,
        "by": event.agent_id,
        "about": about,
        "every_ms": body["every_ms"],
        "max": body["max"],
        "since_ms": event.time_ms,
    }
    if quiet is not None:
        patch["quiet"] = quiet
    if isinstance(body.get("why"), str):
        patch["why"] = body["why"]
    return patch


def are_quiet_hours(value: object) -> bool:
    """Whether it is {from_minute, to_minute, offset_minutes}: minutes of a day, east of UTC."""
    if not isinstance(value, Mapping) or not isinstance(value.get("offset_minutes"), int):
        return False
    minutes = [value.get("from_minute"), value.get("to_minute")]
    inside = abs(value["offset_minutes"]) <= 14 * 60
    return inside and all(is_integer(m) and m < 24 * 60 for m in minutes)


STEPS: Mapping[str, Step] = {
    "msg.sent": _sent,
    "msg.read": _read,
    "msg.acked": _acked,
    "msg.snoozed": _snoozed,
    "msg.suppressed": _suppressed,
    "msg.reminded": _reminded,
}
