"""What followed from an event, and what led to it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import causes
from tests import strategies as some


def event(at, cause=None, links=(), **parts):
    """An event of its own namespace whose id ends in `at`."""
    more = {"cause": some.id_at(cause)} if cause is not None else {}
    more |= {"links": [some.id_at(link) for link in links]} if links else {}
    return some.raw("build.finished", at, **more, **parts)


def world(*raws):
    """How to find events, and what each led to."""
    known = {raw["event_id"]: raw for raw in raws}
    led_to = {}
    for raw in sorted(raws, key=lambda raw: raw["event_id"]):
        for parent in causes.of(raw):
            led_to.setdefault(parent, []).append(raw)
    return known.get, lambda event_id: led_to.get(event_id, [])


def shape(rows):
    """Each row's depth and instant, `seen` ones with a mark."""
    return [
        (row["depth"], some.events.time_of(row["event_id"]) - some.START_MS, "seen" in row)
        for row in rows
    ]


def instants(rows):
    """When each event of a chain happened."""
    return [some.events.time_of(row["event_id"]) - some.START_MS for row in rows]


def test_a_tree_tells_parents_before_children_the_older_first():
    _, children = world(event(1), event(2, 1), event(3, 1), event(4, 2))

    rows = list(causes.tree(event(1), children))

    assert shape(rows) == [(0, 1, False), (1, 2, False), (2, 4, False), (1, 3, False)]


def test_an_event_that_several_led_to_is_told_once_and_named_elsewhere():
    _, children = world(event(1), event(2, 1), event(3, 1), event(4, 2, [3]), event(5, 4))

    rows = list(causes.tree(event(1), children))

    assert shape(rows) == [
        (0, 1, False), (1, 2, False), (2, 4, False), (3, 5, False), (1, 3, False), (2, 4, True),
    ]  # fmt: skip


def test_a_tree_is_read_no_further_than_somebody_wants_it():
    asked = []
    _, children = world(event(1), event(2, 1), event(3, 1))
    rows = causes.tree(event(1), lambda event_id: asked.append(event_id) or children(event_id))

    next(rows)

    assert len(asked) <= 1


def test_a_chain_begins_with_the_root_and_ends_with_the_event():
    """Causes and links of every ancestor count, each once."""
    find, _ = world(event(1), event(2, 1), event(3), event(4, 2, [3]), event(5, 4, [2]))

    rows, more = causes.chain(event(5, 4, [2]), find)

    assert instants(rows) == [1, 2, 3, 4, 5]
    assert not more


def test_a_long_chain_is_cut_at_the_far_end():
    find, _ = world(*(event(at, at - 1) for at in range(1, 9)))

    rows, more = causes.chain(event(8, 7), find, limit=3)

    assert instants(rows) == [6, 7, 8]
    assert more


def test_a_cause_that_no_clone_knows_is_named():
    find, _ = world(event(2, 1))

    rows, _ = causes.chain(event(2, 1), find)

    assert rows[0] == {"event_id": some.id_at(1), "unknown": True}


def test_a_root_is_found_by_causes_alone():
    find, _ = world(event(1), event(2), event(3, 2, [1]), event(4, 3))
    roots = {}

    assert causes.root(event(4, 3), find, roots) == some.id_at(2)
    assert roots[some.id_at(3)] == some.id_at(2)


@pytest.mark.parametrize("cause", ["yesterday", 7, None, "", ["x"]])
def test_what_is_no_event_id_is_no_cause(cause):
    assert causes.of({**event(1), "cause": cause, "links": cause}) == []


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6), st.lists(st.integers(0, 6)))))
def test_circles_and_gaps_end_no_walk_and_keep_none_going(drawn):
    raws = [event(at, cause, links) for at, cause, links in drawn]
    raws = list({raw["event_id"]: raw for raw in raws}.values())
    find, children = world(*raws)
    roots = {}

    for raw in raws:
        told = [row["event_id"] for row in causes.tree(raw, children) if "seen" not in row]
        chain, _ = causes.chain(raw, find)
        assert len(told) == len(set(told))
        assert chain[-1]["event_id"] == raw["event_id"]
        assert causes.root(raw, find, roots) == causes.root(raw, find, dict(roots))


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9))))
def test_an_event_is_in_the_tree_of_another_exactly_if_that_is_in_its_chain(drawn):
    raws = list({at: event(at, min(cause, at - 1)) for at, cause in drawn}.values())
    find, children = world(*raws)

    for one in raws:
        below = {row["event_id"] for row in causes.tree(one, children)}
        for other in raws:
            above = {row["event_id"] for row in causes.chain(other, find)[0]}
            assert (other["event_id"] in below) == (one["event_id"] in above)


@pytest.mark.parametrize(
    ("text", "is_named"),
    [
        ("src/login.py", True),
        ("see src/login.py:12", True),
        ("(src/login.py).", True),
        ("src/login.pyc", False),
        ("lib/src/login.py", False),
        ("src/login.py/x", False),
        ("src/login.py.bak", False),
        ("login.py", False),
    ],
)
def test_a_path_is_mentioned_as_a_whole(text, is_named):
    assert causes.mentions(event(1, body={"log": [{"at": text}]}), "src/login.py") is is_named


@pytest.mark.parametrize(
    ("glob", "path", "covers"),
    [
        ("src/**", "src/a/b.py", True),
        ("src/*", "src/a/b.py", False),
        ("src/*.py", "src/b.py", True),
        ("**/b.py", "b.py", True),
        ("src/?.py", "src/b.py", True),
        ("src/b.py", "src/b.py", True),
        ("src/b.py", "src/bxpy", False),
        ("src/[b.py", "src/[b.py", True),
    ],
)
def test_a_lease_on_paths_covers_what_its_pattern_takes(glob, path, covers):
    raw = some.raw("lease.acquire", 1, refs={"resource": f"path:{glob}"})

    assert causes.mentions(raw, path) is covers
