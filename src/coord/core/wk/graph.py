"""How items hang together as a whole: who waits for whom, the longest chain, drawings.

Waiting goes through every item between: when A needs B and B needs C, C holds up two.
Items that need each other in a circle count as one knot: each of them waits for all
others, and a chain passes through the whole of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from coord.core import drawing, svg
from coord.core.wk import fields, view

# (item, kind, target): the item needs, or is part of, the target.
Edge = tuple[str, str, str]
Needs = Mapping[str, Iterable[str]]
TITLE_CHARS = 40
NAMED = 3
UNKNOWN = "(unknown here)"


def needs_of(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """(item, what it waits for) as a map, sorted, each once."""
    found: dict[str, set[str]] = {}
    for work_id, target in pairs:
        found.setdefault(work_id, set()).add(target)
    return {work_id: sorted(targets) for work_id, targets in sorted(found.items())}


def turned(needs: Needs) -> dict[str, list[str]]:
    """The same the other way round: who waits for an item."""
    return needs_of((target, work_id) for work_id, targets in needs.items() for target in targets)


def reached(start: str, follow: Needs) -> set[str]:
    """All items on the ways from one, itself only where a circle leads back."""
    found: set[str] = set()
    waiting = list(follow.get(start, ()))
    while waiting:
        here = waiting.pop()
        if here not in found:
            found.add(here)
            waiting.extend(follow.get(here, ()))
    return found


def waiting_for(needs: Needs) -> dict[str, int]:
    """For each item that something waits for, how many do, in the end."""
    waiters = turned(needs)
    return {work_id: len(reached(work_id, waiters) - {work_id}) for work_id in waiters}


def longest_chain(needs: Needs) -> list[str]:
    """The longest way along the needs, what has to be done first at its beginning.

    Of several that are as long, the one that comes first by its ids.
    """
    knot = _knots(needs)
    best: dict[str, list[str]] = {}
    for name in _after_needs(needs, knot):
        members = sorted(m for m in knot if knot[m] == name) if name in knot else [name]
        behind = {knot.get(t, t) for member in members for t in needs.get(member, ())} - {name}
        longest = min((best[other] for other in behind), key=_longest_first, default=[])
        best[name] = [*longest, *members]
    return min(best.values(), key=_longest_first, default=[])


def reasons(
    needs: Needs, ids: Iterable[str], counts: Mapping[str, int], longest: Sequence[str]
) -> Iterator[str]:
    """Why each of these items holds up others: what it frees, how many wait, its place.

    An item is freed by another when it needs nothing else. counts: `waiting_for`.
    longest: `longest_chain`.
    """
    waiters = turned(needs)
    place = {work_id: number for number, work_id in enumerate(longest, start=1)}
    for work_id in ids:
        direct = [one for one in waiters.get(work_id, ()) if one != work_id]
        freed = [one for one in direct if not {*needs[one]} - {work_id}]
        count = counts.get(work_id, 0)
        parts = [_frees(freed, direct)]
        if count > max(len(freed), 1):
            parts.append(f"{count} wait for it in the end")
        if work_id in place:
            parts.append(f"number {place[work_id]} of {len(longest)} in the longest chain")
        yield ", ".join(parts)


def _frees(freed: Sequence[str], direct: Sequence[str]) -> str:
    if freed:
        return f"closing it makes {_some(freed)} ready"
    if direct:
        return f"{_some(direct)} {'needs' if len(direct) == 1 else 'need'} more than it"
    return "nothing waits for it"


def _some(ids: Sequence[str]) -> str:
    """Up to three of them by name, the others by number."""
    named, rest = ids[:NAMED], len(ids) - NAMED
    if rest > 0:
        return f"{', '.join(named)} and {rest} more"
    return " and ".join((", ".join(named[:-1]), named[-1]) if len(named) > 1 else named)


def _longest_first(chain: Sequence[str]) -> tuple[int, Sequence[str]]:
    return -len(chain), chain


def _knots(needs: Needs) -> dict[str, str]:
    """For each item in a circle, the name of its knot: the first of its items."""
    return {member: group[0] for group in view.cycles(needs) for member in group}


def _after_needs(needs: Needs, knot: Mapping[str, str]) -> Iterator[str]:
    """Items and knots, each after what it needs; the stack is kept by hand."""
    behind: dict[str, set[str]] = {}
    for work_id, targets in needs.items():
        name = knot.get(work_id, work_id)
        behind.setdefault(name, set()).update(knot.get(target, target) for target in targets)
        behind[name].discard(name)
    done: set[str] = set()
    for start in sorted(behind):
        stack = [(start, sorted(behind[start]))]
        while stack:
            name, left = stack[-1]
            if name in done:
                stack.pop()
            elif left:
                target = left.pop()
                if target not in done:
                    stack.append((target, sorted(behind.get(target, ()))))
            else:
                stack.pop()
                done.add(name)
                yield name


def around(ids: Iterable[str], edges: Sequence[Edge]) -> list[Edge]:
    """The edges that hang together with some items, over however many others."""
    neighbours: dict[str, list[str]] = {}
    for one, _, other in edges:
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    near = set(ids)
    for start in tuple(near):
        near |= reached(start, neighbours)
    return [edge for edge in edges if edge[0] in near]


def as_text(edges: Sequence[Edge], titles: Mapping[str, str]) -> Iterator[str]:
    """A line per item that needs something, and under it what."""
    last = ""
    for one, kind, other in edges:
        if one != last:
            yield _named(one, titles)
            last = one
        yield f"  {fields.LINKS.get(kind, kind)} {_named(other, titles)}"


def as_dot(edges: Sequence[Edge], titles: Mapping[str, str]) -> Iterator[str]:
    """Graphviz's language: an arrow goes from an item to what it needs."""
    yield "digraph work {"
    yield "  rankdir=LR; node [shape=box];"
    for work_id in _nodes(edges):
        yield f"  {drawing.dot(work_id)} [label={drawing.dot(_named(work_id, titles))}];"
    for one, kind, other in edges:
        style = "" if kind == "needs" else f" [label={drawing.dot(kind)}, style=dashed]"
        yield f"  {drawing.dot(one)} -> {drawing.dot(other)}{style};"
    yield "}"


def as_mermaid(edges: Sequence[Edge], titles: Mapping[str, str]) -> Iterator[str]:
    """Mermaid's language, as Markdown pages draw it."""
    numbers = {work_id: f"n{number}" for number, work_id in enumerate(_nodes(edges), start=1)}
    yield "graph LR"
    for work_id, name in numbers.items():
        yield f'  {name}["{drawing.mermaid(_named(work_id, titles))}"]'
    for one, kind, other in edges:
        arrow = "-->" if kind == "needs" else f"-. {kind} .->"
        yield f"  {numbers[one]} {arrow} {numbers[other]}"


def as_svg(edges: Sequence[Edge], titles: Mapping[str, str]) -> Iterator[str]:
    """A picture that a browser shows: `core.svg`."""
    nodes = {work_id: (work_id, titles.get(work_id, UNKNOWN)) for work_id in _nodes(edges)}
    arrows = [(one, other, "" if kind == "needs" else kind) for one, kind, other in edges]
    return svg.drawn(nodes, arrows, "What needs what")


DRAWINGS: Mapping[str, Callable[[Sequence[Edge], Mapping[str, str]], Iterator[str]]] = {
    "text": as_text,
    "dot": as_dot,
    "mermaid": as_mermaid,
    "svg": as_svg,
}


def _nodes(edges: Iterable[Edge]) -> list[str]:
    return sorted({end for one, _, other in edges for end in (one, other)})


def _named(work_id: str, titles: Mapping[str, str]) -> str:
    title = drawing.short(titles.get(work_id, UNKNOWN), TITLE_CHARS)
    return drawing.printable(f"{work_id} {title}")
