"""Holds of resources as rows: what `lease list`, `check` and `guard` ask for, in SQL.

    id         the acquire's event id
    folder     of `path:` the leading part without a pattern, in one case (a path matches
               only globs whose folder it lies in); NULL for any other resource
    until_ms   when it is over
    lost       1 for a promise: granted here and beaten by another clone's

Rows come from states (`core.lease.domain`), which are the definition. A domain may have
a thousand holds of which one changes: only what differs is written.
"""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from coord.core import globs, resource
from coord.core.problem import State

# Which hold, and what of it can change: (id, until_ms, lost).
Mark = tuple[str, int, int]
_PATH = f"{resource.PATH}:"
_CLAIMS = """
SELECT state FROM item JOIN entity USING(e)
WHERE claim_agent IS NOT NULL AND claim_until > ? AND status != 'closed'
"""


def store(sql: sqlite3.Connection, domains: Sequence[tuple[int, State]], are_new: bool) -> None:
    """Write the rows of domains, given with their numbers."""
    for number, state in domains:
        wanted = {(h["event_id"], h["expires_at_ms"], lost): h for h, lost in _all(state)}
        known = set() if are_new else _known(sql, number)
        gone = [(number, *mark) for mark in known - wanted.keys()]
        new = [_row(number, h, mark) for mark, h in wanted.items() if mark not in known]
        sql.executemany("DELETE FROM hold WHERE e=? AND id=? AND until_ms=? AND lost=?", gone)
        sql.executemany("INSERT INTO hold VALUES(?,?,?,?,?,?,?,?)", new)


def _all(state: State) -> Iterable[tuple[Mapping[str, Any], int]]:
    for part, lost in (("holds", 0), ("refused", 1)):
        for hold in state.get(part, ()):
            yield hold, lost


def _row(number: int, hold: Mapping[str, Any], mark: Mark) -> tuple[Any, ...]:
    event_id, until_ms, lost = mark
    return (
        number, event_id, hold["lease_id"], _folder(hold["resource"]), until_ms, lost,
        hold["agent_id"], orjson.dumps(hold),
    )  # fmt: skip


def _known(sql: sqlite3.Connection, number: int) -> set[Mark]:
    return set(sql.execute("SELECT id, until_ms, lost FROM hold WHERE e=?", (number,)))


def _folder(named: str) -> str | None:
    return globs.folder_of(named[len(_PATH) :], True) if named.startswith(_PATH) else None


def near(sql: sqlite3.Connection, wanted: Iterable[str], now_ms: int) -> list[dict[str, Any]]:
    """The running holds of paths that may share a path with one of these globs."""
    above: set[str] = set()
    below: set[str] = set()
    for glob in wanted:
        folder = globs.folder_of(glob, True)
        above.update(globs.ancestors(folder))
        # What matches one path alone has nothing below it.
        if len(globs.split(folder)) < len(globs.split(glob)):
            below.add(folder)
    if "" in below:
        return _read(sql.execute(f"{_RUNNING} AND folder IS NOT NULL", (now_ms,)))
    inside = " OR (folder > ? AND folder < ?)" * len(below)
    bounds = [bound for folder in sorted(below) for bound in (folder + "/", folder + "0")]
    marks = ",".join("?" * len(above))
    query = f"{_RUNNING} AND (folder IN ({marks}){inside})"
    return _read(sql.execute(query, (now_ms, *sorted(above), *bounds)))


_RUNNING = "SELECT hold FROM hold WHERE lost = 0 AND until_ms > ?"


def _read(rows: Iterable[tuple[bytes]]) -> list[dict[str, Any]]:
    """Holds in the order in which they were granted."""
    return sorted((orjson.loads(row[0]) for row in rows), key=_id_of)


def _id_of(hold: Mapping[str, Any]) -> str:
    return str(hold["event_id"])


def listed(
    sql: sqlite3.Connection, now_ms: int, agent_id: str = "", expired: bool = False
) -> list[dict[str, Any]]:
    """The running holds, or those that are over and were not given back; of an agent."""
    condition = "until_ms <= ?" if expired else "until_ms > ?"
    query = f"SELECT hold FROM hold WHERE lost = 0 AND {condition}"
    if agent_id:
        return _read(sql.execute(f"{query} AND agent = ?", (now_ms, agent_id)))
    return _read(sql.execute(query, (now_ms,)))


def lost_of(sql: sqlite3.Connection, agent_id: str, now_ms: int) -> list[dict[str, Any]]:
    """The agent's promises that are not over: it believes to hold them, or did."""
    query = "SELECT hold FROM hold WHERE lost = 1 AND until_ms > ? AND agent = ?"
    return _read(sql.execute(query, (now_ms, agent_id)))


def promised(sql: sqlite3.Connection, domain: str, now_ms: int) -> list[dict[str, Any]]:
    """The promises in a domain that are not over, whoever's and of whichever store."""
    query = "SELECT hold FROM hold WHERE lost = 1 AND until_ms > ? AND e = "
    query += "(SELECT e FROM entity WHERE name = ?)"
    return _read(sql.execute(query, (now_ms, f"lease/{domain}")))


def claims(sql: sqlite3.Connection, now_ms: int) -> list[dict[str, Any]]:
    """The running claims of work items, as holds."""
    found = []
    for (state,) in sql.execute(_CLAIMS, (now_ms,)):
        item = orjson.loads(state)
        found.append({**item["claim"], "work_id": item["work_id"]})
    return sorted(found, key=_id_of)


def named(sql: sqlite3.Connection, prefix: str, limit: int) -> list[tuple[str, bool, Any]]:
    """Leases whose id begins so: (lease_id, lost, hold)."""
    rows = sql.execute(
        "SELECT lease_id, lost, hold FROM hold WHERE lease_id >= ? AND lease_id < ?"
        " ORDER BY lease_id, id LIMIT ?",
        (prefix, prefix + "\U0010ffff", limit),
    )
    return [(lease_id, bool(lost), orjson.loads(hold)) for lease_id, lost, hold in rows]


def next_end(sql: sqlite3.Connection, now_ms: int) -> int | None:
    """When the next running hold is over; None for never."""
    row = sql.execute("SELECT min(until_ms) FROM hold WHERE until_ms > ?", (now_ms,)).fetchone()
    return None if row[0] is None else int(row[0])
