"""An index that was lost, spoilt, removed or raced for; and journals that were damaged under it."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.edge import index
from coord.edge.index import database, schema
from tests import strategies as some
from tests.answers import answers_of, check, lose
from tests.clones import LAST, Clone, claim, create, say
from tests.strategies import LATE_MS, START_MS, Files


@pytest.fixture
def clone(tmp_path):
    """A store with two items, one claimed, and nothing of an index."""
    made = Clone(tmp_path)
    made.write(create("wk-a"), create("wk-b"))
    made.write(claim("wk-a", ttl=5_000_000), by="bo")
    return made


def answers(clone, now=LAST["now"]):
    """What the index of a store answers, which must be what folding its lines answers."""
    check(str(clone.store), clone.lines(), START_MS + now, START_MS)
    with index.opened(str(clone.store), START_MS + now) as known:
        return answers_of(known, START_MS)


DATABASE = "local/index.db"


@pytest.mark.parametrize("how", ["deleted", "truncated", "garbage"])
def test_an_index_that_was_lost_is_made_anew(clone, how):
    before = answers(clone)

    lose(clone.store / DATABASE, how)

    assert answers(clone) == before
    assert is_whole(clone.store / DATABASE)


def is_whole(path):
    """Whether SQLite finds nothing wrong with a file."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


@pytest.mark.parametrize("size", [0, 1, 15, 16, 99, 100, 4096, 5000])
def test_an_index_cut_at_any_length_is_made_anew(clone, size):
    before = answers(clone)

    os.truncate(clone.store / DATABASE, size)

    assert answers(clone) == before


@some.examples(60)
@given(data=st.data())
def test_an_index_with_wrong_bytes_is_made_anew_or_put_away(data, tmp_path_factory):
    """Where only asking shows it, the caller discards it and asks again."""
    clone = Clone(tmp_path_factory.mktemp("clone"))
    clone.write(*[create(f"wk-{n}", description="x" * 900) for n in range(9)])
    before = answers(clone)
    page = data.draw(st.integers(0, (clone.store / DATABASE).stat().st_size // 4096 - 1))
    with (clone.store / DATABASE).open("r+b") as stream:
        stream.seek(page * 4096)
        stream.write(os.urandom(4096))

    try:
        found = answers(clone)
    except index.DAMAGE:
        index.discard(str(clone.store / "local"))
        found = answers(clone)

    assert found == before


def test_an_index_of_another_format_or_boot_is_made_anew(clone):
    before = answers(clone)
    for spoil in ("PRAGMA user_version=99", "UPDATE meta SET value='x' WHERE key='boot'"):
        connection = sqlite3.connect(clone.store / DATABASE)
        connection.execute("DELETE FROM item")
        connection.execute(spoil)
        connection.commit()
        connection.close()

        assert answers(clone) == before


def test_a_folder_where_no_index_can_be_is_answered_from_memory(clone):
    before = answers(clone)
    shutil.rmtree(clone.store / "local")
    (clone.store / "local").write_text("not a folder")

    assert answers(clone) == before


def test_a_read_only_store_is_read(clone, mounted):
    """What was folded before is of use when the file can be read; else it is done in memory."""
    before = answers(clone)
    for has_index in (True, False):
        if not has_index:
            shutil.rmtree(clone.store / "local")
        with mounted(clone.store):
            assert answers(clone) == before
            refusal = clone.refusal(create("wk-c"))
            assert refusal.code == "read_only"


@pytest.fixture
def mounted():
    """`mounted(folder)` makes a folder read-only, for root as well."""
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("needs root and mount")
    return read_only


@contextlib.contextmanager
def read_only(folder):
    """A folder mounted over itself, read-only."""
    done = subprocess.run(["mount", "--bind", folder, folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("needs the right to mount")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", folder], check=True)
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_rebuild_never_writes_into_a_file_whose_lock_it_does_not_hold(clone):
    """The folder is removed between opening and rebuilding; another process makes a new file."""
    local = clone.store / "local"
    answers(clone)
    mine = database.on_disk(str(local))
    mine.lock(exclusive=True)
    shutil.rmtree(local)
    with index.opened(str(clone.store), LATE_MS):
        made = (local / "index.db").read_bytes()

        with pytest.raises(database.Unusable):
            mine.restart()

        assert (local / "index.db").read_bytes() == made
    mine.close()


def test_an_index_that_is_removed_while_open_goes_on_answering(clone):
    with index.opened(str(clone.store), LATE_MS) as known:
        shutil.rmtree(clone.store / "local")

        assert known.state("work/wk-a")["status"] == "claimed"


READING = """
import sys
from coord.edge import index
while True:
    with index.opened(sys.argv[1], int(sys.argv[2])) as known:
        print(len(list(known.states("work"))), flush=True)
"""


@pytest.fixture
def reader(clone):
    """Starts processes that bring the index up to date as often as they can."""
    started = []
    yield lambda: started.append(start_reader(clone)) or started[-1]
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


def start_reader(clone):
    """One process that has answered once."""
    words = [sys.executable, "-c", READING, clone.store, str(LATE_MS)]
    child = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert child.stdout.readline()
    return child


def test_two_processes_may_catch_up_at_once(clone, reader):
    children = [reader(), reader()]
    for number in range(15):
        clone.write(create(f"wk-{number}"), by="bo")
        if number % 5 == 4:
            lose(clone.store / DATABASE, "deleted")

    assert [child.poll() for child in children] == [None, None]
    assert len(answers(clone)["states"]) == 17


def test_an_index_whose_writer_was_killed_is_made_anew(clone, reader, request):
    """Killed at random points of catching up and of building."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for number in range(60 if request.config.getoption("--long") else 6):
        child = reader()
        if number % 2:
            lose(clone.store / DATABASE, "deleted")
        clone.write(*[create(f"wk-{number}-{n}") for n in range(50)])
        time.sleep(chance.uniform(0, 0.02))
        child.kill()
        child.wait()

        answers(clone)


def test_a_mark_of_a_killed_writer_is_not_taken_away_by_a_later_small_write(clone):
    """It was killed between two of our locks: its half-written tables stay marked."""
    with index.opened(str(clone.store), LATE_MS) as known:
        connection = sqlite3.connect(clone.store / DATABASE)
        connection.execute(f"PRAGMA user_version={schema.DIRTY}")
        connection.close()

        known.keep("config", "{}")

    connection = sqlite3.connect(clone.store / DATABASE)
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.DIRTY,)
    connection.close()


def damages_in(clone):
    """(code, writer, seq, path, offset) of everything wrong with the journals."""
    with index.opened(str(clone.store), LATE_MS) as known:
        rows = known.connection.execute("SELECT code, writer, seq, path, offset FROM damage")
        return sorted(rows.fetchall())


def damaged(lines, place, how):
    """The lines of a segment after something was done to one of them."""
    line = lines[place]
    return {
        "edited": [*lines[:place], line.replace(b"wk-", b"kw-"), *lines[place + 1 :]],
        "broken": [*lines[:place], line[:-9] + b"}", *lines[place + 1 :]],
        "deleted": [*lines[:place], *lines[place + 1 :]],
        "doubled": [*lines[:place], line, line, *lines[place + 1 :]],
        "swapped": [*lines[:place], lines[place + 1], line, *lines[place + 2 :]],
    }[how]


EXPECTED = {
    "edited": [("edited", 0)],
    "broken": [("missing", 0), ("unreadable", None)],
    "deleted": [("missing", 0)],
    "doubled": [("repeated_line", 0)],
    "swapped": [("out_of_order", 0)],
}


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("how", EXPECTED)
@pytest.mark.parametrize(("place", "size"), [(0, 9), (7, 9), (40, 9), (40, 20_000)])
def test_damage_to_an_old_line_is_named_and_untouched_items_stay_as_they_were(
    tmp_path, how, place, size, is_warm
):
    """By writer, seq, path and offset; found at the latest when the lines are read anew.

    In the segment that is written to, and in a sealed one.
    """
    clone = Clone(tmp_path)
    clone.write(*[create(f"wk-{n}", description="x" * size) for n in range(60)])
    clone.write(*[say("commented", f"wk-{n}", text="hello") for n in range(60)])
    before = answers(clone)["states"]
    names = list(clone.bytes())
    path, writer = clone.store / names[0], names[0].split("/")[1].removesuffix(".0001.jsonl")
    assert len(names) == (2 if size > 9 else 1)
    lines = path.read_bytes().splitlines()

    path.write_bytes(b"\n".join(damaged(lines, place, how)) + b"\n")
    if not is_warm:
        shutil.rmtree(clone.store / "local")

    with index.opened(str(clone.store), LATE_MS) as known:
        found = answers_of(known, START_MS)["states"]
    hit = {f"work/wk-{place}"}
    same = {entity: state for entity, state in before.items() if entity not in hit}
    assert {entity: state for entity, state in found.items() if entity not in hit} == same
    if not is_warm:
        assert [(row[0], row[2]) for row in damages_in(clone)] == expected_at(how, place + 1)
        assert {(row[1], row[3]) for row in damages_in(clone)} == {(writer, str(path))}
        assert {row[4] for row in damages_in(clone)} <= offsets_near(path, place)


def expected_at(how, seq):
    """The (code, seq) rows for damage done to the line of this number."""
    return [(code, seq if number == 0 else 0) for code, number in EXPECTED[how]]


def offsets_near(path, place):
    """Where the lines around a place begin."""
    lines = path.read_bytes().splitlines(keepends=True)
    return {sum(map(len, lines[:n])) for n in range(place, place + 2)}


def test_a_line_that_stands_where_another_stood_is_never_taken_for_it(clone):
    """Two lines of one length change places under a warm index, which then reads them."""
    clone.write(*[say("commented", item, text="hello") for item in ("wk-a", "wk-b")])
    clone.write(say("commented", "wk-b", text="last"))
    answers(clone)
    [path] = (clone.store / "wk").glob("agent-ada*")
    lines = path.read_bytes().splitlines()
    assert len(lines[2]) == len(lines[3])

    lines[2], lines[3] = lines[3], lines[2]
    path.write_bytes(b"\n".join(lines) + b"\n")
    older = some.raw("work.pondered", -1, refs={"work_id": "wk-a"}, replica="zzzzzz")
    Files(clone.store).append([older])

    found = answers(clone)["states"]
    assert [len(found[f"work/{item}"]["comments"]) for item in ("wk-a", "wk-b")] == [1, 2]
