"""The cheap check of events from outside."""

import pytest

from coord.core import envelope

ID = "01K9ZJ6M2T4QG8X0V5B7N3C1DE"


@pytest.mark.parametrize(
    "draft",
    [
        {"type": "build.finished"},
        {"type": "a.b", "refs": {}, "body": {}},
        {"type": "a.b", "refs": {"work_id": "wk-a"}, "body": {"deep": [None]}, "mine": 1},
        {"type": "a.b", "cause": ID, "links": [ID], "idempotency_key": "k" * 200},
        {"type": "a.b", "ts": "2025-11-20T21:30:00.123Z", "project": "acme/rocket"},
        {"type": "a.b", "actor": {"agent_id": "agent:ada", "session_id": "s", "host": 1}},
        {"type": "a.b", "event_id": ID, "writer": "ada.k3f7qa", "seq": 1, "prev": "0" * 32, "v": 1},
    ],
)
def test_an_event_of_ones_own_namespace_passes(draft):
    assert envelope.fault(draft) == ""


@pytest.mark.parametrize(
    ("draft", "fault"),
    [
        ([], "is not a JSON object"),
        (None, "is not a JSON object"),
        ({}, "type is missing"),
        ({"type": "build"}, "type does not fit"),
        ({"type": "a." + "b" * 99}, "type does not fit"),
        ({"type": "a.b\n"}, "type does not fit"),
        ({"type": None}, "type does not fit"),
        ({"type": "a.b", "refs": []}, "refs does not fit"),
        ({"type": "a.b", "refs": {"n": 1}}, "refs does not fit"),
        ({"type": "a.b", "refs": {"n": ""}}, "refs does not fit"),
        ({"type": "a.b", "body": None}, "body does not fit"),
        ({"type": "a.b", "links": ID}, "links does not fit"),
        ({"type": "a.b", "links": [ID.lower()]}, "links does not fit"),
        ({"type": "a.b", "cause": ID[1:]}, "cause does not fit"),
        ({"type": "a.b", "idempotency_key": "k" * 201}, "idempotency_key does not fit"),
        ({"type": "a.b", "idempotency_key": ""}, "idempotency_key does not fit"),
        ({"type": "a.b", "ts": "2025-11-20"}, "ts does not fit"),
        ({"type": "a.b", "ts": "2025-13-20T21:30:00.123Z"}, "ts does not fit"),
        ({"type": "a.b", "project": ""}, "project does not fit"),
        ({"type": "a.b", "actor": {}}, "actor does not fit"),
        ({"type": "a.b", "actor": {"agent_id": "ada"}}, "actor does not fit"),
        ({"type": "a.b", "actor": {"agent_id": "bot:a", "session_id": 1}}, "actor does not fit"),
        ({"type": "a.b", "seq": True}, "seq does not fit"),
        ({"type": "a.b", "v": 2}, "v does not fit"),
        ({"type": "a.b", "mine": None}, "mine is null"),
    ],
)
def test_what_is_wrong_with_an_envelope_is_named(draft, fault):
    assert envelope.fault(draft) == fault


@pytest.mark.parametrize("word", ["work", "artifact", "lease", "msg", "run", "agent", "config"])
def test_a_reserved_type_is_left_to_its_schema(word):
    assert envelope.fault({"type": f"{word}.any"}) == f"{word} is a reserved name"
