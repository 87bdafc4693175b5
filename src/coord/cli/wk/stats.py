"""`wk stats`: how much there is of everything, and how fast it goes."""

import functools
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.core import ev, units
from coord.core.wk import effort, statistics
from coord.edge.index import Index
from coord.errors import NO, Refusal


@kit.command("stats")
@click.option("--top", type=click.IntRange(min=0), default=20, metavar="N", show_default=True,
              help="How many labels, assignees and agents to tell; 0 for all.")  # fmt: skip
@click.option("--by", type=click.Choice(effort.GROUPS), default=None,
              help="A row per agent, label or week instead: how the work goes.")  # fmt: skip
@click.option("--since", metavar="TIME", default=None,
              help="With --by: only what happened from then on: 30d, 2026-01-01.")  # fmt: skip
def stats(call: kit.Call, top: int, by: str | None, since: str | None) -> int:
    """Count the items, and tell what came and went in the last 14 days.

    Prints one object: by_status, by_type, by_priority, by_label, by_assignee (of what is
    not closed), by_agent (holds, created, closed), per_day, and lead_time: the median
    from creation to closing. Deleted items count nowhere else. With --by a row per group:
    created, closed, lead_time, rework (failed verdicts and reopened items, for who had
    done it), contention (claims that lost against another's), and the reason in words.

    \b
    Exits: 1 with --by, nothing happened.
    Example: wk stats --by week --since 90d
    """
    if by:
        return _efforts(call, by, since, top)
    if since:
        raise Refusal("usage", "--since goes with --by", "wk stats --by week --since 30d")
    with call.reading() as known:
        states = (state for _, state in known.states("work") if state)
        found = statistics.of(states, call.query_now(known), top)
    call.emit([found], _tables, ident="items")
    left_out = found.get("left_out", {})
    if left_out:
        words = ", ".join(f"{count} more in {name}" for name, count in left_out.items())
        kit.note_more(words, "--top 0 for all", **left_out)
    return 0


def _efforts(call: kit.Call, by: str, since: str | None, top: int) -> int:
    with call.reading() as known:
        since_ms = units.parse_instant(since, call.query_now(known)) if since else 0
        states = {state["work_id"]: state for _, state in known.states("work") if state}
        events = known.select(ev.Filter(types=effort.TYPES), -1)
        rows = effort.of(by, states, events, _lost(known), since_ms)
    # The latest weeks, but the agents and labels with the most.
    shown = (rows[-top:] if by == "week" else rows[:top]) if top else rows
    ident = "agent_id" if by == "agent" else by
    call.emit(shown, functools.partial(_effort_table, name=ident), ident=ident)
    if len(shown) < len(rows):
        kit.note_more(f"{len(shown)} of {len(rows)}", "--top 0 for all", shown=len(shown))
    return 0 if shown else NO


def _lost(known: Index) -> Iterator[Mapping[str, Any]]:
    """The claims that lost: `held` is the one problem they have."""
    for problem in known.problems():
        raw = known.event(problem.event_id) if problem.code == "held" else None
        if raw is not None and raw["type"] == "work.claimed":
            yield raw


def _effort_table(rows: list[dict[str, Any]], name: str) -> None:
    from coord.cli import tables_insight

    tables_insight.efforts(rows, name)


def _tables(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables

    for row in rows:
        tables.facts(_facts(row))


def _facts(row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"what": "items", "how many": row["items"]}
    for name, counts in row.items():
        if name.startswith("by_"):
            yield {"what": name.replace("_", " "), "how many": counts}
    for day in row["per_day"]:
        yield {"what": day["day"], "how many": f"{day['created']} created, {day['closed']} closed"}
    if "median_ms" in row["lead_time"]:
        yield {"what": "lead time (median)", "how many": _span(row["lead_time"]["median_ms"])}


def _span(span_ms: int) -> str:
    return units.show_duration(span_ms // 60_000 * 60_000)
