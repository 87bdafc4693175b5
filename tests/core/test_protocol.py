"""Confirmed holds under every interleaving of three clones: nobody is promised what another has.

Laws, checked at every step of the model (`tests.core.protocol`), against real folds and
records: at most one believes that the remote confirmed it; no advisory hold is good while a
confirmed one runs; on one host nothing is promised to two; what arrives in whatever order,
under whatever writer's name, folds to the same bytes; confirmed fences grow in the order in
which holders become good; who loses a hold early is remembered, to be told.
"""

from coord.core import arbiter, record
from tests.core.protocol import Rules, Setting, explore

# Two clones of one agent each, a third that looks on, and a clone with two agents.
PAIR = {"ada": 0, "bo": 1}
THREE = {"ada": 0, "bo": 1, "cy": 2}
SHARED = {"ada": 0, "dee": 0, "bo": 1}
CROWD = {**SHARED, "eve": 2}
RACE = {"ada confirm": 1, "bo confirm": 1}

SHORT = {
    "three race, clocks apart": Setting(THREE, {**RACE, "cy confirm": 1}, 1, (0, 1, 0)),
    "a crash anywhere": Setting(PAIR, {**RACE, "crash": 1}, 3, (3, 0)),
    "a push that lands late": Setting(PAIR, {**RACE, "crash": 1, "late": 1}, 2, (0, 0)),
    "a release, clocks 4 minutes apart": Setting(PAIR, {**RACE, "release": 1}, 2, (4, 0)),
    "clocks 10 minutes apart": Setting(PAIR, {**RACE, "bo host": 1}, 2, (10, 0)),
    "a crash after what ran out": Setting(
        PAIR, {"ada confirm": 1, "bo confirm": 2, "crash": 1}, 2, (2, 0)
    ),
    "a renewal": Setting(PAIR, {**RACE, "ada renew": 1, "crash": 1}, 2, (0, 0)),
    "advisory and confirmed on one clone": Setting(SHARED, {**RACE, "dee host": 1}, 2, (0, 1)),
    "advisory on three clones": Setting(
        CROWD, {"bo confirm": 1, "ada host": 1, "dee host": 1, "eve host": 1}, 1
    ),
    "an advisory renewal that did not know": Setting(
        SHARED, {"bo confirm": 1, "ada host": 1, "dee host": 1, "ada prolong": 1}, 2, (0, 0)
    ),
}
LONG = {
    "three race and crash": Setting(THREE, {**RACE, "cy confirm": 1, "crash": 1}, 2, (0, 1, 0)),
    "three race and expire": Setting(THREE, {**RACE, "cy confirm": 1}, 3, (0, 4, 2)),
    "a longer renewal": Setting(PAIR, {**RACE, "ada renew": 1, "crash": 1}, 4, (0, 0)),
    "a renewal whose push lands late": Setting(
        PAIR, {**RACE, "ada renew": 1, "crash": 1, "late": 1}, 3, (3, 0)
    ),
    "renewal, release and a host": Setting(
        SHARED, {**RACE, "ada renew": 1, "release": 1, "dee host": 1}, 2, (0, 1)
    ),
    "the same again after a crash": Setting(
        PAIR, {"ada confirm": 2, "bo confirm": 1, "release": 1, "crash": 1}, 2, (0, 3)
    ),
    "advisory against a confirmed renewal": Setting(
        SHARED,
        {"ada host": 1, "dee host": 1, "bo confirm": 1, "bo renew": 1, "release": 1},
        2,
        (0, 3),
    ),
    "clocks 10 minutes apart and a release": Setting(
        PAIR, {**RACE, "release": 1, "bo host": 1}, 3, (10, 0)
    ),
    "from advisory to confirmed": Setting(
        PAIR, {**RACE, "ada host": 1, "ada prolong": 1, "bo host": 1}, 2, (0, 0)
    ),
}


def pytest_generate_tests(metafunc):
    """The large settings take minutes: they are there with `--long`."""
    if "name" in metafunc.fixturenames:
        more = LONG if metafunc.config.getoption("--long") else {}
        metafunc.parametrize("name", [*SHORT, *more])


def test_no_interleaving_breaks_a_law(name, capsys):
    found = explore({**SHORT, **LONG}[name])

    with capsys.disabled():
        print(f"\n{name}: {found.states} states, {found.steps} steps")
    assert not found.violation, "\n".join([*found.trace, found.violation])
    assert found.states > 1000


def violation(moves, agents=PAIR, ticks=4, skews=(0, 1), **rules):
    """What the model finds with a guard taken away, and that it finds nothing with it."""
    kept = explore(Setting(agents, moves, ticks, skews))
    assert not kept.violation, kept
    return explore(Setting(agents, moves, ticks, skews, Rules(**rules))).violation


def test_the_model_finds_it_when_nobody_watches_for_the_whole_ttl():
    assert "two believe" in violation(RACE, ticks=1, watches=False)


def test_the_model_finds_it_when_the_successor_is_not_newer_than_what_ran_out():
    assert "fence" in violation(RACE, ticks=3, skews=(3, 0), heeds_floor=False)


def test_the_model_finds_it_when_a_record_forgets_when_its_hold_began(monkeypatch):
    """What was released without an event had begun after something that ran out."""
    monkeypatch.setattr(record, "with_hold", forgetful)

    assert "refused" in explore(SHORT["a crash after what ran out"]).violation


WITH_HOLD = record.with_hold


def forgetful(found, domain, hold, event_id, gone=()):
    """A record that is as new as what its swapper knew, and no newer."""
    after = WITH_HOLD(found, domain, hold, event_id, gone)
    return after._replace(event_id=max(event_id, found.event_id if found else ""))


def test_the_model_finds_it_when_a_winner_does_not_judge_again_before_it_appends():
    """A host's hold may have been granted since it judged first."""
    moves = {"ada confirm": 1, "dee host": 1}
    assert "to two" in violation(moves, {"ada": 0, "dee": 0}, 1, (0,), judges_again=False)


def test_the_model_finds_it_when_another_process_of_the_clone_settles_meanwhile():
    """It takes a swap whose event is still to come for one that was left behind."""
    assert "two believe" in violation(RACE, ticks=1, one_at_a_time=False)


def test_the_model_finds_it_when_a_renewal_that_was_not_recorded_is_released():
    """Its holder still has what it had before."""
    moves = {**RACE, "ada renew": 1, "crash": 1}
    assert "two believe" in violation(moves, ticks=0, puts_back=False)


def test_the_model_finds_it_when_the_arbiter_forgets_what_a_confirmed_acquire_ended(monkeypatch):
    real = arbiter.acquire
    monkeypatch.setattr(arbiter, "acquire", lambda *asked: forgetting(real(*asked)))

    found = explore(SHORT["advisory on three clones"])

    assert "forgotten" in found.violation


def forgetting(answer):
    """The answer of an arbiter that keeps no promise."""
    domain, problem = answer
    return {**domain, "refused": []}, problem


def test_the_model_finds_it_when_an_advisory_acquire_replaces_a_confirmed_hold(monkeypatch):
    monkeypatch.setattr(arbiter, "is_confirmed", lambda _hold: False)

    assert explore(SHORT["advisory and confirmed on one clone"]).violation
