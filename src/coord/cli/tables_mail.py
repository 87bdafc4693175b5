"""Mail on a terminal: inboxes and letters, drawn with rich.

What others wrote stands between bars, escaped: it cannot look like anything but mail.
"""

from collections.abc import Iterable

from rich.table import Table

from coord.cli.tables import Row, agent, console, facts, joined, text
from coord.core import units

__all__ = ["facts", "inbox", "letters", "presence"]
_STYLE = {"unread": "bold", "expired": "dim", "acked": "dim"}
_LOUD = {"urgent": "red", "high": "yellow"}


def inbox(rows: Iterable[Row], now_ms: int) -> None:
    """A line per message: how old it is, from whom, what it says, how it stands."""
    listed = list(rows)
    if not listed:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "sent", "from"):
        table.add_column(name, no_wrap=True)
    table.add_column("message", ratio=1, no_wrap=True)
    for row in listed:
        style = _STYLE.get(row.get("status", ""), "")
        mark = row.get("status", "")
        if row.get("ack") and mark != "acked":
            mark = f"{mark}, ack {row['ack']}"
        subject = row.get("subject") or row.get("excerpt", "")
        table.add_row(
            text(row["message_id"]), text(_past(row["sent_at_ms"], now_ms), "dim"),
            agent(row["from"]),
            joined(
                text(f"{row['importance']} ", _LOUD.get(row["importance"], "dim"))
                if "importance" in row else text(""),
                text(f"{subject} ", style), text(f"({mark})", "dim"),
            ),
        )  # fmt: skip
    console().print(table)


def _past(instant_ms: int, now_ms: int) -> str:
    return units.show_relative(min(instant_ms, now_ms), now_ms)


def letters(rows: Iterable[Row]) -> None:
    """Whole messages."""
    screen = console()
    for row in rows:
        screen.print(text(f"{row['message_id']}  {row.get('subject', '')}", "bold"))
        for name in ("from", "to", "cc", "work_id", "reply_to", "importance", "ack", "forwards"):
            if name in row:
                value = row[name]
                shown = ", ".join(value) if isinstance(value, list) else value
                screen.print(joined(text(f"  {name}: ", "dim"), text(shown)))
        screen.print(joined(text("  sent: ", "dim"), text(units.show_instant(row["sent_at_ms"]))))
        # By its own line ends alone: nothing else in it ends a line.
        for line in row.get("text", "").split("\n") if row.get("text") else ():
            screen.print(joined(text("  │ ", "cyan"), text(line)))
        if "missing" in row:
            screen.print(text("  the text is not here yet: ev sync fetches it", "red"))
        for part in row.get("attachments", ()):
            screen.print(text(f"  attached: {part['name']} ({part['body_bytes']} bytes)"))
        for told in row.get("receipts", ()):
            screen.print(text(f"  {told['agent_id']}: {told['status']}", "dim"))


def presence(rows: Iterable[Row]) -> None:
    """Who is there, a line each."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("agent", "state", "mode", "last fact", "beat", "holds", "waits for"):
        table.add_column(name)
    for row in rows:
        fact, beats = row.get("last_fact"), row.get("beats", ())
        table.add_row(
            text(row["agent_id"]), text(row["state"]), text(row.get("mode", "")),
            text(f"{fact['type']} {_age(fact['age_ms'])} ago" if fact else ""),
            text(f"{_age(beats[0]['age_ms'])} ago" if beats else ""),
            text(", ".join(hold["resource"] for hold in row.get("holds", ()))),
            text(", ".join(wait["for"] for wait in row.get("waits_for", ()))),
        )  # fmt: skip
    console().print(table)


def _age(span_ms: int) -> str:
    return units.show_duration(span_ms - span_ms % 1000)
