"""The attempts of a store that a worker watches: what becomes readable when one of them ends.

Those whose shims it has started itself are its own; the others were somebody else's, or
belong to one that lives as well.
"""

import contextlib
import os
import select
from collections.abc import Iterable

from coord.edge.run import launch, spool


class Watched:
    """By run: the lease of the attempt, and a descriptor of the process that holds its lock."""

    def __init__(self) -> None:
        self._own: dict[str, int] = {}
        self._found: dict[str, tuple[str, int]] = {}

    @property
    def own(self) -> list[str]:
        """The runs whose shims we have started."""
        return [*self._own]

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when an attempt ends."""
        return [descriptor for _, descriptor in self._found.values()]

    def over(self) -> list[str]:
        """The runs whose shims have ended, as far as the kernel tells."""
        if not self._found:
            return []
        poll = select.poll()
        for descriptor in self.descriptors:
            poll.register(descriptor, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(0)}
        return [name for name, (_, descriptor) in self._found.items() if descriptor in ready]

    def start(self, run_id: str, lease_id: str, pid: int) -> None:
        """Watch a shim that we have started; pid 0 when nobody knows whether it was."""
        self._own[run_id] = pid
        # One that has ended already, or was perhaps not started, is found by its lock.
        with contextlib.suppress(ProcessLookupError):
            if pid:
                self._found[run_id] = (lease_id, os.pidfd_open(pid))

    def adopt(self, run_id: str, lease_id: str, folder: str) -> bool:
        """Watch whoever holds the lock of an attempt; whether the kernel lets us."""
        if self._found.get(run_id, ("", -1))[0] == lease_id and run_id in self._own:
            return True
        # Who holds it may have changed: first the worker does, then its shim.
        if run_id in self._found:
            os.close(self._found.pop(run_id)[1])
        descriptor = spool.holder(folder)
        if descriptor >= 0:
            self._found[run_id] = (lease_id, descriptor)
        return descriptor >= 0

    def keep(self, still_open: Iterable[str]) -> None:
        """Let go of all other runs."""
        for run_id in {*self._found, *self._own} - {*still_open}:
            self.let_go(run_id)

    def let_go(self, run_id: str) -> None:
        """Watch a run no longer."""
        if run_id in self._found:
            os.close(self._found.pop(run_id)[1])
        if run_id in self._own:
            launch.bury(self._own.pop(run_id))
