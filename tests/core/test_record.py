"""The record of a domain on the remote: what it says, and what its readers make of it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from coord.core import event as events
from coord.core import record
from coord.core.record import Record
from tests.strategies import START_MS, id_at

DOMAIN = "work:wk-a"


def hold(by="ada", nonce="n1", ttl=1000, until=2000, **parts):
    """A hold of the record, by an agent on the clone named after it."""
    return {
        "resource": DOMAIN, "lease_id": f"lease-{by}", "agent_id": f"agent:{by}",
        "writer": f"agent-{by}.{by:a<6}", "nonce": nonce, "fence": 1_000_000,
        "ttl_ms": ttl, "expires_at_ms": START_MS + until, "session_id": "", **parts,
    }  # fmt: skip


def of(*holds, fence=1_000_000, at=0):
    return Record(DOMAIN, fence, id_at(at), holds)


def same_resource(one, other):
    return one["resource"] == other["resource"]


def in_way(taken, wanted, watched_ms=-1, **how):
    return record.judge(taken, wanted, lambda _: watched_ms, **how).in_way


TEXTS = st.text(min_size=1, max_size=8)
NUMBERS = st.integers(1, events.MAX_INTEGER)
PARTS = {
    **dict.fromkeys(("resource", "lease_id", "agent_id", "writer", "nonce"), TEXTS),
    **dict.fromkeys(("fence", "ttl_ms", "expires_at_ms"), NUMBERS),
    "session_id": st.text(max_size=3),
}
HOLDS = st.fixed_dictionaries(PARTS, optional=dict.fromkeys(record.FLAGS, st.just(True)))
RECORDS = st.builds(
    Record, TEXTS, st.integers(0, events.MAX_INTEGER), st.builds(id_at, st.integers(0, 9)),
    st.lists(HOLDS, max_size=3).map(tuple),
)  # fmt: skip


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(some):
    text = record.as_text(some)

    assert record.parse(text.encode(), some.domain) == some
    assert json.dumps(json.loads(text), sort_keys=True, separators=(",", ":")) == text


@given(RECORDS, st.data())
def test_what_is_no_record_of_the_domain_is_none(some, data):
    """Whatever part is missing or of another type; no bytes stop the reader."""
    raw = json.loads(record.as_text(some))
    key = data.draw(st.sampled_from(sorted(raw)))
    wrong = data.draw(st.sampled_from([None, True, -1, 1.5, "x", [1], [{}], {}]))
    spoilt = json.dumps({**raw, key: wrong}).encode()
    cut = spoilt[: data.draw(st.integers(0, len(spoilt) - 1))]

    assert record.parse(spoilt, some.domain) is None or raw[key] == wrong
    assert record.parse(cut, some.domain) is None
    assert record.parse(data.draw(st.binary(max_size=9)), some.domain) is None
    assert record.parse(record.as_text(some).encode(), some.domain + "x") is None
    assert record.parse(b"[" * 100_000, some.domain) is None


def test_a_record_says_what_readers_of_other_languages_expect():
    text = record.as_text(of(hold(session_id="s1", shared=True)))

    assert record.as_text(of(hold())).find("session_id") == -1
    assert text == (
        '{"domain":"work:wk-a","event_id":"01KDWCJ2M00000000000000000","fence":1000000,"holds":['
        '{"agent_id":"agent:ada","expires_at_ms":1767258002000,"fence":1000000,'
        '"lease_id":"lease-ada","nonce":"n1","resource":"work:wk-a","session_id":"s1",'
        '"shared":true,"ttl_ms":1000,"writer":"agent-ada.adaaaa"}],"v":1}'
    )


def test_a_domain_is_named_by_its_hash():
    assert record.name("work:wk-a") == "65a5439674a2cbdbb45f74a32267f924"


def test_the_next_fence_is_the_next_million_above_all_known():
    table = [((), 1), ((0,), 1), ((999_999,), 1), ((1_000_000, 7), 2), ((3, 2_000_001), 3)]

    for known, millions in table:
        assert record.next_fence(*known) == millions * 1_000_000


def test_a_hold_of_somebody_else_stands_until_it_was_watched_for_its_whole_ttl():
    """Whatever any clock says; a record that is seen for the first time was not watched."""
    taken = of(hold("ada", ttl=1000))

    for watched_ms, stands in ((-1, True), (0, True), (999, True), (1000, False)):
        found = in_way(taken, hold("bo", until=9_999_999), watched_ms)
        assert (found is not None) == stands
    assert in_way(of(), hold("bo"), -1) is None
    assert in_way(None, hold("bo"), -1) is None


def test_ones_own_hold_is_not_in_the_way_and_the_same_name_on_another_clone_is():
    """Else two clones whose agents have one name would both believe."""
    taken = of(hold("ada"))
    elsewhere = hold("ada", writer="agent-ada.zzzzzz")
    other_session = hold("ada", session_id="s2")

    assert in_way(taken, hold("ada", nonce="n2"), -1) is None
    for wanted in (elsewhere, other_session):
        assert in_way(taken, wanted, -1) == hold("ada")
        assert in_way(taken, wanted, -1, take_over=True) is None
    assert in_way(taken, hold("bo"), -1, take_over=True) == hold("ada")


def test_only_a_hold_that_conflicts_is_in_the_way_and_only_it_is_superseded():
    mine = hold("ada", resource="path:a")
    theirs = hold("bo", "n2", resource="path:b")
    wanted = hold("cy", "n3", until=1000, resource="path:b", fence=2_000_000)
    before = of(mine, theirs)

    judged = record.judge(before, wanted, lambda _: 1000, conflict=same_resource)
    after = record.with_hold(before, DOMAIN, wanted, id_at(1), judged.gone)

    assert in_way(before, wanted, -1, conflict=same_resource) == theirs
    assert after == Record(DOMAIN, 2_000_000, id_at(1), (mine, wanted))


def test_a_pool_has_room_until_its_places_are_taken_and_a_second_acquire_takes_a_second_one():
    one, two = (hold(by, f"n-{by}", resource="gpu:a*2") for by in ("ada", "bo"))
    wanted = hold("cy", "n3", resource="gpu:a*2")
    mine = hold("ada", "n4", resource="gpu:a*2", lease_id="lease-new")

    assert in_way(of(one), wanted) is None
    assert in_way(of(one), mine) is None
    assert in_way(of(one, two), wanted) == one
    assert in_way(of(one, two), mine) == one
    assert in_way(of(one), {**wanted, "resource": "gpu:a"}) == one
    assert in_way(of(one, two), {**one, "nonce": "n5"}) is None


def test_in_a_pool_only_what_ran_out_gives_way():
    one, two = (hold(by, f"n-{by}", resource="gpu:a*2") for by in ("ada", "bo"))
    wanted = hold("cy", "n3", resource="gpu:a*2")

    judged = record.judge(of(one, two), wanted, lambda h: 1000 if h is one else 999)

    assert judged == (None, [one], {"n-ada"})


def test_taking_over_in_a_pool_takes_the_places_of_ones_other_sessions():
    one, two = (hold("ada", f"n{i}", resource="gpu:a*2", lease_id=f"lease-{i}") for i in (1, 2))
    wanted = hold("ada", "n3", resource="gpu:a*2", session_id="s2", lease_id="lease-3")

    assert in_way(of(one, two), wanted) == one
    assert record.judge(of(one, two), wanted, lambda _: -1, True) == (None, [], {"n1", "n2"})


def test_a_renewal_replaces_the_hold_of_its_lease_and_keeps_the_fence():
    before = of(hold("ada"), fence=3_000_000, at=5)
    new = hold("ada", "n2", until=1000)

    after = record.with_hold(before, DOMAIN, new, id_at(1))

    assert after == Record(DOMAIN, 3_000_000, id_at(5), (new,))


def test_a_record_is_as_new_as_the_beginning_of_every_hold_it_had():
    """It may be released without an event, and had begun after something that ran out."""
    before = of(hold("ada", until=2000))

    new = hold("bo", "n2", ttl=1000, until=3500)
    after = record.with_hold(before, DOMAIN, new, id_at(1), {"n1"})

    assert after.event_id == id_at(2500)
    assert record.without(after, {"n2"}, id_at(1)).event_id == id_at(2500)


def test_a_released_record_keeps_its_fence():
    before = of(hold("ada"), hold("bo", "n2"))

    assert record.without(before, {"n1"}, id_at(3)) == of(hold("bo", "n2"), at=3)
    assert record.without(before, {"n1", "n2"}, id_at(-3)) == of()


def test_a_successor_is_newer_than_the_record_and_than_the_end_of_what_ran_out():
    taken = of(hold(until=2000), at=5)

    assert record.floor_id(taken) == id_at(5)
    assert record.floor_id(taken, taken.holds) == id_at(2000)
    assert record.floor_id(of(at=3000), taken.holds) == id_at(3000)


def test_a_record_five_minutes_ahead_of_ones_clock_is_too_far_ahead():
    """Five minutes themselves are near enough; what the successor has to wait for counts too."""
    now_ms, late = START_MS, events.QUARANTINE_MS

    assert not record.is_ahead(of(at=late), now_ms)
    assert record.is_ahead(of(at=late + 1), now_ms)
    assert record.is_ahead(of(), now_ms, [hold(until=late + 1)])
    assert not record.is_ahead(of(), now_ms, [hold(until=late)])


def test_what_one_has_swapped_in_and_never_recorded_is_an_orphan():
    ours = hold("ada", writer="agent-ada.aaaaaa")
    lost = {**ours, "nonce": "n2", "resource": "path:b"}
    theirs = hold("bo", "n3", writer="agent-bo.zzzzzz")

    assert record.orphans(of(ours, lost, theirs), {"agent-ada.aaaaaa"}, {"n1"}) == [lost]
