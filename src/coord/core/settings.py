"""The settings: which exist, what fits into each, and how shared ones fold.

    SHARED   every clone must agree on them: `config.set` events, folded like all else
    LOCAL    concern one clone: its config.yaml, never synced

A setting is here only when something obeys it. A shared setting that this version
does not know is kept, for a later one may. The newest value counts; whoever judges
an older event asks for the value in force at its id.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import units
from coord.core.event import Event
from coord.core.problem import Patch, Problem, State, World
from coord.errors import Refusal

SPAN = "_ms"


class Setting(NamedTuple):
    """One setting: its default, what fits, what it does.

    An integer has bounds (both allowed), any other setting the words it may be, or a
    pattern that its text fits.
    """

    default: int | str
    least: int
    most: int
    doc: str
    words: Sequence[str] = ()
    pattern: str = ""


SHARED: Mapping[str, Setting] = {
    "claim.ttl_ms": Setting(
        1_800_000,
        1000,
        365 * 86_400_000,
        "how long a claim runs when nobody says otherwise",
    ),
    "lease.ttl_ms": Setting(
        900_000,
        1000,
        365 * 86_400_000,
        "how long a lease runs when nobody says otherwise",
    ),
    "msg.rate_per_minute": Setting(
        120,
        1,
        1_000_000,
        "how many messages one sender may send within a minute",
    ),
    "run.ttl_ms": Setting(
        60_000,
        1000,
        86_400_000,
        "how long a clone has a run that any may execute, without renewing its claim",
    ),
    "verify": Setting(
        "optional",
        0,
        0,
        "whether an item closes as done only after another agent's pass",
        ("optional", "required"),
    ),
}
LOCAL: Mapping[str, Setting] = {
    "skew_ms": Setting(
        10_000,
        0,
        3_600_000,
        "how much longer than its own expiry another host's hold is respected when judging",
    ),
    "remote": Setting(
        "",
        0,
        0,
        "the git remote to sync with, by name or URL; empty: origin, or the only one",
        pattern=r"[^-\s][^\s#]*|",
    ),
    "ref_prefix": Setting(
        "refs/coord/",
        0,
        0,
        "where the remote keeps the journals; refs/heads/coord/ where it refuses others",
        pattern=r"refs/([A-Za-z0-9_-]+/)+",
    ),
}
SETTINGS: Mapping[str, Setting] = {**SHARED, **LOCAL}


def setting(key: str) -> Setting:
    """The setting of this name.

    Refusals: unknown_setting, with the names that come near.
    """
    found = SETTINGS.get(key)
    if found is None:
        hint = suggestion(key, SETTINGS) or f"there are {', '.join(sorted(SETTINGS))}"
        raise Refusal("unknown_setting", f"no setting {key[:60]!r}", hint)
    return found


def suggestion(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    """`did you mean …?` for a mistyped name, or ""."""
    import difflib

    near = difflib.get_close_matches(name[:100], list(known), n=3)
    return f"did you mean {' or '.join(near)}?" if near else ""


def parse(key: str, text: str) -> int | str:
    """The value that a person typed for a setting.

    A setting whose name ends in `_ms` takes a span (30m, 1d); a plain number there
    is milliseconds, as the name says.
    Refusals: unknown_setting, bad_data.
    """
    wanted = setting(key)
    value = _read(key, text.strip())
    if not fits(wanted, value):
        expected = expected_of(key)
        raise Refusal("bad_data", f"{key} is {text[:60]!r}, not {expected}", expected=expected)
    return value


def _read(key: str, text: str) -> int | str:
    if SETTINGS[key].words or SETTINGS[key].pattern:
        return text
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    if key.endswith(SPAN):
        try:
            return units.parse_duration(text)
        except Refusal:
            return -1
    return -1


def fits(wanted: Setting, value: object) -> bool:
    """Whether a value may be given to a setting."""
    if wanted.words:
        return value in wanted.words
    if wanted.pattern:
        return isinstance(value, str) and re.fullmatch(wanted.pattern, value) is not None
    return type(value) is int and wanted.least <= value <= wanted.most


def expected_of(key: str) -> str:
    """What fits into a setting, in plain words."""
    wanted = SETTINGS[key]
    if wanted.words:
        return " or ".join(wanted.words)
    if wanted.pattern:
        return f"a text like {wanted.default}" if wanted.default else "a name without spaces"
    if key.endswith(SPAN):
        least, most = (units.show_duration(span) for span in (wanted.least, wanted.most))
        return f"a span from {least} to {most}, in milliseconds"
    return f"an integer from {wanted.least} to {wanted.most}"


def _set(state: State, event: Event, _world: World) -> Patch | Problem:
    key, value = event.body.get("key"), event.body.get("value")
    if value is None:
        return Problem(event.event_id, "bad_data", f"{key}: there is no value")
    wanted = SHARED.get(key) if isinstance(key, str) else None
    if wanted is not None and not fits(wanted, value):
        text = f"{key} is {repr(value)[:60]}, not {expected_of(str(key))}"
        return Problem(event.event_id, "bad_data", text)
    lowers = key == "verify" and state.get("value") == "required" != value
    if lowers and not event.agent_id.startswith("human:"):
        # Whom it binds must not be able to take it away.
        text = "only a human lets items be closed without verification again"
        return Problem(event.event_id, "not_allowed", text)
    return {
        "key": key,
        "value": value,
        "event_id": event.event_id,
        "by": event.agent_id,
        "history": [*state.get("history", ()), [event.event_id, value]],
    }


STEPS = {"config.set": _set}


def value_at(state: State, event_id: str) -> Any:
    """The value set before an event, or None when nothing was by then."""
    history = state.get("history", [])
    place = bisect_left(history, event_id, key=_id_of)
    return history[place - 1][1] if place else None


def _id_of(entry: Sequence[Any]) -> Any:
    return entry[0]


def in_force(world: World, key: str, event_id: str) -> Any:
    """A shared setting's value for whoever judges an event."""
    value = value_at(world.state(f"config/{key}"), event_id)
    return value if fits(SHARED[key], value) else SHARED[key].default
