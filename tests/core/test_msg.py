"""Messages fold to what was said and what each recipient did about it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.fold import fold
from coord.core.msg import mail, view
from tests import strategies as some
from tests.strategies import LATE_MS, START_MS, bytes_of, event, id_at, paused

ADA, BO, CY = "agent:ada", "agent:bo", "human:cy"
SENT = id_at(0)


def sent(at=0, by="ada", to=(BO,), refs=(), **parts):
    """A message; `key` and every key of a body may be given by name."""
    known = {k: parts.pop(k) for k in ("key", "nth", "session", "replica") if k in parts}
    body = {"to": list(to), "text": "hello", **parts}
    return event("msg.sent", at, by, refs={"thread_id": "th-1", **dict(refs)}, body=body, **known)


def told(verb, at, by="bo", message_id=SENT, **body):
    """What somebody does about a message."""
    return event(f"msg.{verb}", at, by, refs={"message_id": message_id}, body=body)


def rule(at=0, max=3, every_ms=10, about=None, **body):
    """A rule that reminds."""
    refs = about or {"message_id": SENT}
    return event("msg.reminded", at, refs=refs, body={"every_ms": every_ms, "max": max, **body})


def folded(*given_events):
    """The states and the codes of the problems."""
    answer = fold(given_events, LATE_MS)
    return answer.states, [problem.code for problem in answer.problems]


def message(*given_events):
    """The state of the message at 0, which has no problems."""
    states, codes = folded(*given_events)
    assert codes == []
    return states[f"msg/{SENT}"]


def receipts(*given_events):
    return message(*given_events)["receipts"]


def test_a_message_is_known_by_the_event_that_sent_it():
    state = message(sent(subject="Hi", importance="high", refs={"work_id": "wk-a"}, cc=[CY]))

    assert state["message_id"] == SENT
    assert (state["from"], state["to"], state["cc"]) == (ADA, [BO], [CY])
    assert (state["thread_id"], state["work_id"], state["importance"]) == ("th-1", "wk-a", "high")
    assert (state["sent_at_ms"], state["receipts"]) == (START_MS, {})


def test_whoever_is_named_twice_gets_it_once():
    assert mail.recipients(message(sent(to=[BO, BO, CY], cc=[CY, ADA]))) == [BO, CY, ADA]


def test_a_message_without_a_thread_has_one_of_its_own():
    one = event("msg.sent", 0, body={"to": [BO]})
    other = event("msg.sent", 0, body={"to": [BO]}, nth=1)
    states, _ = folded(one, other)

    threads = {state["thread_id"] for state in states.values()}

    assert len(threads) == 2
    assert all(name.startswith("th-") for name in threads)


@pytest.mark.parametrize(
    "body",
    [
        {"to": []}, {"to": "agent:bo"}, {"to": ["bo"]}, {"to": [BO], "cc": [7]},
        {"to": [BO], "text": 7}, {"to": [BO], "importance": "loud"}, {"to": [BO], "ack": ["none"]},
        {"to": [BO], "subject": "x" * 201}, {"to": [BO], "hops": -1}, {"to": [BO], "auto": 1},
        {"to": [BO], "attachments": [{"sha256": "ab"}]}, {"to": [BO], "expires_at_ms": "soon"},
        {"to": [BO], "reminder": {"rule_id": 1}},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_no_message(body):
    states, codes = folded(event("msg.sent", 0, body=body))

    assert (states, codes) == ({}, ["bad_data"])


def test_the_first_reading_counts():
    assert receipts(sent(), told("read", 5), told("read", 9)) == {BO: {"read_at_ms": START_MS + 5}}


def test_who_acknowledges_has_read():
    """And who had read before keeps that instant."""
    assert receipts(sent(), told("acked", 5, why="on it")) == {
        BO: {"read_at_ms": START_MS + 5, "acked_at_ms": START_MS + 5, "ack_why": "on it"}
    }
    both = receipts(sent(), told("read", 3), told("acked", 5), told("acked", 9))
    assert both == {BO: {"read_at_ms": START_MS + 3, "acked_at_ms": START_MS + 5}}


def test_each_recipient_reads_for_itself():
    found = receipts(sent(cc=[CY]), told("read", 5), told("acked", 6, by=CY))

    assert {name: sorted(done) for name, done in found.items()} == {
        BO: ["read_at_ms"], CY: ["acked_at_ms", "read_at_ms"],
    }  # fmt: skip


@pytest.mark.parametrize("verb", ["read", "acked", "suppressed"])
def test_only_a_recipient_does_something_about_a_message(verb):
    states, codes = folded(sent(), told(verb, 5, by="human:dee"))

    assert codes == ["not_allowed"]
    assert states[f"msg/{SENT}"]["receipts"] == {}


@pytest.mark.parametrize("verb", ["read", "acked", "suppressed"])
def test_what_is_done_about_a_message_that_is_not_here_waits_for_it(verb):
    """As a problem, until it comes: the order of arrival decides nothing."""
    assert folded(told(verb, 5))[1] == ["unknown_message"]
    assert BO in receipts(told(verb, 5), sent())


def test_reading_a_rule_is_refused():
    assert folded(sent(), rule(1), told("read", 5, message_id=id_at(1)))[1] == ["wrong_state"]


def test_its_sender_stops_reminders_for_all_and_a_recipient_for_itself():
    assert message(sent(), told("suppressed", 5, by="ada"))["suppressed_by"] == ADA
    assert receipts(sent(), told("suppressed", 5)) == {BO: {"suppressed_at_ms": START_MS + 5}}


def test_one_key_is_one_message_also_from_two_clones():
    """The smaller id counts; what was done about the other changes nothing and is no problem."""
    later = id_at(3)
    verbs = enumerate(("read", "acked", "suppressed"), start=5)
    done = [told(verb, at, message_id=later) for at, verb in verbs]

    states, codes = folded(sent(key="k"), sent(3, key="k", replica="bbbbbb"), *done)

    assert codes == []
    assert states[f"msg/{SENT}"]["receipts"] == {}
    assert states[f"msg/{later}"]["same_as"] == SENT
    assert len(list(view.inbox(states, BO, LATE_MS))) == 1


def test_a_paused_agents_message_stands_marked():
    """It tells and takes nothing; the agent's own store refuses it at once."""
    states, codes = folded(paused(ADA, -1), sent())

    assert codes == ["paused"]
    assert f"msg/{SENT}" in states


HISTORIES = some.histories(some.CROWDS["mail"])


@given(lines=HISTORIES, data=st.data())
def test_any_order_and_any_repetition_give_the_same_mail(lines, data):
    repeated = data.draw(st.lists(st.sampled_from(lines), max_size=5))
    shuffled = data.draw(st.permutations(lines + repeated))

    one, other = (fold(some.of(group), LATE_MS) for group in (lines, shuffled))

    assert bytes_of(sorted(one.states.items())) == bytes_of(sorted(other.states.items()))
    assert [(p.event_id, p.code) for p in one.problems] == [
        (p.event_id, p.code) for p in other.problems
    ]


@given(lines=HISTORIES, now_ms=some.AFTER_START)
def test_an_inbox_holds_each_message_at_most_once_and_unread_ones_first(lines, now_ms):
    states = fold(some.of(lines), LATE_MS).states

    for agent_id in some.AGENTS:
        rows = list(view.inbox(states, agent_id, now_ms))
        names = [row["message_id"] for row in rows]
        seen = [row["status"] != "unread" for row in rows]
        assert len(set(names)) == len(names)
        assert seen == sorted(seen)
        assert {row["status"] for row in rows} <= {"unread", "read", "acked"}


@given(lines=HISTORIES)
def test_receipts_are_of_recipients_alone(lines):
    for state in fold(some.of(lines), LATE_MS).states.values():
        if "message_id" in state:
            assert set(state["receipts"]) <= set(mail.recipients(state))


def test_what_is_snoozed_or_expired_unread_is_not_in_the_inbox():
    states, _ = folded(
        sent(nth=0, expires_at_ms=START_MS + 50),
        sent(nth=1),
        told("snoozed", 5, message_id=id_at(0, 1), until_ms=START_MS + 70),
    )

    shown = {
        at: [row["message_id"] for row in view.inbox(states, BO, START_MS + at)]
        for at in (10, 49, 50, 69, 70)
    }

    assert shown == {10: [SENT], 49: [SENT], 50: [], 69: [], 70: [id_at(0, 1)]}


def test_what_was_read_in_time_stays_in_the_inbox():
    states, _ = folded(sent(expires_at_ms=START_MS + 50), told("read", 5))

    assert [row["status"] for row in view.inbox(states, BO, START_MS + 60)] == ["read"]


def test_the_same_said_twice_is_the_same_whether_its_text_is_long_or_not():
    """A blob counts by its name, which is the text's digest."""
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    blob = {"sha256": digest, "body_bytes": 5}

    assert mail.sameness({"text": "hello"}) == mail.sameness({"text": blob})
    assert mail.sameness({"text": "hello"}) != mail.sameness({"text": "hello", "subject": "x"})
    assert mail.sameness({"text": "a"}) != mail.sameness({"text": "b"})


def test_what_others_wrote_is_marked():
    [state] = folded(sent())[0].values()

    assert view.short(state, ADA, LATE_MS)["trust"] == "own"
    assert view.short(state, BO, LATE_MS)["trust"] == "peer"
    assert view.whole(state, BO, LATE_MS, "hello")["trust"] == "peer"


def test_an_answer_goes_to_the_sender_and_to_all_only_when_asked():
    [state] = folded(sent(to=[BO, "agent:di"], cc=[CY]))[0].values()

    assert view.answered(state, BO, to_all=False) == ([ADA], ())
    assert view.answered(state, BO, to_all=True) == ([ADA], ["agent:di", CY])
    assert view.answered(state, ADA, to_all=False) == ([BO, "agent:di", CY], ())


def test_re_is_said_once():
    assert view.reply_subject("Hi") == "Re: Hi"
    assert view.reply_subject("re: Hi") == "re: Hi"
    assert view.reply_subject("") == ""
    assert len(view.reply_subject("x" * 200)) == 200
