"""Who executes a step right now: two locks of the kernel, in `.coord/local/logs/RUN/steps/`.

    NAME.turn   held by the process that judges, executes and records the step, so that
                whoever asks for it at the same time waits, and then is told the result
    NAME.tree   held by the step's command and whatever it starts, so that a step whose
                process was killed is not taken for over while its command goes on

Names stand there as digests.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator

from coord.core import digest
from coord.edge import process, store
from coord.edge.run import spool
from coord.errors import Refusal


def folder_of(local: str, run_id: str) -> str:
    """Where the locks of a run's steps lie."""
    return os.path.join(local, spool.FOLDER, run_id, "steps")


@contextlib.contextmanager
def turn(folder: str, name: str) -> Iterator[int]:
    """Wait until nobody else executes this; entered, nobody else does.

    Yields a descriptor to be inherited by the command, which `wait_for_tree` has to lock.
    Refusals: wrong_state, when one waits for it inside itself.
    """
    lock, tree = _locks(folder, name)
    try:
        _take(lock, name)
        yield tree
    finally:
        os.close(tree)
        os.close(lock)


def refuse_running(folder: str, name: str) -> None:
    """Refuse to speak of a step's end while its process, or its command, still lives.

    Refusals: busy.
    """
    locks = _locks(folder, name)
    try:
        if not all(store.flock_now(lock, fcntl.LOCK_EX) for lock in locks):
            raise Refusal("busy", f"step {name} is being executed", "wait until it has ended")
    finally:
        for lock in locks:
            os.close(lock)


def _locks(folder: str, name: str) -> tuple[int, int]:
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, digest.sha256(name.encode()).hexdigest()[:16])
    return _opened(f"{path}.turn"), _opened(f"{path}.tree")


def _opened(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _take(lock: int, name: str) -> None:
    if not store.flock_now(lock, fcntl.LOCK_EX):
        holder = os.pread(lock, 32, 0).strip()
        if holder.isdigit() and int(holder) in process.ancestors():
            text = f"step {name} is asked for by its own command"
            raise Refusal("wrong_state", text, "give it another name")
        fcntl.flock(lock, fcntl.LOCK_EX)
    os.ftruncate(lock, 0)
    os.pwrite(lock, b"%d\n" % os.getpid(), 0)


def wait_for_tree(tree: int) -> None:
    """Wait until nothing lives of a command that was started under this lock, and take it."""
    fcntl.flock(tree, fcntl.LOCK_EX)
    os.set_inheritable(tree, True)


@contextlib.contextmanager
def alone(folder: str, name: str) -> Iterator[None]:
    """Be the only one who does this, or be refused at once.

    Refusals: busy.
    """
    os.makedirs(folder, exist_ok=True)
    lock = _opened(os.path.join(folder, name))
    try:
        if not store.flock_now(lock, fcntl.LOCK_EX):
            raise Refusal("busy", f"another {name} of it is under way", "wait until it has ended")
        yield
    finally:
        os.close(lock)
