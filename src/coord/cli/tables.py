"""What people see on a terminal: the same facts as the JSON, drawn with rich.

Texts from the journals are data: control characters are shown, never obeyed, and
nothing in them is taken for rich's own markup.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from coord.cli import screen
from coord.cli.kit import plain
from coord.core import units
from coord.core.event import EVENT_ID, time_of

Row = Mapping[str, Any]

# Who acts and which tool it is about, at a glance; the words are always there too.
_AGENT_STYLES = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta")
_TOOL_STYLE = {
    "work": "green", "artifact": "green", "lease": "yellow", "msg": "magenta", "run": "blue",
}  # fmt: skip
_STATUS_STYLE = {
    "ready": "green", "claimed": "yellow", "blocked": "red", "deferred": "dim",
    "closed": "dim", "deleted": "dim",
}  # fmt: skip


def console() -> Console:
    """Where everything is drawn, as wide as the terminal, be it a simple one."""
    width, height = screen.size()
    return Console(highlight=False, soft_wrap=False, width=width, height=height)


def text(value: object, style: str = "") -> Text:
    """A value as it may safely stand on a terminal."""
    return Text(plain(str(value)), style=style)


def agent(agent_id: str) -> Text:
    """An agent, in a colour that is the same everywhere."""
    number = sum(agent_id.encode()) % len(_AGENT_STYLES)
    return text(agent_id, _AGENT_STYLES[number])


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


def card(row: Row, now_ms: int) -> None:
    """One item, readable: what it is, who has it, what it hangs on, what was said."""
    paper = console()
    word = state_word(row)
    paper.print(text(f"{row['work_id']}  {row['title']}", "bold"))
    line = f"{word} · {row['type']} · P{row['priority']}"
    paper.print(text(line, _STATUS_STYLE.get(word, "")))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1, overflow="fold")
    for name, value in _facts(row, now_ms):
        table.add_row(text(f"  {name}"), text(value))
    paper.print(table)
    description = row.get("description", "")
    for part in description.split("\n") if isinstance(description, str) and description else ():
        paper.print(Padding(text(part), (0, 0, 0, 2)))
    for comment in row.get("comments", ()):
        age = units.show_relative(min(comment["at_ms"], now_ms), now_ms)
        paper.print(joined(text("  "), agent(comment["by"]), text(f", {age}:", "dim")))
        paper.print(Padding(text(comment["text"]), (0, 0, 0, 4)))


def _facts(row: Row, now_ms: int) -> Iterable[tuple[str, str]]:
    if "claim" in row:
        claim = row["claim"]
        how = f"fence {claim['fence']}, confirmed: {claim['confirmed']}"
        yield "claimed by", f"{claim['agent_id']} ({how})"
        yield "until", _when(claim["expires_at_ms"], now_ms)
    for name in ("resolution", "close_why", "assignee", "external_ref"):
        if row.get(name):
            yield name.replace("_", " "), str(row[name])
    for name in ("due_ms", "defer_until_ms", "created_at_ms", "updated_at_ms", "closed_at_ms"):
        if row.get(name):
            yield (
                name.removesuffix("_ms").removesuffix("_at").replace("_", " "),
                (_when(row[name], now_ms)),
            )
    if row.get("labels"):
        yield "labels", ", ".join(row["labels"])
    titles = row.get("titles", {})
    for group in ("links", "linked_from"):
        for kind, others in row.get(group, {}).items():
            arrow = kind if group == "links" else f"{kind} (from)"
            for other in others:
                yield arrow.replace("_", " "), " ".join((other, titles.get(other, ""))).rstrip()
                arrow = ""
    for check in row.get("acceptance", ()):
        yield "acceptance", check["text"] + (" (ticked)" if check.get("ticked_by") else "")
    for lost in row.get("conflicts", ()):
        yield "lost edit", f"{lost['field']}: {lost['lost']!r} by {lost['lost_by']}"


def _when(instant_ms: int, now_ms: int) -> str:
    """An instant with its distance, which is what people ask for."""
    return f"{minute(instant_ms)} ({units.show_relative(instant_ms, now_ms)})"


def minute(instant_ms: int) -> str:
    """An instant without what nobody reads: `2026-01-01 09:00`, in UTC."""
    return units.show_instant(instant_ms)[:16].replace("T", " ")


def tree(rows: Iterable[Row]) -> None:
    """Items indented by their depth."""
    paper = console()
    for row in rows:
        indent = "  " * row["depth"]
        if row.get("unknown"):
            paper.print(text(f"{indent}{row['work_id']} (unknown here)", "dim"))
            continue
        again = " (seen above)" if row.get("seen") else ""
        word = state_word(row)
        paper.print(
            joined(
                text(f"{indent}{row['work_id']} "),
                text(word, _STATUS_STYLE.get(word, "")),
                text(f" {row['title']}{again}"),
            )
        )


def history(rows: Iterable[Row]) -> None:
    """The changes of an item, a line each."""
    paper = console()
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
        paper.print(joined(*parts))


def events(rows: Iterable[Row], now_ms: int | None = None) -> None:
    """Events, a line each."""
    paper = console()
    for row in rows:
        paper.print(event_line(row, now_ms))


def event_line(row: Row, now_ms: int | None = None) -> Text:
    """One event: when, who, what, about what.

    now_ms: to tell how long ago it was, besides the clock.
    """
    kind = str(row["type"])
    parts = [text(f"{str(row.get('ts', ''))[11:19]} ", "dim")]
    if now_ms is not None and EVENT_ID.fullmatch(str(row.get("event_id", ""))):
        age = units.show_relative(min(time_of(row["event_id"]), now_ms), now_ms)
        parts.append(text(f"{age:>8} ", "dim"))
    parts += [agent(row["actor"]["agent_id"]), text(" ")]
    parts.append(text(kind, _TOOL_STYLE.get(kind.partition(".")[0], "")))
    refs = row.get("refs", {})
    for name in ("work_id", "agent_id", "run_id", "thread_id"):
        if name in refs:
            parts.append(text(f" {refs[name]}", "bold"))
    if "resource" in refs and "work_id" not in refs:
        parts.append(text(f" {refs['resource']}", "bold"))
    body = row.get("body", {})
    for name in ("title", "text", "as", "why", "holder"):
        if isinstance(body.get(name), str):
            parts.append(text(f" {body[name][:80]}"))
    if row.get("early"):
        parts.append(text(" (early)", "red"))
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


def pairs(row: Row, now_ms: int, indent: str = "") -> None:
    """One row of any shape, a line per value; lists of rows below, each a step further in."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(ratio=1, overflow="fold")
    groups = []
    for name, value in row.items():
        if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
            groups.append((name, value))
            continue
        is_instant = name.endswith("_at_ms") and isinstance(value, int) and value > 0
        shown = _when(value, now_ms) if is_instant else _cell(name, value)
        label = name.removesuffix("_ms").replace("_", " ")
        table.add_row(text(f"{indent}{label}"), text(shown))
    console().print(table)
    for name, parts in groups:
        for number, part in enumerate(parts, start=1):
            console().print(text(f"{indent}{name} {number}", "bold"))
            pairs(part, now_ms, f"{indent}  ")


def _cell(name: str, value: object) -> str:
    """A value as people write it: instants, spans, lists."""
    if isinstance(value, int) and name.endswith("_ms"):
        return units.show_instant(value) if name.endswith("_at_ms") else units.show_duration(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_inner(part)}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _inner(value: object) -> str:
    """A value inside another: an object in brackets."""
    if not isinstance(value, Mapping):
        return str(value)
    return "(" + ", ".join(f"{key} {part}" for key, part in value.items()) + ")"


def account(row: Row) -> None:
    """What an import did, and where each field of the file went."""
    paper = console()
    counts = ("items", "dependencies", "comments", "deletions", "events")
    paper.print(text(", ".join(f"{row[name]} {name}" for name in counts)))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("field", "present", "kept as", "in extra", "dropped"):
        table.add_column(name)
    for name, entry in row["fields"].items():
        kept = ", ".join(f"{ours} {count}" for ours, count in entry["kept"].items())
        table.add_row(
            text(name), str(entry["present"]), text(kept), str(entry["extra"]),
            str(entry["dropped"]),
        )  # fmt: skip
    paper.print(table)
    for bad in row["bad"]:
        unit = next(iter(bad))
        paper.print(text(f"{unit} {bad[unit]}: {bad['field']} {bad['reason']}", "red"))
    for work_id in row["held"]:
        paper.print(text(f"{work_id} is claimed: not closed by this import", "yellow"))
    paper.print(text("the account balances" if row["balances"] else "SOMETHING WAS DROPPED"))


def causes(rows: Iterable[Row]) -> None:
    """Events, and commits, as a tree where they have a depth."""
    from coord.core.causes import branches

    paper = console()
    for branch, row in branches(rows):
        paper.print(joined(text(branch, "dim"), _cause_line(row)))


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
    paper = console()
    for row in rows:
        paper.print(text(f"{row.get('work_id', row.get('agent_id'))} {row['change']}", "bold"))
        for name, change in row["fields"].items():
            shown = f"{change.get('from', '(none)')} → {change.get('to', '(none)')}"
            paper.print(joined(text(f"  {name}: ", "dim"), text(shown)))


def sections(rows: Iterable[Row], now_ms: int) -> None:
    """Rows under the names of their sections: how long, who, what, why; a line each."""
    paper = console()
    section = ""
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            paper.print(text(section.upper(), "bold"))
        age = units.show_age(max(0, now_ms - row["since_ms"]))
        parts = [text(f"  {age:>4} ", "dim")]
        if "work_id" in row:
            parts.append(text(f"{row['work_id']} ", "bold"))
        if "agent_id" in row:
            parts += [agent(row["agent_id"]), text(" ")]
        parts.append(text(f"{row['reason']}", _SECTION_STYLE.get(section, "")))
        if "title" in row:
            parts.append(text(f" · {row['title']}", "dim"))
        paper.print(joined(*parts), no_wrap=True, overflow="ellipsis")


_SECTION_STYLE = {"stuck": "red", "contested": "red", "paused": "yellow", "ready": "green"}
