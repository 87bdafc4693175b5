"""`msg read`, `ack`, `snooze`, `suppress`: what recipients do about a message."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.cli.msg import common
from coord.core import units
from coord.core.draft import Draft
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

_many_ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")


def receipt(call: kit.Call, kind: str, message_id: str, **body: Any) -> Draft:
    """What a recipient says about a message."""
    return call.draft(kind, {"message_id": message_id}, body)


def _receipts(
    call: kit.Call, desk: Desk, kind: str, ids: Sequence[str], **body: Any
) -> Iterator[Draft | Written]:
    for text in ids:
        message_id = common.message_id(desk.index, text)
        said = _said_before(call, desk, kind, message_id)
        key = call.key_of(message_id, len(ids))
        yield said or receipt(call, kind, message_id, **body)._replace(key=key)


# What saying it again does not change: the first one's acknowledgement is the answer.
_ONCE = {"msg.read": "read_at_ms", "msg.acked": "acked_at_ms"}


def _said_before(call: kit.Call, desk: Desk, kind: str, message_id: str) -> Written | None:
    done = desk.state(f"msg/{message_id}").get("receipts", {}).get(desk.author.agent_id, {})
    if kind not in _ONCE or _ONCE[kind] not in done or call.key:
        return None
    for event in desk.index.of_entity(f"msg/{message_id}"):
        if event.agent_id == desk.author.agent_id and event.type in (kind, "msg.acked"):
            return Written(event.raw, is_duplicate=True)
    return None


@kit.command("read", writes=True)
@_many_ids
def read(call: kit.Call, ids: Sequence[str]) -> None:
    """Say that I have read the messages ID... .

    \b
    Exits: 3 no such message; 4 it is not for me.
    Example: msg read 01KDWCJ2
    """
    written = call.record(lambda desk: _receipts(call, desk, "msg.read", ids))
    call.acknowledge(written, lambda raw: f"{raw['refs']['message_id']} read", ident="message_id")


@kit.command("ack", writes=True)
@_many_ids
def ack(call: kit.Call, ids: Sequence[str]) -> None:
    """Acknowledge the messages ID... : I have read them and will act on them.

    Reminders about them stop.

    \b
    Exits: 3 no such message; 4 it is not for me.
    Example: msg ack 01KDWCJ2 --why "starting now"
    """
    written = call.record(lambda desk: _receipts(call, desk, "msg.acked", ids))
    call.acknowledge(
        written, lambda raw: f"{raw['refs']['message_id']} acknowledged", ident="message_id"
    )


@kit.command("snooze", writes=True)
@_many_ids
@click.option("--until", required=True, metavar="TIME", help="2h, tomorrow's 2026-12-24T08:00Z.")
def snooze(call: kit.Call, ids: Sequence[str], until: str) -> None:
    """Put the messages, or rules that remind, ID... off until TIME.

    Until then the message is not in my inbox and nothing reminds me of it; a rule reminds
    nobody.

    \b
    Exits: 3 no such message or rule; 4 it is not for me.
    Example: msg snooze 01KDWCJ2 --until 2h
    """
    until_ms = units.parse_instant(until, call.now_ms, ahead=True)
    if until_ms <= call.now_ms:
        raise Refusal("usage", f"{until} is over already", "--until 2h")
    written = call.record(lambda desk: _receipts(call, desk, "msg.snoozed", ids, until_ms=until_ms))
    call.acknowledge(
        written,
        lambda raw: f"{raw['refs']['message_id']} snoozed until {units.show_instant(until_ms)}",
        ident="message_id",
    )


@kit.command("suppress", writes=True)
@_many_ids
def suppress(call: kit.Call, ids: Sequence[str]) -> None:
    """Stop reminders: about the message ID to me, to all if it is mine, or by the rule ID.

    \b
    Exits: 3 no such message or rule; 4 it is not for me.
    Example: msg suppress 01KDWCJ2
    """
    written = call.record(lambda desk: _receipts(call, desk, "msg.suppressed", ids))
    call.acknowledge(
        written, lambda raw: f"{raw['refs']['message_id']} suppressed", ident="message_id"
    )
