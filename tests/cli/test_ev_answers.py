"""What `ev` answers: trees and causes, states then and now, status, digest, prime."""

import json

import pytest

from tests.cli.morning import ADA, BO, KIM, MINUTE_MS, emitted
from tests.conftest import FROZEN_MS


def of_section(answer, name):
    """The rows of one section of `ev status`."""
    return [row for row in answer.lines if row["section"] == name]


# Causes


def test_a_tree_shows_what_followed_and_why_what_led_to_it(at):
    first = emitted(at, 0, "build.finished")
    second = emitted(at, 1, "deploy.began", "--cause", first)
    third = emitted(at, 2, "deploy.ended", "--cause", second)

    tree, why = at(3, ADA, "ev", "tree", first), at(3, ADA, "ev", "why", third)

    assert [(r["depth"], r["event_id"]) for r in tree.lines] == [
        (0, first),
        (1, second),
        (2, third),
    ]
    assert [r["event_id"] for r in why.lines] == [first, second, third]


def test_causes_are_found_after_a_rebuild_and_after_a_catch_up_alike(at, run, store):
    first = emitted(at, 0, "build.finished")
    at(0, ADA, "ev", "tree", first)
    emitted(at, 1, "deploy.began", "--cause", first)
    caught_up = at(2, ADA, "ev", "tree", first).out

    (store / "local" / "index.db").unlink()

    assert at(2, ADA, "ev", "tree", first).out == caught_up
    assert len(caught_up.splitlines()) == 2


def test_a_long_tree_is_cut_and_says_so(at):
    first = emitted(at, 0, "build.finished")
    for minute in (1, 2, 3):
        emitted(at, minute, "deploy.began", "--cause", first)

    answer = at(4, ADA, "ev", "tree", first, "--limit", "2")

    assert len(answer.lines) == 2
    assert '"code":"more"' in answer.err
    assert len(at(4, ADA, "ev", "tree", first, "-n", "0").lines) == 4


def test_an_event_that_is_not_there_has_no_tree(at):
    assert at(0, ADA, "ev", "tree", "01KNOTHERE").error["code"] == "unknown_event"
    assert at(0, ADA, "ev", "why", "nowhere").error["code"] == "unknown_event"


def commit(run, file, message):
    """Commit one file as it is."""
    run.ok("git", "add", file)
    run.ok("git", "commit", "--quiet", "--message", message)


def test_a_file_is_told_by_events_and_commits_the_newest_first(run, store):
    """Also under its earlier name, from inside a folder, and when it is gone."""
    run.ok("ev", "emit", "build.failed", "--body", '{"log":"src/new.py:3: oops"}', as_=ADA)
    run.ok("ev", "emit", "build.failed", "--body", '{"log":"src/new.pyc"}', as_=ADA)
    run.ok("ev", "emit", "edit.began", "--ref", "resource=path:src/new.py", as_=ADA)
    (run.folder / "src").mkdir()
    (run.folder / "src/old.py").write_text("a\nb\nc\nd\n")
    commit(run, "src/old.py", "Begin\n\nWork: wk-1, wk-2")
    run.ok("git", "mv", "src/old.py", "src/new.py")
    run.ok("git", "commit", "--quiet", "--message", "Rename")

    answers = [
        run("ev", "why", "src/new.py"),
        run("ev", "why", "new.py", cwd=run.folder / "src"),
        run("ev", "why", run.folder / "src/new.py"),
    ]

    rows = answers[0].lines
    told = [row.get("subject") or row["type"] for row in rows]
    assert sorted(told) == ["Begin", "Rename", "build.failed", "edit.began"]
    assert {tuple(r["work"]) for r in rows if "commit" in r} == {("wk-1", "wk-2"), ()}
    assert {answer.out for answer in answers} == {answers[0].out}


def test_a_file_that_is_gone_is_still_told(run, store):
    (run.folder / "gone.py").write_text("x\n")
    commit(run, "gone.py", "Add")
    run.ok("git", "rm", "--quiet", "gone.py")
    run.ok("git", "commit", "--quiet", "--message", "Remove")

    assert [row["subject"] for row in run("ev", "why", "gone.py").lines][-1] == "Add"


def test_a_file_that_nothing_mentions_is_a_no(run, store):
    (run.folder / "quiet.py").write_text("x\n")

    answer = run("ev", "why", "quiet.py")

    assert (answer.code, answer.out) == (1, "")


def test_a_commit_is_told_by_the_history_of_its_item(run, store):
    item = run.ok("wk", "create", "Fix it", "--quiet", as_=ADA).out.strip()
    run.ok("wk", "claim", item, as_=ADA)
    run.ok("git", "commit", "--allow-empty", "--quiet", "-m", f"Fix\n\nWork: {item}")

    rows = run("ev", "why", "HEAD").lines

    assert rows[0]["work"] == [item]
    assert [row["type"] for row in rows[1:]] == ["work.created", "work.claimed"]


# Then and now


def test_the_state_then_is_what_it_was_then(at, created, store):
    item = created("before")
    at(10, KIM, "wk", "update", item, "--title", "after")

    then = at(20, KIM, "ev", "materialize", "work", "--at", "15m ago").json
    event_id = at(20, KIM, "ev", "list", "--type", "work.created", "--quiet").out.strip()
    by_event = at(20, KIM, "ev", "materialize", "work", "--at", event_id).json
    journals = "".join(path.read_text() for path in sorted(store.glob("*/*.jsonl")))
    piped = at(20, KIM, "ev", "materialize", "work", "-", "--at", event_id, input=journals).json

    assert then["title"] == by_event["title"] == "before"
    assert piped == by_event
    assert at(20, KIM, "ev", "materialize", "work").json["title"] == "after"


@pytest.mark.parametrize("what", ["leases", "runs"])
def test_leases_and_runs_are_the_same_from_the_store_and_from_the_lines(at, created, store, what):
    item = created("to be held")
    at(1, ADA, "wk", "claim", item)
    for minute, name in enumerate(("env:b", "env:a"), start=2):
        at(minute, BO, "lease", "acquire", name, "--ttl", f"{10 * minute}m")
    asked = at(4, KIM, "run", "request", "--quiet", "--", "make", "all").out.strip()
    lines = "".join(path.read_text() for path in sorted(store.glob("*/*.jsonl")))

    stored = at(25, KIM, "ev", "materialize", what)
    piped = at(25, KIM, "ev", "materialize", what, "-", input=lines)

    assert stored.out == piped.out
    assert at(25, KIM, "ev", "materialize", what, "--format", "md").out.count("\n") == len(
        stored.lines
    )
    if what == "runs":
        assert [(row["run_id"], row["command"]) for row in stored.lines] == [(asked, "make all")]
        assert at(25, KIM, "ev", "materialize", "runs", "--at", "23m ago").out == ""
    else:
        assert [row["resource"] for row in stored.lines] == ["env:a", f"work:{item}"]
        assert stored.lines == at(25, KIM, "lease", "list").lines
        then = at(25, KIM, "ev", "materialize", "leases", "--at", "20m ago").lines
        assert [row["resource"] for row in then] == ["env:b", "env:a", f"work:{item}"]


def test_what_had_not_come_to_be_is_not_there(at, created):
    created("later", minutes=10)

    assert at(20, KIM, "ev", "materialize", "work", "--at", "15m ago").out == ""
    assert at(20, KIM, "ev", "materialize", "agents", "--at", "then").error["code"] == "usage"


def test_a_diff_says_what_changed_even_by_time_alone(at, created):
    """A claim that ran out in between was written by nobody."""
    item = created()
    at(1, ADA, "wk", "claim", item, "--ttl", "5m")
    at(2, KIM, "wk", "create", "new", "--quiet")

    rows = {row["change"]: row for row in at(20, KIM, "ev", "diff", "18m30s ago").lines}

    assert rows["changed"]["fields"]["status"] == {"from": "claimed", "to": "open"}
    assert rows["added"]["fields"]["title"] == {"to": "new"}
    unchanged = at(20, KIM, "ev", "diff", "1m ago", "now")
    assert (unchanged.code, unchanged.out) == (1, "")


def test_a_diff_of_agents_tells_who_was_paused(at):
    at(0, KIM, "ev", "agent", "register", ADA, "--mode", "listening")
    at(5, KIM, "ev", "agent", "pause", ADA, "--why", "stop")

    [row] = at(9, KIM, "ev", "diff", "6m ago", "--agents").lines

    assert row["agent_id"] == ADA
    assert row["fields"]["paused"]["to"]["why"] == "stop"


# Status


def test_with_nothing_to_say_status_and_digest_are_silent(at):
    for verb in ("status", "digest"):
        answer = at(0, ADA, "ev", verb)
        assert (answer.code, answer.out, answer.err) == (1, "", "")


def test_status_tells_what_moved_once_per_item(at, created):
    item = created("Log in")
    at(1, ADA, "wk", "claim", item)
    at(2, ADA, "wk", "close", item, "--as", "done", "--why", "tests pass")

    [row] = of_section(at(3, KIM, "ev", "status"), "moved")

    assert row == {
        "section": "moved",
        "work_id": item,
        "agent_id": ADA,
        "title": "Log in",
        "reason": "closed as done: tests pass",
        "since_ms": FROZEN_MS + 2 * MINUTE_MS,
    }
    assert at(60, KIM, "ev", "status").code == 1
    assert len(at(60, KIM, "ev", "status", "--since", "2h").lines) == 1


def test_status_tells_what_waits_and_for_whom(at, created):
    submitted, offered, blocked = created("a"), created("b"), created("c")
    at(1, ADA, "wk", "claim", submitted)
    at(2, ADA, "wk", "submit", submitted)
    at(3, ADA, "wk", "claim", offered)
    at(4, ADA, "wk", "handoff", offered, "--to", BO, "--why", "my session ends")
    at(5, ADA, "wk", "hold", blocked, "--on", KIM, "--why", "budget")

    rows = of_section(at(6, KIM, "ev", "status"), "waits")

    assert [(row["work_id"], row.get("agent_id")) for row in rows] == [
        (submitted, None), (offered, BO), (blocked, KIM),
    ]  # fmt: skip
    assert [row["since_ms"] - FROZEN_MS for row in rows] == [
        2 * MINUTE_MS,
        4 * MINUTE_MS,
        5 * MINUTE_MS,
    ]
    assert "budget" in rows[2]["reason"]


def test_what_has_passed_waits_for_its_author_to_close_it(at, created):
    item = created()
    at(1, ADA, "wk", "claim", item)
    at(2, ADA, "wk", "submit", item)
    at(3, BO, "wk", "verify", item, "--pass")

    [row] = of_section(at(4, KIM, "ev", "status"), "waits")

    assert row["agent_id"] == ADA
    assert row["reason"] == f"passed by {BO}, not closed yet"


def test_a_claim_is_stuck_after_half_its_time_in_silence_and_when_it_ended(at, created):
    item = created()
    at(1, ADA, "wk", "claim", item, "--ttl", "20m")

    assert of_section(at(11, KIM, "ev", "status"), "stuck") == []
    [silent] = of_section(at(12, KIM, "ev", "status"), "stuck")
    [ended] = of_section(at(30, KIM, "ev", "status"), "stuck")

    assert (silent["agent_id"], silent["since_ms"]) == (ADA, FROZEN_MS + MINUTE_MS)
    assert ended["since_ms"] == FROZEN_MS + 21 * MINUTE_MS
    at(31, ADA, "wk", "renew", item)
    assert of_section(at(32, KIM, "ev", "status"), "stuck") == []


def test_a_hold_is_stuck_after_a_day(at, created):
    item = created()
    at(0, ADA, "wk", "hold", item, "--on", "https://example.org/pr/1", "--why", "upstream")

    assert of_section(at(60 * 24, KIM, "ev", "status"), "stuck") == []
    [row] = of_section(at(60 * 24 + 1, KIM, "ev", "status"), "stuck")
    assert row["reason"] == "on hold for https://example.org/pr/1: upstream"


def test_a_hold_for_an_item_ends_with_it(at, created):
    first, second = created("first"), created("second")
    at(0, ADA, "wk", "hold", second, "--on", first, "--why", "order")
    day = 60 * 24 + 1

    assert len(of_section(at(day, KIM, "ev", "status"), "stuck")) == 1
    at(day, KIM, "wk", "close", first, "--as", "done")
    assert of_section(at(day + 1, KIM, "ev", "status"), "stuck") == []


def test_a_claim_that_lost_to_another_clone_is_contested(at, created, run, frozen):
    item = created()
    at(1, ADA, "wk", "claim", item)
    won = at(1, ADA, "ev", "list", "--type", "work.claimed").json
    event = {**won, "actor": {"agent_id": BO}, "writer": "agent-bo.zzzzzz", "seq": 1}
    event["event_id"] = won["event_id"][:10] + "Z" * 16
    event["refs"] = {**event["refs"], "lease_id": "lease-other"}
    event.pop("prev", None)
    path = run.folder / ".coord/wk/agent-bo.zzzzzz.0001.jsonl"
    path.write_text(json.dumps(event) + "\n")

    [row] = of_section(at(2, KIM, "ev", "status"), "contested")

    assert (row["work_id"], row["agent_id"]) == (item, BO)
    assert ADA in row["reason"]


def test_pauses_and_the_oldest_ready_item_are_told(at, created):
    oldest = created("old")
    created("new", "-p", "0", minutes=1)
    at(2, KIM, "ev", "agent", "pause", ADA, "--why", "it deletes tests")
    at(2, KIM, "ev", "agent", "pause", "--all", "--why", "fire")

    answer = at(3, KIM, "ev", "status")

    assert [row["agent_id"] for row in of_section(answer, "paused")] == ["*", ADA]
    [ready] = of_section(answer, "ready")
    assert (ready["work_id"], ready["reason"]) == (oldest, "the oldest of 2 ready")


def test_status_shows_a_few_rows_of_each_section_and_says_so(at, created):
    for number in range(7):
        created(f"item {number}")

    answer = at(1, KIM, "ev", "status")

    assert len(of_section(answer, "moved")) == 5
    assert '"left":2' in answer.err
    assert len(of_section(at(1, KIM, "ev", "status", "-n", "0"), "moved")) == 7


# Digest and prime


def test_a_digest_counts_names_and_says_by_whom(at, created):
    item = created("Log *in*")
    created("Log out")
    at(1, ADA, "wk", "claim", item)
    at(2, ADA, "wk", "close", item, "--as", "done", "--why", "tests pass")
    waits = created("Budget")
    at(3, ADA, "wk", "hold", waits, "--on", KIM, "--why", "money")

    text = at(5, KIM, "ev", "digest").out

    assert text.startswith("# repo: 2025-12-31T09:05:00.000Z to 2026-01-01T09:05:00.000Z\n")
    assert "## Created (3)" in text
    assert "Log \\*in\\*" in text
    assert "## Closed (1)" in text
    assert "(done by agent:ada: tests pass)" in text
    assert "- human:kim: 3 created, 0 closed" in text
    assert "## Waits (1)" in text
    assert at(5, KIM, "ev", "digest", "--json").json == {"text": text}


def test_a_digest_leaves_out_what_is_older(at, created):
    item = created()
    at(1, ADA, "wk", "close", item, "--as", "wontdo")

    assert at(60 * 25, KIM, "ev", "digest").code == 1
    assert "Closed (1)" in at(60 * 25, KIM, "ev", "digest", "--since", "2d").out


def test_prime_tells_who_one_is_what_one_holds_and_what_is_ready(at, created):
    held, offered, ready = created("Held"), created("Offered"), created("Ready")
    at(0, KIM, "ev", "agent", "register", ADA, "--mode", "listening", "--owner", "kim")
    at(1, ADA, "wk", "claim", held)
    at(1, BO, "wk", "claim", offered)
    at(2, BO, "wk", "handoff", offered, "--to", ADA, "--why", "yours")

    text = at(3, ADA, "ev", "prime", "--session", "s1").out

    assert "You are agent:ada, session s1, owned by human:kim" in text
    assert f"- {held} P2 Held, until 2026-01-01T09:31:00.000Z (fence 1)" in text
    assert f"- {offered} P2 Offered, by agent:bo" in text
    assert f"- {ready} P2 Ready" in text
    for words in ("wk claim", "wk comment", "wk close", "wk submit", "wk handoff", "wk release"):
        assert words in text
    assert at(3, ADA, "ev", "prime", "--session", "s1", "--json").json == {"text": text}


@pytest.mark.parametrize(("words", "most"), [([], 6000), (["--brief"], 1200)])
def test_prime_fits_however_much_there_is_to_tell(at, created, words, most):
    agent, session = "agent:" + "a" * 100, "s" * 200
    title = "long " * 199
    for _ in range(8):
        item = at(0, KIM, "wk", "create", title, "--quiet").out.strip()
        created(title)
        at(1, agent, "wk", "claim", item, "--session", session)
    at(2, KIM, "ev", "agent", "pause", agent, "--why", "why " * 500)

    text = at(3, agent, "ev", "prime", *words, "--session", session).out

    assert len(text) <= most
    assert "PAUSED" in text
    assert "wk claim --next" in text


def test_prime_says_how_to_finish_where_a_pass_is_required(at):
    at(0, KIM, "ev", "config", "set", "verify", "required")

    assert "only after a pass" in at(1, ADA, "ev", "prime").out
    assert "wk submit" in at(1, ADA, "ev", "prime", "--brief").out


def test_prime_needs_to_know_who_asks(run, store):
    run.ok("git", "config", "user.name", "")

    assert run("ev", "prime").error["code"] == "no_identity"


def test_a_title_cannot_draw_on_the_readers_terminal(at, created):
    created("safe \x1b[31mred")

    for verb in ("prime", "digest"):
        assert "\x1b" not in at(1, ADA, "ev", verb).out
