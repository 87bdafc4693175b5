"""Wrong input: a clear error, the right exit code, and nothing written.

An error is one JSON line on stderr with a code and a message, and nothing on stdout.
Since nothing is written, most tests share one store. What needs a disk that is full or
read-only gets one from the kernel.
"""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos import journals
from tests.cli.refusing import ADA, WRITES, assert_refused, refuser, with_items
from tests.conftest import Answer, Runner


@pytest.fixture
def items(run: Runner) -> Path:
    """A store of the test's own."""
    return with_items(run)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Answer]]:
    """Refused in the store that these tests share."""
    folder = tmp_path_factory.mktemp("shared")
    run = Runner(folder)
    run.ok("git", "init", "--quiet")
    store = with_items(run)
    yield refuser(run, store)
    assert run("ev", "check").code == 0


TAKES_AN_ID = [
    ("wk", "show", "{id}"),
    ("wk", "log", "{id}"),
    ("wk", "claim", "{id}"),
    ("wk", "renew", "{id}"),
    ("wk", "release", "{id}"),
    ("wk", "close", "{id}"),
    ("wk", "reopen", "{id}"),
    ("wk", "update", "{id}", "-p", "1"),
    ("wk", "comment", "{id}", "hello"),
    ("wk", "dep", "add", "{id}", "--needs", "wk-other"),
    ("wk", "dep", "add", "wk-other", "--needs", "{id}"),
    ("wk", "dep", "rm", "{id}", "--needs", "wk-other"),
    ("wk", "dep", "tree", "{id}"),
    ("wk", "create", "another", "--needs", "{id}"),
    ("wk", "create", "another", "--parent", "{id}"),
    ("wk", "list", "--parent", "{id}"),
    ("wk", "watch", "{id}"),
    ("ev", "list", "--work", "{id}"),
]


@pytest.mark.parametrize("words", TAKES_AN_ID, ids=" ".join)
def test_an_unknown_id_is_not_found(refused: Callable[..., Answer], words: tuple[str, ...]):
    """Exit 3; so is one that is too short to be a prefix. An empty one is exit 2."""
    for text in ("wk-nonono", "ap"):
        answer = refused(3, "unknown_work", *(word.format(id=text) for word in words))

        assert repr(text) in answer.error["message"]
    empty = refused(2, "usage", *(word.format(id="") for word in words))
    assert empty.error["message"].endswith(" is empty")


@pytest.mark.parametrize("words", TAKES_AN_ID, ids=" ".join)
def test_an_ambiguous_prefix_lists_the_candidates(
    refused: Callable[..., Answer], words: tuple[str, ...]
):
    answer = refused(3, "ambiguous", *(word.format(id="app") for word in words))

    assert answer.error["candidates"] == ["app-11", "app-12"]


def test_an_event_id_is_unknown_or_ambiguous_likewise(run: Runner, items: Path):
    refused = refuser(run, items)
    first = journals.events(items)[0]["event_id"]

    refused(3, "unknown_event", "ev", "show", "7ZZZZ")
    refused(3, "unknown_event", "ev", "show", first[:2])
    assert first in refused(3, "ambiguous", "ev", "show", first[:10]).error["candidates"]


GOOD_LINES = {"wk create -": '{"title":"good"}', "ev emit -": '{"type":"test.good"}'}
BAD_LINES = [
    ("{bad", "bad_data"),
    ('{"title":"x","type":"test.x"', "bad_data"),
    ("[]", "bad_data"),
    ("7", "bad_data"),
    ("\x00", "bad_data"),
    ('{"title":7,"type":7}', "bad_data"),
    ("{}", "bad_data"),
    (b'{"title":"\xff","type":"a.b","body":{"x":"\xff"}}', "bad_data"),
]


@pytest.mark.parametrize("command", GOOD_LINES)
@pytest.mark.parametrize(("bad", "code"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_of_a_batch_is_named_by_its_number(
    refused: Callable[..., Answer], command: str, bad: str | bytes, code: str
):
    good = GOOD_LINES[command].encode()
    data = b"\n".join([good, good, bad if isinstance(bad, bytes) else bad.encode(), good]) + b"\n"

    answer = refused(6, code, *command.split(), input=data)

    assert answer.error["line"] == 3
    assert answer.error["message"].startswith("line 3: ")


@pytest.mark.parametrize("command", GOOD_LINES)
def test_with_partial_the_good_lines_are_written(run: Runner, store: Path, command: str):
    """The exit code and stderr still tell of the bad ones, each by its number."""
    good = GOOD_LINES[command]
    text = f"{good}\n{{bad\n{good}\n[]\n"

    answer = run(*command.split(), "--partial", input=text, **ADA)

    errors = [json.loads(line)["error"] for line in answer.err.splitlines()]
    assert answer.code == 6
    assert [error["line"] for error in errors] == [2, 4]
    assert len(answer.lines) == len(journals.events(store)) == 2


def test_a_title_of_70_kib_is_refused_however_it_is_given(refused: Callable[..., Answer]):
    """A title is a line for lists; a description may be as long."""
    long = "x" * 70 * 1024
    record = json.dumps({"title": long})

    for answer in (
        refused(6, "bad_data", "wk", "create", long),
        refused(6, "bad_data", "wk", "create", "-", input=record),
        refused(6, "bad_data", "ev", "emit", "work.created", "--ref", "work_id=wk-x",
                "--body", record),
    ):  # fmt: skip
        assert answer.error["pointer"] == "/body/title"
        assert len(answer.err) < 2000


def test_a_description_of_70_kib_is_kept_whole(run: Runner, store: Path):
    long = "ž" * 70 * 1024
    made = run.ok("wk", "create", "x", "-d", "-", "--quiet", input=long, **ADA).out.strip()

    assert run.ok("wk", "show", made).json["description"] == long
    assert max(len(line.data) for line in journals.lines(store)) < 64 * 1024


NOT_WANTED = [
    (2, "usage", ("wk", "create")),
    (2, "usage", ("wk", "nonsense")),
    (2, "usage", ("wk",)),
    (2, "usage", ("wk", "dep")),
    (2, "usage", ("wk", "create", "x", "--no-such-option")),
    (2, "usage", ("wk", "create", "x", "-p", "9")),
    (2, "usage", ("wk", "create", "x", "--due", "someday")),
    (2, "usage", ("wk", "create", "x", "--as", "a name")),
    (2, "usage", ("wk", "create", "x", "--as", "agent:")),
    (2, "usage", ("wk", "create", "x", "--as", "")),
    (2, "usage", ("wk", "create", "x", "--key", "")),
    (2, "usage", ("wk", "close", "app-11", "--as", "")),
    (2, "usage", ("ev", "agent", "pause", "", "--why", "x")),
    (2, "usage", ("ev", "list", "--agent", "")),
    (2, "usage", ("ev", "list", "--since", "")),
    (2, "usage", ("wk", "create", "x", "--cause", "because")),
    (2, "usage", ("wk", "claim")),
    (2, "usage", ("wk", "claim", "app-11", "--next")),
    (2, "usage", ("wk", "claim", "--next", "--ttl", "0")),
    (2, "usage", ("wk", "claim", "--next", "--ttl", "-5s")),
    (2, "usage", ("wk", "claim", "--next", "--ttl", "soon")),
    (2, "usage", ("wk", "update", "app-11")),
    (2, "usage", ("wk", "update", "app-11", "--unset", "title")),
    (2, "usage", ("wk", "close", "app-11", "--as", "finished")),
    (2, "usage", ("wk", "release", "app-11", "--break")),
    (2, "usage", ("wk", "list", "--limit", "-3")),
    (2, "usage", ("wk", "list", "--sort", "mood")),
    (2, "usage", ("wk", "list", "--status", "sleepy")),
    (2, "usage", ("ev", "emit", "test.x", "--ref", "work_id")),
    (2, "usage", ("ev", "agent", "pause", "bo")),
    (2, "usage", ("ev", "agent", "pause", "bo", "--all", "--why", "x")),
    (2, "usage", ("ev", "agent", "register", "--mode", "episodic")),
    (2, "unknown_setting", ("ev", "config", "get", "nonsense")),
    (2, "unknown_setting", ("ev", "config", "set", "skew", "3s")),
    (3, "no_file", ("wk", "import", "/no/such/file")),
    (3, "no_file", ("wk", "comment", "app-11", "@/no/such/file")),
    (3, "no_file", ("wk", "list", "--dir", "/no/such/folder")),
    (3, "unknown_agent", ("ev", "agent", "show", "nobody")),
    (5, "cycle", ("wk", "dep", "add", "app-11", "--needs", "app-11")),
    (5, "wrong_state", ("wk", "reopen", "app-11")),
    (5, "not_held", ("wk", "release", "app-11")),
    (5, "not_held", ("wk", "renew", "app-11")),
    (5, "wrong_state", ("ev", "agent", "resume", "bo")),
    (6, "bad_data", ("wk", "create", "")),
    (6, "bad_data", ("wk", "create", "  \t")),
    (6, "bad_data", ("wk", "create", "x", "--type", "Not A Word")),
    (6, "bad_data", ("wk", "create", "x", "--label", "two\nlines")),
    (6, "bad_data", ("wk", "create", "x", "--extra", "[]")),
    (6, "bad_data", ("wk", "create", "x", "--extra", "{")),
    (6, "bad_data", ("wk", "comment", "app-11", "")),
    (6, "bad_data", ("wk", "update", "app-11", "--title", "")),
    (6, "bad_data", ("ev", "emit", "Nonsense")),
    (6, "bad_data", ("ev", "emit", "work.nonsense")),
    (6, "bad_data", ("ev", "emit", "test.x", "--body", "[]")),
    (6, "bad_data", ("ev", "emit", "test.x", "--body", "{")),
    (6, "bad_data", ("ev", "emit", "work.closed", "--ref", "work_id=app-11", "--body",
                     '{"as":"eaten"}')),
    (6, "bad_data", ("ev", "config", "set", "skew_ms", "far")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "words"), NOT_WANTED, ids=[" ".join(row[2]) for row in NOT_WANTED]
)
def test_what_is_not_understood_is_refused(
    refused: Callable[..., Answer], status: int, code: str, words: tuple[str, ...]
):
    refused(status, code, *words)


def test_an_argument_that_is_not_utf_8_is_refused(refused: Callable[..., Answer]):
    """Replacing what cannot be read would lose it in silence."""
    for words in (("wk", "create", b"\xff"), ("wk", "list", "--text", b"caf\xe9")):
        refused(2, "usage", *(os.fsdecode(word) for word in words))
    refused(6, "bad_data", "wk", "create", "x", "-d", "-", input=b"caf\xe9")


def test_an_event_id_of_somebody_else_is_refused(refused: Callable[..., Answer]):
    line = '{"event_id":"01KDWCJ2M00000000000000000","type":"test.x"}'

    refused(6, "foreign_id", "ev", "emit", "-", input=line)


@pytest.mark.parametrize("everybody", [False, True], ids=["by name", "by the kill switch"])
def test_a_paused_agent_writes_nothing_and_reads_on(run: Runner, items: Path, everybody: bool):
    """Exit 4, with who paused it and why; a dry run is refused alike."""
    refused = refuser(run, items)
    whom = "--all" if everybody else "ada"
    run.ok("ev", "agent", "pause", whom, "--why", "it deletes tests", as_="human:kim")

    for words in (*WRITES, ("wk", "create", "x", "--dry-run")):
        answer = refused(4, "paused", *words)

        assert "human:kim: it deletes tests" in answer.error["message"]
        assert answer.error["paused_by"] == "human:kim"
    run.ok("wk", "list", **ADA)
    run.ok("wk", "create", "x", as_="human:kim")


def test_without_an_identity_nothing_is_written(run: Runner, items: Path):
    """The refusal names the three ways to have one; reading needs none."""
    refused = refuser(run, items)
    run.ok("git", "config", "--unset", "user.name")

    for words in (("wk", "create", "x"), ("ev", "emit", "test.x"), ("wk", "claim", "--next")):
        hint = refused(4, "no_identity", *words, as_="").error["hint"]

        assert all(way in hint for way in ("--as", "COORD_AGENT", "git config coord.agent"))
    run.ok("wk", "list")


def test_outside_a_repository_every_command_says_how_to_make_one(tmp_path: Path):
    run = Runner(tmp_path)

    for words in (("wk", "list"), ("wk", "create", "x"), ("ev", "init"), ("ev", "check")):
        answer = run(*words, **ADA)

        assert_refused(answer, 3, "no_repository")
        assert "git init" in answer.error["hint"]
    assert list(tmp_path.iterdir()) == []


def test_without_a_store_every_command_names_ev_init(run: Runner, repo: Path):
    for words in (("wk", "list"), ("wk", "create", "x"), ("ev", "emit", "test.x")):
        answer = run(*words, **ADA)

        assert_refused(answer, 3, "no_store")
        assert "ev init" in answer.error["hint"]
    assert not (repo / ".coord").exists()
