"""The files of a run: at which commit it begins, what it is given, may change and leaves.

What a request says of them, what the shim is told, and what a recovery makes of what is left.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.core.problem import State
from coord.core.run import recovery
from coord.edge import git
from coord.edge.store import Place
from coord.edge.writing import Desk
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])
# As edge.run.workspace has them; that is loaded only where there is a workspace.
_POOL = "workspaces"


def options(function: F) -> F:
    """The options that say which files a run begins with, may change and leaves."""
    for option in reversed((
        click.option("--repo-ref", metavar="REF",
                     help="In a workspace of its own, at the commit that REF is now."),
        click.option("--input", "inputs", multiple=True, metavar="FILE",
                     help="With --repo-ref: lay FILE out there, as it is now; may be repeated."),
        click.option("--writes", multiple=True, metavar="GLOB",
                     help="With --repo-ref: refused if it has changed anything else."),
        click.option("--artifact", "artifacts", multiple=True, metavar="GLOB",
                     help="Keep the files that match when it has ended; may be repeated."),
    )):  # fmt: skip
        function = option(function)
    return function


def spec_of(call: kit.Call, given: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `options` give; `inputs` as path → bytes, for `with_blobs`.

    Refusals: usage, no_file.
    """
    found: dict[str, Any] = {}
    if given["repo_ref"] is not None:
        found["repo_ref"] = resolved(given["repo_ref"])
    elif given["inputs"] or given["writes"]:
        raise Refusal("usage", "--input and --writes belong to --repo-ref")
    if given["writes"] or given["artifacts"] or given["inputs"]:
        from coord.edge.paths import Tree

        tree = Tree(call.place, os.getcwd())
        for name in ("writes", "artifacts"):
            if given[name]:
                found[name] = [tree.glob(text) for text in given[name]]
        if given["inputs"]:
            found["inputs"] = dict(_input(tree.path(name), name) for name in given["inputs"])
    return found


def _input(path: str | None, name: str) -> tuple[str, bytes]:
    if not path:
        raise Refusal("usage", f"{name[:80]!r} lies outside of the repository")
    try:
        with open(name, "rb") as stream:
            return path, stream.read()
    except OSError as error:
        text = f"cannot read {name}: {os.strerror(error.errno or 0)}"
        raise Refusal("no_file", text, path=name) from error


def resolved(ref: str) -> dict[str, str]:
    """A ref, as the folder that we stand in has it, with the commit that it is now."""
    words = ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"]
    status, output = git.run(words, os.getcwd())
    if status:
        raise Refusal("no_commit", f"{ref[:80]!r} is no commit of this repository")
    return {"ref": ref, "commit": output.decode().strip()}


def with_blobs(desk: Desk, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body of a request, its inputs kept as blobs of the store."""
    whole = dict(body)
    if isinstance(body.get("inputs"), Mapping):
        whole["inputs"] = [
            {"path": path, **desk.keep(data)} for path, data in sorted(body["inputs"].items())
        ]
    return whole


def told(place: Place, spec: Mapping[str, Any], top: str) -> dict[str, Any]:
    """What the shim is told of a run's files; {} where it has nothing to do with them."""
    names = ("inputs", "writes", "artifacts")
    found = {name: spec[name] for name in names if name in spec}
    found |= {"blobs": os.path.join(place.store, "blobs"), "top": top}
    if "repo_ref" in spec:
        found |= {
            "pool": os.path.join(place.local, _POOL), "git_dir": place.git_dir,
            "tree": place.tree, "commit": spec["repo_ref"]["commit"],
            "cwd": spec.get("cwd", ""),
        }  # fmt: skip
    elif "artifacts" not in spec:
        return {}
    return {"files": found}


def started(folder: str, spec: Mapping[str, Any]) -> dict[str, str]:
    """What `run.started` says of the workspace."""
    if "repo_ref" not in spec:
        return {}
    from coord.edge.run import workspace

    named = workspace.named(folder)
    return {"workspace": named["name"], "commit": named["commit"]} if named else {}


def recovered(
    place: Place, state: State, folder: str, known: recovery.Facts
) -> tuple[str, Mapping[str, Any]]:
    """What to do about an attempt without exit record, and with a workspace of its own.

    What it left is looked at, saved and let go of before anything is recorded. The attempt's
    lock is ours, and nothing of its tree lives.
    """
    from coord.edge.run import salvage

    attempt = state["attempts"][-1]
    lease_id, run_id = attempt["lease_id"], state["run_id"]
    main = git.Repository(place.git_dir, place.tree)
    if "sandbox" in state["spec"]:
        _taken_in(folder, lease_id)
    work = salvage.looked_at(folder, lease_id, run_id, main)
    action, body = recovery.decide(state, known._replace(work=work))
    if action == recovery.SAVE:
        work = salvage.save(folder, lease_id, run_id, attempt["attempt"], work)
        action, body = recovery.decide(state, known._replace(work=work))
    salvage.settle(folder, lease_id, work)
    return action, body


def _taken_in(folder: str, lease_id: str) -> None:
    """What a sandboxed command has committed, before it is looked at."""
    from coord.edge.run import quarantine, workspace

    found = workspace.of_attempt(folder, lease_id)
    with contextlib.suppress(workspace.Unfit, OSError):
        if found is not None:
            quarantine.take_in(found)


def saved_to(folder: str, store: str, artifacts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write the artifacts of a run below a folder; answers what could not be written, and why.

    Refusals: disk.
    """
    from coord.edge import blobs
    from coord.edge.store import refusing_disk_errors

    missing = []
    for one in artifacts:
        data = blobs.load_bytes(store, one) if "sha256" in one else None
        if data is None:
            why = "its blob is not here" if "sha256" in one else "it was too large to be kept"
            missing.append(f"{one['path']}: {why}")
            continue
        target = os.path.join(folder, one["path"])
        # A foreign event may name anything.
        if not f"{os.path.realpath(target)}/".startswith(f"{os.path.realpath(folder)}/"):
            missing.append(f"{one['path']}: it lies outside")
            continue
        with refusing_disk_errors(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as stream:
                stream.write(data)
    return missing
