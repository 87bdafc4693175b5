"""What the verbs of `wk` share: ids by prefix, filters, new ids."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.core import units
from coord.core.draft import Author, Draft, keyed_name, scope_of
from coord.core.problem import State
from coord.core.wk import fields, view
from coord.edge.clock import base32
from coord.edge.index import Index, views
from coord.edge.writing import Desk
from coord.errors import NO, Refusal

F = TypeVar("F", bound=Callable[..., Any])


def state_of(known: Index | Desk, work_id: str) -> State:
    """The state of an item that `resolve` has found."""
    return known.state(f"work/{work_id}")


def is_open_in(known: Index) -> view.IsOpen:
    """Answers from the index whether an item is still to be done."""
    return functools.cache(functools.partial(_is_open, known))


def _is_open(known: Index, work_id: str) -> bool | None:
    status = views.statuses(known.connection, [work_id]).get(work_id)
    return None if status is None else status != "closed"


def fresh_id(desk: Desk, author: Author, key: str, prefix: str, kind: str) -> str:
    """A new id; under an idempotency key the same one on every retry and clone."""
    if key:
        scope = scope_of(Draft(kind, key=key), author)
        return prefix + base32(keyed_name(scope, prefix))[:8]
    while True:
        name = prefix + desk.chance.name(8)
        if not desk.state(f"work/{name}"):
            return name


def item_fields(function: F) -> F:
    """The options that set an item's fields."""
    for option in reversed((
        click.option("--description", "-d", metavar="TEXT", help="Long text; - or @FILE too."),
        click.option("--type", "type_", metavar="WORD",
                     help=f"{', '.join(fields.TYPES)}, or any word."),
        click.option("--priority", "-p", metavar="0-4", type=PRIORITY,
                     help="0 is most urgent, 2 the default."),
        click.option("--acceptance", multiple=True, metavar="CHECK",
                     help="What must hold when it is done; may be repeated."),
        click.option("--assignee", metavar="NAME", help="Who is meant to do it."),
        click.option("--due", metavar="TIME", help="When it should be done: 2026-12-24, 3d."),
        click.option("--defer-until", metavar="TIME", help="Not ready before: 2026-12-24, 2h."),
        click.option("--external-ref", metavar="REF", help="Its name in another tracker."),
        click.option("--extra", metavar="JSON", help="Further values, an object; @FILE too."),
    )):  # fmt: skip
        function = option(function)
    return function


class Priority(click.ParamType[int]):
    """0 to 4, also written P0 to P4."""

    name = "priority"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).upper().removeprefix("P")
        if text not in ("0", "1", "2", "3", "4"):
            self.fail(f"{value!r} is not a priority from 0 to 4", param, ctx)
        return int(text)


PRIORITY = Priority()


def given_fields(now_ms: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were given as options, by their names in the journal."""
    from coord.cli.kit import json_value, text_of

    found: dict[str, Any] = {
        name: options[option]
        for name, option in (
            ("title", "title"), ("type", "type_"), ("priority", "priority"),
            ("assignee", "assignee"), ("external_ref", "external_ref"),
        )
        if options.get(option) is not None
    }  # fmt: skip
    if options.get("description") is not None:
        found["description"] = text_of(options["description"])
    if options.get("acceptance"):
        found["acceptance"] = list(options["acceptance"])
    for name, option in (("due_ms", "due"), ("defer_until_ms", "defer_until")):
        if options.get(option):
            found[name] = units.parse_instant(options[option], now_ms, ahead=True)
    if options.get("extra") is not None:
        found["extra"] = json_value(text_of(options["extra"]), "--extra")
    return found


def refuse_fault(kind: str, refs: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """Refuse a body with the schema's own words where the cheap check finds a fault."""
    from coord.core.wk import request

    fault = request.fault_in(body)
    if fault:
        from coord.edge import schemas

        schemas.check_draft(kind, refs, body)
        raise Refusal("bad_data", fault)


def sentence(kind: str, work_id: str, target: str) -> str:
    """A link as a sentence: `wk-a needs wk-b`."""
    return f"{work_id} {fields.LINKS.get(kind, kind)} {target}"


def multiple(values: Sequence[str]) -> list[str]:
    """Values of an option given several times or with commas."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def list_some(
    call: kit.Call, rows: Sequence[kit.Row], limit: int, table: Callable[[list[Any]], None]
) -> int:
    """Print at most so many rows, with 0 all, and say what was left out; the exit status."""
    shown = list(rows[:limit] if limit else rows)
    call.emit(shown, table)
    note_cut(shown, rows)
    return 0 if shown else NO


def note_cut(shown: Sequence[kit.Row], rows: Sequence[kit.Row]) -> None:
    """Say how many of all rows are shown, where these are not all."""
    if len(shown) < len(rows):
        kit.note_more(f"{len(shown)} of {len(rows)}", "--limit 0 for all", shown=len(shown))
