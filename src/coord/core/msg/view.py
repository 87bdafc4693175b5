"""A message as people and programs see it.

    unread     the recipient has neither read nor acknowledged it
    read       read, and not acknowledged
    acked      acknowledged
    expired    its time was over before it was read

What others wrote is data: rows carry `trust`, `own` for what the reader wrote itself
and `peer` for everything else.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from coord.core.msg import mail
from coord.core.problem import State

EXCERPT_CHARS = 80
_ALWAYS = ("message_id", "thread_id", "from", "to")
_MORE = (
    "cc", "subject", "importance", "ack", "ack_by_ms", "expires_at_ms", "work_id", "run_id",
    "reply_to", "forwards", "reminder", "auto", "hops", "wake",
)  # fmt: skip
_DEFAULTS: Mapping[str, Any] = {"importance": "normal", "ack": "none", "hops": 0}
Row = dict[str, Any]


def standing(state: State, agent_id: str, now_ms: int) -> str:
    """The word for how far a message has come with one of its recipients."""
    done = state["receipts"].get(agent_id, {})
    if "acked_at_ms" in done:
        return "acked"
    if "read_at_ms" in done:
        return "read"
    return "expired" if is_expired(state, now_ms) else "unread"


def is_expired(state: State, now_ms: int) -> bool:
    """Whether nobody need read it any more."""
    return bool(state.get("expires_at_ms", now_ms + 1) <= now_ms)


def owes_ack(state: State, agent_id: str) -> bool:
    """Whether this recipient was asked to acknowledge and has not."""
    asked = state.get("ack", "none") != "none" and agent_id in mail.recipients(state)
    return asked and "acked_at_ms" not in state["receipts"].get(agent_id, {})


def short(state: State, agent_id: str, now_ms: int) -> Row:
    """One line of an inbox, without the text but its beginning."""
    row = _head(state, agent_id)
    if agent_id in mail.recipients(state):
        row["status"] = standing(state, agent_id, now_ms)
        until_ms = state["receipts"].get(agent_id, {}).get("snoozed_until_ms", 0)
        if until_ms > now_ms:
            row["snoozed_until_ms"] = until_ms
    text = state.get("text")
    if isinstance(text, str) and text.strip():
        row["excerpt"] = _cut(text)
    if state.get("attachments"):
        row["attachments"] = [part["name"] for part in state["attachments"]]
    return row


def _head(state: State, agent_id: str) -> Row:
    row = {name: state[name] for name in _ALWAYS}
    row["sent_at_ms"] = state["sent_at_ms"]
    for name in _MORE:
        if name in state and state[name] != _DEFAULTS.get(name):
            row[name] = state[name]
    row["trust"] = "own" if state["from"] == agent_id else "peer"
    return row


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARS else line[: EXCERPT_CHARS - 1] + "…"


def whole(state: State, agent_id: str, now_ms: int, text: str | None) -> Row:
    """Everything about a message.

    text: what it says; None when its blob is not here.
    """
    row = _head(state, agent_id)
    if agent_id in mail.recipients(state):
        row["status"] = standing(state, agent_id, now_ms)
    if "addressed" in state:
        row["addressed"] = state["addressed"]
    if text:
        row["text"] = text
    elif mail.is_blob(state.get("text")):
        row["missing"] = state["text"]
    if state.get("attachments"):
        row["attachments"] = state["attachments"]
    row["receipts"] = [
        {
            "agent_id": name,
            "status": standing(state, name, now_ms),
            **state["receipts"].get(name, {}),
        }
        for name in mail.recipients(state)
    ]
    return row


def is_shown(state: State, agent_id: str, now_ms: int) -> bool:
    """Whether an inbox holds it: neither snoozed nor expired unread."""
    if "message_id" not in state or agent_id not in mail.recipients(state):
        return False
    if state["receipts"].get(agent_id, {}).get("snoozed_until_ms", 0) > now_ms:
        return False
    return standing(state, agent_id, now_ms) != "expired"


def in_order(states: Iterable[State], agent_id: str) -> list[State]:
    """As an inbox lists them: unread first, then the newest."""
    newest_first = sorted(states, key=_message_id, reverse=True)
    return sorted(newest_first, key=lambda state: _is_seen(state, agent_id))


def _message_id(state: State) -> str:
    return str(state["message_id"])


def _is_seen(state: State, agent_id: str) -> bool:
    return "read_at_ms" in state["receipts"].get(agent_id, {})


def inbox(states: Mapping[str, State], agent_id: str, now_ms: int) -> Iterator[Row]:
    """The rows of an agent's inbox: the definition of what the index lists."""
    shown = [state for state in states.values() if is_shown(state, agent_id, now_ms)]
    for state in in_order(shown, agent_id):
        yield short(state, agent_id, now_ms)


def reply_subject(subject: str, word: str = "Re") -> str:
    """`Re: …`, once, however often it goes back and forth."""
    if not subject or subject.lower().startswith(f"{word.lower()}:"):
        return subject
    return f"{word}: {subject}"[: mail.SUBJECT_CHARS]


def answered(state: State, agent_id: str, to_all: bool) -> tuple[Sequence[str], Sequence[str]]:
    """Whom an answer goes to and whom in copy: its sender, or with `to_all` everybody else.

    An answer to one's own message goes to those it was for.
    """
    others = [name for name in mail.recipients(state) if name != agent_id]
    if state["from"] == agent_id:
        return others, ()
    return [state["from"]], [n for n in others if n != state["from"]] if to_all else ()
