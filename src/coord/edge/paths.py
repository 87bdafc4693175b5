"""What a path is called that somebody gives: from the top of their working tree, resolved.

    src/a.py in sub/     sub/src/a.py: relative to the folder one stands in
    /src/a.py            from the top, unless it names a place inside the tree as it is
    links and `..`       resolved: whoever edits through a link changes its target
    a folder             all below it: `src` and `src/` are `src/**`
    [id].py, if there    that file alone; a pattern otherwise
    outside              refused

Every linked worktree of a clone has the same names. A submodule is part of the tree
that it lies in.
"""

import os

from coord.core import globs
from coord.edge import git, store
from coord.edge.store import Place
from coord.errors import Refusal


class Tree:
    """The working trees of one clone, as seen from a folder."""

    def __init__(self, place: Place, folder: str) -> None:
        self._place, self._folder = place, os.path.realpath(folder)
        # The top of the tree that a folder belongs to, "" for one outside.
        self._tops: dict[str, str] = {}

    @property
    def ignorecase(self) -> bool:
        """Whether letters of either case name the same file here."""
        return git.settings(self._place.tree).get("core.ignorecase") == "true"

    def top(self, folder: str) -> str:
        """The top of the working tree of this clone that a folder lies in, or ""."""
        if folder not in self._tops:
            self._tops[folder] = self._found_top(folder)
        return self._tops[folder]

    def _found_top(self, folder: str) -> str:
        if os.path.lexists(os.path.join(folder, ".git")) and self._is_ours(folder):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            return ""
        return self.top(above)

    def _is_ours(self, top: str) -> bool:
        place = self._place
        if top == place.tree:
            return True
        try:
            other = store.locate(top)
        except Refusal:
            return False
        return place.store == other.store or (place.git_dir == other.git_dir != "")

    def glob(self, text: str) -> str:
        """A glob as typed, named from the top.

        Refusals: usage, when it lies outside of the repository.
        """
        absolute = self._absolute(text)
        if os.path.lexists(absolute):
            return self._named(absolute, text, text.endswith("/"))
        kept, rest = _parted(absolute)
        if any(part == ".." for part in rest):
            raise Refusal("usage", f"{text[:60]!r}: `..` cannot follow a pattern")
        if not rest:
            return self._named(kept, text, text.endswith("/"))
        folder = self._inside(kept, text)
        pattern = "/".join(part for part in rest if part != ".")
        pattern += "/**" if text.endswith("/") else ""
        return f"{globs.quoted(folder)}/{pattern}" if folder else pattern

    def _absolute(self, text: str) -> str:
        top = self.top(self._folder) or self._place.tree
        if not text.startswith("/"):
            return os.path.join(self._folder if self.top(self._folder) else top, text)
        return text if f"{text}/".startswith(f"{top}/") else f"{top}{text}"

    def _named(self, path: str, text: str, is_folder: bool) -> str:
        inside = self._inside(path, text)
        if not inside:
            return "**"
        is_folder = is_folder or os.path.isdir(path)
        return globs.quoted(inside) + ("/**" if is_folder else "")

    def _inside(self, path: str, text: str) -> str:
        inside = self.path(path)
        if inside is None:
            hint = "a leading / means the top of the repository"
            raise Refusal("usage", f"{text[:60]!r} lies outside of the repository", hint)
        return inside

    def path(self, path: str) -> str | None:
        """A path, from the folder one stands in, named from the top; None outside."""
        if "\0" in path:
            # No file is called so, and the system would not even be asked.
            return None
        real = os.path.realpath(os.path.join(self._folder, path))
        # Where there is no working tree, names lie in the store's own.
        top = self.top(os.path.dirname(real)) or self._place.tree
        if os.path.isdir(real):
            top = self.top(real) or top
        return real[len(top) + 1 :] if f"{real}/".startswith(f"{top}/") else None


def _parted(path: str) -> tuple[str, list[str]]:
    """An absolute glob as the path before its first pattern, and the rest."""
    parts = path.split("/")
    for place, part in enumerate(parts):
        if not globs.is_literal(part):
            return "/".join(parts[:place]) or "/", [part for part in parts[place:] if part]
    return path, []
