"""Who waits for whom, the longest chain, drawings, columns, what has come to rest."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.wk import boarding, graph, idle
from tests.foreign import PROPERTY

HOUR = 3_600_000
DAY = 24 * HOUR
NOW = 1_000 * DAY
NAMES = st.sampled_from("abcdefgh")
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=14)


def simply_reached(start: str, needs: dict[str, list[str]]) -> set[str]:
    """All items that one needs, by asking until nothing new comes."""
    found = set(needs.get(start, ()))
    while more := {t for name in found for t in needs.get(name, ())} - found:
        found |= more
    return found


@PROPERTY
@given(PAIRS)
def test_who_waits_for_an_item_is_who_needs_it_in_the_end(pairs):
    needs = graph.needs_of(pairs)

    counts = graph.waiting_for(needs)

    everybody = {name for pair in pairs for name in pair}
    for name in everybody:
        waiting = {o for o in everybody if o != name and name in simply_reached(o, needs)}
        assert counts.get(name, 0) == len(waiting)


@PROPERTY
@given(PAIRS)
def test_the_longest_chain_goes_along_needs_and_none_is_longer(pairs):
    """Of pairs without circles: each needs a later letter."""
    needs = graph.needs_of((one, other) for one, other in pairs if one < other)

    chain = graph.longest_chain(needs)

    assert all(first in needs[then] for first, then in itertools.pairwise(chain))
    assert len(chain) == max((depth(name, needs) for name in needs), default=0)


def depth(name: str, needs: dict[str, list[str]]) -> int:
    return 1 + max((depth(target, needs) for target in needs.get(name, ())), default=0)


@PROPERTY
@given(PAIRS)
def test_a_circle_neither_stops_the_search_nor_comes_twice(pairs):
    chain = graph.longest_chain(graph.needs_of(pairs))

    assert len(set(chain)) == len(chain)


def test_a_chain_passes_through_a_whole_circle():
    needs = graph.needs_of([("d", "c"), ("c", "b"), ("b", "c"), ("b", "a")])

    assert graph.longest_chain(needs) == ["a", "b", "c", "d"]


def test_a_chain_longer_than_the_stack_is_found():
    names = [f"{number:05}" for number in range(3000)]
    needs = graph.needs_of(zip(names[1:], names, strict=False))

    assert graph.longest_chain(needs) == names
    assert graph.waiting_for({"b": ["a"], "c": ["b"]}) == {"a": 2, "b": 1}


@pytest.mark.parametrize(
    ("pairs", "reasons"),
    [
        ("ba", {"a": "closing it makes b ready, number 1 of 2 in the longest chain"}),
        ("ba ca", {"a": "closing it makes b and c ready, number 1 of 2 in the longest chain"}),
        ("ba cb", {"a": "closing it makes b ready, 2 wait for it in the end,"
                        " number 1 of 3 in the longest chain",
                   "c": "nothing waits for it, number 3 of 3 in the longest chain"}),
        ("ca cb", {"b": "c needs more than it"}),
        ("ba ca da ea fa", {"a": "closing it makes b, c, d and 2 more ready,"
                                 " number 1 of 2 in the longest chain"}),
        ("ba cb bc", {"b": "closing it makes c ready, number 2 of 3 in the longest chain"}),
    ],
)  # fmt: skip
def test_the_reason_says_what_an_item_frees_and_where_it_stands(pairs, reasons):
    needs = graph.needs_of(tuple(pair) for pair in pairs.split())

    told = [*graph.reasons(needs, reasons, graph.waiting_for(needs), graph.longest_chain(needs))]

    assert told == [*reasons.values()]


def test_around_an_item_is_all_that_hangs_together_with_it():
    edges = [("b", "needs", "a"), ("c", "parent", "b"), ("y", "needs", "x")]

    assert graph.around(["a"], edges) == edges[:2]
    assert graph.around(["nobody"], edges) == []


def test_no_title_is_taken_for_the_language_of_a_drawing():
    titles = {"a": 'say "hi" \\ ]; end', "b": "line\nbreak <b>#x"}
    edges = [("a", "needs", "b"), ("a", "parent", "gone")]

    dot = list(graph.as_dot(edges, titles))
    mermaid = list(graph.as_mermaid(edges, titles))

    assert '  "a" [label="a say \\"hi\\" \\\\ ]; end"];' in dot
    assert '  "a" -> "gone" [label="parent", style=dashed];' in dot
    assert '  n1["a say #34;hi#34; #92; #93;#59; end"]' in mermaid
    assert '  n2["b line break #60;b#62;#35;x"]' in mermaid
    assert "  n1 -. parent .-> n3" in mermaid
    assert len(mermaid) == 1 + 3 + 2


def test_text_names_an_item_once_and_what_it_needs_below():
    edges = [("a", "needs", "b"), ("a", "parent", "c")]
    titles = {"a": "A", "b": "B" * 50, "c": "C"}

    assert list(graph.as_text(edges, titles)) == [
        "a A", "  needs b " + "B" * 39 + "…", "  is part of c C",
    ]  # fmt: skip


@PROPERTY
@given(st.text(max_size=30), st.integers(3, 20))
def test_a_cell_of_the_board_is_as_wide_as_it_should_be(text, width):
    shown = boarding.padded(text, width)

    assert sum(map(boarding._columns_of, shown)) == width
    assert "\n" not in shown


def test_a_board_fits_its_width_and_says_what_it_leaves_out():
    row = {"work_id": "wk-aaaaaaaa", "priority": 1, "title": "A long title, " * 5}
    claimed = {**row, "claim": {"agent_id": "agent:ada", "expires_at_ms": NOW + 90_000}}
    columns = {name: [row] if name == "ready" else [] for name in boarding.COLUMNS}
    columns["claimed"] = [claimed]
    totals = {name: len(rows) for name, rows in columns.items()} | {"ready": 5}

    lines = ["".join(text for text, _ in line) for line in boarding.drawn(columns, totals, NOW)]

    assert max(map(len, lines)) <= 80
    assert re.match(r"READY \(5\) +CLAIMED \(1\) +SUBMITTED \(0\) *$", lines[0])
    assert "… and 4 more" in "\n".join(lines)
    assert "  ada, 1m left" in lines[4]


def item(**changes):
    base = {"status": "open", "updated_at_ms": NOW - 30 * DAY, "labels": []}
    return {**base, **changes}


def claim(acquired, expires):
    return {"agent_id": "agent:a", "acquired_at_ms": acquired, "expires_at_ms": expires}


def stale(state):
    found = idle.reason(state, NOW, 14 * DAY, 2 * HOUR)
    return found and found["why"]


def test_what_has_come_to_rest():
    """At the bound itself it has; deferred and closed items rest by right."""
    old = NOW - 30 * DAY
    running = claim(NOW - 3 * HOUR, NOW + HOUR)

    assert stale(item()) == "untouched"
    assert stale(item(updated_at_ms=NOW - 14 * DAY)) == "untouched"
    assert stale(item(updated_at_ms=NOW - 14 * DAY + 1)) is None
    assert stale(item(defer_until_ms=NOW + 1)) is None
    assert stale(item(status="closed")) is None
    assert stale(item(status="claimed", claim=running)) == "silent"
    said = [{"at_ms": NOW - HOUR}]
    assert stale(item(status="claimed", claim=running, comments=said)) is None
    assert stale(item(status="claimed", claim=claim(NOW - HOUR, NOW + HOUR))) is None
    assert stale(item(status="claimed", claim=claim(old, NOW - 1))) == "abandoned"
