"""Chaos where `.coord` is a folder of the branches and plain git moves it.

Each clone has its branches: it commits, pulls by merge or rebase, pushes, begins a
branch and finishes it; a hosting service merges them into `main` with one of its three
buttons. Nobody resolves a conflict: one is a failure. What changes files in a clone's
working tree (a pull, a change of branches) waits until no other command runs there, for
plain git would take away lines that are appended meanwhile; all else runs side by side.
"""

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.chaos import sync_clones
from tests.chaos.sync_clones import Clone, Ended

_CONFLICT = ("CONFLICT", "could not apply", "needs merge", "unmerged")
_TOPICS = 3
# How often one tries to tidy up: a disk is full for some seconds at most.
_TIDIED = 200
_LEFT_HALFWAY = {"rebase": "rebase-merge", "merge": "MERGE_HEAD"}


class Gate:
    """Many may pass at once, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._is_taken = False

    @contextlib.contextmanager
    def shared(self) -> Iterator[None]:
        """Pass together with others."""
        with self._changed:
            self._changed.wait_for(self._is_free)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Pass when nobody is inside, and keep all others out."""
        with self._changed:
            self._changed.wait_for(self._is_free)
            self._is_taken = True
            self._changed.wait_for(self._is_empty)
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()

    def _is_free(self) -> bool:
        return not self._is_taken

    def _is_empty(self) -> bool:
        return not self._inside


class Inline:
    """What differs for `sync_driver.Chaos`, before which it stands among the bases."""

    init = ("--inline",)
    confirm = ("host",)
    sync_share = 0.25

    clones: list[Clone]
    folder: Path
    remote: Path
    found: list[str]
    counts: Any

    def __init__(self, folder: Path, *others: Any) -> None:
        self._gates: dict[str, Gate] = {}
        super().__init__(folder, *others)
        self._forge = sync_clones.clone_of(self.remote, folder / "forge", 0, ("--inline",))
        self._button = threading.Lock()

    def _add_clone(self, name: str, worktrees: int) -> None:
        super()._add_clone(name, worktrees)  # type: ignore[misc]
        clone = self.clones[-1]
        self._gates[name] = Gate()
        if len(self.clones) == 1:
            self._commit(clone)
            clone.ok("git", "push", "--quiet", "origin", "main")

    def operate(self, chance: random.Random, clone: Clone) -> None:
        """An agent's command, beside others."""
        with self._gates[clone.name].shared():
            super().operate(chance, clone)  # type: ignore[misc]

    def tear(self, chance: random.Random, clone: Clone) -> None:
        """Only a clone's own journals are ever written here, and no segment that is in a
        commit, so only what is in neither tears."""
        with self._gates[clone.name].shared():
            segments = [
                path for name in self._replicas(clone)
                for path in sync_clones.open_segments(clone.store, f"*.{name}")
                if self._is_in_no_commit(clone, path)
            ]  # fmt: skip
            if segments:
                torn = sync_clones.tear(chance.choice(segments), chance.randint(1, 80))
                self.counts["torn ends"] += torn

    def _is_in_no_commit(self, clone: Clone, path: Path) -> bool:
        name = f"HEAD:./{path.relative_to(clone.folder)}"
        return clone.do("git", "cat-file", "-e", name).code != 0

    def _replicas(self, clone: Clone) -> list[str]:
        """The name under which the clone writes on this branch."""
        import json

        with contextlib.suppress(OSError, ValueError):
            kept = json.loads((clone.store / "local" / "replica").read_bytes())
            head = (clone.folder / ".git" / "HEAD").read_text().strip()
            return [kept["current"][head]] if head in kept["current"] else []
        return []

    def move(self, chance: random.Random, clone: Clone) -> None:
        """One thing that somebody does with plain git, or `ev sync`."""
        draw = chance.random()
        if draw < 0.35:
            with self._gates[clone.name].shared():
                self.command(chance, clone, "ev", "sync", slow=True)  # type: ignore[attr-defined]
        elif draw < 0.45:
            self._press(chance, self._remote_topic(chance))
        else:
            with self._gates[clone.name].alone():
                if self._commit(clone):
                    chance.choice([self._pull, self._pull, self._switch, self._finish])(
                        chance, clone
                    )
                    self._tidy(clone)

    def _git(self, clone: Clone, *words: str | Path) -> Ended:
        """A git command of the user, which may be refused but never ends in a conflict."""
        ended = clone.do("git", *words)
        self.counts[f"git {words[0]}"] += 1
        if any(word in ended.out + ended.err for word in _CONFLICT):
            self.found.append(f"{clone.name}: git {words}: {ended.out[-900:]}{ended.err[-900:]}")
        return ended

    def _commit(self, clone: Clone) -> bool:
        """Commit all there is; whether that was done."""
        for name in ("index.lock", "HEAD.lock"):
            # A killed commit of ours leaves what any killed `git commit` would.
            lock = clone.folder / ".git" / name
            self.counts["stale locks"] += lock.exists()
            lock.unlink(missing_ok=True)
        self._git(clone, "add", "--all", ".coord")
        self._git(clone, "commit", "--quiet", "-m", "work")
        # On a full disk git fails to say what there is.
        said = clone.do("git", "status", "--porcelain", "--", ".coord")
        return said.code == 0 and not said.out

    def _tidy(self, clone: Clone) -> None:
        """Give up what a full disk has stopped; all was committed before, and nobody is inside.

        Left for later, an abort would take away what is appended until then.
        """
        for what, left in _LEFT_HALFWAY.items():
            if (clone.folder / ".git" / left).exists():
                self._git(clone, what, "--abort")
        for _ in range(_TIDIED):
            said = clone.do("git", "status", "--porcelain", "--", ".coord")
            if said.code == 0 and not said.out:
                return
            # The disk may still be full: then a reset stops halfway, too, and whoever adds
            # all there is would commit that journals are gone.
            clone.do("git", "reset", "--quiet", "--hard")
            clone.do("git", "clean", "--quiet", "-fd", ".coord")
            time.sleep(0.1)

    def _branch(self, clone: Clone) -> str:
        return clone.ok("git", "branch", "--show-current").out.strip()

    def _pull(self, chance: random.Random, clone: Clone) -> None:
        """Pull one's own branch or main into it, push."""
        branch = self._branch(clone)
        how = chance.choice(["--rebase", "--no-rebase"])
        if branch != "main" and chance.random() < 0.5:
            # Who has pushed a branch merges main into it, and does not rebase it.
            self._git(clone, "pull", "--quiet", "--no-rebase", "--no-edit", "origin", "main")
        elif branch == "main":
            self._git(clone, "pull", "--quiet", how, "--no-edit", "origin", "main")
        self._git(clone, "push", "--quiet", "origin", "HEAD")

    def _switch(self, chance: random.Random, clone: Clone) -> None:
        """Go to another branch, a new one or one of before."""
        name = chance.choice(["main", *(f"{clone.name}-t{n}" for n in range(_TOPICS))])
        if self._git(clone, "checkout", "--quiet", name).code:
            self._git(clone, "checkout", "--quiet", "-b", name, "main")

    def _finish(self, chance: random.Random, clone: Clone) -> None:
        """Have one's branch merged by a button, and go back to main without it."""
        branch = self._branch(clone)
        if branch == "main":
            return self._pull(chance, clone)
        if self._git(clone, "push", "--quiet", "origin", branch).code:
            return None
        button = chance.choice([self._merge, self._squash, self._rebase])
        self._press(chance, branch, button, gone=True)
        if self._branch_is_there(branch):
            return None
        self._git(clone, "checkout", "--quiet", "main")
        self._git(clone, "branch", "--quiet", "-D", branch)
        self._git(clone, "pull", "--quiet", "--rebase", "origin", "main")
        return None

    def _branch_is_there(self, branch: str) -> bool:
        return bool(self._forge.ok("git", "ls-remote", "--heads", "origin", branch).out)

    def _remote_topic(self, chance: random.Random) -> str:
        listed = self._forge.ok("git", "ls-remote", "--heads", "origin", "*-t[0-9]").out.split()
        return chance.choice(listed[1::2]).removeprefix("refs/heads/") if listed else ""

    def _press(
        self, chance: random.Random, branch: str, button: Any = None, gone: bool = False
    ) -> None:
        """Merge a branch into main on the hosting service; gone: and delete it there."""
        if not branch:
            return
        git = self._forge
        with self._button:
            self._git(git, "fetch", "--quiet", "--prune", "origin")
            self._git(git, "checkout", "--quiet", "-B", "main", "origin/main")
            # A branch that goes on can only be merged: git itself would find that the
            # other buttons' commits say the same again.
            (button or self._merge)(git, f"origin/{branch}")
            if self._git(git, "push", "--quiet", "origin", "main").code == 0 and gone:
                self._git(git, "push", "--quiet", "origin", "--delete", branch)

    def _merge(self, git: Clone, branch: str) -> None:
        self._git(git, "merge", "--quiet", "--no-ff", "--no-edit", branch)

    def _squash(self, git: Clone, branch: str) -> None:
        self._git(git, "merge", "--quiet", "--squash", branch)
        self._git(git, "commit", "--quiet", "-m", "squashed")

    def _rebase(self, git: Clone, branch: str) -> None:
        self._git(git, "checkout", "--quiet", "--detach", branch)
        self._git(git, "rebase", "--quiet", "main")
        self._git(git, "checkout", "--quiet", "-B", "main")

    def settle(self, now_ms: int) -> list[str]:
        """Everything is committed, pushed, merged into main, and pulled everywhere."""
        chance = random.Random(0)
        for _ in range(2):
            for clone in self.clones:
                self._settle_branches(clone)
            while branch := self._remote_topic(chance):
                self._press(chance, branch, gone=True)
                if self.found:
                    return self.found
        for clone in self.clones:
            clone.ok("git", "checkout", "--quiet", "main")
            clone.ok("git", "pull", "--quiet", "--rebase", "origin", "main")
        return self.found

    def _settle_branches(self, clone: Clone) -> None:
        """Push all that is on any branch of a clone."""
        self._commit(clone)
        clone.ok("git", "checkout", "--quiet", "main")
        clone.ok("git", "pull", "--quiet", "--rebase", "origin", "main")
        clone.ok("git", "push", "--quiet", "origin", "main")
        listed = clone.ok("git", "branch", "--format=%(refname:short)").out.split()
        for name in listed:
            if name != "main" and "(" not in name:
                self._git(clone, "push", "--quiet", "origin", name)
                self._git(clone, "branch", "--quiet", "-D", name)

    def _touched(self) -> list[str]:
        """Branches move here."""
        return []
