"""A share of a load, folded by a second process where there is a processor for it.

Both processes read all lines and number all entities alike; agents and settings are
folded by both, for every event reads them, and each work item by one of the two. The
helper folds into an index in memory and at the end sends its tables' rows, in lumps of
`marshal` with their sizes before them. Whatever goes wrong there is `Changed` here, and
then the index is built without help.
"""

import contextlib
import marshal
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, Any

from coord.edge.index.reading import Changed
from coord.edge.journal import Segment

# Of eight items. The rest goes to the helper: the other writes the rows of all events.
OURS = (True, True, True, False, False, False, False, False)
HELPERS = tuple(not ours for ours in OURS)
EVERYTHING = (True,) * 8
# Below this the helper's start costs more than it gives.
WORTH_BYTES = 48 << 20
_LUMP = 5000
_SIZE_BYTES = 8


def is_worth(segments: Sequence[Segment]) -> bool:
    """Whether a load of these segments is long enough to be shared."""
    if not sys.executable or (os.cpu_count() or 1) < 2:
        return False
    return sum(segment.size for segment in segments) >= WORTH_BYTES


class Helper:
    """The second process, as the one that loads sees it."""

    def __init__(self, folder: str, horizon: str, segments: Sequence[Segment]) -> None:
        import subprocess

        # -P: a file of the folder we stand in must not pass for a module.
        command = [sys.executable, "-P", "-m", "coord.edge.index.sharing"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin is not None
        asked = (folder, horizon, [tuple(segment) for segment in segments])
        # One that is dead already shows when its rows do not come.
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(marshal.dumps(asked))
            self._process.stdin.close()

    def rows(self) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """The rows of its share, table by table; raises `Changed` when not all come."""
        assert self._process.stdout is not None
        while True:
            size = int.from_bytes(self._process.stdout.read(_SIZE_BYTES), "big")
            lump = self._process.stdout.read(size)
            if not lump or len(lump) < size:
                raise Changed("the helper ended before its share was done")
            table, rows = marshal.loads(lump)
            if not table:
                return
            yield table, rows

    def stop(self) -> None:
        """End it, whatever it is doing."""
        assert self._process.stdout is not None
        self._process.kill()
        self._process.stdout.close()
        self._process.wait()


def main() -> None:
    """The helper: fold the share that is asked for on stdin, send its rows to stdout."""
    import gc

    from coord.edge.index import Index, database
    from coord.edge.index.loading import Share

    gc.disable()
    folder, horizon, listed = marshal.loads(sys.stdin.buffer.read())
    known = Index(folder, database.in_memory())
    known.connection.execute("BEGIN")
    share = Share(known, horizon)
    share.fold_share([Segment(*segment) for segment in listed])
    for table, rows in share.tables(_LUMP):
        _send(sys.stdout.buffer, table, rows)
    _send(sys.stdout.buffer, "", [])


def _send(pipe: IO[bytes], table: str, rows: list[tuple[Any, ...]]) -> None:
    lump = marshal.dumps((table, rows))
    pipe.write(len(lump).to_bytes(_SIZE_BYTES, "big") + lump)
    pipe.flush()


if __name__ == "__main__":
    main()
