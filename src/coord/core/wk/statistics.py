"""Counts of work items, and how long they take."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import Any

from coord.core import units
from coord.core.problem import State
from coord.core.wk import view

DAYS = 14
DAY_MS = 86_400_000
NOBODY = "nobody"


def of(states: Iterable[State], now_ms: int, top: int) -> dict[str, Any]:
    """What there is, by every kind of word, and what came and went of late.

    top: how many labels, assignees and agents are told, the most frequent ones; 0 for
    all. {items, deleted, by_status, by_type, by_priority, by_label, by_assignee,
    by_agent: {agent: {holds, created, closed}}, per_day: [{day, created, closed}],
    lead_time: {items, median_ms}, left_out?: {name: how many}}
    """
    counts: dict[str, Counter[str]] = {
        name: Counter()
        for name in ("status", "type", "priority", "label", "assignee", "created", "closed")
    }
    agents: dict[str, Counter[str]] = {}
    lead_ms, items, deleted = [], 0, 0
    for state in states:
        if "deleted" in state:
            deleted += 1
            continue
        items += 1
        status = view.status_at(state, now_ms)
        for name, words in _words(state, status):
            counts[name].update(words)
        for agent_id, deed in _deeds(state, status):
            agents.setdefault(agent_id, Counter())[deed] += 1
        if "closed_at_ms" in state:
            lead_ms.append(max(0, state["closed_at_ms"] - state["created_at_ms"]))
    found: dict[str, Any] = {"items": items, "deleted": deleted}
    for name in ("status", "type", "priority"):
        found[f"by_{name}"] = dict(sorted(counts[name].items()))
    left_out = {}
    for name, counted in (
        ("label", counts["label"]), ("assignee", counts["assignee"]), ("agent", agents),
    ):  # fmt: skip
        found[f"by_{name}"], left = _most(counted, top)
        if left:
            left_out[f"by_{name}"] = left
    found["per_day"] = list(_days(counts["created"], counts["closed"], now_ms))
    found["lead_time"] = {"items": len(lead_ms)}
    if lead_ms:
        found["lead_time"]["median_ms"] = int(median(lead_ms))
    return {**found, "left_out": left_out} if left_out else found


def _words(state: State, status: str) -> Iterator[tuple[str, list[str]]]:
    yield "status", [status]
    yield "type", [state["type"]]
    yield "priority", [str(state["priority"])]
    yield "label", state["labels"]
    if status != "closed":
        yield "assignee", [state.get("assignee", NOBODY)]
    yield "created", [_day_of(state["created_at_ms"])]
    if "closed_at_ms" in state:
        yield "closed", [_day_of(state["closed_at_ms"])]


def _deeds(state: State, status: str) -> Iterator[tuple[str, str]]:
    yield state["created_by"], "created"
    if "closed_by" in state:
        yield state["closed_by"], "closed"
    if status == "claimed":
        yield state["claim"]["agent_id"], "holds"


def _most(counted: Mapping[str, Any], top: int) -> tuple[dict[str, Any], int]:
    """The most frequent ones, and how many others there are."""
    ordered = sorted(counted, key=lambda word: (-_size(counted[word]), word))
    kept = ordered[:top] if top else ordered
    return {word: _plain(counted[word]) for word in kept}, len(ordered) - len(kept)


def _size(value: int | Counter[str]) -> int:
    return value if isinstance(value, int) else value.total()


def _plain(value: int | Counter[str]) -> int | dict[str, int]:
    return value if isinstance(value, int) else dict(sorted(value.items()))


def _day_of(instant_ms: int) -> str:
    return units.show_instant(instant_ms)[:10]


def _days(
    created: Mapping[str, int], closed: Mapping[str, int], now_ms: int
) -> Iterator[dict[str, Any]]:
    """The last days, today last, in UTC."""
    for back in range(DAYS - 1, -1, -1):
        day = _day_of(max(0, now_ms - back * DAY_MS))
        yield {"day": day, "created": created.get(day, 0), "closed": closed.get(day, 0)}
