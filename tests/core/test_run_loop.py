"""A loop's bounds and its meter: pure answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.run import loop, meter
from coord.core.run.loop import Bounds, Standing

ALL = Bounds(iterations=10, wall_ms=1000, cost=5.0, still=3, has_goal=True)


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (Standing(), ""),
        (Standing(rounds=9, wall_ms=999, cost=4.99, still=2), ""),
        (Standing(rounds=10), "max_iterations"),
        (Standing(wall_ms=1000), "max_wall"),
        (Standing(cost=5), "max_cost"),
        (Standing(still=3), "no_progress"),
        (Standing(is_measured=False), "cost_unknown"),
        (Standing(rounds=10, wall_ms=1000, cost=5, still=3, is_reached=True), "until"),
    ],
)
def test_each_bound_stops_it_and_is_named(now, reason):
    assert loop.stop(ALL, now) == reason


def test_what_is_not_bounded_stops_nothing():
    now = Standing(rounds=10**6, wall_ms=10**9, cost=10**6, is_measured=False, still=10**6)

    assert loop.stop(Bounds(), now) == loop.cut(Bounds(), now) == ""


def test_only_time_and_cost_cut_a_round_off():
    assert loop.cut(ALL, Standing(rounds=10, still=3, is_measured=False)) == ""
    assert loop.cut(ALL, Standing(wall_ms=1000)) == "max_wall"
    assert loop.cut(ALL, Standing(cost=5)) == "max_cost"


def test_rounds_that_are_over_are_well_where_nothing_was_to_be_reached():
    assert loop.status_of("max_iterations", ALL) == 10
    assert loop.status_of("max_iterations", ALL._replace(has_goal=False)) == 0
    assert loop.status_of("no_progress", ALL._replace(has_goal=False)) == 11


@pytest.mark.parametrize(
    ("now", "names"),
    [
        (Standing(rounds=8, wall_ms=899, cost=4.49, still=1), []),
        (Standing(rounds=9), ["max_iterations"]),
        (Standing(wall_ms=900), ["max_wall"]),
        (Standing(cost=4.5), ["max_cost"]),
        (Standing(still=2), ["no_progress"]),
        (Standing(rounds=10, wall_ms=1000, cost=5, still=3), []),
    ],
)
def test_a_bound_is_near_at_nine_tenths_or_one_round_before(now, names):
    assert [name for name, _, _ in loop.near(ALL, now)] == names


STANDINGS = st.builds(
    Standing, st.integers(0, 20), st.integers(0, 2000), st.floats(0, 10), st.booleans(),
    st.integers(0, 6), st.booleans(),
)  # fmt: skip


@given(STANDINGS)
def test_what_cuts_a_round_off_stops_the_loop(now):
    """And what has stopped goes on stopping when more is used."""
    if loop.cut(ALL, now):
        assert loop.stop(ALL, now)
    if loop.stop(ALL, now):
        more = now._replace(rounds=now.rounds + 1, wall_ms=now.wall_ms + 1, cost=now.cost + 1)
        assert loop.stop(ALL, more)


CLAUDE = {
    "type": "result", "subtype": "success", "total_cost_usd": 0.25,
    "usage": {"input_tokens": 2, "cache_creation_input_tokens": 100,
              "cache_read_input_tokens": 1000, "output_tokens": 9,
              "server_tool_use": {"web_search_requests": 7}},
}  # fmt: skip
CODEX = {
    "type": "turn.completed",
    "usage": {"input_tokens": 24763, "cached_input_tokens": 24448, "output_tokens": 122},
}


@pytest.mark.parametrize(
    ("text", "unit", "line", "expected"),
    [
        ("claude", "usd", CLAUDE, 0.25),
        ("claude", "tokens", CLAUDE, 1111),
        ("claude", "usd", {"type": "assistant", "total_cost_usd": 1}, None),
        ("codex", "tokens", CODEX, 24885),
        ("$.usage.output_tokens", "tokens", CODEX, 122),
        ("$.usage.*", "tokens", CODEX, 49333),
        ("$.parts[*].cost", "usd", {"parts": [{"cost": 1}, {"cost": 2.5}, {}]}, 3.5),
        ("$.parts[1]['the cost']", "usd", {"parts": [0, {"the cost": 4}]}, 4),
        ("$.parts[2]", "usd", {"parts": [0]}, None),
        ("$[0]", "usd", [3], 3),
        ("$.n", "usd", {"n": True}, None),
        ("$.n", "usd", {"n": "5"}, None),
        ("$.n", "usd", {"n": -5}, None),
        ("$.n", "usd", "text", None),
    ],
)
def test_what_a_line_says_was_used(text, unit, line, expected):
    rule = meter.rule_of(text, unit)

    assert rule is not None
    assert meter.said(rule, line) == expected


@pytest.mark.parametrize("text", ["", "$", "usage", "$usage", "$.a[x]", "$.a[", "$..a", "max:a"])
def test_what_is_no_path(text):
    assert meter.rule_of(text, "usd") is None


def test_codex_tells_no_dollars():
    assert meter.rule_of("codex", "usd") is None


@pytest.mark.parametrize(("text", "total"), [("$.n", 6), ("max:$.n", 3)])
def test_a_running_total_counts_once(text, total):
    rule = meter.rule_of(text, "usd")
    assert rule is not None

    used = None
    for number in (1, None, 3, 2):
        used = meter.added(rule, used, number)

    assert used == total


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("2.50", (2.5, "usd")), ("$3", (3, "usd")), ("1usd", (1, "usd")),
        ("200000tokens", (200_000, "tokens")), ("200ktokens", (200_000, "tokens")),
        ("1.5Mtokens", (1_500_000, "tokens")), ("7 tokens", (7, "tokens")),
        ("0", None), ("", None), ("$5tokens", None), ("-1", None), ("five", None),
    ],
)  # fmt: skip
def test_amounts(text, amount):
    assert meter.amount_of(text) == amount


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner:
       st.lists(inner) | st.dictionaries(st.sampled_from("abn"), inner)))  # fmt: skip
def test_no_line_is_too_strange_for_a_meter(value):
    for text in ("$.a.b", "$.*[*].n", "$[0]", "claude"):
        rule = meter.rule_of(text, "usd")
        assert rule is not None
        meter.said(rule, value)
