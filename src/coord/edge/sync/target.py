"""Which remote is meant, and what its answers amount to."""

from typing import NamedTuple

from coord.core import digest
from coord.edge import git
from coord.edge.store import Place
from coord.errors import Refusal

TRACKING = "refs/coord/remotes/"
_DENIED = ("Authentication failed", "could not read Username", "could not read Password",
           "Permission denied", "terminal prompts disabled", "access denied", "403")  # fmt: skip
_RACES = ("stale info", "fetch first", "non-fast-forward", "failed to update ref",
          "reference already exists", "incorrect old value", "failed to lock",
          "cannot lock ref", "atomic")  # fmt: skip


class Target(NamedTuple):
    """A remote, by a name or URL that git knows, and where it keeps our refs."""

    remote: str
    prefix: str

    @property
    def tracking(self) -> str:
        """Our own refs that follow the remote's."""
        name = self.remote
        if not name.replace("-", "").replace("_", "").isalnum():
            name = digest.sha256(name.encode()).hexdigest()[:16]
        return f"{TRACKING}{name}/"

    @property
    def key(self) -> str:
        """What is remembered of this remote, is remembered under this."""
        return f"{self.remote} {self.prefix}"


def repository_of(place: Place, remote_s: float = git.REMOTE_S) -> git.Repository:
    """The repository that a store belongs to. Refuses with `no_repository`.

    remote_s: how long the remote may take to answer.
    """
    if not place.git_dir:
        text = f"{place.store} is not inside a git repository"
        raise Refusal("no_repository", text, "sync goes through git: git init")
    return git.Repository(place.git_dir, place.tree, remote_s)


def target_of(repository: git.Repository, named: str, prefix: str) -> Target | None:
    """The remote that is meant; None where the repository has none.

    named: what the user says, "" for origin or the only one.
    """
    known = repository.remotes()
    if named:
        if named not in known and "/" not in named and ":" not in named:
            there = f"there is {', '.join(sorted(known))}" if known else "git remote add NAME URL"
            raise Refusal("no_remote", f"there is no remote {named!r}", there)
        return Target(named, prefix)
    if "origin" in known:
        return Target("origin", prefix)
    if len(known) > 1:
        hint = f"--remote NAME, or ev config set remote NAME: {', '.join(sorted(known))}"
        raise Refusal("no_remote", "there are several remotes and none is origin", hint)
    return Target(next(iter(known)), prefix) if known else None


def unreachable(target: Target, answer: git.Answer) -> Refusal:
    """The refusal that git's words about a remote amount to."""
    lines = [line for line in answer.err.splitlines() if line.strip()]
    said = next((x for x in lines if x.startswith("fatal: ")), lines[-1] if lines else "")
    reason = said.removeprefix("fatal: ") or f"git ended with {answer.status}"
    hint = "everything is recorded here; sync again when the remote answers"
    if any(words in answer.err for words in _DENIED):
        hint = f"git's credentials for it are missing or refused: git ls-remote {target.remote}"
    return Refusal("unreachable", f"{target.remote}: {reason}", hint, remote=target.remote)


def failed(failure: git.Failed) -> Refusal:
    """The refusal that a git which ended badly here amounts to."""
    reason = str(failure).strip().partition("\n")[0]
    hint = "sync again; git fsck says whether the repository is whole"
    return Refusal("git_failed", f"git did not do its part: {reason}", hint)


def is_race(reason: str) -> bool:
    """Whether a ref did not move because somebody else had moved it."""
    return any(words in reason for words in _RACES)


def refused(target: Target, reason: str) -> Refusal:
    """The refusal of a remote that will not have our refs."""
    hint = "if it takes branches only: ev config set ref_prefix refs/heads/coord/ in every clone"
    if target.prefix.startswith("refs/heads/"):
        hint = "a remote that takes one branch only carries the store in it: ev init --inline"
    text = f"{target.remote} refuses {target.prefix}*: {reason}"
    return Refusal("remote_refused", text, hint, remote=target.remote)
