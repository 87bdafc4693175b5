"""Agents as their events make them: who they are, who stands behind them, who paused them."""

import pytest

from coord.core import registry
from coord.core.fold import fold
from tests import strategies as some
from tests.strategies import LATE_MS, START_MS, id_at, paused, resumed

ADA = "agent:ada"


def registered(at, by=ADA, who=ADA, **body):
    """An agent says who it is."""
    return some.event("agent.registered", at, by, refs={"agent_id": who}, body=body)


class World:
    """The folded states of some events."""

    def __init__(self, *events):
        self.folded = fold(events, LATE_MS)

    def state(self, entity):
        return self.folded.states.get(entity, {})

    def keyed(self, event):
        return ()

    @property
    def codes(self):
        return [problem.code for problem in self.folded.problems]


def test_an_agent_is_what_it_said_last_of_each_thing():
    world = World(
        registered(1, name="Ada", kind="coder", mode="episodic", period_ms=60_000),
        registered(2, mode="listening", capabilities=["python"]),
    )

    assert registry.view(world.state(f"agent/{ADA}"), world, "~") == {
        "agent_id": ADA,
        "name": "Ada",
        "kind": "coder",
        "mode": "listening",
        "period_ms": 60_000,
        "capabilities": ["python"],
        "registered_at_ms": START_MS + 1,
    }


@pytest.mark.parametrize(
    "body", [{"name": 7}, {"period_ms": "1m"}, {"period_ms": True}, {"capabilities": "all"}]
)
def test_what_does_not_fit_is_a_problem_and_registers_nothing(body):
    world = World(registered(1, **body))

    assert world.codes == ["bad_data"]
    assert world.state(f"agent/{ADA}") == {}


def test_the_owner_is_the_one_registered_before_the_event_that_asks():
    world = World(registered(1, owner="human:cy"), registered(5, owner="human:dee"))

    owners = [registry.owner_of(world, ADA, id_at(at)) for at in (1, 2, 5, 6)]
    assert owners == ["", "human:cy", "human:cy", "human:dee"]
    assert registry.owner_of(world, "agent:nobody", id_at(9)) == ""


def test_a_pause_binds_what_comes_after_it_up_to_its_own_lifting():
    """Whoever lifts its own pause is bound by it still."""
    world = World(paused(ADA, 2), resumed(ADA, 5))

    bound = [registry.pause_of(world, ADA, id_at(at)) is not None for at in (1, 2, 3, 5, 6)]
    assert bound == [False, False, True, True, False]


def test_a_pause_says_who_and_why_and_the_first_one_counts():
    world = World(paused(ADA, 1, by="human:cy"), paused(ADA, 2, by="bo"))

    pause = registry.pause_of(world, ADA, "~")
    assert (pause["by"], pause["why"], pause["since"]) == ("human:cy", "a test", id_at(1))
    assert registry.view(world.state(f"agent/{ADA}"), world, "~")["paused"]["by"] == "human:cy"


def test_a_pause_without_a_reason_says_that_there_was_none():
    world = World(some.event("agent.paused", 1, "bo", refs={"agent_id": ADA}, body={"why": 7}))

    assert registry.pause_of(world, ADA, "~")["why"] == "no reason given"


def test_everybody_is_every_agent_and_bot_and_no_person():
    world = World(paused("*", 1))

    bound = {who for who in (ADA, "bot:ci", "human:cy") if registry.pause_of(world, who, "~")}
    assert bound == {ADA, "bot:ci"}


def test_a_person_is_paused_by_name():
    assert registry.pause_of(World(paused("human:cy", 1, by="human:dee")), "human:cy", "~")


def test_lifting_the_pause_of_one_leaves_that_of_all():
    world = World(paused(ADA, 1), paused("*", 2), resumed(ADA, 3))

    assert registry.pause_of(world, ADA, "~")["since"] == id_at(2)


def test_an_agent_that_is_not_paused_cannot_be_resumed():
    assert World(resumed(ADA, 1)).codes == ["wrong_state"]
    assert World(paused(ADA, 1), resumed(ADA, 2), resumed(ADA, 3)).codes == ["wrong_state"]


def test_an_agents_pause_of_another_is_lifted_by_any_third_that_is_not_paused():
    assert World(paused(ADA, 1, by="bo"), resumed(ADA, 2, by="zed")).codes == []


def test_a_second_pause_after_the_first_was_lifted_binds_again():
    world = World(paused(ADA, 1), resumed(ADA, 2), paused(ADA, 3))

    assert len(world.state(f"agent/{ADA}")["pauses"]) == 2
    assert registry.pause_of(world, ADA, "~")["since"] == id_at(3)
