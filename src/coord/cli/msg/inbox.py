"""`msg inbox`, `show`, `thread`: what is there, without consuming it."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.msg import common
from coord.core.msg import mail as messages
from coord.core.msg import view
from coord.core.problem import State
from coord.edge import blobs, identity
from coord.edge.index import Index, mail
from coord.errors import NO, Refusal


@kit.command("inbox", own_as=True)
@click.option("--as", "--me", "as_", metavar="AGENT", help="Whose inbox; mine unless said.")
@click.option("--unread", is_flag=True, help="Only what is unread.")
@click.option("--unacked", is_flag=True, help="Only what is still to be acknowledged.")
@click.option("--thread", metavar="THREAD", help="Only this thread.")
@click.option("--work", metavar="ID", help="Only about this work item.")
@click.option("--from", "sender", metavar="AGENT", help="Only from this sender.")
@click.option("--count", "only_counts", is_flag=True, help="How many, instead of which.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N messages, 50 by default; 0 for all.")  # fmt: skip
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
              help="Pass over the first N.")  # fmt: skip
def inbox(
    call: kit.Call,
    unread: bool,
    unacked: bool,
    only_counts: bool,
    limit: int,
    offset: int,
    **options: Any,
) -> int:
    """List my messages, one line each: unread first, then the newest.

    What is snoozed or has expired unread is left out. --count prints {agent_id, total,
    unread, unacked} of the same messages. Nothing becomes read by being listed.

    \b
    Exits: 1 there is none; 3 no such thread or item.
    Example: msg inbox --unread
    """
    agent_id = naming.reader(call)
    with call.reading() as known:
        now_ms = call.query_now(known)
        where = _where(known, {**options, "unread": unread, "unacked": unacked})
        counts = mail.count(known.connection, agent_id, now_ms, where)
        if only_counts:
            kit.out({"agent_id": agent_id, **counts._asdict()})
            return 0 if counts.total else NO
        found = mail.page(known.connection, agent_id, now_ms, where, limit or -1, offset)
    rows = [view.short(state, agent_id, now_ms) for state in found]
    call.emit(rows, functools.partial(_table, now_ms=now_ms), ident="message_id")
    call.note(f"{counts.unread} unread of {counts.total}")
    kit.note_page(len(rows), counts.total, offset)
    return 0 if rows else NO


def _where(known: Index, options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: 1 for name in ("unread", "unacked") if options[name]}
    if options["thread"]:
        found["thread"] = common.thread_id(known, options["thread"])
    if options["work"]:
        found["work"] = naming.work_id(known, options["work"])
    if options["sender"]:
        found["sender"] = identity.agent_id(options["sender"])
    return found


def _table(rows: list[Any], now_ms: int) -> None:
    from coord.cli import tables_mail

    tables_mail.inbox(rows, now_ms)


def letters(rows: list[Any]) -> None:
    """Whole messages on a terminal."""
    from coord.cli import tables_mail

    tables_mail.letters(rows)


@kit.command("show")
@click.argument("message_id", metavar="ID")
@click.option("--save", metavar="DIR", help="Write its attachments into this folder.")
def show(call: kit.Call, message_id: str, save: str | None) -> None:
    """Print the message ID with its text, attachments and who has read it.

    Nothing becomes read by it: msg read says so. --save never replaces a file.

    \b
    Exits: 3 no such message, or an attachment is not here; 5 a file is there already.
    Example: msg show 01KDWCJ2 --save .
    """
    from coord.edge.mailbox import Mailbox

    agent_id = naming.reader(call)
    with call.reading() as known:
        state = common.message(known, common.message_id(known, message_id))
        row = common.whole(known, state, agent_id, call.query_now(known))
    if save:
        row["saved"] = [_save(call, save, part) for part in state.get("attachments", ())]
    if agent_id in messages.recipients(state):
        Mailbox(call.place.store, agent_id).note_surfaced([state["message_id"]], call.now_ms)
    call.emit([row], letters, ident="message_id")


def _save(call: kit.Call, folder: str, part: Mapping[str, Any]) -> str:
    data = blobs.load_bytes(call.place.store, part)
    if data is None:
        raise Refusal("no_file", f"{part['name']} is not here yet", "ev sync fetches it")
    # The sender chose the name: it must lead nowhere else, and hide nothing.
    name = os.path.basename(kit.plain(part["name"])).lstrip(".") or "attachment"
    path = os.path.join(folder, name)
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "xb") as stream:
            stream.write(data)
    except FileExistsError:
        raise Refusal("exists", f"there is a file {path} already", "name another --save") from None
    return path


@kit.command("thread")
@click.argument("thread_id", metavar="THREAD")
def thread(call: kit.Call, thread_id: str) -> None:
    """Print the messages of THREAD, the oldest first; a message's id names its thread too.

    \b
    Exits: 3 no such thread.
    Example: msg thread th-7k2m9q4t
    """
    agent_id = naming.reader(call)
    with call.reading() as known:
        name = common.thread_id(known, thread_id)
        now_ms = call.query_now(known)
        found: list[State] = mail.thread(known.connection, name)
        rows = [common.whole(known, state, agent_id, now_ms) for state in found]
    call.emit(rows, letters, ident="message_id")
