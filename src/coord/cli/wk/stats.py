"""`wk stats`: how much there is of everything, and how fast it goes."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.core.wk import statistics


@kit.command("stats")
@click.option("--top", type=click.IntRange(min=0), default=20, metavar="N", show_default=True,
              help="How many labels, assignees and agents to tell; 0 for all.")  # fmt: skip
def stats(call: kit.Call, top: int) -> None:
    """Count the items, and tell what came and went in the last 14 days.

    Prints one object: by_status, by_type, by_priority, by_label, by_assignee (of what is
    not closed), by_agent (holds, created, closed), per_day, and lead_time: the median
    from creation to closing. Deleted items count nowhere else.

    \b
    Exits: 2 usage.
    Example: wk stats --json | jq .by_status
    """
    with call.reading() as known:
        states = (state for _, state in known.states("work") if state)
        found = statistics.of(states, call.query_now(known), top)
    call.emit([found], _tables, ident="items")
    left_out = found.get("left_out", {})
    if left_out:
        words = ", ".join(f"{count} more in {name}" for name, count in left_out.items())
        kit.note_more(words, "--top 0 for all", **left_out)


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
    from coord.core import units

    return units.show_duration(span_ms // 60_000 * 60_000)
