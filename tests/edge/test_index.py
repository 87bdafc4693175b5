"""The index answers exactly what the fold answers, however the lines arrive."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.fold import fold
from coord.edge import index
from tests import strategies as some
from tests.answers import check, lose
from tests.strategies import (
    LATE_MS,
    START_MS,
    Files,
    claimed,
    created,
    event,
    paused,
    resumed,
    work,
)

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


ITEMS = [created("wk-a", -2), created("wk-b", -1)]
DONE = {"as": "done"}


def comment(at, item="wk-a", **parts):
    """A comment of agent:ada."""
    return work("commented", at, item=item, **{"text": "hello", **parts})


def setting(at, value, **parts):
    """What closing an item takes."""
    return event("config.set", at, "human:cy", body={"key": "verify", "value": value}, **parts)


def owner(at, name):
    """Who stands behind agent:ada."""
    return event("agent.registered", at, refs={"agent_id": "agent:ada"}, body={"owner": name})


KEYED = comment(5, "wk-b", key="k")
# What is known, what arrives late, and an entity that is another one afterwards.
LATE = {
    "a pause": ([claimed("ada", 5)], [paused("agent:ada", 1)], "work/wk-a"),
    "a pause of all": ([claimed("ada", 5)], [paused("*", 1)], "work/wk-a"),
    "a resume": (
        [paused("agent:ada", 1), claimed("ada", 5)],
        [resumed("agent:ada", 2)],
        "work/wk-a",
    ),
    "a pause of who resumed": (
        [paused("agent:bo", 1, by="agent:cy"), resumed("agent:bo", 5, by="ada"), claimed("bo", 6)],
        [paused("agent:ada", 2, by="agent:cy")],
        "work/wk-a",
    ),
    "an owner": (
        [claimed("ada", 5), work("released", 6, "boss", lease="lease-ada", **{"break": True})],
        [owner(1, "agent:boss")],
        "work/wk-a",
    ),
    "a setting": ([work("closed", 5, **DONE)], [setting(1, "required")], "work/wk-a"),
    "a pause of who set it": ([setting(5, "required")], [paused("human:cy", 1)], "problems"),
    "the first of a key": ([KEYED], [comment(1, "wk-b", key="k")], "work/wk-b"),
    "the first of a key elsewhere": ([KEYED], [comment(1, key="k")], "problems"),
    "an older claim": ([claimed("bo", 5)], [claimed("ada", 1)], "work/wk-a"),
    "a creation": ([comment(5, "wk-c")], [created("wk-c", 1)], "work/wk-c"),
    "another of one id without the key": (
        [comment(1, key="k", later=9), comment(5, "wk-b", key="k", later=9)],
        [comment(1, "wk-a", later=1)],
        "problems",
    ),
    "another of one id with the key": (
        [comment(1, later=9), comment(5, "wk-b", key="k", later=1)],
        [comment(1, "wk-a", key="k", later=1)],
        "problems",
    ),
    "another of one id in another item": (
        [comment(1, later=9)],
        [comment(1, "wk-b", later=1)],
        "work/wk-a",
    ),
    "another of one id that pauses another": (
        [paused("agent:ada", 1), claimed("ada", 5)],
        [paused("agent:aa", 1)],
        "work/wk-a",
    ),
    "another of one id that is no pause": (
        [paused("agent:ada", 1), claimed("ada", 5)],
        [event("agent.paused", 1, "human:aa", refs={"agent_id": 7})],
        "work/wk-a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LATE)
def test_what_arrives_late_changes_all_that_has_read_it(case, tmp_path):
    """Also an entity that nothing new was said about."""
    before, late, changed = LATE[case]
    known = [made.raw for made in (*ITEMS, *before)]
    whole = [*known, *[made.raw for made in late]]
    files = Files(tmp_path)
    files.append(known)
    check(str(tmp_path), known, LATE_MS, START_MS)

    files.append(whole[len(known) :])

    check(str(tmp_path), whole, LATE_MS, START_MS)
    assert part_of(known, changed) != part_of(whole, changed)


def part_of(lines, name):
    """One entity's state, or the codes of all problems."""
    folded = fold(some.of(lines), LATE_MS)
    return folded.states.get(name) if name != "problems" else [p.code for p in folded.problems]


@some.examples(60)
@given(odd=st.lists(some.strange(), min_size=1, max_size=4), now_ms=some.CLOCKS)
def test_no_data_stops_the_index(odd, now_ms):
    """Numbers that fit nowhere included: its columns hold 64 bits with a sign."""
    lines = [event.raw for event in some.KNOWN] + odd
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name:
        Files(Path(name)).append(lines)

        check(name, lines, now_ms, START_MS)


@pytest.mark.parametrize("way", ["in one pass", "out of order", "caught up"])
def test_the_index_knows_every_writer_whose_journal_holds_an_event(tmp_path, way):
    """Though only one of its lines is folded, whichever was read first."""
    files, line = Files(tmp_path), created().raw
    copies = [{**line, "writer": f"agent-ada.{name}"} for name in ("zzzzzz", "222222", "mmmmmm")]
    before = [created("wk-b", at=9).raw] if way == "out of order" else []
    files.append([*before, line])
    if way == "caught up":
        with index.opened(str(tmp_path), LATE_MS):
            pass
    files.append(copies)

    with index.opened(str(tmp_path), LATE_MS) as known:
        found = known.writers_of(line["event_id"])

    assert found == [f"agent-ada.{name}" for name in ("222222", "aaaaaa", "mmmmmm", "zzzzzz")]
