"""The board, what is stuck or contested, and the graph of needs, as parts of a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coord.core import svg, units
from coord.core.problem import State
from coord.core.report import markup
from coord.core.report.facts import COLUMNS, Facts, column_of
from coord.core.wk import boarding, graph, health, idle, view

CARDS = 40
ROWS = 200
BOXES = 90
_SILENT_MS = 2 * 3_600_000
_IDLE_MS = 14 * 86_400_000
Row = Mapping[str, Any]


def short_rows(facts: Facts) -> list[tuple[str, dict[str, Any]]]:
    """Every item that is shown, with its column, in the order of the columns."""
    found = []
    for state in facts.items.values():
        row = view.short(state, facts.now_ms, facts.is_open)
        column = column_of(row)
        if column != "closed" or row["updated_at_ms"] >= facts.since_ms:
            found.append((column, row))
    return sorted(found, key=_board_order)


def _board_order(found: tuple[str, Row]) -> tuple[int, int, int, str]:
    """By column, then the most urgent and oldest; of those closed the latest."""
    column, row = found
    place = COLUMNS.index(column)
    if column == "closed":
        return place, 0, -row["updated_at_ms"], row["work_id"]
    return place, row["priority"], row["created_at_ms"], row["work_id"]


def board(rows: Sequence[tuple[str, Row]], now_ms: int) -> Iterator[str]:
    """A column each, with its count and the first of its items."""
    for column in COLUMNS:
        inside = [row for name, row in rows if name == column]
        yield f'<div class="column {column}"><h3>{column} <b>{len(inside)}</b></h3><ul>'
        for row in inside[:CARDS]:
            yield _card(row, now_ms)
        yield "</ul>"
        if len(inside) > CARDS:
            yield f'<p><a href="#items">and {len(inside) - CARDS} more</a>'
        yield "</div>"


def _card(row: Row, now_ms: int) -> str:
    note = markup.text(boarding.note(row, now_ms), 60)
    return (
        f"<li>{markup.link('i', row['work_id'])} <small>P{row['priority']}</small>"
        f"<p>{markup.text(row['title'], 90)}</p>" + (f"<small>{note}</small>" if note else "")
    )


def needs_in(facts: Facts) -> dict[str, list[str]]:
    """Who waits for whom among what is still to be done."""
    undone = {work_id: s for work_id, s in facts.items.items() if s["status"] != "closed"}
    pairs = (
        (work_id, target)
        for work_id, state in undone.items()
        for target in (*view.targets(state, "needs"), *_waited(state))
        if target in undone
    )
    return graph.needs_of(pairs)


def _waited(state: State) -> Iterator[str]:
    for wait in state.get("waits", ()):
        if isinstance(wait["on"].get("item"), str):
            yield wait["on"]["item"]


def trouble(facts: Facts, needs: graph.Needs) -> Iterator[str]:
    """A row per thing that is stuck or contested, each with its reason."""
    rows = [*_stuck(facts, needs), *_contested(facts)]
    if not rows:
        yield "<p>Nothing is stuck, and nobody contests anything."
        return
    yield '<div class="tall"><table class="facts">'
    yield "<thead><tr><th>what<th>item<th>title<th>since<th>why</thead><tbody>"
    for row in rows[:ROWS]:
        yield _trouble_row(row, facts.now_ms)
    yield "</tbody></table></div>"
    if len(rows) > ROWS:
        yield f"<p>and {len(rows) - ROWS} more; <code>wk health</code> lists them"


def _trouble_row(row: Row, now_ms: int) -> str:
    cells = (
        f'<span class="w-{row["health"]}">{row["health"]}</span>',
        markup.link("i", row["work_id"]),
        markup.text(row["title"], 90),
        units.show_relative(row["since_ms"], now_ms),
        markup.text(row["reason"], 240),
    )
    return "<tr>" + "".join(f"<td>{cell}" for cell in cells) + "\n"


def _stuck(facts: Facts, needs: graph.Needs) -> list[Row]:
    undone = [state for state in facts.items.values() if state["status"] != "closed"]
    found: list[Row] = [*health.of_items(undone, needs, facts.now_ms, _SILENT_MS)]
    for state in undone:
        rest = idle.reason(state, facts.now_ms, _IDLE_MS, _SILENT_MS)
        if rest is not None and rest["why"] == "untouched":
            row = {"health": "untouched", "work_id": state["work_id"], "title": state["title"]}
            found.append({**row, "since_ms": rest["since_ms"], "reason": rest["text"]})
    return sorted(found, key=_worst_first)


def _worst_first(row: Row) -> tuple[int, int, str]:
    kinds = (*health.KINDS, "untouched")
    return kinds.index(row["health"]), row["since_ms"], row["work_id"]


def _contested(facts: Facts) -> Iterator[Row]:
    """Fields with a value that lost, and claims that were refused or taken away."""
    for state in facts.items.values():
        named = {"work_id": state["work_id"], "title": state["title"]}
        since = {"health": "contested", "since_ms": state["updated_at_ms"]}
        if state.get("conflicts"):
            lost = sorted({str(one["field"]) for one in state["conflicts"]})
            reason = f"two wrote {', '.join(lost)} without knowing of each other"
            yield {**named, **since, "reason": reason}
        for hold in state.get("refused", ()):
            if hold["expires_at_ms"] > facts.now_ms:
                reason = f"{hold['agent_id']} was promised it and another has it"
                yield {**named, **since, "reason": reason}


def needs_picture(facts: Facts, needs: graph.Needs) -> Iterator[str]:
    """What needs what: the items that most others wait for, and those around them."""
    if not needs:
        yield "<p>Nothing that is still to be done waits for anything."
        return
    chosen = _chosen(needs)
    edges = [(one, other, "") for one in needs for other in needs[one] if {one, other} <= chosen]
    nodes = {name: (name, _title(facts, name)) for edge in edges for name in edge[:2]}
    ends = sorted(nodes)
    inside = {name: (_target(name), _column(facts, name)) for name in ends}
    whole = len({*needs, *graph.turned(needs)})
    if len(nodes) < whole:
        yield (
            f"<p>The {len(nodes)} of {whole} items that hold up the most;"
            " <code>wk graph --format svg</code> draws them all."
        )
    else:
        yield "<p>An arrow goes from an item to what it needs."
    yield '<div class="scroll graph" tabindex="0" aria-label="graph, scrolls">'
    yield from svg.drawn(nodes, edges, "What needs what", inside)
    yield "</div>"


def _title(facts: Facts, work_id: str) -> str:
    return markup.cut(facts.items[work_id]["title"], 80)


def _target(work_id: str) -> str:
    return "#" + markup.name_of("i", work_id).replace("%", "%25")


def _column(facts: Facts, work_id: str) -> str:
    return column_of(view.short(facts.items[work_id], facts.now_ms, facts.is_open))


def _chosen(needs: graph.Needs) -> set[str]:
    """The items that most others wait for directly, each with those next to it."""
    waiters = graph.turned(needs)
    chosen: set[str] = set()
    for name in sorted(waiters, key=lambda one: (-len(waiters[one]), one)):
        near = [name, *needs.get(name, ()), *waiters[name]]
        if len(chosen) >= BOXES:
            break
        chosen.update(near[: BOXES - len(chosen) + 1])
    return chosen
