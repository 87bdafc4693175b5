"""The disposable cache of folds: the same answers as `core.fold`, without the wait.

Open it, `catch_up`, ask. Catching up reads only new bytes, folds new events into
the states they touch, and refolds from the beginning what an older event touched.
Reverse edges need no table of their own: who reads an agent's pauses, a setting or
an idempotency key can be found among the events after it.

Missing, damaged, of another format or boot, on a disk that cannot lock or write:
rebuilt, or built in memory for this one command.
"""

import contextlib
import os
import sqlite3
from collections.abc import Iterator

import orjson

from coord.core import event as events
from coord.edge import journal
from coord.edge.index import database, reading
from coord.edge.index.database import Database, Unusable
from coord.edge.index.lookup import Lookup

__all__ = ["DAMAGE", "Index", "Unusable", "discard", "opened"]

# What asking a damaged index raises.
_ROTTEN = (sqlite3.DatabaseError, orjson.JSONDecodeError, UnicodeDecodeError)
DAMAGE = (*_ROTTEN, reading.Changed)


class Index(Lookup):
    """The folded state of one store, as of the last `catch_up`."""

    def __init__(self, folder: str, db: Database) -> None:
        super().__init__(folder, db.connection)
        self._database = db

    def catch_up(self, now_ms: int) -> None:
        """Fold what the journals hold beyond what was folded before."""
        if self._is_current(now_ms):
            return
        self._database.lock(exclusive=True)
        try:
            if not self._is_current(now_ms):
                self._update(now_ms)
        finally:
            self._database.lock(exclusive=False)

    def _is_current(self, now_ms: int) -> bool:
        if not self._database.is_good():
            return False
        with contextlib.suppress(reading.Changed):
            new = reading.unread(journal.segments(self.folder), self.marks())
            return not new and not self.horizon_moves(events.horizon(now_ms))
        return False

    def _update(self, now_ms: int) -> None:
        if self._database.is_good():
            try:
                from coord.edge.index.building import Builder

                with self._database.writing(), _no_collecting():
                    Builder(self).catch_up(events.horizon(now_ms))
                return
            except reading.Changed:
                self.forget_cached()
        self._rebuild(now_ms)

    def _rebuild(self, now_ms: int) -> None:
        from coord.edge.index.building import Builder
        from coord.edge.index.loading import Loader

        horizon = events.horizon(now_ms)
        try:
            with self._begun_anew():
                Loader(self, horizon).load()
        except reading.Changed:
            with self._begun_anew():
                Builder(self).build(horizon)

    @contextlib.contextmanager
    def _begun_anew(self) -> Iterator[None]:
        self._database.restart()
        self.connection = self._database.connection
        self.forget_cached()
        self.connection.execute("PRAGMA cache_size=-65536")
        with self._database.writing(), _no_collecting():
            yield
        self.connection.execute("PRAGMA cache_size=-2000")

    def unfinished(self) -> list[journal.Segment]:
        """The segments that end in a line without its newline; all else has been read."""
        return reading.unfinished(journal.segments(self.folder), self.marks())

    def keep(self, key: str, value: str) -> None:
        """Remember something that can be found again: a cache, not a fact."""
        with contextlib.suppress(reading.Changed), self.writing():
            self.connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A transaction that adds to the index what can be found again.

        Raises `Changed` when another process made the index anew in between.
        """
        self._database.lock(exclusive=True)
        try:
            if not self._database.is_good():
                raise reading.Changed("the index was made anew by another process")
            with self._database.writing():
                yield
        finally:
            self._database.lock(exclusive=False)

    def close(self) -> None:
        """Let the file and its lock go."""
        self.close_files()
        self._database.close()


@contextlib.contextmanager
def _no_collecting() -> Iterator[None]:
    """No search for garbage in circles: events and states have none, and it takes a third."""
    import gc

    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextlib.contextmanager
def opened(folder: str, now_ms: int) -> Iterator[Index]:
    """The index of a store, caught up; in memory where the file cannot be used.

    folder: the `.coord` folder. now_ms: the wall clock.
    """
    index = _caught_up(folder, now_ms)
    try:
        yield index
    finally:
        index.close()


def _caught_up(folder: str, now_ms: int) -> Index:
    local = os.path.join(folder, "local")
    for _ in range(2):
        try:
            index = Index(folder, database.on_disk(local))
        except Unusable:
            break
        try:
            index.catch_up(now_ms)
            return index
        except Unusable:
            # Removed under us: there may be a new one by now.
            index.close()
        except _ROTTEN as error:
            index.close()
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
                break
            # Damaged where it was not looked at first: made anew.
            discard(local)
        except BaseException:
            index.close()
            raise
    return _in_memory(folder, now_ms)


def _in_memory(folder: str, now_ms: int) -> Index:
    index = Index(folder, database.in_memory())
    index.catch_up(now_ms)
    return index


def discard(local: str) -> None:
    """Put a damaged index out of the way, so that the next use makes a new one."""
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(local, database.NAME))
