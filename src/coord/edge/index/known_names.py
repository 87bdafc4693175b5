"""Names that the index knows: for completion, and for who has mistyped one."""

import sqlite3
from collections.abc import Iterator

_NO_WILDCARDS = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\"})


def near(sql: sqlite3.Connection, work_id: str, limit: int) -> list[tuple[str, str]]:
    """Items, with titles, whose id begins or ends as this one does, up to some slip."""
    half = len(work_id) // 2
    ends = (work_id[: max(half, 3)], work_id[-max(half - 1, 2) :])
    first, last = (text.translate(_NO_WILDCARDS) for text in ends)
    rows = sql.execute(
        "SELECT work_id, title FROM item WHERE deleted = 0 AND abs(length(work_id) - ?) < 3"
        " AND (work_id LIKE ? ESCAPE '\\' OR work_id LIKE ? ESCAPE '\\')"
        " ORDER BY work_id LIMIT ?",
        (len(work_id), f"{first}%", f"%{last}", limit),
    )
    return rows.fetchall()


def agents(sql: sqlite3.Connection) -> list[str]:
    """Everybody who has written or is registered, sorted."""
    found = {text for (text,) in sql.execute("SELECT text FROM name") if _is_agent(text)}
    names = sql.execute("SELECT name FROM entity WHERE name >= 'agent/' AND name < 'agent0'")
    found |= {name.partition("/")[2] for (name,) in names}
    return sorted(filter(_is_agent, found))


def _is_agent(text: str) -> bool:
    return text.startswith(("agent:", "human:", "bot:"))


def threads(sql: sqlite3.Connection, prefix: str, limit: int) -> Iterator[str]:
    """Threads whose name begins so, the newest first."""
    rows = sql.execute(
        "SELECT thread_id, max(message_id) AS newest FROM message WHERE thread_id >= ?"
        " AND thread_id < ? GROUP BY thread_id ORDER BY newest DESC LIMIT ?",
        (prefix, prefix + "\U0010ffff", limit),
    )
    return (row[0] for row in rows)
