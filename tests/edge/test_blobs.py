"""Long texts outside the line limit."""

import hashlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.draft import Draft
from coord.core.event import MAX_LINE_BYTES
from coord.edge import blobs
from tests.clones import Clone
from tests.strategies import raw


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def named(text):
    """What stands in an event for a text."""
    data = text.encode()
    return {"sha256": hashlib.sha256(data).hexdigest(), "body_bytes": len(data)}


def fitted(**body):
    """The body of an event after its texts moved out, and these texts by name."""
    found = {}
    event = blobs.fitted(raw("build.finished", body=body), found)
    return event["body"], found


def test_what_fits_stays_as_it_is():
    body, found = fitted(text="x" * 60_000)

    assert (body, found) == ({"text": "x" * 60_000}, {})


def test_the_longest_texts_move_out_first_and_no_more_than_have_to():
    long, short = "x" * 70_000, "y" * 1000

    body, found = fitted(long=long, short=short)

    assert body == {"long": named(long), "short": short}
    assert found == {named(long)["sha256"]: long.encode()}


def test_texts_move_out_wherever_they_stand():
    texts = ["ü" * 20_000, "v" * 40_000, "w" * 50_000]

    body, found = fitted(a={"b": [texts[0], 7]}, c=[[texts[1]]], d=texts[2])

    assert body["d"] == named(texts[2])
    assert len(orjson.dumps(body)) < MAX_LINE_BYTES
    assert set(found.values()) <= {text.encode() for text in texts}


def test_what_folds_compare_stays_in_the_line():
    """A title, labels, names: a fold sees only hash and size of what moved out."""
    long = "x" * 70_000
    stay = {"title": long, "why": long, "labels": [long], "acceptance": [long], "assignee": long}

    body, found = fitted(**stay)

    assert (body, found) == (stay, {})


def test_the_given_event_is_not_changed():
    event = raw("build.finished", body={"a": {"b": "x" * 70_000}})
    before = orjson.dumps(event)

    blobs.fitted(event, {})

    assert orjson.dumps(event) == before


TEXTS = st.builds(str.__mul__, st.sampled_from(["x", "ü", "\x01"]), st.integers(0, 40_000))


@given(st.dictionaries(st.sampled_from("abcdef"), TEXTS))
def test_whatever_can_move_out_makes_the_line_fit_and_is_found_again(tmp_path_factory, texts):
    folder = str(tmp_path_factory.mktemp("blobs"))

    body, found = fitted(**texts)
    blobs.store(folder, found)

    assert len(orjson.dumps(raw("build.finished", body=body))) < MAX_LINE_BYTES
    for name, value in body.items():
        text = value if isinstance(value, str) else blobs.load(folder, value)
        assert text == texts[name]


def test_a_blob_lies_under_its_own_hash(tmp_path):
    name = named("hello")["sha256"]

    blobs.store(str(tmp_path), {name: b"hello"})

    path = tmp_path / "blobs" / name[:2] / name
    assert path.read_bytes() == b"hello"
    assert list(path.parent.iterdir()) == [path]


def test_a_blob_that_is_there_is_left_alone(tmp_path):
    name = named("hello")["sha256"]
    blobs.store(str(tmp_path), {name: b"hello"})
    path = tmp_path / "blobs" / name[:2] / name
    path.chmod(0o444)
    before = path.stat()

    blobs.store(str(tmp_path), {name: b"hello"})

    assert path.stat() == before


@pytest.mark.parametrize("content", [None, b"", b"hellO", b"hello "])
def test_a_blob_that_is_not_here_or_not_what_its_name_says_is_none(tmp_path, content):
    name = named("hello")["sha256"]
    if content is not None:
        blobs.store(str(tmp_path), {name: content})

    assert blobs.load(str(tmp_path), named("hello")) is None


@pytest.mark.parametrize("name", ["/dev/zero", "../../../etc/passwd", "", "x", 7, None, "ab" * 33])
def test_a_name_that_is_no_hash_finds_nothing(tmp_path, name):
    """A foreign event may say anything: no file outside the folder is read for it."""
    assert blobs.load(str(tmp_path), {"sha256": name, "body_bytes": 1}) is None


def test_a_blob_that_was_cut_by_a_crash_is_written_again(tmp_path):
    """The name holds only what was synced whole; what a crash left under it is replaced."""
    name = named("hello")["sha256"]
    path = tmp_path / "blobs" / name[:2] / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")

    blobs.store(str(tmp_path), {name: b"hello"})

    assert blobs.load(str(tmp_path), named("hello")) == "hello"


@pytest.mark.parametrize(
    "body",
    [{"argv": ["echo", "x" * 70_000]}, {"shell": "x" * 70_000},
     {"argv": ["true"], "env": {"A": "x" * 70_000}},
     {"argv": ["true"], "group": {"name": "x" * 70_000, "limit": 1}},
     {"argv": ["true"], "requires": ["x" * 70_000]}],
    ids=["argv", "shell", "env", "group", "requires"],
)  # fmt: skip
def test_a_command_too_long_for_its_line_is_refused_rather_than_without_effect(clone, body):
    """Nobody folds a request whose words stand elsewhere."""
    draft = Draft("run.requested", {"run_id": "run-a"}, body)

    assert clone.refusal(draft).code == "too_large"
    [kept] = clone.write(Draft("run.requested", {"run_id": "run-a"}, {"argv": ["true"]}))
    assert clone.state("run/run-a")["request_event"] == kept["event_id"]
