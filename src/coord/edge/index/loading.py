"""Filling an empty index in one pass: every line read, checked, parsed and folded once.

All journals are merged by event id, so that each event meets its entity as it was just
before it. This holds for stores without damage, where every journal's ids grow; others
raise `reading.Changed`, and `building` reads first and folds then. The answers are the
same.

States being folded are kept at hand, up to `_AT_HAND` items: then all are put away,
and one that goes on is taken out again. So time and memory hardly depend on how the
items' lives overlap.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from coord.core import causes, fold
from coord.core import event as events
from coord.core.event import Event
from coord.core.problem import State
from coord.edge import journal
from coord.edge.index import building, holds, mail, reading, runs, schema, sharing, views
from coord.edge.index.reading import Placed

if TYPE_CHECKING:
    from coord.edge.index import Index

# Families whose states no step of another entity reads.
_ALONE = tuple(f"{family}/" for family in fold.ORDER if family not in fold.READ_BY_OTHERS)
_AT_HAND = 16_384
_BATCH = 4096


class Folding:
    """An entity's state so far, its number, and the newest event folded into it."""

    __slots__ = ("entity", "has_row", "last", "number", "state")

    def __init__(self, entity: str, number: int, state: State, last: str, has_row: bool) -> None:
        self.entity, self.number, self.has_row = entity, number, has_row
        self.state, self.last = state, last

    def as_row(self) -> tuple[str, bytes | None]:
        """What its row keeps: the last event and the state."""
        return self.last, orjson.dumps(self.state) if self.state else None


class Loader(building.Builder):
    """One load; the `World` of the events that it folds, as of each event's time."""

    # Which of eight items are folded here.
    share: Sequence[bool] = sharing.EVERYTHING

    def __init__(self, index: "Index", horizon: str) -> None:
        super().__init__(index)
        self._horizon = horizon
        self._limit = _AT_HAND
        self._at_hand: dict[str, Folding] = {}
        self._rows: list[tuple[Any, ...]] = []
        self._causes: list[tuple[int, str]] = []
        self._problems: list[tuple[Any, ...]] = []
        self._count = 0
        # Keyed events whose rows are not in the table yet, by scope.
        self._keyed: dict[str, list[Event]] = {}

    def load(self) -> None:
        """Fill the index from all journals; raises `Changed` for a store out of order."""
        segments = journal.segments(self.index.folder)
        helper = None
        if sharing.is_worth(segments):
            helper = sharing.Helper(self.index.folder, self._horizon, segments)
            self.share = sharing.OURS
        try:
            for number, found in enumerate(self._fold_all(segments), 1):
                self._add(found, reading.Mark(number, 0, 0, 0, ""))
            self._put_away("")
            self._finish_names(self._horizon)
            self._fill_items()
            for table, rows in helper.rows() if helper else ():
                marks = ",".join("?" * len(rows[0]))
                self.sql.executemany(f"INSERT INTO {table} VALUES({marks})", rows)
        finally:
            if helper:
                helper.stop()
        for statement in schema.INDEXES.split(";\n"):
            self.sql.execute(statement)

    def _fold_all(self, segments: Sequence[journal.Segment]) -> list[reading.Found]:
        """Take every line; answers where the segments ended."""
        self._finish_names(self._horizon)
        self.index.note_paths(dict(enumerate((s.path for s in segments), 1)))
        ended: list[reading.Found] = []
        self._take_all(reading.merged(segments, ended))
        self._write_rows()
        return ended

    def state(self, entity: str) -> State:
        """The state of an agent or a setting, of the events so far."""
        folding = self._at_hand.get(entity)
        if folding is None and entity.startswith(_ALONE):
            raise reading.Changed("a step reads another item: not in one pass")
        return folding.state if folding else {}

    def keyed(self, event: Event) -> Sequence[Event]:
        """The events so far of the same agent, type and key."""
        return [*self.index.keyed(event), *self._keyed.get(events.key_scope(event.raw), ())]

    def _take_all(self, lines: Iterator[Placed]) -> None:
        """Take every line, those that repeat an event's id as one."""
        waiting = next(lines, None)
        for found in lines:
            assert waiting is not None
            if found[0] == waiting[0]:
                waiting = self._settled(waiting, found)
                continue
            self._take(waiting)
            waiting = found
        if waiting is not None:
            self._take(waiting)

    def _settled(self, one: Placed, other: Placed) -> Placed:
        """Of two lines with one event id, the one that counts."""
        variants = [events.from_raw(placed[-1]) for placed in (one, other)]
        chosen, problem = fold.settled(variants)
        if problem is not None and (0, *problem) not in self._problems:
            self._problems.append((0, *problem))
        kept, copy = (one, other) if chosen is variants[0] else (other, one)
        self.sql.execute(building.INSERT_COPY, copy[:2])
        return kept

    def _take(self, placed: Placed) -> None:
        """Store one event's row and fold it."""
        event_id, seg, offset, size, raw = placed
        entity = events.entity_of(raw)
        folding = (self._at_hand.get(entity) or self._folding(entity)) if entity else None
        self._note_row(raw, self._entities[entity] if entity else None, (seg, offset, size))
        if event_id < self._horizon:
            self._fold(events.from_raw(raw), folding)
        if len(self._rows) >= _BATCH:
            self._write_rows()
        if len(self._at_hand) > self._limit:
            # Every event reads agents and settings: they stay.
            self._put_away(_ALONE)
            self._limit = len(self._at_hand) + _AT_HAND

    def _note_row(self, raw: building.Raw, entity: int | None, place: tuple[int, int, int]) -> None:
        self._count += 1
        self._rows.append(self._row(self._count, raw, entity, place))
        if "cause" in raw or "links" in raw:
            self._causes += [(self._count, parent) for parent in causes.of(raw)]

    def _fold(self, event: Event, folding: Folding | None) -> None:
        if folding is not None:
            folding.state, problems = fold.advance(
                folding.entity, folding.state, event, self, owned=True
            )
            folding.last = event.event_id
            if problems:
                self._problems += [(folding.number, *problem) for problem in problems]
        if event.key:
            self._keyed.setdefault(events.key_scope(event.raw), []).append(event)

    def _folding(self, entity: str) -> Folding | None:
        """Take at hand what is not: put away before, or new; None for another's share."""
        is_known = entity in self._entities
        number = self._entities.setdefault(entity, len(self._entities) + 1)
        if entity.startswith(_ALONE) and not self.share[number % 8]:
            return None
        new = Folding(entity, number, {}, "", has_row=False)
        folding = self._at_hand[entity] = self._taken_out(entity, number) if is_known else new
        return folding

    def _taken_out(self, entity: str, number: int) -> Folding:
        last, state = self.sql.execute(
            "SELECT last, state FROM entity WHERE e=?", (number,)
        ).fetchone()
        return Folding(entity, number, orjson.loads(state) if state else {}, last, has_row=True)

    def _put_away(self, families: str | tuple[str, ...]) -> None:
        """Write the states at hand of some families and let them go."""
        chosen = [f for f in self._at_hand.values() if f.entity.startswith(families)]
        new = [(f.number, f.entity, *f.as_row()) for f in chosen if not f.has_row]
        old = [(*f.as_row(), f.number) for f in chosen if f.has_row]
        self.sql.executemany("INSERT INTO entity VALUES(?,?,?,?)", new)
        self.sql.executemany("UPDATE entity SET last=?, state=? WHERE e=?", old)
        for folding in chosen:
            del self._at_hand[folding.entity]

    def _write_rows(self) -> None:
        self.sql.executemany(building.INSERT_EVENT, self._rows)
        self.sql.executemany(building.INSERT_CAUSE, self._causes)
        self.sql.executemany("INSERT INTO problem VALUES(?,?,?,?,?)", self._problems)
        self._rows, self._causes, self._problems, self._keyed = [], [], [], {}

    def _fill_items(self) -> None:
        """Write the rows of all work items, once each."""
        rows = self.sql.execute("SELECT e, name, state FROM entity WHERE state IS NOT NULL")
        while some := rows.fetchmany(_BATCH):
            items = [(e, orjson.loads(state)) for e, name, state in some if name[:5] == "work/"]
            views.store_items(self.sql, items, are_new=True)
            mails = [(e, orjson.loads(state)) for e, name, state in some if name[:4] == "msg/"]
            mail.store(self.sql, mails, are_new=True)
            domains = [(e, orjson.loads(state)) for e, name, state in some if name[:6] == "lease/"]
            holds.store(self.sql, domains, are_new=True)
            jobs = [(e, orjson.loads(state)) for e, name, state in some if name[:4] == "run/"]
            runs.store(self.sql, jobs, are_new=True)


class Share(Loader):
    """What a helper folds; of the events' rows it keeps those that it has to look up."""

    share = sharing.HELPERS

    def fold_share(self, segments: Sequence[journal.Segment]) -> None:
        """Fold the share of all journals."""
        self._fold_all(segments)
        self._put_away(_ALONE)
        self._fill_items()

    def tables(self, size: int) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """The rows of the share, table by table, some at a time."""
        for table in (
            "entity",
            "item",
            "link",
            "label",
            "problem",
            "hold",
            "message",
            "box",
            "rule",
            "run",
            "run_after",
        ):
            rows = self.sql.execute(f"SELECT * FROM {table} WHERE e IN (SELECT e FROM entity)")
            while some := rows.fetchmany(size):
                yield table, some

    def _note_row(self, raw: building.Raw, entity: int | None, place: tuple[int, int, int]) -> None:
        if "idempotency_key" in raw:
            super()._note_row(raw, entity, place)
