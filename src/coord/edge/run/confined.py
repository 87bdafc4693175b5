"""One command in its sandbox, as its shim sees it: begun, told apart from it, cleared away.

In bubblewrap the command is a grandchild: what is the sandbox's own is spared when the tree
is asked to end, and how the command has ended is read from `edge.run.inside`.
It needs nothing but the standard library.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from coord.core.run import sandbox as plans
from coord.edge.run import inside, quarantine, sandbox
from coord.edge.run.workspace import Workspace


class Refused(Exception):
    """The sandbox that is asked for does not work here: nothing is executed without it."""


class Confined:
    """The sandbox of one attempt."""

    def __init__(
        self,
        folder: str,
        told: Mapping[str, Any],
        cwd: str,
        environment: Mapping[str, str],
        secret_files: Sequence[str],
        found: Workspace | None,
    ) -> None:
        """Plan it and note the plan; raises `Refused`, and `Unfit` for the workspace."""
        if "refused" in told:
            raise Refused(told["refused"])
        self._git: Mapping[str, str] = {}
        if found is not None:
            own, self._git = quarantine.laid_out(found)
            shared = [os.path.join(own, name) for name in quarantine.SHARED]
            told = {**told, "top": found.path, "git_writes": [own], "guarded": shared}
        try:
            self._plan = sandbox.planned(told, cwd, environment, secret_files)
        except sandbox.Outside as error:
            raise Refused(str(error)) from error
        self._cwd, self._home = os.path.realpath(cwd), environment.get("HOME", "")
        self._private = os.path.join(folder, sandbox.PRIVATE)
        self._status = -1
        sandbox.note(folder, self._plan)

    @property
    def is_apart(self) -> bool:
        """Whether the command is not the shim's own child."""
        return self._plan.by == plans.BWRAP

    def environment(self, given: Mapping[str, str]) -> dict[str, str]:
        """What the command finds in its environment."""
        given = {**given, **self._git}
        if self.is_apart:
            return given
        settings = os.path.join(self._home, ".gitconfig")
        more = {"GIT_CONFIG_GLOBAL": settings} if os.path.exists(settings) else {}
        return {**given, "HOME": self._private, "TMPDIR": self._private, **more}

    def enter(self, words: Sequence[str], failed: int) -> list[str]:
        """In the fork that becomes the command: bind it; the words to execute.

        failed: where it is told why the command could not be executed.
        """
        if self.is_apart:
            os.set_inheritable(failed, True)
            return sandbox.words(self._plan, self._cwd, self._home, failed, words)
        os.makedirs(self._private, mode=0o700, exist_ok=True)
        sandbox.enforce(self._plan, self._private)
        return [*words]

    def fault(self, failing: int) -> str:
        """Wait until the command has begun; why it has not, or ""."""
        found = os.read(failing, 4096)
        if not self.is_apart or not found:
            os.close(failing)
            nothing = "the sandbox ended before the command began; its log tells why"
            return found.decode(errors="replace") or (nothing if self.is_apart else "")
        if not found.startswith(inside.STARTED):
            os.close(failing)
            return found.decode(errors="replace")
        self._status = failing
        self._told = found[len(inside.STARTED) :]
        return ""

    def status(self, status: int) -> int:
        """How the command ended, as a wait status, from that of the shim's own child."""
        if self._status < 0:
            return status
        while data := os.read(self._status, 4096):
            self._told += data
        os.close(self._status)
        self._status = -1
        # Without a word it was killed together with its sandbox.
        return int(self._told) if self._told.endswith(b"\n") else status

    def clear(self) -> None:
        """Remove what was there for the command alone."""
        shutil.rmtree(self._private, ignore_errors=True)
