"""Bad disks and damaged files: a clear error, the right exit code, nothing acknowledged lost.

What needs a disk that is full or read-only gets one from the kernel.
"""

import functools
import os
import shutil
import sqlite3
import subprocess
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


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """`mount(options…, path)`, undone at the end; needs root."""
    mounted: list[Path] = []
    yield functools.partial(_mount, mounted)
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(mounted: list[Path], path: Path, *options: str) -> None:
    done = subprocess.run(["mount", *options, str(path)], capture_output=True)
    if done.returncode:
        pytest.skip("needs root: a file system cannot be mounted here")
    if path not in mounted:
        mounted.append(path)


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


def rotten(path: Path) -> None:
    """Bits that only the reader of a state stumbles over."""
    data = path.read_bytes()
    assert b'{"work_id"' in data
    path.write_bytes(data.replace(b'{"work_id"', b'{"w\x01rk_\xff"'))


def one_page(name: str, path: Path) -> None:
    """Damage that shows only when one table is asked."""
    with sqlite3.connect(path) as database:
        number = database.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name=?", (name,)
        ).fetchone()[0]
    database.close()
    with path.open("r+b") as stream:
        stream.seek((number - 1) * 4096)
        stream.write(b"\xa5" * 4096)


def name_of(damage: Callable[[Path], None]) -> str:
    if isinstance(damage, functools.partial):
        return f"page of {damage.args[0]}"
    return damage.__name__


TABLES = ("meta", "segment", "event", "entity", "sqlite_autoindex_entity_1", "item")
DAMAGES = [
    garbage, rotten, truncated, emptied, a_folder, another_database,
    *(functools.partial(one_page, name) for name in TABLES),
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=name_of)
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
    functools.partial(one_page, "entity")(index)

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
