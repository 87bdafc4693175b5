"""Runs in a sandbox: what they try in vain, and what the record says of it.

Each rule holds for both mechanisms. Where the probe says that one does not work on this
machine, the same request has to be refused with the probe's own words.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coord.edge.run import sandbox, tree
from tests.conftest import until

ADA = "agent:ada"
# Other sessions of these tests on this machine have sleepers of their own.
SLEEPER = f"713.5{os.getpid()}"
KINDS = ("bwrap", "landlock")
FAULTS = {"bwrap": sandbox.bwrap_fault, "landlock": lambda: sandbox.landlock_fault(False)}
SECRET = "correct-horse-battery"


def newest(run: Any) -> dict[str, Any]:
    """The run that was asked for last, whole."""
    names = run.ok("run", "list", "--status", "all", "--quiet").out.split()
    return dict(run.ok("run", "show", names[0]).json)


class Boxed:
    """`boxed(line, options…)`: executes a shell line in this kind of sandbox."""

    def __init__(self, run: Any, kind: str) -> None:
        self.run, self.kind = run, kind
        self.attempt: dict[str, Any] = {}

    @property
    def fault(self) -> str:
        """What the probe says keeps this kind from working here."""
        return FAULTS[self.kind]()

    def __call__(self, line: str, *options: str, env: Any = None, cwd: Path | None = None) -> Any:
        words = ("exec", "--sandbox", self.kind, *options, "--shell", line)
        answer = self.run("run", *words, as_=ADA, env=env, cwd=cwd)
        row = newest(self.run)
        self.attempt = row["attempts"][-1]
        if self.fault:
            assert (answer.code, row["outcome"]) == (125, "refused")
            assert self.fault in self.attempt["reason"]
        else:
            assert self.attempt["sandbox"]["by"] == self.kind
        return answer


@pytest.fixture(params=KINDS)
def boxed(run: Any, store: Path, request: Any) -> Boxed:
    """A sandbox of each kind in turn."""
    return Boxed(run, request.param)


@pytest.fixture
def listener() -> Iterator[tuple[int, list[Any]]]:
    """A port of this machine, and who has reached it."""
    came: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accepting, args=(server, came), daemon=True)
        thread.start()
        yield server.getsockname()[1], came


def accepting(server: socket.socket, came: list[Any]) -> None:
    with contextlib.suppress(OSError):
        while True:
            came.append(server.accept())


def test_a_sandboxed_command_works_in_its_folder(boxed: Boxed, repo: Path):
    """It reads the tree, writes where it stands, has temporary files, and ends as it ends."""
    (repo / "given").write_text("read me\n")
    (repo / "sub").mkdir()
    line = (
        'cat ../given > made && t=$(mktemp) && echo x > "$t" && mkdir d && ! touch ../x && exit 7'
    )

    answer = boxed(line, cwd=repo / "sub")

    if not boxed.fault:
        assert answer.code == 7
        assert (repo / "sub/made").read_text() == "read me\n"
        assert boxed.attempt["sandbox"]["writes"] == [str(repo.resolve() / "sub")]
        assert boxed.attempt["sandbox"]["network"] is False


def test_beside_what_is_guarded_landlock_makes_nothing_new(boxed: Boxed, repo: Path):
    """Its rules only add: at the top of a tree it can change what is there, no more."""
    (repo / "given").write_text("before\n")

    boxed("echo after > given; touch new")

    if not boxed.fault:
        assert (repo / "given").read_text() == "after\n"
        assert (repo / "new").exists() == (boxed.kind == "bwrap")


@pytest.mark.parametrize(
    "line",
    [
        "echo x > {outside}/new",
        "echo x >> {outside}/there",
        "rm {outside}/there",
        "ln -s {outside}/there link && echo x >> link",
        "ln {outside}/there hard",
        "mv {outside}/there .",
        'echo x >> "{home}/.profile" && grep -q x "{home}/.profile" && exit 1',
        "echo x > .git/hooks/pre-commit",
        "rm -rf .git/hooks",
        "git config core.pager evil",
        "git update-ref refs/heads/other HEAD",
        "git -c user.name=x -c user.email=x@x commit --allow-empty -m x",
        "mv .git elsewhere",
        "echo x > .coord/config.yaml",
        "cat {home}/.netrc",
        "cat /proc/1/root/{home}/.netrc",
        "cat {outside}/there",
        "kill -0 {pid}",
        "cat /proc/{pid}/environ",
        'test -n "$DEPLOY_TOKEN"',
    ],
)
def test_what_a_sandboxed_command_may_not_do_fails_and_is_in_its_record(
    boxed: Boxed, repo: Path, tmp_path: Path, line: str
):
    """Nothing outside is changed or read, whatever the command thinks that it has done."""
    outside, home = tmp_path / "outside", tmp_path / "home"
    outside.mkdir()
    home.mkdir()
    for file in (outside / "there", home / ".netrc", home / ".profile"):
        file.write_text("before\n")
    before = snapshot(repo, outside, home)
    line = line.format(outside=outside, home=home, pid=os.getpid())

    answer = boxed(line, env={"HOME": str(home), "DEPLOY_TOKEN": SECRET})

    assert answer.code
    assert "before" not in answer.out
    assert SECRET not in answer.out
    assert snapshot(repo, outside, home) == before
    if not boxed.fault:
        assert boxed.attempt["outcome"] == "failed"
        assert boxed.attempt["exit_code"] > 0


def snapshot(repo: Path, *folders: Path) -> dict[str, bytes]:
    """What may not change: these folders, git's hooks, settings and refs."""
    git = repo / ".git"
    kept = [git / "config", git / "HEAD", *(git / "hooks").rglob("*"), *(git / "refs").rglob("*")]
    kept += [file for folder in folders for file in folder.rglob("*")]
    return {str(file): file.read_bytes() for file in kept if file.is_file()}


CONNECT = """
import socket, sys
for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))),
                        (socket.AF_UNIX, sys.argv[2]), (socket.AF_UNIX, "\\0" + sys.argv[3])):
    try:
        socket.socket(family).connect(address)
        print("reached", address)
    except OSError as error:
        print(error)
"""


def test_a_sandboxed_command_reaches_no_network(boxed: Boxed, tmp_path: Path, listener: Any):
    """Neither a port, nor a socket in a folder outside, nor one that has only a name."""
    port, came = listener
    path, name = tmp_path / "socket", f"coord-test-{os.getpid()}"
    (tmp_path / "connect.py").write_text(CONNECT)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        one.bind(str(path))
        two.bind(f"\0{name}")
        one.listen()
        two.listen()
        script = tmp_path / "connect.py"
        places = (str(script), sys.prefix, sys.base_prefix)
        words = [word for place in places for word in ("--read", place)]
        answer = boxed(f"{sys.executable} -I {script} {port} {path} {name}", *words)

    assert "reached" not in answer.out
    assert not came
    if not boxed.fault:
        assert len(answer.out.splitlines()) == 3, answer.err


def test_the_network_is_there_when_it_is_asked_for(boxed: Boxed, tmp_path: Path, listener: Any):
    port, came = listener
    line = f"exec 3<>/dev/tcp/127.0.0.1/{port}"

    answer = boxed(f'bash -c "{line}"', "--network")

    if not boxed.fault:
        assert answer.code == 0
        assert boxed.attempt["sandbox"]["network"] is True
        assert came


def test_a_secret_is_in_the_environment_and_nowhere_else(boxed: Boxed, repo: Path, store: Path):
    """Not its file, the journals, the log, the lines of other processes."""
    file = repo / "token"
    file.write_text(f"{SECRET}\n")
    line = (
        'test "$TOKEN" = ' + SECRET[:-1] + '"$(echo y)" && echo "it is $TOKEN"; cat token; ps axww'
    )

    answer = boxed(line, "--secret", f"TOKEN={file}", "--network")

    if not boxed.fault:
        assert f"it is {'*' * len(SECRET)}\n" in answer.out
    file.unlink()
    assert SECRET not in answer.out + answer.err
    whole = [path for path in store.rglob("*") if path.is_file()]
    assert not [path for path in whole if SECRET.encode() in path.read_bytes()]


def test_after_a_cancel_nothing_of_a_sandboxed_tree_lives(boxed: Boxed, run: Any):
    """What has cut itself loose ends too; what hears TERM has its grace."""
    loose = f"env -i setsid sleep {SLEEPER} & setsid sleep {SLEEPER} & wait"
    line = f"trap 'sleep 0.3; echo bye; exit 3' TERM; {loose}"
    process = run.start("run", "exec", "--sandbox", boxed.kind, "--shell", line, as_=ADA)
    if boxed.fault:
        process.communicate()
        return
    until(lambda: len(sleeping(SLEEPER)) == 2, "both sleep")
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()

    assert b"bye" in out or process.returncode == 130
    assert not sleeping(SLEEPER)
    row = newest(run)["attempts"][-1]
    assert row["outcome"] == "cancelled"
    assert row["exit_code"] == 3


COMMIT = "echo {0} > {0} && git add {0} && git commit --quiet -m {0}"


def test_a_sandboxed_command_commits_and_reaches_no_branch(run: Any, store: Path, repo: Path):
    """Its commit is kept by us, as git itself read it; refs and objects of others stay."""
    before = snapshot(repo)
    objects = sorted((repo / ".git/objects").rglob("*"))
    tries = (
        "git update-ref refs/heads/main HEAD", "git branch other", "git config a.b c",
        "echo x > $(git rev-parse --git-common-dir)/hooks/pre-commit",
        "rm -rf $(git rev-parse --git-common-dir)/objects/*",
        "echo /tmp > $(git rev-parse --git-dir)/commondir", "rm -f .git", "mv .git git",
        "git checkout --quiet main && git commit --quiet --allow-empty -m x",
    )  # fmt: skip
    line = "; ".join(["{ " + one + "; } && echo reached: '" + one + "'" for one in tries])

    answer = run(
        "run", "exec", "--sandbox", "bwrap", "--repo-ref", "main", "--shell",
        f"{COMMIT.format('made')} && {line}; git checkout --quiet --detach; exit 0", as_=ADA,
    )  # fmt: skip

    row = newest(run)
    if FAULTS["bwrap"]():
        assert row["outcome"] == "refused"
        return
    assert answer.code == 0, answer.err
    assert "reached" not in answer.out
    assert {path: data for path, data in snapshot(repo).items() if path in before} == before
    assert set(objects) <= set((repo / ".git/objects").rglob("*"))
    attempt = row["attempts"][-1]
    files = run.ok("git", "show", "--format=%s", "--name-only", attempt["commit"]).out.split()
    assert files == ["made", "made"]
    assert run.ok("git", "for-each-ref", "--format=%(refname)", "refs/heads").out.split() == [
        "refs/heads/main"
    ]
    assert run.ok("git", "fsck", "--strict").code == 0


def test_what_a_killed_shim_had_in_a_sandbox_ends(boxed: Boxed, store: Path):
    """Its guard ends what it has left, though it bears no sign of the run."""
    line = f"env -i setsid sleep {SLEEPER} & setsid sleep {SLEEPER} & wait"
    words = ("run", "exec", "--sandbox", boxed.kind, "--shell", line)
    process = boxed.run.start(*words, as_=ADA)
    if not boxed.fault:
        until(lambda: len(sleeping(SLEEPER)) == 2, "both sleep")
        [lock] = (store / "local/logs").glob("*/1/lock")
        os.kill(int(lock.read_text()), signal.SIGKILL)
    process.communicate(timeout=60)

    assert process.returncode == 125
    assert not sleeping(SLEEPER)
    assert newest(boxed.run)["outcome"] == ("refused" if boxed.fault else "lost")


def test_writes_are_limited_to_what_the_globs_allow(run: Any, store: Path, repo: Path):
    """By folders while it runs; what is finer is looked at afterwards."""
    (repo / "src").mkdir()
    (repo / "docs").mkdir()
    for name in ("src/a", "docs/b"):
        (repo / name).write_text("x\n")
    run.ok("git", "add", ".")
    run.ok("git", "commit", "--quiet", "-m", "files")
    words = ("--sandbox", "bwrap", "--repo-ref", "main", "--writes", "src/new/*.txt")
    line = "echo y >> src/a; echo y > src/c.txt; echo y >> docs/b || echo x > docs/c || exit 4"

    answer = run("run", "exec", *words, "--shell", line, as_=ADA)

    row = newest(run)
    if not FAULTS["bwrap"]():
        assert answer.err.count("Read-only file system") == 2
        assert row["outcome"] == "refused"
        [*writes] = row["attempts"][0]["sandbox"]["writes"]
        assert [path.rsplit("/", 1)[1] for path in writes] == ["src", "w1"]


def test_a_folder_that_leads_outside_is_not_written(boxed: Boxed, repo: Path, tmp_path: Path):
    """A link in the tree does not widen the sandbox, not even as the place to begin in."""
    (tmp_path / "outside").mkdir()
    (repo / "link").symlink_to(tmp_path / "outside")
    request = {"shell": "touch x", "cwd": "link", "sandbox": {"by": boxed.kind}}

    asked = boxed.run("run", "request", "-", as_=ADA, input=json.dumps(request))
    boxed.run("run", "poll", "--once", as_=ADA)

    assert asked.code == 0, asked.err
    row = newest(boxed.run)
    assert row["outcome"] == "refused"
    assert boxed.fault or "outside of the tree" in row["attempts"][0]["reason"]
    assert not [*(tmp_path / "outside").iterdir()]


def test_how_a_sandboxed_command_ends_is_told_exactly(boxed: Boxed):
    """A signal is no exit status, and what was never executed has none."""
    told = []
    for line in ("exit 137", "kill -9 $$", "exec nosuch", "exec /nosuch"):
        boxed(line)
        names = ("outcome", "exit_code", "signal")
        told.append([boxed.attempt.get(name) for name in names])

    if not boxed.fault:
        assert told == [
            ["failed", 137, None], ["signaled", None, 9], ["failed", 127, None],
            ["failed", 127, None],
        ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_executed_in_a_sandbox_is_no_failure_of_it(run: Any, store: Path, kind: str):
    answer = run("run", "exec", "--sandbox", kind, "--", "nosuch", as_=ADA)

    how = "refused" if FAULTS[kind]() else "infra_error"
    assert answer.code == 125
    assert newest(run)["outcome"] == how


def test_auto_takes_the_first_that_works_and_refuses_without_any(run: Any, store: Path):
    works = [kind for kind in KINDS if not FAULTS[kind]()]

    answer = run("run", "exec", "--sandbox", "auto", "--", "true", as_=ADA)

    row = newest(run)
    if works:
        assert answer.code == 0
        assert row["attempts"][0]["sandbox"]["by"] == works[0]
    else:
        assert (answer.code, row["outcome"]) == (125, "refused")


def test_without_bubblewrap_that_sandbox_is_refused(run: Any, store: Path, tmp_path: Path):
    """Nothing is executed outside of what was asked for."""
    (tmp_path / "bin").mkdir()
    for name in ("touch", "git", "sh"):
        (tmp_path / "bin" / name).symlink_to(f"/usr/bin/{name}")
    path = {"PATH": str(tmp_path / "bin")}

    answer = run("run", "exec", "--sandbox", "bwrap", "--", "touch", "x", as_=ADA, env=path)

    assert answer.code == 125
    assert "bubblewrap is not installed" in answer.err
    assert "--sandbox none" in answer.err
    assert not (run.folder / "x").exists()
    assert newest(run)["outcome"] == "refused"


def test_no_sandbox_is_recorded_too(run: Any, store: Path):
    """Whoever asked to go without can be found."""
    run.ok("run", "exec", "--sandbox", "none", "--", "true", as_=ADA)

    row = newest(run)
    assert row["attempts"][0]["sandbox"] == {"by": "none"}


def test_a_secret_by_descriptor(run: Any, store: Path):
    """`run exec` takes one; a request, which somebody else starts later, does not."""
    line = "exec 3<<<\"$SECRET\"; unset SECRET; {} --secret TOKEN=/dev/fd/3 --shell 'echo $TOKEN'"
    tool = run.command("run")[0]
    told = {"SECRET": SECRET}

    executed = run("bash", "-c", line.format(f"{tool} exec"), as_=ADA, env=told)
    requested = run("bash", "-c", line.format(f"{tool} request"), as_=ADA, env=told)

    assert executed.out == "*" * len(SECRET) + "\n"
    assert requested.code == 2


@pytest.mark.parametrize(("content", "says"), [("", "too short"), (None, "No such file")])
def test_without_its_secret_a_command_is_not_executed(
    run: Any, store: Path, content: str | None, says: str
):
    file = run.folder / "token"
    file.write_text(SECRET)
    words = ("--secret", f"TOKEN={file}", "--", "touch", "x")
    name = run.ok("run", "request", "--quiet", *words, as_=ADA).out.strip()
    file.unlink() if content is None else file.write_text(content)

    run("run", "poll", "--once", as_=ADA)

    row = run("run", "show", name, as_=ADA).json
    assert row["outcome"] == "infra_error"
    assert says in row["attempts"][0]["reason"]
    assert not (run.folder / "x").exists()


def test_a_long_log_keeps_both_ends(run: Any, store: Path):
    """What is gone is said in the log, the index and the record."""
    words = ("--log-cap", "64K", "--shell", "seq -w 1 100000")
    out = run("run", "exec", *words, as_=ADA)

    row = newest(run)
    name, logs = row["run_id"], row["attempts"][0]["logs"]
    start, end = logs["gap"]
    printed = run("run", "logs", name, as_=ADA).out
    whole = "".join(f"{number:06d}\n" for number in range(1, 100_001))
    assert out.code == 0
    assert logs["bytes"] == len(whole)
    note = f"\n[{end - start} bytes are not kept: {start} to {end}]\n"
    assert printed == whole[:start] + note + whole[end:]
    assert run("run", "logs", name, "--since", str(end), as_=ADA).out == whole[end:]
    assert len(whole) - (end - start) <= 64 << 10


def sleeping(word: str) -> list[int]:
    """The processes that live and have this word."""
    found = []
    for pid in tree.living():
        with contextlib.suppress(OSError):
            if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def test_the_probes_say_what_bubblewrap_itself_says():
    """A probe that never fails would be none."""
    installed = subprocess.run(["bash", "-c", "command -v bwrap"], capture_output=True)

    assert not installed.returncode or sandbox.bwrap_fault() == "bubblewrap is not installed"


def test_the_doctor_says_of_each_sandbox_what_the_probe_says(run: Any, store: Path):
    answer = run("run", "doctor", as_=ADA)

    found = {row["executor"]: row for row in answer.lines if row["check"] == "sandbox"}
    assert {kind: row["ok"] for kind, row in found.items()} == {
        kind: not FAULTS[kind]() for kind in KINDS
    }
    assert answer.code == (0 if any(row["ok"] for row in found.values()) else 1)
    assert not [*(store / "local/logs").glob("doctor*")]


def test_locks_are_not_taken_in_a_sandbox(run: Any, store: Path):
    """Who takes them writes the store, and nobody in a sandbox does."""
    answer = run("run", "exec", "--sandbox", "auto", "--lock", "env:a", "--", "true", as_=ADA)

    assert answer.code == 6
