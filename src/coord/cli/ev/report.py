"""`ev report`: the whole store as one page that anybody can open."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core import ev
from coord.core.event import horizon, time_of
from coord.core.problem import Problem
from coord.core.report.facts import Facts
from coord.core.wk import effort
from coord.edge.index import Index, views

# How many of the newest events a page tells; who has more looks with `ev list`.
EVENTS = 20_000
# How many items that hang on a changed one are told anew at once.
NEIGHBOURS = 200


@kit.command("report")
@click.option("--html", "path", required=True, metavar="F",
              help="The file to write; - for stdout.")  # fmt: skip
@click.option("--since", metavar="WHEN", default=None,
              help="From an EVENT_ID or a TIME on: 30d; everything by default.")  # fmt: skip
def report(call: kit.Call, path: str, since: str | None) -> None:
    """Write board, needs, timeline, causes and flow as one HTML file.

    The file needs no network and no other file, can be read without scripts, and holds
    every item and the newest events, as many as there is room for. With --since, what was
    closed or happened before is left out. Prints the file's path, its size in bytes and how
    many items and events there are.

    \b
    Exits: 2 WHEN is not understood; 3 no such folder; 7 the disk refused the file.
    Example: ev report --html week.html --since 7d
    """
    from coord.core.report import page
    from coord.edge import pages

    with call.reading() as known:
        facts = gathered(call, known, since)
    text = page.rendered(facts, pages.assets())
    if path == "-":
        click.echo(text.encode(errors="replace"), nl=False)
        return
    counts = {"items": len(facts.items), "events": facts.events_total}
    row = {"path": path, "body_bytes": pages.write(path, text), **counts}
    call.emit([row], _table, ident="path")


def _table(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        size = f"{row['body_bytes'] / 1e6:.1f} MB"
        click.echo(
            kit.plain(f"{row['path']}: {row['items']} items, {row['events']} events, {size}")
        )


def gathered(call: kit.Call, known: Index, since: str | None = None) -> Facts:
    """Everything that a page tells, read at one moment."""
    now_ms = call.query_now(known)
    bound = ev.boundary(since, now_ms) if since else ""
    # What is ahead of the clock is not folded yet, and not told.
    wanted = ev.Filter(since_id=bound, until_id=horizon(call.now_ms))
    newest = known.select(wanted, EVENTS)
    return Facts(
        project=_project(call, newest),
        now_ms=now_ms,
        since_ms=_instant(bound),
        items={s["work_id"]: s for _, s in known.states("work") if s and "deleted" not in s},
        events=newest,
        events_total=known.count_from(bound),
        problems=_problems(known),
        deeds=known.select(ev.Filter(types=effort.TYPES, since_id=bound), -1),
        lost=[*_lost(known)],
    )


def around(known: Index, raws: Sequence[Mapping[str, Any]], now_ms: int) -> tuple[Facts, list[str]]:
    """What the page tells of the items that these events are about, and of their neighbours.

    Answers also which of them are gone.
    """
    named = {str((raw.get("refs") or {}).get("work_id", "")) for raw in raws} - {""}
    near = {other for one in named for _, other in views.linked_to(known.connection, one)}
    wanted = sorted(named | set(sorted(near)[:NEIGHBOURS]))
    states = {work_id: known.state(f"work/{work_id}") for work_id in wanted}
    there = {work_id: s for work_id, s in states.items() if s and "deleted" not in s}
    ids = {raw["event_id"] for raw in raws}
    problems = {p.event_id: p for p in known.problems() if p.event_id in ids}
    facts = Facts("", now_ms, 0, there, raws, len(raws), problems, (), (), known.state)
    return facts, sorted(states.keys() - there.keys())


def _instant(bound: str) -> int:
    return time_of(bound) if bound else 0


def _project(call: kit.Call, events: list[Mapping[str, Any]]) -> str:
    named = events[-1].get("project") if events else None
    return str(named or os.path.basename(os.path.dirname(call.place.store)))


def _problems(known: Index) -> dict[str, Problem]:
    return {problem.event_id: problem for problem in known.problems()}


def _lost(known: Index) -> Iterator[Mapping[str, Any]]:
    """The claims that lost: `held` is the one problem they have."""
    for problem in known.problems():
        raw = known.event(problem.event_id) if problem.code == "held" else None
        if raw is not None and raw["type"] == "work.claimed":
            yield raw
