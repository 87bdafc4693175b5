"""A small process that forks shims for a worker: to fork a small one costs a fifth.

    worker to nursery    the length of what follows and the attempt's lock, as a descriptor;
                         then {folder, spec, environment} as JSON
    nursery to worker    the pid of the shim

It has nothing of the worker's, and ends with it: shims go on. When it dies in the middle of
a request, nobody knows whether the shim was forked; then the attempt's lock tells, as after
the death of a worker. It needs nothing but the standard library.
"""

import contextlib
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Mapping
from typing import Any

from coord.edge.run import shim

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
    # Nobody waits for the shims: who watches one holds a descriptor of it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as worker:
        while True:
            head, locks, _, _ = socket.recv_fds(worker, _NUMBER.size, 1)
            if not locks:
                return
            head += _exactly(worker, _NUMBER.size - len(head))
            told = json.loads(_exactly(worker, _NUMBER.unpack(head)[0]))
            pid = os.fork()
            if not pid:
                _become_shim(told, locks[0])
            os.close(locks[0])
            worker.sendall(_NUMBER.pack(pid))


def _become_shim(told: Mapping[str, Any], lock: int) -> None:
    try:
        shim.run(told["folder"], lock, told["spec"], told["environment"])
    finally:
        os._exit(0)
