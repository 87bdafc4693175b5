"""What followed from an event, and what led to it: trees over `cause` and `links`.

    causes of an event   its `cause`, then its `links`, as far as they are event ids
    tree                 downward, each event under the first cause it is reached from;
                         where it is met again it is only named: `seen`
    chain                upward, all causes of causes, the oldest first
    root                 where following `cause` alone ends; never written, always derived

A journal may hold anything: an event that names itself, a circle, a cause that no clone
knows. None of these ends a walk early or makes it go on for ever.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from coord.core.event import EVENT_ID, time_of

Raw = Mapping[str, Any]
_GLOB = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
# Further in than this a drawn tree would leave a terminal no room for its texts.
DEEPEST = 12
# Answers the events that name this id as a cause, in order.
Children = Callable[[str], Sequence[Raw]]
# Answers the event of an id; None when it is not known here.
Find = Callable[[str], Raw | None]


def of(raw: Raw) -> list[str]:
    """The ids of an event's direct causes, the first its `cause`."""
    links = raw.get("links")
    named = [raw.get("cause"), *(links if isinstance(links, list) else ())]
    found = (name for name in named if isinstance(name, str) and EVENT_ID.fullmatch(name))
    return list(dict.fromkeys(found))


def tree(start: Raw, children: Children) -> Iterator[dict[str, Any]]:
    """An event and what followed from it, each with its `depth`, parents before children.

    A generator, so that whoever wants the beginning of a long tree reads no more. An
    event that several causes led to is told in full once, and marked `seen` elsewhere.
    """
    told: set[str] = set()
    waiting = [(0, start)]
    while waiting:
        depth, raw = waiting.pop()
        event_id = raw["event_id"]
        if event_id in told:
            yield {"depth": depth, "event_id": event_id, "seen": True}
            continue
        told.add(event_id)
        yield {"depth": depth, **raw}
        waiting.extend((depth + 1, child) for child in reversed(children(event_id)))


def branches(rows: Iterable[Raw]) -> Iterator[tuple[str, Raw]]:
    """Each row of a tree with what is drawn before it: `│  └─ `; without a depth nothing.

    Deep trees are drawn to `DEEPEST` and told by number from there on.
    """
    listed = list(rows)
    goes_on: set[int] = set()
    drawn: list[str] = []
    # From the end: only then is it known whether another branch follows.
    for row in reversed(listed):
        depth = row.get("depth", 0)
        drawn.append(_branch(depth, goes_on))
        goes_on = {level for level in goes_on if level < depth} | {depth}
    yield from zip(reversed(drawn), listed, strict=True)


def _branch(depth: int, goes_on: set[int]) -> str:
    if not depth:
        return ""
    if depth > DEEPEST:
        return f"({depth} deep) "
    above = ("│  " if level in goes_on else "   " for level in range(1, depth))
    return "".join(above) + ("├─ " if depth in goes_on else "└─ ")


def chain(start: Raw, find: Find, limit: int = 0) -> tuple[list[dict[str, Any]], bool]:
    """An event and everything that led to it, the oldest first and itself last.

    limit: at most so many, the nearest; 0 for all.
    A cause that is not known here stands first, as {event_id, unknown: true}.
    Returns the events, and whether there are more.
    """
    found: dict[str, dict[str, Any]] = {}
    near = [start["event_id"]]
    known: dict[str, Raw] = {start["event_id"]: start}
    while near:
        further: list[str] = []
        for event_id in near:
            if event_id in found:
                continue
            if limit and len(found) == limit:
                return _oldest_first(found, start), True
            raw = known.get(event_id) or find(event_id)
            found[event_id] = {"event_id": event_id, "unknown": True} if raw is None else {**raw}
            further.extend(of(raw) if raw is not None else ())
        near = further
    return _oldest_first(found, start), False


def _oldest_first(found: Mapping[str, dict[str, Any]], start: Raw) -> list[dict[str, Any]]:
    others = (row for event_id, row in found.items() if event_id != start["event_id"])
    return [*sorted(others, key=_known_then_id), found[start["event_id"]]]


def _known_then_id(row: Raw) -> tuple[bool, str]:
    return "unknown" not in row, row["event_id"]


def root(raw: Raw, find: Find, roots: dict[str, str]) -> str:
    """The id of the event that all this began with.

    roots: what was found before, by event id; what is found now is added.
    A circle begins with its smallest id.
    """
    path: list[str] = []
    event_id, here = raw["event_id"], raw
    while event_id not in roots and event_id not in path:
        path.append(event_id)
        cause = here.get("cause")
        if not isinstance(cause, str) or not EVENT_ID.fullmatch(cause):
            break
        event_id = cause
        above = find(cause)
        if above is None:
            break
        here = above
    circle = path[path.index(event_id) :] if event_id in path[:-1] else [event_id]
    answer = roots.get(event_id, min(circle))
    roots.update(dict.fromkeys(path, answer))
    return answer


def when(row: Raw) -> int:
    """When an event, or a commit as `edge.git` tells of it, came to be."""
    return time_of(row["event_id"]) if "event_id" in row else int(row["at_ms"])


def mentions(raw: Raw, path: str) -> bool:
    """Whether an event is about a file, or names it in its body.

    path: from the top of the working tree. A resource `path:GLOB` that covers it counts.
    """
    resource = (raw.get("refs") or {}).get("resource")
    kind, _, glob = resource.partition(":") if isinstance(resource, str) else ("", "", "")
    if kind == "path" and covers(glob, path):
        return True
    # A stack and no recursion: how deep a body goes is its writer's choice.
    rest: list[Any] = [raw.get("body"), raw.get("refs")]
    named = re.compile(rf"(?<![\w./-]){re.escape(path)}(?![\w/-]|\.\w)")
    while rest:
        value = rest.pop()
        if isinstance(value, Mapping):
            rest.extend(value.values())
        elif isinstance(value, list):
            rest.extend(value)
        elif isinstance(value, str) and named.search(value):
            return True
    return False


def covers(glob: str, path: str) -> bool:
    """Whether a resource's pattern takes a path: * within a folder, ** across folders."""
    parts = (_GLOB.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", glob))
    return re.fullmatch("".join(parts), path) is not None
