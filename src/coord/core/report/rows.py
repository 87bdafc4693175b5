"""The rows of a page: one item, one event; the same in the file and live.

A row is the only place where a fact stands. The script reads what it needs from the rows,
so that there is nothing to keep in step and nothing to escape twice:

    item    <tr id="i-ID" class="COLUMN">   id, priority and type, column, title, who,
                                            needs, last change
    event   <tr id="e-ID" class="TOOL">     when, type, who, about, what it says, causes
"""

from collections.abc import Mapping
from typing import Any

from coord.core import causes, units
from coord.core.event import is_integer
from coord.core.problem import Problem, State
from coord.core.report import markup
from coord.core.report.facts import column_of, when, who
from coord.core.wk import view

Raw = Mapping[str, Any]
_NEEDS = 6
_LABELS = 6
_CAUSES = 4
_COMMENTS = 3
_COMMENT_CHARS = 300
# What of a body tells the most, the first that is there.
_SAID = (
    "title",
    "subject",
    "text",
    "name",
    "description",
    "why",
    "reason",
    "verdict",
    "outcome",
    "as",
)
_SAID_CHARS = 110
_ABOUT = ("work_id", "run_id", "thread_id", "resource", "agent_id")


def item(state: State, now_ms: int, is_open: view.IsOpen, room: markup.Room) -> str:
    """One item. room: for its long texts; where it is used up they are left out."""
    row = view.short(state, now_ms, is_open)
    column = column_of(row)
    who = row["claim"]["agent_id"] if "claim" in row else row.get("assignee") or ""
    cells = (
        markup.link("i", row["work_id"]),
        f"P{row['priority']} {markup.text(row['type'], 20)}",
        markup.text(row.get("resolution", column) if column == "closed" else column, 20),
        _title(state, row, room),
        markup.agent(who),
        _needs(state, row),
        units.show_instant(row["updated_at_ms"])[:10],
    )
    name = markup.name_of("i", row["work_id"])
    return f'<tr id="{name}" class="{column}">' + "".join(f"<td>{cell}" for cell in cells) + "\n"


def _title(state: State, row: Raw, room: markup.Room) -> str:
    labels = "".join(
        f" <i>{markup.text(label, 30)}</i>" for label in row.get("labels", ())[:_LABELS]
    )
    title = f"{markup.text(row['title'])}{labels}"
    more = _more(state)
    if not more or not room.fits(more):
        return title
    return f"<details><summary>{title}</summary>{more}</details>"


def _more(state: State) -> str:
    """Description, acceptance checks and the newest comments."""
    parts = []
    if len(state["title"]) > markup.TITLE_CHARS:
        parts.append(f"<p>{markup.text(state['title'], markup.TEXT_CHARS)}")
    if state.get("description"):
        parts.append(f"<p>{markup.text(state['description'], markup.TEXT_CHARS)}")
    for check in state.get("acceptance", ())[:20]:
        box = "☑" if check.get("ticked") or "by" in check else "☐"
        parts.append(f"<p>{box} {markup.text(check['text'])}")
    for comment in state.get("comments", ())[-_COMMENTS:]:
        said = markup.text(comment.get("text"), _COMMENT_CHARS)
        parts.append(f"<p><b>{markup.agent(comment.get('by', ''))}</b> {said}")
    return "".join(parts)


def _needs(state: State, row: Raw) -> str:
    """What it needs, what blocks it first; then what it is part of."""
    blocking = row.get("blocked_by", ())
    others = [one for one in view.targets(state, "needs") if one not in blocking]
    links = [markup.link("i", one) for one in (*blocking, *others)[:_NEEDS]]
    left = len(blocking) + len(others) - len(links)
    if left:
        links.append(f"+{left}")
    if "parent" in row:
        links.append(f"⊂ {markup.link('i', row['parent'])}")
    return " ".join(links)


def event(raw: Raw, problem: Problem | None) -> str:
    """One event, and what the fold found wrong with it."""
    refs = raw.get("refs") or {}
    said = markup.text(_said(raw.get("body") or {}), _SAID_CHARS)
    if problem is not None and problem.code != "duplicate":
        said += f" <b>{markup.text(problem.code)}</b> {markup.text(problem.message, 120)}"
    cells = (
        markup.instant(when(raw), to_seconds=True),
        markup.link("e", raw["event_id"], raw["type"]),
        markup.agent(who(raw)),
        _about(refs),
        said,
        " ".join(markup.link("e", one, "↖" + one[-4:]) for one in causes.of(raw)[:_CAUSES]),
    )
    name = markup.name_of("e", raw["event_id"])
    tool = markup.text(raw["type"].partition(".")[0], 20)
    return f'<tr id="{name}" class="{tool}">' + "".join(f"<td>{cell}" for cell in cells) + "\n"


def _about(refs: Raw) -> str:
    for name in _ABOUT:
        value = refs.get(name)
        if isinstance(value, str) and value:
            return markup.link("i", value) if name == "work_id" else markup.text(value, 60)
    return ""


def _said(body: Raw) -> str:
    values = (body.get(name) for name in _SAID)
    said: str = next((value for value in values if isinstance(value, str) and value), "")
    if isinstance(body.get("to"), list):
        to = ", ".join(str(one).partition(":")[2] for one in body["to"][:5])
        said = f"to {to}: {said}"
    elif isinstance(body.get("set"), Mapping):
        said = ", ".join(f"{name}: {value}" for name, value in body["set"].items()) or said
    elif isinstance(body.get("target"), str):
        said = f"{body.get('kind', '')} {body['target']}"
    elif isinstance(body.get("argv"), list):
        said = " ".join(map(str, body["argv"]))
    elif not said and is_integer(body.get("expires_at_ms")):
        said = f"until {markup.instant(body['expires_at_ms'])}, fence {body.get('fence')}"
    return said
