"""What a sandboxed command may touch, as a plan that either mechanism can enforce.

    by         bwrap: namespaces, in which only what is named exists
               landlock: the kernel's own rules for files, and a filter against sockets
    auto       the first of them that works here; where none does, the run is refused
    none       no sandbox, because whoever asks says so

    reads      programs and libraries, the tree, what whoever asks names: nothing else
    writes     the folder that the command begins in, or where `writes` lead, and a place
               for temporary files that ends with the command
    guarded    git's folders and the store inside of those: they can be read only
    hidden     files of secrets, and the machine's own
    network    off unless asked for

All paths are absolute and real. A path stands for all that is below it; the longest one
that fits decides.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

AUTO, BWRAP, LANDLOCK, NONE = KINDS = ("auto", "bwrap", "landlock", "none")
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix/store",
    "/gnu/store", "/snap", "/sys",
)  # fmt: skip
# Of those, what holds the machine's own secrets.
SYSTEM_SECRETS = ("/etc/shadow", "/etc/shadow-", "/etc/gshadow", "/etc/gshadow-", "/etc/ssh",
                  "/etc/ssl/private", "/etc/sudoers", "/etc/sudoers.d")  # fmt: skip
# Of the worker's variables those which say nothing but how to find and show things.
KEPT = frozenset(
    "PATH HOME LANG LANGUAGE TERM TZ USER LOGNAME SHELL COLUMNS LINES VIRTUAL_ENV"
    " SOURCE_DATE_EPOCH NO_COLOR CI".split()
)
# And our own.
KEPT_BEGINNINGS = ("LC_", "COORD")
_WILD = "*?[{"


class Plan(NamedTuple):
    """What is enforced."""

    by: str
    network: bool
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    guarded: tuple[str, ...]
    hidden: tuple[str, ...]

    def told(self) -> dict[str, Any]:
        """What the record of an attempt says was enforced."""
        return {"by": self.by, "network": self.network, "writes": [*self.writes]}


class Place(NamedTuple):
    """Where a command is executed, as the machine has it."""

    top: str
    cwd: str
    # Git's folders of this tree and the store: never written by the command.
    guarded: tuple[str, ...]
    # Further places to read: programs on the search path, git's settings.
    reads: tuple[str, ...]
    # Further places to write: a workspace's own part of git's folder.
    writes: tuple[str, ...]
    hidden: tuple[str, ...]


def fault_in(asked: object) -> str:
    """Name what keeps a request's `sandbox` from being one; "" if nothing does."""
    if not isinstance(asked, dict) or asked.get("by") not in KINDS:
        return f"by is not one of {', '.join(KINDS)}"
    if not isinstance(asked.get("network", False), bool):
        return "network is neither true nor false"
    reads = asked.get("reads", [])
    if not (isinstance(reads, list) and all(_is_absolute(path) for path in reads)):
        return "reads is not a list of absolute paths"
    return ""


def _is_absolute(path: object) -> bool:
    return isinstance(path, str) and path.startswith("/") and "\0" not in path


def chosen(asked: str, faults: Mapping[str, str]) -> tuple[str, str]:
    """The mechanism that is used, and why there is none; one of the two is "".

    faults: of each mechanism what keeps it from working here, "" for nothing.
    """
    candidates = (BWRAP, LANDLOCK) if asked == AUTO else (asked,)
    for kind in candidates:
        if not faults[kind]:
            return kind, ""
    told = "; ".join(f"{kind}: {faults[kind]}" for kind in candidates)
    return "", f"no sandbox works here ({told}); --sandbox none goes without"


def planned(by: str, asked: Mapping[str, Any], roots: Sequence[str], place: Place) -> Plan:
    """The plan for one command.

    roots: the folders in which it may write; none for that in which it begins.
    """
    network = asked.get("network", False)
    writes = _outermost([*(roots or [place.cwd]), *place.writes])
    reads = _outermost([*SYSTEM, place.top, *place.reads, *asked.get("reads", ())])
    guarded = tuple(path for path in sorted(set(place.guarded)) if is_in(path, writes))
    hidden = tuple(sorted({*SYSTEM_SECRETS, *place.hidden}))
    return Plan(by, network, reads, writes, guarded, hidden)


def lead_of(glob: str, top: str) -> str:
    """The deepest path that all that a glob fits is below, or is."""
    parts: list[str] = []
    for part in glob.strip("/").split("/"):
        if any(sign in part for sign in _WILD):
            break
        parts.append(part)
    return "/".join([top, *filter(None, parts)])


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths without those that are below another."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not is_in(path, kept):
            kept.append(path)
    return tuple(kept)


def is_in(path: str, roots: Iterable[str]) -> bool:
    """Whether a path is one of these, or below one."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def without(root: str, but: Iterable[str], inside: Callable[[str], Iterable[str]]) -> list[str]:
    """Paths that together are all of a root but some of what is below it.

    inside: the paths of what a folder has in it. For rules that only ever add.
    """
    but = [path for path in but if is_in(path, [root])]
    if root in but:
        return []
    if not but:
        return [root]
    return [found for path in inside(root) for found in without(path, but, inside)]


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Of the worker's environment what a sandboxed command gets."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or name.startswith(KEPT_BEGINNINGS)
    }
