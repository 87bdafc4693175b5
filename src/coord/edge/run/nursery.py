"""A small process that forks shims for a worker: to fork a small one costs a fifth.

    worker to nursery    the length of what follows and the attempt's lock, as a descriptor;
                         then {folder, spec, environment} as JSON
    nursery to worker    the pid of the shim

It has nothing of the worker's. It is the guard of its shims, and stays as long as one of them
lives; without any it ends with the worker. When it dies in the middle of
a request, nobody knows whether the shim was forked; then the attempt's lock tells, as after
the death of a worker. It needs nothing but the standard library.
"""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

from coord.edge.run.guard import Guard

_NUMBER = struct.Struct("!Q")
_SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(__file__))))
_PROGRAM = (
    "import sys; sys.path.insert(0, sys.argv[1]);"
    " from coord.edge.run import nursery; nursery.serve(int(sys.argv[2]))"
)


class Gone(Exception):
    """The nursery has died."""


class Nursery:
    """The worker's end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair()
        words = [sys.executable, "-I", "-S", "-c", _PROGRAM, _SOURCE, str(theirs.fileno())]
        os.set_inheritable(theirs.fileno(), True)
        self.pid = os.posix_spawn(words[0], words, dict(environment))
        theirs.close()
        self._socket = ours

    def start(
        self, folder: str, lock: int, spec: Mapping[str, Any], environment: Mapping[str, str]
    ) -> int:
        """Start the shim of an attempt and answer its pid; the lock is its own from then on.

        Raises `Gone`: then it may have been started, or not.
        """
        told = {"folder": folder, "spec": spec, "environment": dict(environment)}
        data = json.dumps(told).encode(errors="surrogateescape")
        try:
            socket.send_fds(self._socket, [_NUMBER.pack(len(data))], [lock])
            self._socket.sendall(data)
            (pid,) = _NUMBER.unpack(_exactly(self._socket, _NUMBER.size))
        except (OSError, EOFError) as error:
            raise Gone(str(error)) from error
        finally:
            os.close(lock)
        return int(pid)

    def close(self) -> None:
        """Let it end."""
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def serve(descriptor: int) -> None:
    """Fork shims until the worker has gone."""
    os.setsid()
    # Whoever reads what the worker prints is not to wait for us.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    woken, waking = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, _do_nothing)
    signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
    guard, poll = Guard(), select.poll()
    poll.register(woken, select.POLLIN)
    with socket.socket(fileno=descriptor) as worker:
        poll.register(worker, select.POLLIN)
        has_worker = True
        while has_worker or guard:
            ready = [number for number, _ in poll.poll()]
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(woken, 4096)
                guard.reap()
            if worker.fileno() in ready:
                has_worker = _served(worker, guard)
                if not has_worker:
                    poll.unregister(worker)
                    # It may live and wait for an answer that will not come.
                    worker.close()


def _served(worker: socket.socket, guard: Guard) -> bool:
    """Do what the worker asks; whether it is still there."""
    locks: list[int] = []
    pid = 0
    try:
        head, locks, _, _ = socket.recv_fds(worker, _NUMBER.size, 1)
        if not locks:
            return False
        # One that came this way would be the command's too.
        os.set_inheritable(locks[0], False)
        head += _exactly(worker, _NUMBER.size - len(head))
        told = json.loads(_exactly(worker, _NUMBER.unpack(head)[0]))
        pid = guard.start(told["folder"], locks[0], told["spec"], told["environment"])
        worker.sendall(_NUMBER.pack(pid))
    except (OSError, EOFError):
        # A lock is the guard's own from when on it has a shim, though nobody hears of that.
        for lock in () if pid else locks:
            os.close(lock)
        return False
    return True


def _do_nothing(_signal: int, _frame: object) -> None:
    """A handler of Python's, so that a child's death wakes the poll."""
