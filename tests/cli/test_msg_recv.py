"""`msg recv`, `wait` and `watch`: mail as it comes, and cursors that are each clone's own."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from tests.cli.morning import ADA, BO, KIM

SOON_S = 60


@pytest.fixture
def mail(run, store):
    """`mail(agent, words…)`: a `msg` command, with bo known."""
    run.ok("ev", "agent", "register", BO, "--mode", "listening", as_=KIM)
    return lambda agent, *words, **options: run("msg", *words, as_=agent, **options)


def sent(mail, body, *words, to="bo", by=ADA):
    answer = mail(by, "send", "--to", to, "--body", body, "--quiet", *words)
    assert answer.code == 0, answer.err
    return answer.out.strip()


def texts(answer):
    return [row["text"] for row in answer.lines]


def test_each_message_comes_once_the_oldest_first(mail):
    for body in "abc":
        sent(mail, body)

    assert texts(mail(BO, "recv", "--max", "2")) == ["a", "b"]
    assert texts(mail(BO, "recv")) == ["c"]
    assert mail(BO, "recv").code == 1
    sent(mail, "d")
    assert texts(mail(BO, "recv")) == ["d"]


def test_what_is_written_besides_mail_changes_nothing(mail, run):
    sent(mail, "a")
    mail(BO, "recv")
    for n in range(3):
        run.ok("wk", "create", f"item {n}", as_=ADA)

    assert mail(BO, "recv").code == 1


def test_a_cursor_that_is_lost_costs_repeats_and_no_message(mail, store):
    sent(mail, "a")
    mail(BO, "recv")
    shutil.rmtree(store / "local")
    sent(mail, "b")

    assert texts(mail(BO, "recv")) == ["a", "b"]


def test_mail_that_arrives_late_with_an_old_id_comes_all_the_same(mail, run, store):
    """As it does from a clone that was offline: the cursor is one per journal."""
    sent(mail, "new")
    mail(BO, "recv")
    old = json.loads(next((store / "msg").glob("agent-ada*")).read_text().splitlines()[0])
    late = {**old, "event_id": "01KDWCJ2M0WDN36Q4EWKFQ77ET", "writer": "agent-cy.zzzzzz",
            "actor": {"agent_id": "agent:cy"}, "body": {"to": [BO], "text": "late"}}  # fmt: skip
    (store / "msg" / "agent-cy.zzzzzz.0001.jsonl").write_text(json.dumps(late) + "\n")

    assert texts(mail(BO, "recv")) == ["late"]


@pytest.mark.parametrize(("option", "status"), [("--read", "read"), ("--ack", "acked")])
def test_recv_says_that_it_was_read_only_when_asked(mail, option, status):
    name = sent(mail, "a")
    mail(BO, "recv", option)

    [row] = mail(BO, "inbox").lines
    assert (row["message_id"], row["status"]) == (name, status)


def test_waiting_ends_with_the_first_message_or_with_the_time(mail, run):
    assert mail(BO, "recv", "--wait", "50ms").code == 1
    waiting = run.start("msg", "recv", "--wait", f"{SOON_S}s", as_=BO)
    sent(mail, "a")

    out, _ = waiting.communicate(timeout=SOON_S)

    assert json.loads(out)["text"] == "a"


def test_following_goes_on_until_enough_have_come(mail, run):
    sent(mail, "a")
    following = run.start("msg", "recv", "--follow", "--max", "3", as_=BO)
    for body in "bc":
        sent(mail, body)

    out, _ = following.communicate(timeout=SOON_S)

    assert [json.loads(line)["text"] for line in out.splitlines()] == ["a", "b", "c"]
    assert following.returncode == 0
    assert mail(BO, "recv").code == 1


def test_a_reader_that_is_killed_misses_nothing(mail, run):
    """At least once: what was printed may come again, by the same id."""
    seen = set()
    for body in "abcdef":
        sent(mail, body)
        reader = run.start("msg", "recv", "--follow", as_=BO)
        first = reader.stdout.readline()
        os.kill(reader.pid, signal.SIGKILL)
        rest, _ = reader.communicate()
        seen.update(json.loads(line)["text"] for line in (first + rest).splitlines())

    seen.update(texts(mail(BO, "recv")))
    assert seen == set("abcdef")


def test_interrupting_a_reader_is_no_error_of_it(mail, run):
    reader = run.start("msg", "recv", "--follow", as_=BO)
    sent(mail, "a")
    reader.stdout.readline()
    time.sleep(0.2)
    reader.send_signal(signal.SIGINT)

    _, err = reader.communicate(timeout=SOON_S)

    assert (reader.returncode, err.strip()) == (130, b"")


def test_an_answer_that_is_there_already_ends_the_waiting_at_once(mail):
    name = sent(mail, "a")
    mail(BO, "reply", name, "--body", "yes")

    assert mail(ADA, "wait", "--reply-to", name).json["text"] == "yes"


def test_an_answer_that_comes_ends_the_waiting(mail, run):
    name = sent(mail, "a")
    waiting = run.start("msg", "wait", "--thread", name, f"{SOON_S}s", as_=ADA)
    mail(BO, "reply", name, "--body", "yes")

    out, _ = waiting.communicate(timeout=SOON_S)

    assert json.loads(out)["text"] == "yes"


def test_waiting_for_a_thread_means_after_ones_own_last_word(mail):
    name = sent(mail, "a")
    mail(BO, "reply", name, "--body", "old")
    mail(ADA, "reply", name, "--body", "and now?")

    assert mail(ADA, "wait", "--thread", name, "50ms").code == 1
    assert mail(ADA, "wait").error["code"] == "usage"


def test_watch_marks_what_others_sent(mail):
    sent(mail, "a")

    marks = [mail(who, "watch", "--since", "start", "-n", "1").json["trust"] for who in (ADA, BO)]

    assert marks == ["own", "peer"]


def test_watch_can_be_told_to_print_what_wakes_alone(mail):
    sent(mail, "a")
    loud = sent(mail, "b", "--wake")

    row = mail(BO, "watch", "--wake", "--since", "start", "-n", "1").json

    assert (row["event_id"], row["body"]["wake"]) == (loud, True)


def clone_of(run, tmp_path, name):
    """Another clone of the repository's remote, with a store of its own."""
    path = tmp_path / name
    subprocess.run(["git", "clone", "-q", tmp_path / "hub.git", path], check=True)
    subprocess.run(["git", "config", "user.name", "Kim"], cwd=path, check=True)
    run.ok("ev", "init", cwd=path)
    return path


def test_receipts_are_everybodys_and_cursors_each_clones_own(mail, run, tmp_path):
    subprocess.run(["git", "clone", "-q", "--bare", run.folder, tmp_path / "hub.git"], check=True)
    hub = str(tmp_path / "hub.git")
    subprocess.run(["git", "remote", "add", "origin", hub], cwd=run.folder, check=True)
    other = clone_of(run, tmp_path, "other")
    name = sent(mail, "a")
    assert mail(ADA, "status", name).json["state"] == "recorded"
    run.ok("ev", "sync", as_=ADA)
    told = mail(ADA, "status", name).json
    assert told["state"] == "synced"
    assert len(told["synced"]["origin"]["commit"]) == 40

    run.ok("msg", "sync", cwd=other, as_=BO)
    assert run.ok("msg", "recv", "--ack", cwd=other, as_=BO).json["message_id"] == name
    run.ok("msg", "sync", cwd=other, as_=BO)
    run.ok("msg", "sync", as_=ADA)

    here, there = (run.ok("msg", "status", name, cwd=path, as_=ADA).json for path in (None, other))
    assert {here["state"], there["state"]} == {"acked"}
    assert "surfaced_at_ms" in there
    assert "surfaced_at_ms" not in here
    assert mail(BO, "recv").json["message_id"] == name
