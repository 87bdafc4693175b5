"""A timeline of agents: what each held and ran, told and did, as one SVG.

All that lies along the time is placed in percent of the width. To zoom is to make the
picture wider, to pan is to scroll: the browser does both, also without scripts, and nothing
is drawn anew. Under each other within an agent's lane: a row of ticks for events, marks for
messages, then bars, those that overlap in rows of their own.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core.report import markup, spans
from coord.core.report.facts import Facts, when, who
from coord.core.report.spans import Span

LANES = 40
# The newest: each is an element of its own, and a browser has to place them all.
BARS = 2500
_ROWS = 5
_ROW, _TICKS, _GAP, _AXIS = 14, 12, 8, 20
_GRID = 1_000_000
_LABELS = 6
MESSAGES = 500
Raw = Mapping[str, Any]


class Range(NamedTuple):
    """From when to when the picture goes."""

    start_ms: int
    end_ms: int

    def at(self, instant_ms: int) -> float:
        """A part of the width, from 0 to 1."""
        width_ms = max(1, self.end_ms - self.start_ms)
        return min(1.0, max(0.0, (instant_ms - self.start_ms) / width_ms))


class Lane(NamedTuple):
    """One agent: its bars with the row of each, and its events."""

    agent_id: str
    bars: list[tuple[Span, int]]
    events: list[Raw]

    @property
    def height(self) -> int:
        """How many pixels it takes."""
        rows = max((row for _, row in self.bars), default=-1) + 1
        return _TICKS + rows * _ROW + _GAP


def lanes_of(facts: Facts) -> list[Lane]:
    """An agent each, who was busy first; those with the most events where room is short."""
    events: dict[str, list[Raw]] = {}
    for raw in facts.events:
        events.setdefault(who(raw), []).append(raw)
    held: dict[str, list[Span]] = {}
    for span in spans.of(facts.events, facts.problems)[-BARS:]:
        held.setdefault(span.agent_id, []).append(span)
    busiest = sorted(events, key=lambda agent_id: (-len(events[agent_id]), agent_id))[:LANES]
    return [Lane(a, _in_rows(held.get(a, ())), events[a]) for a in sorted(busiest)]


def _in_rows(held: Sequence[Span]) -> list[tuple[Span, int]]:
    """Each bar in the first row that is free; in the last one where none is."""
    ends: list[int] = []
    placed = []
    for span in held:
        row = next((r for r, end_ms in enumerate(ends) if end_ms <= span.start_ms), len(ends))
        row = min(row, _ROWS - 1)
        if row == len(ends):
            ends.append(span.end_ms)
        ends[row] = max(ends[row], span.end_ms)
        placed.append((span, row))
    return placed


def range_of(facts: Facts) -> Range:
    """From the first event that is shown until now."""
    instants = [when(raw) for raw in facts.events] or [facts.now_ms]
    first_ms, last_ms = min(instants), max(instants)
    # A store that rests for a year is not drawn as one line at the left edge.
    end_ms = min(facts.now_ms, last_ms + max(1_000, (last_ms - first_ms) // 20))
    return Range(first_ms, max(end_ms, first_ms + 1))


def drawn(facts: Facts) -> Iterator[str]:
    """The names of the lanes beside the picture, which can be scrolled."""
    lanes = lanes_of(facts)
    if not lanes:
        yield "<p>Nothing has happened yet."
        return
    shown = range_of(facts)
    height = _AXIS + sum(lane.height for lane in lanes)
    yield f'<div class="time"><svg class="names" height="{height}" aria-hidden="true">'
    yield from _names(lanes)
    yield '</svg><div class="scroll" tabindex="0" aria-label="timeline, scrolls sideways">'
    yield (
        f'<svg id="timeline" width="100%" height="{height}" role="img"'
        f' aria-label="who held what when" data-from="{shown.start_ms}" data-to="{shown.end_ms}">'
    )
    yield f'<g class="axis">{"".join(_axis(shown))}</g>'
    top = _AXIS
    for number, lane in enumerate(lanes):
        yield f'<rect class="lane l{number % 2}" y="{top}" width="100%" height="{lane.height}"/>'
        yield from _lane(lane, top, shown, facts)
        top += lane.height
    yield "</svg></div></div>"


def _names(lanes: Sequence[Lane]) -> Iterator[str]:
    top = _AXIS
    for lane in lanes:
        name = markup.text(markup.cut(lane.agent_id.partition(":")[2] or lane.agent_id, 18))
        yield f'<text x="0" y="{top + 14}">{name}</text>'
        top += lane.height


def _lane(lane: Lane, top: int, shown: Range, facts: Facts) -> Iterator[str]:
    yield _ticks(lane.events, top, shown)
    for span, row in lane.bars:
        yield _bar(span, top + _TICKS + row * _ROW, shown, _title(span, facts))
    messages = [raw for raw in lane.events if raw["type"] == "msg.sent"]
    for raw in messages[-MESSAGES:]:
        yield _mark(raw, top, shown)


def _ticks(events: Sequence[Raw], top: int, shown: Range) -> str:
    """A fine line per instant at which something happened, all in one path."""
    places = sorted({round(shown.at(when(raw)) * _GRID) for raw in events})
    steps, at = [], 0
    for place in places:
        steps.append(f"m{place - at} -6v6")
        at = place
    path = "M0 7" + "".join(steps)
    return (
        f'<svg y="{top + 2}" width="100%" height="8" viewBox="0 0 {_GRID} 8"'
        f' preserveAspectRatio="none"><path class="tick" d="{path}"/></svg>'
    )


def _title(span: Span, facts: Facts) -> str:
    item = facts.items.get(span.resource.partition(":")[2]) if span.kind == "work" else None
    return markup.cut(item["title"], 60) if item else ""


def _bar(span: Span, y: int, shown: Range, title: str) -> str:
    start, end = shown.at(span.start_ms), shown.at(span.end_ms)
    what = span.resource.partition(":")[2] if span.kind == "work" else span.resource
    until = "until" if span.ended else "at most until"
    said = (
        f"{span.agent_id} · {what} {title} · {markup.instant(span.start_ms)} {until}"
        f" {markup.instant(span.end_ms)}"
    )
    name = markup.name_of("e", span.event_id)
    return (
        f'<a href="#{name}" class="{span.kind}"><rect x="{start:.5%}" y="{y}"'
        f' width="{end - start:.5%}" height="11" rx="2"/>'
        f"<title>{markup.text(said, 240)}</title></a>"
    )


def _mark(raw: Raw, top: int, shown: Range) -> str:
    """A message, by who sent it."""
    body = raw.get("body") or {}
    to = ", ".join(map(str, body["to"][:5])) if isinstance(body.get("to"), list) else ""
    said = f"{who(raw)} to {to}: {markup.cut(body.get('subject') or '', 80)}"
    at = shown.at(when(raw))
    name = markup.name_of("e", raw["event_id"])
    return (
        f'<a href="#{name}" class="msg"><circle cx="{at:.5%}" cy="{top + 6}" r="3.5"/>'
        f"<title>{markup.text(said, 200)}</title></a>"
    )


def _axis(shown: Range) -> Iterator[str]:
    for number in range(_LABELS):
        part = number / (_LABELS - 1)
        at_ms = round(shown.start_ms + part * (shown.end_ms - shown.start_ms))
        anchor = "start" if not number else "end" if number == _LABELS - 1 else "middle"
        label = markup.instant(at_ms)
        yield f'<text x="{part:.2%}" y="14" text-anchor="{anchor}">{label}</text>'
