"""Custody: who has an item at every point, and that verification cannot be talked around."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import arbiter, fold
from coord.core.wk import custody, view
from tests import strategies as a

AGENTS = ("ada", "bo", "cy")
REQUIRED = a.event("config.set", at=1, body={"key": "verify", "value": "required"})


def folded(*events):
    """The item's state, and the codes of what was refused."""
    found = fold.fold(events, a.LATE_MS)
    refused = [p.code for p in found.problems if not p.stands]
    return found.states.get("work/wk-a", {}), refused


def submitted(at=20, by="ada", lease="lease-ada-10", **parts):
    return a.work("submitted", at, by, lease=lease, **parts)


def verified(by, of, at=30, verdict="pass", **parts):
    return a.work("verified", at, by, submission=of.event_id, verdict=verdict, **parts)


def closed(at=40, by="ada", **parts):
    return a.work("closed", at, by, **{"as": "done"}, **parts)


def claim(by="ada", at=10, ttl=1000, fence=1, **parts):
    lease = f"lease-{by}-{at}"
    refs = {"resource": "work:wk-a"}
    body = {"fence": fence, "ttl_ms": ttl, "expires_at_ms": a.START_MS + at + ttl}
    return a.work("claimed", at, by, lease=lease, refs=refs, confirmed="host", **body, **parts)


BEGUN = (a.created(), claim(session="s1"))
SUBMITTED = submitted(session="s1")


def test_required_verification_needs_a_pass_before_closing_as_done():
    state, refused = folded(REQUIRED, *BEGUN, closed(session="s1"))

    assert (state["status"], refused) == ("claimed", ["unverified"])


def test_a_pass_lets_anybody_close_as_done():
    state, refused = folded(REQUIRED, *BEGUN, SUBMITTED, verified("bo", SUBMITTED), closed(by="bo"))

    assert (state["status"], refused) == ("closed", [])


def test_other_outcomes_need_no_pass():
    state, refused = folded(
        REQUIRED, *BEGUN, a.work("closed", 40, session="s1", **{"as": "wontdo"})
    )

    assert (state["status"], refused) == ("closed", [])


def test_the_setting_binds_from_its_own_id_on():
    """What was closed before verification was required stays closed."""
    later = a.event("config.set", at=90, body={"key": "verify", "value": "required"})

    state, refused = folded(*BEGUN, closed(session="s1"), later)

    assert (state["status"], refused) == ("closed", [])


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        (verified("ada", SUBMITTED), "not_allowed"),
        (verified("ada", SUBMITTED, session="another"), "not_allowed"),
        (verified("bo", SUBMITTED, session="s1"), "not_allowed"),
        (verified("bo", claim()), "wrong_state"),
        (verified("bo", SUBMITTED, verdict="fine"), "bad_data"),
        (verified("bo", SUBMITTED, at=15), "wrong_state"),
    ],
    ids=["its author", "another session", "same session", "no submission", "no word", "too early"],
)
def test_a_verdict_that_does_not_count_lets_nothing_be_closed(verdict, code):
    """Wherever it was written: the fold itself leaves it out."""
    state, refused = folded(REQUIRED, *BEGUN, SUBMITTED, verdict, closed(session="s1"))

    assert (state["status"], refused) == ("submitted", [code, "unverified"])


def test_a_pass_for_an_older_submission_does_not_count():
    fail = verified("bo", SUBMITTED, at=30, verdict="fail")
    again = submitted(at=40, session="s1")

    state, refused = folded(
        REQUIRED, *BEGUN, SUBMITTED, fail, again, verified("bo", SUBMITTED, at=50), closed(at=60)
    )

    assert (state["status"], refused) == ("submitted", ["wrong_state", "held"])


def test_a_fail_returns_the_item_to_its_claimer_with_the_reasons():
    """Also when the claim would have run out while it waited."""
    fail = verified("bo", SUBMITTED, at=5000, verdict="fail", why="no docs")

    state, refused = folded(*BEGUN, SUBMITTED, fail)

    assert (state["status"], state["claim"]["agent_id"], refused) == ("claimed", "agent:ada", [])
    assert state["verdicts"][0]["why"] == "no docs"
    assert arbiter.runs(state["claim"], a.START_MS + 5500)


def test_nobody_claims_what_waits_for_a_verdict():
    state, refused = folded(*BEGUN, SUBMITTED, claim("bo", at=5000, fence=2))

    assert (state["status"], refused) == ("submitted", ["wrong_state"])


def test_only_the_holder_submits():
    state, refused = folded(*BEGUN, submitted(by="bo", lease="lease-bo-1"))

    assert (state["status"], refused) == ("claimed", ["not_held"])


def offer(to="bo", at=20, by="ada", until=900, lease="lease-ada-10", **parts):
    until_ms = a.START_MS + until
    return a.work(
        "handed_off",
        at,
        by,
        lease=lease,
        to=f"agent:{to}",
        ttl_ms=1,
        expires_at_ms=until_ms,
        **parts,
    )


def accept(of, by="bo", at=30, fence=2):
    body = {"fence": fence, "ttl_ms": 1000, "expires_at_ms": a.START_MS + at + 1000}
    refs = {"resource": "work:wk-a"}
    return a.work(
        "accepted", at, by, lease=f"lease-{by}-{at}", refs=refs, offer=of.event_id, **body
    )


HELD = (a.created(), claim())


def test_an_offer_leaves_the_item_with_its_sender():
    state, refused = folded(*HELD, offer())

    assert (state["claim"]["lease_id"], refused) == ("lease-ada-10", [])


def test_an_accepted_offer_moves_claim_and_fence_in_one_step():
    sent = offer()

    state, refused = folded(*HELD, sent, accept(sent), closed(at=40, by="ada"))

    assert (state["claim"]["agent_id"], state["claim"]["fence"]) == ("agent:bo", 2)
    assert ("offer" in state, refused) == (False, ["held"])


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (accept(offer(), by="cy"), "not_allowed"),
        (accept(offer(), at=900), "wrong_state"),
        (accept(claim()), "wrong_state"),
        (a.work("declined", 30, "cy", offer=offer().event_id), "not_allowed"),
    ],
    ids=["offered to another", "too late", "no such offer", "declined by another"],
)
def test_an_answer_that_does_not_count_leaves_the_item_where_it_is(answer, code):
    state, refused = folded(*HELD, offer(), answer)

    assert (state["claim"]["agent_id"], refused) == ("agent:ada", [code])


def test_an_offer_ends_with_the_claim_it_was_made_from():
    """Nobody can accept what its sender no longer has."""
    sent = offer(until=5000)

    state, refused = folded(
        *HELD, sent, claim("cy", at=2000, fence=2), accept(sent, at=2100, fence=3)
    )

    assert (state["claim"]["agent_id"], refused) == ("agent:cy", ["wrong_state"])


def remote(acquired, fence=1_000_000):
    """The same acquire, confirmed by the remote."""
    body = {**acquired.body, "confirmed": "remote", "nonce": "n1", "fence": fence}
    return acquired._replace(body=body)


def test_a_confirmed_claim_is_accepted_by_a_confirmed_acquire_with_a_larger_fence_alone():
    """While it runs; the remote gives nothing up to what it did not decide."""
    sent = offer()
    table = [
        (accept(sent, fence=2_000_000), "held"),
        (remote(accept(sent)), "held"),
        (remote(accept(sent), fence=2_000_000), ""),
    ]

    for answer, code in table:
        state, refused = folded(a.created(), remote(claim()), sent, answer)
        holder = "agent:ada" if code else "agent:bo"
        assert (state["claim"]["agent_id"], refused) == (holder, [code] if code else [])


def test_an_accepter_who_was_told_yes_and_has_lost_is_remembered():
    """The store that it wrote in promised it the host."""
    sent = offer(until=5000)

    late, _ = folded(*HELD, sent, claim("cy", at=2000, fence=2), accept(sent, at=2100, fence=3))
    beaten, _ = folded(a.created(), remote(claim()), sent, accept(sent))

    assert [hold["agent_id"] for hold in late["refused"]] == ["agent:bo"]
    assert [hold["agent_id"] for hold in beaten["refused"]] == ["agent:bo"]


def test_a_failed_verification_does_not_prolong_what_the_remote_confirmed():
    begun = (a.created(), remote(claim(session="s1")), SUBMITTED)

    state, _ = folded(*begun, verified("bo", SUBMITTED, at=500, verdict="fail"))

    assert state["claim"]["expires_at_ms"] == a.START_MS + 1010


def test_a_hold_without_an_end_is_refused():
    for on in (None, {}, {"url": ""}, {"item": "wk-b", "agent": "agent:bo"}, {"until_ms": "soon"}):
        body = {} if on is None else {"on": on}
        state, refused = folded(a.created(), a.work("held", 10, **body))

        assert ("waits" in state, refused) == (False, ["bad_data"])


@pytest.mark.parametrize(
    ("on", "over_at"),
    [
        ({"until_ms": a.START_MS + 500}, 500),
        ({"item": "wk-b"}, None),
        ({"agent": "human:kim"}, None),
    ],
)
def test_a_hold_ends_when_its_time_comes_or_its_item_closes(on, over_at):
    state, _ = folded(a.created(), a.work("held", 10, on=on))

    waiting = [view.open_waits(state, a.START_MS + at, lambda _: True) for at in (499, 500)]
    closed_item = view.open_waits(state, a.START_MS, lambda _: False)

    assert [bool(found) for found in waiting] == [True, over_at is None]
    assert bool(closed_item) == ("item" not in on)


def test_ticks_stay_when_the_list_of_checks_is_edited():
    new = a.created(acceptance=["one", "two"])
    tick = a.work("ticked", 10, check="two", evidence="t.py")
    edit = a.work("updated", 20, set={"acceptance": ["two", "three"]})

    state, refused = folded(new, tick, edit)

    assert (custody.open_checks(state), refused) == (["three"], [])


# -- Random histories -----------------------------------------------------------------

STEPS = st.tuples(
    st.sampled_from(
        ["claimed", "submitted", "verified", "handed_off", "accepted", "declined", "released",
         "closed", "reopened", "renewed", "held"]
    ),
    st.sampled_from(AGENTS),
    st.integers(1, 80),
    st.sampled_from(["", "s1", "s2"]),
    st.sampled_from(AGENTS),
)  # fmt: skip


def event_of(step, state, at):
    """What an agent that looks at the state would write, rightly or wrongly."""
    verb, by, ttl, session, other = step
    lease = state.get("claim", {}).get("lease_id", "lease-none")
    until = a.START_MS + at + ttl
    mine = {"lease": lease, "session": session}
    taking = {
        "lease": f"lease-{at}", "refs": {"resource": "work:wk-a"}, "session": session,
        "fence": state.get("fence", 0) + 1, "ttl_ms": ttl, "expires_at_ms": until,
    }  # fmt: skip
    offered = {"offer": state.get("offer", {}).get("event_id", "none")}
    judged = {"submission": state.get("submission", {}).get("event_id", "none")}
    parts = {
        "claimed": taking,
        "submitted": mine,
        "verified": {**judged, "verdict": custody.VERDICTS[ttl % 3], "session": session},
        "handed_off": {**mine, "to": f"agent:{other}", "expires_at_ms": until},
        "accepted": {**taking, **offered},
        "declined": offered,
        "closed": {"as": "done", **(mine if ttl % 2 else {"session": session})},
        "reopened": {},
        "renewed": {**mine, "ttl_ms": ttl, "expires_at_ms": until},
        "released": mine,
        "held": {"on": {"agent": f"agent:{other}"}},
    }[verb]
    return a.work(verb, at, by, **parts)


def holder(state, at_ms):
    """Who has the item at a moment: its claimer, while the claim runs or it is judged."""
    claim = state.get("claim")
    if claim and (state["status"] == "submitted" or arbiter.runs(claim, at_ms)):
        return claim["agent_id"], claim["lease_id"]
    return None


@given(st.lists(STEPS, max_size=25), st.data())
def test_an_item_changes_hands_only_by_the_holder_or_by_an_accepted_offer(steps, data):
    """At every point of every history one agent or nobody has it."""
    history = [a.created()]
    state, at = folded(*history)[0], 10
    for step in steps:
        at += data.draw(st.integers(1, 30))
        event = event_of(step, state, at)
        history.append(event)
        after, _ = folded(*history)
        before_it, after_it = holder(state, event.time_ms), holder(after, event.time_ms)
        if before_it and before_it != after_it:
            is_theirs = event.agent_id == before_it[0]
            is_accepted = event.type == "work.accepted" and state["offer"]["to"] == event.agent_id
            passed = "passed_by" in state.get("submission", {})
            assert is_theirs or is_accepted or (event.type == "work.closed" and passed)
        if event.type in ("work.handed_off", "work.declined", "work.held"):
            assert before_it == after_it
        if event.type == "work.accepted" and before_it != after_it:
            assert after["claim"]["fence"] > state.get("fence", 0)
        state = after


@given(st.lists(STEPS, max_size=25), st.data())
def test_nothing_is_done_without_a_pass_by_another_where_that_is_required(steps, data):
    history = [REQUIRED, a.created()]
    state, at = folded(*history)[0], 10
    for step in steps:
        at += data.draw(st.integers(1, 30))
        history.append(event_of(step, state, at))
        before, state = state, folded(*history)[0]
        if state["status"] == "closed" and before["status"] != "closed":
            submission = before["submission"]
            verdict = before["verdicts"][-1]
            assert verdict["verdict"] == "pass" or "passed_by" in submission
            assert submission["passed_by"] != submission["agent_id"]


# -- What a hostile reader tried -------------------------------------------------------


def test_who_submitted_before_does_not_judge_what_another_submits_later():
    """Two that take turns on an item have both done the work."""
    released = a.work("released", 30, lease="lease-ada-10", session="s1")
    second = submitted(at=50, by="bo", lease="lease-bo-40")

    taken, verdict = claim("bo", at=40, fence=2), verified("ada", second, 60)
    state, refused = folded(*BEGUN, SUBMITTED, released, taken, second, verdict)

    assert (state["status"], refused) == ("submitted", ["not_allowed"])


def test_who_handed_an_item_over_does_not_judge_it():
    sent = offer()
    second = submitted(at=50, by="bo", lease="lease-bo-30")

    _, refused = folded(*HELD, sent, accept(sent), second, verified("ada", second, at=60))

    assert refused == ["not_allowed"]


def test_only_the_session_that_holds_an_item_submits_it():
    state, refused = folded(*BEGUN, submitted(session="s2"))

    assert (state["status"], refused) == ("claimed", ["not_held"])


def test_a_pass_ends_with_what_was_submitted():
    """What was passed, handed on and worked on again has to pass again."""
    opened = a.work("reopened", 50)
    again = claim("cy", at=60, fence=2)
    state, refused = folded(
        *BEGUN,
        SUBMITTED,
        verified("bo", SUBMITTED),
        closed(35),
        opened,
        again,
        closed(70, by="eve"),
    )

    assert (state["status"], refused) == ("claimed", ["held"])


def test_what_is_submitted_cannot_be_handed_over():
    state, refused = folded(*HELD, submitted(at=20), offer(at=30))

    assert ("offer" in state, refused) == (False, ["wrong_state"])


def test_an_edit_of_what_was_passed_takes_the_pass_away():
    edit = a.work("updated", 35, by="cy", set={"title": "something else"})
    end = closed(session="s1")

    state, refused = folded(REQUIRED, *BEGUN, SUBMITTED, verified("bo", SUBMITTED), edit, end)

    assert (state["status"], refused) == ("submitted", ["unverified"])


def test_only_a_human_gives_verification_up():
    lower = a.event("config.set", at=5, body={"key": "verify", "value": "optional"})
    human = a.event("config.set", at=6, by="human:kim", body=lower.body)

    _, refused = folded(REQUIRED, lower)
    _, allowed = folded(REQUIRED, human)

    assert (refused, allowed) == (["not_allowed"], [])


def test_a_humans_pause_holds_beside_an_agents():
    """An agent cannot take the sting out of a pause by pausing first."""
    first = a.paused("agent:bo", 10, by="agent:cy")
    second = a.paused("agent:bo", 20, by="human:kim")
    lifted = a.resumed("agent:bo", 30, by="agent:cy")

    state, refused = folded(first, second, lifted, a.created(at=35), claim("bo", at=40))

    assert ("claim" in state, refused) == (False, ["paused"])


def test_a_paused_agents_words_do_not_prolong_its_claim():
    comment = a.work("commented", 500, lease="lease-ada-10", text="still at it")

    state, _ = folded(*HELD, a.paused("agent:ada", 100), comment)

    assert state["claim"]["expires_at_ms"] == a.START_MS + 1010
    assert len(state["comments"]) == 1


def test_another_session_neither_releases_nor_renews():
    given_back = a.work("released", 50, lease="lease-ada-10", session="s2")
    renewed = a.work("renewed", 60, lease="lease-ada-10", session="s2", ttl_ms=9000)

    state, refused = folded(*BEGUN, given_back, renewed)

    assert (state["status"], refused) == ("claimed", ["not_allowed", "not_held"])
