"""The only door to git.

The hot path asks git two or three short questions; it does so with one small
runner, for importing subprocess or GitPython costs more than git's whole answer.
"""

import os
from typing import Any

Environment = dict[str, str]


def run(arguments: list[str], folder: str) -> tuple[int, bytes]:
    """Run `git ARGUMENTS` in a folder without input; answer its status and output.

    What git writes to stderr is dropped; 127 means there is no git.
    """
    reading, writing = os.pipe()
    devnull = os.open(os.devnull, os.O_RDWR)
    actions = [
        (os.POSIX_SPAWN_DUP2, devnull, 0),
        (os.POSIX_SPAWN_DUP2, writing, 1),
        (os.POSIX_SPAWN_DUP2, devnull, 2),
    ]
    try:
        child = os.posix_spawnp(
            "git", ["git", "-C", folder, *arguments], os.environ, file_actions=actions
        )
    except FileNotFoundError:
        os.close(reading)
        return 127, b""
    finally:
        os.close(writing)
        os.close(devnull)
    with os.fdopen(reading, "rb") as stream:
        output = stream.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), output


def settings(folder: str) -> dict[str, str]:
    """The user's git settings that name who acts and what the project is."""
    wanted = r"^(coord\.agent|user\.name|remote\.origin\.url)$"
    _, output = run(["config", "--null", "--get-regexp", wanted], folder)
    found = {}
    for entry in output.decode(errors="replace").split("\0"):
        name, _, value = entry.partition("\n")
        if name:
            found[name] = value
    return found


def head(folder: str) -> dict[str, str]:
    """The commit and branch that stand checked out in a folder; {} without a commit."""
    status, commit = run(["rev-parse", "--verify", "--quiet", "HEAD"], folder)
    if status:
        return {}
    found = {"commit": commit.decode().strip()}
    status, branch = run(["symbolic-ref", "--short", "--quiet", "HEAD"], folder)
    return found if status else {**found, "branch": branch.decode().strip()}


def is_commit(text: str, folder: str) -> str:
    """The whole hash of a commit, "" if the repository has none by this name."""
    status, output = run(["rev-parse", "--verify", "--quiet", f"{text}^{{commit}}"], folder)
    return "" if status else output.decode().strip()


def reaches(commit: str, folder: str) -> bool:
    """Whether a commit is part of the history of what is checked out in a folder."""
    return run(["merge-base", "--is-ancestor", commit, "HEAD"], folder)[0] == 0


# Between the parts of a commit, and after each.
_PART, _END = "\x1f", "\x1e"
_COMMIT = "%H%x1f%ct%x1f%an%x1f%s%x1f%(trailers:key=Work,valueonly,separator=%x20)%x1e"


def commits(arguments: list[str], folder: str) -> list[dict[str, Any]]:
    """What `git log ARGUMENTS` finds: {commit, at_ms, author, subject, work}, newest first.

    work: the items that the trailers `Work: ID` name.
    """
    _, output = run(["log", f"--format={_COMMIT}", *arguments], folder)
    found = []
    for entry in output.decode(errors="replace").split(_END)[:-1]:
        commit, seconds, author, subject, work = entry.strip("\n").split(_PART)
        row = {"commit": commit, "at_ms": int(seconds) * 1000, "author": author}
        found.append({**row, "subject": subject, "work": work.replace(",", " ").split()})
    return found


def commits_of(path: str, folder: str, limit: int) -> list[dict[str, Any]]:
    """The commits that changed a file, also under earlier names; all with limit 0."""
    newest = [f"--max-count={limit}"] if limit else []
    return commits([*newest, "--follow", "--", path], folder)


def path_in_tree(path: str, folder: str) -> str:
    """A path, given from a folder, as it is called from the top of that working tree."""
    # The last part as it is: a link is a file of its own.
    head, name = os.path.split(os.path.normpath(os.path.join(folder, path)))
    top = head = os.path.realpath(head)
    while not os.path.lexists(os.path.join(top, ".git")) and os.path.dirname(top) != top:
        top = os.path.dirname(top)
    return os.path.relpath(os.path.join(head, name), top)


def hook_path(name: str, folder: str) -> str:
    """Where git looks for a hook, core.hooksPath included; "" outside a repository."""
    status, output = run(["rev-parse", "--git-path", f"hooks/{name}"], folder)
    return "" if status else os.path.join(folder, os.fsdecode(output.rstrip(b"\n")))


def comment_char(folder: str) -> str:
    """What begins a comment in a commit message; "" where git chooses it itself."""
    _, output = run(["config", "--get", "core.commentChar"], folder)
    found = output.decode(errors="replace").strip() or "#"
    return "" if found == "auto" else found


def add_trailer(file: str, trailer: str, folder: str) -> bool:
    """Add `Key: value` to a commit message's file unless that key is there; whether it went."""
    words = ["interpret-trailers", "--in-place", "--if-exists", "doNothing", "--trailer", trailer]
    return run([*words, file], folder)[0] == 0
