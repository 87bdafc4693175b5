"""Who is there: facts with their source and age, liveness apart from progress.

    fact    the newest event that moved something, from the journals: progress
    beat    the newest command of a session on this clone, from local files: liveness
    state   paused     somebody paused it
            working    progress within its period
            idle       a sign of life within its period, and no progress
            stale      no sign of life for longer than its period
            unseen     registered, and never a sign of life

An agent's period is what it registered as episodic; others get a default. Twice the
period is allowed, for whoever looks every five minutes may just have looked. People
are never stale: they sleep.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import units
from coord.core.registry import is_human

DEFAULT_PERIOD_MS = 15 * 60_000
# What only keeps a hold alive, or notes what one was told, moves nothing.
IDLE_TYPES = (
    "work.renewed", "lease.renew", "run.renewed", "msg.read", "msg.snoozed", "agent.registered",
)  # fmt: skip
Row = dict[str, Any]


class Beat(NamedTuple):
    """The newest sign of life of a session on this clone."""

    agent_id: str
    session_id: str
    at_ms: int


class Fact(NamedTuple):
    """The newest useful event of an agent."""

    event_id: str
    type: str
    at_ms: int


class Seen(NamedTuple):
    """What is known about one agent. registered: its state, {} for one who is not."""

    agent_id: str
    registered: Mapping[str, Any]
    paused: Mapping[str, Any] | None
    fact: Fact | None
    beats: Sequence[Beat]
    holds: Sequence[Mapping[str, Any]]
    waits_for: Sequence[Mapping[str, Any]]


def allowed_ms(registered: Mapping[str, Any]) -> int:
    """How long an agent may be silent before that says something."""
    return 2 * int(registered.get("period_ms", DEFAULT_PERIOD_MS))


def row(seen: Seen, now_ms: int) -> Row:
    """One agent, as `msg who` prints it."""
    shown: Row = {"agent_id": seen.agent_id, "state": state_word(seen, now_ms)}
    for name in ("name", "owner", "mode", "period_ms", "roles"):
        if name in seen.registered:
            shown[name] = seen.registered[name]
    if seen.fact is not None:
        shown["last_fact"] = {
            "event_id": seen.fact.event_id, "type": seen.fact.type, "source": "journal",
            "at_ms": seen.fact.at_ms, "age_ms": age(seen.fact.at_ms, now_ms),
        }  # fmt: skip
    if seen.beats:
        shown["beats"] = [_beat(beat, now_ms) for beat in sorted(seen.beats, key=_newest)]
    if seen.holds:
        shown["holds"] = list(seen.holds)
    if seen.waits_for:
        shown["waits_for"] = list(seen.waits_for)
    if seen.paused is not None:
        shown["paused"] = {key: seen.paused[key] for key in ("by", "why", "since")}
    return shown


def _newest(beat: Beat) -> tuple[int, str]:
    return -beat.at_ms, beat.session_id


def _beat(beat: Beat, now_ms: int) -> Row:
    session = {"session_id": beat.session_id} if beat.session_id else {}
    return {
        **session,
        "source": "this clone",
        "at_ms": beat.at_ms,
        "age_ms": age(beat.at_ms, now_ms),
    }


def age(at_ms: int, now_ms: int) -> int:
    """How long ago, never less than no time: clocks differ."""
    return max(0, now_ms - at_ms)


def last_seen_ms(seen: Seen) -> int | None:
    """The newest sign of life of any kind."""
    instants = [beat.at_ms for beat in seen.beats]
    if seen.fact is not None:
        instants.append(seen.fact.at_ms)
    return max(instants, default=None)


def state_word(seen: Seen, now_ms: int) -> str:
    """One word for how an agent stands."""
    if seen.paused is not None:
        return "paused"
    last_ms = last_seen_ms(seen)
    if last_ms is None:
        return "unseen"
    limit_ms = allowed_ms(seen.registered)
    if seen.fact is not None and now_ms - seen.fact.at_ms <= limit_ms:
        return "working"
    if now_ms - last_ms <= limit_ms or is_human(seen.agent_id):
        return "idle"
    return "stale"


def expectation(seen: Seen, now_ms: int) -> str:
    """When to expect an answer, as a sentence: how it listens, and when it was last seen."""
    mode = seen.registered.get("mode", "human" if is_human(seen.agent_id) else "")
    period = units.show_duration(seen.registered.get("period_ms", 0))
    how = {
        "listening": "listens all the time",
        "episodic": f"is episodic, every {period}",
        "human": "is a person",
    }.get(mode, "is not registered")
    last_ms = last_seen_ms(seen)
    when = "never seen here" if last_ms is None else f"last seen {_ago(last_ms, now_ms)} ago"
    text = f"{seen.agent_id} {how}, {when}"
    word = state_word(seen, now_ms)
    return f"{text}: {word}" if word in ("paused", "stale") else text


def _ago(at_ms: int, now_ms: int) -> str:
    """A span in its largest unit: how long ago need not be told to the millisecond."""
    span_ms = age(at_ms, now_ms)
    for unit_ms in (86_400_000, 3_600_000, 60_000, 1000):
        if span_ms >= unit_ms:
            return units.show_duration(span_ms - span_ms % unit_ms)
    return "0s"
