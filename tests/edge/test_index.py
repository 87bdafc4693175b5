"""The index answers exactly what the fold answers, whatever happened to it."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.fold import fold, in_order
from coord.core.wk import view
from coord.edge import index
from coord.edge.index import database, schema, views
from tests import strategies as some
from tests.clones import LAST, Clone, claim, create, say
from tests.strategies import LATE_MS, START_MS, Files


def answers_of(known, at_ms):
    """Everything the tools ask an index, as of an instant."""
    families = ("agent", "config", "work")
    query = views.Query(at_ms, "ready", sort="id")
    sql = known.connection
    return {
        "states": {name: state for family in families for name, state in known.states(family)},
        "problems": list(known.problems()),
        "ready": views.work_ids(sql, query),
        "needs": sorted(sql.execute(NEEDS)),
        "linked": {item: sorted(views.linked_to(sql, item)) for item in some.ITEMS},
        "labels": sorted(sql.execute("SELECT work_id, label FROM label JOIN item USING(e)")),
        "statuses": statuses_in(sql, at_ms),
        "caused": {cause: [raw["event_id"] for raw in known.caused_by(cause)] for cause in CAUSES},
        "ids": known.ids_from(""),
    }


def statuses_in(sql, at_ms):
    """The items that each status word finds, deleted ones too."""
    return {word: views.work_ids(sql, views.Query(at_ms, word, sort="id")) for word in WORDS}


NEEDS = "SELECT work_id, target FROM link JOIN item USING(e) WHERE kind = 'needs'"
WORDS = ("open", "claimed", "closed", "deleted", "deferred", "blocked")


def answers_by_folding(lines, now_ms, at_ms):
    """The same from `core.fold` and `core.wk.view`, which define it."""
    folded = fold(some.of(lines), now_ms)
    items = {name: state for name, state in folded.states.items() if name.startswith("work/")}
    known = {state["work_id"]: state["status"] != "closed" for state in items.values()}
    return {
        "states": dict(folded.states),
        "problems": list(folded.problems),
        "ready": ids(items, lambda state: view.is_ready(state, at_ms, known.get)),
        "needs": sorted((s, target) for s, kind, target in links_in(items) if kind == "needs"),
        "linked": {
            item: sorted(
                (kind, s)
                for s, kind, target in (*links_in(items), *waits_in(items))
                if target == item
            )
            for item in some.ITEMS
        },
        "labels": sorted((s["work_id"], label) for s in items.values() for label in s["labels"]),
        "statuses": {word: ids(items, has_word(word, at_ms, known.get)) for word in WORDS},
        "caused": {cause: [e.event_id for e in kept(lines) if is_caused(e, cause)] for cause in CAUSES},
        "ids": [e.event_id for e in kept(lines)],
    }


def links_in(items):
    """Every link, as (item, kind, target)."""
    return [
        (state["work_id"], kind, target)
        for state in items.values()
        for kind, group in state.get("links", {}).items()
        for target in group
    ]


def waits_in(items):
    """Every item that an item was put on hold for."""
    return [
        (state["work_id"], "waits_for", wait["on"]["item"])
        for state in items.values()
        for wait in state.get("waits", ())
        if "item" in wait["on"]
    ]


def has_word(word, at_ms, is_open):
    """Whether an item is to be found under a status word."""
    return lambda state: word in words_of(view.derived(state, at_ms, is_open))


def words_of(derived):
    """The words under which an item is found: a time defers it, all else blocks it.

    What waits for somebody to act is not deferred, whatever time it has to wait for too.
    """
    waits = {kind for on in derived.get("waits_for", ()) for kind in on}
    found = {derived["status"]}
    if "blocked_by" in derived or waits - {"until_ms"}:
        found.add("blocked")
    if ("deferred" in derived or "until_ms" in waits) and not waits & {"agent", "url"}:
        found.add("deferred")
    return found


CAUSES = sorted({cause for cause in some.CAUSES if cause})


def is_caused(event, cause):
    """Whether an event names another as a cause."""
    links = event.raw.get("links")
    return cause == event.raw.get("cause") or (isinstance(links, list) and cause in links)


def kept(lines):
    """One event of each id, quarantined ones too, as the fold chooses them."""
    ordered, _ = in_order(some.of(lines), LATE_MS)
    return ordered


def ids(items, wanted):
    """The ids of the items that a predicate takes, sorted."""
    return sorted(state["work_id"] for state in items.values() if wanted(state))


def check(folder, lines, now_ms, at_ms):
    """Compare the index of a folder, brought up to date, with the fold."""
    with index.opened(str(folder), now_ms) as known:
        found = answers_of(known, at_ms)
    for question, answer in answers_by_folding(lines, now_ms, at_ms).items():
        assert found[question] == answer, question


def lose(path, how):
    """Do to an index file what happens to files."""
    if how == "deleted":
        path.unlink(missing_ok=True)
    elif path.exists() and how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif path.exists() and how == "garbage":
        path.write_bytes(b"\x00garbage" * 1000)


FATES = st.sampled_from(["kept"] * 6 + ["deleted", "truncated", "garbage"])
# How many lines arrive before the next command, that command's wall clock, and what
# became of the index before it.
BATCHES = st.lists(st.tuples(st.integers(1, 8), some.CLOCKS, FATES), min_size=1, max_size=8)
AT = some.INSTANTS.map(lambda at: START_MS + at)


@pytest.mark.parametrize("crowd", some.CROWDS)
@some.examples(40)
@given(data=st.data(), batches=BATCHES, at_ms=AT)
def test_however_the_lines_arrive_the_index_answers_what_the_fold_answers(
    crowd, data, batches, at_ms
):
    """In batches of any size, with a wall clock that goes forth and back between them."""
    lines = data.draw(some.histories(some.CROWDS[crowd]))
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name:
        files, done = Files(Path(name)), 0
        for count, now_ms, fate in [*batches, (len(lines), LATE_MS, "kept")]:
            files.append(lines[done : done + count])
            done += count
            lose(Path(name, "local", "index.db"), fate)
            check(name, lines[:done], now_ms, at_ms)


@some.examples(60)
@given(odd=st.lists(some.strange(), min_size=1, max_size=4), now_ms=some.CLOCKS)
def test_no_data_stops_the_index(odd, now_ms):
    """Numbers that fit nowhere included: its columns hold 64 bits with a sign."""
    lines = [event.raw for event in some.KNOWN] + odd
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name:
        Files(Path(name)).append(lines)

        check(name, lines, now_ms, START_MS)


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
@pytest.mark.parametrize("place", [0, 7, 40])
def test_damage_to_an_old_line_is_named_and_untouched_items_stay_as_they_were(
    tmp_path, how, place, is_warm
):
    """By writer, seq, path and offset; found at the latest when the lines are read anew."""
    clone = Clone(tmp_path)
    clone.write(*[create(f"wk-{n}") for n in range(60)])
    clone.write(*[say("commented", f"wk-{n}", text="hello") for n in range(60)])
    before = answers(clone)["states"]
    [name] = [path for path in clone.bytes() if path.startswith("wk/")]
    path = clone.store / name
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
        writer = name.removeprefix("wk/").removesuffix(".0001.jsonl")
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
