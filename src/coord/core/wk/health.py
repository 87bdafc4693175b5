"""What is not well with the work: what goes on without anybody, or cannot go on at all.

silent, abandoned   claims without progress, as `idle` tells them
unverified          submitted, and nobody has judged it yet; or passed, and nobody has closed it
unreachable         it needs itself over others, or waits for such items: no order of work
                    ever comes to it
unmentioned         a commit that names no work item, in a trailer or in its subject
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from coord.core import units
from coord.core.problem import State
from coord.core.wk import graph, idle, view

KINDS = ("abandoned", "silent", "unverified", "unreachable", "unmentioned")
_NEVER_IDLE_MS = 1 << 62
_WORD = re.compile(r"[\w.-]+")
Row = dict[str, Any]


def of_items(
    states: Iterable[State], needs: graph.Needs, now_ms: int, silent_ms: int
) -> Iterator[Row]:
    """A row per item and reason: {health, work_id, title, agent_id?, since_ms, reason}.

    states: of what is still to be done. needs: who waits for whom among it.
    """
    stuck = unreachable(needs)
    for state in states:
        found = idle.reason(state, now_ms, _NEVER_IDLE_MS, silent_ms)
        if found is not None and found["why"] in KINDS:
            agent_id = state["claim"]["agent_id"]
            yield _row(found["why"], state, agent_id, found["since_ms"], found["text"])
        if view.status_at(state, now_ms) == "submitted":
            yield _unverified(state, now_ms)
        if state["work_id"] in stuck:
            yield _row("unreachable", state, "", state["updated_at_ms"], stuck[state["work_id"]])


def _row(health: str, state: State, agent_id: str, since_ms: int, reason: str) -> Row:
    row = {"health": health, "work_id": state["work_id"], "title": state["title"]}
    if agent_id:
        row["agent_id"] = agent_id
    return {**row, "since_ms": since_ms, "reason": reason}


def _unverified(state: State, now_ms: int) -> Row:
    submission = state["submission"]
    age = units.show_relative(submission["at_ms"], now_ms)
    reason = f"{submission['agent_id']} submitted it {age} and nobody has judged it"
    if "passed_by" in submission:
        reason = f"{submission['passed_by']} has passed it and nobody has closed it"
    return _row("unverified", state, submission["agent_id"], submission["at_ms"], reason)


def unreachable(needs: graph.Needs) -> dict[str, str]:
    """The items that no order of work comes to, each with the reason."""
    found: dict[str, str] = {}
    waiters = graph.turned(needs)
    reached: set[str] = set()
    for circle in view.cycles(needs):
        others = len(circle) - 1
        for work_id in circle:
            found[work_id] = f"it needs itself, over {others} other{'s' * (others > 1)}"
        for work_id in sorted(_reached_anew(circle, waiters, reached) - set(circle)):
            found.setdefault(work_id, f"it waits for {circle[0]}, which needs itself")
    return found


def _reached_anew(start: Iterable[str], follow: graph.Needs, reached: set[str]) -> set[str]:
    """What is reached from here and was not before; each item is looked at once in all."""
    found: set[str] = set()
    waiting = [work_id for work_id in start if work_id not in reached]
    reached.update(waiting)
    while waiting:
        here = waiting.pop()
        found.add(here)
        new = [other for other in follow.get(here, ()) if other not in reached]
        reached.update(new)
        waiting.extend(new)
    return found


def of_commits(commits: Iterable[Mapping[str, Any]], known: Iterable[str]) -> Iterator[Row]:
    """A row per commit that names no item: {health, commit, title, since_ms, reason}.

    commits: as `edge.git` tells of them. known: the ids of all items.
    """
    ids = frozenset(known)
    for commit in commits:
        words = {word.strip(".-") for word in _WORD.findall(commit["subject"])}
        if commit["work"] or not ids.isdisjoint(words):
            continue
        yield {
            "health": "unmentioned", "commit": commit["commit"], "title": commit["subject"],
            "since_ms": commit["at_ms"],
            "reason": f"{commit['author']} committed it and named no work item",
        }  # fmt: skip
