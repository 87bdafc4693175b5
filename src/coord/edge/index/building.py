"""Filling the index: lines to rows, then rows to folded states.

    build      read everything, make the SQL indexes, fold every entity once
    catch_up   read new bytes; an entity whose new events are all newer than what it
               has folded is advanced, any other is folded anew from its events

What an entity read besides itself is judged as of each event's own id, so a change
to an agent or a setting touches the entities of later events only, and a keyed
event those of later events with its key.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from coord.core import causes, fold
from coord.core import event as events
from coord.core.event import Event
from coord.core.problem import Problem, State
from coord.edge import journal
from coord.edge.index import holds, mail, reading, runs, schema, views
from coord.edge.index.lookup import Place
from coord.edge.journal import Line

if TYPE_CHECKING:
    from coord.edge.index import Index

_BATCH = 2000
INSERT_EVENT = (
    "INSERT INTO event(n, id, e, seg, offset, size, type, agent, key) VALUES(?,?,?,?,?,?,?,?,?)"
)
# Which segments hold an event besides the one its row names.
INSERT_COPY = "INSERT OR IGNORE INTO copy VALUES(?,?)"
INSERT_CAUSE = "INSERT OR IGNORE INTO cause VALUES(?,?)"
_HAS_ID = "SELECT 1 FROM event WHERE id=? LIMIT 1"
Raw = Mapping[str, Any]


class Builder:
    """One catch-up or build, inside the index's write transaction; a `World` for steps."""

    def __init__(self, index: "Index") -> None:
        self.index = index
        self.sql = index.connection
        self._names: dict[str, int] = {}
        self._counts: dict[int, int] = {}
        self._entities: dict[str, int] = {}
        # What an incremental catch-up has to fold: entity to its new events.
        self._fresh: dict[str, list[Event]] | None = None
        self._refold: set[str] = set()
        # What was folded and has still to be written: number, state, last event.
        self._unsaved: dict[str, tuple[int, State, str]] = {}
        self._fresh_ids: set[str] = set()
        # The largest event id before the catch-up.
        self._newest = ""

    def state(self, entity: str) -> State:
        """The state of an entity, for the steps of others."""
        return self._unsaved[entity][1] if entity in self._unsaved else self.index.state(entity)

    def keyed(self, event: Event) -> Sequence[Event]:
        """The events of the same agent, type and key."""
        return self.index.keyed(event)

    def build(self, horizon: str) -> None:
        """Fill an empty index from all journals."""
        for group in reading.journals(journal.segments(self.index.folder)):
            try:
                for found in reading.whole_journal(group):
                    self._add(found)
            except reading.Changed:
                self._forget(group)
                for found in reading.all_lines(group):
                    self._add(found)
        for statement in schema.INDEXES.split(";\n"):
            self.sql.execute(statement)
        self._settle_repeats()
        self._finish_names(horizon)
        self._advance_agents(self._agents_begun_anew(horizon))
        for family in fold.ORDER[1:]:
            self._fold_family(family, horizon)
        self._save()

    def catch_up(self, horizon: str) -> None:
        """Read new bytes and fold what they touch; raises `Changed` for a rebuild."""
        self._fresh = {}
        (newest,) = self.sql.execute("SELECT max(id) FROM event").fetchone()
        self._newest = newest or ""
        marks = self.index.marks()
        before = self.index.meta("horizon")
        moved = self._touched_by_horizon(*sorted((before, horizon)))
        for segment in reading.unread(journal.segments(self.index.folder), marks):
            tip = self.index.tip(segment.tool, segment.writer)
            mark = marks.get(reading.key_of(segment))
            self._add(reading.new_lines(segment, mark, tip), mark)
        self._finish_names(horizon)
        self._refold |= moved
        self._fold_fresh(horizon)
        self._save()

    def _forget(self, group: Sequence[journal.Segment]) -> None:
        first = group[0]
        named = (first.tool, first.writer)
        where = "SELECT seg FROM segment WHERE tool=? AND writer=?"
        rows = f"SELECT n FROM event WHERE seg IN ({where})"
        self.sql.execute(f"DELETE FROM cause WHERE n IN ({rows})", named)
        self.sql.execute(f"DELETE FROM event WHERE seg IN ({where})", named)
        for table in ("damage", "segment", "journal"):
            self.sql.execute(f"DELETE FROM {table} WHERE tool=? AND writer=?", named)

    def _add(self, found: reading.Found, mark: reading.Mark | None = None) -> None:
        """Store one segment's new lines and how far it was read."""
        segment = found.segment
        seg = self._mark_segment(found, mark)
        if found.tip.seq:
            self.sql.execute(
                "INSERT OR REPLACE INTO journal VALUES(?,?,?,?,?)",
                (segment.tool, segment.writer, found.tip.seq, found.tip.digest, found.tip.event_id),
            )
        for seq, offset, code, message in found.damages:
            self.sql.execute(
                "INSERT INTO damage VALUES(?,?,?,?,?,?,?)",
                (segment.tool, segment.writer, seq, segment.path, offset, code, message),
            )
        if self._fresh is None:
            self._insert(found.lines, seg)
            return
        self._add_fresh(found.lines, seg)

    def _insert(self, lines: Sequence[Line], seg: int) -> None:
        numbered = list(enumerate(lines, self._next_number()))
        rows = (self._row_of(n, line, seg) for n, line in numbered)
        self.sql.executemany(INSERT_EVENT, rows)
        self.sql.executemany(INSERT_CAUSE, _causes(numbered))

    def _mark_segment(self, found: reading.Found, mark: reading.Mark | None) -> int:
        segment = found.segment
        cursor = self.sql.execute(
            "INSERT OR REPLACE INTO segment VALUES(?,?,?,?,?,?,?,?)",
            (mark.seg if mark else None, *reading.key_of(segment), *found.mark),
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _next_number(self) -> int:
        row = self.sql.execute("SELECT max(n) FROM event").fetchone()
        return int(row[0] or 0) + 1

    def _row_of(self, number: int, line: Line, seg: int) -> tuple[Any, ...]:
        raw = line.raw
        assert raw is not None
        name = events.entity_of(raw)
        entity = self._entity(name) if name else None
        return self._row(number, raw, entity, (seg, line.offset, line.size))

    def _row(
        self, number: int, raw: Raw, entity: int | None, place: tuple[int, int, int]
    ) -> tuple[Any, ...]:
        kind = self._name(raw["type"])
        self._counts[kind] = self._counts.get(kind, 0) + 1
        agent = self._name(raw["actor"]["agent_id"])
        key = events.key_scope(raw) if "idempotency_key" in raw else None
        return number, raw["event_id"], entity, *place, kind, agent, key or None

    def _name(self, text: str) -> int:
        if text not in self._names:
            self._names[text] = self._numbered("name", "i", "text", text)
        return self._names[text]

    def _entity(self, name: str) -> int:
        number = self._entities.get(name)
        if number is None:
            number = self._numbered("entity", "e", "name", name)
            self._entities[name] = number
        return number

    def _numbered(self, table: str, column: str, text_column: str, text: str) -> int:
        row = self.sql.execute(
            f"SELECT {column} FROM {table} WHERE {text_column}=?", (text,)
        ).fetchone()
        if row:
            return int(row[0])
        cursor = self.sql.execute(f"INSERT INTO {table}({text_column}) VALUES(?)", (text,))
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def _finish_names(self, horizon: str) -> None:
        self.sql.executemany(
            "UPDATE name SET events = coalesce(events, 0) + ? WHERE i = ?",
            [(count, number) for number, count in self._counts.items()],
        )
        self.sql.execute("INSERT OR REPLACE INTO meta VALUES('horizon', ?)", (horizon,))

    def _add_fresh(self, lines: Sequence[Line], seg: int) -> None:
        """Store the new lines of a catch-up, and note those that repeat no event."""
        repeated = [line for line in lines if not self._note_fresh(line)]
        self._insert(lines, seg)
        for line in repeated:
            assert line.raw is not None
            self._settle_id(line.raw["event_id"])

    def _note_fresh(self, line: Line) -> bool:
        """Note one new event to be folded; answers False for one that was there."""
        assert line.raw is not None
        assert self._fresh is not None
        event = events.from_raw(line.raw)
        if event.event_id in self._fresh_ids:
            return False
        # What is newer than all that was there meets neither itself nor its key there.
        if event.event_id <= self._newest:
            if self.sql.execute(_HAS_ID, (event.event_id,)).fetchone():
                return False
            if event.key:
                self._refold |= self._later_with_key(event)
        self._fresh_ids.add(event.event_id)
        entity = events.entity_of(line.raw)
        if entity:
            self._fresh.setdefault(entity, []).append(event)
        return True

    def _later_with_key(self, event: Event) -> set[str]:
        rows = self.sql.execute(
            "SELECT entity.name FROM event JOIN entity USING(e) WHERE key=? AND id>?",
            (events.key_scope(event.raw), event.event_id),
        )
        return {row[0] for row in rows}

    def _settle_repeats(self) -> None:
        """After a build: keep one row of each event that stands in several lines."""
        rows = self.sql.execute("SELECT id FROM event GROUP BY id HAVING count(*) > 1")
        for (event_id,) in rows.fetchall():
            self._settle_id(event_id)

    def _settle_id(self, event_id: str) -> None:
        """Keep the row that folds for this id; the others leave their entities."""
        rows = self.sql.execute(
            "SELECT n, seg, offset, size, id, entity.name FROM event LEFT JOIN entity USING(e)"
            " WHERE id=?",
            (event_id,),
        ).fetchall()
        variants = [(events.from_raw(self.index.event_at(Place(*r[1:5]))), r) for r in rows]
        kept, problem = fold.settled([event for event, _ in variants])
        keeper = next(row for event, row in variants if event is kept)
        for event, row in variants:
            if row is not keeper:
                self.sql.execute(INSERT_COPY, (event_id, row[1]))
                self.sql.execute("DELETE FROM event WHERE n=?", (row[0],))
                self.sql.execute("DELETE FROM cause WHERE n=?", (row[0],))
            if row[5]:
                self._refold.add(row[5])
            if event.key:
                self._refold |= self._later_with_key(event)
        # The kept variant may belong elsewhere than the one that was folded before.
        entity = events.entity_of(kept.raw)
        if entity:
            self._refold.add(entity)
        if problem is not None:
            self.sql.execute("DELETE FROM problem WHERE e=0 AND event_id=?", (event_id,))
            self._note_problems(0, [problem])

    def _note_problems(self, number: int, problems: Sequence[Problem]) -> None:
        if not problems:
            return
        self.sql.executemany(
            "INSERT INTO problem VALUES(?,?,?,?,?)",
            [(number, p.event_id, p.code, p.message, p.stands) for p in problems],
        )

    def _touched_by_horizon(self, low: str, high: str) -> set[str]:
        rows = self.sql.execute(
            "SELECT DISTINCT entity.name FROM event JOIN entity USING(e) WHERE id>=? AND id<?",
            (low, high),
        )
        return {row[0] for row in rows}

    def _fold_fresh(self, horizon: str) -> None:
        """Fold the new events, and again whatever they reach, others' readers last."""
        assert self._fresh is not None
        oldest = self._fold_agents(horizon)
        if oldest:
            self._refold |= self._readers(oldest)
        for family in fold.ORDER[1:]:
            touched = {e for e in (*self._fresh, *self._refold) if e.startswith(family + "/")}
            for entity in sorted(touched):
                oldest = self._fold_one(entity, horizon)
                if family in fold.READ_BY_OTHERS and oldest:
                    self._refold |= self._readers(oldest)

    def _readers(self, since: str) -> set[str]:
        """The entities with events late enough to have read an agent or a setting."""
        rows = self.sql.execute(
            "SELECT DISTINCT entity.name FROM event JOIN entity USING(e)"
            " WHERE id > ? AND entity.name NOT LIKE 'agent/%'",
            (since,),
        )
        return {row[0] for row in rows}

    def _fold_agents(self, horizon: str) -> str:
        """Bring all agents up to date, together, for they pause each other.

        Answers the oldest event id that changed one: " " for any, "" for none.
        """
        assert self._fresh is not None
        of_agents = [e for e in self._fresh if e.startswith("agent/")]
        fresh = [e for name in of_agents for e in self._fresh[name] if e.event_id < horizon]
        oldest = min((e.event_id for e in fresh), default="")
        is_touched = any(e.startswith("agent/") for e in self._refold)
        (last,) = self.sql.execute(
            "SELECT max(last) FROM entity WHERE name >= 'agent/' AND name < 'agent0'"
        ).fetchone()
        if is_touched or (fresh and oldest <= (last or "")):
            fresh = self._agents_begun_anew(horizon)
        self._advance_agents(fresh)
        return " " if is_touched else oldest

    def _agents_begun_anew(self, horizon: str) -> list[Event]:
        """Take back what was folded of all agents; answer their events."""
        found = []
        for numbers in self._numbers_of("agent"):
            for number, entity, group in self._grouped(numbers, horizon):
                self.sql.execute("DELETE FROM problem WHERE e=?", (number,))
                self._store(number, entity, {}, "")
                found.extend(group)
        return found

    def _advance_agents(self, fresh: Iterable[Event]) -> None:
        for event in sorted(fresh, key=_id_of):
            entity = events.entity_of(event.raw)
            number = self._entity(entity)
            state, problems = fold.advance(entity, self.state(entity), event, self)
            self._note_problems(number, problems)
            self._store(number, entity, state, event.event_id)

    def _fold_one(self, entity: str, horizon: str) -> str:
        """Bring one entity up to date; answers the oldest event id that changed it."""
        assert self._fresh is not None
        number = self._entity(entity)
        fresh = sorted((e for e in self._fresh.get(entity, ()) if e.event_id < horizon), key=_id_of)
        row = self.sql.execute("SELECT last, state FROM entity WHERE e=?", (number,)).fetchone()
        last = row[0] or ""
        if entity in self._refold or (fresh and fresh[0].event_id <= last):
            self._fold_anew([number], horizon)
            return fresh[0].event_id if fresh and entity not in self._refold else " "
        if fresh:
            state: State = orjson.loads(row[1]) if row[1] else {}
            state, problems = self._advanced(entity, state, fresh)
            self._note_problems(number, problems)
            self._store(number, entity, state, fresh[-1].event_id)
            return fresh[0].event_id
        return ""

    def _advanced(
        self, entity: str, state: State, fresh: Sequence[Event]
    ) -> tuple[State, list[Problem]]:
        problems: list[Problem] = []
        for event in fresh:
            state, found = fold.advance(entity, state, event, self, owned=True)
            problems.extend(found)
        return state, problems

    def _fold_family(self, family: str, horizon: str) -> None:
        """Fold all entities of a family from their events."""
        for numbers in self._numbers_of(family):
            self._fold_anew(numbers, horizon)

    def _numbers_of(self, family: str) -> Iterator[list[int]]:
        """The entities of a family, some thousand at a time."""
        rows = self.sql.execute(
            "SELECT e FROM entity WHERE name >= ? AND name < ?", (family + "/", family + "0")
        )
        numbers = [row[0] for row in rows]
        for start in range(0, len(numbers), _BATCH):
            yield numbers[start : start + _BATCH]

    def _fold_anew(self, numbers: Sequence[int], horizon: str) -> None:
        for number, entity, group in self._grouped(numbers, horizon):
            ordered, _ = fold.in_order(group, events.time_of(horizon))
            state, problems = fold.fold_entity(entity, ordered, self)
            if self._fresh is not None:
                self.sql.execute("DELETE FROM problem WHERE e=?", (number,))
            self._note_problems(number, problems)
            self._store(number, entity, state, ordered[-1].event_id if ordered else "")

    def _grouped(
        self, numbers: Sequence[int], horizon: str
    ) -> Iterator[tuple[int, str, list[Event]]]:
        marks = ",".join("?" * len(numbers))
        names = dict(self.sql.execute(f"SELECT e, name FROM entity WHERE e IN ({marks})", numbers))
        groups: dict[int, list[Event]] = {number: [] for number in numbers}
        rows = self.sql.execute(
            f"SELECT e, seg, offset, size, id FROM event WHERE e IN ({marks}) AND id < ?"
            " ORDER BY seg, offset",
            (*numbers, horizon),
        )
        for number, *place in rows:
            groups[number].append(events.from_raw(self.index.event_at(Place(*place))))
        for number, group in groups.items():
            yield number, names[number], group

    def _store(self, number: int, entity: str, state: State, last: str) -> None:
        """Keep what an entity was folded to; it is written with others."""
        self.index.remember(entity, state)
        self._unsaved[entity] = (number, state, last)
        if len(self._unsaved) >= _BATCH:
            self._save()

    def _save(self) -> None:
        unsaved, self._unsaved = self._unsaved, {}
        self.sql.executemany(
            "UPDATE entity SET last=?, state=? WHERE e=?",
            [
                (last, orjson.dumps(s) if s else None, number)
                for number, s, last in unsaved.values()
            ],
        )
        items = [(n, state) for entity, (n, state, _) in unsaved.items() if entity[:5] == "work/"]
        views.store_items(self.sql, items, are_new=self._fresh is None)
        mails = [(n, state) for entity, (n, state, _) in unsaved.items() if entity[:4] == "msg/"]
        mail.store(self.sql, mails, are_new=self._fresh is None)
        domains = [(n, state) for e, (n, state, _) in unsaved.items() if e[:6] == "lease/"]
        holds.store(self.sql, domains, are_new=self._fresh is None)
        jobs = [(n, state) for entity, (n, state, _) in unsaved.items() if entity[:4] == "run/"]
        runs.store(self.sql, jobs, are_new=self._fresh is None)


def _id_of(event: Event) -> str:
    return event.event_id


def _causes(numbered: Iterable[tuple[int, Line]]) -> Iterator[tuple[int, str]]:
    """The events that made these happen: (number, parent)."""
    for number, line in numbered:
        assert line.raw is not None
        if "cause" in line.raw or "links" in line.raw:
            for parent in causes.of(line.raw):
                yield number, parent
