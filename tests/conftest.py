"""What every test may ask for: a repository, the installed tools, frozen time.

Rules: no test sees the developer's git settings or COORD_* environment, and none
changes them. A test that lacks something is skipped with a reason that begins with
"needs " (a program, a right) or "data: " (files that are not part of the project);
`--no-skips` lets only the latter pass.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# A slow machine is no bug: neither a slow example nor slow drawing fails a test.
hypothesis.settings.register_profile(
    "coord", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("coord")

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
DEADLINE_S = 120.0
# A Thursday morning in 2026, UTC: an instant that no clock of a test is near by chance.
FROZEN_MS = 1_767_258_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The first line of stdout, parsed."""
        return json.loads(self.out.split("\n")[0])

    @property
    def lines(self) -> list[Any]:
        """Every line of stdout, parsed."""
        # Not splitlines(): a text may hold other characters that end lines.
        return [json.loads(line) for line in self.out.split("\n") if line]

    @property
    def error(self) -> dict[str, Any]:
        """The object under `error` that a refusal prints on stderr."""
        for line in reversed(self.err.splitlines()):
            if line.startswith('{"error"'):
                return dict(json.loads(line)["error"])
        raise AssertionError(f"no error object on stderr: {self.err!r}")


class Runner:
    """Runs programs in one folder; a tool's name means the one that is installed here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        program: str,
        *arguments: str | Path,
        as_: str = "",
        cwd: Path | None = None,
        input: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Answer:
        """Run a command to its end.

        as_: the agent, given as COORD_AGENT.
        env: what is added to the environment.
        """
        data = input.encode() if isinstance(input, str) else input
        done = subprocess.run(
            self.command(program, *arguments),
            cwd=cwd or self.folder,
            env=self.environment(as_, env),
            input=b"" if data is None else data,
            capture_output=True,
            timeout=DEADLINE_S,
        )
        # A broken character must fail the assertion about it, not the runner.
        out, err = (text.decode(errors="backslashreplace") for text in (done.stdout, done.stderr))
        return Answer(done.returncode, out, err)

    def ok(self, program: str, *arguments: str | Path, **options: Any) -> Answer:
        """Run a command that has to succeed."""
        answer = self(program, *arguments, **options)
        assert answer.code == 0, f"{program} {arguments}: exit {answer.code}\n{answer.err}"
        return answer

    def start(
        self,
        program: str,
        *arguments: str | Path,
        as_: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[bytes]:
        """Start a command and leave it running; the test ends it."""
        return subprocess.Popen(
            self.command(program, *arguments),
            cwd=cwd or self.folder,
            env=self.environment(as_, env),
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    @staticmethod
    def command(program: str, *arguments: str | Path) -> list[str]:
        """The words to execute; an installed tool lies beside this Python."""
        installed = Path(sys.executable).parent / program
        return [str(installed) if installed.exists() else program, *map(str, arguments)]

    @staticmethod
    def environment(as_: str = "", extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """This process's environment, an agent, and what a test adds."""
        return {**os.environ, **({"COORD_AGENT": as_} if as_ else {}), **(extra or {})}


def until(condition: Callable[[], Any], what: str = "what is waited for", tries: int = 1200) -> Any:
    """Wait for something that another process does, by default for a minute; answers it."""
    for _ in range(tries):
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not in time: {what}")


def hold_up(process: "subprocess.Popen[bytes]") -> None:
    """Stop a process, as a busy machine does: from here on it waits for SIGCONT."""
    process.send_signal(signal.SIGSTOP)
    stat = Path(f"/proc/{process.pid}/stat")
    until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")


@pytest.fixture(scope="session", autouse=True)
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hide the developer's settings from every test and from all it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("COORD_", "GIT_", "XDG_")) or name == "NO_COLOR":
                patch.delenv(name)
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("LC_ALL", "C.UTF-8")
        patch.setenv("TZ", "UTC")
        yield


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """A git repository with one commit, its user known to it alone."""
    folder = tmp_path / "repo"
    folder.mkdir()
    _git(folder, "init", "--quiet", "--initial-branch=main")
    _git(folder, "config", "user.name", "Test")
    _git(folder, "config", "user.email", "test@example.invalid")
    _git(folder, "commit", "--quiet", "--allow-empty", "--message", "Begin")
    return folder


@pytest.fixture
def run(repo: Path) -> Runner:
    """A runner in `repo`, which has no store yet."""
    return Runner(repo)


@pytest.fixture
def store(run: Runner) -> Path:
    """The `.coord` folder of `repo`, made by `ev init`."""
    run.ok("ev", "init")
    return run.folder / ".coord"


def frozen_environment(now_ms: int = FROZEN_MS, seed: int | str = 1) -> dict[str, str]:
    """The environment in which a command's clock and chance stand still."""
    return {"COORD_NOW_MS": str(now_ms), "COORD_SEED": str(seed)}


@pytest.fixture
def frozen() -> Callable[..., dict[str, str]]:
    """`frozen(now_ms=…, seed=…)`, to be given to a runner as `env`."""
    return frozen_environment


def _need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")


@pytest.fixture
def need() -> Callable[..., None]:
    """`need("tmux")` skips the test where a program is missing."""
    return _need


@pytest.fixture(scope="session")
def beads_file() -> Path:
    """The real backlog, kept in Beads' format beside the project."""
    file = SHARED_DATA / "beads-issues.jsonl"
    if not file.exists():
        pytest.skip("data: ../shared/data/beads-issues.jsonl is not there")
    return file


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--no-skips",
        action="store_true",
        help='a skip is a failure, unless its reason begins with "data:"',
    )
    parser.addoption("--long", action="store_true", help="full sizes where tests have two")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--long"):
        hypothesis.settings.register_profile(
            "long", parent=hypothesis.settings.get_profile("coord"), max_examples=2000
        )
        hypothesis.settings.load_profile("long")


def _forbid_skip(config: pytest.Config, report: Any) -> None:
    """Turn a skip that is not allowed into a failure that names its reason."""
    if not (config.getoption("--no-skips") and report.skipped) or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    if not reason.removeprefix("Skipped: ").startswith("data:"):
        report.outcome = "failed"
        report.longrepr = f"a skip, and --no-skips was given: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    _forbid_skip(item.config, report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    report = yield
    _forbid_skip(collector.config, report)
    return report
