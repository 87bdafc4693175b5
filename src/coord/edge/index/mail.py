"""Messages as rows: what an inbox counts and lists, in SQL.

    message   one per message that folds: who sent it, when, in which thread, about what
    box       one per message and recipient: what an inbox shows without reading messages
    rule      one per rule that reminds

Rows come from states (`core.msg.mail`), which are the definition. Whether a message has
expired or is snoozed depends on when one asks, so those instants are columns too.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from coord.core import event as events
from coord.core.msg import mail
from coord.core.problem import State

# `expires_ms` of what never does.
NEVER_MS = 1 << 62
# An inbox holds neither what is snoozed nor what has expired unread.
_SHOWN = "agent = :agent AND snoozed_ms <= :now AND (seen = 1 OR expires_ms > :now)"
FILTERS: Mapping[str, str] = {
    "unread": "seen = 0",
    "unacked": "needs_ack = 1",
    "thread": "e IN (SELECT e FROM message WHERE thread_id = :thread)",
    "work": "e IN (SELECT e FROM message WHERE work_id = :work)",
    "sender": "e IN (SELECT e FROM message WHERE sender = :sender)",
}


class Counts(NamedTuple):
    """How many messages an inbox holds: all, those unread, those to be acknowledged."""

    total: int
    unread: int
    unacked: int


def store(sql: sqlite3.Connection, entities: Sequence[tuple[int, State]], are_new: bool) -> None:
    """Write the rows of messages and rules, given with their numbers."""
    if not are_new:
        numbers = [(number,) for number, _ in entities]
        for table in ("message", "box", "rule"):
            sql.executemany(f"DELETE FROM {table} WHERE e=?", numbers)
    messages = [(number, state) for number, state in entities if "message_id" in state]
    sql.executemany(
        "INSERT INTO message VALUES(?,?,?,?,?,?,?,?)",
        [_message_row(number, state) for number, state in messages],
    )
    boxes = [row for number, state in messages for row in _box_rows(number, state)]
    sql.executemany("INSERT INTO box VALUES(?,?,?,?,?,?,?)", boxes)
    rules = [_rule_row(number, state) for number, state in entities if "rule_id" in state]
    sql.executemany("INSERT INTO rule VALUES(?,?,?,?)", rules)


def _message_row(number: int, state: State) -> tuple[Any, ...]:
    return (
        number, state["message_id"], state["from"], state["sent_at_ms"], state["thread_id"],
        state.get("work_id"), state.get("reply_to"), mail.sameness(state),
    )  # fmt: skip


def _box_rows(number: int, state: State) -> Iterator[tuple[Any, ...]]:
    for agent_id in mail.recipients(state):
        done = state["receipts"].get(agent_id, {})
        needs_ack = state.get("ack", "none") != "none" and "acked_at_ms" not in done
        yield (
            number, agent_id, state["message_id"], int("read_at_ms" in done), int(needs_ack),
            state.get("expires_at_ms", NEVER_MS), done.get("snoozed_until_ms", 0),
        )  # fmt: skip


def _rule_row(number: int, state: State) -> tuple[Any, ...]:
    about = state["about"]
    stopped = int("suppressed_at_ms" in state)
    return number, stopped, about.get("message_id"), about.get("work_id")


def _clause(where: Mapping[str, Any]) -> str:
    return " AND ".join([_SHOWN, *(FILTERS[name] for name in where)])


def count(sql: sqlite3.Connection, agent_id: str, now_ms: int, where: Mapping[str, Any]) -> Counts:
    """How many messages of an inbox the filters take."""
    row = sql.execute(
        "SELECT count(*), count(*) - total(seen), total(needs_ack) FROM box"
        f" WHERE {_clause(where)}",
        {"agent": agent_id, "now": now_ms, **where},
    ).fetchone()
    return Counts(*map(int, row))


def page(
    sql: sqlite3.Connection,
    agent_id: str,
    now_ms: int,
    where: Mapping[str, Any],
    limit: int,
    offset: int,
) -> list[State]:
    """The messages of an inbox, unread first, then the newest; all with limit -1."""
    values = {"agent": agent_id, "now": now_ms, **where, "limit": limit, "offset": offset}
    rows = sql.execute(
        f"SELECT e FROM box WHERE {_clause(where)} ORDER BY seen, message_id DESC"
        " LIMIT :limit OFFSET :offset",
        values,
    ).fetchall()
    return [_state(sql, number) for (number,) in rows]


def _state(sql: sqlite3.Connection, number: int) -> State:
    row = sql.execute("SELECT state FROM entity WHERE e = ?", (number,)).fetchone()
    state: State = orjson.loads(row[0])
    return state


def thread(sql: sqlite3.Connection, thread_id: str) -> list[State]:
    """The messages of a thread, the oldest first."""
    rows = sql.execute(
        "SELECT e FROM message WHERE thread_id = ? ORDER BY message_id", (thread_id,)
    ).fetchall()
    return [_state(sql, number) for (number,) in rows]


def replies_to(sql: sqlite3.Connection, message_id: str) -> list[State]:
    """The messages that answer one, the oldest first."""
    rows = sql.execute(
        "SELECT e FROM message WHERE reply_to = ? ORDER BY message_id", (message_id,)
    ).fetchall()
    return [_state(sql, number) for (number,) in rows]


def matching(sql: sqlite3.Connection, prefix: str, limit: int) -> list[str]:
    """Ids of messages and rules that begin so."""
    rows = sql.execute(
        "SELECT name FROM entity WHERE name >= ? AND name < ? AND state IS NOT NULL"
        " ORDER BY name LIMIT ?",
        (f"msg/{prefix}", f"msg/{prefix}~", limit),
    )
    return [name[4:] for (name,) in rows]


def threads_matching(sql: sqlite3.Connection, prefix: str, limit: int) -> list[str]:
    """Ids of threads that begin so."""
    rows = sql.execute(
        "SELECT DISTINCT thread_id FROM message WHERE thread_id >= ? AND thread_id < ?"
        " ORDER BY thread_id LIMIT ?",
        (prefix, prefix + "\U0010ffff", limit),
    )
    return [row[0] for row in rows]


def sent_since(sql: sqlite3.Connection, agent_id: str, since_ms: int) -> int:
    """How many messages an agent has sent from an instant on."""
    row = sql.execute(
        "SELECT count(*) FROM message WHERE sender = ? AND sent_ms >= ?", (agent_id, since_ms)
    ).fetchone()
    return int(row[0])


def said_since(
    sql: sqlite3.Connection, agent_id: str, same: str, since_ms: int
) -> list[tuple[str, str]]:
    """Who was told the same by this sender from an instant on: (recipient, message_id)."""
    rows = sql.execute(
        "SELECT box.agent, message.message_id FROM message JOIN box USING(e)"
        " WHERE sender = ? AND same = ? AND sent_ms >= ? ORDER BY message.message_id",
        (agent_id, same, since_ms),
    )
    return rows.fetchall()


def unacknowledged(sql: sqlite3.Connection, now_ms: int) -> Iterator[tuple[str, str, str, int]]:
    """Who waits for whose acknowledgement: (sender, recipient, message_id, sent_ms)."""
    yield from sql.execute(
        "SELECT sender, box.agent, message.message_id, sent_ms FROM box JOIN message USING(e)"
        " WHERE needs_ack = 1 AND expires_ms > ? ORDER BY message.message_id",
        (now_ms,),
    )


def rules(sql: sqlite3.Connection) -> list[State]:
    """The rules that remind, but those that somebody stopped, the oldest first."""
    rows = sql.execute(
        "SELECT entity.state FROM rule JOIN entity USING(e) WHERE stopped = 0 ORDER BY entity.name"
    )
    return [orjson.loads(row[0]) for row in rows]


def all_of(sql: sqlite3.Connection, agent_id: str) -> Iterator[State]:
    """Every message to an agent, the oldest first, whatever became of it."""
    rows = sql.execute("SELECT e FROM box WHERE agent = ? ORDER BY message_id", (agent_id,))
    for (number,) in rows.fetchall():
        yield _state(sql, number)


def has_acted(sql: sqlite3.Connection, agent_id: str) -> bool:
    """Whether there is an event of this agent."""
    return sql.execute("SELECT 1 FROM name WHERE text = ?", (agent_id,)).fetchone() is not None


def actors(sql: sqlite3.Connection) -> list[str]:
    """Every agent of which there is an event."""
    rows = sql.execute("SELECT text FROM name WHERE instr(text, ':') ORDER BY text")
    return [row[0] for row in rows]


def newest_facts(
    sql: sqlite3.Connection, but: Sequence[str]
) -> Iterator[tuple[str, tuple[str, str, int]]]:
    """Every agent's newest event of other types: (agent, (event_id, type, at_ms))."""
    marks = ",".join("?" * len(but))
    rows = sql.execute(
        "SELECT who.text, max(event.id), what.text FROM event"
        " JOIN name AS who ON who.i = event.agent JOIN name AS what ON what.i = event.type"
        f" WHERE what.text NOT IN ({marks})"
        " AND event.id < (SELECT value FROM meta WHERE key = 'horizon') GROUP BY who.text",
        but,
    )
    for agent_id, event_id, kind in rows:
        yield agent_id, (event_id, kind, events.time_of(event_id))


def held_up(sql: sqlite3.Connection) -> list[tuple[str, Mapping[str, Any]]]:
    """What unfinished items wait for, by who claimed them or else is meant to do them."""
    rows = sql.execute(
        "SELECT coalesce(claim_agent, assignee), state FROM item JOIN entity USING(e)"
        " WHERE status != 'closed' AND defer_ms > 0 AND coalesce(claim_agent, assignee) IS NOT NULL"
        " ORDER BY work_id"
    )
    found: list[tuple[str, Mapping[str, Any]]] = []
    for agent_id, data in rows:
        item = orjson.loads(data)
        for wait in item.get("waits", ()):
            [value] = wait["on"].values()
            entry = {"for": str(value), "work_id": item["work_id"], "since_ms": wait["at_ms"]}
            found.append((agent_id, entry))
    return found
