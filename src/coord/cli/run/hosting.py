"""Runs at other hosts, by ssh: which host a worker has, and what the near end is told.

    --executor ssh:HOST            commands begin in the folder that they were requested in
    --executor ssh:HOST:FOLDER     below this one instead; a relative one begins at home
                                   there, as does one with ~/

HOST is whatever ssh takes for one, and always the same machine: a name that leads to several
would have a run begin at one of them and be asked for at another. The ssh command is the one
that git uses: GIT_SSH_COMMAND, else the setting core.sshCommand, else ssh.
"""

import contextlib
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from coord.cli.run import common
from coord.core.problem import State
from coord.core.run import wanted
from coord.edge import environment, git, replica
from coord.edge.run import disk, shim, spool, truth
from coord.edge.store import Place
from coord.errors import Refusal

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
# A near end that died at once is not started again at once.
_AGAIN_S = 2.0


class Host(NamedTuple):
    """Another host, and the folder there that stands for the top of our tree; "" for the same.

    ssh: the words that reach it, a part of where it is: they may name a port; () for ours.
    """

    name: str
    folder: str = ""
    ssh: Sequence[str] = ()

    @property
    def labels(self) -> list[str]:
        """What a worker that has this host may be asked for."""
        return [wanted.BY_SSH, f"{wanted.BY_SSH}:{self.name}"]


def parse(text: str) -> Host:
    """The host that `HOST[:FOLDER]` names. Refusals: usage."""
    name, _, folder = text.partition(":")
    if not _NAME.fullmatch(name):
        hint = "ssh:HOST or ssh:HOST:FOLDER; other ports and keys belong into ~/.ssh/config"
        raise Refusal("usage", f"{name[:80]!r} is no host", hint)
    return Host(name, folder)


def named_in(executor: str | None) -> Host | None:
    """The host that an executor names, `ssh:HOST[:FOLDER]`; None for this one."""
    kind, _, host = (executor or "").partition(":")
    return parse(host) if kind == common.SSH else None


def refuse_unfit(place: Place, host: Host) -> None:
    """Refuse a host that is not reached, or that could not execute anything.

    Refusals: unreachable.
    """
    from coord.edge.run import ssh

    errors = os.path.join(place.local, f"ssh.{os.getpid()}")
    try:
        link = ssh.Connection(_ssh_words(place), host.name, environment.child(), errors)
        try:
            link.open(replica.home(place))
            link.expect("hello")
        finally:
            link.close()
    except ssh.Broken as error:
        hint = f"ssh {host.name} python3 --version is to answer without a question"
        raise Refusal("unreachable", f"{host.name}: {error}", hint) from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(errors)


def begin(place: Place, folder: str, host: Host, cause: str) -> Host:
    """Note, before anything is sent, at which host an attempt is, and how that is reached.

    Refusals: usage.
    """
    host = host._replace(ssh=host.ssh or _ssh_words(place))
    noted = {**host._asdict(), "cause": cause}
    if truth.host_of(folder) != noted:
        disk.write_synced(os.path.join(folder, spool.HOST), json.dumps(noted).encode())
    return host


def left_alone(folder: str, lease_id: str, ours: Host | None) -> tuple[Host, str, int] | None:
    """An attempt at another host that nobody follows: its host, its cause, and its lock.

    ours: the host of a worker, which reaches that as it reaches it now, and comes first.
    None where somebody follows it, or died doing so just now.
    """
    noted = truth.host_of(folder)
    is_ours = ours is not None and noted.get("name") == ours.name
    again_s = _AGAIN_S if is_ours else 2 * _AGAIN_S
    if abs(time.time() - os.path.getmtime(os.path.join(folder, shim.LOCK))) < again_s:
        return None
    lock = spool.take(folder)
    if lock is None:
        return None
    noted = truth.host_of(folder)
    if not noted or spool.exit_record(folder, lease_id) is not None:
        os.close(lock)
        return None
    ssh = () if is_ours else noted.get("ssh", ())
    return Host(noted["name"], noted["folder"], ssh), noted["cause"], lock


def told(
    place: Place, state: State, host: Host, spec: Mapping[str, Any], cause: str
) -> dict[str, Any]:
    """What the near end is told, from what a shim here would be."""
    asked = state["spec"]
    cwd = os.path.join(host.folder, asked.get("cwd", "")) if host.folder else spec["cwd"]
    ssh = {"name": host.name, "ssh": host.ssh or _ssh_words(place), "store": replica.home(place)}
    variables = {
        environment.RUN: state["run_id"],
        environment.CAUSE: cause,
        environment.AGENT: state["requested_by"],
        **(_identity(place) if "repo_ref" in asked else {}),
        **asked.get("env", {}),
    }
    return {**spec, "cwd": cwd, "host": ssh, "variables": variables}


def _ssh_words(place: Place) -> list[str]:
    """The ssh that git would use. Refusals: usage."""
    import shlex

    text = environment.get("GIT_SSH_COMMAND") or _setting(place, "core.sshCommand") or "ssh"
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Refusal("usage", f"GIT_SSH_COMMAND cannot be read: {error}") from error


def _identity(place: Place) -> dict[str, str]:
    """Who commits there: the same as here."""
    found = {what: _setting(place, f"user.{what}") for what in ("name", "email")}
    return {
        f"GIT_{who}_{what.upper()}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in found.items()
        if value
    }


def _setting(place: Place, name: str) -> str:
    """As it is now: a worker lives long."""
    _, output = git.run(["config", "--get", name], place.tree or place.store)
    return output.decode(errors="replace").strip()


def started(folder: str) -> dict[str, str]:
    """What `run.started` says of the host."""
    noted = truth.host_of(folder)
    return {"host": noted["name"]} if noted else {}
