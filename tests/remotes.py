"""A bare remote and clones of it, all real; what stands in the remote, and who agrees.

Clones are driven by the tools' own entry points in processes of their own, forked from one
that has everything imported (`tests.chaos.forked`). `assert_united` judges them: the same
events in every store, byte for byte the same folded state under one later clock.
"""

import atexit
import functools
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coord.edge.store import FOLDER
from tests.chaos import journals
from tests.chaos.forked import TOOLS, Forks
from tests.conftest import Answer, Runner

# Later than whatever a test writes: nothing waits for its time any more.
LATER_MS = 4_000_000_000_000
OURS = "refs/coord/"
_WHO = ("-c", "user.name=Test", "-c", "user.email=test@example.invalid")


@functools.cache
def forks() -> Forks:
    """The process that the tools are forked from; it ends with this one."""
    made = Forks()
    atexit.register(made.close)
    return made


def git(folder: Path, *words: str | Path, data: bytes = b"") -> str:
    """What a git command prints that has to succeed."""
    done = subprocess.run(
        ["git", *map(str, words)], cwd=folder, input=data, capture_output=True, timeout=60
    )
    assert done.returncode == 0, f"git {words}: {done.stderr.decode()}"
    return done.stdout.decode(errors="backslashreplace").strip()


class Side(Runner):
    """One clone with its store; commands run as the agent of its name."""

    def __init__(self, folder: Path, name: str = "") -> None:
        super().__init__(folder)
        self.name = name or folder.name

    @property
    def store(self) -> Path:
        """Its `.coord` folder."""
        return self.folder / FOLDER

    def __call__(self, program: str, *arguments: str | Path, **options: Any) -> Answer:
        """Run a command as this side's agent."""
        options = {"as_": f"agent:{self.name}", **options}
        if program not in TOOLS:
            return super().__call__(program, *arguments, **options)
        data = options.get("input") or b""
        ended = forks().run(
            [program, *map(str, arguments)],
            options.get("cwd") or self.folder,
            self.environment(options["as_"], options.get("env")),
            data.encode() if isinstance(data, str) else data,
        )
        return Answer(ended.code, ended.out, ended.err)

    def git(self, *words: str | Path, data: bytes = b"") -> str:
        """What git prints here."""
        return git(self.folder, *words, data=data)

    def say(self, *titles: str) -> list[str]:
        """Make work items, one event each; answer the events' ids."""
        rows = "".join(f'{{"title":"{title}"}}\n' for title in titles)
        return [row["event_id"] for row in self.ok("wk", "create", "-", input=rows).lines]

    def sync(self, *words: str | Path, **options: Any) -> dict[str, Any]:
        """Sync; what it answers."""
        answer: dict[str, Any] = self.ok("ev", "sync", *words, **options).json
        return answer

    @property
    def ids(self) -> set[str]:
        """Every event that lies in the store."""
        return journals.ids(self.store)

    @property
    def titles(self) -> set[str]:
        """The titles of all items, as the fold has them."""
        return {row["title"] for row in self.ok("wk", "list", "--limit", "0").lines}

    @property
    def writers(self) -> set[str]:
        """The writers whose journals lie here."""
        files = journals.files(self.store)
        return {f.name.rsplit(".", 2)[0] for f in files if f.parent.name != "attic"}

    @property
    def attic(self) -> list[str]:
        """The names of the files that could not be merged."""
        return sorted(path.name for path in self.store.glob("attic/*.jsonl"))

    def state(self) -> str:
        """The folded work items at an instant after everything."""
        env = {"COORD_NOW_MS": str(LATER_MS)}
        return self.ok("ev", "materialize", "work", env=env).out


class Remote:
    """A bare repository that everybody pushes to, and its clones.

    folder: where it lies, and beside it the clones.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "remote.git"
        self._clones = folder

    def make(self) -> None:
        """Begin it with one commit on `main`."""
        git(self._clones, "init", "--quiet", "--bare", "--template=", "-b", "main", self.folder)
        tree = self.git("mktree")
        commit = self.git(*_WHO, "commit-tree", "-m", "Begin", tree)
        self.git("update-ref", "refs/heads/main", commit)

    def clone(self, name: str, *words: str | Path, init: Iterable[str] = ()) -> Side:
        """A clone with a store. words: for `git clone`; init: for `ev init`."""
        side = self.without_store(name, *words)
        side.ok("ev", "init", *init)
        return side

    def without_store(self, name: str, *words: str | Path) -> Side:
        """A clone in which nobody has run `ev init`."""
        folder = self._clones / name
        words = ("--quiet", "--template=", *words)
        git(self._clones, "clone", *words, self.folder.as_uri(), folder)
        return configured(folder)

    def git(self, *words: str | Path, data: bytes = b"") -> str:
        """What git prints in the remote."""
        return git(self.folder, *words, data=data)

    def refs(self, prefix: str = OURS) -> dict[str, str]:
        """The refs of ours with their commits, by what follows the prefix."""
        rows = self.git("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        pairs = (row.split() for row in rows)
        return {name.removeprefix(prefix): commit for name, commit in pairs}

    def replace(self, ref: str, files: dict[str, bytes], parent: str = "") -> str:
        """Move a ref of ours to a commit of just these files; answer the commit."""
        commit = self.commit(files, *(["-p", parent] if parent else []))
        self.git("update-ref", OURS + ref, commit)
        return commit

    def commit(self, files: dict[str, bytes], *words: str) -> str:
        """A commit of just these files. words: for `git commit-tree`."""
        tree = self._tree({tuple(path.split("/")): data for path, data in files.items()})
        return self.git(*_WHO, "commit-tree", "-m", "by hand", *words, tree)

    def _tree(self, files: dict[tuple[str, ...], bytes]) -> str:
        rows = []
        for name in sorted({path[0] for path in files}):
            inside = {path[1:]: data for path, data in files.items() if path[0] == name}
            if () in inside:
                blob = self.git("hash-object", "-w", "--stdin", data=inside[()])
                rows.append(f"100644 blob {blob}\t{name}\n")
            else:
                rows.append(f"040000 tree {self._tree(inside)}\t{name}\n")
        return self.git("mktree", data="".join(rows).encode())

    def lines(self, ref: str, tool: str = "wk") -> list[bytes]:
        """All lines of a tool that a ref of ours has, oldest first."""
        commits = self.git("rev-list", "--reverse", OURS + ref).splitlines()
        found: list[bytes] = []
        for commit in commits:
            if f"{tool}.jsonl" in self.git("ls-tree", "--name-only", commit).splitlines():
                found += self.git("show", f"{commit}:{tool}.jsonl").encode().split(b"\n")
        return found


def configured(folder: Path) -> Side:
    """A repository with its user, as a side."""
    with (folder / ".git" / "config").open("a") as stream:
        name = folder.name
        stream.write(f"[user]\n\tname = {name}\n\temail = {name}@example.invalid\n")
    return Side(folder)


def moved(template: Path, folder: Path) -> None:
    """Copy a remote and its clones to another place."""
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True)
    for config in folder.glob("*/.git/config"):
        config.write_text(config.read_text().replace(template.as_uri(), folder.as_uri()))


def in_turn(*sides: Side, rounds: int = 2) -> None:
    """All sync, one after the other, as often as it takes until everybody has everything."""
    for _ in range(rounds):
        for side in sides:
            side.sync()


def assert_united(*sides: Side, wanted: Iterable[str]) -> None:
    """All have the same events, the wanted ones among them, and fold to the same bytes."""
    everywhere = set(wanted).union(*(side.ids for side in sides))
    first = sides[0].state()
    for side in sides:
        assert side.ids == everywhere, f"{side.name} lacks {sorted(everywhere - side.ids)}"
        assert side.state() == first, f"{side.name} folds to something else"


def assert_quiet(*sides: Side) -> None:
    """A further sync of each has nothing to do and writes nothing."""
    for side in sides:
        before = footprint(side.folder)
        row = side.sync()
        assert (row["in"], row["out"]) == ([], []), side.name
        assert footprint(side.folder) == before, side.name


def footprint(*folders: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with what changes when it is written: inode, size and time."""
    found = {}
    for folder in folders:
        for base, names, files in os.walk(folder):
            for name in (".", *names, *files):
                path = os.path.join(base, name)
                seen = os.lstat(path)
                found[path] = (seen.st_ino, seen.st_size, seen.st_mtime_ns)
    return found
