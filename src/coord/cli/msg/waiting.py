"""`msg watch` and `wait`: mail as it happens, and until an answer comes."""

import dataclasses
import functools
import time
from collections.abc import Mapping
from typing import Any

import click

from coord.cli import kit, live, naming
from coord.cli.msg import common
from coord.cli.msg.inbox import letters
from coord.core import ev, units
from coord.core.problem import State
from coord.edge import clock, presence
from coord.edge import watch as journals
from coord.edge.index import Index, mail
from coord.errors import NO, Refusal

_BEAT_S = 60.0


@kit.command("watch")
@click.option("--thread", metavar="THREAD", help="Only what is sent in this thread.")
@click.option("--wake", is_flag=True, help="Only what is to wake its recipients.")
@live.options
def watch(
    call: kit.Call,
    thread: str | None,
    wake: bool,
    since: str | None,
    cursor_file: str | None,
    limit: int | None,
) -> None:
    """Print what happens to mail, as it happens: sent, read, acked, snoozed, suppressed.

    Events, as in the journals, whoever they are for; what others sent has "trust":"peer".
    recv prints one's own new messages instead. Nothing here starts an agent: whoever runs
    them reads `msg watch --wake` and does.

    \b
    Exits: 3 no such thread; 130 interrupted.
    Example: msg watch --cursor-file ~/.mail-seen
    """
    wanted = ev.Filter(types=("msg.*",), wakes=wake)
    if thread:
        with call.reading() as known:
            wanted = dataclasses.replace(wanted, thread_id=common.thread_id(known, thread))
    marked = functools.partial(_marked, naming.reader(call))
    live.events(call, since, cursor_file, limit, wanted, mark=marked)


def _marked(agent_id: str, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**raw, "trust": "own" if raw["actor"]["agent_id"] == agent_id else "peer"}


@kit.command("wait")
@click.argument("span", required=False, metavar="[SPAN]")
@click.option("--thread", metavar="THREAD", help="For the next message of somebody else in it.")
@click.option("--reply-to", metavar="ID", help="For the first answer to this message.")
def wait(call: kit.Call, span: str | None, thread: str | None, reply_to: str | None) -> int:
    """Wait for an answer, at most SPAN, and print it whole.

    With --reply-to any answer to the message counts, also one that is there already; with
    --thread the first message of somebody else after my own last one in the thread. It
    waits on the kernel and consumes nothing.

    \b
    Exits: 1 none came in time; 3 no such message or thread; 130 interrupted.
    Example: msg wait --reply-to 01KDWCJ2 10m
    """
    if bool(thread) == bool(reply_to):
        raise Refusal("usage", "give either --thread or --reply-to", "msg wait --help")
    ends_at = time.monotonic() + units.parse_duration(span) / 1000 if span else float("inf")
    answer = _Answer(call, thread or "", reply_to or "")
    while not answer.look() and time.monotonic() < ends_at:
        answer.wait(min(_BEAT_S, max(0.0, ends_at - time.monotonic())))
    if answer.row is None:
        call.note("no answer came in time")
        return NO
    call.emit([answer.row], letters, ident="message_id")
    return 0


class _Answer:
    """The message that is waited for, once it is there."""

    def __init__(self, call: kit.Call, thread: str, reply_to: str) -> None:
        self._call, self._thread, self._reply_to = call, thread, reply_to
        self._agent_id = naming.reader(call)
        self.row: dict[str, Any] | None = None
        # From before the first look on, so that nothing falls in between.
        self._cursor: ev.Cursor = journals.cursor_at(call.place.store, "now")

    def look(self) -> bool:
        """Whether it is there."""
        self._call.now_ms = clock.now_ms()
        presence.beat(self._call.place.local, self._call.author, self._call.now_ms)
        with self._call.reading() as known:
            found = self._found(known)
            if found is not None:
                now_ms = self._call.query_now(known)
                self.row = common.whole(known, found, self._agent_id, now_ms)
        return self.row is not None

    def _found(self, known: Index) -> State | None:
        if self._reply_to:
            name = common.message_id(known, self._reply_to)
            answers = mail.replies_to(known.connection, name)
            return next((a for a in answers if "reminder" not in a), None)
        said = mail.thread(known.connection, common.thread_id(known, self._thread))
        mine = [n for n, message in enumerate(said) if message["from"] == self._agent_id]
        later = said[mine[-1] + 1 :] if mine else said
        return next((m for m in later if m["from"] != self._agent_id), None)

    def wait(self, deadline_s: float) -> None:
        """Return when mail was sent, or at the deadline."""
        for batch in journals.follow(
            self._call.place.store, self._cursor, on_damage=_ignore, deadline_s=deadline_s
        ):
            self._cursor = batch.cursor
            if any(raw["type"] == "msg.sent" for raw, _ in batch.events):
                return


def _ignore(_damage: journals.Damage) -> None:
    """Others tell of it: whoever waits for an answer cannot do anything about it."""
