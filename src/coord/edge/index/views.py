"""Work items as rows: what lists, filters and `ready` ask for, in SQL.

An item is *ready* when it is open (or its claim is over), not deferred, and no item
that it needs is still to be done. A need that no clone knows blocks nothing.
`core.wk.view` is the definition; a property test holds both together.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from coord.core.problem import State

# A row of `link` that is no link: what an item was put on hold for. No kind looks so.
WAITS_FOR = ":waits_for"
BLOCKED = (
    "needs > 0 AND EXISTS(SELECT 1 FROM link"
    " JOIN item AS need INDEXED BY item_undone ON need.work_id = link.target"
    f" WHERE link.e = item.e AND link.kind IN ('needs', '{WAITS_FOR}')"
    " AND need.status != 'closed')"
)
# `defer_ms` of an item that waits for an agent or a URL: no time ends that.
NEVER_MS = 1 << 62
# Lets SQLite choose an index of what is still to be done, which holds only that.
_UNDONE = "status != 'closed'"
READY = f"{_UNDONE} AND live = 1 AND claim_until <= :now AND defer_ms <= :now AND NOT ({BLOCKED})"
IN_ORDER = "priority, created_ms, work_id"
SORTS: Mapping[str, str] = {
    "priority": IN_ORDER,
    "created": "created_ms, work_id",
    "updated": "updated_ms DESC, work_id",
    "due": "due_ms IS NULL, due_ms, work_id",
    "title": "title, work_id",
    "id": "work_id",
}
# Filters by a column or by a table of many values; `:name` is bound to the value.
FILTERS: Mapping[str, str] = {
    "type": "type = :type",
    "priority": "priority = :priority",
    "assignee": "assignee = :assignee",
    "created_by": "created_by = :created_by",
    "external_ref": "external_ref = :external_ref",
    "resolution": "resolution = :resolution",
    "claimed_by": "claim_agent = :claimed_by AND claim_until > :now",
    "label": "e IN (SELECT e FROM label WHERE label = :label)",
    "without_label": "e NOT IN (SELECT e FROM label WHERE label = :without_label)",
    "parent": "e IN (SELECT e FROM link WHERE kind = 'parent' AND target = :parent)",
    "needs": "e IN (SELECT e FROM link WHERE kind = 'needs' AND target = :needs)",
    "text": "title LIKE :text ESCAPE '\\'",
    "due_before_ms": "due_ms < :due_before_ms",
    "created_after_ms": "created_ms >= :created_after_ms",
    "updated_after_ms": "updated_ms >= :updated_after_ms",
}
# What `--status` may say; all but the stored words are derived at :now.
STATUSES: Mapping[str, str] = {
    "open": f"{_UNDONE} AND (status = 'open' OR (status = 'claimed' AND claim_until <= :now))",
    "claimed": f"{_UNDONE} AND status = 'claimed' AND claim_until > :now",
    "submitted": f"{_UNDONE} AND status = 'submitted'",
    "closed": "status = 'closed' AND deleted = 0",
    "deleted": "deleted = 1",
    "ready": READY,
    "blocked": f"{_UNDONE} AND live = 1 AND (defer_ms = {NEVER_MS} OR ({BLOCKED}))",
    "deferred": f"{_UNDONE} AND live = 1 AND defer_ms > :now AND defer_ms < {NEVER_MS}",
    "unfinished": _UNDONE,
    "all": "deleted = 0",
}
# The filters of a query without any.
_EVERYTHING: Mapping[str, Any] = {}


_INSERT_ITEM = f"INSERT INTO item VALUES({','.join('?' * 19)})"


class Query(NamedTuple):
    """Which items, in which order, how many.

    where: names of `FILTERS` with their values. now_ms: see DESIGN §5.
    """

    now_ms: int
    status: str = "unfinished"
    where: Mapping[str, Any] = _EVERYTHING
    sort: str = "priority"
    limit: int = -1
    offset: int = 0


def store_items(sql: sqlite3.Connection, items: Sequence[tuple[int, State]], are_new: bool) -> None:
    """Write the rows of items, given with their numbers; `are_new`: they have none yet."""
    if not are_new:
        # Without its mark in `searched` the next search reads the item again.
        numbers = [(number,) for number, _ in items]
        for table in ("item", "link", "label", "searched"):
            sql.executemany(f"DELETE FROM {table} WHERE e=?", numbers)
    there = [(number, state) for number, state in items if state]
    sql.executemany(_INSERT_ITEM, [_item_row(number, state) for number, state in there])
    links = [row for number, state in there for row in _link_rows(number, state)]
    sql.executemany("INSERT INTO link VALUES(?,?,?)", links)
    labels = [(number, label) for number, state in there for label in state["labels"]]
    sql.executemany("INSERT INTO label VALUES(?,?)", labels)


def _item_row(number: int, state: State) -> tuple[Any, ...]:
    claim, status = state.get("claim", {}), state["status"]
    needs = [*state.get("links", {}).get("needs", ()), *waits_for(state)]
    return (
        number, state["work_id"], int(status in ("open", "claimed")), status,
        int("deleted" in state), state["type"], state["priority"], state.get("assignee"),
        state["created_at_ms"], state["updated_at_ms"], state.get("due_ms"),
        _not_before_ms(state), claim.get("agent_id"), claim.get("expires_at_ms", 0),
        len(needs), state["created_by"], state.get("external_ref"), state.get("resolution"),
        state["title"],
    )  # fmt: skip


def _link_rows(number: int, state: State) -> Iterator[tuple[int, str, str]]:
    for kind, targets in state.get("links", {}).items():
        for target in targets:
            yield number, kind, target
    for target in waits_for(state):
        yield number, WAITS_FOR, target


def waits_for(state: State) -> list[str]:
    """The items that an item was put on hold for."""
    return [wait["on"]["item"] for wait in state.get("waits", ()) if "item" in wait["on"]]


def _not_before_ms(state: State) -> int:
    """When time alone lets an item be ready; `NEVER_MS` where somebody has to act."""
    instants = [state.get("defer_until_ms", 0)]
    for wait in state.get("waits", ()):
        if "item" not in wait["on"]:
            instants.append(wait["on"].get("until_ms", NEVER_MS))
    return int(max(instants))


def _clause(query: Query) -> tuple[str, dict[str, Any]]:
    conditions = [f"({STATUSES[query.status]})"]
    conditions += [FILTERS[name] for name in query.where]
    return " AND ".join(conditions), {"now": query.now_ms, **query.where}


def items(sql: sqlite3.Connection, query: Query) -> list[State]:
    """The states of the items that a query finds."""
    state = "SELECT state FROM entity WHERE e = ?"
    # Not in one statement: to sort, SQLite would carry all states along.
    return [orjson.loads(sql.execute(state, row).fetchone()[0]) for row in _found(sql, query, "e")]


def _found(sql: sqlite3.Connection, query: Query, column: str) -> list[tuple[Any]]:
    clause, values = _clause(query)
    return sql.execute(
        f"SELECT {column} FROM item WHERE {clause} ORDER BY {SORTS[query.sort]}"
        " LIMIT :limit OFFSET :offset",
        {**values, "limit": query.limit, "offset": query.offset},
    ).fetchall()


def count(sql: sqlite3.Connection, query: Query) -> int:
    """How many items a query finds, whatever its limit."""
    clause, values = _clause(query)
    row = sql.execute(f"SELECT count(*) FROM item WHERE {clause}", values).fetchone()
    return int(row[0])


def count_ready_and_blocked(sql: sqlite3.Connection, now_ms: int) -> tuple[int, int]:
    """How many items are ready and how many blocked, in one pass over what is to be done."""
    row = sql.execute(
        "SELECT total(NOT blocked AND claim_until <= :now AND defer_ms <= :now),"
        f" total(blocked OR defer_ms = {NEVER_MS}) FROM"
        f" (SELECT claim_until, defer_ms, {BLOCKED} AS blocked FROM item"
        # The limit keeps SQLite from asking for each use of `blocked` anew.
        f" WHERE {_UNDONE} AND live = 1 LIMIT -1)",
        {"now": now_ms},
    ).fetchone()
    return int(row[0]), int(row[1])


def work_ids(sql: sqlite3.Connection, query: Query) -> list[str]:
    """The ids of the items that a query finds."""
    return [row[0] for row in _found(sql, query, "work_id")]


def matching(sql: sqlite3.Connection, prefix: str, limit: int) -> list[tuple[str, str]]:
    """Ids with titles that begin with `prefix`, in whole or after their `wk-`."""
    found: dict[str, str] = {}
    for start in (prefix, f"wk-{prefix}"):
        rows = sql.execute(
            "SELECT work_id, title FROM item WHERE work_id >= ? AND work_id < ?"
            " ORDER BY work_id LIMIT ?",
            (start, start + "\U0010ffff", limit),
        )
        found.update(rows.fetchall())
    return list(found.items())[:limit]


def so_called(sql: sqlite3.Connection, name: str, limit: int) -> list[tuple[str, str]]:
    """The items, with titles, whose name in another tracker is this, or else begins so."""
    for end in ("", "\U0010ffff"):
        rows = sql.execute(
            "SELECT work_id, title FROM item WHERE external_ref >= ? AND external_ref <= ?"
            " ORDER BY external_ref, work_id LIMIT ?",
            (name, name + end, limit),
        ).fetchall()
        if rows:
            return rows
    return []


def statuses(sql: sqlite3.Connection, work_ids: Sequence[str]) -> dict[str, str]:
    """The stored status of each of these items that exists."""
    marks = ",".join("?" * len(work_ids))
    rows = sql.execute(f"SELECT work_id, status FROM item WHERE work_id IN ({marks})", work_ids)
    return dict(rows.fetchall())


def linked_to(sql: sqlite3.Connection, work_id: str) -> list[tuple[str, str]]:
    """The items that link to this one: (kind, work_id), sorted."""
    rows = sql.execute(
        "SELECT ltrim(kind, ':') AS kind, work_id FROM link JOIN item USING(e) WHERE target = ?"
        " ORDER BY kind, work_id",
        (work_id,),
    )
    return rows.fetchall()


def needs_of(sql: sqlite3.Connection, work_ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The needs of these items: (item, needed)."""
    marks = ",".join("?" * len(work_ids))
    yield from sql.execute(
        "SELECT work_id, target FROM item JOIN link USING(e)"
        f" WHERE kind = 'needs' AND work_id IN ({marks})",
        work_ids,
    )


def all_links(sql: sqlite3.Connection, kind: str) -> Iterator[tuple[str, str]]:
    """Every link of a kind between items that are still to be done."""
    yield from sql.execute(
        "SELECT item.work_id, link.target FROM link JOIN item USING(e)"
        " JOIN item AS other ON other.work_id = link.target"
        " WHERE link.kind = ? AND item.status != 'closed' AND other.status != 'closed'"
        " ORDER BY item.work_id, link.target",
        (kind,),
    )


def every_link(sql: sqlite3.Connection, kind: str) -> Iterator[tuple[str, str]]:
    """Every link of a kind, but those of deleted items."""
    yield from sql.execute(
        "SELECT item.work_id, link.target FROM link JOIN item USING(e)"
        " WHERE link.kind = ? AND item.deleted = 0 ORDER BY item.work_id, link.target",
        (kind,),
    )


def titles(sql: sqlite3.Connection, work_ids: Iterable[str]) -> dict[str, str]:
    """The titles of those items that are known."""
    found = {}
    for work_id in work_ids:
        row = sql.execute("SELECT title FROM item WHERE work_id = ?", (work_id,)).fetchone()
        if row:
            found[work_id] = row[0]
    return found


def contested(sql: sqlite3.Connection) -> list[State]:
    """The items, not deleted, with values that lost a concurrent edit, by id."""
    # The byte search leaves few; what it finds may still be somebody's text.
    rows = sql.execute(
        "SELECT state FROM entity JOIN item USING(e)"
        " WHERE instr(state, CAST('\"conflicts\":[' AS BLOB)) AND item.deleted = 0"
        " ORDER BY work_id"
    )
    states = [orjson.loads(row[0]) for row in rows]
    return [state for state in states if state.get("conflicts")]


def needs_among(sql: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Who waits for whom among what is still to be done: needs, and holds for an item."""
    for kind in ("needs", WAITS_FOR):
        yield from all_links(sql, kind)


def next_boundary(sql: sqlite3.Connection, now_ms: int) -> int | None:
    """When the passing of time alone next makes an item ready; None for never."""
    row = sql.execute(
        "SELECT min(at) FROM (SELECT min(claim_until) AS at FROM item"
        " WHERE live = 1 AND claim_until > :now"
        " UNION ALL SELECT min(defer_ms) FROM item WHERE live = 1 AND defer_ms > :now)",
        {"now": now_ms},
    ).fetchone()
    return None if row[0] is None else int(row[0])
