"""Import and export of work items: nothing is lost, nothing comes twice."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import event
from coord.core.wk import beads, importing, wanted
from coord.core.wk.importing import Account, Fault
from coord.edge import schemas
from tests.foreign import (
    CLOSED,
    ME,
    NOW_MS,
    PROPERTY,
    RECORDS,
    REOPENED,
    Record,
    bring,
    claim,
    edit,
    exported,
    issue,
    item_of,
    link,
    mint,
    moved_out,
    ready,
    same_json,
    written_again,
)

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
REAL = SHARED_DATA / "beads-issues.jsonl"
needs_real_data = pytest.mark.skipif(not REAL.exists(), reason=f"data: no {REAL}")


@PROPERTY
@given(RECORDS)
def test_every_field_comes_back_as_it_was(record: Record):
    events = bring(beads.read(record))

    assert same_json(exported(events), record)


@PROPERTY
@given(RECORDS)
def test_a_second_import_adds_nothing_even_without_its_mark(record: Record):
    """Neither by the digest of the line nor by comparing field by field."""
    events = bring(beads.read(record))
    state = {name: value for name, value in item_of(events).items() if name != "imported"}
    read = ready(beads.read(record))

    assert bring(read, events) == events
    assert importing.plan(read, state, importing.last_imported(events)) == []


@PROPERTY
@given(RECORDS, RECORDS)
def test_a_later_version_brings_the_item_to_it(first: Record, second: Record):
    events = bring(beads.read(second), bring(beads.read(first)))

    assert same_json(exported(events), second)


@PROPERTY
@given(st.lists(RECORDS, min_size=1, max_size=4))
def test_lines_of_one_id_are_versions_of_each_other(records: list[Record]):
    versions = [ready(beads.read(record)) for record in records]

    events = mint(importing.plan_versions(versions, None, None))

    assert same_json(exported(events), records[-1])
    base = importing.last_imported(events)
    assert importing.plan_versions(versions, item_of(events), base) == []


@PROPERTY
@given(RECORDS)
def test_what_an_import_appends_fits_the_schemas(record: Record):
    for draft in importing.plan(ready(beads.read(record)), None, None):
        schemas.check_draft(draft["type"], draft["refs"], draft["body"])


@PROPERTY
@given(RECORDS)
def test_the_account_balances_to_the_last_field(record: Record):
    account = Account("beads", beads.NESTED)

    importing.collect([(1, record)], beads.read, account, written_again)

    assert account.balances, account.as_json()


# --- later versions, and edits made here -----------------------------------------------


def test_an_edit_made_here_survives_a_later_version_that_changes_something_else():
    events = bring(beads.read(issue(labels=["api"], notes="n")))
    events = edit(events, "updated", {"set": {"title": "Count to eleven"}})
    events = edit(events, "updated", {"add": {"labels": ["mine"]}, "remove": {"labels": ["api"]}})

    later = issue(labels=["api", "theirs"], notes="m", updated_at="2025-11-04T00:00:00Z")
    state = item_of(bring(beads.read(later), events))

    assert state["title"] == "Count to eleven"
    assert state["labels"] == ["mine", "theirs"]
    assert state["extra"]["notes"] == "m"


def test_an_edit_made_here_is_not_undone_by_the_same_file():
    events = bring(beads.read(issue()))
    events = edit(events, "updated", {"set": {"title": "Count to eleven", "priority": 0}})
    events = edit(events, "closed", {"as": "done"})

    assert bring(beads.read(issue()), events) == events


def test_what_was_added_to_extra_here_survives_later_versions():
    events = bring(beads.read(issue(notes="one", owner="o")))
    mine = {**item_of(events)["extra"], "mine": True, "owner": "p"}
    events = edit(events, "updated", {"set": {"extra": mine}})

    events = bring(beads.read(issue(notes="two", owner="o")), events)
    events = bring(beads.read(issue(owner="o")), events)

    extra = item_of(events)["extra"]
    assert (extra["mine"], extra["owner"]) == (True, "p")
    assert "notes" not in extra


def test_a_later_version_adds_only_the_difference():
    first = issue(labels=["a"], description="d")
    second = issue(labels=["a", "b"], description="d", updated_at="2025-11-05T00:00:00Z")
    events = bring(beads.read(first))

    (update,) = bring(beads.read(second), events)[len(events) :]

    assert update.type == "work.updated"
    assert set(update.body["set"]) == {"extra"}
    assert update.body["add"] == {"labels": ["b"]}
    assert update.body["updated_at_ms"] == wanted.instant_of("2025-11-05T00:00:00Z")
    assert update.body["imported"]["from"] == "beads"


def test_an_update_names_the_events_whose_values_it_saw():
    events = bring(beads.read(issue()))
    events = edit(events, "updated", {"set": {"priority": 1}})

    update = bring(beads.read(issue(priority=0, title="New")), events)[-1]

    assert update.body["base"]["priority"] == events[1].event_id
    assert update.body["base"]["title"] == events[0].event_id
    assert "conflicts" not in item_of(bring(beads.read(issue(priority=0, title="New")), events))


@pytest.mark.parametrize(
    ("here", "later", "status"),
    [
        ([], REOPENED, "open"),
        ([("reopened", {})], {**CLOSED, "close_reason": "moved"}, "open"),
        ([("reopened", {}), ("closed", {"as": "wontdo"})], REOPENED, "closed"),
        ([("deleted", {})], REOPENED, "deleted"),
        ([("reopened", {})], {**REOPENED, "status": "tombstone"}, "tombstone"),
    ],
)
def test_a_status_set_here_gives_way_only_when_the_files_own_changes(here, later, status):
    events = bring(beads.read(CLOSED))
    for kind, body in here:
        events = edit(events, kind, body)

    state = item_of(bring(beads.read(later), events))

    assert ("deleted" in state) == (status in ("deleted", "tombstone"))
    assert state["status"] == ("open" if status == "open" else "closed")


def test_what_somebody_holds_is_not_closed_and_the_next_import_tries_again():
    read = ready(beads.read(CLOSED))
    events = claim(bring(beads.read(issue())), NOW_MS + 1000)
    state, base = item_of(events), importing.last_imported(events)
    assert importing.is_held_back(read, state, base, NOW_MS, "agent:bo")

    events = mint(importing.plan(read, state, base, NOW_MS, "agent:bo"), events)
    assert item_of(events)["status"] == "claimed"
    events = edit(events, "released", {})[:-1]
    state, base = item_of(events), importing.last_imported(events)
    later = importing.plan(read, state, base, NOW_MS + 1000, "agent:bo")

    assert [draft["type"] for draft in later] == ["work.closed"]


def test_a_word_of_status_comes_back_until_something_changes_the_status_here():
    events = bring(beads.read(issue(status="hooked")))
    assert exported(events)["status"] == "hooked"

    closed = edit(events, "closed", {"as": "done"})
    reopened = edit(closed, "reopened", {})

    assert exported(closed)["status"] == "closed"
    assert exported(reopened)["status"] == "open"
    assert exported(claim(events, NOW_MS + 1))["status"] == "in_progress"
    assert exported(claim(events, NOW_MS))["status"] == "open"


def test_an_instant_comes_back_to_the_last_digit_until_it_changes_here():
    events = bring(beads.read(issue()))
    assert exported(events)["updated_at"] == "2025-11-03T20:56:22.700641-08:00"

    events = edit(events, "updated", {"set": {"priority": 0}})

    assert exported(events)["updated_at"] == "2027-01-15T07:59:59.000Z"
    assert exported(events)["created_at"] == "2025-11-02T21:58:07.295058-08:00"


def test_an_item_that_was_here_first_keeps_its_creation_and_tells_the_files():
    here = {"type": "work.created", "refs": {"work_id": "bd-1"}, "body": {"title": "Mine"}}
    events = mint([here])

    events = bring(beads.read(issue(created_by="emma")), events)

    assert item_of(events)["created_by"] == ME
    assert item_of(events)["title"] == "Count to ten"
    told = {name: exported(events)[name] for name in ("created_at", "created_by")}
    assert told == {"created_at": issue()["created_at"], "created_by": "emma"}


def said(text: str, comment_id: int = 1) -> Record:
    entry = {"id": comment_id, "issue_id": "bd-1", "author": "emma", "text": text}
    return {**entry, "created_at": "2026-01-12T02:16:51Z"}


def test_a_comment_that_was_edited_in_the_file_comes_as_another():
    """What was said here stays said; an export has the file's newest text, in its place."""
    events = bring(beads.read(issue(comments=[said("one"), said("two", 2)])))
    later = issue(comments=[said("One"), said("two", 2)])

    events = bring(beads.read(later), events)

    assert [here["text"] for here in item_of(events)["comments"]] == ["one", "two", "One"]
    assert same_json(exported(events), later)
    assert bring(beads.read(later), events) == events


def test_a_comment_that_left_the_file_is_not_exported_and_one_made_here_is():
    events = bring(beads.read(issue(comments=[said("one")])))
    events = edit(events, "commented", {"text": "mine"})

    events = bring(beads.read(issue()), events)

    assert [entry["text"] for entry in exported(events)["comments"]] == ["mine"]


def test_a_link_that_changed_in_the_file_is_taken_away_and_added():
    events = bring(beads.read(issue(dependencies=[link("blocks", "bd-2")])))
    later = issue(dependencies=[link("blocks", "bd-2", created_by="emma")])

    added = bring(beads.read(later), events)[len(events) :]

    assert [one.type for one in added] == ["work.unlinked", "work.linked"]
    assert same_json(exported([*events, *added]), later)


def test_a_closed_item_that_becomes_a_tombstone_keeps_how_it_was_closed():
    events = bring(beads.read(CLOSED))
    later = {**CLOSED, "status": "tombstone", "deleted_at": "2025-12-25T00:00:00Z"}

    added = bring(beads.read(later), events)[len(events) :]

    assert [one.type for one in added] == ["work.updated", "work.deleted"]
    assert item_of([*events, *added])["close_why"] == "merged"
    assert same_json(exported([*events, *added]), later)


# --- the surprises of files in the wild ------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("blocks", "needs"), ("blocked-by", "needs"), ("depends_on", "needs"),
        ("parent-child", "parent"), ("parent_child", "parent"),
        ("discovered-from", "found_from"), ("related", "relates"), ("relates-to", "relates"),
        ("duplicates", "duplicates"), ("tracks", "tracks"), ("replies-to", "replies-to"),
        ("No Word", "relates"), (None, "relates"),
    ],
)  # fmt: skip
def test_a_dependency_becomes_the_link_that_means_it_and_comes_back_as_it_was(kind, ours):
    record = issue(dependencies=[link(kind, "bd-2")])

    events = bring(beads.read(record))

    assert list(item_of(events)["links"]) == [ours]
    assert list(item_of(events)["links"][ours]) == ["bd-2"]
    assert same_json(exported(events), record)


def test_dependencies_on_one_item_of_different_kinds_are_all_links():
    kinds = ("blocks", "parent-child", "tracks", "related")
    events = bring(beads.read(issue(dependencies=[link(kind, "bd-2") for kind in kinds])))

    assert sorted(item_of(events)["links"]) == ["needs", "parent", "relates", "tracks"]


def test_a_dependency_out_of_the_project_is_no_item_of_this_one():
    record = issue(dependencies=[link("tracks", "external:gastown:gt-x0i2m")])

    events = bring(beads.read(record))

    assert list(item_of(events)["links"]["tracks"]) == ["external.gastown.gt-x0i2m"]
    assert same_json(exported(events), record)


def test_a_link_taken_away_here_leaves_the_others_in_their_order():
    told = [link("tracks", "bd-9"), link("blocks", "bd-8"), link("blocks", "bd-7")]
    events = bring(beads.read(issue(dependencies=told)))

    events = edit(events, "unlinked", {"kind": "needs", "target": "bd-8"})
    events = edit(events, "linked", {"kind": "needs", "target": "bd-6"})

    targets = [entry["depends_on_id"] for entry in exported(events)["dependencies"]]
    assert targets == ["bd-9", "bd-7", "bd-6"]


@pytest.mark.parametrize("comment_id", [1, "1", "0b1c-77aa", "007", 1.5, None, ...])
def test_a_comments_id_comes_back_in_its_kind(comment_id):
    said = {"id": comment_id, "issue_id": "bd-1", "author": "emma", "text": "seen"}
    said["created_at"] = "2026-01-12T02:16:51Z"
    record = issue(comments=[{k: v for k, v in said.items() if v is not ...}])

    events = bring(beads.read(record))

    assert item_of(events)["comments"][0]["by"] == "emma"
    assert same_json(exported(events), record)


@pytest.mark.parametrize(
    ("told", "priority"), [(0, 0), ("3", 3), ("P1", 1), ("high", 2), (9, 2), (True, 2), (None, 2)]
)
def test_a_priority_that_does_not_fit_leaves_the_default_and_comes_back(told, priority):
    events = bring(beads.read(issue(priority=told)))

    assert item_of(events)["priority"] == priority
    assert same_json(exported(events), issue(priority=told))
    events = edit(events, "updated", {"set": {"priority": 4}})
    assert exported(events)["priority"] == 4


@pytest.mark.parametrize(
    ("record", "field", "reason"),
    [
        (issue(title=...), "title", "is missing"),
        (issue(title="  "), "title", "is not a title"),
        (issue(id=...), "id", "is missing"),
        (issue(id="../x"), "id", "is not an item's id"),
        (issue(id=7), "id", "is not an item's id"),
    ],
)
def test_a_line_that_cannot_be_an_item_says_which_field_decides(record, field, reason):
    assert beads.read(record) == Fault(field, reason)


def test_a_file_with_broken_lines_is_read_around_them():
    """Conflict markers, half lines, lists: named by number, all else is read."""
    lines = [
        (1, issue()),
        (2, Fault("", "is not JSON: unexpected character")),
        (3, ["no", "object"]),
        (4, issue(title=...)),
        (5, issue(id="bd-2", notes="n")),
        (6, issue(title="Newer")),
    ]
    account = Account("beads", beads.NESTED)

    versions = importing.collect(lines, beads.read, account, written_again)

    assert [[read.fields["title"] for read in item] for item in versions] == [
        ["Count to ten", "Newer"], ["Count to ten"],
    ]  # fmt: skip
    told = account.as_json()
    assert [bad["line"] for bad in told["bad"]] == [2, 3, 4]
    assert told["repeated"] == [{"work_id": "bd-1", "lines": [1, 6]}]
    assert (told["items"], told["balances"]) == (2, True)
    assert told["fields"]["notes"] == {"present": 1, "kept": {}, "extra": 1, "dropped": 0}


def test_a_field_that_would_not_come_back_is_called_dropped():
    account = Account("beads", beads.NESTED)

    importing.collect([(1, issue(notes="n"))], beads.read, account, lambda _read: issue())

    assert account.as_json()["fields"]["notes"]["dropped"] == 1
    assert not account.balances


def test_a_long_line_comes_through():
    long = "ü\n" * 86_000
    record = issue(description=long, notes=long, close_reason=long, status="closed")

    assert same_json(exported(bring(beads.read(record))), record)


def test_a_text_that_was_moved_out_to_a_blob_is_still_the_same_text():
    record = issue(description="d" * 70_000, comments=[{"text": "t" * 70_000}])
    events = bring(beads.read(record))
    moved = json.loads(json.dumps([one.raw for one in events]), object_hook=moved_out)
    events = [event.from_raw(raw) for raw in moved]

    later = bring(beads.read({**record, "title": "Newer"}), events)[len(events) :]

    assert [one.body.get("set") for one in later] == [{"title": "Newer"}]


# --- the real file -------------------------------------------------------------------------


@needs_real_data
def test_the_real_backlog_comes_back_to_the_last_byte():
    texts = REAL.read_text().splitlines()
    lines = [(number, json.loads(text)) for number, text in enumerate(texts, 1)]
    account = Account("beads", beads.NESTED)

    versions = importing.collect(lines, beads.read, account, written_again)

    told = account.as_json()
    assert told["balances"]
    counts = [told[name] for name in ("items", "dependencies", "comments", "deletions")]
    assert counts == [5722, 1024, 25, 3319]
    assert told["bad"] == told["repeated"] == []
    for text, (read,) in zip(texts, versions, strict=True):
        events = bring(read)
        again = beads.write(item_of(events), NOW_MS)
        assert json.dumps(again, ensure_ascii=False, separators=(",", ":")) == text
        assert bring(read, events) == events
