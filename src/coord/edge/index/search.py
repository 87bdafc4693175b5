"""Full text of the work items: SQLite's FTS5 over titles, descriptions and comments.

The first search fills the table, later ones only add what changed: whoever stores an
item takes its mark out of `searched`. (Its newest event would not tell: an event that
comes late changes an item and is not its newest.) What was deleted is not searched.
Where FTS5 is missing or the index cannot grow, every item is read instead.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from coord.core.problem import State
from coord.core.wk import fields, searching
from coord.core.wk.searching import Term
from coord.edge import blobs
from coord.edge.index import views

if TYPE_CHECKING:
    from coord.edge.index import Index

STATUSES = tuple(name for name in views.STATUSES if name != "deleted")
_TABLE = (
    "CREATE VIRTUAL TABLE IF NOT EXISTS search USING"
    " fts5(title, description, comments, tokenize = 'unicode61 remove_diacritics 2')"
)
_UNMARKED = "SELECT e, deleted FROM item WHERE e NOT IN (SELECT e FROM searched)"
# Marks are of items that exist: as many as items is all of them.
_IS_FILLED = "SELECT (SELECT count(*) FROM item) = (SELECT count(*) FROM searched)"
_FOUND = "FROM search JOIN item ON item.e = search.rowid WHERE search MATCH :query AND ({clause})"
_RANK = f"bm25(search, {', '.join(map(str, searching.WEIGHTS.values()))})"


class Hits(NamedTuple):
    """The items of one page, the best first, and how many there are in all."""

    work_ids: list[str]
    total: int


def has_fts5(sql: sqlite3.Connection) -> bool:
    """Whether this SQLite was built with FTS5."""
    row = sql.execute("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'").fetchone()
    return row is not None


def find(
    index: "Index", terms: Sequence[Term], query: views.Query, joined_by: str = " AND "
) -> Hits:
    """The items that answer the terms, ranked; of `query` its status, limit and offset.

    joined_by: " OR " takes items that have any of the terms.
    """
    if has_fts5(index.connection) and _is_filled(index):
        return _indexed(index.connection, searching.query_of(terms, joined_by), query)
    return _scanned(index, terms, query, all_terms=joined_by == " AND ")


def texts_of(folder: str, state: State) -> dict[str, str]:
    """What of an item is searched; long texts come out of their blobs."""
    comments = (_text(folder, said.get("text")) for said in state.get("comments", ()))
    return {
        "title": state["title"],
        "description": _text(folder, state.get("description")),
        "comments": "\n".join(comments),
    }


def _text(folder: str, value: Any) -> str:
    if isinstance(value, Mapping) and fields.is_blob(value):
        return blobs.load(folder, value) or ""
    return value if isinstance(value, str) else ""


def _is_filled(index: "Index") -> bool:
    """Bring the table up to date; False where there is no room for it."""
    if index.connection.execute(_IS_FILLED).fetchone()[0]:
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
    for number, is_deleted in sql.execute(_UNMARKED).fetchall():
        sql.execute("DELETE FROM search WHERE rowid = ?", (number,))
        if not is_deleted:
            texts = texts_of(index.folder, state_of(sql, number))
            sql.execute("INSERT INTO search(rowid, title, description, comments)"
                        " VALUES(:number, :title, :description, :comments)",
                        {"number": number, **texts})  # fmt: skip
        sql.execute("INSERT INTO searched VALUES(?)", (number,))


def state_of(sql: sqlite3.Connection, number: int) -> State:
    row = sql.execute("SELECT state FROM entity WHERE e = ?", (number,)).fetchone()
    state: State = orjson.loads(row[0])
    return state


def _indexed(sql: sqlite3.Connection, text: str, query: views.Query) -> Hits:
    found = _FOUND.format(clause=views.STATUSES[query.status])
    values = {"query": text, "now": query.now_ms}
    rows = sql.execute(
        f"SELECT work_id {found} ORDER BY {_RANK}, work_id LIMIT :limit OFFSET :offset",
        {**values, "limit": query.limit, "offset": query.offset},
    ).fetchall()
    total = query.offset + len(rows)
    if len(rows) == query.limit or (query.offset and not rows):
        total = sql.execute(f"SELECT count(*) {found}", values).fetchone()[0]
    return Hits([row[0] for row in rows], total)


def _scanned(index: "Index", terms: Sequence[Term], query: views.Query, all_terms: bool) -> Hits:
    scored = sorted(_scores(index, terms, query, all_terms))
    end = None if query.limit < 0 else query.offset + query.limit
    return Hits([work_id for _, work_id in scored[query.offset : end]], len(scored))


def _scores(
    index: "Index", terms: Sequence[Term], query: views.Query, all_terms: bool
) -> Iterator[tuple[float, str]]:
    """The items that answer, with how well, negated: the best sort first."""
    everything = views.Query(query.now_ms, query.status, sort="id")
    for state in views.items(index.connection, everything):
        texts = texts_of(index.folder, state)
        groups = [terms] if all_terms else [[term] for term in terms]
        good = sum(searching.score(texts, group) for group in groups)
        if good:
            yield -good, state["work_id"]
