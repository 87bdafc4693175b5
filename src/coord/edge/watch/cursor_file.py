"""A cursor kept in a file, so that a restarted reader goes on where it was.

Rules: the file is replaced as a whole, and is on disk before the next batch is asked
for; whoever dies in between gets the last batch again.
"""

import os

from coord.core import ev
from coord.edge import journal
from coord.edge.store import refusing_disk_errors
from coord.errors import Refusal


class CursorFile:
    """The file that `--cursor-file` names."""

    def __init__(self, path: str) -> None:
        # A link stays a link: what it points to is replaced.
        self.path = os.path.realpath(path)

    def load(self) -> dict[str, int] | None:
        """The cursor that was saved, None when there is no file yet.

        Refusals: no_file when its folder is missing, bad_data when it holds no cursor.
        """
        folder = os.path.dirname(self.path)
        if not os.path.isdir(folder):
            raise Refusal("no_file", f"there is no folder {folder}", "make it first")
        try:
            with open(self.path, encoding="utf-8", errors="replace") as stream:
                text = stream.read()
        except FileNotFoundError:
            return None
        cursor = parsed(text)
        if cursor is None:
            hint = "remove it to begin where --since says"
            raise Refusal("bad_data", f"{self.path} holds no cursor", hint)
        return cursor

    def save(self, cursor: ev.Cursor) -> None:
        """Keep a cursor; a reader sees the old file or the new one.

        Refusals: read_only, disk.
        """
        temporary = f"{self.path}.new"
        with refusing_disk_errors(self.path):
            with open(temporary, "wb") as stream:
                stream.write(journal.encode(dict(sorted(cursor.items()))) + b"\n")
                stream.flush()
                os.fdatasync(stream.fileno())
            os.replace(temporary, self.path)


def parsed(text: str) -> dict[str, int] | None:
    """The cursor that a text is in JSON; None when it is none."""
    import json

    try:
        return ev.as_cursor(json.loads(text))
    except ValueError:
        return None
