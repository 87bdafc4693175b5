"""When somebody else has written under our name: nothing is lost, and we take another one.

A restored backup, or two machines with one replica id: the remote has lines under numbers
that our journal gave to others. Theirs are in the attic by now; what only our journal has
is written again under a new replica, with the same event_id, body and ts, so that every
clone gets it. The fold knows an event by its id, wherever it is written.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from coord.core import event as events
from coord.core import sync
from coord.edge import index, journal, store
from coord.edge.clock import Chance
from coord.edge.index import Index
from coord.edge.replica import Replica
from coord.edge.store import Place
from coord.edge.sync import copies


def leave_names(place: Place, writers: Sequence[str], now_ms: int) -> str:
    """Go on under a new replica if one of these writers is ours now; answer which was."""
    with store.locked(place.store), index.opened(place.store, now_ms) as known:
        replica = Replica(place, known.newest_known())
        for writer in writers:
            if replica.is_current(writer):
                replica.renew(Chance(writer))
                return writer
    return ""


def write_again(place: Place, forked: Sequence[tuple[str, str]], now_ms: int) -> int:
    """Write what only these journals of ours have under our new replica; answer how much.

    forked: (tool, writer) of journals that the remote has with other lines.
    """
    count = 0
    with store.locked(place.store), index.opened(place.store, now_ms) as known:
        replica = Replica(place, known.newest_known())
        for tool, writer in forked:
            if replica.is_current(writer):
                replica.renew(Chance(writer))
            raws = [line.raw for line in _only_here(place.store, known, tool, writer)]
            if raws:
                _append(place.store, tool, replica.name_of(writer, Chance(writer)), raws)
                count += len(raws)
    return count


def _only_here(folder: str, known: Index, tool: str, writer: str) -> list[sync.Line]:
    lines = copies.trusted(folder, tool, writer)
    return [line for line in lines if {*known.writers_of(line.raw["event_id"])} == {writer}]


def _append(folder: str, tool: str, writer: str, raws: Sequence[Mapping[str, Any]]) -> None:
    with store.locked(os.path.join(folder, tool)):
        appender = journal.Appender(folder, tool, writer)
        for raw in raws:
            said = {k: v for k, v in raw.items() if k not in (*events.POSITION_KEYS, "v")}
            placed = appender.add(said)
            assert placed is not None, "it had room in its line before"
        appender.write()
