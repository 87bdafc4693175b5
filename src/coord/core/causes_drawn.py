"""A tree of causes as text, for Graphviz, for Mermaid, as SVG.

An arrow goes from an event to what followed from it; one that several led to stands once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from coord.core import causes, drawing, svg

Raw = Mapping[str, Any]
_CHARS = 60
_SAID = ("title", "text", "as", "why")


def graph_of(rows: Iterable[Raw]) -> tuple[dict[str, tuple[str, str]], list[tuple[str, str]]]:
    """Labels by event id, and (event, what followed), of the rows of `causes.tree`."""
    labels: dict[str, tuple[str, str]] = {}
    edges: list[tuple[str, str]] = []
    above: list[str] = []
    for row in rows:
        del above[row["depth"] :]
        if above:
            edges.append((above[-1], row["event_id"]))
        above.append(row["event_id"])
        if not row.get("seen"):
            labels[row["event_id"]] = _label(row)
    return labels, edges


def _label(row: Raw) -> tuple[str, str]:
    """What happened to what, and who did it, when, in which words."""
    refs, body = row.get("refs") or {}, row.get("body") or {}
    about = next(
        (str(refs[name]) for name in ("work_id", "run_id", "resource") if name in refs), ""
    )
    said = next((body[name] for name in _SAID if isinstance(body.get(name), str)), "")
    parts = (row["actor"]["agent_id"], str(row.get("ts", ""))[11:19], said[:_CHARS])
    return f"{row['type']} {about}".rstrip(), " ".join(part for part in parts if part)


def as_text(rows: Sequence[Raw]) -> Iterator[str]:
    """A line per event, its place in the tree drawn before it."""
    for branch, row in causes.branches(rows):
        label = (row["event_id"], "(seen above)") if row.get("seen") else _label(row)
        yield branch + drawing.printable(" ".join(label))


def as_dot(rows: Sequence[Raw]) -> Iterator[str]:
    """Graphviz's language."""
    labels, edges = graph_of(rows)
    yield "digraph causes {"
    yield "  rankdir=LR; node [shape=box];"
    for name, label in labels.items():
        shown = drawing.short(" ".join(label), _CHARS)
        yield f"  {drawing.dot(name)} [label={drawing.dot(shown)}];"
    for one, other in edges:
        yield f"  {drawing.dot(one)} -> {drawing.dot(other)};"
    yield "}"


def as_mermaid(rows: Sequence[Raw]) -> Iterator[str]:
    """Mermaid's language, as Markdown pages draw it."""
    labels, edges = graph_of(rows)
    numbers = {name: f"n{number}" for number, name in enumerate(labels, start=1)}
    yield "graph LR"
    for name, number in numbers.items():
        label = drawing.short(" ".join(labels[name]), _CHARS)
        yield f'  {number}["{drawing.mermaid(label)}"]'
    for one, other in edges:
        yield f"  {numbers[one]} --> {numbers[other]}"


def as_svg(rows: Sequence[Raw]) -> Iterator[str]:
    """A picture that a browser shows."""
    labels, edges = graph_of(rows)
    arrows = [(one, other, "") for one, other in edges]
    return svg.drawn(labels, arrows, "What followed from what")


DRAWINGS: Mapping[str, Callable[[Sequence[Raw]], Iterator[str]]] = {
    "text": as_text,
    "dot": as_dot,
    "mermaid": as_mermaid,
    "svg": as_svg,
}
