"""What `ev status`, `digest` and `prime` say: what moved, what waits, what is stuck.

    moved      per work item, the newest event of the window
    waits      submitted: for a verdict, or to be closed once passed; offered: for whoever
               it was offered to; on hold for an agent: for that agent
    stuck      a claim without any event for half its TTL; a claim that ended without
               being given back; a hold for something else than an agent, over a day old
    contested  claims that lost against another, within a day
    paused     agents that may not write
    ready      the oldest item that somebody could begin with

Everything is a row {section, work_id?, agent_id?, title?, reason, since_ms}; `agent_id`
is who it waits for or who is to blame. Rows of a section come in the order told above,
the longest waiting first, but what moved the newest first.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import arbiter, registry, units
from coord.core.event import time_of
from coord.core.problem import State, World
from coord.core.wk import custody, view

Row = dict[str, Any]
Raw = Mapping[str, Any]

MOVED_MS = 15 * 60_000
LONG_MS = 86_400_000
TITLE_CHARS = 80


class Gathered(NamedTuple):
    """What the answers are made of, as of `now_ms`.

    moved: events, the oldest first. claimed: the id of an item's newest event, and the
    item. waiting: items on hold. contested: (event_id, work_id, agent_id, message).
    ready: the oldest ready item, if any, and how many there are.
    """

    now_ms: int
    world: World
    is_open: view.IsOpen
    moved: Sequence[Raw] = ()
    submitted: Sequence[State] = ()
    claimed: Sequence[tuple[str, State]] = ()
    waiting: Sequence[State] = ()
    contested: Sequence[tuple[str, str, str, str]] = ()
    agents: Sequence[State] = ()
    ready: State | None = None
    ready_count: int = 0


def status(known: Gathered) -> Iterator[Row]:
    """All rows, section by section."""
    for section in (_moved, _waits, _stuck, _contested, _paused, _ready):
        yield from section(known)


def cut(rows: Iterable[Row], limit: int) -> tuple[list[Row], int]:
    """At most `limit` rows of each section, 0 for all; and how many were left out."""
    counts: dict[str, int] = {}
    kept, left = [], 0
    for row in rows:
        counts[row["section"]] = counts.get(row["section"], 0) + 1
        if limit and counts[row["section"]] > limit:
            left += 1
        else:
            kept.append(row)
    return kept, left


def short(text: str, chars: int = TITLE_CHARS) -> str:
    """A text that fits into a line."""
    line = " ".join(text.split())
    return line if len(line) <= chars else line[: chars - 1] + "…"


def _row(section: str, state: State | None, agent_id: str, reason: str, since_ms: int) -> Row:
    row: Row = {"section": section}
    if state:
        row["work_id"] = state["work_id"]
    if agent_id:
        row["agent_id"] = agent_id
    if state:
        row["title"] = short(state["title"])
    return {**row, "reason": reason, "since_ms": since_ms}


def _moved(known: Gathered) -> Iterator[Row]:
    told: set[str] = set()
    for raw in reversed(known.moved):
        work_id = (raw.get("refs") or {}).get("work_id")
        name = f"work/{work_id}" if isinstance(work_id, str) else f"event/{raw['event_id']}"
        if name in told:
            continue
        told.add(name)
        state = known.world.state(name) or None
        agent_id, since_ms = raw["actor"]["agent_id"], time_of(raw["event_id"])
        yield _row("moved", state, agent_id, fact(raw), since_ms)


def fact(raw: Raw) -> str:
    """An event in a few words: `closed as done: tests pass`."""
    word, _, rest = raw["type"].partition(".")
    verb = rest.replace("_", " ") if word == "work" else raw["type"]
    body = raw.get("body") or {}
    parts = (("as", " as "), ("verdict", " "), ("to", " to "), ("text", ": "), ("why", ": "))
    said = (f"{mark}{body[name]}" for name, mark in parts if isinstance(body.get(name), str))
    return short(verb + "".join(said), 200)


def _waits(known: Gathered) -> Iterator[Row]:
    rows = [_submitted(state) for state in known.submitted]
    for _, state in known.claimed:
        offer = custody.offer_at(state, known.now_ms)
        if offer is not None:
            reason = f"offered by {offer['from']}{because(offer)}"
            rows.append(_row("waits", state, offer["to"], reason, time_of(offer["event_id"])))
    for state, wait in _holds(known):
        if "agent" in wait["on"]:
            reason = f"put on hold by {wait['by']}{because(wait)}"
            rows.append(_row("waits", state, wait["on"]["agent"], reason, wait["at_ms"]))
    return iter(sorted(rows, key=_by_age))


def _submitted(state: State) -> Row:
    submission = state["submission"]
    done_by, at_ms = submission["agent_id"], submission["at_ms"]
    if "passed_by" in submission:
        reason = f"passed by {submission['passed_by']}, not closed yet"
        return _row("waits", state, done_by, reason, at_ms)
    return _row("waits", state, "", f"submitted by {done_by}: for another's verdict", at_ms)


def _holds(known: Gathered) -> Iterator[tuple[State, Mapping[str, Any]]]:
    for state in known.waiting:
        for wait in view.open_waits(state, known.now_ms, known.is_open):
            yield state, wait


def because(told: Mapping[str, Any]) -> str:
    """A reason that was given, after a colon."""
    return f": {short(str(told['why']), 120)}" if told.get("why") else ""


def _by_age(row: Row) -> tuple[int, str]:
    return row["since_ms"], row.get("work_id", "")


def _stuck(known: Gathered) -> Iterator[Row]:
    rows = [row for last, state in known.claimed for row in _stuck_claim(last, state, known)]
    for state, wait in _holds(known):
        if "agent" not in wait["on"] and known.now_ms - wait["at_ms"] > LONG_MS:
            [(kind, value)] = wait["on"].items()
            what = units.show_instant(value) if kind == "until_ms" else value
            reason = f"on hold for {what}{because(wait)}"
            rows.append(_row("stuck", state, wait["by"], reason, wait["at_ms"]))
    return iter(sorted(rows, key=_by_age))


def _stuck_claim(last: str, state: State, known: Gathered) -> Iterator[Row]:
    claim, moved_ms = state["claim"], time_of(last)
    if not arbiter.runs(claim, known.now_ms):
        text = "its claim ended and was not given back"
        yield _row("stuck", state, claim["agent_id"], text, claim["expires_at_ms"])
    elif known.now_ms - moved_ms > claim["ttl_ms"] // 2:
        until = units.show_instant(claim["expires_at_ms"])
        text = f"claimed until {until}, without any event for half that time"
        yield _row("stuck", state, claim["agent_id"], text, moved_ms)


def _contested(known: Gathered) -> Iterator[Row]:
    for event_id, work_id, agent_id, message in known.contested:
        state = known.world.state(f"work/{work_id}") or None
        reason = f"claimed as well: {message}"
        yield _row("contested", state, agent_id, reason, time_of(event_id))


def _paused(known: Gathered) -> Iterator[Row]:
    for state in known.agents:
        row = registry.view(state, known.world, "~")
        if "paused" in row:
            pause = row["paused"]
            who = "everybody" if row["agent_id"] == registry.EVERYBODY else row["agent_id"]
            reason = f"{who} was paused by {pause['by']}{because(pause)}"
            yield _row("paused", None, row["agent_id"], reason, time_of(pause["since"]))


def _ready(known: Gathered) -> Iterator[Row]:
    if known.ready is not None:
        reason = f"the oldest of {known.ready_count} ready"
        yield _row("ready", known.ready, "", reason, known.ready["created_at_ms"])


def digest(
    project: str, since_ms: int, created: Sequence[State], closed: Sequence[State], known: Gathered
) -> list[str]:
    """A report in Markdown, as lines; [] when there is nothing to say.

    created, closed: the items that came and went since then.
    """
    waits, stuck = list(_waits(known)), list(_stuck(known))
    parts = [
        *_counted("Created", [_came(state) for state in created]),
        *_counted("Closed", [_went(state) for state in closed]),
        *_by_whom(created, closed),
        *_counted("Waits", map(_bullet, waits)),
        *_counted("Stuck", map(_bullet, stuck)),
        *_counted("Paused", map(_bullet, _paused(known))),
    ]
    if not parts:
        return []
    now = units.show_instant(known.now_ms)
    return [f"# {_inline(project)}: {units.show_instant(since_ms)} to {now}", *parts]


_LISTED = 20


def _counted(title: str, bullets: Iterable[str]) -> list[str]:
    lines = list(bullets)
    if not lines:
        return []
    more = [f"- … and {len(lines) - _LISTED} more"] if len(lines) > _LISTED else []
    return ["", f"## {title} ({len(lines)})", "", *lines[:_LISTED], *more]


def _inline(text: object) -> str:
    from coord.core.wk import markdown

    return markdown.inline(text)


def _came(state: State) -> str:
    return f"- {_inline(state['work_id'])} {_title(state)} ({_inline(state['created_by'])})"


def _went(state: State) -> str:
    how = state.get("resolution", "deleted")
    why = f": {_inline(short(str(state['close_why'])))}" if state.get("close_why") else ""
    who = _inline(state.get("closed_by", ""))
    return f"- {_inline(state['work_id'])} {_title(state)} ({how} by {who}{why})"


def _title(state: State) -> str:
    return _inline(short(state["title"]))


def _by_whom(created: Sequence[State], closed: Sequence[State]) -> list[str]:
    counts: dict[str, list[int]] = {}
    for place, (key, states) in enumerate((("created_by", created), ("closed_by", closed))):
        for state in states:
            counts.setdefault(state[key], [0, 0])[place] += 1
    named = sorted(counts.items(), key=_busiest)
    lines = [f"- {_inline(who)}: {came} created, {went} closed" for who, (came, went) in named]
    return ["", "## By whom", "", *lines[:_LISTED]] if lines else []


def _busiest(entry: tuple[str, list[int]]) -> tuple[int, str]:
    return -sum(entry[1]), entry[0]


def _bullet(row: Row) -> str:
    named = " ".join(_inline(row[key]) for key in ("work_id", "title", "agent_id") if key in row)
    since = units.show_instant(row["since_ms"])
    return f"- {named}: {_inline(row['reason'])} (since {since})"
