"""`msg remind` and `tick`: rules that remind, and what makes due ones go out."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.msg import common
from coord.cli.span import Span
from coord.core import event as events
from coord.core import units
from coord.core.draft import Author, Draft
from coord.core.msg import mail, reminding
from coord.core.msg.reminding import Due
from coord.core.problem import State
from coord.edge import writing
from coord.edge.index import Index
from coord.edge.index import mail as rows
from coord.edge.writing import Desk, Written
from coord.errors import NO, Refusal


@kit.command("remind", writes=True)
@click.argument("message_id", required=False, metavar="[ID]")
@click.option("--work", metavar="ID", help="Remind of this work item instead of a message.")
@click.option("--every", type=Span(), metavar="SPAN", help="How often: 1h, 1d; needed for a rule.")
@click.option("--max", "limit", type=click.IntRange(min=1, max=1_000_000), metavar="N",
              help="How many times at most; needed for a rule.")  # fmt: skip
@click.option("--quiet-hours", metavar="HH:MM-HH:MM",
              help="None in between; UTC, or with an offset: 22:00-07:00+02:00.")  # fmt: skip
@click.option("--list", "lists", is_flag=True, help="List the rules instead.")
def remind(
    call: kit.Call,
    message_id: str | None,
    work: str | None,
    every: int | None,
    limit: int | None,
    quiet_hours: str | None,
    lists: bool,
) -> int:
    """Make a rule: whoever has to act on the message ID is reminded every SPAN.

    That is whoever has not acknowledged it or, where nobody was asked to, not read it.
    With --work it is whoever holds the item, so reminders follow its claim, else its
    assignee. They stop when the message is acknowledged or expires, when the item closes,
    after N, and by msg suppress. msg tick sends what is due; nothing does by itself.

    \b
    Exits: 1 --list: there is none; 3 no such message or item.
    Example: msg remind 01KDWCJ2 --every 1h --max 5 --quiet-hours 22:00-07:00
    """
    if lists:
        return _list(call)
    if bool(message_id) == bool(work):
        raise Refusal("usage", "give either a message's ID or --work", "msg remind --help")
    if not every or not limit:
        raise Refusal("usage", "say --every SPAN and --max N", "--every 1h --max 5")
    body: dict[str, Any] = {"every_ms": every, "max": limit}
    if quiet_hours:
        body["quiet"] = reminding.parse_quiet(quiet_hours)
        if body["quiet"] is None:
            raise Refusal("usage", f"{quiet_hours[:40]!r} are no quiet hours", "22:00-07:00+02:00")
    written = call.record(lambda desk: [_rule(call, desk, message_id or "", work or "", body)])
    call.acknowledge(written, _say)
    return 0


def _rule(call: kit.Call, desk: Desk, message_id: str, work: str, body: Mapping[str, Any]) -> Draft:
    if work:
        return call.draft("msg.reminded", {"work_id": naming.work_id(desk.index, work)}, body)
    name = common.message_id(desk.index, message_id)
    common.message(desk, name)
    return call.draft("msg.reminded", {"message_id": name}, body)


def _say(raw: kit.Row) -> str:
    every = units.show_duration(raw["body"]["every_ms"])
    [about] = raw["refs"].values()
    return f"{raw['event_id']} reminds of {about} every {every}, {raw['body']['max']} times at most"


def _list(call: kit.Call) -> int:
    with call.reading() as known:
        now_ms = call.query_now(known)
        found = rows.rules(known.connection)
    shown = [_listed(rule, now_ms) for rule in found]
    call.emit(shown, _table, ident="rule_id")
    return 0 if shown else NO


def _listed(rule: State, now_ms: int) -> dict[str, Any]:
    row = {key: value for key, value in rule.items() if key not in ("about", "last")}
    row |= rule["about"]
    next_ms = reminding.next_due_ms(rule, now_ms)
    return {**row, "next_at_ms": next_ms} if next_ms is not None else row


def _table(shown: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(shown)


@kit.command("tick", writes=True)
def tick(call: kit.Call) -> int:
    """Send the reminders that are due, as bot:reminder, and print their acknowledgements.

    Run it from cron, anywhere, any number of times: each reminder is one message, also
    where several clones send it before they have synced. Who comes late sends the newest
    one due, not those missed.

    \b
    Exits: 1 nothing is due; 4 the caller, or every agent, is paused.
    Example: */5 * * * * cd ~/shop && msg tick --quiet
    """
    with call.desk() as desk:
        desk.refuse_paused()
    author = Author(mail.REMINDER, "", call.author.project)
    with writing.desk(call.place, author, call.now_ms, call.settings) as desk:
        written = [one for due in _due(desk) for one in _sent(call, desk, due)]
        if not call.dry_run:
            desk.write()
    call.acknowledge(written, _say_sent)
    return 0 if written else NO


def _due(desk: Desk) -> Iterator[Due]:
    now_ms = desk.judged_at_ms
    for rule in rows.rules(desk.index.connection):
        about = rule["about"]
        if "message_id" in about:
            message = desk.state(f"msg/{about['message_id']}")
            if "message_id" in message:
                yield from reminding.of_message(rule, message, now_ms)
            continue
        item = desk.state(f"work/{about['work_id']}")
        if item:
            claim = item.get("claim", {})
            holder = claim["agent_id"] if claim.get("expires_at_ms", 0) > now_ms else ""
            assignee = str(item.get("assignee", ""))
            named = assignee if events.AGENT_ID.fullmatch(assignee) else ""
            yield from reminding.of_item(rule, item["status"], holder, named, now_ms)


def _sent(call: kit.Call, desk: Desk, due: Due) -> Iterator[Written]:
    draft = Draft(
        "msg.sent",
        reminding.refs_of(due, _thread(desk.index, due.rule)),
        reminding.body_of(due),
        cause=due.rule["rule_id"],
        key=due.key,
    )
    written = desk.take(draft)
    if not written.is_duplicate:
        yield written


def _thread(known: Index, rule: State) -> str:
    """The message's own thread; a rule about an item has one of its own."""
    about = rule["about"].get("message_id")
    if about is None:
        return reminding.thread_of(rule)
    return str(known.state(f"msg/{about}").get("thread_id", reminding.thread_of(rule)))


def _say_sent(raw: kit.Row) -> str:
    return f"{raw['event_id']} {raw['body']['subject']}, to {', '.join(raw['body']['to'])}"
