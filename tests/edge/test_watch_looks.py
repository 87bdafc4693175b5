"""What a look at the journals finds: where it begins, in what order, despite what damage."""

import json
from pathlib import Path
from typing import Any

import pytest

from coord.core import event as events
from coord.edge import journal, watch
from coord.edge.watch.reading import Journal
from coord.errors import Refusal
from tests.edge.watching import ADA, BO, append, empty_store, file_of, ids, seen
from tests.strategies import START_MS, id_at


@pytest.fixture
def folder(tmp_path):
    """An empty store."""
    return empty_store(tmp_path)


def test_a_torn_tail_that_reads_as_an_event_is_not_yet_past(folder):
    """Its newline comes with the next append; a reader that starts now is given it then."""
    append(folder, "ev", BO, [0, 1])
    path = file_of(folder, "ev", BO)
    path.write_bytes(path.read_bytes()[:-1])
    cursor = watch.cursor_at(str(folder), "now")

    append(folder, "ev", BO, [2])

    assert ids(seen(folder, cursor)) == [id_at(1), id_at(2)]


def test_a_cursor_finds_its_place_in_any_segment(folder):
    text = "x" * 60_000
    for at in range(40):
        append(folder, "ev", BO, [at], text)

    rests = [ids(seen(folder, {f"ev/{BO}": seq})) for seq in range(41)]

    assert rests == [[id_at(at) for at in range(seq, 40)] for seq in range(41)]


def test_a_segment_that_grew_to_its_end_while_the_folder_was_listed_is_read_to_its_end(folder):
    """Else the next one's higher numbers would pass over what is left of it."""
    append(folder, "ev", BO, [0])
    listed_before = journal.segments(str(folder))
    reader = Journal(f"ev/{BO}", 0, pytest.fail)
    assert len(list(reader.news(listed_before))) == 1
    append(folder, "ev", BO, [1, 2])
    first = file_of(folder, "ev", BO)
    lines = first.read_bytes().splitlines(keepends=True)
    append(folder, "ev", BO, [3, 4])
    rest = first.read_bytes()[len(b"".join(lines)) :]
    first.write_bytes(b"".join(lines))
    file_of(folder, "ev", BO, 2).write_bytes(rest)
    stale = [*listed_before, journal.segments(str(folder))[-1]]

    entries = list(reader.news(stale))

    assert [entry.raw["event_id"] for entry in entries] == [id_at(at) for at in range(1, 5)]


def test_a_batch_is_in_order_of_ids_whoever_wrote(folder):
    append(folder, "ev", BO, [0, 3, 4])
    append(folder, "wk", BO, [1, 6])
    append(folder, "ev", ADA, [2, 5])

    (batch,) = seen(folder)

    assert ids([batch]) == [id_at(at) for at in range(7)]
    assert batch.cursor == {f"ev/{BO}": 3, f"wk/{BO}": 2, f"ev/{ADA}": 2}


def test_no_event_overtakes_an_earlier_one_of_its_writer(folder):
    """Even when its clock went back, which ours never does."""
    append(folder, "ev", BO, [0, 9, 2])
    append(folder, "ev", ADA, [1, 3, 10])

    assert ids(seen(folder)) == [id_at(at) for at in (0, 1, 3, 9, 2, 10)]


def test_a_long_backlog_comes_in_batches_and_each_cursor_continues_it(folder):
    """In order over all of them."""
    append(folder, "ev", BO, range(0, 2400, 2))
    append(folder, "wk", ADA, range(1, 2400, 2))

    batches = seen(folder)
    rests = [ids(seen(folder, batch.cursor)) for batch in batches]

    assert len(batches) > 3
    assert ids(batches) == [id_at(at) for at in range(2400)]
    assert rests == [ids(batches[n + 1 :]) for n in range(len(batches))]


def test_a_reader_that_stops_inside_a_batch_goes_on_inside_it(folder):
    append(folder, "ev", BO, [0, 3, 4])
    append(folder, "wk", ADA, [1, 2, 5])

    (batch,) = seen(folder)
    rests = [ids(seen(folder, batch.cursor_after(count))) for count in range(7)]

    assert rests == [[id_at(at) for at in range(count, 6)] for count in range(7)]
    assert batch.cursor == batch.cursor_after(6)


def test_an_event_from_the_far_future_is_marked_early(folder, monkeypatch):
    monkeypatch.setenv("COORD_NOW_MS", str(START_MS))
    append(folder, "ev", BO, [0, events.QUARANTINE_MS, events.QUARANTINE_MS + 1])

    (batch,) = seen(folder)

    assert [is_early for _, is_early in batch.events] == [False, False, True]


@pytest.mark.parametrize(
    ("since", "first"),
    [
        ("start", 0),
        ("now", 6),
        (id_at(2), 2),
        (id_at(2).lower(), 2),
        (id_at(2, 1), 3),
        ("2026-01-01T09:00:00.004Z", 4),
        ("1970-01-01", 0),
        ("2030-01-01", 6),
        (json.dumps({f"ev/{BO}": 1, f"wk/{ADA}": 1}), 2),
    ],
)
def test_a_reader_begins_where_since_says(folder, since, first):
    """An event id or an instant means the same place in all journals."""
    append(folder, "ev", BO, [0, 2, 4])
    append(folder, "wk", ADA, [1, 3, 5])

    cursor = watch.cursor_at(str(folder), since)

    assert ids(seen(folder, cursor)) == [id_at(at) for at in range(first, 6)]


def test_a_cursor_says_where_each_journal_goes_on(folder):
    """One that it does not name is read from its beginning."""
    append(folder, "ev", BO, [0, 2, 4])
    append(folder, "wk", ADA, [1, 3, 5])

    cursor = watch.cursor_at(str(folder), json.dumps({f"ev/{BO}": 2}))

    assert ids(seen(folder, cursor)) == [id_at(at) for at in (1, 3, 4, 5)]


@pytest.mark.parametrize("since", ["soon", "{", "{}x", '{"wk": 1}', '{"wk/a.b": -1}'])
def test_a_since_that_is_nothing_is_refused(folder, since):
    with pytest.raises(Refusal) as refused:
        watch.cursor_at(str(folder), since)

    assert refused.value.code == "usage"


def test_a_late_event_with_an_old_id_is_delivered(folder):
    """It was written elsewhere long ago and arrives now."""
    append(folder, "ev", BO, [50])
    cursor = watch.cursor_at(str(folder), id_at(40))

    append(folder, "ev", ADA, [1])

    assert ids(seen(folder, cursor)) == [id_at(1), id_at(50)]


def lines_of(path: Path) -> list[bytes]:
    """A file's lines with their newlines."""
    return path.read_bytes().splitlines(keepends=True)


def edit(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b"noted", b"faked"), *lines[4:]]


def cut(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3][:50] + b"\n", *lines[4:]]


def delete(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], *lines[4:]]


def repeat(lines: list[bytes]) -> list[bytes]:
    return [*lines[:6], lines[3], *lines[6:]]


def swap(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[4], lines[3], *lines[5:]]


def number(lines: list[bytes]) -> list[bytes]:
    return [*lines[:3], lines[3].replace(b'"seq":4', b'"seq":4000000'), *lines[4:]]


DAMAGES = {
    edit: ({3}, {"edited"}),
    cut: ({3}, {"unreadable", "missing"}),
    delete: ({3}, {"missing"}),
    repeat: (set(), {"repeated_line", "out_of_order"}),
    swap: (set(), {"out_of_order"}),
    number: ({3}, {"missing", "out_of_order"}),
}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("step", [1, 2, 3, 11], ids="{} lines a look".format)
@pytest.mark.parametrize("restarts", [False, True], ids=["one reader", "a reader a look"])
def test_damage_is_told_and_keeps_no_other_event_back(folder, damage, step, restarts):
    """However the lines arrive. One bit of a number must not silence its journal."""
    append(folder, "ev", BO, range(10))
    path = file_of(folder, "ev", BO)
    lines = damage(lines_of(path))
    hurt, codes = DAMAGES[damage]
    path.write_bytes(b"")
    damages: list[watch.Damage] = []
    delivered: list[str] = []
    cursor: Any = {}
    one = watch.follow(str(folder), cursor, on_damage=damages.append)

    step = min(step, len(lines))
    for end in range(step, len(lines) + step, step):
        path.write_bytes(b"".join(lines[:end]))
        if restarts:
            batches = seen(folder, cursor, damages)
            cursor = batches[-1].cursor if batches else cursor
            delivered += ids(batches)
        else:
            append(folder, "wk", ADA, [100 + end])
            while id_at(100 + end) not in delivered:
                delivered += ids([next(one)])

    whole = [id_at(at) for at in range(10) if at not in hurt]
    assert set(whole) <= set(delivered)
    told_codes = {told.code for told in damages}
    assert told_codes == codes if step == len(lines) else told_codes <= codes | {"missing"}
    assert damages
    assert {told.path for told in damages} <= {str(path)}
    if not restarts:
        assert [delivered.count(event_id) for event_id in whole] == [1] * len(whole)
        assert len(damages) == len(set(damages))


def test_what_is_no_ordinary_file_is_no_segment(folder):
    """`ev check` tells of it."""
    Path(file_of(folder, "ev", ADA)).mkdir()
    append(folder, "ev", BO, [0])
    damages: list[watch.Damage] = []

    assert ids(seen(folder, {f"ev/{ADA}": 7}, damages)) == [id_at(0)]
    assert damages == []


def test_other_files_in_a_folder_are_none_of_ours(folder):
    (folder / "ev" / "notes.txt").write_text("hello\n")
    (folder / "ev" / "notes.jsonl").write_text("hello\n")

    assert seen(folder) == []


def test_a_cursor_that_was_saved_is_loaded(tmp_path):
    """A link stays one, and nothing is left beside the file."""
    (tmp_path / "there").mkdir()
    (tmp_path / "cursor").symlink_to(tmp_path / "there" / "kept")
    saved = watch.CursorFile(str(tmp_path / "cursor"))
    before = saved.load()

    saved.save({f"wk/{BO}": 17, f"ev/{BO}": 2})

    assert before is None
    assert watch.CursorFile(str(tmp_path / "cursor")).load() == {f"ev/{BO}": 2, f"wk/{BO}": 17}
    assert (tmp_path / "cursor").is_symlink()
    assert (tmp_path / "there" / "kept").read_text() == f'{{"ev/{BO}":2,"wk/{BO}":17}}\n'
    assert len(list((tmp_path / "there").iterdir())) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"wk/a.b": "1"}', "\xff"])
def test_a_file_that_holds_no_cursor_is_refused(tmp_path, content):
    """It may be somebody's file: it is not written over, and not taken for the start."""
    (tmp_path / "cursor").write_bytes(content.encode("latin-1"))

    with pytest.raises(Refusal) as refused:
        watch.CursorFile(str(tmp_path / "cursor")).load()

    assert refused.value.code == "bad_data"
    assert (tmp_path / "cursor").read_bytes() == content.encode("latin-1")


def test_a_cursor_file_in_no_folder_is_refused(tmp_path):
    with pytest.raises(Refusal) as refused:
        watch.CursorFile(str(tmp_path / "nowhere" / "cursor")).load()

    assert refused.value.code == "no_file"
