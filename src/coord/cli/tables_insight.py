"""What needs a look, on a terminal: rows with their reasons, and counts with bars."""

from collections.abc import Iterable, Sequence

from rich.table import Table

from coord.cli.tables import Row, console, text
from coord.core import units

BAR = 20


def reasons(rows: Iterable[Row], name: str) -> None:
    """Rows that say under `name` what they are, and why."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(name, no_wrap=True)
    table.add_column("item", no_wrap=True)
    table.add_column("reason, title", ratio=1)
    for row in rows:
        told = text(row["reason"])
        if row.get("title"):
            told.append("\n").append_text(text(row["title"][:400], "dim"))
        table.add_row(
            text(str(row[name]), "yellow"),
            text(row.get("work_id") or row["commit"][:12], "bold"),
            told,
        )
    if table.row_count:
        console().print(table)


def efforts(rows: Sequence[Row], name: str) -> None:
    """Groups with what they did, and a bar for what they closed."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(name.removesuffix("_id"), overflow="fold")
    for column in ("created", "closed"):
        table.add_column(column, justify="right")
    table.add_column("")
    for column in ("lead time", "rework", "lost claims"):
        table.add_column(column, justify="right")
    most = max((row["closed"] for row in rows), default=0) or 1
    for row in rows:
        lead_ms = row["lead_time"].get("median_ms")
        table.add_row(
            text(row[name]), str(row["created"]), str(row["closed"]),
            text("#" * -(-row["closed"] * BAR // most), "green"),
            "" if lead_ms is None else units.show_age(lead_ms),
            str(row["rework"]), str(row["contention"]),
        )  # fmt: skip
    if rows:
        console().print(table)
