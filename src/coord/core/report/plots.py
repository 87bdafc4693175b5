"""Throughput and lead times as small pictures, each with its numbers in words."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from statistics import median, quantiles
from typing import Any

from coord.core import units
from coord.core.problem import State
from coord.core.report import markup
from coord.core.report.facts import Facts
from coord.core.wk import effort

_DAY_MS = 86_400_000
_BUCKETS = 26
_WIDTH, _HEIGHT, _BOTTOM, _TOP = 400, 150, 18, 14
# The upper ends of the bars of lead times, and their names.
_LEADS = (
    (3_600_000, "1h"), (4 * 3_600_000, "4h"), (_DAY_MS, "1d"), (3 * _DAY_MS, "3d"),
    (7 * _DAY_MS, "1w"), (28 * _DAY_MS, "4w"), (91 * _DAY_MS, "3mo"), (1 << 62, "more"),
)  # fmt: skip
Bar = tuple[str, tuple[int, ...]]


def drawn(facts: Facts) -> Iterator[str]:
    """Items created and closed, what is still to be done, lead times, and who did it."""
    states = list(facts.items.values())
    if not states:
        yield "<p>There are no items yet."
        return
    flow, word = _flow(states, facts.now_ms, facts.since_ms)
    yield '<div class="plots">'
    yield from _figure(f"Created and closed per {word}", flow, ("created", "closed"), "")
    yield from _figure(
        f"Still to be done at the end of each {word}", _left(flow, states), ("open",), ""
    )
    leads = [_lead_ms(s) for s in states if s.get("closed_at_ms", -1) >= facts.since_ms]
    yield from _figure(
        "Lead time, from creation to closing", _leads(leads), ("items",), _told(leads)
    )
    yield "</div>"
    yield from _efforts(facts)


def _lead_ms(state: State) -> int:
    return int(max(0, state["closed_at_ms"] - state["created_at_ms"]))


def _flow(states: Iterable[State], now_ms: int, since_ms: int) -> tuple[list[Bar], str]:
    """(when, (created, closed)), by day or week, whichever shows it all."""
    created = [state["created_at_ms"] for state in states]
    closed = [state["closed_at_ms"] for state in states if "closed_at_ms" in state]
    last_ms = min(now_ms, max([*created, *closed]))
    first_ms = max(since_ms, min(created))
    is_short = last_ms - first_ms <= _BUCKETS * _DAY_MS
    step_ms = _DAY_MS if is_short else 7 * _DAY_MS
    # The epoch was a Thursday: weeks begin with a Monday.
    shift_ms = 0 if is_short else 3 * _DAY_MS
    last = (last_ms + shift_ms) // step_ms
    came = Counter((at_ms + shift_ms) // step_ms for at_ms in created)
    went = Counter((at_ms + shift_ms) // step_ms for at_ms in closed)
    first = max(last - _BUCKETS + 1, (first_ms + shift_ms) // step_ms)
    bars: list[Bar] = [
        (units.show_instant(n * step_ms - shift_ms)[5:10], (came[n], went[n]))
        for n in range(first, last + 1)
    ]
    return bars, "day" if is_short else "week"


def _left(flow: Sequence[Bar], states: Sequence[State]) -> list[Bar]:
    """How many were open, counted back from how many are now."""
    still = sum(state["status"] != "closed" for state in states)
    found: list[Bar] = []
    for name, (came, went) in reversed(flow):
        found.append((name, (max(0, still),)))
        still += went - came
    return found[::-1]


def _leads(leads: Iterable[int]) -> list[Bar]:
    counts = Counter(next(name for end_ms, name in _LEADS if lead <= end_ms) for lead in leads)
    return [(name, (counts[name],)) for _, name in _LEADS]


def _told(leads: Sequence[int]) -> str:
    if len(leads) < 2:
        return ""
    ninth = quantiles(leads, n=10)[8]
    return (
        f"{len(leads)} closed; half of them within {units.show_age(int(median(leads)))},"
        f" nine of ten within {units.show_age(int(ninth))}"
    )


def _figure(title: str, bars: Sequence[Bar], names: Sequence[str], told: str) -> Iterator[str]:
    most = max((value for _, values in bars for value in values), default=0)
    sums = [sum(values[number] for _, values in bars) for number in range(len(names))]
    legend = " ".join(
        f'<span class="k{number}">{name}{f" {sums[number]}" if len(names) > 1 else ""}</span>'
        for number, name in enumerate(names)
    )
    yield f"<figure><figcaption><b>{markup.text(title)}</b> {legend}</figcaption>"
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{markup.text(title)}">'
    yield from _bars(bars, max(1, most))
    yield f'<text x="0" y="10">{most}</text></svg>'
    yield f"<p>{told}</p></figure>" if told else "</figure>"


def _bars(bars: Sequence[Bar], most: int) -> Iterator[str]:
    across = _WIDTH / max(1, len(bars))
    tall = _HEIGHT - _BOTTOM - _TOP
    every = max(1, -(-len(bars) // 8))
    yield f'<path class="base" d="M0 {_HEIGHT - _BOTTOM}h{_WIDTH}"/>'
    for number, (name, values) in enumerate(bars):
        wide = across * 0.8 / len(values)
        for place, value in enumerate(values):
            high = value / most * tall
            x, y = number * across + across * 0.1 + place * wide, _HEIGHT - _BOTTOM - high
            yield (
                f'<rect class="k{place}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}"'
                f' height="{high:.1f}"><title>{name}: {value}</title></rect>'
            )
        if number % every == 0:
            x = max(number * across + across / 2, len(name) * 3)
            yield f'<text x="{x:.1f}" y="{_HEIGHT - 5}" text-anchor="middle">{name}</text>'


def _efforts(facts: Facts) -> Iterator[str]:
    rows = effort.of("agent", facts.items, facts.deeds, facts.lost, facts.since_ms)[:20]
    yield (
        '<div class="tall"><table class="facts">'
        "<thead><tr><th>agent<th>created<th>closed<th>lead time<th>came back"
        "<th>claims lost</thead><tbody>"
    )
    for row in rows:
        yield "<tr>" + "".join(f"<td>{cell}" for cell in _effort(row)) + "\n"
    yield "</tbody></table></div>"


def _effort(row: dict[str, Any]) -> tuple[str, ...]:
    median_ms = row["lead_time"].get("median_ms")
    lead = "" if median_ms is None else units.show_age(median_ms)
    counts = tuple(str(row[name] or "") for name in ("rework", "contention"))
    return (markup.agent(row["agent_id"]), str(row["created"]), str(row["closed"]), lead, *counts)
