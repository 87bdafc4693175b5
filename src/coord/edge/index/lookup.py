"""Answers from the index: states, events by any filter, positions, problems."""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from coord.core import event as events
from coord.core.event import Event
from coord.core.problem import Problem, State
from coord.edge import journal
from coord.edge.index.reading import Changed, Key, Mark
from coord.edge.journal import Tip

if TYPE_CHECKING:
    from coord.core import ev

_OPEN_FILES = 200
# The events of an item, and messages and reminders about it, which are entities of their own.
_ABOUT = (
    "(e = (SELECT e FROM entity WHERE name = ?) OR e IN (SELECT e FROM message WHERE work_id = ?"
    " UNION ALL SELECT e FROM rule WHERE work_id = ?))"
)


class Place(NamedTuple):
    """Where an event's line is: segment number, byte offset, bytes; and which event's."""

    seg: int
    offset: int
    size: int
    event_id: str


class Lookup:
    """Reads the index's tables and the lines they point to; a `World` for steps."""

    def __init__(self, folder: str, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self.connection = connection
        self._files: dict[int, int] = {}
        self._paths: dict[int, str] = {}
        self._states: dict[str, State] = {}

    def forget_cached(self) -> None:
        """Drop what was remembered of tables that have changed."""
        self.close_files()
        self._paths = {}
        self._states = {}

    def close_files(self) -> None:
        """Close the segments opened for reading lines."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files = {}

    def marks(self) -> dict[Key, Mark]:
        """How far each segment was read."""
        rows = self.connection.execute("SELECT * FROM segment")
        return {(r[1], r[2], r[3]): Mark(r[0], r[4], r[5], r[6], r[7]) for r in rows}

    def meta(self, key: str) -> str:
        """A value kept with the index, "" when there is none."""
        row = self.connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return row[0] if row else ""

    def horizon_moves(self, horizon: str) -> bool:
        """Whether events enter or leave quarantine when it begins at this event id."""
        folded_to = self.meta("horizon")
        if horizon == folded_to:
            return False
        low, high = sorted((horizon, folded_to))
        row = self.connection.execute(
            "SELECT 1 FROM event WHERE id >= ? AND id < ? LIMIT 1", (low, high)
        ).fetchone()
        return row is not None

    def newest(self) -> str:
        """The largest event id folded, "" in an empty store."""
        row = self.connection.execute(
            "SELECT max(id) FROM event WHERE id < ?", (self.meta("horizon"),)
        ).fetchone()
        return row[0] or ""

    def tip(self, tool: str, writer: str) -> Tip:
        """Where a journal ended when it was last read."""
        row = self.connection.execute(
            "SELECT seq, digest, event_id FROM journal WHERE tool=? AND writer=?", (tool, writer)
        ).fetchone()
        return Tip(*row) if row else journal.NO_TIP

    def newest_known(self) -> str:
        """The largest event id in the store, quarantined or not."""
        row = self.connection.execute("SELECT max(id) FROM event").fetchone()
        return row[0] or ""

    def early_of(self, entity: str, horizon: str) -> list[Mapping[str, Any]]:
        """The quarantined events of an entity."""
        rows = self.connection.execute(
            "SELECT seg, offset, size, id FROM event JOIN entity USING(e)"
            " WHERE name = ? AND id >= ?",
            (entity, horizon),
        )
        return [self.event_at(Place(*row)) for row in rows.fetchall()]

    def tips(self) -> dict[str, int]:
        """A cursor at the end of all journals: `tool/writer` to seq."""
        rows = self.connection.execute("SELECT tool, writer, seq FROM journal")
        return {f"{tool}/{writer}": seq for tool, writer, seq in rows}

    def all_tips(self) -> dict[str, list[Any]]:
        """Where every journal of the tools ends: `tool/writer` to [seq, digest]."""
        rows = self.connection.execute(
            "SELECT tool, writer, seq, digest FROM journal WHERE tool != ? AND seq > 0",
            (events.ATTIC,),
        )
        return {f"{tool}/{writer}": [seq, digest] for tool, writer, seq, digest in rows}

    def newest_by_writer(self) -> dict[str, str]:
        """The newest event id in each writer's journals."""
        rows = self.connection.execute("SELECT writer, max(event_id) FROM journal GROUP BY writer")
        return dict(rows.fetchall())

    def wounds(self) -> dict[str, int]:
        """The journals with damage, `tool/writer`, and in how many places."""
        rows = self.connection.execute(
            "SELECT tool, writer, count(*) FROM damage GROUP BY tool, writer"
        )
        return {f"{tool}/{writer}": count for tool, writer, count in rows}

    def state(self, entity: str) -> State:
        """The folded state of an entity; {} when there is none."""
        if entity not in self._states:
            if len(self._states) > 10_000:
                self._states = {}
            row = self.connection.execute(
                "SELECT state FROM entity WHERE name=?", (entity,)
            ).fetchone()
            self._states[entity] = orjson.loads(row[0]) if row and row[0] else {}
        return self._states[entity]

    def remember(self, entity: str, state: State) -> None:
        """Replace what `state` answers: the entity was folded further."""
        self._states[entity] = state

    def states(self, family: str) -> Iterator[tuple[str, State]]:
        """All entities of a family with their states, by name."""
        rows = self.connection.execute(
            "SELECT name, state FROM entity WHERE name >= ? AND name < ? AND state IS NOT NULL"
            " ORDER BY name",
            (family + "/", family + "0"),
        )
        for name, state in rows:
            yield name, orjson.loads(state)

    def keyed(self, event: Event) -> Sequence[Event]:
        """All folded events of the same agent, type and idempotency key."""
        return [events.from_raw(raw) for raw in self.by_key(events.key_scope(event.raw))]

    def by_key(self, scope: str) -> list[Mapping[str, Any]]:
        """The events of one idempotency scope, by event id."""
        rows = self.connection.execute(
            "SELECT seg, offset, size, id FROM event WHERE key = ? AND id < ? ORDER BY id",
            (scope, self.meta("horizon")),
        )
        return [self.event_at(Place(*row)) for row in rows.fetchall()]

    def by_agent_key(self, agent_id: str, key: str) -> list[Mapping[str, Any]]:
        """The events of an agent under a key, of whatever type, by event id."""
        rows = self.connection.execute(
            "SELECT seg, offset, size, id FROM event"
            " WHERE key >= ? AND key < ? AND substr(key, ?) = ? AND id < ? ORDER BY id",
            (f"{agent_id}\n", f"{agent_id}\x0b", -len(key) - 1, f"\n{key}", self.meta("horizon")),
        )
        return [self.event_at(Place(*row)) for row in rows.fetchall()]

    def event(self, event_id: str) -> Mapping[str, Any] | None:
        """The event of this id, quarantined or not."""
        row = self.connection.execute(
            "SELECT seg, offset, size, id FROM event WHERE id=?", (event_id,)
        ).fetchone()
        return self.event_at(Place(*row)) if row else None

    def writers_of(self, event_id: str) -> list[str]:
        """The writers whose journals hold this event, sorted."""
        rows = self.connection.execute(
            "SELECT DISTINCT writer FROM segment WHERE seg IN (SELECT seg FROM event WHERE id=?"
            " UNION ALL SELECT seg FROM copy WHERE id=?) ORDER BY writer",
            (event_id, event_id),
        )
        return [row[0] for row in rows]

    def matching_ids(self, prefix: str, limit: int) -> list[str]:
        """Event ids that begin so."""
        rows = self.connection.execute(
            "SELECT DISTINCT id FROM event WHERE id >= ? AND id < ? LIMIT ?",
            (prefix, prefix + "~", limit),
        )
        return [row[0] for row in rows]

    def caused_by(self, event_id: str) -> list[Mapping[str, Any]]:
        """The events that name this one as a cause, by event id."""
        rows = self.connection.execute(
            "SELECT seg, offset, size, id FROM cause JOIN event USING(n)"
            " WHERE parent=? ORDER BY id",
            (event_id,),
        )
        return list(self.events_at(rows.fetchall()))

    def of_entity(self, entity: str) -> list[Event]:
        """The folded events of an entity, by event id."""
        rows = self.connection.execute(
            "SELECT seg, offset, size, id FROM event JOIN entity USING(e)"
            " WHERE name = ? AND id < ? ORDER BY id",
            (entity, self.meta("horizon")),
        )
        return [events.from_raw(raw) for raw in self.events_at(rows.fetchall())]

    def events_at(self, rows: Iterable[tuple[int, int, int, str]]) -> Iterator[Mapping[str, Any]]:
        """The events whose lines stand at (segment, offset, size, event id)."""
        for row in rows:
            yield self.event_at(Place(*row))

    def event_at(self, place: Place) -> Mapping[str, Any]:
        """Read one line; raises `Changed` when something else stands there by now."""
        line = os.pread(self._file(place.seg), place.size, place.offset)
        raw, _ = journal.parse(line)
        if raw is None or raw["event_id"] != place.event_id:
            raise Changed(f"{self._paths[place.seg]} changed at byte {place.offset}")
        return raw

    def _file(self, seg: int) -> int:
        descriptor = self._files.get(seg)
        if descriptor is None:
            if len(self._files) >= _OPEN_FILES:
                self.close_files()
            descriptor = os.open(self.path_of(seg), os.O_RDONLY | os.O_CLOEXEC)
            self._files[seg] = descriptor
        return descriptor

    def note_paths(self, paths: Mapping[int, str]) -> None:
        """Segments whose rows are still to be written."""
        self._paths.update(paths)

    def path_of(self, seg: int) -> str:
        """The file of a segment number."""
        if seg not in self._paths:
            row = self.connection.execute(
                "SELECT tool, writer, number FROM segment WHERE seg=?", (seg,)
            ).fetchone()
            self._paths[seg] = journal.segment_path(self.folder, *row)
        return self._paths[seg]

    def problems(self) -> Iterator[Problem]:
        """What the fold found wrong, by event id."""
        rows = self.connection.execute(
            "SELECT event_id, code, message, stands FROM problem WHERE event_id < ?"
            " ORDER BY event_id, code, message",
            (self.meta("horizon"),),
        )
        for event_id, code, message, stands in rows:
            yield Problem(event_id, code, message, bool(stands))

    def problems_of(self, event_id: str) -> list[Problem]:
        """What the fold found wrong with one event."""
        return [p for p in self.problems() if p.event_id == event_id]

    def ids_from(self, event_id: str) -> list[str]:
        """The ids of events from this one on."""
        rows = self.connection.execute(
            "SELECT id FROM event WHERE id >= ? ORDER BY id", (event_id,)
        )
        return [row[0] for row in rows]

    def count_from(self, event_id: str) -> int:
        """How many events there are from this id on."""
        row = self.connection.execute("SELECT count(*) FROM event WHERE id >= ?", (event_id,))
        return int(row.fetchone()[0])

    def select(self, wanted: "ev.Filter", limit: int) -> list[Mapping[str, Any]]:
        """The newest events that a filter takes, oldest first; all with limit -1."""
        conditions, values = self._conditions(wanted)
        rows = self.connection.execute(
            f"SELECT seg, offset, size, id FROM event WHERE {conditions} ORDER BY id DESC", values
        )
        found: list[Mapping[str, Any]] = []
        for row in rows:
            if len(found) == limit:
                break
            raw = self.event_at(Place(*row))
            if wanted.matches(raw):
                found.append(raw)
        return found[::-1]

    def _conditions(self, wanted: "ev.Filter") -> tuple[str, list[Any]]:
        """What of a filter the tables answer without reading lines."""
        parts: list[tuple[str, list[Any]]] = [("1", [])]
        if wanted.since_id:
            parts.append(("id >= ?", [wanted.since_id]))
        if wanted.until_id:
            parts.append(("id < ?", [wanted.until_id]))
        if wanted.agent_id:
            parts.append(("agent = (SELECT i FROM name WHERE text = ?)", [wanted.agent_id]))
        if wanted.work_id:
            parts.append((_ABOUT, [f"work/{wanted.work_id}", *[wanted.work_id] * 2]))
        if wanted.types:
            numbers = [i for i, text in self._names() if _is_one_of(text, wanted.types)]
            parts.append((f"type IN ({','.join('?' * len(numbers))})", numbers))
        return " AND ".join(part for part, _ in parts), [v for _, vs in parts for v in vs]

    def _names(self) -> list[tuple[int, str]]:
        return self.connection.execute("SELECT i, text FROM name").fetchall()

    def count_of(self, kind: str) -> int:
        """How many events of a type there are."""
        row = self.connection.execute("SELECT events FROM name WHERE text=?", (kind,)).fetchone()
        return int(row[0]) if row else 0


def _is_one_of(kind: str, globs: Sequence[str]) -> bool:
    from fnmatch import fnmatchcase

    return any(fnmatchcase(kind, glob) for glob in globs)
