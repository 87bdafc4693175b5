"""Wrong input: a clear error, the right exit code, and nothing written.

An error is one JSON line on stderr with a code and a message, and nothing on stdout.
Since nothing is written, most tests share one store. What needs a disk that is full or
read-only gets one from the kernel.
"""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import journals
from tests.conftest import Answer, Runner

ADA = {"as_": "agent:ada"}


def with_items(run: Runner) -> Path:
    """A store with two items whose ids begin alike, and one of another sort."""
    run.ok("ev", "init")
    ids = {"app-11": "one", "app-12": "two", "wk-other": "three"}
    lines = [json.dumps({"work_id": work_id, "title": title}) for work_id, title in ids.items()]
    run.ok("wk", "create", "-", input="\n".join(lines), **ADA)
    return run.folder / ".coord"


@pytest.fixture
def items(run: Runner) -> Path:
    """A store of the test's own."""
    return with_items(run)


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.code, answer.error["code"]) == (status, code), answer.err
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert answer.error["message"]


def refuser(run: Runner, store: Path) -> Callable[..., Answer]:
    """`refused(status, code, words…)` runs a command that must be refused and write nothing."""

    def ask(status: int, code: str, *words: str, **options: Any) -> Answer:
        before = journals.contents(store)
        answer = run(*words, **{**ADA, **options})
        assert_refused(answer, status, code)
        assert journals.contents(store) == before
        return answer

    return ask


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


WRITES = [
    ("wk", "create", "x"),
    ("wk", "claim", "--next"),
    ("wk", "claim", "app-11"),
    ("wk", "update", "app-11", "-p", "1"),
    ("wk", "comment", "app-11", "x"),
    ("wk", "close", "app-11"),
    ("wk", "dep", "add", "app-11", "--needs", "app-12"),
    ("ev", "emit", "test.x"),
    ("ev", "agent", "register"),
    ("ev", "agent", "pause", "bo", "--why", "x"),
    ("ev", "agent", "resume", "ada"),
    ("ev", "config", "set", "claim.ttl_ms", "1h"),
]


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


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """`mount(options…, path)`, undone at the end; needs root."""
    mounted: list[Path] = []

    def mount_at(path: Path, *options: str) -> None:
        done = subprocess.run(["mount", *options, str(path)], capture_output=True)
        if done.returncode:
            pytest.skip("needs root: a file system cannot be mounted here")
        if path not in mounted:
            mounted.append(path)

    yield mount_at
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


READS = [
    ("wk", "list"), ("wk", "ready"), ("wk", "show", "app-11"), ("wk", "log", "app-11"),
    ("wk", "dep", "tree", "app-11"), ("wk", "export"), ("ev", "list"), ("ev", "check"),
    ("ev", "tail"), ("ev", "config", "list"), ("ev", "materialize", "work"),
]  # fmt: skip


@pytest.mark.parametrize("with_local", [True, False], ids=["with local", "without local"])
def test_in_a_read_only_store_reads_work_and_writes_are_refused(
    run: Runner, items: Path, mount: Callable[..., None], with_local: bool
):
    store = items
    before = {words: run.ok(*words).out for words in READS}
    if not with_local:
        shutil.rmtree(store / "local")
    journal = journals.contents(store)
    mount(store, "--bind", str(store))
    mount(store, "-o", "remount,ro,bind")

    for words in READS:
        assert run.ok(*words).out == before[words]
    for words in WRITES:
        if words != ("ev", "agent", "resume", "ada"):
            assert_refused(run(*words, **ADA), 4, "read_only")
    assert_refused(run("ev", "config", "set", "skew_ms", "3s", **ADA), 4, "read_only")
    assert journals.contents(store) == journal


def test_a_read_only_store_that_has_no_replica_yet_says_so_too(
    run: Runner, items: Path, mount: Callable[..., None]
):
    store = items
    (store / "local" / "replica").unlink()
    mount(store, "--bind", str(store))
    mount(store, "-o", "remount,ro,bind")

    assert_refused(run("wk", "create", "x", **ADA), 4, "read_only")


def fill(folder: Path) -> Path:
    """Take every free byte of a file system; answer the file to remove."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as stream:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while stream.write(b"x" * size):
                    pass
            except OSError:
                continue
    return path


def test_on_a_full_disk_nothing_acknowledged_is_lost(
    tmp_path: Path, mount: Callable[..., None], need: Callable[..., None]
):
    """Exit 7 and an error that names the disk; it works again when there is space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount(disk, "-t", "tmpfs", "-o", "size=2m", "tmpfs")
    run = Runner(disk)
    run.ok("git", "init", "--quiet")
    run.ok("ev", "init")
    store = disk / ".coord"
    told = [row["event_id"] for row in run.ok("wk", "create", "-", input='{"title":"kept"}\n' * 50,
                                              **ADA).lines]  # fmt: skip
    filler = fill(disk)
    before = journals.contents(store)
    batch = '{"title":"lost","description":"%s"}\n' % ("y" * 200) * 300

    while (answer := run("wk", "create", "one more", **ADA)).code == 0:
        # The last page of the file still has room.
        told.append(answer.json["event_id"])
    assert_refused(answer, 7, "disk")
    for words in (("wk", "create", "-"), ("wk", "comment", journals.events(store)[0]["refs"]
                                          ["work_id"], "-")):  # fmt: skip
        assert_refused(run(*words, input=batch, **ADA), 7, "disk")
    assert_refused(run("ev", "emit", "test.first", as_="agent:new"), 7, "disk")
    assert len(run.ok("wk", "list", "--limit", "0").lines) == len(told)
    assert all(journals.contents(store)[name].startswith(data) for name, data in before.items())
    filler.unlink()
    told += [row["event_id"] for row in run.ok("wk", "create", "-", input=batch, **ADA).lines]

    assert set(told) <= journals.ids(store)
    assert len(run.ok("wk", "list", "--limit", "0").lines) == len(told)
    assert run("ev", "check").code == 0


def garbage(path: Path) -> None:
    path.write_bytes(os.urandom(50_000))


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def another_database(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE meta(key, value)")
    other.close()


def one_page(name: str) -> Callable[[Path], None]:
    """Damage that shows only when one table is asked."""

    def damage(path: Path) -> None:
        with sqlite3.connect(path) as database:
            number = database.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name=?", (name,)
            ).fetchone()[0]
        database.close()
        with path.open("r+b") as stream:
            stream.seek((number - 1) * 4096)
            stream.write(b"\xa5" * 4096)

    damage.__name__ = f"page of {name}"
    return damage


DAMAGES = [
    garbage, truncated, emptied, a_folder, another_database, one_page("meta"), one_page("segment"),
    one_page("event"), one_page("entity"), one_page("sqlite_autoindex_entity_1"), one_page("item"),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_corrupt_index_changes_no_answer_and_loses_no_write(
    run: Runner, items: Path, damage: Callable[[Path], None]
):
    """Also of a batch on stdin, which can be read only once."""
    index = items / "local" / "index.db"
    environment = {"COORD_NOW_MS": "1890000000000"}
    reads = [("wk", "ready"), ("wk", "show", "app-11"), ("ev", "list")]
    before = [run.ok(*words, env=environment).out for words in reads]

    for words, answer in zip(reads, before, strict=True):
        damage(index) if not index.is_dir() else None
        assert run.ok(*words, env=environment) == Answer(0, answer, "")
    damage(index) if not index.is_dir() else None
    answer = run.ok("wk", "create", "-", input='{"title":"x","needs":"app-11"}\n', **ADA)
    assert len(answer.lines) == 1
    damage(index) if not index.is_dir() else None
    run.ok("wk", "comment", answer.json["work_id"], "-", input="said", **ADA)
    assert run.ok("wk", "show", answer.json["work_id"]).json["comments"][0]["text"] == "said"
    assert run("ev", "check", "--full").code == 0


def test_a_damaged_index_is_made_anew_wherever_the_command_stands(
    run: Runner, items: Path, tmp_path: Path
):
    """It is the index of the store that --dir names; and the next command finds it good."""
    index = items / "local" / "index.db"
    one_page("entity")(index)

    run.ok("wk", "show", "app-11", "--dir", run.folder, cwd=tmp_path)

    with sqlite3.connect(index) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM item").fetchone() == (3,)


TYPOS = [
    ("skwe_ms: 5s\n", 1),
    ("# mine\nskew_ms: 5s\nskew_ms: 6s\n", 3),
    ("skew_ms: soon\n", 1),
    ("skew_ms: [\n", None),
    ("just words\n", 1),
    ("claim.ttl_ms: 1h\n", 1),
    ("\x00", None),
]


@pytest.mark.parametrize(("text", "line"), TYPOS, ids=[repr(text) for text, _ in TYPOS])
def test_a_typo_in_config_yaml_is_named_with_its_line(
    run: Runner, store: Path, text: str, line: int | None
):
    """Nothing is written under settings that cannot be read; the journals can be."""
    refused = refuser(run, store)
    (store / "config.yaml").write_text(text)

    for words in (("wk", "create", "x"), ("ev", "config", "list"), ("ev", "emit", "test.x")):
        answer = refused(2, "bad_config", *words)

        assert answer.error["message"].startswith("config.yaml: ")
        assert line is None or answer.error["line"] == line
    run.ok("ev", "materialize", "work")
    assert (store / "config.yaml").read_text() == text
