"""What becomes of a run's files when its command has ended: judged, kept, published.

    violation    with `writes` globs: a path that differs from the commit that it began
                 with, and that none of them matches; then nothing is published
    artifacts    the files that the globs match, as blobs of the store
    commit       where the workspace stands, kept under `refs/coord/run/<run_id>`

All this is looked at by the shim, when nothing of the command lives any more. It needs
nothing but the standard library and git.
"""

import contextlib
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from coord.core import globs
from coord.edge.run import disk, salvage, workspace
from coord.edge.run.workspace import Unfit, Workspace

# What is larger is named, and not kept: blobs travel to every clone.
MOST_BYTES = 32 << 20
_MOST_NAMED = 100
_CHUNK_BYTES = 1 << 20


def concluded(
    found: Workspace | None,
    wanted: Mapping[str, Any],
    told: Mapping[str, Any],
    folder: str,
    verdict: Mapping[str, Any],
) -> dict[str, Any]:
    """The verdict about a command, with what its files make of it.

    wanted: writes, artifacts, blobs, inputs, top. told: run_id, attempt. folder: the attempt's.
    """
    if found is None:
        return {**verdict, **_gathered(wanted, wanted["top"])}
    try:
        said = _judged(found, wanted, told, folder)
        if not workspace.is_clean(found, found.commit, disposable(found, wanted, said)):
            said["kept"] = found.name
    except (Unfit, OSError) as error:
        said = {"kept": found.name}
        if wanted.get("writes"):
            # Nobody can say what it changed: then nothing of it is published.
            said |= {"outcome": "refused", "reason": f"its changes cannot be read: {error}"}
    if verdict["outcome"] == "cancelled":
        said = {name: value for name, value in said.items() if name not in ("outcome", "reason")}
    return {**verdict, **said}


def _judged(
    found: Workspace, wanted: Mapping[str, Any], told: Mapping[str, Any], folder: str
) -> dict[str, Any]:
    violations = _violations(found, wanted, folder)
    if not violations:
        return {**_gathered(wanted, found.path), **_published(found, told)}
    more = f", and {len(violations) - 1} more" if len(violations) > 1 else ""
    return {
        "outcome": "refused",
        "reason": f"it may not change {violations[0]}{more}",
        "paths": violations[:_MOST_NAMED],
        **_withheld(found, told),
    }


def disposable(
    found: Workspace, wanted: Mapping[str, Any], said: Mapping[str, Any]
) -> Sequence[str]:
    """The files of a workspace that are kept elsewhere, as they are: artifacts and inputs."""
    kept = [one for one in said.get("artifacts", ()) if "sha256" in one]
    return [*_unchanged(found.path, kept), *_unchanged(found.path, wanted.get("inputs", ()))]


def _violations(found: Workspace, wanted: Mapping[str, Any], folder: str) -> list[str]:
    if not wanted.get("writes"):
        return []
    given = set(_unchanged(found.path, wanted.get("inputs", ())))
    return [
        path
        for path in salvage.changed(found, folder)
        if path not in given and not _fits(path, wanted["writes"])
    ]


def _fits(path: str, allowed: Iterable[str]) -> bool:
    return any(globs.matches(glob, path) for glob in allowed)


def _withheld(found: Workspace, told: Mapping[str, Any]) -> dict[str, str]:
    """Commits of a run that is refused: kept aside, as what is loose."""
    head = workspace.head_of(found)
    if head == found.commit or workspace.is_on_ref(found.git(), head):
        return {}
    return {"salvage": salvage.aside(found, told["run_id"], told["attempt"], head)}


def _published(found: Workspace, told: Mapping[str, Any]) -> dict[str, str]:
    head = workspace.head_of(found)
    if head == found.commit:
        return {}
    workspace.set_ref(found, f"{salvage.RESULTS}{told['run_id']}", head)
    return {"commit": head}


def _gathered(wanted: Mapping[str, Any], top: str) -> dict[str, Any]:
    """The artifacts that there are, kept as blobs."""
    if not wanted.get("artifacts"):
        return {}
    found = [
        _kept(top, path, wanted["blobs"])
        for path in sorted({path for glob in wanted["artifacts"] for path in _below(top, glob)})
        if _fits(path, wanted["artifacts"])
    ]
    return {"artifacts": found}


def _below(top: str, glob: str) -> Iterator[str]:
    """Every ordinary file where a glob may match, git's own and ours aside."""
    begin = os.path.join(top, globs.folder_of(glob))
    if os.path.isfile(begin):
        begin = os.path.dirname(begin)
    # A link may lead out of the tree.
    if f"{os.path.realpath(begin)}/".startswith(f"{os.path.realpath(top)}/"):
        yield from _files(top, begin)


def _files(top: str, begin: str) -> Iterator[str]:
    for where, folders, names in os.walk(begin):
        folders[:] = [name for name in folders if name not in (".git", ".coord")]
        for name in names:
            path = os.path.join(where, name)
            with contextlib.suppress(OSError):
                if name != ".git" and stat.S_ISREG(os.lstat(path).st_mode):
                    yield os.path.relpath(path, top)


def _kept(top: str, path: str, blobs: str) -> dict[str, Any]:
    with open(os.path.join(top, path), "rb") as source:
        size = os.fstat(source.fileno()).st_size
        if size > MOST_BYTES:
            return {"path": path, "body_bytes": size}
        name = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        _store(source, os.path.join(blobs, name[:2], name), size)
    return {"path": path, "sha256": name, "body_bytes": size}


def keep(blobs: str, name: str, data: bytes) -> None:
    """Store a blob that has come from another host, under the hash that it has."""
    if hashlib.sha256(data).hexdigest() != name:
        raise OSError(f"blob {name[:12]} came damaged")
    _store(io.BytesIO(data), os.path.join(blobs, name[:2], name), len(data))


def _store(source: BinaryIO, target: str, size: int) -> None:
    """Write a blob and wait until the disk has it; one that is there whole is left alone."""
    if os.path.exists(target) and os.path.getsize(target) == size:
        return
    folder = os.path.dirname(target)
    os.makedirs(folder, exist_ok=True)
    aside = f"{target}.{os.getpid()}"
    with open(aside, "wb") as stream:
        shutil.copyfileobj(source, stream, _CHUNK_BYTES)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(aside, target)
    for where in (folder, os.path.dirname(folder)):
        disk.sync_folder(where)


def _unchanged(top: str, files: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Those of some files that are still what their hash says."""
    for one in files:
        with contextlib.suppress(OSError), open(os.path.join(top, one["path"]), "rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == one["sha256"]:
                yield one["path"]
