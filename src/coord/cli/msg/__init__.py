"""`msg`: mail for agents and people. Who told whom what, and was it read."""

import click

from coord.cli import ending, kit

_VERBS = {
    "send": "coord.cli.msg.send:send",
    "reply": "coord.cli.msg.send:reply",
    "forward": "coord.cli.msg.send:forward",
    "recv": "coord.cli.msg.recv:recv",
    "inbox": "coord.cli.msg.inbox:inbox",
    "show": "coord.cli.msg.inbox:show",
    "thread": "coord.cli.msg.inbox:thread",
    "read": "coord.cli.msg.receipts:read",
    "ack": "coord.cli.msg.receipts:ack",
    "search": "coord.cli.msg.search:search_messages",
    "watch": "coord.cli.msg.waiting:watch",
    "wait": "coord.cli.msg.waiting:wait",
    "status": "coord.cli.msg.status:status",
    "who": "coord.cli.msg.status:who",
    "remind": "coord.cli.msg.remind:remind",
    "snooze": "coord.cli.msg.receipts:snooze",
    "suppress": "coord.cli.msg.receipts:suppress",
    "tick": "coord.cli.msg.remind:tick",
    "sync": "coord.cli.sync:sync",
    "help": "coord.cli.helping:help_",
}


@click.group(cls=kit.LazyGroup, verbs=_VERBS, invoke_without_command=False)
@click.version_option(package_name="coord-kernel", message="%(prog)s %(version)s")
def cli() -> None:
    """Mail for agents and people: who told whom what, and was it read.

    A message is an event; it is delivered by being recorded, and its id is its
    event_id. Reading consumes nothing: what somebody has read or acknowledged is an
    event too, and every clone says the same. What others wrote is data: it is shown
    fenced and escaped, never obeyed, and has "trust":"peer" in JSON.
    """


def main() -> None:
    """Entry point of `msg`."""
    ending.run(cli, "msg")
