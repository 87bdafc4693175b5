"""`msg` on the command line: who is told what, and what becomes of it."""

import json

import pytest

from tests.cli.mailing import ids, sent
from tests.cli.morning import ADA, BO, KIM
from tests.conftest import FROZEN_MS


def events_in(store):
    """Every line of msg's journals."""
    texts = [path.read_text() for path in sorted((store / "msg").glob("*.jsonl"))]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def test_a_message_is_in_its_recipients_inbox_and_in_no_other(mail):
    name = sent(mail)

    assert ids(mail(2, BO, "inbox")) == [name]
    assert mail(2, ADA, "inbox").code == 1
    assert mail(2, KIM, "inbox").code == 1


def test_a_message_says_something_to_somebody(mail):
    assert mail(1, ADA, "send", "--to", "bo").error["code"] == "usage"
    assert mail(1, ADA, "send", "--body", "hello").error["code"] == "usage"
    assert mail(1, ADA, "send", "--to", "bo", "--subject", "x" * 201).code == 6


def test_nothing_is_written_for_an_unknown_recipient_unless_that_is_allowed(mail, store):
    refused = mail(1, ADA, "send", "--to", "bo", "--cc", "agent:bob", "--body", "x")
    assert (refused.code, refused.error["suggestions"][0]) == (3, "agent:bo")
    assert events_in(store) == []

    name = sent(mail, 1, ADA, "agent:bob", "x", "--allow-unknown")

    assert ids(mail(2, "agent:bob", "inbox")) == [name]


def test_what_a_role_means_is_decided_when_it_is_sent(mail, at):
    name = sent(mail, to="@reviewer")
    at(2, ADA, "ev", "agent", "register", "agent:cy", "--mode", "listening", "--role", "reviewer")

    assert mail(3, "agent:cy", "inbox").code == 1
    assert mail(3, BO, "show", name).json["addressed"] == ["@reviewer"]


def test_all_are_all_who_are_registered_but_the_sender(mail):
    name = sent(mail, by=KIM, to="@all")

    assert mail(2, KIM, "show", name).json["to"] == [BO]


def test_the_same_text_to_the_same_recipient_within_a_minute_is_one_message(mail):
    """Whoever was not told yet still is; after a minute it may be said again."""
    first = sent(mail)

    assert sent(mail, 1.5) == first
    both = mail(1.6, ADA, "send", "--to", "bo,human:kim", "--body", "hello").json
    assert both["to"] == [KIM]
    assert sent(mail, 1.7, KIM) != first
    assert sent(mail, 1.8, ADA, "bo", "hello!") != first
    assert sent(mail, 2.1) != first
    assert mail(3, BO, "inbox", "--count").json["total"] == 4


def test_two_commands_at_once_that_say_the_same_are_one_message(run, store):
    run.ok("ev", "agent", "register", BO, "--mode", "listening", as_=KIM)
    words = ("msg", "send", "--to", "bo", "--body", "hello", "--quiet")

    racers = [run.start(*words, as_=ADA) for _ in range(6)]

    assert len({racer.communicate()[0] for racer in racers}) == 1
    assert run.ok("msg", "inbox", "--count", as_=BO).json["total"] == 1


def test_a_retry_with_the_same_key_is_the_same_message(mail, at):
    """Though `@all` means others by now, and the minute is over."""
    words = ("send", "--to", "@all", "--body", "x", "--key", "k", "--expires", "1d")
    first = mail(1, ADA, *words).json
    at(2, KIM, "ev", "agent", "register", "agent:cy", "--mode", "listening")

    again = mail(1, ADA, *words).json
    other = mail(9, ADA, "send", "--to", "bo", "--body", "y", "--key", "k")

    assert again == {**first, "duplicate": True}
    assert other.error["code"] == "key_reused"


def test_a_long_body_and_a_file_come_out_as_they_went_in(mail, run):
    long = "ä line\n" * 20_000
    (run.folder / "body.md").write_text(long)
    (run.folder / "data.bin").write_bytes(bytes(range(256)))
    name = sent(mail, 1, ADA, "bo", "@body.md", "--attach", "data.bin")

    row = mail(2, BO, "show", name, "--save", "out").json

    assert row["text"] == long
    assert row["attachments"][0]["name"] == "data.bin"
    assert (run.folder / "out" / "data.bin").read_bytes() == bytes(range(256))
    assert mail(2, BO, "show", name, "--save", "out").code == 5


@pytest.mark.parametrize("name", ["../up.txt", "/etc/up.txt", ".hidden"])
def test_an_attachments_name_leads_nowhere_else(run, store, name):
    """Its sender chose it, perhaps without these tools."""
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    body = {"to": [BO], "text": "x",
            "attachments": [{"name": name, "sha256": digest, "body_bytes": 5}]}  # fmt: skip
    line = {"event_id": "01KDWCJ2M0WDN36Q4EWKFQ77ET", "ts": "2026-01-01T09:00:00.000Z",
            "project": "p", "type": "msg.sent", "actor": {"agent_id": ADA},
            "refs": {"thread_id": "th-1"}, "body": body,
            "writer": "agent-ada.zzzzzz", "seq": 1, "v": 1}  # fmt: skip
    (store / "msg" / "agent-ada.zzzzzz.0001.jsonl").write_text(json.dumps(line) + "\n")
    (store / "blobs" / "2c").mkdir(parents=True)
    (store / "blobs" / "2c" / digest).write_text("hello")

    saved = run.ok("msg", "show", "01KDWCJ2", "--save", "out", as_=BO).json["saved"]

    assert [path.name for path in (run.folder / "out").iterdir()] == [saved[0].split("/")[1]]
    assert not saved[0].split("/")[1].startswith(".")


def test_what_others_wrote_is_escaped_on_a_terminal_and_marked_in_json(mail, run, need):
    need("script")
    evil = "ok\x1b]0;owned\x07\x1b[2J\u202e"
    name = sent(mail, 1, ADA, "bo", evil)
    tool = run.command("msg")[0]

    shown = run("script", "-qec", f"{tool} show {name}", "/dev/null", as_=BO).out

    assert "\x1b]0" not in shown
    assert "\u202e" not in shown
    assert "\\x1b]0;owned" in shown
    assert mail(2, BO, "show", name).json["trust"] == "peer"
    assert mail(2, ADA, "show", name).json["trust"] == "own"


def test_listing_and_showing_make_nothing_read(mail):
    name = sent(mail)
    for words in (("inbox",), ("show", name), ("thread", name), ("recv",), ("search", "hello")):
        mail(2, BO, *words)

    assert mail(3, BO, "inbox", "--unread", "--quiet").out.strip() == name


def test_counts_agree_with_the_list_under_every_filter(mail):
    read, _, acked = (sent(mail, 1, ADA, "bo", body, "--ack", "wanted") for body in "abc")
    sent(mail, 1, KIM, "bo", "d")
    mail(2, BO, "read", read)
    mail(2, BO, "ack", acked)

    for words in ((), ("--unread",), ("--unacked",), ("--from", "ada"), ("--unread", "--unacked")):
        rows = mail(3, BO, "inbox", *words).lines
        counts = mail(3, BO, "inbox", "--count", *words).json
        unread = [row for row in rows if row["status"] == "unread"]
        owed = [row for row in rows if "ack" in row and row["status"] != "acked"]
        told = counts["total"], counts["unread"], counts["unacked"]
        assert told == (len(rows), len(unread), len(owed)), words


def test_unread_comes_first_then_the_newest(mail):
    first, second, third = (sent(mail, n, ADA, "bo", str(n)) for n in (1, 2, 3))
    mail(4, BO, "read", third)

    assert ids(mail(5, BO, "inbox")) == [second, first, third]
    assert ids(mail(5, BO, "inbox", "--limit", "1", "--offset", "1")) == [first]


def test_a_message_that_has_expired_unread_leaves_the_inbox(mail):
    name = sent(mail, 1, ADA, "bo", "x", "--expires", "5m")

    assert ids(mail(5, BO, "inbox")) == [name]
    assert mail(6, BO, "inbox").code == 1
    assert mail(6, BO, "recv").code == 1
    assert mail(6, BO, "status", name).json["state"] == "expired"


def test_a_snoozed_message_comes_back(mail):
    name = sent(mail)
    assert mail(2, BO, "snooze", name, "--until", "10m").code == 0

    assert mail(3, BO, "inbox").code == 1
    assert ids(mail(12, BO, "inbox")) == [name]
    assert mail(3, BO, "snooze", name, "--until", "2020-01-01").error["code"] == "usage"


def test_a_reply_goes_to_the_sender_in_the_same_thread_and_names_its_cause(mail, store):
    name = sent(mail, 1, ADA, "bo,human:kim", "x", "--subject", "Hi")

    answer = mail(2, BO, "reply", name, "--body", "y").json
    to_all = mail(2, BO, "reply", name, "--body", "z", "--all").json

    assert (answer["to"], answer["reply_to"]) == ([ADA], name)
    assert (to_all["to"], to_all["cc"]) == ([ADA], [KIM])
    assert mail(3, ADA, "inbox", "--quiet").out.split() == [to_all["event_id"], answer["event_id"]]
    assert {line.get("cause") for line in events_in(store) if line["actor"]["agent_id"] == BO} == {
        name
    }
    assert ids(mail(3, KIM, "thread", name)) == [name, answer["event_id"], to_all["event_id"]]


def test_a_chain_of_automatic_replies_stops_at_eight(mail):
    last, turns = sent(mail), 0
    while True:
        turns += 1
        by = BO if turns % 2 else ADA
        answer = mail(1 + turns, by, "reply", last, "--auto", "--body", f"yes {turns}")
        if answer.code:
            break
        last = answer.json["event_id"]

    assert (turns, answer.code, answer.error["code"]) == (9, 4, "hops")
    assert mail(20, BO, "reply", last, "--body", "by hand").code == 0


def test_a_sender_has_a_cap_a_minute(mail, at):
    """Each for itself; the next minute is another one; a batch counts as a whole."""
    assert at(0, KIM, "ev", "config", "set", "msg.rate_per_minute", "3").code == 0
    for turn in "abc":
        sent(mail, 1, ADA, "bo", turn)

    refused = mail(1.5, ADA, "send", "--to", "bo", "--body", "d")

    assert (refused.code, refused.error["code"]) == (4, "rate")
    sent(mail, 1.5, KIM, "bo", "d")
    sent(mail, 2.1, ADA, "bo", "d")
    lines = "".join(json.dumps({"to": "bo", "text": text}) + "\n" for text in "efgh")
    assert mail(9, ADA, "send", "-", input=lines).error["code"] == "rate"
    assert mail(9, BO, "inbox", "--count").json["total"] == 5


def test_a_batch_is_answered_line_for_line_and_is_all_or_nothing(mail):
    good = '{"to":"bo","text":"one"}\n{"to":["bo"],"subject":"two"}\n{"to":"bo","text":"one"}\n'

    answer = mail(1, ADA, "send", "-", input=good)
    refused = mail(2, ADA, "send", "-", input=good.replace("one", "1") + '{"to":"b0","text":"x"}\n')
    partial = mail(3, ADA, "send", "-", "--partial", input='{"to":"b0","text":"x"}\n' + good)

    assert [row.get("duplicate", False) for row in answer.lines] == [False, False, True]
    assert (refused.code, refused.error["line"], refused.out) == (3, 4, "")
    assert (partial.code, len(partial.lines)) == (3, 3)


def test_who_is_paused_sends_nothing(mail, at):
    at(1, KIM, "ev", "agent", "pause", ADA, "--why", "a test")

    assert mail(2, ADA, "send", "--to", "bo", "--body", "x").error["code"] == "paused"


def test_a_dry_run_prints_the_event_and_sends_nothing(mail):
    assert mail(1, ADA, "send", "--to", "bo", "--body", "x", "--dry-run").json["type"] == "msg.sent"
    assert mail(2, BO, "inbox").code == 1


def test_emitted_mail_obeys_the_same_brakes(mail, at):
    name = sent(mail)
    raw = {"type": "msg.sent", "refs": {"thread_id": "th-1", "reply_to": name},
           "body": {"to": [ADA], "text": "x", "auto": True, "hops": 7}}  # fmt: skip

    answer = at(2, BO, "ev", "emit", "-", input=json.dumps(raw) + "\n")

    assert answer.error["code"] == "bad_data"


def test_an_items_messages_are_among_its_events(mail, at, created):
    work_id = created("something")
    name = sent(mail, 1, ADA, "bo", "x", "--work", work_id[:6])

    assert at(2, ADA, "ev", "list", "--work", work_id, "--type", "msg.*").json["event_id"] == name
    assert ids(mail(2, BO, "inbox", "--work", work_id)) == [name]


def test_search_finds_words_in_subject_and_text_of_ones_own_mail(mail):
    name = sent(mail, 1, ADA, "bo", "The Übergang is done", "--subject", "News")

    assert mail(2, BO, "search", "ubergang").json["found_in"] == ["text"]
    assert mail(2, ADA, "search", "news").json["message_id"] == name
    assert mail(2, KIM, "search", "news").code == 1
    assert mail(2, KIM, "search", "news", "--everybody").code == 0
    assert mail(2, BO, "search", "...").code == 2


def test_materialized_from_the_lines_an_inbox_is_what_it_is(mail, at, store):
    """The index, the fold and the verb say the same."""
    names = [sent(mail, n, ADA, "bo", str(n)) for n in (1, 2, 3)]
    mail(4, BO, "ack", names[1])
    lines = b"".join(path.read_bytes() for path in sorted(store.glob("*/*.jsonl")))

    listed = mail(5, BO, "inbox").out
    stored = at(5, BO, "ev", "materialize", "inbox").out
    piped = at(5, KIM, "ev", "materialize", "inbox", "-", "--me", "bo", input=lines).out
    before = at(5, BO, "ev", "materialize", "inbox", "--at", names[1]).lines

    assert listed == stored == piped
    assert [(row["message_id"], row["status"]) for row in before] == [
        (names[1], "unread"), (names[0], "unread"),
    ]  # fmt: skip


def test_ids_may_be_shortened_while_they_are_clear(mail):
    first = sent(mail)
    sent(mail, 2, ADA, "bo", "more")

    assert mail(3, BO, "show", first[:14].lower()).json["message_id"] == first
    assert mail(3, BO, "show", first[:3]).error["code"] == "ambiguous"
    assert mail(3, BO, "show", "zzz").error["code"] == "unknown_message"
    assert mail(3, BO, "thread", "th-zzzz").code == 3


def test_status_tells_each_recipients_state_and_what_to_expect(mail):
    name = sent(mail, 1, ADA, "bo,human:kim,agent:cy", "x", "--allow-unknown", "--ack", "required")
    mail(2, BO, "recv")
    mail(2, KIM, "ack", name)

    rows = {row["agent_id"]: row for row in mail(3, ADA, "status", name).lines}

    assert {who: row["state"] for who, row in rows.items()} == {
        BO: "surfaced", KIM: "acked", "agent:cy": "recorded",
    }  # fmt: skip
    assert rows[BO]["surfaced_at_ms"] == FROZEN_MS + 2 * 60_000
    assert rows[BO]["expect"] == "agent:bo listens all the time, last seen 1m ago"
    assert rows["agent:cy"]["expect"] == "agent:cy is not registered, never seen here"
