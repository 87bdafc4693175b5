"""Events as CloudEvents: out with their causes, back once."""

import json

import pytest

from tests.cli.morning import ADA, BO, KIM, MINUTE_MS, emitted
from tests.conftest import FROZEN_MS


def test_events_go_out_as_cloudevents_with_root_and_cause(at, created):
    first = emitted(at, 0, "build.finished", "--body", '{"seconds":41}')
    second = emitted(at, 1, "deploy.began", "--cause", first, "--ref", "work_id=wk-1")
    third = emitted(at, 2, "deploy.ended", "--cause", second)

    rows = {row["id"]: row for row in at(3, ADA, "ev", "export", "--to", "cloudevents").lines}

    assert {row["specversion"] for row in rows.values()} == {"1.0"}
    assert {row["correlationid"] for row in rows.values()} == {first}
    assert rows[third]["causationid"] == second
    assert "causationid" not in rows[first]
    assert rows[first]["data"] == {"seconds": 41}
    assert rows[second]["subject"] == "work_id/wk-1"
    assert rows[second]["agent"] == ADA
    assert rows[second]["source"].startswith("/repo/agent-ada.")
    for row in rows.values():
        extensions = {k: v for k, v in row.items() if k != "data"}
        assert all(name.isalnum() and name.islower() for name in extensions)
        assert all(isinstance(value, str) for value in extensions.values())


def test_cloudevents_come_back_once(at, created, run, tmp_path):
    """Into another store, with their refs, bodies, causes; a second time adds nothing."""
    item = created("Log in")
    cause = emitted(at, 1, "build.finished", "--ref", f"work_id={item}", "--body", '{"n":[1]}')
    emitted(at, 2, "deploy.began", "--cause", cause)
    out = at(3, ADA, "ev", "export", "--to", "cloudevents").out
    there = tmp_path / "there"
    run.ok("git", "init", "--quiet", there)
    run.ok("ev", "init", cwd=there)
    words = ("ev", "emit", "-", "--from", "cloudevents")

    once = run.ok(*words, as_=BO, cwd=there, input=out).lines
    again = run.ok(*words, as_=BO, cwd=there, input=out).lines

    assert all(row["duplicate"] for row in again)
    assert [row["event_id"] for row in again] == [row["event_id"] for row in once]
    listed = run.ok("ev", "list", cwd=there).lines
    assert len(listed) == 3
    assert listed[1]["idempotency_key"] == cause
    assert listed[1]["refs"] == {"work_id": item}
    assert listed[1]["body"] == {"n": [1], "at_ms": FROZEN_MS + MINUTE_MS, "by": ADA}
    assert listed[2]["cause"] == cause
    shown = run.ok("wk", "show", item, cwd=there).json
    assert (shown["title"], shown["created_by"]) == ("Log in", KIM)


def test_another_systems_cloudevent_keeps_what_it_says(at):
    line = {
        "specversion": "1.0", "id": "7", "source": "/ci", "subject": "main", "type": "com.ci.done",
        "time": "2026-01-01T08:00:00Z", "data": "text", "traceparent": "00-1", "dataschema": "x",
    }  # fmt: skip

    answer = at(0, ADA, "ev", "emit", "-", "--from", "cloudevents", input=json.dumps(line))

    assert answer.code == 0, answer.err
    [event] = at(0, ADA, "ev", "list").lines
    assert event["refs"] == {"source": "/ci", "subject": "main"}
    assert event["body"] == {"data": "text", "at_ms": FROZEN_MS - 60 * MINUTE_MS}
    assert event["traceparent"] == "00-1"


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"specversion": "0.3"}, "/specversion"),
        ({"id": ""}, "/id"),
        ({"source": None}, "/source"),
        ({"type": "Build"}, "/type"),
        ({"time": "now"}, "/time"),
        ({"time": "2026"}, "/time"),
        ({"refs": "[]"}, "/refs"),
    ],
)
def test_what_is_no_cloudevent_is_refused_by_line(at, change, pointer):
    line = {"specversion": "1.0", "id": "7", "source": "/ci", "type": "com.ci.done", **change}
    text = json.dumps({**line}) + "\n"

    answer = at(0, ADA, "ev", "emit", "-", "--from", "cloudevents", input=text)

    assert answer.code == 6
    assert (answer.error["line"], answer.error["pointer"]) == (1, pointer)


def test_reserved_types_from_cloudevents_are_judged_like_any_write(at, created):
    line = {
        "specversion": "1.0", "id": "7", "source": "/x", "type": "work.commented",
        "refs": '{"work_id":"wk-none"}', "data": {"text": "hello"},
    }  # fmt: skip

    answer = at(0, ADA, "ev", "emit", "-", "--from", "cloudevents", input=json.dumps(line))

    assert answer.error["code"] == "unknown_work"


def test_cloudevents_come_from_stdin_only(at):
    answer = at(0, ADA, "ev", "emit", "build.finished", "--from", "cloudevents")

    assert answer.error["code"] == "usage"


def test_with_nothing_to_export_the_answer_is_no(at):
    assert at(0, ADA, "ev", "export", "--to", "cloudevents").code == 1
