"""What `ev status`, `digest` and `prime` ask the index for."""

from collections.abc import Iterator
from typing import Any

import orjson

from coord.core import event as events
from coord.core.problem import State
from coord.edge.index import Index
from coord.edge.index.views import NEVER_MS, WAITS_FOR

# More than any screen shows; what is older is stuck no more and no less.
MOST = 500

_CLAIMED = """
SELECT last, state FROM item JOIN entity USING(e)
WHERE status = 'claimed' AND live = 1 ORDER BY claim_until DESC LIMIT ?
"""
# On hold for an agent or a URL, or for another item, or for a time that has not come.
_WAITING = f"""
SELECT state FROM item JOIN entity USING(e)
WHERE status != 'closed' AND live = 1 AND (defer_ms = {NEVER_MS} OR defer_ms > ?
  OR (needs > 0 AND EXISTS(SELECT 1 FROM link WHERE link.e = item.e AND kind = '{WAITS_FOR}')))
ORDER BY created_ms, work_id LIMIT ?
"""
_CONTESTED = """
SELECT problem.event_id, entity.name, name.text, problem.message
FROM problem JOIN event ON event.id = problem.event_id JOIN name ON name.i = event.agent
JOIN entity ON entity.e = problem.e
WHERE problem.code = 'held' AND problem.event_id >= ? AND problem.event_id < ?
ORDER BY problem.event_id DESC LIMIT ?
"""
_CLOSED = """
SELECT state FROM item JOIN entity USING(e)
WHERE status = 'closed' AND deleted = 0 AND updated_ms >= ? ORDER BY updated_ms, work_id
"""


def claimed(known: Index) -> list[tuple[str, State]]:
    """Items with a claim, running or over: the id of the newest event, and the state."""
    rows = known.connection.execute(_CLAIMED, (MOST,)).fetchall()
    return [(last, orjson.loads(state)) for last, state in rows]


def waiting(known: Index, now_ms: int) -> list[State]:
    """Unfinished items that are on hold, the oldest first; deferred ones are among them."""
    return list(_states(known, _WAITING, (now_ms, MOST)))


def contested(known: Index, since_ms: int) -> list[tuple[str, str, str, str]]:
    """Claims that lost, the newest first: (event_id, work_id, agent_id, message)."""
    bounds = (events.first_id_at(since_ms), known.meta("horizon"), MOST)
    rows = known.connection.execute(_CONTESTED, bounds).fetchall()
    return [(row[0], row[1].partition("/")[2], row[2], row[3]) for row in rows]


def closed_since(known: Index, since_ms: int) -> list[State]:
    """The items closed since then, the oldest first."""
    found = _states(known, _CLOSED, (since_ms,))
    recent = (state for state in found if state.get("closed_at_ms", 0) >= since_ms)
    return sorted(recent, key=_closed_at)


def _closed_at(state: State) -> tuple[int, str]:
    return state["closed_at_ms"], state["work_id"]


def _states(known: Index, query: str, values: tuple[Any, ...]) -> Iterator[State]:
    for (state,) in known.connection.execute(query, values).fetchall():
        yield orjson.loads(state)
