"""A graph as SVG: boxes in layers from left to right, the same picture for the same graph.

A box stands one layer behind the last of those that point at it. An arrow that closes a
circle points back; it is dashed and says so. Within a layer boxes stand near what they are
joined with. The file holds no script and nothing from elsewhere; texts are escaped, and
what XML cannot hold is a space.
"""

from collections.abc import Iterator, Mapping, Sequence

# (from, to, what the arrow says; "" for an ordinary one)
Edge = tuple[str, str, str]
# The lines of a box: its name, and what it is called.
Label = Sequence[str]
# Where a box leads and its class, both as they stand in an attribute.
Inside = tuple[str, str]

WIDTH, HEIGHT = 220, 44
_ACROSS, _DOWN, _MARGIN = 70, 16, 12
_CHARS = 32
_SWEEPS = 4
_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"}
_STYLE = (
    "text{font:12px sans-serif;fill:#222}.name{font-weight:bold}"
    "rect{fill:#fff;stroke:#555}path{fill:none;stroke:#555}.link{stroke-dasharray:2 3}"
    ".back{stroke:#b00;stroke-dasharray:6 3}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}rect{fill:#222;stroke:#aaa}path{stroke:#aaa}}"
)


def drawn(
    nodes: Mapping[str, Label],
    edges: Sequence[Edge],
    title: str,
    inside: Mapping[str, Inside] | None = None,
) -> Iterator[str]:
    """The lines of the file. nodes: every end of an edge, with its label.

    inside: for a picture within a page, which brings the style: where each box leads.
    """
    back = _back_edges(nodes, edges)
    layers = _ordered(_layers(nodes, edges, back), edges)
    place = {
        name: (_MARGIN + x * (WIDTH + _ACROSS), _MARGIN + y * (HEIGHT + _DOWN))
        for x, layer in enumerate(layers)
        for y, name in enumerate(layer)
    }
    width = max((x for x, _ in place.values()), default=0) + WIDTH + _MARGIN
    height = max((y for _, y in place.values()), default=0) + HEIGHT + _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' width="{width}" height="{height}" role="img">'
    )
    style = "" if inside is not None else f"<style>{_STYLE}</style>"
    yield f"<title>{escaped(title)}</title>{style}"
    yield (
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8"'
        ' markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    for number, (one, other, said) in enumerate(edges):
        yield _arrow(place[one], place[other], one, other, said, number in back)
    for name, (x, y) in place.items():
        href, kind = (inside or {}).get(name, ("", ""))
        if href:
            yield f'<a href="{href}" class="{kind}">'
        yield from _box(nodes[name], x, y)
        if href:
            yield "</a>"
    yield "</svg>"


def escaped(text: str) -> str:
    """A text that stands in XML as it is."""
    return "".join(_ESCAPES.get(c, c if c.isprintable() else " ") for c in text)


def _box(label: Label, x: int, y: int) -> Iterator[str]:
    whole = " ".join(label)[:1000]
    yield f"<g><title>{escaped(whole)}</title>"
    yield f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="4"/>'
    for number, line in enumerate(label[:2]):
        shown = line if len(line) <= _CHARS else line[: _CHARS - 1] + "…"
        kind = ' class="name"' if not number else ""
        yield f'<text x="{x + 8}" y="{y + 18 + 16 * number}"{kind}>{escaped(shown)}</text>'
    yield "</g>"


def _arrow(
    start: tuple[int, int], end: tuple[int, int], one: str, other: str, said: str, is_back: bool
) -> str:
    x1, y1 = start[0] + WIDTH, start[1] + HEIGHT // 2
    x2, y2 = end[0], end[1] + HEIGHT // 2
    told = f"{one} to {other}" + (f": {said}" if said else "") + (" (a circle)" if is_back else "")
    kind = ' class="back"' if is_back else ' class="link"' if said else ""
    bend = _ACROSS // 2
    return (
        f'<path d="M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"'
        f' marker-end="url(#tip)"{kind}><title>{escaped(told)}</title></path>'
    )


def _targets(nodes: Mapping[str, Label], edges: Sequence[Edge]) -> dict[str, list[int]]:
    """For each node the numbers of the edges that leave it."""
    leaving: dict[str, list[int]] = {name: [] for name in sorted(nodes)}
    for number, (one, _, _) in enumerate(edges):
        leaving[one].append(number)
    return leaving


def _back_edges(nodes: Mapping[str, Label], edges: Sequence[Edge]) -> set[int]:
    """Edges without which there is no circle; the stack is kept by hand."""
    leaving = _targets(nodes, edges)
    back: set[int] = set()
    done: set[str] = set()
    for root in leaving:
        path, stack = {root}, [(root, iter(leaving[root]))]
        while stack and root not in done:
            name, rest = stack[-1]
            number = next(rest, None)
            if number is None:
                stack.pop()
                path.discard(name)
                done.add(name)
                continue
            target = edges[number][1]
            if target in path:
                back.add(number)
            elif target not in done:
                path.add(target)
                stack.append((target, iter(leaving[target])))
    return back


def _layers(nodes: Mapping[str, Label], edges: Sequence[Edge], back: set[int]) -> list[list[str]]:
    """The nodes by how long the longest way to them is."""
    forward = [edge for number, edge in enumerate(edges) if number not in back]
    leaving = _targets(nodes, forward)
    open_ways = dict.fromkeys(leaving, 0)
    for _, other, _ in forward:
        open_ways[other] += 1
    layer = dict.fromkeys(leaving, 0)
    waiting = [name for name, count in open_ways.items() if not count]
    for name in waiting:
        for number in leaving[name]:
            target = forward[number][1]
            layer[target] = max(layer[target], layer[name] + 1)
            open_ways[target] -= 1
            if not open_ways[target]:
                waiting.append(target)
    found: list[list[str]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for name, depth in layer.items():
        found[depth].append(name)
    return found


def _ordered(layers: list[list[str]], edges: Sequence[Edge]) -> list[list[str]]:
    """Each layer by where its neighbours stand, to and fro; ties stay as they were."""
    near: dict[str, list[str]] = {}
    for one, other, _ in edges:
        near.setdefault(one, []).append(other)
        near.setdefault(other, []).append(one)
    row = {name: number for layer in layers for number, name in enumerate(layer)}
    for sweep in range(_SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = {
                name: sum(row[other] for other in near[name]) / len(near[name])
                if name in near
                else row[name]
                for name in layer
            }
            layer.sort(key=wanted.__getitem__)
            row.update((name, number) for number, name in enumerate(layer))
    return layers
