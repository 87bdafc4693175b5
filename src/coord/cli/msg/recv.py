"""`msg recv`: one's own new mail, by a cursor."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit, live, naming
from coord.cli.msg import common
from coord.cli.msg.inbox import letters
from coord.cli.msg.receipts import receipt
from coord.cli.span import Span
from coord.core import ev
from coord.core import event as events
from coord.core.draft import Author
from coord.core.msg import mail, view
from coord.edge import clock, environment, presence, watch
from coord.edge.index import Index
from coord.edge.mailbox import Mailbox
from coord.errors import NO, Refusal

# How often a reader that waits says that it is alive.
_BEAT_S = 60.0
_NEVER_S = float("inf")
Row = dict[str, Any]


@kit.command("recv")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until interrupted.")
@click.option("--wait", type=Span(0), metavar="SPAN", help="Wait so long for the first.")
@click.option("--max", "-n", "limit", type=click.IntRange(min=1), metavar="N",
              help="End after N messages.")  # fmt: skip
@click.option("--read", "mark_read", is_flag=True, help="They are read once they are printed.")
@click.option("--ack", "mark_acked", is_flag=True, help="They are acknowledged, and so read.")
def recv(
    call: kit.Call,
    follow: bool,
    wait: int | None,
    limit: int | None,
    mark_read: bool,
    mark_acked: bool,
) -> int:
    """Print my mail that no recv here has printed yet, whole, the oldest first.

    A cursor of mine on this clone moves on with it and nothing else does: what is printed
    stays unread until msg read or msg ack, or --read or --ack here. What has expired is
    passed over. It comes at least once: who dies before the cursor was stored gets the
    last messages again, and message_id tells them.

    \b
    Exits: 1 no mail in time; 130 interrupted.
    Example: msg recv --follow --read | while read -r line; do ./handle "$line"; done
    """
    if follow and wait:
        raise Refusal("usage", "--follow waits anyway", "leave --wait out")
    kind = "msg.acked" if mark_acked else "msg.read" if mark_read else ""
    reader = _Reader(call, limit or sys.maxsize, kind)
    waits_s = _NEVER_S if follow else (wait or 0) / 1000
    reader.run(waits_s, ends_with_first=not follow)
    return 0 if reader.count or follow else NO


class _Reader:
    """Prints what is new, and then moves the cursor."""

    def __init__(self, call: kit.Call, limit: int, kind: str) -> None:
        self._call, self._left, self._kind = call, limit, kind
        self._agent_id = naming.reader(call)
        self._box = Mailbox(call.place.store, self._agent_id)
        self.count = 0

    def run(self, waits_s: float, ends_with_first: bool) -> None:
        """Print what is there, then what comes, until the time is over or enough was printed."""
        cursor = self._box.cursor()
        ends_at = time.monotonic() + waits_s
        while True:
            self._beat()
            # What is there already is printed to its end; what is waited for ends the wait.
            is_done = waits_s == 0 or (ends_with_first and self.count > 0)
            left_s = 0.0 if is_done else min(_BEAT_S, max(0.0, ends_at - time.monotonic()))
            for batch in self._batches(cursor, left_s):
                cursor = self._take(batch)
                if not self._left:
                    return
                if ends_with_first and self.count and left_s:
                    break
            if is_done or time.monotonic() >= ends_at:
                return

    def _batches(self, cursor: ev.Cursor, deadline_s: float) -> Iterator[watch.Batch]:
        folder = self._call.place.store
        return watch.follow(
            folder,
            cursor,
            on_damage=self._tell,
            deadline_s=deadline_s,
            before_wait=live.still_read,
        )

    def _tell(self, damage: watch.Damage) -> None:
        text = f"{damage.path} at byte {damage.offset}: {damage.message}"
        self._call.warn(damage.code, text, "ev check says more")

    def _beat(self) -> None:
        session = self._call.session or environment.get(environment.SESSION)
        author = Author(self._agent_id, session)
        presence.beat(self._call.place.local, author, clock.now_ms())

    def _take(self, batch: watch.Batch) -> dict[str, int]:
        """Print what of a batch is mine; answer the cursor after what was printed."""
        mine = [
            (number, raw, is_early)
            for number, (raw, is_early) in enumerate(batch.events, start=1)
            if raw["type"] == "msg.sent" and _is_for(raw, self._agent_id)
        ]
        cursor, rows = batch.cursor, []
        if mine:
            self._call.now_ms = clock.now_ms()
            with self._call.reading() as known:
                for number, row in self._rows(known, mine):
                    rows.append(row)
                    self._left -= 1
                    if not self._left:
                        cursor = batch.cursor_after(number)
                        break
        self._print(rows)
        if rows or mine or len(batch.events) >= _WORTH_SAVING:
            self._box.save(cursor)
        return cursor

    def _rows(
        self, known: Index, mine: Sequence[tuple[int, Mapping[str, Any], bool]]
    ) -> Iterator[tuple[int, Row]]:
        now_ms = self._call.query_now(known)
        surfaced = self._box.surfaced()
        for number, raw, is_early in mine:
            state = known.state(f"msg/{raw['event_id']}")
            if is_early and not state:
                # Not folded until its time comes, when nobody would look for it again.
                yield number, _early(raw, self._agent_id)
                continue
            is_due = "message_id" in state and not view.is_expired(state, now_ms)
            if is_due and not _was_printed(known, raw, surfaced):
                yield number, common.whole(known, state, self._agent_id, now_ms)

    def _print(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        self._call.emit(rows, letters, ident="message_id")
        sys.stdout.flush()
        self.count += len(rows)
        names = [row["message_id"] for row in rows]
        self._box.note_surfaced(names, self._call.now_ms)
        if self._kind:
            folded = [row["message_id"] for row in rows if not row.get("early")]
            self._call.record(lambda desk: [receipt(self._call, self._kind, n) for n in folded])


# A cursor is stored for others' events too once they are many: they are read again otherwise.
_WORTH_SAVING = 500


def _is_for(raw: Mapping[str, Any], agent_id: str) -> bool:
    body = raw.get("body", {})
    return any(
        isinstance(names, list) and agent_id in names for names in (body.get("to"), body.get("cc"))
    )


def _was_printed(known: Index, raw: Mapping[str, Any], surfaced: Mapping[str, int]) -> bool:
    """Whether the same message, sent in another clone under the same key, was printed."""
    if "idempotency_key" not in raw:
        return False
    twins = known.by_key(events.key_scope(raw))
    return any(t["event_id"] in surfaced and t["event_id"] != raw["event_id"] for t in twins)


def _early(raw: Mapping[str, Any], agent_id: str) -> Row:
    """A message from the future, as its event tells it."""
    state = mail.STEPS["msg.sent"]({}, events.from_raw(raw), _NOBODY)
    row = view.short(dict(state), agent_id, 0) if isinstance(state, Mapping) else {}
    body = raw.get("body", {})
    text = {"text": body["text"]} if isinstance(body.get("text"), str) else {}
    return {"message_id": raw["event_id"], **row, **text, "early": True}


class _Nobody:
    """A `World` for a step that asks nothing."""

    def state(self, _entity: str) -> dict[str, Any]:
        return {}

    def keyed(self, _event: events.Event) -> Sequence[events.Event]:
        return ()


_NOBODY = _Nobody()
