"""From what somebody wants to say to the event that says it.

The same text to the same recipient within a minute is one message: whoever was told
already is left out, and where nobody is left the first one's acknowledgement is the
answer. It is decided under the store's lock, for two commands at once too. Whoever gives
a key decides by it instead.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coord.cli import kit
from coord.cli.msg import common
from coord.core.draft import NOTHING, Draft, keyed_name, scope_of
from coord.core.msg import address, mail
from coord.core.msg.judging import MINUTE_MS
from coord.edge.clock import base32
from coord.edge.index import mail as rows
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

_NAME_CHARS = 200


class Letter(NamedTuple):
    """What is to be sent.

    to, cc: names, @roles, @all. said: parts of the body. files: paths to attach. parts:
    attachments of another message. cause: the message that made this one happen.
    """

    to: Sequence[str] = ()
    cc: Sequence[str] = ()
    refs: Mapping[str, str] = NOTHING
    said: Mapping[str, Any] = NOTHING
    files: Sequence[str] = ()
    parts: Sequence[Mapping[str, Any]] = ()
    allow_unknown: bool = False
    cause: str = ""


class Post:
    """One command's letters: what each becomes, and who was told what by those before."""

    def __init__(self, call: kit.Call) -> None:
        self._call = call
        # By what was said, then by whom it was said to.
        self._told: dict[str, dict[str, Written]] = {}
        self._known: address.Directory | None = None

    def draft(self, desk: Desk, letter: Letter, key: str = "") -> Iterable[Written]:
        """The event of a letter, taken into the desk's batch, or the earlier one."""
        to, cc = self._recipients(desk, letter, key)
        said = {**letter.said, **_attached(desk, letter)}
        fact = {**said, "reply_to": letter.refs.get("reply_to", ""),
                "work_id": letter.refs.get("work_id", "")}  # fmt: skip
        same = mail.sameness({k: v for k, v in fact.items() if v is not None})
        earlier: list[Written] = []
        if not key:
            told = self._told_lately(desk, same)
            earlier = [told[name] for name in (*to, *cc) if name in told]
            to, cc = ([name for name in names if name not in told] for names in (to, cc))
        if not to and not cc:
            yield earlier[0]._replace(is_duplicate=True)
            return
        addressed = [*letter.to, *letter.cc]
        body = {
            "to": to or None,
            "cc": cc or None,
            "addressed": addressed if addressed != [*to, *cc] else None,
            **said,
        }
        refs = {"thread_id": self._thread(desk, letter, key), **letter.refs}
        draft = self._call.draft("msg.sent", refs, body, key=key)
        written = desk.take(draft._replace(cause=self._call.cause or letter.cause))
        self._told.setdefault(same, {}).update(dict.fromkeys((*to, *cc), written))
        yield written

    def _recipients(self, desk: Desk, letter: Letter, key: str) -> tuple[list[str], list[str]]:
        earlier = self._call.earlier(desk, "msg.sent", key) if key else None
        if earlier is not None:
            # A retry: by now the registry may mean others.
            body = earlier["body"]
            before = body.get("addressed", [*body.get("to", ()), *body.get("cc", ())])
            if before == [*letter.to, *letter.cc]:
                return list(body.get("to", ())), list(body.get("cc", ()))
        if self._known is None:
            self._known = common.directory(desk.index)
        known, sender = self._known, desk.author.agent_id
        to = address.resolve(letter.to, known, sender, letter.allow_unknown)
        cc = address.resolve(letter.cc, known, sender, letter.allow_unknown)
        if not to and not cc:
            raise Refusal("usage", "a message is to somebody", "--to agent:NAME, @role or @all")
        return to, [name for name in cc if name not in to]

    def _told_lately(self, desk: Desk, same: str) -> dict[str, Written]:
        since_ms = desk.judged_at_ms - MINUTE_MS
        sender = desk.author.agent_id
        found: dict[str, Written] = {}
        for name, event_id in rows.said_since(desk.index.connection, sender, same, since_ms):
            raw = desk.index.event(event_id)
            if name not in found and raw is not None:
                found[name] = Written(raw, is_duplicate=True)
        return {**self._told.get(same, {}), **found}

    def _thread(self, desk: Desk, letter: Letter, key: str) -> str:
        if "thread_id" in letter.refs:
            return letter.refs["thread_id"]
        if key:
            scope = scope_of(Draft("msg.sent", key=key), desk.author)
            return "th-" + base32(keyed_name(scope, "th-"))[:8]
        while True:
            name = "th-" + desk.chance.name(8)
            if not rows.threads_matching(desk.index.connection, name, 1):
                return name


def _attached(desk: Desk, letter: Letter) -> dict[str, Any]:
    """The attachments, kept as blobs with the batch."""
    parts = list(letter.parts)
    for path in letter.files:
        try:
            with open(path, "rb") as stream:
                data = stream.read()
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise Refusal("no_file", f"cannot read {path}: {reason}") from error
        name = kit.plain(os.path.basename(path))[:_NAME_CHARS]
        parts.append({"name": name, **desk.keep(data)})
    return {"attachments": parts} if parts else {}
