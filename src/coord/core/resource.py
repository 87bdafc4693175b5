"""Resources: `kind:name`, what conflicts with what, and which domain each belongs to.

    path:GLOB        all of them are one domain, `path`: globs overlap (`core.globs`)
    kind:name*N      a pool with N places; its domain is `kind:name`
    anything else    a domain of its own
    work:ID, run:ID  a work item, a run: these are claimed with `wk` and `run`, not leased

Rules: a kind is a lower-case word; a name has no control characters and no space at
either end. The words `path`, `branch`, `env`, `runner` and `context` are the kinds that
everybody means the same by; own kinds are welcome.
"""

import re
from typing import NamedTuple

from coord.errors import Refusal

PATH, WORK, RUN = "path", "work", "run"
KINDS = (PATH, "branch", "env", "runner", "context")
MAX_CHARS = 1000
MAX_PLACES = 1_000_000
_RESOURCE = re.compile(r"([a-z][a-z0-9_-]{0,31}):([^\x00-\x1f\x7f]+)")
_POOL = re.compile(r"(.*[^*])\*([1-9][0-9]{0,6})")


class Resource(NamedTuple):
    """One resource: its kind and name, and how many places it has (1: no pool)."""

    kind: str
    name: str
    places: int = 1

    @property
    def is_path(self) -> bool:
        """Whether it is a glob of paths."""
        return self.kind == PATH

    @property
    def domain(self) -> str:
        """What it can conflict with."""
        return PATH if self.is_path else f"{self.kind}:{self.name}"

    def __str__(self) -> str:
        pool = f"*{self.places}" if self.places > 1 else ""
        return f"{self.kind}:{self.name}{pool}"


def read(text: str) -> Resource | None:
    """The resource that a text names; None when it names none."""
    found = _RESOURCE.fullmatch(text)
    if found is None or len(text) > MAX_CHARS or found[2] != found[2].strip():
        return None
    kind, name = found[1], found[2]
    pool = _POOL.fullmatch(name) if kind != PATH else None
    if pool is None:
        return Resource(kind, name)
    places = int(pool[2])
    return Resource(kind, pool[1], places) if places <= MAX_PLACES else None


def places_of(text: str) -> int:
    """How many places the resource has that an event names; 1 for what is no pool."""
    found = read(text)
    return found.places if found else 1


def domain_of(text: str) -> str:
    """The domain of a resource as an event names it; an unreadable one is its own."""
    if text.startswith("path:"):
        return PATH
    found = read(text) if "*" in text else None
    return found.domain if found else text


def parse(text: str) -> Resource:
    """The resource that a person typed.

    Refusals: usage.
    """
    found = read(text.strip())
    if found is None:
        known = ", ".join(f"{kind}:NAME" for kind in KINDS[1:])
        hint = f"a resource is path:GLOB, {known}, or a kind of your own"
        raise Refusal("usage", f"{text[:60]!r} is no resource kind:name", hint)
    if found.kind == WORK:
        text = f"a work item is claimed, not leased: wk claim {found.name}"
        raise Refusal("usage", text, f"wk claim {found.name}")
    if found.kind == RUN:
        text = f"a run is claimed by the worker that executes it, not leased: {found.name}"
        raise Refusal("usage", text, "run poll")
    return found
