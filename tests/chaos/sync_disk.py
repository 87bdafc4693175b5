"""A small disk for one clone, which can be filled to the last byte."""

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

SIZE = "192m"
_FILLER = "filler"


@contextlib.contextmanager
def small(folder: Path, wanted: bool = True) -> Iterator[None]:
    """Mount a small file system where a folder is to be, if this process may.

    When the block fails, what is on it is kept beside it, as `NAME.kept`.
    """
    if not (wanted and _mounted(folder)):
        yield
        return
    try:
        yield
    except BaseException:
        shutil.copytree(folder, folder.with_name(f"{folder.name}.kept"), symlinks=True)
        raise
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False)


def _mounted(folder: Path) -> bool:
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder]
    try:
        done = subprocess.run(words, capture_output=True)
    except FileNotFoundError:
        return False
    if done.returncode:
        folder.rmdir()
    return not done.returncode


def is_small(folder: Path) -> bool:
    """Whether a folder is such a disk."""
    return os.path.ismount(folder)


def fill(folder: Path, chance: random.Random) -> bool:
    """Leave next to nothing of a disk for a moment; whether it was filled."""
    path = folder / ".git" / _FILLER
    left = chance.choice([0, 0, 4096, 65_536, 1 << 20])
    disk = os.statvfs(folder)
    size = disk.f_bavail * disk.f_frsize - left
    if size <= 0 or path.exists():
        return False
    try:
        with path.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
        time.sleep(chance.uniform(0.2, 1.5))
    except OSError:
        # Others have taken the space meanwhile: the disk is full, which is the point.
        return False
    finally:
        path.unlink(missing_ok=True)
    return True


def empty(folder: Path) -> None:
    """Give back what a filler may still hold."""
    (folder / ".git" / _FILLER).unlink(missing_ok=True)
