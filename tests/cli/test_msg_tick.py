"""Reminders go out once each, to whoever has to act; and who is there to be told."""

import subprocess

from tests.cli.mailing import ids, sent
from tests.cli.morning import ADA, BO, KIM, MINUTE_MS
from tests.conftest import FROZEN_MS

CLERK = "bot:clerk"


def reminded(at, minute, agent=CLERK):
    """Whom a tick reminds."""
    answer = at(minute, agent, "msg", "tick")
    assert answer.code in (0, 1), answer.err
    return [row["to"][0] for row in answer.lines]


def rule(at, minute, *words):
    answer = at(minute, ADA, "msg", "remind", *words, "--quiet")
    assert answer.code == 0, answer.err
    return answer.out.strip()


def test_each_reminder_goes_out_once_however_often_somebody_ticks(at, mail):
    name = sent(mail, 1, ADA, "bo", "x", "--ack", "required")
    rule(at, 1, name, "--every", "10m", "--max", "2")

    told = [reminded(at, minute) for minute in (10, 11, 12, 20.5, 21, 22, 31, 99)]

    assert told == [[], [BO], [], [], [BO], [], [], []]
    assert len(ids(at(99, BO, "msg", "inbox", "--from", "bot:reminder"))) == 2


def test_ten_crons_at_once_send_one_reminder_each(run, at, mail, frozen):
    name = sent(mail, 1, ADA, "bo,human:kim", "x", "--ack", "required")
    rule(at, 1, name, "--every", "10m", "--max", "2")
    env = {"COORD_NOW_MS": str(FROZEN_MS + 12 * MINUTE_MS)}

    crons = [run.start("msg", "tick", "--quiet", as_=f"bot:c{n}", env=env) for n in range(10)]
    lines = [line for cron in crons for line in cron.communicate()[0].split()]

    assert len(lines) == 2
    for who in (BO, KIM):
        assert at(13, who, "msg", "inbox", "--from", "bot:reminder", "--count").json["total"] == 1


def test_who_answers_a_reminder_answers_who_made_the_rule(at, mail):
    name = sent(mail, 1, KIM, "bo", "x")
    rule(at, 1, name, "--every", "10m", "--max", "2")
    reminder = at(12, CLERK, "msg", "tick", "--quiet").out.strip()

    assert at(13, BO, "msg", "reply", reminder, "--body", "yes").json["to"] == [ADA]
    assert "bot:reminder" not in at(13, KIM, "msg", "who", "--all", "--quiet").out


def test_reminders_of_a_message_stop_when_it_is_acknowledged(at, mail):
    name = sent(mail, 1, ADA, "bo,human:kim", "x", "--ack", "required")
    rule(at, 1, name, "--every", "10m", "--max", "9")
    at(2, BO, "msg", "ack", name)

    assert reminded(at, 12) == [KIM]
    at(13, KIM, "msg", "suppress", name)
    assert reminded(at, 22) == []


def test_reminders_of_an_item_follow_its_claim_and_stop_when_it_closes(at, mail, created):
    work_id = created("something")
    at(1, ADA, "wk", "claim", work_id, "--ttl", "15m")
    rule(at, 1, "--work", work_id, "--every", "10m", "--max", "9")

    assert reminded(at, 12) == [ADA]
    # Its time is over, and nobody has it.
    assert reminded(at, 22) == []
    at(23, BO, "wk", "claim", work_id, "--ttl", "1d")
    assert reminded(at, 24) == [BO]
    at(25, BO, "wk", "close", work_id, "--as", "done")
    assert reminded(at, 42) == []


def test_a_rule_is_put_off_and_stopped_by_its_own_id(at, mail):
    name = sent(mail, 1, ADA, "bo", "x", "--ack", "required")
    made = rule(at, 1, name, "--every", "10m", "--max", "9")
    at(2, BO, "msg", "snooze", made, "--until", "20m")

    assert reminded(at, 12) == []
    assert reminded(at, 23) == [BO]
    at(24, KIM, "msg", "suppress", made)
    assert reminded(at, 42) == []
    assert at(43, ADA, "msg", "remind", "--list").code == 1


def test_nobody_is_reminded_in_quiet_hours(at, mail):
    """The frozen morning begins at nine, UTC."""
    name = sent(mail, 1, ADA, "bo", "x", "--ack", "required")
    rule(at, 1, name, "--every", "10m", "--max", "9", "--quiet-hours", "09:00-09:30")

    assert reminded(at, 12) == []
    assert reminded(at, 32) == [BO]


def test_a_rule_says_how_often_and_how_many_times_at_most(at, mail):
    name = sent(mail)

    for words in ((name,), (name, "--every", "1h"), (name, "--max", "3"), ("--every", "1h"),
                  (name, "--every", "1h", "--max", "2", "--quiet-hours", "noon")):  # fmt: skip
        assert at(2, ADA, "msg", "remind", *words).error["code"] == "usage"


def test_two_clones_that_tick_before_they_sync_send_one_reminder(at, mail, run, store, tmp_path):
    name = sent(mail, 1, ADA, "bo", "x", "--ack", "required")
    rule(at, 1, name, "--every", "10m", "--max", "2")
    subprocess.run(["git", "clone", "-q", run.folder, tmp_path / "other"], check=True)
    other = tmp_path / "other"
    subprocess.run(["cp", "-r", store, other / ".coord"], check=True)

    assert reminded(at, 12) == [BO]
    there = at(13, "agent:else", "msg", "tick", cwd=other)
    assert there.json["to"] == [BO]
    for path in (other / ".coord" / "msg").glob("bot-reminder*"):
        (store / "msg" / path.name).write_bytes(path.read_bytes())

    assert at(14, BO, "msg", "inbox", "--from", "bot:reminder", "--count").json["total"] == 1
    assert at(14, BO, "msg", "inbox", "--count").json["total"] == 2
    # By the id of the one that does not count any more, it is the other's.
    answer = at(14, BO, "msg", "ack", there.json["event_id"])
    [reminder] = at(15, BO, "msg", "inbox", "--from", "bot:reminder").lines
    assert answer.json["message_id"] == reminder["message_id"] != there.json["event_id"]
    assert reminder["status"] == "acked"


def test_nothing_goes_out_while_everybody_is_paused(at, mail):
    name = sent(mail, 1, ADA, "bo", "x", "--ack", "required")
    rule(at, 1, name, "--every", "10m", "--max", "9")
    at(2, KIM, "ev", "agent", "pause", "--all", "--why", "a test")

    assert at(12, KIM, "msg", "tick").error["code"] == "paused"


def test_a_beat_is_a_local_file_that_no_journal_knows(at, store):
    at(3, ADA, "wk", "create", "something", "--session", "s 1")

    [beat] = (store / "local" / "presence").iterdir()
    assert (beat.name, beat.read_text()) == ("agent-ada.s-1", "agent:ada\ns 1\n")
    assert beat.stat().st_mtime_ns // 1_000_000 == FROZEN_MS + 3 * MINUTE_MS
    assert not any("presence" in path.read_text() for path in store.glob("*/*.jsonl"))


def test_where_beats_cannot_be_kept_nothing_is_refused(at, store):
    (store / "local").mkdir(exist_ok=True)
    (store / "local" / "presence").write_text("in the way")

    assert at(3, ADA, "wk", "create", "something").code == 0
    assert at(4, ADA, "msg", "who", "--all").json["agent_id"] == ADA


def who(at, minute, *words):
    return {row["agent_id"]: row for row in at(minute, KIM, "msg", "who", *words).lines}


def test_a_session_that_beats_without_progress_shows_as_such(at, mail, created):
    """It renews its claim on and on, and nothing else."""
    work_id = created("something")
    at(1, BO, "ev", "agent", "register", "--mode", "episodic", "--period", "5m")
    at(1, BO, "wk", "claim", work_id, "--ttl", "1d")
    states = [who(at, minute)[BO]["state"] for minute in (2, 11)]
    for minute in (20, 30):
        at(minute, BO, "wk", "renew", work_id)

    row = who(at, 31)[BO]

    assert states == ["working", "working"]
    assert row["state"] == "idle"
    assert (row["beats"][0]["age_ms"], row["last_fact"]["age_ms"]) == (MINUTE_MS, 30 * MINUTE_MS)
    assert [hold["resource"] for hold in row["holds"]] == [f"work:{work_id}"]
    assert who(at, 60)[BO]["state"] == "stale"


def test_who_shows_what_somebody_waits_for(at, mail):
    name = sent(mail, 1, ADA, "bo", "x", "--ack", "required")

    [wait] = who(at, 2, "ada")[ADA]["waits_for"]
    assert (wait["for"], wait["message_id"]) == (BO, name)
    at(3, BO, "msg", "ack", name)
    assert "waits_for" not in who(at, 4, "ada")[ADA]


def test_nobody_of_that_name_is_not_there(at, mail):
    assert at(1, KIM, "msg", "who", "agent:b0").error["code"] == "unknown_agent"
