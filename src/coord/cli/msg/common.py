"""What the verbs of `msg` share: who reads, whole ids, rows with their texts."""

import functools
from collections.abc import Sequence
from typing import Any

from coord.core import registry
from coord.core.msg import address, view
from coord.core.problem import State
from coord.edge.index import Index, mail
from coord.edge.writing import Desk
from coord.errors import Refusal

SHORTEST = 3
_LISTED = 10


def message_id(known: Index, text: str) -> str:
    """The whole id of a message, or of a rule that reminds, from a unique prefix of it."""
    wanted = text.upper()
    found = mail.matching(known.connection, wanted, _LISTED) if len(wanted) >= SHORTEST else []
    name = wanted if wanted in found else _only(found, text, "message", "msg inbox lists them")
    # Another clone has sent it too, under one key: the earlier counts.
    return str(known.state(f"msg/{name}").get("same_as", name))


def thread_id(known: Index, text: str) -> str:
    """The whole id of a thread from a unique prefix, or from a message in it."""
    wanted = text if text.startswith("th-") else f"th-{text}"
    found = mail.threads_matching(known.connection, wanted, _LISTED)
    if wanted in found:
        return wanted
    if not found and len(text) >= SHORTEST:
        named = mail.matching(known.connection, text.upper(), _LISTED)
        threads = {known.state(f"msg/{name}").get("thread_id", "") for name in named}
        found = sorted(threads - {""})
    return _only(found if len(text) >= SHORTEST else [], text, "thread", "msg inbox lists them")


def _only(found: Sequence[str], text: str, kind: str, where: str) -> str:
    if len(found) == 1:
        return found[0]
    if not found:
        hint = where if len(text) >= SHORTEST else "a shortened id has at least 3 characters"
        raise Refusal("unknown_message", f"there is no {kind} {text[:60]!r}", hint)
    hint = "give more of the id"
    text = f"{text!r} may be any of {', '.join(found)}"
    raise Refusal("ambiguous", text, hint, candidates=list(found))


def message(known: Index | Desk, name: str) -> State:
    """The state of a message; a rule is none."""
    state = known.state(f"msg/{name}")
    if "message_id" not in state:
        hint = "msg remind --list lists the rules"
        raise Refusal("wrong_state", f"{name} is a rule that reminds, not a message", hint)
    return state


def directory(known: Index) -> address.Directory:
    """Whom one may write to."""
    return address.Directory(
        functools.partial(_is_known, known),
        functools.cache(functools.partial(_registered, known)),
        functools.partial(mail.actors, known.connection),
    )


def _is_known(known: Index, agent_id: str) -> bool:
    is_registered = "registered_at_ms" in known.state(f"agent/{agent_id}")
    return is_registered or mail.has_acted(known.connection, agent_id)


def _registered(known: Index) -> list[State]:
    found = (state for _, state in known.states("agent") if "registered_at_ms" in state)
    return [state for state in found if state["agent_id"] != registry.EVERYBODY]


def whole(known: Index, state: State, agent_id: str, now_ms: int) -> dict[str, Any]:
    """A message with its text, from its blob where it is long."""
    from coord.edge.index import mail_search

    text = mail_search.text_of(known.folder, state)
    return view.whole(state, agent_id, now_ms, text)


def multiple(values: Sequence[str]) -> list[str]:
    """Values of an option given several times or with commas."""
    return [part.strip() for value in values for part in value.split(",") if part.strip()]
