"""Under which name this clone writes.

A writer is `<agent-slug>.<replica>`: the replica is six random characters, bound to
the machine and the real path, so that a copied clone notices and mints its own; in
inline mode to the branch as well. It is kept in `local/replica`; when that is gone a
new one is minted, and every hold acquired up to then counts as possibly this host's
(`adopted`), for its holder was promised the host.
"""

import contextlib
import os
from collections.abc import Iterable
from typing import Any

from coord.core import digest
from coord.core import event as events
from coord.edge import git, journal, store
from coord.edge.clock import Chance
from coord.edge.store import Place

NAME = "replica"
_MACHINE_ID = "/etc/machine-id"
_TRIES = 10


class Replica:
    """This clone's replica names; the store's lock is held."""

    def __init__(self, place: Place, newest: str) -> None:
        self._place = place
        self._path = os.path.join(place.local, NAME)
        self._branch = _branch(place) if place.is_inline else ""
        self._head = git.head(place.tree).get("commit", "") if place.is_inline else ""
        self._kept = self._load(newest)

    @property
    def _binding(self) -> dict[str, str]:
        return {"host": _host(), "path": self._place.store}

    def _load(self, newest: str) -> dict[str, Any]:
        try:
            with open(self._path, "rb") as stream:
                kept = journal.from_json(stream.read())
        except (OSError, ValueError):
            kept = None
        gone = {**self._binding, "current": {}, "ours": [], "tips": {}, "adopted": newest}
        if not isinstance(kept, dict) or kept.keys() != gone.keys():
            return gone
        if {key: kept[key] for key in self._binding} == self._binding:
            return kept
        # A copy of another clone: its journals are not ours to continue. Where that one
        # is no longer there it was moved, and its holders were promised this host.
        was_moved = kept["host"] == gone["host"] and not os.path.exists(kept["path"])
        return gone if was_moved else {**gone, "adopted": ""}

    def writer(self, agent_id: str, chance: Chance) -> str:
        """The writer name of an agent here."""
        if self._branch not in self._kept["current"]:
            self.renew(chance)
        return f"{events.slug(agent_id)}.{self._kept['current'][self._branch]}"

    def renew(self, chance: Chance) -> None:
        """Go on under a new replica."""
        name = chance.name(6)
        self._kept["current"][self._branch] = name
        self._kept["ours"].append(name)
        self.save()

    def is_ours(self, event_id: str, writers: Iterable[str]) -> bool:
        """Whether an event was written in this store, as far as can be known.

        writers: whose journals hold it; one event may stand in several.
        """
        return event_id <= self._kept["adopted"] or any(map(self.owns, writers))

    def owns(self, writer: str) -> bool:
        """Whether a writer's name is one of this clone's."""
        return writer.rpartition(".")[2] in self._kept["ours"]

    def is_current(self, writer: str) -> bool:
        """Whether this clone writes under this name's replica, on whatever branch."""
        return writer.rpartition(".")[2] in self._kept["current"].values()

    def name_of(self, writer: str, chance: Chance) -> str:
        """What the agent of a writer name of ours is called now."""
        if self._branch not in self._kept["current"]:
            self.renew(chance)
        return f"{writer.rpartition('.')[0]}.{self._kept['current'][self._branch]}"

    def ended_as_written(self, journal: str, seq: int, digest: str) -> bool:
        """Whether a journal ends as this clone last wrote it (inline mode).

        Plain git moves the files there: `stash`, `reset` and a switch of branches
        can take lines away, and to write on would give two lines one number.
        """
        if not self._place.is_inline or journal not in self._kept["tips"]:
            return True
        return bool(self._kept["tips"][journal][:2] == [seq, digest])

    def is_committed(self, journal: str) -> bool:
        """Whether a journal's newest segment may be part of a commit (inline mode).

        Such a file never changes again, not even by the newline that its last line may
        lack: then all versions of it that any branch or clone has are equal, and no merge
        of whatever history can conflict in it.
        """
        return self._place.is_inline and self._kept["tips"].get(journal, [])[2:] != [self._head]

    def may_finish(self, torn: journal.Segment) -> bool:
        """Whether a segment's last line may get the newline that it lacks."""
        if not self.owns(torn.writer):
            return False
        if not self._place.is_inline:
            return True
        newest = journal.segments_of(self._place.store, torn.tool, torn.writer)[-1]
        name = f"{torn.tool}/{torn.writer}"
        return newest.number == torn.number and not self.is_committed(name)

    def begins(self, journal: str) -> None:
        """Note that a segment is about to be begun, before its first line (inline mode).

        Who is stopped between that line and `wrote` must not begin the same segment a
        second time on a branch where git has taken the first one away.
        """
        if self.is_committed(journal):
            self._kept["tips"][journal] = []
            self.save()

    def wrote(self, journal: str, seq: int, digest: str) -> None:
        """Remember how a journal ends now (inline mode)."""
        if self._place.is_inline:
            self._kept["tips"][journal] = [seq, digest, self._head]
            self.save()

    def save(self) -> None:
        """Keep it; readers see the old file or the new one.

        `local/` may be removed between any two of these steps, so they are tried again;
        also within the making of a folder, which then says that it is there.
        """
        with store.refusing_disk_errors(self._path):
            for _ in range(_TRIES - 1):
                with contextlib.suppress(FileNotFoundError, FileExistsError):
                    return self._replace()
            return self._replace()

    def _replace(self) -> None:
        temporary = f"{self._path}.{os.getpid()}"
        os.makedirs(self._place.local, exist_ok=True)
        try:
            with open(temporary, "wb") as stream:
                stream.write(journal.as_json(self._kept))
            os.replace(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def home(place: Place) -> str:
    """What names this store, on this machine at this path, and tells none of both."""
    return digest.sha256(f"{_host()}\n{place.store}".encode()).hexdigest()[:16]


def _host() -> str:
    try:
        with open(_MACHINE_ID, encoding="ascii") as stream:
            return stream.read().strip() or os.uname().nodename
    except OSError:
        return os.uname().nodename


def _branch(place: Place) -> str:
    try:
        with open(os.path.join(place.git_dir, "HEAD"), encoding="utf-8") as stream:
            text = stream.read().strip()
    except OSError:
        return ""
    return text if text.startswith("ref:") else "detached"
