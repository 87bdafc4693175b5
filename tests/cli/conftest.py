"""Commands at minutes of a frozen morning, and a host that is reached by ssh."""

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bench import tunnel
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


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The other host, which is this machine by ssh: the folder of its state."""
    if not tunnel.SSHD:
        pytest.skip("needs sshd")
    with tunnel.other_host(tmp_path_factory.mktemp("far")) as state:
        yield state
