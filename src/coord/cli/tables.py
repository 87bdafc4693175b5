"""What people see on a terminal: the same facts as the JSON, drawn with rich.

Texts from the journals are data: control characters are shown, never obeyed, and
nothing in them is taken for rich's own markup.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from coord.cli.kit import plain
from coord.core import units

Row = Mapping[str, Any]

_STATUS_STYLE = {
    "ready": "green", "claimed": "yellow", "blocked": "red", "deferred": "dim",
    "closed": "dim", "deleted": "dim",
}  # fmt: skip


def console() -> Console:
    """Where everything is drawn."""
    return Console(highlight=False, soft_wrap=False)


def text(value: object, style: str = "") -> Text:
    """A value as it may safely stand on a terminal."""
    return Text(plain(str(value)), style=style)


def joined(*parts: Text) -> Text:
    """Parts of a line, each in its own style."""
    return Text.assemble(*parts)


def state_word(row: Row) -> str:
    """One word for what an item is: its status, or why it is not ready."""
    if row["status"] != "open":
        return str(row["status"])
    for word in ("ready", "blocked_by", "deferred"):
        if row.get(word):
            return word.removesuffix("_by")
    return "open"


def items(rows: Iterable[Row]) -> None:
    """A list of work items."""
    rows = list(rows)
    if not rows:
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "P", "state", "type"):
        table.add_column(name, no_wrap=True)
    table.add_column("title", ratio=1)
    for row in rows:
        word = state_word(row)
        table.add_row(
            text(row["work_id"]), str(row["priority"]),
            text(word, _STATUS_STYLE.get(word, "")), text(row["type"]), _title(row),
        )  # fmt: skip
    console().print(table)


def _title(row: Row) -> Text:
    shown = text(row["title"])
    for label in row.get("labels", ()):
        shown.append(f" #{plain(label)}", "cyan")
    if "claim" in row:
        shown.append(f" ({plain(row['claim']['agent_id'])})", "yellow")
    for reason in row.get("reasons", ()):
        shown.append(f"\n{plain(reason)}", "dim")
    return shown


def card(row: Row) -> None:
    """One item, readable."""
    screen = console()
    screen.print(text(f"{row['work_id']}  {row['title']}", "bold"))
    line = f"{state_word(row)} · {row['type']} · P{row['priority']}"
    screen.print(text(line, _STATUS_STYLE.get(state_word(row), "")))
    for name, value in _facts(row):
        screen.print(joined(text(f"  {name}: ", "dim"), text(value)))
    for paragraph in str(row.get("description", "")).splitlines():
        screen.print(text(f"  {paragraph}"))
    for comment in row.get("comments", ()):
        head = f"  {units.show_instant(comment['at_ms'])} {comment['by']}: "
        screen.print(joined(text(head, "dim"), text(comment["text"])))


def _facts(row: Row) -> Iterable[tuple[str, str]]:
    if "claim" in row:
        claim = row["claim"]
        until = units.show_instant(claim["expires_at_ms"])
        how = f"fence {claim['fence']}, confirmed: {claim['confirmed']}"
        yield "claimed by", f"{claim['agent_id']} until {until} ({how})"
    for name in ("resolution", "close_why", "assignee", "external_ref"):
        if row.get(name):
            yield name.replace("_", " "), str(row[name])
    for name in ("due_ms", "defer_until_ms", "created_at_ms", "updated_at_ms", "closed_at_ms"):
        if row.get(name):
            yield name.removesuffix("_ms").replace("_", " "), units.show_instant(row[name])
    if row.get("labels"):
        yield "labels", ", ".join(row["labels"])
    for group in ("links", "linked_from"):
        for kind, others in row.get(group, {}).items():
            arrow = kind if group == "links" else f"{kind} (from)"
            yield arrow.replace("_", " "), ", ".join(others)
    for check in row.get("acceptance", ()):
        yield "acceptance", check["text"]
    for lost in row.get("conflicts", ()):
        yield "lost edit", f"{lost['field']}: {lost['lost']!r} by {lost['lost_by']}"


def tree(rows: Iterable[Row]) -> None:
    """Items indented by their depth."""
    screen = console()
    for row in rows:
        indent = "  " * row["depth"]
        if row.get("unknown"):
            screen.print(text(f"{indent}{row['work_id']} (unknown here)", "dim"))
            continue
        again = " (seen above)" if row.get("seen") else ""
        word = state_word(row)
        screen.print(
            joined(
                text(f"{indent}{row['work_id']} "),
                text(word, _STATUS_STYLE.get(word, "")),
                text(f" {row['title']}{again}"),
            )
        )


def history(rows: Iterable[Row]) -> None:
    """The changes of an item, a line each."""
    screen = console()
    for row in rows:
        who = row.get("by", row["agent_id"])
        parts = [
            text(f"{units.show_instant(row['at_ms'])} ", "dim"),
            text(f"{who} ", "cyan"),
            text(row["type"].partition(".")[2]),
        ]
        for name, change in row.get("changes", {}).items():
            if change.get("from") is not None:
                parts.append(text(f" {name}: {change['from']} → {change.get('to', '(none)')}"))
        if row.get("text"):
            parts.append(text(f" {row['text']}"))
        if row.get("why"):
            parts.append(text(f" ({row['why']})", "dim"))
        if "problem" in row:
            problem = f" [{row['problem']['code']}: {row['problem']['message']}]"
            parts.append(text(problem, "red"))
        screen.print(joined(*parts))


def events(rows: Iterable[Row]) -> None:
    """Events, a line each."""
    screen = console()
    for row in rows:
        screen.print(event_line(row))


def event_line(row: Row) -> Text:
    """One event: when, who, what, about what."""
    parts = [
        text(f"{row['ts'][11:19]} ", "dim"),
        text(f"{row['actor']['agent_id']} ", "cyan"),
        text(row["type"]),
    ]
    for name in ("work_id", "agent_id", "run_id", "thread_id"):
        if name in row.get("refs", {}):
            parts.append(text(f" {row['refs'][name]}", "bold"))
    body = row.get("body", {})
    for name in ("title", "text", "as", "why", "holder"):
        if isinstance(body.get(name), str):
            parts.append(text(f" {body[name][:80]}"))
    return joined(*parts)


def facts(rows: Iterable[Row]) -> None:
    """Rows of any shape, their values in columns."""
    listed = list(rows)
    if not listed:
        return
    names = list(dict.fromkeys(name for row in listed for name in row))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.removesuffix("_ms").replace("_", " "))
    for row in listed:
        table.add_row(*(text(_cell(name, row.get(name, ""))) for name in names))
    console().print(table)


def _cell(name: str, value: object) -> str:
    """A value as people write it: instants, spans, lists."""
    if isinstance(value, int) and name.endswith("_ms"):
        return units.show_instant(value) if name.endswith("_at_ms") else units.show_duration(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def account(row: Row) -> None:
    """What an import did, and where each field of the file went."""
    screen = console()
    counts = ("items", "dependencies", "comments", "deletions", "events")
    screen.print(text(", ".join(f"{row[name]} {name}" for name in counts)))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("field", "present", "kept as", "in extra", "dropped"):
        table.add_column(name)
    for name, entry in row["fields"].items():
        kept = ", ".join(f"{ours} {count}" for ours, count in entry["kept"].items())
        table.add_row(
            text(name), str(entry["present"]), text(kept), str(entry["extra"]),
            str(entry["dropped"]),
        )  # fmt: skip
    screen.print(table)
    for bad in row["bad"]:
        unit = next(iter(bad))
        screen.print(text(f"{unit} {bad[unit]}: {bad['field']} {bad['reason']}", "red"))
    for work_id in row["held"]:
        screen.print(text(f"{work_id} is claimed: not closed by this import", "yellow"))
    screen.print(text("the account balances" if row["balances"] else "SOMETHING WAS DROPPED"))


def causes(rows: Iterable[Row]) -> None:
    """Events indented by their depth, if they have one; and commits."""
    screen = console()
    for row in rows:
        indent = text("  " * row.get("depth", 0))
        screen.print(joined(indent, _cause_line(row)))


def _cause_line(row: Row) -> Text:
    if "commit" in row:
        when = units.show_instant(row["at_ms"])
        return joined(
            text(f"{when} ", "dim"),
            text(f"{row['author']} ", "cyan"),
            text(f"commit {row['commit'][:12]} {row['subject']} {' '.join(row['work'])}"),
        )
    if row.get("seen") or row.get("unknown"):
        word = "seen above" if row.get("seen") else "not known here"
        return text(f"{row['event_id']} ({word})", "dim")
    return event_line(row)


def changes(rows: Iterable[Row]) -> None:
    """What changed between two points, a line per field."""
    screen = console()
    for row in rows:
        screen.print(text(f"{row.get('work_id', row.get('agent_id'))} {row['change']}", "bold"))
        for name, change in row["fields"].items():
            shown = f"{change.get('from', '(none)')} → {change.get('to', '(none)')}"
            screen.print(joined(text(f"  {name}: ", "dim"), text(shown)))


def sections(rows: Iterable[Row]) -> None:
    """Rows under the names of their sections: who, what, since when, why."""
    screen = console()
    section = ""
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            screen.print(text(section, "bold"))
        named = " ".join(str(row[key]) for key in ("work_id", "agent_id", "title") if key in row)
        since = f"  {units.show_instant(row['since_ms'])} "
        screen.print(joined(text(since, "dim"), text(named), text(f": {row['reason']}", "dim")))
