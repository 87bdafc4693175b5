"""How the work goes, told by agent, by label or by week.

throughput   items created and closed
lead time    from creation to closing, the median
rework       what came back: a verdict `fail`, or reopened after it was closed; it counts for
             who had submitted or closed it
contention   claims that lost against another, for the agent whose claim it was

A week is that of the event, by ISO 8601 in UTC; a label is one that the item has now.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from statistics import median
from typing import Any

from coord.core import units
from coord.core.event import time_of
from coord.core.problem import State

GROUPS = ("agent", "label", "week")
# The events that are asked for: who did it last, and what came back.
TYPES = ("work.submitted", "work.closed", "work.verified", "work.reopened")
NO_LABEL = "(none)"
_KEYS = {"agent": "agent_id", "label": "label", "week": "week"}
# What happened: (deed, item, agent, instant).
Deed = tuple[str, str, str, int]
Raw = Mapping[str, Any]


def of(
    by: str, states: Mapping[str, State], events: Iterable[Raw], lost: Iterable[Raw], since_ms: int
) -> list[dict[str, Any]]:
    """A row per group: {GROUP, created, closed, lead_time, rework, contention, reason}.

    states: of all items, by id. events: of `TYPES`, in order. lost: claims that lost.
    since_ms: what happened before does not count.
    """
    counts: dict[str, Counter[str]] = {}
    lead_ms: dict[str, list[int]] = {}
    for deed, work_id, agent_id, at_ms in _deeds(states, events, lost):
        if at_ms < since_ms:
            continue
        state = states.get(work_id, {})
        for group in _groups(by, state, agent_id, at_ms):
            counts.setdefault(group, Counter())[deed] += 1
            if deed == "closed":
                span_ms = max(0, state["closed_at_ms"] - state["created_at_ms"])
                lead_ms.setdefault(group, []).append(span_ms)
    rows = (_row(by, group, counts[group], lead_ms.get(group, [])) for group in counts)
    return sorted(rows, key=lambda row: row["week"] if by == "week" else _most(row, _KEYS[by]))


def _most(row: Raw, key: str) -> tuple[int, str]:
    return -row["closed"], row[key]


def _groups(by: str, state: State, agent_id: str, at_ms: int) -> list[str]:
    if by == "agent":
        return [agent_id]
    return list(state.get("labels") or [NO_LABEL]) if by == "label" else [week_of(at_ms)]


def week_of(instant_ms: int) -> str:
    """The week of an instant, as 2026-W01."""
    day = datetime.fromtimestamp(min(max(instant_ms, 0), units.LATEST_MS) / 1000, UTC)
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def _deeds(
    states: Mapping[str, State], events: Iterable[Raw], lost: Iterable[Raw]
) -> Iterator[Deed]:
    for work_id, state in states.items():
        if "deleted" in state:
            continue
        yield "created", work_id, state["created_by"], state["created_at_ms"]
        if "closed_at_ms" in state:
            closer = str(state.get("closed_by") or state["created_by"])
            yield "closed", work_id, closer, state["closed_at_ms"]
    yield from _rework(events)
    for raw in lost:
        yield "contention", _item(raw), raw["actor"]["agent_id"], time_of(raw["event_id"])


def _rework(events: Iterable[Raw]) -> Iterator[Deed]:
    doer: dict[str, str] = {}
    for raw in events:
        work_id, agent_id = _item(raw), raw["actor"]["agent_id"]
        if raw["type"] in ("work.submitted", "work.closed"):
            doer[work_id] = agent_id
        elif raw["type"] == "work.reopened" or (raw.get("body") or {}).get("verdict") == "fail":
            yield "rework", work_id, doer.get(work_id, agent_id), time_of(raw["event_id"])


def _item(raw: Raw) -> str:
    return str((raw.get("refs") or {}).get("work_id", ""))


def _row(by: str, group: str, count: Counter[str], lead_ms: list[int]) -> dict[str, Any]:
    row: dict[str, Any] = {_KEYS[by]: group, "created": count["created"]}
    row.update(closed=count["closed"], lead_time={"items": len(lead_ms)})
    said = [f"closed {count['closed']}" if count["closed"] else "closed nothing"]
    if lead_ms:
        row["lead_time"]["median_ms"] = int(median(lead_ms))
        said.append(f"half of them within {units.show_age(int(median(lead_ms)))}")
    row.update(rework=count["rework"], contention=count["contention"])
    if count["rework"]:
        said.append(f"{count['rework']} came back")
    if count["contention"]:
        claims = "1 claim" if count["contention"] == 1 else f"{count['contention']} claims"
        said.append(f"{claims} lost against others")
    return {**row, "reason": ", ".join(said)}
