"""Full text of the messages: SQLite's FTS5 over subjects and texts.

As `search` for items: the first search fills the table, later ones add what is new.
A message never changes, but of two lines with one id another may come to count: its
mark in `mail_searched` says which words were filed. Where FTS5 is missing or the index
cannot grow, every message is read instead.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from coord.core.msg import mail
from coord.core.problem import State
from coord.core.wk import searching
from coord.core.wk.searching import Term
from coord.edge import blobs
from coord.edge.index.search import has_fts5, state_of

if TYPE_CHECKING:
    from coord.edge.index import Index

_TABLE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS mail_text USING"
    " fts5(subject, text, tokenize = 'unicode61 remove_diacritics 2')"
)
_UNMARKED = (
    "SELECT e, message.same FROM message LEFT JOIN mail_searched USING(e)"
    " WHERE mail_searched.same IS NULL OR mail_searched.same != message.same"
)
_OF_BOX = " AND (sender = :agent OR e IN (SELECT e FROM box WHERE agent = :agent))"
_FOUND = (
    "SELECT e FROM mail_text JOIN message ON message.e = mail_text.rowid"
    " WHERE mail_text MATCH :query{clause} ORDER BY bm25(mail_text, 10.0, 3.0), message_id DESC"
)


def find(index: "Index", terms: Sequence[Term], agent_id: str) -> list[State]:
    """The messages that answer the terms, the best first; with an agent only its own mail."""
    clause = _OF_BOX if agent_id else ""
    if has_fts5(index.connection) and _is_filled(index):
        values = {"query": searching.query_of(terms), "agent": agent_id}
        rows = index.connection.execute(_FOUND.format(clause=clause), values).fetchall()
        return [state_of(index.connection, number) for (number,) in rows]
    return _scanned(index, terms, agent_id, clause)


def texts_of(folder: str, state: State) -> dict[str, str]:
    """What of a message is searched, under the names that `core.wk.searching` weighs."""
    text = text_of(folder, state) or ""
    return {"title": state.get("subject", ""), "description": text, "comments": ""}


def text_of(folder: str, state: State) -> str | None:
    """What a message says, out of its blob where it is long; None when that is not here."""
    text = state.get("text", "")
    if isinstance(text, Mapping) and mail.is_blob(text):
        return blobs.load(folder, text)
    return str(text)


def _is_filled(index: "Index") -> bool:
    """Bring the table up to date; False where there is no room for it."""
    if not index.connection.execute(f"{_UNMARKED} LIMIT 1").fetchone():
        return True
    try:
        with index.writing():
            _fill(index)
    except sqlite3.OperationalError:
        return False
    return True


def _fill(index: "Index") -> None:
    sql = index.connection
    sql.execute(_TABLE)
    for number, same in sql.execute(_UNMARKED).fetchall():
        sql.execute("DELETE FROM mail_text WHERE rowid = ?", (number,))
        texts = texts_of(index.folder, state_of(sql, number))
        sql.execute(
            "INSERT INTO mail_text(rowid, subject, text) VALUES(?,?,?)",
            (number, texts["title"], texts["description"]),
        )
        sql.execute("INSERT OR REPLACE INTO mail_searched VALUES(?,?)", (number, same))


def _scanned(index: "Index", terms: Sequence[Term], agent_id: str, clause: str) -> list[State]:
    rows = index.connection.execute(
        f"SELECT e FROM message WHERE 1{clause} ORDER BY message_id DESC", {"agent": agent_id}
    ).fetchall()
    scored: list[tuple[float, int, State]] = []
    for place, (number,) in enumerate(rows):
        state = state_of(index.connection, number)
        good = searching.score(texts_of(index.folder, state), terms)
        if good:
            scored.append((-good, place, state))
    return [state for _, _, state in sorted(scored, key=_rank)]


def _rank(entry: tuple[float, int, Any]) -> tuple[float, int]:
    return entry[0], entry[1]
