"""The full check of events from outside, and the schema files themselves."""

import itertools
import json
import os
import shutil
import subprocess
import sys

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from referencing import Registry, Resource

from coord.core import envelope, registry, settings
from coord.core.event import RESERVED
from coord.core.lease import domain
from coord.core.msg import mail
from coord.core.run import life
from coord.core.wk import beads, fields, importing, item
from coord.edge import schemas
from coord.errors import Refusal

ID = "01K9ZJ6M2T4QG8X0V5B7N3C1DE"
REFS = {"work_id": "wk-7k2m9q4t"}
BLOB = {"sha256": "0" * 64, "body_bytes": 70_000}
WHOLE = {
    "event_id": ID,
    "ts": "2025-11-20T21:30:00.123Z",
    "project": "acme/rocket",
    "actor": {"agent_id": "agent:ada"},
    "writer": "agent-ada.k3f7qa",
    "seq": 1,
    "v": 1,
}


def refusal_of(draft, partial=True):
    """What the check refuses this event with."""
    with pytest.raises(Refusal) as refused:
        schemas.check(draft, partial)
    assert refused.value.code == "bad_data"
    return refused.value


def work(verb, **body):
    """A draft about one work item."""
    return {"type": f"work.{verb}", "refs": REFS, "body": body}


def examples():
    """Every example in the schema files that shows one type, with its file's name."""
    return [
        (uri, example)
        for uri, document in schemas.documents().items()
        for part in document["$defs"].values()
        for example in part.get("examples", ())
    ]


def plain_validator(uri):
    """A schema file as any other program would use it."""
    found = schemas.documents().items()
    resources = Registry().with_resources((u, Resource.from_contents(d)) for u, d in found)
    return jsonschema.Draft202012Validator(schemas.documents()[uri], registry=resources)


@pytest.mark.parametrize("name", schemas.FILES)
def test_a_schema_file_is_valid_json_schema(name):
    with open(os.path.join(schemas.folder(), f"{name}.json"), encoding="utf-8") as stream:
        document = json.load(stream)

    jsonschema.Draft202012Validator.check_schema(document)
    assert document["$id"] == f"urn:coord:schema:{name}"
    assert document["version"] == 1


@pytest.mark.parametrize(("uri", "example"), examples())
def test_every_example_fits(uri, example):
    """By our check, and by the file itself in the hands of another program."""
    schemas.check(example, partial=True)
    schemas.check({**WHOLE, **example})

    plain_validator(uri).validate(example)


def test_the_envelopes_example_fits():
    schemas.check(schemas.documents()["urn:coord:schema:event"]["examples"][0])


def test_every_type_is_described_and_shown():
    bare = [
        kind
        for kind, uri in schemas.types().items()
        if not {"description", "examples"} <= set(schemas._at(uri))
    ]

    assert bare == []


def test_types_that_fold_and_types_with_a_schema_are_the_same():
    folding = {*item.STEPS, *registry.STEPS, *settings.STEPS, *mail.STEPS, *domain.STEPS}
    folding |= {*life.STEPS}

    assert set(schemas.types()) == folding


def test_schema_and_fold_of_a_message_name_the_same_words():
    sent = schemas.documents()["urn:coord:schema:msg"]["$defs"]["msg.sent"]
    body = sent["properties"]["body"]["properties"]

    assert set(body) == set(mail.FITS)
    assert tuple(body["importance"]["enum"]) == mail.IMPORTANCE
    assert tuple(body["ack"]["enum"]) == mail.ACKS
    assert body["subject"]["maxLength"] == mail.SUBJECT_CHARS


def test_schema_and_fold_name_the_same_words():
    """Two tables of one thing: this keeps them in step."""
    defs = schemas.documents()["urn:coord:schema:wk"]["$defs"]
    ev = schemas.documents()["urn:coord:schema:ev"]["$defs"]
    closed = defs["work.closed"]["properties"]["body"]["properties"]["as"]["enum"]
    modes = ev["agent.registered"]["properties"]["body"]["properties"]

    assert set(schemas.properties_of(defs["fields"])) == set(fields.FITS)
    assert tuple(closed) == fields.RESOLUTIONS
    assert defs["title"]["maxLength"] == fields.TITLE_CHARS
    assert defs["word"]["pattern"] == f"^{fields.WORD.pattern}$"
    assert defs["work_id"]["pattern"] == f"^{fields.WORK_ID.pattern}$"
    assert set(modes) == set(registry.FIELDS)
    assert modes["roles"]["items"]["pattern"] == f"^{registry.ROLE.pattern}$"
    assert tuple(modes["mode"]["enum"]) == registry.MODES
    assert set(ev["own"]["properties"]["type"]["not"]["pattern"][2:-3].split("|")) == RESERVED


TYPE = "a dotted lower-case name of at most 100 characters, like build.finished"
EVENT_ID = f"an event id like {ID}"
TITLE = "a string of 1 to 1000 characters, not only spaces"
PRIORITY = "an integer from 0 to 4"
TEXT = "a string, or a blob {sha256, body_bytes}"
LABEL = "a label of 1 to 100 characters without control characters"
INSTANT = "an instant in milliseconds since the epoch"
RESOLUTION = "one of done, wontdo, duplicate, obsolete"
WORD = "a lower-case word of at most 40 letters, digits, dashes or underscores"
MAY_BE_UNSET = (
    "one of description, acceptance, assignee, due_ms, defer_until_ms, external_ref, extra"
)
ANYBODY = "an agent like agent:ada, or * for all"


def created(**body):
    """A draft of a new item."""
    return work("created", **{"title": "x", **body})


@pytest.mark.parametrize(
    ("draft", "pointer", "expected"),
    [
        ({}, "/type", TYPE),
        ([], "", "a JSON object"),
        ({"type": "a.b", "mine": None}, "/mine", "a value"),
        (
            {"type": "a.b", "refs": {"a/b~c": 1}},
            "/refs/a~1b~0c",
            "a string of 1 to 1000 characters",
        ),
        ({"type": "a.b", "cause": ID + "\n"}, "/cause", EVENT_ID),
        ({"type": "a.b", "seq": 0}, "/seq", "an integer from 1 upward"),
        ({"type": "a.b", "links": [ID, 7]}, "/links/1", EVENT_ID),
        (work("created"), "/body/title", TITLE),
        ({"type": "work.created", "refs": REFS}, "/body", "an object with title"),
        ({"type": "work.closed", "body": {}}, "/refs", "an object with work_id"),
        (created(title="x" * 70_000), "/body/title", TITLE),
        (created(title="\n "), "/body/title", TITLE),
        (created(priority=9), "/body/priority", PRIORITY),
        (created(priority=2.0), "/body/priority", PRIORITY),
        (created(priority=True), "/body/priority", PRIORITY),
        (created(description=7), "/body/description", TEXT),
        (created(labels=["a\nb"]), "/body/labels/0", LABEL),
        (created(due_ms=10**15), "/body/due_ms", INSTANT),
        (created(extra=[]), "/body/extra", "a JSON object"),
        (created(by=""), "/body/by", "a string of 1 to 1000 characters"),
        (work("closed", **{"as": "finished"}), "/body/as", RESOLUTION),
        (work("updated", unset=["title"]), "/body/unset/0", MAY_BE_UNSET),
        (work("updated", add={"label": []}), "/body/add/label", "one of labels"),
        (work("linked", kind="Needs", target="wk-a"), "/body/kind", WORD),
        ({"type": "agent.resumed", "refs": {"agent_id": "all"}}, "/refs/agent_id", ANYBODY),
        ({"type": "config.set", "body": {"key": "a", "value": None}}, "/body/value", "a value"),
    ],
)
def test_a_refusal_points_at_the_fault_and_says_what_fits(draft, pointer, expected):
    refusal = refusal_of(draft)

    assert (refusal.facts["pointer"], refusal.facts["expected"]) == (pointer, expected)


def test_a_refusal_names_the_type_the_place_and_the_case():
    """The hint is an event that fits."""
    refusal = refusal_of(work("closed", **{"as": "finished"}))

    assert refusal.as_json() == {
        "code": "bad_data",
        "message": f"work.closed: /body/as is 'finished', not {RESOLUTION}",
        "hint": 'one that fits: {"type":"work.closed","refs":{"work_id":"wk-7k2m9q4t"},'
        '"body":{"as":"done","why":"merged"}}',
        "pointer": "/body/as",
        "expected": RESOLUTION,
        "type": "work.closed",
    }


@pytest.mark.parametrize("title", ["x" * 70_000, ["x" * 70_000], 10**4000])
def test_a_refusal_is_one_short_line_whatever_was_given(title):
    message = refusal_of(work("created", title=title)).message

    assert len(message) < 200
    assert "\n" not in message


def test_control_characters_in_a_refused_value_are_shown_escaped():
    refusal = refusal_of(work("linked", kind="a\x1b[31m\n", target="wk-a"))

    assert r"'a\x1b[31m\n'" in refusal.message


def test_an_unknown_field_of_an_edit_is_an_error_that_names_it():
    """Elsewhere unknown keys are kept: a later version may know them."""
    refusal = refusal_of(work("updated", set={"titel": "x"}))
    schemas.check(work("updated", set={"title": "x"}, mood="good"), partial=True)

    assert refusal.facts["pointer"] == "/body/set/titel"
    assert refusal.hint == "did you mean title?"


def test_a_wrong_value_is_told_rather_than_a_known_field_called_unknown():
    refusal = refusal_of(work("updated", set={"priority": 9}))

    assert refusal.message == "work.updated: /body/set/priority is 9, not an integer from 0 to 4"


@pytest.mark.parametrize(
    "draft",
    [
        created(description=BLOB),
        work("commented", text=BLOB),
        work("updated", set={"description": BLOB}),
    ],
)
def test_a_blob_may_stand_for_a_long_text(draft):
    schemas.check(draft, partial=True)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("work.close", "did you mean work.closed or work.released or work.claimed?"),
        ("run.zzzzzzzzzz", "own types begin with another word"),
    ],
)
def test_an_unknown_type_of_a_reserved_name_is_refused_with_the_nearest(kind, hint):
    refusal = refusal_of({"type": kind, "refs": REFS, "body": {}})

    assert refusal.facts["pointer"] == "/type"
    assert refusal.hint.split()[:4] == hint.split()[:4]


def test_an_event_without_what_the_journal_adds_is_only_a_draft():
    draft = work("commented", text="hello")

    schemas.check_draft("work.commented", REFS, {"text": "hello"}, cause=ID)
    assert refusal_of(draft, partial=False).facts["pointer"] == "/event_id"


@pytest.mark.parametrize("kind", ["work.claimed", "work.renewed"])
def test_a_draft_need_not_say_the_instant_that_writing_derives(kind):
    """The event then does."""
    (example,) = schemas._at(schemas.types()[kind])["examples"]
    body = {key: value for key, value in example["body"].items() if key != "expires_at_ms"}

    schemas.check_draft(kind, example["refs"], body)
    refusal = refusal_of({**WHOLE, **example, "body": body}, partial=False)
    assert refusal.facts["pointer"] == "/body/expires_at_ms"


def test_what_an_import_writes_fits(beads_file):
    """Every tenth item of the real backlog; what tools write is not checked when written."""
    with open(beads_file, encoding="utf-8") as stream:
        records = [json.loads(line) for line in itertools.islice(stream, 0, None, 10)]
    drafts = [d for record in records for d in importing.plan(beads.read(record), None, None)]

    for draft in drafts:
        schemas.check_draft(draft["type"], draft["refs"], draft["body"])
    assert len(drafts) > len(records)


ODD = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
ODD |= st.lists(ODD, max_size=2) | st.dictionaries(st.text(max_size=3), ODD, max_size=2)
EDGES = ["", "x" * 200, "x" * 201, "x" * 1001, "a\n", "\x7f", "\u2028", " ", "a.b\n", ID + "\n"]
SHORT = st.from_regex(r"\A[^\x00-\x1f\x7f]{1,9}\Z")
IDS = st.from_regex(r"\A[0-7][0-9A-HJKMNP-TV-Z]{25}\Z") | st.just(ID)
AGENTS = st.from_regex(r"\A(agent|human|bot):[!-~äöü]{1,9}\Z")
GOOD = {
    "event_id": IDS,
    "ts": st.from_regex(
        r"\A20[0-9]{2}-(0[1-9]|1[0-2])-[12][0-9]T1[0-9]:[0-5][0-9]:00\.[0-9]{3}Z\Z"
    ),
    "project": SHORT,
    "actor": st.fixed_dictionaries({"agent_id": AGENTS}, optional={"session_id": SHORT}),
    "refs": st.dictionaries(SHORT, SHORT, max_size=2),
    "body": st.dictionaries(SHORT, ODD, max_size=2),
    "cause": IDS,
    "links": st.lists(IDS, max_size=2),
    "idempotency_key": SHORT,
    "writer": st.from_regex(r"\A[a-z0-9-]{1,9}\.[a-z2-7]{6}\Z"),
    "seq": st.integers(1, 3),
    "prev": st.from_regex(r"\A[0-9a-f]{32}\Z"),
    "v": st.just(1),
    "mine": ODD.filter(lambda value: value is not None),
}
FAIR = st.fixed_dictionaries(
    {"type": st.from_regex(r"\A[a-z][a-z0-9_-]{0,3}(\.[a-z0-9_-]{1,3}){1,2}\Z")}, optional=GOOD
)
# One thing is wrong, or just within what is right.
TYPES = st.from_regex(r"[a-z][a-z0-9_.-]{0,9}") | st.just("a." + "b" * 98)
TIMES = st.from_regex(r"\A2025-[01][0-9]-[0-3][0-9]T[0-2][0-9]:00:6?0\.000Z?\Z")
BAD_AGENTS = st.sampled_from(["bot:", "bot:a b", "bot:\u2003", "cat:a", "bot:a\n"])
CHANGES = st.one_of(
    st.tuples(st.sampled_from(["type", *GOOD]), st.one_of(ODD, st.sampled_from(EDGES))),
    st.tuples(st.just("type"), TYPES),
    st.tuples(st.just("ts"), TIMES),
    st.tuples(st.just("actor"), st.fixed_dictionaries({"agent_id": BAD_AGENTS})),
    st.tuples(st.just("actor"), st.fixed_dictionaries({"agent_id": AGENTS, "session_id": ODD})),
    st.tuples(st.just("refs"), st.dictionaries(SHORT, st.sampled_from(EDGES), max_size=2)),
    st.tuples(st.just("links"), st.lists(IDS | st.sampled_from(EDGES), max_size=2)),
    st.tuples(st.just("v"), st.sampled_from([1.0, True, 2])),
    st.tuples(st.just("seq"), st.sampled_from([1.0, True, 0, -1])),
)
CHANGED = st.tuples(FAIR, CHANGES).map(lambda both: {**both[0], both[1][0]: both[1][1]})
DRAFTS = FAIR | CHANGED


@given(DRAFTS)
def test_what_the_cheap_check_passes_the_full_one_passes(draft):
    """And the other way: nothing but a reserved name costs a full check in vain."""
    fault = envelope.fault(draft)

    if full_fault(draft):
        assert fault
    else:
        assert fault == "" or fault.endswith("is a reserved name")


def full_fault(draft):
    """What the full check says against a draft; "" when nothing."""
    try:
        schemas.check(draft, partial=True)
    except Refusal as refusal:
        return refusal.message
    return ""


def test_loading_the_module_does_not_load_the_checker():
    code = "import coord.edge.schemas, coord.edge.config, sys; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert not {"jsonschema", "yaml", "json", "difflib"} & set(loaded.stdout.split())


def test_an_installed_package_brings_its_schemas(tmp_path):
    """In a checkout they lie at its top, for all to read."""
    package = os.path.dirname(os.path.dirname(schemas.__file__))
    shutil.copytree(package, tmp_path / "coord", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(schemas.folder(), tmp_path / "coord" / "schemas", dirs_exist_ok=True)
    code = "from coord.edge import schemas; print(schemas.folder(), len(schemas.types()))"
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert done.stdout.split() == [str(tmp_path / "coord" / "schemas"), str(len(schemas.types()))]
