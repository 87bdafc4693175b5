"""What a host has promised, and the item has lost: remembered until it is over or given back."""

from coord.core.fold import fold
from tests.strategies import LATE_MS, START_MS, claimed, created, work


def after(*given_events):
    """The item after these events, and the codes of the problems."""
    folded = fold([created(), *given_events], LATE_MS)
    return folded.states["work/wk-a"], [problem.code for problem in folded.problems]


def released(by, at, lease):
    return work("released", at, by, lease=lease)


def won(by, at):
    """A claim that the remote has confirmed."""
    return claimed(by, at, confirmed="remote", fence=1_000_000)


def test_a_promise_is_given_back_by_its_holder_alone():
    """Else another agent of the host could free itself the way."""
    lost = [claimed("ada", 1), claimed("bo", 2)]
    ended = [claimed("bo", 1), won("ada", 2)]

    for before in (lost, ended):
        _, codes = after(*before, released("cy", 3, "lease-bo"))
        item, _ = after(*before, released("bo", 3, "lease-bo"))
        assert codes[-1:] == ["not_allowed"]
        assert ("refused" in item, item["claim"]["agent_id"]) == (False, "agent:ada")


def test_a_claim_of_what_somebody_had_closed_by_then_is_a_promise():
    """Its holder was told yes where nobody knew of the closing yet."""
    item, codes = after(work("closed", 1, "bo", **{"as": "done"}), claimed("ada", 2))

    assert codes == ["wrong_state"]
    assert [hold["agent_id"] for hold in item["refused"]] == ["agent:ada"]


def test_whatever_the_loser_wrote_before_it_knew_prolongs_the_promise():
    """A guarded write is fenced, and had prolonged the claim where it was written."""
    for verb, body in (("updated", {"set": {"title": "x"}}), ("commented", {"text": "x"})):
        said = work(verb, 500, lease="lease-ada", **body)
        item, _ = after(claimed("ada", 1), won("bo", 2), said)
        assert item["refused"][0]["expires_at_ms"] == START_MS + 1500


def test_giving_the_work_up_prolongs_no_promise():
    given_up = work("closed", 500, lease="lease-ada", **{"as": "done"})

    item, codes = after(claimed("ada", 1), won("bo", 2), given_up)

    assert codes == ["fenced"]
    assert item["refused"][0]["expires_at_ms"] == START_MS + 1001
