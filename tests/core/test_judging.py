"""What may be written here and now, beyond what the fold would refuse anywhere."""

from hypothesis import given

from coord.core import event as events
from coord.core import judging
from coord.core.fold import fold
from tests import strategies as some
from tests.strategies import LATE_MS, START_MS, claimed, created, event, paused, resumed, work


class Here:
    """A clone that knows these events; one is ours when its writer's replica is `aaaaaa`."""

    skew_ms = 100

    def __init__(self, *known, now_ms=LATE_MS, won=()):
        self.known, self.won = known, won
        self.states = fold(known, now_ms).states

    def state(self, entity):
        return self.states.get(entity, {})

    def keyed(self, other):
        scope = events.key_scope(other.raw)
        return [e for e in self.known if events.key_scope(e.raw) == scope]

    def is_open(self, work_id):
        state = self.state(f"work/{work_id}")
        return state["status"] != "closed" if state else None

    def needs_of(self, work_id):
        return self.state(f"work/{work_id}").get("links", {}).get("needs", ())

    def is_ours(self, hold):
        writers = [e.writer for e in self.known if e.event_id == hold["event_id"]]
        return any(writer.endswith(".aaaaaa") for writer in writers)

    def has_won(self, nonce):
        return nonce in self.won

    def sent_since(self, agent_id, since_ms):
        sent = [e for e in self.known if (e.type, e.agent_id) == ("msg.sent", agent_id)]
        return len([e for e in sent if e.time_ms >= since_ms])


def refused(written, *known, won=()):
    """The code of the refusal, "" when the event may be written."""
    here = Here(created(), created("wk-b", 0, nth=1), *known, won=won)
    _, problem = judging.judge(written, here)
    return problem.code if problem else ""


def test_what_the_fold_would_call_a_problem_is_refused():
    assert refused(work("reopened", 1)) == "wrong_state"
    assert refused(claimed("bo", 2, fence=2), claimed("ada", 1)) == "held"
    assert refused(work("commented", 1, item="wk-z", text="x")) == "unknown_work"


def test_marks_that_stand_when_they_come_from_elsewhere_are_refused_here():
    """A paused agent's comment, an item that is there, a key that stands for something else."""
    keyed = work("commented", 1, key="k", text="one")

    assert refused(work("commented", 2, text="x"), paused("agent:ada", 1)) == "paused"
    assert refused(created(at=1, title="another")) == "exists"
    assert refused(work("commented", 2, key="k", text="two"), keyed) == "key_reused"


def test_a_paused_agent_writes_nothing_even_about_nothing():
    assert refused(event("build.finished", 2), paused("agent:ada", 1)) == "paused"
    assert refused(event("build.finished", 2)) == ""


def test_a_paused_human_lifts_a_pause_and_nothing_else():
    stopped = paused("human:cy", 1, by="human:dee")

    assert refused(resumed("human:cy", 2), stopped) == ""
    assert refused(work("commented", 2, "human:cy", text="x"), stopped) == "paused"


def test_another_hosts_hold_is_waited_for_a_skew_longer_than_ours():
    for replica, until in (("aaaaaa", 11), ("zzzzzz", 111)):
        hold = claimed("bo", 1, ttl=10, replica=replica)
        assert refused(claimed("ada", until - 1, fence=2), hold) == "held"
        assert refused(claimed("ada", until, fence=2), hold) == ""


def test_a_refused_acquire_of_this_host_is_in_the_way_and_anothers_is_not():
    for replica, code in (("aaaaaa", "held"), ("zzzzzz", "")):
        lost = claimed("bo", 2, ttl=900, fence=2, replica=replica)
        won = claimed("cy", 1, ttl=10, replica="zzzzzz")
        assert refused(claimed("ada", 200, fence=3), won, lost) == code


def test_a_claim_has_the_one_fence_above_all_known():
    taken = [claimed("bo", 1, ttl=1, fence=4), work("released", 2, "bo", lease="lease-bo")]

    assert [refused(claimed("ada", 500, fence=n), *taken) for n in (4, 5, 6)] == [
        "fenced", "", "fenced"
    ]  # fmt: skip


def confirmed(by, at, fence=1_000_000, nonce="n1", **parts):
    """A claim that says that the remote has confirmed it."""
    return claimed(by, at, fence=fence, confirmed="remote", nonce=nonce, **parts)


def test_a_confirmed_claim_is_written_by_who_has_won_its_nonce_at_the_remote():
    assert refused(confirmed("ada", 1)) == "not_allowed"
    assert refused(confirmed("ada", 1), won=["n2"]) == "not_allowed"
    assert refused(confirmed("ada", 1), won=["n1"]) == ""
    assert refused(claimed("ada", 1, confirmed="none")) == ""


def test_a_confirmed_fence_is_a_round_one_above_all_known():
    taken = [claimed("bo", 1, ttl=1, fence=1_000_000), work("released", 2, "bo", lease="lease-bo")]

    for fence, code in ((1_000_000, "fenced"), (1_000_001, "fenced"), (2_000_000, "")):
        assert refused(confirmed("ada", 500, fence), *taken, won=["n1"]) == code


def test_a_confirmed_claim_ends_no_hold_that_is_known_here_but_its_holders_own():
    """Of neither tier, of this host's promises neither."""
    won = {"won": ["n1"]}
    theirs = claimed("bo", 1, ttl=900, replica="zzzzzz")
    proved = confirmed("bo", 1, ttl=900, nonce="n0")
    lost = claimed("cy", 2, ttl=900, fence=2)

    assert refused(confirmed("ada", 500), theirs, **won) == "held"
    assert refused(confirmed("ada", 500, 2_000_000), proved, **won) == "held"
    assert refused(confirmed("ada", 901, 2_000_000), proved, **won) == ""
    freed = work("released", 3, "bo", lease="lease-bo")
    assert refused(confirmed("ada", 500), theirs, lost, freed, **won) == "held"
    assert refused(confirmed("ada", 500), claimed("ada", 1), **won) == ""
    assert refused(confirmed("ada", 500, 2_000_000), confirmed("ada", 1, nonce="n0"), **won) == ""


def test_a_confirmed_claim_is_renewed_by_who_has_won_the_new_nonce():
    """Anything else than the remote may not prolong it."""
    held = confirmed("ada", 1, nonce="n0")
    until = {"ttl_ms": 1000, "expires_at_ms": START_MS + 1500, "lease": "lease-ada"}

    assert refused(work("renewed", 500, **until), held) == "not_allowed"
    assert refused(work("renewed", 500, nonce="n1", **until), held) == "not_allowed"
    assert refused(work("renewed", 500, nonce="n1", **until), held, won=["n1"]) == ""
    assert refused(work("renewed", 500, **until), claimed("ada", 1)) == ""


def test_an_item_that_waits_is_claimed_only_when_that_is_said():
    needs = work("linked", 1, kind="needs", target="wk-b")
    deferred = work("updated", 1, set={"defer_until_ms": START_MS + 50})

    assert refused(claimed("ada", 2), needs) == "not_ready"
    assert refused(claimed("ada", 2, anyway=True), needs) == ""
    assert refused(claimed("ada", 2), needs, work("closed", 1, item="wk-b", **{"as": "done"})) == ""
    assert refused(claimed("ada", 49), deferred) == "not_ready"
    assert refused(claimed("ada", 50), deferred) == ""


def test_a_link_points_at_an_item_that_is_known():
    assert refused(work("linked", 1, kind="needs", target="wk-z")) == "unknown_work"
    assert refused(work("linked", 1, kind="needs", target="wk-b")) == ""


def test_needs_and_parents_never_go_round_in_a_circle_and_other_links_may():
    for kind, code in (("needs", "cycle"), ("parent", "cycle"), ("relates", "")):
        there = work("linked", 1, kind=kind, target="wk-b")
        assert refused(work("linked", 2, item="wk-b", kind=kind, target="wk-a"), there) == code


@given(lines=some.histories(), written=some.raws())
def test_what_is_accepted_the_fold_accepts_too(lines, written):
    """Written after all that is known: then it has its effect, and no problem but a mark."""
    known = [e for e in some.of(lines) if e.event_id < written["event_id"]]
    here = Here(*known)
    [judged] = some.of([written])

    after, problem = judging.judge(judged, here)

    if problem is None:
        folded = fold([*known, judged], LATE_MS)
        assert folded.states.get(events.entity_of(written), {}) == after
        assert not [p for p in folded.problems if p.event_id == judged.event_id and not p.stands]
