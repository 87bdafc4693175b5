"""What lasted, and how it hangs together as traces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import event as events
from coord.core import fold
from coord.core.report import traces
from tests import strategies as some
from tests.core import test_run as runs
from tests.strategies import START_MS, acquire, claimed, created, event, examples, id_at, work
from tests.tracing import check_chrome, check_otlp, spans_in

NOW = 5000


class World:
    """Events as an index answers them; nobody is paused."""

    def __init__(self, *raws):
        ordered, _ = fold.in_order(map(events.from_raw, raws), some.LATE_MS)
        self.ordered = ordered
        self.states = fold.fold(ordered, some.LATE_MS).states

    def event(self, event_id):
        return next((one.raw for one in self.ordered if one.event_id == event_id), None)

    def of_entity(self, entity):
        return [one for one in self.ordered if events.entity_of(one.raw) == entity]

    def state(self, entity):
        return self.states.get(entity, {})

    def keyed(self, event):
        scope = events.key_scope(event.raw)
        return [one for one in self.ordered if one.key and events.key_scope(one.raw) == scope]

    def traced(self, now_ms=START_MS + NOW):
        tracer = traces.Tracer(self, now_ms)
        return tracer.traced([one.raw for one in self.ordered])


def traced(*happened):
    """The spans of these events."""
    return World(*(one.raw for one in happened)).traced()


def told(found):
    """What lasted from when to when, and how it ended."""
    return [
        (o.span.kind, o.span.agent_id[6:], o.span.start_ms - START_MS, o.span.end_ms - START_MS,
         o.span.outcome)
        for o in found
    ]  # fmt: skip


def release(verb, at, by="ada", **refs):
    named = {"resource": "env:staging", "lease_id": "lease-ada", **refs}
    return event(f"lease.{verb}", at, by, refs=named)


def accepted(at, offer):
    """Bo takes what he was offered."""
    refs = {"resource": "work:wk-a", "lease_id": "lease-bo"}
    until = START_MS + at + 1000
    return work("accepted", at, "bo", refs=refs, offer=offer.event_id, fence=2, ttl_ms=1000,
                expires_at_ms=until, confirmed="host")  # fmt: skip


OFFER = work("handed_off", 20, lease="lease-ada", to="agent:bo", expires_at_ms=START_MS + 900)


@pytest.mark.parametrize(
    ("happened", "expected"),
    [
        ([claimed("ada", 10), work("released", 30, lease="lease-ada")], [(10, 30, "released")]),
        ([claimed("ada", 10), work("closed", 30, **{"as": "done"})], [(10, 30, "closed")]),
        ([claimed("ada", 10, ttl=100)], [(10, 110, "expired")]),
        ([claimed("ada", 10, ttl=100), work("commented", 90, lease="lease-ada", text="on")],
         [(10, 190, "expired")]),
        ([claimed("ada", 10, ttl=9000)], [(10, NOW, "open")]),
        ([claimed("ada", 10), claimed("bo", 20)], [(10, 1010, "expired")]),
        ([claimed("ada", 10, ttl=100), claimed("bo", 200, fence=2, ttl=100)],
         [(10, 110, "expired"), (200, 300, "expired")]),
        ([claimed("ada", 10), claimed("bo", 20, fence=1_000_000, confirmed="remote", ttl=100)],
         [(10, 20, "lost"), (20, 120, "expired")]),
        ([claimed("ada", 10), claimed("ada", 20, lease="lease-2", fence=2, ttl=100)],
         [(10, 20, "replaced"), (20, 120, "expired")]),
        ([claimed("ada", 10), OFFER, accepted(30, OFFER)],
         [(10, 30, "handed_off"), (30, 1030, "expired")]),
        ([acquire("ada", 10), release("release", 30)], [(10, 30, "released")]),
        ([acquire("ada", 10), release("break", 30, "human:cy")], [(10, 30, "broken")]),
        ([acquire("ada", 10, ttl=50), acquire("bo", 900, ttl=9000)],
         [(10, 60, "expired"), (900, NOW, "open")]),
    ],
)  # fmt: skip
def test_a_hold_lasts_until_it_is_given_back_taken_or_over(happened, expected):
    found = told(traced(created(at=1), *happened))

    assert [(start, end, outcome) for _, _, start, end, outcome in found] == expected


def test_a_run_lasts_from_its_request_its_attempts_from_their_claims():
    happened = (
        runs.requested(retry={"max": 1}), runs.claimed(10), runs.started(12),
        runs.completed(20, "failed"), runs.claimed(30, fence=2), runs.started(31, fence=2),
        runs.completed(50, fence=2),
    )  # fmt: skip

    found = traced(*happened)

    assert told(found) == [
        ("run", "ada", 0, 50, "succeeded"),
        ("attempt", "bo", 10, 20, "failed"),
        ("attempt", "bo", 30, 50, "succeeded"),
    ]
    run, first, second = found
    assert {first.parent, second.parent} == {run.span.event_id}
    assert [len(one.span.events) for one in found] == [1, 3, 3]
    codes = [span["status"].get("code") for span in spans_in(traces.otlp(found))]
    assert sorted(codes) == [1, 1, 2]


def test_a_message_lasts_until_the_last_of_its_readers():
    sent = event("msg.sent", 1, body={"to": ["agent:bo", "agent:cy"], "subject": "a  word"})
    about = {"refs": {"message_id": sent.event_id}}

    some_read = traced(sent, event("msg.read", 5, "bo", **about))
    all_read = traced(
        sent, event("msg.read", 5, "bo", **about), event("msg.acked", 9, "cy", **about)
    )

    assert told(some_read) == [("message", "ada", 1, 5, "unread")]
    assert some_read[0].span.facts["unread_by"] == ["agent:cy"]
    assert told(all_read) == [("message", "ada", 1, 9, "read")]
    assert all_read[0].span.name == "message a word"


def test_what_a_cause_is_part_of_is_the_parent():
    """The event between two spans is part of none: the way goes on above it."""
    claim = claimed("ada", 10)
    between = event("build.failed", 20, cause=claim.event_id)
    sent = event("msg.sent", 30, body={"to": ["agent:bo"]}, cause=between.event_id)
    answer = event("msg.sent", 40, "bo", body={"to": ["agent:ada"]}, links=[between.event_id],
                   refs={"reply_to": sent.event_id})  # fmt: skip

    top, below, beside = traced(created(at=1), claim, between, sent, answer)

    assert below.parent == top.span.event_id
    assert below.root == top.root == claim.event_id
    assert (beside.parent, beside.root) == ("", answer.event_id)
    assert [link.span for link in below.links] == [top.span.event_id]
    assert [link.span for link in beside.links] == [top.span.event_id, below.span.event_id]
    assert {link.root for link in beside.links} == {claim.event_id}


def test_a_cause_of_any_event_of_a_span_is_a_link():
    sent = event("msg.sent", 5, "bo", body={"to": ["agent:ada"]})
    closed = work("closed", 30, **{"as": "done"})
    closed = events.from_raw({**closed.raw, "cause": sent.event_id})

    mail, claim = traced(created(at=1), sent, claimed("ada", 10), closed)

    assert claim.parent == ""
    assert [(link.span, link.cause) for link in claim.links] == [(mail.span.event_id,) * 2]


def test_events_that_cause_each_other_hang_in_no_circle():
    one = event("msg.sent", 1, body={"to": ["agent:bo"]}, cause=id_at(2))
    two = event("msg.sent", 2, body={"to": ["agent:bo"]}, cause=id_at(1))

    first, second = traced(one, two)

    assert (first.parent, second.parent) == ("", first.span.event_id)
    assert first.root == second.root


def test_only_the_spans_of_the_events_that_were_asked_for_are_told():
    world = World(*(one.raw for one in (created(at=1), claimed("ada", 10), acquire("bo", 20))))

    found = traces.Tracer(world, START_MS + NOW).traced([world.ordered[1].raw])

    assert [one.span.kind for one in found] == ["claim"]


def test_a_trace_id_is_the_event_id_in_hex():
    assert traces.trace_id(events.encode_id(1, 2)) == "00000000000100000000000000000002"
    assert traces.trace_id("0" * 26) == "0" * 31 + "1"


def test_many_spans_of_one_millisecond_take_one_thread():
    mails = [event("msg.sent", 1, body={"to": ["agent:bo"]}, nth=n) for n in range(300)]

    drawn = traces.chrome(traced(*mails))

    check_chrome(drawn)
    assert {row["tid"] for row in drawn["traceEvents"] if row["ph"] == "X"} == {1}


@examples(60)
@given(some.histories(max_size=40) | st.lists(some.strange(), max_size=12))
def test_whatever_a_journal_holds_its_traces_are_well_formed(lines):
    """And every span begins with an event of its own, in the trace of what it hangs under."""
    world = World(*lines)

    found = world.traced(START_MS + some.SPAN_MS)

    check_otlp(traces.otlp(found))
    check_chrome(traces.chrome(found))
    by_id = {one.span.event_id: one for one in found}
    for one in found:
        assert one.span.events[0]["event_id"] == one.span.event_id
        if one.parent:
            assert by_id[one.parent].root == one.root
