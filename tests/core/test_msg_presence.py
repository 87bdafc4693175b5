"""Liveness apart from progress, relative to the agent's own period."""

import pytest

from coord.core.msg import presence
from coord.core.msg.presence import Beat, Fact, Seen

MINUTE_MS = 60_000
NOW_MS = 1_767_258_000_000
EPISODIC = {"mode": "episodic", "period_ms": 5 * MINUTE_MS}


def seen(fact=None, beat=None, registered=EPISODIC, agent_id="agent:bo", paused=None):
    """An agent with its newest fact and beat so many minutes ago."""
    facts = Fact("01K", "work.closed", NOW_MS - fact * MINUTE_MS) if fact is not None else None
    beats = [Beat(agent_id, "s1", NOW_MS - beat * MINUTE_MS)] if beat is not None else []
    return Seen(agent_id, registered, paused, facts, beats, (), ())


@pytest.mark.parametrize(
    ("fact", "beat", "word"),
    [
        (1, 1, "working"), (10, None, "working"), (11, 1, "idle"), (None, 10, "idle"),
        (11, 11, "stale"), (11, None, "stale"), (None, None, "unseen"),
    ],
)  # fmt: skip
def test_alive_without_progress_is_idle_and_neither_is_stale(fact, beat, word):
    """Twice its own period is allowed."""
    assert presence.state_word(seen(fact, beat), NOW_MS) == word


def test_stale_is_relative_to_the_agents_own_period():
    slow = {"mode": "episodic", "period_ms": 60 * MINUTE_MS}

    assert presence.state_word(seen(50, registered=EPISODIC), NOW_MS) == "stale"
    assert presence.state_word(seen(50, registered=slow), NOW_MS) == "working"
    assert presence.state_word(seen(29, registered={}), NOW_MS) == "working"
    assert presence.state_word(seen(31, registered={}), NOW_MS) == "stale"


def test_a_person_is_never_stale():
    assert presence.state_word(seen(9999, registered={}, agent_id="human:kim"), NOW_MS) == "idle"


def test_who_is_paused_is_paused_first_of_all():
    pause = {"by": "human:kim", "why": "a test", "since": "01K"}

    assert presence.state_word(seen(1, 1, paused=pause), NOW_MS) == "paused"
    assert presence.row(seen(1, 1, paused=pause), NOW_MS)["paused"] == pause


def test_every_fact_has_a_source_and_an_age():
    row = presence.row(seen(3, 1), NOW_MS)

    assert (row["last_fact"]["source"], row["last_fact"]["age_ms"]) == ("journal", 3 * MINUTE_MS)
    assert (row["beats"][0]["source"], row["beats"][0]["age_ms"]) == ("this clone", MINUTE_MS)


def test_a_clock_that_is_ahead_makes_no_negative_age():
    assert presence.row(seen(-1, -1), NOW_MS)["last_fact"]["age_ms"] == 0


@pytest.mark.parametrize(
    ("what", "text"),
    [
        (seen(3), "agent:bo is episodic, every 5m, last seen 3m ago"),
        (seen(99), "agent:bo is episodic, every 5m, last seen 1h ago: stale"),
        (seen(3, registered={"mode": "listening"}),
         "agent:bo listens all the time, last seen 3m ago"),
        (seen(registered={}), "agent:bo is not registered, never seen here"),
        (seen(3, 0, {}, "human:kim"), "human:kim is a person, last seen 0s ago"),
    ],
)  # fmt: skip
def test_what_to_expect_is_one_sentence(what, text):
    assert presence.expectation(what, NOW_MS) == text
