"""Putting a command into a sandbox: what works here, what the machine has, how it begins.

A mechanism is probed by executing something in it, once in a process. The plan is made by
`core.run.sandbox`; what it says is enforced before the command begins, or nothing is
executed. It needs nothing but the standard library.
"""

import contextlib
import functools
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from coord.core.run import sandbox as plans
from coord.core.run.sandbox import Place, Plan
from coord.edge.run import inside, landlock

# In the folder of an attempt: what was enforced; and its files while it lives.
ENFORCED, PRIVATE = "sandbox.json", "tmp"
_PROBE_S = 10.0
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty",
            "/dev/ptmx", "/dev/pts")  # fmt: skip
_GIT_SETTINGS = (".gitconfig", ".config/git/config", ".config/git/ignore", ".config/git/attributes")
_RESOLVER = "/run/systemd/resolve"


def wanted(asked: Mapping[str, Any], top: str, store: str, git_dir: str) -> dict[str, Any]:
    """What a shim has to know about a sandbox that a request asks for, or about why there is none.

    top, store, git_dir: of the tree in which the command is executed.
    """
    faults = {plans.BWRAP: "", plans.LANDLOCK: ""}
    network = asked.get("network", False)
    if asked["by"] in (plans.AUTO, plans.BWRAP):
        faults[plans.BWRAP] = bwrap_fault()
    if asked["by"] in (plans.AUTO, plans.LANDLOCK):
        faults[plans.LANDLOCK] = landlock_fault(network)
    by, refused = plans.chosen(asked["by"], faults)
    told = {"top": top, "store": store, "git_dir": git_dir, **asked}
    return {**told, "by": by} if by else {**told, "refused": refused}


@functools.cache
def bwrap_fault() -> str:
    """What keeps bubblewrap from working here; "" for nothing."""
    program = shutil.which("bwrap")
    if not program:
        return "bubblewrap is not installed"
    plan = Plan(plans.BWRAP, False, plans.SYSTEM, (), (), ())
    words = _bwrap(program, plan, "/", [])
    status, text = _tried(lambda: os.execv(program, [*words, "/bin/sh", "-c", "exit 0"]))
    return "" if status == 0 else text.strip()[:200] or f"it ends with {status}"


@functools.cache
def landlock_fault(network: bool) -> str:
    """What keeps Landlock from working here; "" for nothing."""
    found = landlock.fault(network)
    if found:
        return found
    status, text = _tried(lambda: landlock.enforce(["/"], [], network))
    return "" if status == 0 else text[:200] or f"it ends with {status}"


def _tried(action: Any) -> tuple[int, str]:
    """Do something in a child; its exit status and what it says on stderr."""
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os.dup2(writing, 2)
            try:
                action()
                os._exit(0)
            except OSError as error:
                os.write(2, str(error).encode())
        os._exit(1)
    os.close(writing)
    if not select.select([reading], [], [], _PROBE_S)[0]:
        os.kill(pid, signal.SIGKILL)
    text = os.read(reading, 4096).decode(errors="replace")
    os.close(reading)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), text


class Outside(Exception):
    """What is to be written lies outside of the tree."""


def planned(
    told: Mapping[str, Any], cwd: str, environment: Mapping[str, str], hidden: Iterable[str]
) -> Plan:
    """The plan for a command that begins in this folder.

    told: what `wanted` says. hidden: files of secrets. Raises `Outside`.
    """
    top, home = os.path.realpath(told["top"]), environment.get("HOME", "")
    settings = [os.path.join(home, name) for name in _GIT_SETTINGS] if home else []
    reads = [*_programs(environment.get("PATH", "")), *settings]
    reads += [sys.prefix, sys.base_prefix, inside.__file__, told["git_dir"], told["store"]]
    reads += [_RESOLVER] if told.get("network") else []
    guarded = {os.path.join(folder, ".git") for folder in (top, cwd)}
    guarded |= {told["git_dir"], told["store"], *told.get("guarded", ())}
    place = Place(
        top=top,
        cwd=os.path.realpath(cwd),
        guarded=_real(guarded),
        reads=_real(reads),
        writes=_real(told.get("git_writes", ())),
        hidden=_real([*hidden, *plans.SYSTEM_SECRETS]),
    )
    roots = {_folder_for(glob, top) for glob in told.get("globs", ())}
    astray = [path for path in (place.cwd, *roots) if not plans.is_in(path, [top])]
    if astray:
        raise Outside(f"{astray[0]} lies outside of the tree")
    return plans.planned(told["by"], told, sorted(roots), place)


def _folder_for(glob: str, top: str) -> str:
    """The folder that has to be writable for what a glob fits, as far as it is there.

    Of a file it is the folder: programs put a new file in the place of an old one.
    """
    path = plans.lead_of(glob, top)
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return os.path.realpath(path)


def _real(paths: Iterable[str]) -> tuple[str, ...]:
    """Those that are there, as the kernel names them."""
    return tuple(
        sorted({os.path.realpath(path) for path in paths if path and os.path.exists(path)})
    )


def _programs(path: str) -> list[str]:
    """The folders of the search path, and the whole of a virtual environment among them."""
    folders = [folder for folder in path.split(":") if folder.startswith("/")]
    above = [os.path.dirname(folder) for folder in folders]
    return folders + [one for one in above if os.path.exists(os.path.join(one, "pyvenv.cfg"))]


def words(plan: Plan, cwd: str, home: str, told: int, command: Sequence[str]) -> list[str]:
    """The words that execute a command in bubblewrap; how it ends is told on a descriptor."""
    program = shutil.which("bwrap") or "bwrap"
    python = os.path.realpath(sys.executable)
    helper = [python, "-I", "-S", inside.__file__, str(told)]
    return [*_bwrap(program, plan, cwd, [home]), *helper, *command]


def _bwrap(program: str, plan: Plan, cwd: str, empty: Iterable[str]) -> list[str]:
    """The words before the command. A later mount covers an earlier one: shorter paths first."""
    mounts: list[tuple[str, int, list[str]]] = [
        ("/proc", 0, ["--proc", "/proc"]),
        ("/dev", 0, ["--dev", "/dev"]),
        ("/tmp", 0, ["--tmpfs", "/tmp"]),
    ]
    mounts += [(path, 0, ["--tmpfs", path]) for path in empty if path.strip("/")]
    mounts += [(path, 1, ["--ro-bind-try", path, path]) for path in plan.reads]
    mounts += [(path, 2, ["--bind", path, path]) for path in plan.writes]
    mounts += [(path, 3, ["--ro-bind-try", path, path]) for path in plan.guarded]
    for path in plan.hidden:
        if os.path.isdir(path):
            mounts.append((path, 4, ["--tmpfs", path, "--remount-ro", path]))
        elif os.path.exists(path):
            mounts.append((path, 4, ["--ro-bind", "/dev/null", path]))
    # What has its own fresh contents stands before whatever of the machine lies in it.
    mounts.sort(key=lambda mount: (mount[0].count("/"), mount[0], mount[1]))
    share = ["--share-net"] if plan.network else []
    found = [program, "--unshare-all", *share, "--die-with-parent", "--cap-drop", "ALL"]
    found += [word for _, _, more in mounts for word in more]
    return [*found, "--chdir", cwd, "--"]


def enforce(plan: Plan, private: str) -> None:
    """Bind this process by Landlock; raises OSError, and then nothing may be executed.

    private: a folder for temporary files.
    """
    kept = [*plan.guarded, *plan.hidden]
    reads = [one for path in plan.reads for one in plans.without(path, plan.hidden, _children)]
    writes = [one for path in plan.writes for one in plans.without(path, kept, _children)]
    landlock.enforce([*reads, *plan.guarded, "/proc"], [*writes, *_DEVICES, private], plan.network)


def _children(folder: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(folder)]
    except OSError:
        return []


def note(folder: str, plan: Plan) -> None:
    """Keep what is enforced, for the record of the attempt."""
    with open(os.path.join(folder, ENFORCED), "w", encoding="utf-8") as stream:
        json.dump(plan.told(), stream)


def noted(folder: str) -> Mapping[str, Any]:
    """What was enforced for an attempt; {} for nothing."""
    try:
        with open(os.path.join(folder, ENFORCED), encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
