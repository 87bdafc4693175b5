"""What one clone knows of mail and never syncs: how far a reader came, what it was handed.

    local/mail/<agent-slug>.cursor     the position of `recv` in all journals
    local/mail/<agent-slug>.surfaced   a line `message_id ms` per message handed to a reader
    local/sync.json                    which lines the remote has, as the last sync left it

The cursor moves after a message was printed, so whoever dies in between gets it again.
"""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from coord.core.event import slug
from coord.edge import watch
from coord.edge.store import refusing_disk_errors

_FOLDER = "mail"
# Mail is all that recv reads; what the others wrote before it first came is passed over.
_OTHERS = ("wk/", "ev/", "lease/", "run/")


class Mailbox:
    """An agent's place in its mail on this clone."""

    def __init__(self, store: str, agent_id: str) -> None:
        self._store = store
        self._folder = os.path.join(store, "local", _FOLDER)
        name = os.path.join(self._folder, slug(agent_id))
        self._surfaced = f"{name}.surfaced"
        self._saved = watch.CursorFile(f"{name}.cursor")

    def cursor(self) -> dict[str, int]:
        """Where the last recv came to; for the first, before all mail."""
        with refusing_disk_errors(self._folder):
            os.makedirs(self._folder, exist_ok=True)
        found = self._saved.load()
        if found is not None:
            return found
        now = watch.cursor_at(self._store, "now")
        return {name: seq for name, seq in now.items() if name.startswith(_OTHERS)}

    def save(self, cursor: Mapping[str, int]) -> None:
        """Keep a position; it is on disk when this returns."""
        self._saved.save(cursor)

    def surfaced(self) -> dict[str, int]:
        """When each message was first handed to a reader here, by message_id."""
        found: dict[str, int] = {}
        try:
            with open(self._surfaced, encoding="ascii", errors="replace") as stream:
                for line in stream:
                    message_id, _, at_ms = line.strip().partition(" ")
                    if at_ms.isdigit():
                        found.setdefault(message_id, int(at_ms))
        except FileNotFoundError:
            pass
        return found

    def note_surfaced(self, message_ids: Iterable[str], now_ms: int) -> None:
        """Remember that these were handed to a reader."""
        text = "".join(f"{message_id} {now_ms}\n" for message_id in message_ids)
        # It is told by `status` and decides nothing: a disk that refuses it stops nobody.
        with contextlib.suppress(OSError):
            os.makedirs(self._folder, exist_ok=True)
            with open(self._surfaced, "a", encoding="ascii") as stream:
                stream.write(text)


def carried_by(local: str, journal: str, seq: int) -> dict[str, Any]:
    """The remotes that have this line of a journal: name to {ref, commit}, as last seen.

    What no sync has told of is not known to be anywhere else.
    """
    try:
        with open(os.path.join(local, "sync.json"), encoding="utf-8") as stream:
            known = json.load(stream)
    except (OSError, ValueError):
        return {}
    found = {}
    for name, kept in known.items() if isinstance(known, dict) else ():
        remote, _, prefix = name.partition(" ")
        refs, reached = (_part(kept, name) for name in ("refs", "reached"))
        for ref, journals in sorted(reached.items()):
            reach = _part(reached, ref).get(journal) if journals else None
            if isinstance(reach, list) and reach and isinstance(reach[0], int) and reach[0] >= seq:
                found[remote] = {"ref": prefix + ref, "commit": str(refs.get(ref, ""))}
    return found


def _part(known: object, name: str) -> dict[str, Any]:
    part = known.get(name) if isinstance(known, dict) else None
    return part if isinstance(part, dict) else {}
