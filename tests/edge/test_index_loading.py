"""An index filled in one pass holds what one filled in two passes holds."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import event as events
from coord.edge import index
from coord.edge.index import building, database, loading, reading, sharing
from tests import strategies as some
from tests.strategies import Files

TABLES = {
    "entity": "SELECT name, last, state FROM entity WHERE state IS NOT NULL ORDER BY name",
    "problem": "SELECT event_id, code, message, stands FROM problem ORDER BY 1, 2, 3",
    "event": "SELECT id, entity.name, tool, writer, number, offset, event.size, key, name.text"
    " FROM event LEFT JOIN entity USING(e) JOIN segment USING(seg) JOIN name ON i = agent"
    " ORDER BY id",
    "cause": "SELECT id, parent FROM cause JOIN event USING(n) ORDER BY 1, 2",
    "segment": "SELECT tool, writer, number, size, last_offset, last_digest FROM segment"
    " ORDER BY 1, 2, 3",
    "journal": "SELECT * FROM journal ORDER BY tool, writer",
    "damage": "SELECT * FROM damage ORDER BY path, offset",
    "item": "SELECT work_id, status, needs, priority FROM item ORDER BY work_id",
    "link": "SELECT work_id, kind, target FROM link JOIN item USING(e) ORDER BY 1, 2, 3",
    "message": "SELECT message_id, sender, thread_id, work_id, reply_to, same FROM message"
    " ORDER BY 1",
    "box": "SELECT message_id, agent, seen, needs_ack, expires_ms, snoozed_ms FROM box"
    " ORDER BY 1, 2",
    "rule": "SELECT name, stopped, message_id, work_id FROM rule JOIN entity USING(e) ORDER BY 1",
    "label": "SELECT work_id, label FROM label JOIN item USING(e) ORDER BY 1, 2",
}


def filled(folder, fill):
    """What every table holds after `fill` has filled an empty index in memory."""
    db = database.in_memory()
    known = index.Index(str(folder), db)
    with db.writing():
        fill(known)
    found = {name: db.connection.execute(query).fetchall() for name, query in TABLES.items()}
    known.close()
    return found


def in_growing_order(lines):
    """The lines by event id; of one writer's with the same id only the first."""
    placed = {(line["event_id"], line["writer"]): line for line in reversed(lines)}
    return [placed[place] for place in sorted(placed)]


@pytest.mark.parametrize("at_hand", [1, 16_384])
@pytest.mark.parametrize("crowd", some.CROWDS)
@some.examples(12)
@given(data=st.data(), now_ms=some.CLOCKS)
def test_one_pass_fills_the_index_as_two_passes_do(crowd, at_hand, data, now_ms):
    """However few states are kept at hand, and whatever lies in quarantine."""
    lines = in_growing_order(data.draw(some.histories(some.CROWDS[crowd])))
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name, pytest.MonkeyPatch.context() as p:
        p.setattr(loading, "_AT_HAND", at_hand)
        p.setattr(loading, "_BATCH", at_hand)
        Files(Path(name)).append(lines)
        horizon = events.horizon(now_ms)

        in_one = filled(name, lambda known: loading.Loader(known, horizon).load())
        in_two = filled(name, lambda known: building.Builder(known).build(horizon))

        assert in_one == in_two


@pytest.fixture
def shared(monkeypatch):
    """Every load is long enough to be shared."""
    monkeypatch.setattr(sharing, "is_worth", bool)


@some.examples(5)
@given(data=st.data(), now_ms=some.CLOCKS)
def test_two_processes_fill_the_index_as_one_does(data, now_ms):
    """Every third item is on many events' way, so both have some to fold."""
    drawn = [data.draw(some.histories(some.ANYTHING)) for _ in range(4)]
    lines = in_growing_order(
        [elsewhere(line, n) for n, lines in enumerate(drawn) for line in lines]
    )
    with tempfile.TemporaryDirectory(dir=some.SCRATCH) as name, pytest.MonkeyPatch.context() as p:
        Files(Path(name)).append(lines)
        horizon = events.horizon(now_ms)
        alone = filled(name, lambda known: loading.Loader(known, horizon).load())

        p.setattr(sharing, "is_worth", bool)
        together = filled(name, lambda known: loading.Loader(known, horizon).load())

        assert together == alone


def elsewhere(line, number):
    """The same event about an item of another name."""
    work_id = line["refs"].get("work_id")
    return {**line, "refs": {**line["refs"], "work_id": f"{work_id}{number}"}} if work_id else line


def test_a_load_whose_helper_dies_is_made_without(tmp_path, shared, monkeypatch):
    Files(tmp_path).append([some.raw("work.created", 1, refs={"work_id": "wk-a"})])
    monkeypatch.setattr(sharing.sys, "executable", "/bin/true")

    with index.opened(str(tmp_path), some.LATE_MS) as known:
        assert known.tips() == {"wk/agent-ada.aaaaaa": 1}


def test_a_journal_that_goes_back_in_time_takes_two_passes(tmp_path):
    lines = [some.raw("work.created", at, refs={"work_id": "wk-a"}) for at in (2, 1)]
    Files(tmp_path).append(lines)
    horizon = events.horizon(some.LATE_MS)

    with pytest.raises(reading.Changed):
        filled(tmp_path, lambda known: loading.Loader(known, horizon).load())

    with index.opened(str(tmp_path), some.LATE_MS) as known:
        assert known.tips() == {"wk/agent-ada.aaaaaa": 2}
