"""What views are made of: pictures, branches, ages, what is not well, how the work goes."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import causes, causes_drawn, drawing, svg, units
from coord.core.wk import effort, graph, health
from tests import strategies as some
from tests.foreign import PROPERTY

DAY_MS = 86_400_000
NOW_MS = 1_000 * DAY_MS
NAMES = st.sampled_from("abcdefgh")
PAIRS = st.lists(st.tuples(NAMES, NAMES), max_size=14, unique=True)


def picture(pairs, label=""):
    """A drawn graph, parsed."""
    nodes = {name: (name, label) for pair in pairs for name in pair}
    lines = svg.drawn(nodes, [(one, other, "") for one, other in pairs], "a graph")
    return ElementTree.fromstring("\n".join(lines))


def boxes(root):
    """Where each box stands, by its name."""
    found = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        texts = [part.text for part in group.iter("{http://www.w3.org/2000/svg}text")]
        (box,) = group.iter("{http://www.w3.org/2000/svg}rect")
        found[texts[0]] = int(box.get("x")), int(box.get("y"))
    return found


@PROPERTY
@given(PAIRS)
def test_every_box_has_its_own_place_and_arrows_go_to_the_right(pairs):
    """But those that close a circle, and they say so."""
    root = picture(pairs)

    place = boxes(root)
    assert set(place) == {name for pair in pairs for name in pair}
    assert len(set(place.values())) == len(place)
    arrows = [e for e in root.iter("{http://www.w3.org/2000/svg}path") if e.get("marker-end")]
    assert len(arrows) == len(pairs)
    for (one, other), arrow in zip(pairs, arrows, strict=True):
        is_back = place[one][0] >= place[other][0]
        assert is_back == (arrow.get("class") == "back") == ("a circle" in arrow[0].text)
    assert bool(graph.view.cycles(graph.needs_of(pairs))) <= any(
        arrow.get("class") == "back" for arrow in arrows
    )


@PROPERTY
@given(st.text(max_size=40))
def test_any_text_is_shown_as_itself_by_a_picture(text):
    root = picture([("a", "b")], text)

    (title, _) = [group[0].text for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert title == drawing.printable(f"a {text}")


@PROPERTY
@given(PAIRS, st.randoms(use_true_random=False))
def test_a_picture_depends_on_the_graph_alone(pairs, chance):
    nodes = [name for pair in pairs for name in pair]
    chance.shuffle(nodes)
    edges = [(one, other, "") for one, other in pairs]

    first = list(svg.drawn({name: (name,) for name in sorted(nodes)}, edges, "g"))
    second = list(svg.drawn({name: (name,) for name in nodes}, edges, "g"))

    assert first == second


def test_a_chain_of_thousands_is_drawn():
    """Neither recursion nor a square of it."""
    pairs = [(f"n{number}", f"n{number + 1}") for number in range(5000)]

    assert len(boxes(picture(pairs))) == 5001


def rows_of(depths):
    """Rows of a tree with these depths."""
    return [{"depth": depth, "event_id": str(n)} for n, depth in enumerate(depths)]


def test_branches_go_on_as_long_as_a_sibling_comes():
    drawn = [branch for branch, _ in causes.branches(rows_of([0, 1, 2, 2, 1, 2]))]

    assert drawn == ["", "├─ ", "│  ├─ ", "│  └─ ", "└─ ", "   └─ "]


def test_a_deep_branch_tells_its_depth_instead_of_leaving_the_screen():
    drawn = [branch for branch, _ in causes.branches(rows_of(range(40)))]

    assert drawn[39] == "(39 deep) "
    assert max(map(len, drawn)) <= 3 * causes.DEEPEST


def test_a_tree_of_causes_is_a_graph_with_each_event_once():
    raws = [{**some.raw("build.done", at), "ts": "2026"} for at in range(4)]
    ids = [raw["event_id"] for raw in raws]
    rows = [
        {"depth": 0, **raws[0]}, {"depth": 1, **raws[1]}, {"depth": 2, **raws[3]},
        {"depth": 1, **raws[2]}, {"depth": 2, "event_id": ids[3], "seen": True},
    ]  # fmt: skip

    labels, edges = causes_drawn.graph_of(rows)

    assert list(labels) == [ids[0], ids[1], ids[3], ids[2]]
    assert edges == [(ids[0], ids[1]), (ids[1], ids[3]), (ids[0], ids[2]), (ids[2], ids[3])]


@pytest.mark.parametrize(
    ("span_ms", "shown"),
    [(0, "0s"), (59_999, "59s"), (60_000, "1m"), (DAY_MS - 1, "23h"), (13 * DAY_MS, "13d"),
     (14 * DAY_MS, "2w")],
)  # fmt: skip
def test_an_age_is_told_in_its_largest_unit(span_ms, shown):
    assert units.show_age(span_ms) == shown
    assert units.show_relative(NOW_MS - span_ms, NOW_MS) == f"{shown} ago"


@PROPERTY
@given(PAIRS)
def test_unreachable_is_what_comes_to_itself_or_waits_for_such(pairs):
    needs = graph.needs_of((one, other) for one, other in pairs if one != other)

    found = health.unreachable(needs)

    everybody = {name for pair in pairs for name in pair}
    itself = {name for name in everybody if name in graph.reached(name, needs)}
    assert set(found) == itself | {n for n in everybody if graph.reached(n, needs) & itself}
    assert {name for name in found if "it needs itself" in found[name]} == itself


def commit(subject, *work):
    return {"commit": "c" * 40, "at_ms": 5, "author": "Kim", "subject": subject, "work": [*work]}


def test_a_commit_mentions_an_item_by_trailer_or_in_its_subject():
    commits = [commit("Fix (wk-1)."), commit("Fix", "wk-9"), commit("wk-1: fix"), commit("wk-12")]

    assert [row["title"] for row in health.of_commits(commits, ["wk-1", "wk-2"])] == ["wk-12"]


def done(work_id, by, day, **more):
    """An item that kim made on day 0 and somebody closed."""
    return {
        "work_id": work_id, "created_by": "human:kim", "created_at_ms": 0, "labels": [],
        "closed_by": by, "closed_at_ms": day * DAY_MS, **more,
    }  # fmt: skip


def told(kind, work_id, agent_id, day, **body):
    event_id = some.events.next_id("", day * DAY_MS, b"\x01" * 16)
    actor = {"agent_id": agent_id}
    return {"event_id": event_id, "type": kind, "actor": actor,
            "refs": {"work_id": work_id}, "body": body}  # fmt: skip


STATES = {
    "a": done("a", "agent:ada", 1, labels=["x", "y"]),
    "b": done("b", "agent:ada", 3),
    "c": done("c", "agent:bo", 9, deleted={}),
}
EVENTS = [
    told("work.submitted", "a", "agent:bo", 1), told("work.verified", "a", "agent:ada", 1,
                                                    verdict="fail"),
    told("work.verified", "b", "agent:ada", 1, verdict="pass"),
]  # fmt: skip
LOST = [told("work.claimed", "b", "agent:cy", 8)]


def efforts(by, since_ms=0):
    return effort.of(by, STATES, EVENTS, LOST, since_ms)


def test_effort_by_agent_counts_rework_for_who_did_it():
    """Not for who judged it; deleted items count nowhere."""
    rows = {row["agent_id"]: row for row in efforts("agent")}

    assert rows["agent:ada"]["lead_time"] == {"items": 2, "median_ms": 2 * DAY_MS}
    assert rows["agent:ada"]["reason"] == "closed 2, half of them within 2d"
    assert rows["agent:bo"]["rework"] == 1
    assert rows["agent:cy"]["reason"] == "closed nothing, 1 claim lost against others"
    assert rows["human:kim"]["created"] == 2


def test_effort_by_label_counts_an_item_under_each_of_its_labels():
    rows = [(row["label"], row["closed"], row["rework"]) for row in efforts("label")]

    assert rows == [("(none)", 1, 0), ("x", 1, 1), ("y", 1, 1)]


def test_effort_by_week_is_in_order_and_since_leaves_out_what_was_before():
    assert [row["week"] for row in efforts("week")] == ["1970-W01", "1970-W02"]
    assert [row["week"] for row in efforts("week", 7 * DAY_MS)] == ["1970-W02"]
