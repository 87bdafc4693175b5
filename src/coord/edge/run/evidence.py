"""What a round of a loop has left behind, as a digest: files and the states of work items.

Files are hashed as git would commit all of them, those it does not track included and
those it ignores left out; with an index and a store of objects of our own, aside, so that
neither the user's index nor their repository changes. Our own journals are left out, and
of items only counts what is done to them: who talks about an item, or goes on holding it,
has not moved it.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator

from coord.core import digest
from coord.edge import git, journal
from coord.edge.index import Index
from coord.edge.store import Place

_OF_ITEM = ("status", "resolution", "acceptance", "submission", "links", "title", "assignee")
# What is thrown away need not be on disk.
_HASTY = ("-c", "core.fsync=none")
# In two steps: git refuses to leave out what it ignores, and only there journals are not.
_TAKING = (
    (*_HASTY, "add", "--all", "--", "."),
    (*_HASTY, "rm", "-r", "--quiet", "--cached", "--ignore-unmatch", "--", ":(top).coord"),
)


class Files:
    """The files of a working tree; what was hashed before is not read again.

    aside: a folder for git's index and objects.
    """

    def __init__(self, place: Place, top: str, aside: str) -> None:
        self._place, self._top, self._aside = place, top, aside

    def digest(self) -> str:
        """The tree that git would commit; "" when it cannot tell, or there is no git."""
        if not (self._place.git_dir and self._top):
            return ""
        objects = os.path.join(self._aside, "objects")
        os.makedirs(objects, exist_ok=True)
        variables = {
            "GIT_WORK_TREE": self._top,
            "GIT_INDEX_FILE": os.path.join(self._aside, "index"),
            "GIT_OBJECT_DIRECTORY": objects,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.path.join(self._place.git_dir, "objects"),
        }
        asking = git.Repository(self._place.git_dir, self._top, variables=variables)
        for words in _TAKING:
            if asking(*words).status:
                return ""
        answer = asking(*_HASTY, "write-tree")
        return "" if answer.status else answer.out.decode().strip()


@contextlib.contextmanager
def files(place: Place, top: str) -> Iterator[Files]:
    """The files of a working tree, with a folder aside as long as it is entered."""
    with tempfile.TemporaryDirectory(prefix="coord-loop-", ignore_cleanup_errors=True) as aside:
        yield Files(place, top, aside)


def of_items(known: Index) -> str:
    """A digest of where all work items stand."""
    found = digest.sha256(b"")
    for name, state in _items(known):
        told = {field: state[field] for field in _OF_ITEM if field in state}
        found.update(journal.as_json([name, told]))
    return str(found.hexdigest())


def _items(known: Index) -> Iterable[tuple[str, dict[str, object]]]:
    rows = known.connection.execute(
        "SELECT name, state FROM entity WHERE name >= 'work/' AND name < 'work0' ORDER BY name"
    )
    for name, state in rows:
        if state is not None:
            yield name, journal.from_json(state)
