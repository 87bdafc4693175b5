"""`msg status` and `who`: how far a message came, and who is there to read it."""

from collections.abc import Mapping
from typing import Any

import click

from coord.cli import kit
from coord.cli.msg import common
from coord.cli.msg.seeing import Eyes
from coord.core import event as events
from coord.core.msg import mail, presence, view
from coord.core.problem import State
from coord.edge import mailbox
from coord.edge.index import Index
from coord.errors import NO


@kit.command("status")
@click.argument("message_id", metavar="ID")
def status(call: kit.Call, message_id: str) -> None:
    """Say how far the message ID has come with each recipient, and what to expect.

    One line per recipient: `state` is the furthest of recorded, synced, surfaced, read,
    acked, or expired. `synced` names the remotes that have it, and the commit that did when
    last seen. `surfaced` (handed to a reader) is known
    only of this clone. read and acked agree in every clone that has synced.

    \b
    Exits: 3 no such message.
    Example: msg status 01KDWCJ2
    """
    with call.reading() as known:
        name = common.message_id(known, message_id)
        state = common.message(known, name)
        now_ms = call.query_now(known)
        eyes = Eyes(call, known, now_ms)
        rows = [
            {**_row(call, known, state, agent_id, now_ms),
             "expect": presence.expectation(eyes.seen(agent_id), now_ms)}
            for agent_id in mail.recipients(state)
        ]  # fmt: skip
    call.emit(rows, _table, ident="message_id")


def _row(call: kit.Call, known: Index, state: State, agent_id: str, now_ms: int) -> dict[str, Any]:
    name = state["message_id"]
    raw = known.event(name) or {}
    row: dict[str, Any] = {"message_id": name, "agent_id": agent_id, "state": "recorded",
                           "recorded_at_ms": events.time_of(name)}  # fmt: skip
    synced = _synced(call, raw)
    if synced:
        row |= {"state": "synced", "synced": synced}
    surfaced_ms = mailbox.Mailbox(call.place.store, agent_id).surfaced().get(name)
    if surfaced_ms is not None:
        row |= {"state": "surfaced", "surfaced_at_ms": surfaced_ms}
    row.update(state["receipts"].get(agent_id, {}))
    standing = view.standing(state, agent_id, now_ms)
    if standing != "unread":
        row["state"] = standing
    if view.owes_ack(state, agent_id):
        row["ack"] = state["ack"]
        if "ack_by_ms" in state:
            row["ack_by_ms"] = state["ack_by_ms"]
            row["overdue"] = state["ack_by_ms"] <= now_ms
    return row


def _synced(call: kit.Call, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """The remotes that have the line, with the commit that did when last seen."""
    journal = f"msg/{raw.get('writer', '')}"
    return mailbox.carried_by(call.place.local, journal, raw.get("seq", 0))


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)


@kit.command("who")
@click.argument("agent_id", required=False, metavar="[AGENT]")
@click.option("--all", "everybody", is_flag=True, help="Also who wrote and never registered.")
def who(call: kit.Call, agent_id: str | None, everybody: bool) -> int:
    """Say who is there, or of AGENT alone: facts with their source and age.

    `last_fact` is the newest event with which it moved something, from the journals;
    `beats` are its sessions' newest signs of life on this clone. `state` sets both
    against its own period: working, idle (alive without progress), stale, paused, or
    unseen. What it `holds` and `waits_for` comes with it.

    \b
    Exits: 1 nobody is known; 3 no such agent.
    Example: msg who
    """
    with call.reading() as known:
        now_ms = call.query_now(known)
        eyes = Eyes(call, known, now_ms)
        names = [eyes.known(agent_id)] if agent_id else eyes.names(everybody)
        rows = [presence.row(eyes.seen(name), now_ms) for name in names]
    call.emit(rows, _presence, ident="agent_id")
    return 0 if rows else NO


def _presence(rows: list[Any]) -> None:
    from coord.cli import tables_mail

    tables_mail.presence(rows)
