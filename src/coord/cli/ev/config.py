"""`ev config`: settings, shared by all clones or of this one."""

import os
from typing import Any

import click

from coord.cli import kit
from coord.core import settings
from coord.edge import config as config_file
from coord.edge.index import Index


@click.group("config", cls=kit.LazyGroup, verbs={
    "get": "coord.cli.ev.config:get",
    "set": "coord.cli.ev.config:set_value",
    "list": "coord.cli.ev.config:list_settings",
})  # fmt: skip
def config() -> None:
    """Settings: shared ones are events, a clone's own are in .coord/config.yaml."""


def _path(call: kit.Call) -> str:
    return os.path.join(call.place.store, config_file.FILE)


def _rows(call: kit.Call, known: Index) -> list[dict[str, Any]]:
    local = config_file.load(_path(call), known.meta, known.keep)
    rows = []
    for key, wanted in settings.SETTINGS.items():
        row: dict[str, Any] = {"key": key}
        if key in settings.SHARED:
            state = known.state(f"config/{key}")
            row.update(value=settings.in_force(known, key, "~"), scope="shared")
            row.update({name: state[name] for name in ("by", "event_id") if name in state})
        else:
            row.update(value=local[key], scope="clone")
        row.update(default=wanted.default, doc=wanted.doc)
        rows.append(row)
    return rows


@kit.command("get")
@click.argument("name", metavar="KEY")
def get(call: kit.Call, name: str) -> None:
    """Print the setting KEY: its value, whether it is shared, who set it.

    \b
    Exits: 2 there is no such setting, or config.yaml has a mistake.
    Example: ev config get claim.ttl_ms
    """
    settings.setting(name)
    with call.reading() as known:
        rows = [row for row in _rows(call, known) if row["key"] == name]
    call.emit(rows, _table, ident="value")


@kit.command("list")
def list_settings(call: kit.Call) -> None:
    """List all settings with their values, and which are shared.

    \b
    Exits: 2 config.yaml has a mistake.
    Example: ev config list
    """
    with call.reading() as known:
        rows = _rows(call, known)
    call.emit(rows, _table, ident="key")


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)


@kit.command("set", writes=True)
@click.argument("name", metavar="KEY")
@click.argument("value", metavar="VALUE")
def set_value(call: kit.Call, name: str, value: str) -> None:
    """Set KEY to VALUE: for every clone, or for this one, as `ev config list` says.

    \b
    Exits: 2 there is no such setting; 4 paused; 6 the value does not fit.
    Example: ev config set claim.ttl_ms 1h
    """
    parsed = settings.parse(name, value)
    if name in settings.SHARED:
        body = {"key": name, "value": parsed}
        written = call.record(lambda desk: [call.draft("config.set", {}, body)])
        call.acknowledge(written, lambda raw: f"{name} is {parsed} for every clone")
        return
    if not call.dry_run:
        with call.desk() as desk:
            desk.refuse_paused()
            config_file.set_value(_path(call), name, parsed)
    row = {"key": name, "value": parsed, "scope": "clone"}
    call.emit([row], lambda _: click.echo(f"{name} is {parsed} for this clone"), ident="value")
