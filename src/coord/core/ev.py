"""Which events a reader wants, and from where on: filters, boundaries, cursors, pauses.

    cursor      {"<tool>/<writer>": seq}: all lines up to seq were delivered;
                a journal that is not named is read from its beginning
    boundary    an event id that parts earlier events from later ones: an EVENT_ID
                itself, or the first id of a TIME's millisecond
    filter      every part that is given has to match; since is included, until is not

Parts of a filter: `types` are globs of which one must match (`*` matches dots too);
ids are compared whole; `grep` is plain text that one of the event's values contains,
in whatever case. Keys are not searched, nor texts that were moved out into a blob.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from coord.core import event as events
from coord.errors import Refusal

Cursor = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a reader wants to see; an empty part wants everything.

    wakes: only messages that are to wake their recipients.
    """

    types: tuple[str, ...] = ()
    agent_id: str = ""
    work_id: str = ""
    thread_id: str = ""
    run_id: str = ""
    since_id: str = ""
    until_id: str = ""
    grep: str = ""
    wakes: bool = False

    def matches(self, raw: Mapping[str, Any]) -> bool:
        """Whether an event, as parsed from its line, is wanted."""
        return (
            self._is_in_time(raw["event_id"])
            and self.takes_type(raw["type"])
            and (not self.agent_id or raw["actor"]["agent_id"] == self.agent_id)
            and self._refers(raw.get("refs") or {})
            and (not self.grep or _contains(raw, self.grep.casefold()))
            and (not self.wakes or (raw.get("body") or {}).get("wake") is True)
        )

    def takes_type(self, kind: str) -> bool:
        """Whether events of this type are wanted."""
        return not self.types or any(fnmatchcase(kind, glob) for glob in self.types)

    def _is_in_time(self, event_id: str) -> bool:
        return self.since_id <= event_id and (not self.until_id or event_id < self.until_id)

    def _refers(self, refs: Mapping[str, Any]) -> bool:
        return (
            (not self.work_id or refs.get("work_id") == self.work_id)
            and (not self.thread_id or refs.get("thread_id") == self.thread_id)
            and (not self.run_id or refs.get("run_id") == self.run_id)
        )


def _contains(raw: Mapping[str, Any], folded: str) -> bool:
    """Whether a value of the event, however deep, contains a casefolded text."""
    # A stack and no recursion: how deep a body goes is its writer's choice.
    rest: list[Any] = [raw]
    while rest:
        value = rest.pop()
        if isinstance(value, dict):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif folded in _text_of(value).casefold():
            return True
    return False


def _text_of(value: object) -> str:
    """A plain value as its JSON line shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "null" if value is None else str(value)


def boundary(text: str, now_ms: int) -> str:
    """The event id from which on events are later than EVENT_ID | TIME, or are it.

    text: a whole event id in either case, or an instant as `core.units` reads it.
    now_ms: what "2h ago" is counted from.
    Refusals: usage.
    """
    # Imported here: every hot verb loads this module, few of them read an instant.
    from coord.core import units

    event_id = text.strip().upper()
    if events.EVENT_ID.fullmatch(event_id):
        return event_id
    try:
        return events.first_id_at(units.parse_instant(text, now_ms))
    except Refusal as refusal:
        message = f"{text[:60]!r} is no event id and no instant"
        raise Refusal(refusal.code, message, refusal.hint) from refusal


def as_cursor(value: object) -> dict[str, int] | None:
    """A parsed JSON value as a cursor; None when it is none."""
    if not isinstance(value, dict):
        return None
    is_cursor = all(
        _names_journal(name) and type(seq) is int and seq >= 0 for name, seq in value.items()
    )
    return dict(value) if is_cursor else None


def _names_journal(name: object) -> bool:
    tool, _, writer = name.partition("/") if isinstance(name, str) else ("", "", "")
    return tool in events.FOLDERS and bool(writer) and "/" not in writer


def replay_pauses(
    raws: Iterable[Mapping[str, Any]], speed: float
) -> Iterator[tuple[float, Mapping[str, Any]]]:
    """Each event with the seconds to wait before it: the original pause divided by `speed`.

    The pause is the time between two event ids; the first event comes at once, and
    so does one whose id is not past the one before.
    Refusals: usage, when speed is not a number above 0.
    """
    if not (math.isfinite(speed) and speed > 0):
        raise Refusal("usage", f"speed {speed} is not a number above 0", "2 is twice as fast")
    return _paused(raws, speed)


def _paused(
    raws: Iterable[Mapping[str, Any]], speed: float
) -> Iterator[tuple[float, Mapping[str, Any]]]:
    reached_ms: int | None = None
    for raw in raws:
        at_ms = events.time_of(raw["event_id"])
        pause_ms = max(0, at_ms - reached_ms) if reached_ms is not None else 0
        reached_ms = at_ms if reached_ms is None else max(at_ms, reached_ms)
        yield pause_ms / 1000 / speed, raw
