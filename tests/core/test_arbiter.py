"""The law of exclusive things (DESIGN §8), on one domain at a time."""

from hypothesis import given
from hypothesis import strategies as st

from coord.core import arbiter
from tests.strategies import START_MS, acquire, event


def after(*acquires, domain=arbiter.EMPTY, conflict=arbiter.always):
    """The domain after these acquires, and the code of each refusal ("" for none)."""
    codes = []
    for asked in acquires:
        domain, problem = arbiter.acquire(domain, asked, conflict)
        codes.append(problem.code if problem else "")
    return domain, codes


def holders(domain):
    """Who holds, in order of granting."""
    return [hold["agent_id"].removeprefix("agent:") for hold in domain["holds"]]


def renewal(by, at, ttl=1000, lease="", **body):
    """A renewal of the lease named after its holder."""
    refs = {"lease_id": lease or f"lease-{by}", "resource": "env:staging"}
    told = {"ttl_ms": ttl, "expires_at_ms": START_MS + at + ttl, **body}
    return event("lease.renew", at, by, refs=refs, body=told)


def note(by, at, lease=""):
    """Any other event that names the lease."""
    return event("build.finished", at, by, refs={"lease_id": lease or f"lease-{by}"})


def test_a_resource_goes_to_the_first_and_the_next_is_told_who_holds_it():
    domain, codes = after(acquire("ada", 0), acquire("bo", 1))
    _, problem = arbiter.acquire(domain, acquire("cy", 2, fence=7))

    assert codes == ["", "held"]
    assert holders(domain) == ["ada"]
    assert problem.message.startswith("env:staging is held by agent:ada until ")


def test_a_lapsed_hold_goes_to_the_next_taker():
    """At expires_at_ms itself the resource is already free."""
    domain, codes = after(acquire("ada", 0, ttl=1000), acquire("bo", 999), acquire("bo", 1000))

    assert codes == ["", "held", ""]
    assert holders(domain) == ["bo"]


def test_a_hold_ends_when_it_is_said_to_not_when_its_ttl_would():
    domain, codes = after(
        acquire("ada", 0, ttl=1000, expires_at_ms=START_MS + 10), acquire("bo", 10)
    )

    assert codes == ["", ""]
    assert holders(domain) == ["bo"]


def test_the_same_holder_may_ask_again_and_has_the_new_hold_alone():
    domain, codes = after(acquire("ada", 0), acquire("ada", 1, lease="lease-new", fence=2))

    assert codes == ["", ""]
    assert [hold["lease_id"] for hold in domain["holds"]] == ["lease-new"]


def test_another_session_of_the_agent_is_somebody_else_until_it_takes_over():
    first = acquire("ada", 0, session="s1")
    other = acquire("ada", 1, session="s2", lease="lease-2")
    taking = acquire("ada", 2, session="s2", lease="lease-3", take_over=True)

    domain, codes = after(first, other, taking)

    assert codes == ["", "held", ""]
    assert domain["holds"][0]["session_id"] == "s2"


def test_nobody_takes_over_from_another_agent():
    _, codes = after(acquire("ada", 0), acquire("bo", 1, take_over=True))

    assert codes == ["", "held"]


def test_holds_that_do_not_conflict_stand_side_by_side():
    domain, codes = after(
        acquire("ada", 0), acquire("bo", 1), acquire("ada", 2), conflict=same_agent
    )

    assert codes == ["", "", ""]
    assert holders(domain) == ["bo", "ada"]


def same_agent(one, other):
    """A rule by which only holds of one agent conflict."""
    return one["agent_id"] == other["agent_id"]


def test_a_confirmed_acquire_ends_an_advisory_hold_at_once():
    domain, codes = after(acquire("ada", 0), acquire("bo", 1, confirmed="remote", fence=1_000_000))

    assert codes == ["", ""]
    assert holders(domain) == ["bo"]


def test_a_confirmed_hold_never_yields_to_an_advisory_acquire():
    """Not to its own holder's either, nor to one that takes over; only once it is over."""
    domain, codes = after(
        acquire("ada", 0, ttl=1000, confirmed="remote", fence=1_000_000),
        acquire("bo", 999, fence=2_000_000, confirmed="host"),
        acquire("ada", 999, session="s2", lease="lease-2", fence=2_000_000),
        acquire("ada", 999, lease="lease-3", fence=2_000_001),
        acquire("ada", 999, session="s2", lease="lease-4", take_over=True),
    )
    over, _ = after(acquire("ada", 1000, lease="lease-5"), domain=domain)

    assert codes == ["", "held", "held", "held", "held"]
    assert domain["holds"][0]["confirmed"] == "remote"
    assert over["holds"][0]["lease_id"] == "lease-5"


def test_among_confirmed_acquires_the_fence_decides_not_the_clock():
    """A smaller or equal fence lost on the remote, however late it says so."""
    for fence, code in ((999_999, "held"), (1_000_000, "held"), (2_000_000, "")):
        _, codes = after(
            acquire("ada", 0, ttl=10, confirmed="remote", fence=1_000_000),
            acquire("bo", 500, confirmed="remote", fence=fence),
        )
        assert codes == ["", code]


def test_a_confirmed_fence_that_was_granted_is_never_granted_again():
    """Neither once it was given back nor once it is over, and advisory ones do not count."""
    confirmed = {"confirmed": "remote", "lease": "lease-2"}
    first, _ = after(acquire("ada", 0, fence=2_000_000, confirmed="remote"))
    given_back = arbiter.release(first, "lease-ada")

    for domain in (first, given_back):
        for fence, code in ((1_000_000, "held"), (2_000_000, "held"), (3_000_000, "")):
            late = acquire("bo", 5000, fence=fence, **confirmed)
            assert after(late, domain=domain)[1] == [code]
    advisory, _ = after(acquire("cy", 1, fence=5_000_000), domain=given_back)
    assert after(acquire("bo", 2, fence=3_000_000, **confirmed), domain=advisory)[1] == [""]
    assert "confirmed_fence" not in after(acquire("ada", 0))[0]


def test_a_confirmed_acquire_that_was_over_before_it_was_recorded_ends_nothing():
    """Its interval is empty: it neither ends a hold nor raises the confirmed fence."""
    domain, codes = after(
        acquire("ada", 0),
        acquire("bo", 10, confirmed="remote", fence=1_000_000, expires_at_ms=START_MS + 10),
        acquire("cy", 11, confirmed="remote", fence=1_000_000),
    )

    assert codes == ["", "not_held", ""]
    assert holders(domain) == ["cy"]


def test_a_hold_that_a_confirmed_acquire_ends_is_a_promise_until_it_is_over_or_given_back():
    """Its holder was promised the host, and is to be told; its own holder replaces it."""
    asked = acquire("bo", 1, confirmed="remote", fence=1_000_000, lease="lease-2")
    domain, _ = after(acquire("ada", 0, ttl=1000), asked)
    later, _ = after(acquire("cy", 1000), domain=domain)
    own, _ = after(acquire("bo", 0), asked)
    over, _ = after(acquire("ada", 0, ttl=1), asked)

    assert [hold["lease_id"] for hold in domain["refused"]] == ["lease-ada"]
    assert arbiter.release(domain, "lease-ada") == {**domain, "refused": []}
    assert [hold["agent_id"] for hold in later["refused"]] == ["agent:cy"]
    assert own["refused"] == over["refused"] == []


def test_a_promise_is_prolonged_by_a_holder_who_did_not_know_that_it_was_lost():
    """It was told the longer time by the store that it wrote in; it has lost all the same."""
    ended, _ = after(
        acquire("ada", 0, ttl=1000), acquire("bo", 1, confirmed="remote", fence=1_000_000)
    )

    renewed, problem = arbiter.renew(ended, renewal("ada", 500))
    touched = arbiter.touch(ended, note("ada", 600))

    assert (holders(renewed), problem.code) == (["bo"], "not_held")
    assert renewed["refused"][0]["expires_at_ms"] == START_MS + 1500
    assert touched["refused"][0]["expires_at_ms"] == START_MS + 1600


def test_the_largest_fence_known_counts_refused_ones_and_never_shrinks():
    domain, codes = after(acquire("ada", 0, fence=5), acquire("bo", 1, fence=9))
    freed = arbiter.release(domain, "lease-ada")
    again, _ = after(acquire("cy", 2, fence=3), domain=freed)

    assert codes == ["", "held"]
    assert (domain["fence"], freed["fence"], again["fence"]) == (9, 9, 9)


def test_a_refused_acquire_is_remembered_until_its_time_is_over_or_it_is_given_back():
    """Its holder was promised the host by the store that it wrote in."""
    domain, _ = after(acquire("ada", 0, ttl=5000), acquire("bo", 1, ttl=10))
    given_back = arbiter.release(domain, "lease-bo")
    later, _ = after(acquire("cy", 11), domain=domain)

    assert [hold["lease_id"] for hold in domain["refused"]] == ["lease-bo"]
    assert given_back["refused"] == []
    assert [hold["lease_id"] for hold in later["refused"]] == ["lease-cy"]


def test_releasing_ends_only_the_hold_of_that_lease():
    domain, _ = after(acquire("ada", 0), acquire("bo", 1), conflict=same_agent)

    assert holders(arbiter.release(domain, "lease-ada")) == ["bo"]
    assert holders(arbiter.release(domain, "lease-zed")) == ["ada", "bo"]


def test_a_renewal_prolongs_a_running_hold_by_its_holder_alone():
    """At expires_at_ms itself it is too late: that is a new acquire with a new fence."""
    domain, _ = after(acquire("ada", 0, ttl=1000))
    table = [
        (renewal("ada", 999, ttl=500), START_MS + 1499),
        (renewal("ada", 1000), "not_held"),
        (renewal("bo", 1, lease="lease-ada"), "not_held"),
        (renewal("ada", 1, lease="lease-zed"), "not_held"),
        (renewal("ada", 1, expires_at_ms="soon"), "bad_data"),
        (renewal("ada", 1, ttl_ms=2**64 - 1), "bad_data"),
    ]

    for asked, expected in table:
        after_it, problem = arbiter.renew(domain, asked)
        if problem is not None:
            assert (after_it, problem.code) == (domain, expected)
        else:
            assert after_it["holds"][0]["expires_at_ms"] == expected


def test_a_renewal_may_shorten_a_hold():
    domain, _ = after(acquire("ada", 0, ttl=1000))
    renewed, _ = arbiter.renew(domain, renewal("ada", 1, ttl=9))

    _, codes = after(acquire("bo", 10), domain=renewed)

    assert codes == [""]


def test_any_event_of_the_holder_that_names_the_lease_renews_an_advisory_hold():
    """Not one of another agent, not one that is too late, and never a shortening one."""
    domain, _ = after(acquire("ada", 0, ttl=1000))
    late, foreign = note("ada", 1000), note("bo", 500, "lease-ada")
    table = [(note("ada", 500), 1500), (foreign, 1000), (late, 1000)]

    for told, until in table:
        assert arbiter.touch(domain, told)["holds"][0]["expires_at_ms"] == START_MS + until
    long, _ = after(acquire("ada", 0, ttl=10, expires_at_ms=START_MS + 1000))
    assert arbiter.touch(long, note("ada", 1))["holds"][0]["expires_at_ms"] == START_MS + 1000


def test_a_confirmed_hold_is_renewed_by_swapping_its_record_not_by_any_event():
    domain, _ = after(acquire("ada", 0, confirmed="remote"))

    swapped, _ = arbiter.renew(domain, renewal("ada", 500, nonce="n2"))
    unknown, problem = arbiter.renew(domain, renewal("ada", 500))

    assert arbiter.touch(domain, note("ada", 500)) == domain
    assert swapped["holds"][0]["nonce"] == "n2"
    assert swapped["holds"][0]["expires_at_ms"] == START_MS + 1500
    assert (unknown, problem.code) == (domain, "not_allowed")


def test_an_acquire_that_lacks_what_judging_takes_is_bad_data_and_changes_nothing():
    good = acquire("ada", 0)
    broken = [good._replace(refs={**good.refs, name: 7}) for name in ("lease_id", "resource")]
    broken += [
        good._replace(body={**good.body, name: value})
        for name in ("fence", "ttl_ms", "expires_at_ms")
        for value in (0, -1, True, "1", 1.5, None, 2**63)
    ]

    for asked in broken:
        domain, problem = arbiter.acquire(arbiter.EMPTY, asked)
        assert (domain, problem.code) == (arbiter.EMPTY, "bad_data")


def in_way(domain, asked, now, **how):
    """Who stands in the way of asking here and now."""
    wanted = arbiter.hold_from(asked)
    hold = arbiter.standing_in_way(domain, wanted, START_MS + now, **how)
    return hold and hold["agent_id"].removeprefix("agent:")


def test_another_hosts_hold_is_respected_a_skew_longer_than_our_own():
    domain, _ = after(acquire("ada", 0, ttl=1000))
    table = [(True, 999, "ada"), (True, 1000, None), (False, 1099, "ada"), (False, 1100, None)]

    for is_ours, now, expected in table:
        found = in_way(domain, acquire("bo", now), now, is_ours=lambda _, o=is_ours: o, skew_ms=100)
        assert found == expected


def test_between_confirmed_holds_nobody_waits_for_a_skew():
    """The record was watched for as long as it runs; an advisory one waits, and is waited for."""
    how = {"is_ours": lambda hold: False, "skew_ms": 100}
    confirmed, _ = after(acquire("ada", 0, ttl=10, confirmed="remote", fence=1_000_000))
    advisory, _ = after(acquire("ada", 0, ttl=10))
    asked = acquire("bo", 10, confirmed="remote", fence=2_000_000)

    assert in_way(confirmed, asked, 9, **how) == "ada"
    assert in_way(confirmed, asked, 10, **how) is None
    assert in_way(confirmed, acquire("bo", 10), 10, **how) == "ada"
    assert in_way(advisory, asked, 10, **how) == "ada"


def test_an_acquire_granted_here_that_the_fold_refused_since_is_still_in_the_way_here():
    """Only here, only until it is over, and not for its own holder."""
    domain, _ = after(acquire("ada", 0, ttl=10), acquire("bo", 1, ttl=1000))
    ours = {"is_ours": lambda hold: hold["agent_id"] == "agent:bo", "skew_ms": 0}
    theirs = {"is_ours": lambda hold: False, "skew_ms": 0}

    assert in_way(domain, acquire("cy", 500), 500, **ours) == "bo"
    assert in_way(domain, acquire("cy", 500), 500, **theirs) is None
    assert in_way(domain, acquire("bo", 500), 500, **ours) is None
    assert in_way(domain, acquire("cy", 1001), 1001, **ours) is None


STEPS = st.tuples(
    st.sampled_from(["acquire"] * 4 + ["renew", "touch", "release"]),
    st.sampled_from(["ada", "bo", "cy"]),
    st.integers(0, 6),
    st.integers(1, 12),
    st.sampled_from(["host", "host", "none", "remote"]),
    st.sampled_from(["lease-1", "lease-2", "lease-3", "lease-4"]),
    st.sampled_from(["", "s1"]),
    st.booleans(),
    st.integers(1, 5),
)


def moved(domain, step, moment, conflict=arbiter.always):
    """The domain after a random step, and the acquire or None."""
    verb, by, _, ttl, confirmed, lease, session, take_over, fence = step
    at, nth = moment
    if verb == "release":
        return arbiter.release(domain, lease), None
    if verb == "touch":
        return arbiter.touch(domain, note(by, at, lease)), None
    if verb == "renew":
        return arbiter.renew(domain, renewal(by, at, ttl, lease, nonce=f"n{nth}"))[0], None
    told = {"confirmed": confirmed, "take_over": take_over, "nth": nth}
    asked = acquire(by, at, ttl, fence, lease=lease, session=session, **told)
    return arbiter.acquire(domain, asked, conflict)[0], asked


def history(steps):
    """Every step with its instant, which never goes back, and its number."""
    at = 0
    for number, step in enumerate(steps):
        at += step[2]
        yield step, (at, number)


@given(st.lists(STEPS, max_size=30))
def test_an_exclusive_resource_never_has_two_holders(steps):
    domain = arbiter.EMPTY
    for step, moment in history(steps):
        domain, _ = moved(domain, step, moment)

        assert len(domain["holds"]) <= 1


@given(st.lists(STEPS, max_size=30))
def test_no_two_holds_of_a_domain_conflict(steps):
    """Whatever the rule is: here, agents that share a letter."""
    domain = arbiter.EMPTY
    for step, moment in history(steps):
        domain, _ = moved(domain, step, moment, conflict=share_a_letter)

        holds = domain["holds"]
        pairs = [(a, b) for n, a in enumerate(holds) for b in holds[n + 1 :]]
        assert not any(share_a_letter(a, b) for a, b in pairs)


def share_a_letter(one, other):
    """An overlap that is not transitive, as globs overlap."""
    letters = {"ada": {1, 2}, "bo": {2, 3}, "cy": {3, 4}}
    names = [hold["agent_id"].removeprefix("agent:") for hold in (one, other)]
    return bool(letters[names[0]] & letters[names[1]])


@given(st.lists(STEPS, max_size=30))
def test_nobody_loses_a_running_hold_to_an_advisory_acquire_of_somebody_else(steps):
    """A confirmed hold, then, never yields to the advisory tier."""
    domain = arbiter.EMPTY
    for step, moment in history(steps):
        before = domain
        domain, asked = moved(domain, step, moment)

        if asked and asked.body["confirmed"] != "remote":
            running = [h for h in before["holds"] if arbiter.runs(h, asked.time_ms)]
            lost = [h for h in running if h not in domain["holds"]]
            assert all(hold["agent_id"] == asked.agent_id for hold in lost)
            assert not any(arbiter.is_confirmed(hold) for hold in lost)


@given(st.lists(STEPS, max_size=30))
def test_the_fence_of_a_domain_is_the_largest_that_was_ever_asked_for(steps):
    domain, largest = arbiter.EMPTY, 0
    for step, moment in history(steps):
        domain, asked = moved(domain, step, moment)
        largest = max(largest, asked.body["fence"] if asked else 0)

        assert domain["fence"] == largest


@given(st.lists(STEPS, max_size=30))
def test_an_acquire_is_granted_or_refused_and_only_what_still_runs_is_remembered(steps):
    domain = arbiter.EMPTY
    for step, moment in history(steps):
        domain, asked = moved(domain, step, moment)

        if asked:
            known = [*domain["holds"], *domain["refused"]]
            assert [hold["event_id"] for hold in known].count(asked.event_id) == 1
            assert all(arbiter.runs(hold, asked.time_ms) for hold in domain["refused"])


def holder_by_the_law(asked, at_ms):
    """Who holds at an instant, from the sentences of the law alone: advisory acquires.

    asked: (acquire, instant it was given back or None), in order of event_id.
    """
    good = []
    for acquired, until in asked:
        wanted = acquired.agent_id, acquired.session_id
        now = acquired.time_ms
        others = [g for g in good if g["from"] <= now < g["to"] and g["holder"] != wanted]
        if others:
            continue
        for mine in good:
            mine["to"] = min(mine["to"], now)
        end = min(acquired.body["expires_at_ms"], until or acquired.body["expires_at_ms"])
        good.append({"from": now, "to": end, "holder": wanted})
    return [g["holder"] for g in good if g["from"] <= at_ms < g["to"]]


ASKED = st.lists(
    st.tuples(st.sampled_from(["ada", "bo"]), st.sampled_from(["", "s1"]), st.integers(0, 5),
              st.integers(1, 12), st.none() | st.integers(0, 12)), max_size=12)  # fmt: skip


@given(ASKED, st.integers(0, 70))
def test_the_advisory_tier_is_as_the_law_says(asked, at):
    """One is good if at its time nobody else holds; it runs until it is over or given back."""
    moves, now = [], 0
    for number, (by, session, wait, ttl, given_back) in enumerate(asked):
        now += wait
        made = acquire(by, now, ttl, session=session, lease=f"lease-{number}", nth=number)
        moves.append((made, None if given_back is None else made.time_ms + given_back))
    releases = [(until, f"lease-{n}") for n, (_, until) in enumerate(moves) if until is not None]

    domain, done = arbiter.EMPTY, 0
    for made, _ in [m for m in moves if m[0].time_ms <= START_MS + at]:
        for until, lease in releases:
            if until <= made.time_ms and any(h["lease_id"] == lease for h in domain["holds"]):
                domain = arbiter.release(domain, lease)
        domain, _ = arbiter.acquire(domain, made)
        done += 1
    running = [h for h in domain["holds"] if arbiter.runs(h, START_MS + at)]
    given = {lease for until, lease in releases if until <= START_MS + at}
    found = [(h["agent_id"], h["session_id"]) for h in running if h["lease_id"] not in given]

    assert found == holder_by_the_law(moves[:done], START_MS + at)
