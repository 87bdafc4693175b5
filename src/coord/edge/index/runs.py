"""Runs as rows: what a worker takes next, what is open, what a list shows, in SQL.

    run         one per run; `live` until it has ended, `at_ms` when it may start at the
                earliest, `until_ms` until when at the latest, `grp` and `places` its group
                and the limit that it says; `store` executes it, none while any clone may,
                `asked` for it
    run_after   what a run comes after
    run_key     of a run that has not ended, the key of which there is to be only one

Rows come from states (`core.run.life`), which are the definition; whether a run may start
is decided by `core.run.ready`, these queries only leave out what surely may not.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from coord.core.problem import State
from coord.core.run import life, ready, wanted

# `until_ms` of what waits as long as it takes.
NEVER_MS = 1 << 62
_OPEN = f"status IN ({', '.join(repr(status) for status in life.OPEN)})"
_WAITS = (
    "EXISTS(SELECT 1 FROM run_after JOIN run AS before ON before.run_id = run_after.target"
    " WHERE run_after.e = run.e AND before.live = 1)"
)
_NEXT = f"live = 1 AND status = '{life.QUEUED}' AND at_ms <= :now AND NOT {_WAITS}"
# What `run list --status` may say.
STATUSES: Mapping[str, str] = {
    "unfinished": f"live = 1 AND status <> '{life.SCHEDULED}'",
    "scheduled": f"live = 1 AND status = '{life.SCHEDULED}'",
    "queued": f"live = 1 AND status = '{life.QUEUED}'",
    "running": f"live = 1 AND {_OPEN}",
    "done": "live = 0",
    "failed": "live = 0 AND outcome NOT IN ('succeeded', 'cancelled', 'skipped')",
    "all": "1",
}


class Query(NamedTuple):
    """Which runs of a list: a name of `STATUSES`, of whom, of which group."""

    status: str = "unfinished"
    agent_id: str = ""
    group: str = ""
    limit: int = -1
    offset: int = 0


def store(sql: sqlite3.Connection, entities: Sequence[tuple[int, State]], are_new: bool) -> None:
    """Write the rows of runs, given with their numbers."""
    if not are_new:
        numbers = [(number,) for number, _ in entities]
        sql.executemany("DELETE FROM run WHERE e=?", numbers)
        sql.executemany("DELETE FROM run_after WHERE e=?", numbers)
        sql.executemany("DELETE FROM run_key WHERE e=?", numbers)
    there = [(number, state) for number, state in entities if state]
    sql.executemany(
        "INSERT INTO run VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        [_row(number, state) for number, state in there],
    )
    after = [(n, one["run_id"]) for n, state in there for one in state["spec"].get("after", ())]
    sql.executemany("INSERT INTO run_after VALUES(?,?)", after)
    live = [(n, state["spec"]) for n, state in there if state["status"] != life.DONE]
    keys = [(n, spec["dedupe"]["key"]) for n, spec in live if "dedupe" in spec]
    sql.executemany("INSERT INTO run_key VALUES(?,?)", keys)


def _row(number: int, state: State) -> tuple[Any, ...]:
    spec = state["spec"]
    group = spec.get("group", {})
    until_ms = ready.ends_waiting_ms(state)
    at_ms = max(spec.get("not_before_ms", 0), state.get("again_at_ms", 0))
    return (
        number, state["run_id"], int(state["status"] != life.DONE), state["status"],
        spec.get("priority", wanted.DEFAULT_PRIORITY), state["request_event"], at_ms,
        state["requested_by"], group.get("name"), group.get("limit"), state.get("outcome"),
        life.store_of(state) or None, NEVER_MS if until_ms is None else until_ms,
        spec.get("store"), _held_ms(state),
    )  # fmt: skip


def _held_ms(state: State) -> int | None:
    """Until when whoever executes a run that any clone may execute was granted it."""
    if not life.is_anywhere(state) or life.open_attempt(state) is None:
        return None
    return max((hold["expires_at_ms"] for hold in state.get("holds", ())), default=0)


def candidates(
    sql: sqlite3.Connection, home: str, now_ms: int, limit: int, offset: int = 0
) -> list[str]:
    """A store's queued runs that may be able to start, in the order of their turn."""
    rows = sql.execute(
        f"SELECT run_id FROM run WHERE store = :home AND {_NEXT}"
        " ORDER BY priority, request_id LIMIT :limit OFFSET :offset",
        {"home": home, "now": now_ms, "limit": limit, "offset": offset},
    )
    return [row[0] for row in rows]


def anywhere(sql: sqlite3.Connection, now_ms: int, limit: int, offset: int = 0) -> list[str]:
    """The queued runs that any clone may execute, in the order of their turn."""
    rows = sql.execute(
        f"SELECT run_id FROM run WHERE store IS NULL AND {_NEXT}"
        " ORDER BY priority, request_id LIMIT :limit OFFSET :offset",
        {"now": now_ms, "limit": limit, "offset": offset},
    )
    return [row[0] for row in rows]


def abandoned(sql: sqlite3.Connection, home: str, now_ms: int) -> list[str]:
    """The runs that other stores execute and have not renewed in time, as the clocks say."""
    rows = sql.execute(
        f"SELECT run_id FROM run WHERE live = 1 AND {_OPEN} AND held_ms < ? AND store <> ?",
        (now_ms, home),
    )
    return [row[0] for row in rows]


def open_runs(sql: sqlite3.Connection, home: str) -> list[str]:
    """A store's runs with an attempt that has not ended, the oldest first."""
    rows = sql.execute(
        f"SELECT run_id FROM run WHERE store = ? AND live = 1 AND {_OPEN} ORDER BY request_id",
        (home,),
    )
    return [row[0] for row in rows]


def taken_in(sql: sqlite3.Connection, group: str) -> list[tuple[str, int]]:
    """The runs that take a place in a group, with the limit each says."""
    return sql.execute(
        f"SELECT run_id, places FROM run WHERE live = 1 AND grp = ? AND {_OPEN}", (group,)
    ).fetchall()


def has_live(sql: sqlite3.Connection, home: str) -> bool:
    """Whether a run of a store has not ended."""
    query = "SELECT 1 FROM run WHERE store = ? AND live = 1 LIMIT 1"
    return sql.execute(query, (home,)).fetchone() is not None


def overdue(sql: sqlite3.Connection, home: str, now_ms: int) -> list[str]:
    """A store's queued runs whose time was over before their turn."""
    rows = sql.execute(
        f"SELECT run_id FROM run WHERE live = 1 AND until_ms <= ? AND status = '{life.QUEUED}'"
        " AND asked = ? ORDER BY request_id",
        (now_ms, home),
    )
    return [row[0] for row in rows]


def live_with_key(sql: sqlite3.Connection, key: str) -> list[str]:
    """The runs that have not ended and were asked for under a dedupe key, the oldest first."""
    rows = sql.execute(
        "SELECT run_id FROM run_key JOIN run USING(e) WHERE key = ? ORDER BY request_id", (key,)
    )
    return [row[0] for row in rows]


def schedules(sql: sqlite3.Connection) -> list[str]:
    """The schedules that nobody has cancelled, the oldest first."""
    query = f"SELECT run_id FROM run WHERE live = 1 AND status = '{life.SCHEDULED}'"
    return [row[0] for row in sql.execute(f"{query} ORDER BY request_id")]


def next_boundary(sql: sqlite3.Connection, now_ms: int) -> int | None:
    """When the passing of time alone next lets a run start, or ends its waiting."""
    found = [
        sql.execute(
            f"SELECT min({name}) FROM run WHERE live = 1 AND status = '{life.QUEUED}'"
            f" AND {name} > ? AND {name} < {NEVER_MS}",
            (now_ms,),
        ).fetchone()[0]
        for name in ("at_ms", "until_ms")
    ]
    return min((int(at_ms) for at_ms in found if at_ms is not None), default=None)


def _clause(query: Query) -> tuple[str, list[Any]]:
    parts: list[tuple[str, list[Any]]] = [(STATUSES[query.status], [])]
    if query.agent_id:
        parts.append(("agent = ?", [query.agent_id]))
    if query.group:
        parts.append(("grp = ?", [query.group]))
    return " AND ".join(f"({part})" for part, _ in parts), [v for _, vs in parts for v in vs]


def listed(sql: sqlite3.Connection, query: Query) -> Iterator[State]:
    """The states of the runs that a query finds, the newest first."""
    clause, values = _clause(query)
    rows = sql.execute(
        f"SELECT e FROM run WHERE {clause} ORDER BY request_id DESC LIMIT ? OFFSET ?",
        (*values, query.limit, query.offset),
    ).fetchall()
    for row in rows:
        yield orjson.loads(sql.execute("SELECT state FROM entity WHERE e = ?", row).fetchone()[0])


def count(sql: sqlite3.Connection, query: Query) -> int:
    """How many runs a query finds, whatever its limit."""
    clause, values = _clause(query)
    row = sql.execute(f"SELECT count(*) FROM run WHERE {clause}", values).fetchone()
    return int(row[0])


def matching(sql: sqlite3.Connection, prefix: str, limit: int) -> list[str]:
    """Ids that begin so."""
    rows = sql.execute(
        "SELECT run_id FROM run WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT ?",
        (prefix, prefix + "\U0010ffff", limit),
    )
    return [row[0] for row in rows]


def live_among(sql: sqlite3.Connection, run_ids: Sequence[str]) -> set[str]:
    """Those of these runs that have not ended."""
    marks = ",".join("?" * len(run_ids))
    rows = sql.execute(f"SELECT run_id FROM run WHERE live = 1 AND run_id IN ({marks})", run_ids)
    return {row[0] for row in rows}
