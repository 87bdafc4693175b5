"""Opening the index: one file, one lock, no side files, or else memory.

`rm -r .coord/local` may happen at any moment. SQLite keeps its journal or WAL
beside the database *by name*, so a process with a deleted database would mix its
journal with the new one's. So: rollback in memory, a `DIRTY` mark around writes,
and `flock` on the database file itself (its inode, whatever its name) instead of
SQLite's own locks: shared to read, exclusive to write, waiting in the kernel.
Where the file cannot be made, locked or read, the same tables live in memory.
A power cut may tear an unsynced file, so an index is good for one boot.
"""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterator

from coord.edge import store
from coord.edge.clock import boot_id
from coord.edge.index import schema
from coord.errors import Refusal

NAME = "index.db"
LOCK_WAIT_S = 60.0


class Unusable(Exception):
    """The index file cannot be used as it is: rebuild it, or do without."""


class Database:
    """A connection with the lock that goes with it; `path` is "" in memory."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.connection = self._connected()
        if not path:
            self._create()

    def _connected(self) -> sqlite3.Connection:
        # Nothing is read yet: a damaged file is noticed where it can be made anew.
        uri = f"file:{_quoted(self.path)}?nolock=1" if self.path else "file::memory:"
        return sqlite3.connect(uri, uri=True, isolation_level=None)

    @property
    def in_memory(self) -> bool:
        """Whether nobody else sees this index."""
        return not self.path

    def _version(self) -> int:
        row = self.connection.execute("PRAGMA user_version").fetchone()
        return int(row[0])

    def is_good(self) -> bool:
        """Whether it can be used without a rebuild: whole, of this format and boot."""
        try:
            if self._version() != schema.FORMAT:
                return False
            row = self.connection.execute("SELECT value FROM meta WHERE key='boot'").fetchone()
        except sqlite3.DatabaseError:
            return False
        return row is not None and row[0] == boot_id()

    def restart(self) -> None:
        """Begin anew, empty, whatever the file holds; the exclusive lock is held.

        Raises `Unusable` when its name means another file by now: that one's lock is
        not ours, and to write there would mix two processes' tables.
        """
        if self.path:
            self.connection.close()
            os.ftruncate(self._descriptor, 0)
        self.connection = self._connected()
        if self.path and not _is_named(self.path, self._descriptor):
            raise Unusable(f"{self.path} was replaced")
        self._create()

    def _write_plainly(self) -> None:
        """No side files and no waiting for the disk: what is lost is made anew."""
        self.connection.execute("PRAGMA synchronous=OFF")
        self.connection.execute("PRAGMA journal_mode=MEMORY")

    def _create(self) -> None:
        self._write_plainly()
        self.connection.executescript(schema.TABLES)
        self.connection.execute("INSERT INTO meta VALUES('boot', ?)", (boot_id(),))

    def lock(self, exclusive: bool) -> None:
        """Change the lock that this connection holds; waits in the kernel."""
        if self.path:
            mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
            store.flock_within(self._descriptor, mode, LOCK_WAIT_S, self.path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """One transaction, marked dirty around it; the exclusive lock is held.

        Anything but a kill undoes it and takes the mark away again.
        """
        self._write_plainly()
        before = self._version()
        self.connection.execute(f"PRAGMA user_version={schema.DIRTY}")
        try:
            self.connection.execute("BEGIN")
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            self.connection.execute(f"PRAGMA user_version={before}")
            raise
        self.connection.execute(f"PRAGMA user_version={schema.FORMAT}")

    def close(self) -> None:
        """Close the connection, then let the lock go."""
        self.connection.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def on_disk(local: str) -> Database:
    """Open the index file with a shared lock; raises `Unusable` where that fails."""
    path = os.path.join(local, NAME)
    for _ in range(5):
        try:
            os.makedirs(local, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise Unusable(str(error)) from error
        database = _opened(path, descriptor)
        if database is not None:
            return database
    raise Unusable(f"{path} keeps changing")


def _opened(path: str, descriptor: int) -> Database | None:
    """The database of the locked file; None when the name now means another file."""
    database = None
    try:
        store.flock_within(descriptor, fcntl.LOCK_SH, LOCK_WAIT_S, path)
        database = Database(path, descriptor)
        if _is_named(path, descriptor):
            return database
    except (OSError, sqlite3.Error, Refusal) as error:
        _discard(database, descriptor)
        if isinstance(error, FileNotFoundError):
            return None
        raise Unusable(str(error)) from error
    _discard(database, descriptor)
    return None


def _is_named(path: str, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    return False


def _discard(database: Database | None, descriptor: int) -> None:
    if database is not None:
        database.close()
    else:
        os.close(descriptor)


def in_memory() -> Database:
    """An index that lives as long as this process."""
    return Database("", -1)
