"""The index answers exactly what the fold answers, whatever happened to it."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.fold import fold
from coord.core.wk import view
from coord.edge import index
from coord.edge.index import views
from tests import strategies as some
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
