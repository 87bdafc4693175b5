"""The views of everything: stats, conflicts, graph, critical, stale, board, feedback."""

import json

import pytest

from coord.errors import NO, NOT_FOUND, USAGE
from tests.conftest import FROZEN_MS

DAY_MS = 86_400_000


@pytest.fixture
def shop(run, store, frozen):
    """A store whose clock stands still; `shop.at(ms)` moves it."""
    run.at = lambda ms: {"env": frozen(now_ms=ms), "as_": "agent:ada"}
    for name, needs in (("a", ""), ("b", "a"), ("c", "b"), ("d", "b")):
        line = {"work_id": f"it-{name}", "title": f"Title {name}"}
        if needs:
            line["needs"] = f"it-{needs}"
        run.ok("wk", "create", "-", input=json.dumps(line), **run.at(FROZEN_MS))
    return run


def ids(answer):
    return [row["work_id"] for row in answer.lines]


def test_stats_count_every_item_once(shop):
    shop.ok("wk", "claim", "it-a", **shop.at(FROZEN_MS))
    shop.ok("wk", "close", "it-a", **shop.at(FROZEN_MS + 3 * DAY_MS))
    shop.ok("wk", "claim", "it-b", **shop.at(FROZEN_MS + 3 * DAY_MS))

    told = shop.ok("wk", "stats", **shop.at(FROZEN_MS + 3 * DAY_MS)).json

    assert told["by_status"] == {"claimed": 1, "closed": 1, "open": 2}
    assert told["by_agent"] == {"agent:ada": {"closed": 1, "created": 4, "holds": 1}}
    assert told["by_assignee"] == {"nobody": 3}
    assert told["lead_time"] == {"items": 1, "median_ms": 3 * DAY_MS}
    assert len(told["per_day"]) == 14
    assert sum(day["created"] for day in told["per_day"]) == 4
    assert told["per_day"][-1]["closed"] == 1


def test_stats_say_what_they_leave_out(shop):
    shop.ok("wk", "update", "it-a", "--label", "x,y,z", **shop.at(FROZEN_MS))

    answer = shop.ok("wk", "stats", "--top", "1", **shop.at(FROZEN_MS))

    assert len(answer.json["by_label"]) == 1
    assert answer.json["left_out"] == {"by_label": 2}
    assert json.loads(answer.err)["note"]["code"] == "more"


def test_a_value_that_lost_is_told_with_both_authors(shop):
    """The base of the later edit is older than the other's edit: neither knew of the other."""
    base = shop.ok("ev", "list", "--type", "work.created", "-n", "0").lines[0]["event_id"]
    shop.ok("wk", "update", "it-a", "--title", "Ada's", **shop.at(FROZEN_MS))
    late = {"set": {"title": "Bo's"}, "base": {"title": base}}
    body = json.dumps(late)
    event = ("ev", "emit", "work.updated", "--ref", "work_id=it-a", "--body", body)
    shop.ok(*event, as_="agent:bo", env=shop.at(FROZEN_MS)["env"])

    (row,) = shop.ok("wk", "conflicts").lines

    kept = {name: row[name] for name in ("work_id", "field", "lost", "lost_by", "kept", "kept_by")}
    assert kept == {
        "work_id": "it-a", "field": "title", "lost": "Ada's", "lost_by": "agent:ada",
        "kept": "Bo's", "kept_by": "agent:bo",
    }  # fmt: skip
    assert shop.ok("wk", "conflicts", "it-a").lines == [row]
    assert shop("wk", "conflicts", "it-b").code == NO
    assert shop("wk", "conflicts", "it-x").code == NOT_FOUND
    shop.ok("wk", "update", "it-a", "--title", "Both's", **shop.at(FROZEN_MS))
    assert shop("wk", "conflicts").code == NO


def test_a_title_that_reads_like_a_conflict_is_none(shop):
    shop.ok("wk", "update", "it-a", "--title", '"conflicts":[', **shop.at(FROZEN_MS))

    assert shop("wk", "conflicts").code == NO


def test_critical_counts_who_waits_in_the_end_and_places_the_chain(shop):
    rows = shop.ok("wk", "critical").lines

    assert [(row["work_id"], row["waiting"]) for row in rows] == [("it-a", 3), ("it-b", 2)]
    assert ids(shop.ok("wk", "critical", "--chain")) == ["it-a", "it-b", "it-c"]
    assert [row["chain"] for row in rows] == [1, 2]


def test_what_is_closed_holds_up_nothing(shop):
    shop.ok("wk", "close", "it-a", **shop.at(FROZEN_MS))
    shop.ok("wk", "close", "it-b", **shop.at(FROZEN_MS))

    assert shop("wk", "critical").code == NO
    assert shop("wk", "graph").code == NO


def test_an_item_on_hold_for_another_waits_too(shop):
    shop.ok("wk", "hold", "it-a", "--on", "it-d", "--why", "later", **shop.at(FROZEN_MS))
    shop.ok("wk", "dep", "rm", "it-d", "--needs", "it-b", **shop.at(FROZEN_MS))

    counts = {row["work_id"]: row["waiting"] for row in shop.ok("wk", "critical").lines}

    assert counts == {"it-a": 2, "it-b": 1, "it-d": 3}


def test_a_graph_is_of_what_is_to_be_done_or_of_what_is_named(shop):
    shop.ok("wk", "close", "it-a", **shop.at(FROZEN_MS))

    everything = shop.ok("wk", "graph").lines
    named = shop.ok("wk", "graph", "it-c").lines

    assert [(row["work_id"], row["target"]) for row in everything] == [
        ("it-c", "it-b"), ("it-d", "it-b"),
    ]  # fmt: skip
    assert ("it-b", "it-a") in [(row["work_id"], row["target"]) for row in named]
    assert shop("wk", "graph", "it-x").code == NOT_FOUND
    assert shop("wk", "graph", "--format", "png").code == USAGE


def test_stale_names_the_reason(shop):
    later = FROZEN_MS + 20 * DAY_MS
    shop.ok("wk", "claim", "it-a", "--ttl", "1h", **shop.at(later - DAY_MS))
    shop.ok("wk", "claim", "it-b", "--anyway", "--ttl", "3d", **shop.at(later - DAY_MS))

    rows = shop.ok("wk", "stale", **shop.at(later)).lines

    assert {row["work_id"]: row["stale"] for row in rows} == {
        "it-a": "abandoned", "it-b": "silent", "it-c": "untouched", "it-d": "untouched",
    }  # fmt: skip
    assert rows[0]["reason"] == "nobody changed it for 20d"
    shop.ok("wk", "comment", "it-b", "half done", **shop.at(later))
    assert "it-b" not in ids(shop.ok("wk", "stale", **shop.at(later)))
    assert shop("wk", "stale", "--days", "30", "--limit", "1", **shop.at(later)).code == 0
    assert shop("wk", "stale", "--silent", "soon").code == USAGE


def test_a_board_has_every_item_in_one_column(shop):
    shop.ok("wk", "claim", "it-a", **shop.at(FROZEN_MS))
    shop.ok("wk", "close", "it-d", **shop.at(FROZEN_MS))

    rows = shop.ok("wk", "board", **shop.at(FROZEN_MS)).lines
    text = shop.ok("wk", "board", "--format", "text", **shop.at(FROZEN_MS)).out

    assert [(row["column"], row["work_id"]) for row in rows] == [
        ("claimed", "it-a"), ("blocked", "it-b"), ("blocked", "it-c"), ("closed", "it-d"),
    ]  # fmt: skip
    assert max(map(len, text.splitlines())) <= 80
    assert "BLOCKED (2)" in text
    later = shop.ok("wk", "board", **shop.at(FROZEN_MS + 8 * DAY_MS)).lines
    assert "it-d" not in [row["work_id"] for row in later]


def test_feedback_goes_with_the_item_that_is_held(shop):
    shop.ok("wk", "feedback", "I lack a plan", **shop.at(FROZEN_MS))
    shop.ok("wk", "claim", "it-a", **shop.at(FROZEN_MS))
    shop.ok("wk", "feedback", "I lack a database", **shop.at(FROZEN_MS))
    shop.ok("wk", "feedback", "-", "--on", "it-c", input="too vague\n", **shop.at(FROZEN_MS))

    events = shop.ok("ev", "list", "--type", "feedback.*").lines

    assert [(event["refs"], event["body"]) for event in events] == [
        ({}, {"text": "I lack a plan"}),
        ({"work_id": "it-a"}, {"text": "I lack a database", "work_id": "it-a"}),
        ({"work_id": "it-c"}, {"text": "too vague", "work_id": "it-c"}),
    ]
    assert shop("wk", "feedback", " ", **shop.at(FROZEN_MS)).code == USAGE
    assert shop("wk", "feedback", "x", "--on", "it-x", **shop.at(FROZEN_MS)).code == NOT_FOUND
    assert shop.ok("ev", "check").code == 0


def test_a_board_counts_what_it_does_not_show(shop):
    """In one pass, but as many as the lists have, with waits and claims."""
    late = shop.at(FROZEN_MS + 2 * DAY_MS)
    for name in "efghi":
        shop.ok("wk", "create", name, **shop.at(FROZEN_MS))
    shop.ok("wk", "claim", "it-a", "--ttl", "1h", **shop.at(FROZEN_MS))
    shop.ok("wk", "claim", "--next", "--ttl", "9d", **shop.at(FROZEN_MS))
    shop.ok("wk", "hold", "it-c", "--on", "agent:bo", "--why", "asks", **shop.at(FROZEN_MS))
    shop.ok("wk", "create", "later", "--defer-until", "2027-01-01", **shop.at(FROZEN_MS))

    rows = shop.ok("wk", "board", "-n", "1", **late).lines

    told = {row["column"]: row["of"] for row in rows}
    assert told == {
        name: len(ids(shop.ok("wk", "list", "--status", name, **late))) for name in told
    }
    assert told == {"ready": 5, "claimed": 1, "blocked": 3, "deferred": 1}
