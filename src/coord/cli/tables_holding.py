"""Who holds what, and how the runs stand, on a terminal: drawn with rich."""

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from coord.cli.tables import Row, agent, console, joined, text
from coord.core import units

_STATE_STYLE = {"free": "green", "mine": "cyan", "held": "red"}
_OUTCOME_STYLE = {"succeeded": "green", "cancelled": "dim", "skipped": "dim"}


def leases(rows: Iterable[Row], now_ms: int) -> None:
    """Holds, a line each: what, who, how much longer, who confirmed it, why."""
    table = _table("resource", "agent", "left", "fence", "confirmed")
    table.add_column("lease", ratio=1)
    for row in rows:
        table.add_row(
            text(row["resource"], "bold"), agent(row["agent_id"]), _left(row, now_ms),
            str(row.get("fence", "")), text(row.get("confirmed", "")),
            joined(text(row.get("lease_id", "")), _why(row)),
        )  # fmt: skip
    if table.row_count:
        console().print(table)


def checked(rows: Iterable[Row], now_ms: int) -> None:
    """Resources, a line each: may I have it, else who has what, how much longer, why."""
    table = _table("resource", "state", "agent", "left")
    table.add_column("what, why", ratio=1)
    for row in rows:
        held = row.get("held", "")
        promised = "promised before it was lost" if row.get("promised") else ""
        said = (held if held != row["resource"] else "", promised, row.get("why", ""))
        table.add_row(
            text(row["resource"], "bold"), text(row["state"], _STATE_STYLE[row["state"]]),
            agent(row.get("agent_id", "")), _left(row, now_ms) if "agent_id" in row else Text(),
            text(", ".join(filter(None, said)), "dim"),
        )  # fmt: skip
    console().print(table)


def _why(row: Row) -> Text:
    return Text("\n").append_text(text(row["why"], "dim")) if row.get("why") else Text()


def _left(row: Row, now_ms: int) -> Text:
    """How much longer, or why no longer."""
    until_ms = row["expires_at_ms"]
    if row.get("lost"):
        return text("lost", "red")
    if row.get("expired") or (until_ms and until_ms <= now_ms):
        return text(f"over {units.show_relative(until_ms, now_ms)}", "red")
    # A hold without an end of its own goes on while its command lives.
    return text(units.show_age(until_ms - now_ms) if until_ms else "while it runs", "green")


def runs(rows: Iterable[Row], now_ms: int) -> None:
    """Runs, a line each: how it stands, since when, for whom, the command."""
    table = _table("run", "state", "since", "by")
    table.add_column("command", ratio=1, no_wrap=True)
    for row in rows:
        since_ms = row.get("ended_at_ms") or row.get("requested_at_ms") or now_ms
        table.add_row(
            text(row["run_id"], "bold"), _state(row),
            text(units.show_relative(min(since_ms, now_ms), now_ms), "dim"),
            agent(row["requested_by"]), text(row.get("title") or row["command"]),
        )  # fmt: skip
    if table.row_count:
        console().print(table)


def _state(row: Row) -> Text:
    """Its status or outcome in words, with the number it ended with."""
    outcome = row.get("outcome")
    word = str(outcome or row["status"])
    ended = [f"{name[:4]} {row[name]}" for name in ("exit_code", "signal") if row.get(name)]
    style = _OUTCOME_STYLE.get(word, "red") if outcome else "yellow"
    return text(" ".join((word, *ended)), style)


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, no_wrap=True)
    return table
