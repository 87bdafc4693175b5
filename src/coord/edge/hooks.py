"""Git's hooks on disk: where git looks for them, and our block in them.

A hook is written in place, so that its owner, its rights and a link to it stay.
"""

import contextlib
import os
import stat
from typing import NamedTuple

from coord.core import hook
from coord.edge import git
from coord.edge.store import refusing_disk_errors
from coord.errors import Refusal

_EXECUTABLE = 0o755


class Done(NamedTuple):
    """Where the hook is, and whether anything changed."""

    path: str
    changed: bool


def install(name: str, folder: str) -> Done:
    """Put our block into a hook, or make the hook; harmless where it is.

    Refusals: no_repository, exists, read_only.
    """
    path = _path(name, folder)
    before = _read(path)
    if before is not None and not os.stat(path).st_mode & stat.S_IXUSR:
        text = f"{path} is there but not executable, so git does not run it"
        raise Refusal("exists", text, "make it executable, or move it away")
    if before is None:
        in_new_folder = not os.path.isdir(os.path.dirname(path))
        _write(path, hook.made(name, in_new_folder))
        os.chmod(path, _EXECUTABLE)
        return Done(path, True)
    after = hook.installed(before, name)
    if after != before:
        _write(path, after)
    return Done(path, after != before)


def uninstall(name: str, folder: str) -> Done:
    """Take our block out again, and the hook if nothing else is in it."""
    path = _path(name, folder)
    before = _read(path)
    if before is None:
        return Done(path, False)
    after, note = hook.removed(before, name)
    if after is None:
        _unlink(path, with_folder=note == hook.NEW_FOLDER)
    elif after != before:
        _write(path, after)
    return Done(path, after != before)


def _unlink(path: str, with_folder: bool) -> None:
    with refusing_disk_errors(path):
        os.unlink(path)
    if with_folder:
        # Unless somebody has put something else there.
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(path))


def _path(name: str, folder: str) -> str:
    path = git.hook_path(name, folder)
    if not path:
        raise Refusal("no_repository", f"{folder} is not inside a git repository")
    return os.path.normpath(path)


def _read(path: str) -> bytes | None:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as stream:
        return stream.read()
    return None


def _write(path: str, data: bytes) -> None:
    with refusing_disk_errors(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(data)
