"""The only door to git.

The hot path asks git two or three short questions; it does so with one small
runner, for importing subprocess or GitPython costs more than git's whole answer.
"""

import os

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
