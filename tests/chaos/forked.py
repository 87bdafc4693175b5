"""Runs the installed tools' own entry points without starting Python for each.

One process has everything imported; each command is a child forked from it, with its
own words, folder, environment and streams, that ends as the command would. For tests
with very many commands; the others start the tools as users do.

    python tests/chaos/forked.py READ WRITE    requests and statuses on these descriptors
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.chaos.sync_clones import Clone, Ended, isolated

TOOLS = ("ev", "wk")


class Forks:
    """The process that forks, and what is asked of it."""

    def __init__(self) -> None:
        self._notes = tempfile.TemporaryDirectory(prefix="coord-forks-")
        self._folder = Path(self._notes.name)
        requests, self._requests = os.pipe()
        statuses, status = os.pipe()
        self._statuses = os.fdopen(statuses, "r")
        root = str(Path(__file__).resolve().parents[2])
        paths = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH", ""))))
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(requests), str(status)],
            pass_fds=(requests, status), env={**isolated(), "PYTHONPATH": paths},
        )  # fmt: skip
        os.close(requests)
        os.close(status)

    def run(self, words: list[str], cwd: Path, env: Mapping[str, str], data: bytes) -> Ended:
        """Run one command to its end."""
        (self._folder / "in").write_bytes(data)
        request = {"words": words, "cwd": str(cwd), "env": env, "streams": str(self._folder)}
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        code = int(self._statuses.readline())
        out, err = ((self._folder / x).read_bytes() for x in ("out", "err"))
        said = (text.decode(errors="backslashreplace") for text in (out, err))
        return Ended(code, *said)

    def close(self) -> None:
        """End the process; it ends by itself when its requests do."""
        os.close(self._requests)
        self._process.wait()
        self._statuses.close()
        self._notes.cleanup()


class ForkedClone(Clone):
    """A clone whose tools run as forks; its clock stands where the test puts it."""

    def __init__(self, name: str, folder: Path, forks: Forks, skew_ms: int = 0) -> None:
        super().__init__(name, folder, skew_ms)
        self.forks = forks
        self.wall_ms = 0
        self.calls = 0

    def now_ms(self) -> int:
        """What its clock shows."""
        return self.wall_ms + self.skew_ms

    def do(self, *words: str | Path, as_: str = "", now_ms: int = 0, **options: Any) -> Ended:
        """Run a tool as a fork, anything else as a process."""
        if words[0] not in TOOLS:
            return super().do(*words, as_=as_, now_ms=now_ms, **options)
        self.calls += 1
        env = {
            **self.environment(as_, now_ms),
            # A seed of its own for every call, the same in every run of a test.
            "COORD_SEED": f"{self.name}/{self.calls}",
        }
        return self.forks.run([str(x) for x in words], self.folder, env, options.get("data", b""))


def serve(requests: int, status: int) -> None:
    """Fork for every request; one line with its exit status answers it."""
    mains = {tool: importlib.import_module(f"coord.cli.{tool}").main for tool in TOOLS}
    for tool in TOOLS:
        package = importlib.import_module(f"coord.cli.{tool}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
    for line in os.fdopen(requests, "rb"):
        child = os.fork()
        if not child:
            os.close(status)
            _become(json.loads(line), mains)
        _, ended = os.waitpid(child, 0)
        os.write(status, b"%d\n" % os.waitstatus_to_exitcode(ended))


def _become(request: Mapping[str, Any], mains: Mapping[str, Any]) -> None:
    """Be the command; never returns."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, name in enumerate(("in", "out", "err")):
        path = os.path.join(request["streams"], name)
        os.dup2(os.open(path, flags if number else os.O_RDONLY, 0o600), number)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.argv = list(request["words"])
    code: Any = 70
    try:
        mains[request["words"][0]]()
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
