"""What is known about agents on this clone, gathered from the index and the beats."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from coord.cli import kit
from coord.core import registry
from coord.core.msg import presence as seeing
from coord.core.msg.mail import REMINDER
from coord.core.msg.presence import Beat, Fact, Seen
from coord.core.settings import suggestion
from coord.edge import identity, presence
from coord.edge.index import Index, holds, mail
from coord.errors import Refusal

_NEWEST = "~"
Entry = Mapping[str, Any]


class Eyes:
    """Looks at agents, as of one instant; what concerns all of them is asked once."""

    def __init__(self, call: kit.Call, known: Index, now_ms: int) -> None:
        self._known, self._now_ms = known, now_ms
        self._local = call.place.local

    def seen(self, agent_id: str) -> Seen:
        """Everything about one agent."""
        state = self._known.state(f"agent/{agent_id}")
        return Seen(
            agent_id,
            state,
            registry.pause_of(self._known, agent_id, _NEWEST),
            self._facts.get(agent_id),
            [beat for beat in self._beats if beat.agent_id == agent_id],
            self._holds.get(agent_id, ()),
            self._waits.get(agent_id, ()),
        )

    def names(self, everybody: bool) -> list[str]:
        """Who is registered or beats here; with `everybody` also who only wrote."""
        registered = {
            state["agent_id"]
            for _, state in self._known.states("agent")
            if state["agent_id"] != registry.EVERYBODY
        }
        found = registered | {beat.agent_id for beat in self._beats}
        found = found | set(self._facts) if everybody else found
        # Nobody is behind it but whoever runs tick.
        return sorted(found - {REMINDER})

    def known(self, text: str) -> str:
        """The whole id of an agent that is known."""
        agent_id = identity.agent_id(text)
        names = self.names(everybody=True)
        if agent_id not in names:
            hint = suggestion(agent_id, names) or "msg who --all lists them"
            raise Refusal("unknown_agent", f"{agent_id} is not known here", hint)
        return agent_id

    @functools.cached_property
    def _beats(self) -> Sequence[Beat]:
        return list(presence.beats(self._local))

    @functools.cached_property
    def _facts(self) -> Mapping[str, Fact]:
        rows = mail.newest_facts(self._known.connection, seeing.IDLE_TYPES)
        return {agent_id: Fact(*fact) for agent_id, fact in rows}

    @functools.cached_property
    def _holds(self) -> Mapping[str, list[Entry]]:
        sql = self._known.connection
        running = [*holds.claims(sql, self._now_ms), *holds.listed(sql, self._now_ms)]
        return _grouped([(hold["agent_id"], _hold(hold)) for hold in running])

    @functools.cached_property
    def _waits(self) -> Mapping[str, list[Entry]]:
        """Acknowledgements that somebody was asked for, and items put on hold."""
        found = _grouped(mail.held_up(self._known.connection))
        for sender, agent_id, message_id, at_ms in mail.unacknowledged(
            self._known.connection, self._now_ms
        ):
            entry = {"for": agent_id, "message_id": message_id, "since_ms": at_ms}
            found.setdefault(sender, []).append(entry)
        return found


def _hold(hold: Entry) -> Entry:
    return {key: hold[key] for key in ("resource", "expires_at_ms", "confirmed")}


def _grouped(rows: Sequence[tuple[str, Entry]]) -> dict[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for agent_id, entry in rows:
        found.setdefault(agent_id, []).append(entry)
    return found
