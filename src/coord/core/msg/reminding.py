"""When a rule is due, and what the reminder says.

A rule made at `since_ms` is due for the n-th time at `since_ms + n * every_ms`, at most
`max` times. Whoever ticks late sends the newest one due and not those missed; whoever
ticks again sends none, for each is known by its rule, its number and its recipient, in
every clone alike. So what a reminder says may depend on nothing else.

    about a message    who has not acknowledged it or, where nobody was asked to, not read it
    about an item      whoever holds it, else its assignee; nobody, once it is closed
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from coord.core import units
from coord.core.msg import mail
from coord.core.problem import State

_MINUTE_MS = 60_000
_DAY_MINUTES = 24 * 60


class Due(NamedTuple):
    """A reminder to be sent: by which rule, the how manieth, to whom."""

    rule: State
    number: int
    to: str

    @property
    def key(self) -> str:
        """What makes it one reminder, however many clones send it."""
        return f"reminder:{self.rule['rule_id']}:{self.number}:{self.to}"


def number_due(rule: State, now_ms: int) -> int:
    """The number of the newest reminder due by now; 0 for none."""
    if "suppressed_at_ms" in rule or rule.get("snoozed_until_ms", 0) > now_ms:
        return 0
    if "quiet" in rule and is_quiet(rule["quiet"], now_ms):
        return 0
    return int(max(0, min((now_ms - rule["since_ms"]) // rule["every_ms"], rule["max"])))


def next_due_ms(rule: State, now_ms: int) -> int | None:
    """When the next one is due, quiet hours aside; None when that was the last."""
    number = max(0, (now_ms - rule["since_ms"]) // rule["every_ms"])
    if "suppressed_at_ms" in rule or number >= rule["max"]:
        return None
    due_ms = rule["since_ms"] + (number + 1) * rule["every_ms"]
    return int(max(due_ms, rule.get("snoozed_until_ms", 0)))


def is_quiet(quiet: Mapping[str, int], now_ms: int) -> bool:
    """Whether an instant lies in the quiet hours, which may go on past midnight."""
    minute = (now_ms // _MINUTE_MS + quiet["offset_minutes"]) % _DAY_MINUTES
    begin, end = quiet["from_minute"], quiet["to_minute"]
    return begin <= minute < end if begin <= end else minute >= begin or minute < end


def of_message(rule: State, message: State, now_ms: int) -> Iterator[Due]:
    """The reminders that a rule about a message owes."""
    number = number_due(rule, now_ms)
    if (
        not number
        or "suppressed_at_ms" in message
        or message.get("expires_at_ms", now_ms + 1) <= now_ms
    ):
        return
    ends = "read_at_ms" if message.get("ack", "none") == "none" else "acked_at_ms"
    for agent_id in mail.recipients(message):
        done = message["receipts"].get(agent_id, {})
        if ends in done or "suppressed_at_ms" in done or done.get("snoozed_until_ms", 0) > now_ms:
            continue
        yield Due(rule, number, agent_id)


def of_item(rule: State, status: str, holder: str, assignee: str, now_ms: int) -> Iterator[Due]:
    """The reminders that a rule about a work item owes.

    holder: whose claim runs, or "". assignee: who is meant to do it, if that is an agent.
    """
    number = number_due(rule, now_ms)
    to = holder or assignee
    if number and to and status != "closed":
        yield Due(rule, number, to)


def body_of(due: Due) -> dict[str, Any]:
    """What the reminder says: the same whoever sends it, and whenever."""
    rule = due.rule
    [(kind, about)] = rule["about"].items()
    what = f"message {about}" if kind == "message_id" else f"work item {about}"
    every = units.show_duration(rule["every_ms"])
    lines = [f"{what} waits for you; {rule['by']} asked for this every {every}."]
    if "why" in rule:
        lines.append(rule["why"])
    lines.append(f"No more of these: msg suppress {rule['rule_id']}")
    return {
        "to": [due.to],
        "subject": f"Reminder {due.number} of {rule['max']}: {what}",
        "text": "\n".join(lines),
        "reminder": {"rule_id": rule["rule_id"], "number": due.number},
    }


def refs_of(due: Due, thread_id: str) -> dict[str, str]:
    """What the reminder refers to: the message it is about, or the item."""
    about = due.rule["about"]
    if "message_id" in about:
        return {"thread_id": thread_id, "reply_to": about["message_id"]}
    return {"thread_id": thread_id, "work_id": about["work_id"]}


def thread_of(rule: State) -> str:
    """The thread of a rule about a work item."""
    return f"th-{rule['rule_id'][-8:].lower()}"


def parse_quiet(text: str) -> dict[str, int] | None:
    """`22:00-07:00`, in UTC, or with an offset behind it: `22:00-07:00+02:00`."""
    import re

    found = re.fullmatch(
        r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)(?:([+-])(\d\d):([0-5]\d)|Z)?",
        text.strip(),
    )
    if found is None:
        return None
    offset = int(found[6] or 0) * 60 + int(found[7] or 0)
    quiet = {
        "from_minute": int(found[1]) * 60 + int(found[2]),
        "to_minute": int(found[3]) * 60 + int(found[4]),
        "offset_minutes": -offset if found[5] == "-" else offset,
    }
    return quiet if mail.are_quiet_hours(quiet) else None
