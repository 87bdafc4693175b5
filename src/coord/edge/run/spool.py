"""The spool of attempts, `.coord/local/logs/RUN/ATTEMPT/`, and what is true about one.

    lock        held by the worker that claims the attempt, then by its shim; has its pid
    tree        held by the command and whatever it starts, as long as one of them lives
    begun       is there once the shim is about to execute the command
    exit.json   the exit record
    log, index  what was printed, and when
    control     wakes the shim; cancel says why
    until       until when, on the boot-time clock, a run of any clone was renewed for us

A process of the tree is known by the shim that it descends from. When the shim was killed
it is known by the lock `tree` that it holds, or by the folder in its environment; one that
has cleared its environment and closed what it inherited cannot be found then. It needs
nothing but the standard library.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from typing import Any

from coord.edge.run import shim, tree
from coord.edge.run.wake import Wake
from coord.errors import Refusal

FOLDER = "logs"
# Of an attempt at another host, as edge.run.near writes them.
HOST, UNREACHED, LEFT = "host.json", "unreached", "left.json"
# What the git remote decides for a clone, and the names of the notes of why it does not.
SCHEDULES, ANYWHERE = "cut_off_schedules", "cut_off_anywhere"
_END_S = 10.0
_LOOK_S = 0.02


def folder_of(local: str, run_id: str, attempt: int) -> str:
    """Where an attempt's files lie."""
    return os.path.join(local, FOLDER, run_id, str(attempt))


def take(folder: str) -> int | None:
    """Take the lock of an attempt; its descriptor, or None when somebody holds it."""
    os.makedirs(folder, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    descriptor = os.open(os.path.join(folder, shim.LOCK), flags, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def take_new(folder: str) -> int:
    """Take the lock of an attempt that nobody has claimed yet, and say who holds it.

    Whoever looks from the claim on finds it held: by us, then by the shim.
    """
    descriptor = take(folder)
    if descriptor is None or os.path.exists(os.path.join(folder, shim.BEGUN)):
        if descriptor is not None:
            os.close(descriptor)
        raise Refusal("exists", f"{folder} is of another attempt", "remove it: rm -r", path=folder)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    return descriptor


def is_alive(folder: str) -> bool:
    """Whether somebody holds the lock of an attempt."""
    return _is_held(os.path.join(folder, shim.LOCK))


def _is_held(path: str) -> bool:
    """Whether a lock is held; shared, so that those who only look do not see each other."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def exit_record(folder: str, lease_id: str) -> Mapping[str, Any] | None:
    """The exit record of the attempt that was claimed with this lease; None without one."""
    try:
        with open(os.path.join(folder, shim.EXIT), "rb") as stream:
            record = json.loads(stream.read())
    except (FileNotFoundError, ValueError):
        return None
    is_ours = isinstance(record, dict) and record.get("lease_id") == lease_id
    return record if is_ours else None


def pid_of(folder: str) -> int:
    """Who last held the attempt's lock; 0 when nobody has said so."""
    try:
        with open(os.path.join(folder, shim.LOCK), "rb") as stream:
            return int(stream.read() or 0)
    except (OSError, ValueError):
        return 0


def holder(folder: str) -> int:
    """A descriptor that becomes readable when whoever holds the attempt's lock dies; or -1."""
    pid = pid_of(folder)
    try:
        descriptor = os.pidfd_open(pid) if pid else -1
    except (OSError, AttributeError):
        return -1
    # The number may be another process's by now, unless the lock is held by whom it names.
    if descriptor >= 0 and not is_alive(folder):
        os.close(descriptor)
        return -1
    return descriptor


def cancel(folder: str, why: str) -> None:
    """Tell the shim of an attempt to end its tree; it may not have begun yet."""
    line = why.replace("\n", " ").encode() + b"\n"
    os.makedirs(folder, exist_ok=True)
    # Whole when it is there: a shim that begins just now reads it.
    path = os.path.join(folder, shim.CANCEL)
    with open(f"{path}.{os.getpid()}", "wb") as stream:
        stream.write(line)
    os.replace(stream.name, path)
    _tell(folder, line[:511].rstrip(b"\n") + b"\n")


def note_until(folder: str, boot_ms: int) -> None:
    """Let the shim of an attempt go on until then."""
    path = os.path.join(folder, shim.UNTIL)
    with open(f"{path}.new", "w", encoding="ascii") as stream:
        stream.write(f"{boot_ms}\n")
    os.replace(f"{path}.new", path)


def _tell(folder: str, line: bytes) -> None:
    """Write a line into a shim's control pipe."""
    # Nobody may be reading: then the shim is not there yet, or any more.
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(os.path.join(folder, shim.CONTROL), flags)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)


def feed(folder: str, source: int) -> None:
    """Copy what a descriptor gives into the command's stdin, and end that at its end."""
    with Wake([folder]) as wake:
        while not os.path.exists(os.path.join(folder, shim.STDIN)):
            if not is_alive(folder):
                return
            wake.wait()
    # It ends before that when nobody reads any more.
    with contextlib.suppress(OSError):
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
        target = os.open(os.path.join(folder, shim.STDIN), flags)
        os.set_blocking(target, True)
        while data := os.read(source, 1 << 16):
            left = memoryview(data)
            while left:
                left = left[os.write(target, left) :]
        os.close(target)
        _tell(folder, shim.END_OF_STDIN + b"\n")


def unreached(folder: str) -> str:
    """Why the host of an attempt is not reached now; "" where it is, or is this one."""
    return _text(os.path.join(folder, UNREACHED))


def note_cut_off(local: str, sort: str, text: str) -> None:
    """Remember why the remote decides nothing for this clone; "" for that it does again."""
    path = os.path.join(local, sort)
    if text:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(text)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def cut_off(local: str, sort: str) -> str:
    """Why the remote did not decide when this clone last asked for such a run; "" when it did."""
    return _text(os.path.join(local, sort))


def _text(path: str) -> str:
    """What a small file says; "" where it is not there."""
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
    return ""


def _tree_is_held(folder: str) -> bool:
    return _is_held(os.path.join(folder, shim.TREE))


def _marked(folder: str) -> set[int]:
    """The living processes that bear a sign of an attempt, and what descends from them."""
    parents = tree.living()
    real = os.path.realpath(folder)
    mark, lock = os.fsencode(f"{shim.MARK}={real}"), os.path.join(real, shim.TREE)
    found = {pid for pid in parents if pid != os.getpid() and _bears(pid, mark, lock)}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def _bears(pid: int, mark: bytes, lock: str) -> bool:
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/environ", "rb") as stream:
            if mark in stream.read().split(b"\0"):
                return True
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") == lock:
                    return True
    return False


def end_tree(folder: str) -> bool:
    """Kill what a dead shim has left behind; answer whether nothing is left."""
    ends_at = time.monotonic() + _END_S
    while time.monotonic() < ends_at:
        found = _marked(folder)
        if not found and not _tree_is_held(folder):
            return True
        tree.kill(found)
        time.sleep(_LOOK_S)
    return False


def tree_lives(folder: str) -> bool:
    """Whether something of an attempt's tree still bears a sign of it."""
    has_begun = os.path.exists(os.path.join(folder, shim.BEGUN))
    return _tree_is_held(folder) or (has_begun and bool(_marked(folder)))
