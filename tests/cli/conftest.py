"""Commands at minutes of a frozen morning."""

import functools

import pytest

from tests.cli.morning import ADA, BO, KIM, created_at, ran_at


@pytest.fixture
def at(run, store, frozen):
    """`at(minutes, agent, words…)`: run a command at a minute after the frozen morning."""
    return functools.partial(ran_at, run, frozen)


@pytest.fixture
def created(at):
    """`created(title, …)`: the id of a new item, made by kim at minute 0."""
    return functools.partial(created_at, at, KIM)


@pytest.fixture
def mail(at):
    """`mail(minute, agent, words…)`: run a `msg` command; bo and kim are registered."""
    bo = (BO, "--mode", "listening", "--role", "reviewer")
    for words in (bo, (KIM, "--mode", "human")):
        assert at(0, ADA, "ev", "agent", "register", *words, "--quiet").code == 0
    return lambda minute, agent, *words, **options: at(minute, agent, "msg", *words, **options)
