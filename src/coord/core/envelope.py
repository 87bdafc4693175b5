"""Whether an event from outside fits its envelope, without loading a schema.

`fault` answers "" only for what `schemas/event.json#/$defs/draft` also accepts and
whose type is not reserved: such an event needs no further check. Whatever it names
a fault in goes to `edge.schemas`, which checks in full and says where and what was
expected; a reserved type is such a fault, for its body has a schema of its own.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from coord.core.event import AGENT_ID, EVENT_ID, RESERVED, TYPE, WRITER

TYPE_CHARS = 100
KEY_CHARS = 200
REF_CHARS = 1000
TS = re.compile(
    r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
)
SHORT = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
PREV = re.compile(r"[0-9a-f]{32}")


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    fullmatch = pattern.fullmatch
    return lambda value: isinstance(value, str) and fullmatch(value) is not None


def _are_refs(value: object) -> bool:
    if type(value) is not dict:
        return False
    for name in value.values():
        if type(name) is not str or not 0 < len(name) <= REF_CHARS:
            return False
    return True


def _is_body(value: object) -> bool:
    return type(value) is dict


def _is_actor(value: object) -> bool:
    if type(value) is not dict or not _is_agent_id(value.get("agent_id")):
        return False
    return "session_id" not in value or _is_short(value["session_id"])


def _are_links(value: object) -> bool:
    return type(value) is list and all(map(_is_event_id, value))


def _is_key(value: object) -> bool:
    return type(value) is str and 0 < len(value) <= KEY_CHARS


def _is_seq(value: object) -> bool:
    return type(value) is int and value > 0


def _is_version(value: object) -> bool:
    return type(value) is int and value == 1


def _is_type(value: object) -> bool:
    return type(value) is str and len(value) <= TYPE_CHARS and TYPE.fullmatch(value) is not None


_is_event_id = _matches(EVENT_ID)
_is_agent_id = _matches(AGENT_ID)
_is_short = _matches(SHORT)

_FITS: Mapping[str, Callable[[object], bool]] = {
    "event_id": _is_event_id,
    "ts": _matches(TS),
    "project": _is_short,
    "type": _is_type,
    "actor": _is_actor,
    "refs": _are_refs,
    "body": _is_body,
    "cause": _is_event_id,
    "links": _are_links,
    "idempotency_key": _is_key,
    "writer": _matches(WRITER),
    "seq": _is_seq,
    "prev": _matches(PREV),
    "v": _is_version,
}


def fault(draft: object) -> str:
    """Name what keeps an event from being taken without a schema; "" if nothing does.

    draft: a parsed JSON value; of an event's keys only `type` has to be there.
    """
    if type(draft) is not dict:
        return "is not a JSON object"
    if "type" not in draft:
        return "type is missing"
    fits: Mapping[Any, Callable[[object], bool]] = _FITS
    for key, value in draft.items():
        check = fits.get(key)
        if check is None:
            if value is None:
                return f"{key} is null"
        elif not check(value):
            return f"{key} does not fit"
    word = draft["type"].partition(".")[0]
    return f"{word} is a reserved name" if word in RESERVED else ""
