"""Small files that are there whole or not at all, also when the power fails.

It needs nothing but the standard library.
"""

import os

from coord.edge.run.output import write_all


def write_synced(path: str, data: bytes) -> None:
    """Write a file whole; when this returns it is on disk."""
    aside = f"{path}.new"
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(aside, path)
    sync_folder(os.path.dirname(path))


def mark(path: str) -> None:
    """Have an empty file there; when this returns it is on disk."""
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666))
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Wait until the disk has the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def first_line(path: str) -> str:
    """What a small file begins with."""
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.readline().strip()
