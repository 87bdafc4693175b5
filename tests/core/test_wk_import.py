"""Import and export of work items: nothing is lost, nothing comes twice."""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coord.core import event, fold
from coord.core.event import Event
from coord.core.wk import beads, importing, markdown, plain, wanted
from coord.core.wk.importing import Account, Fault, Wanted
from coord.edge import schemas

SHARED_DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
REAL = SHARED_DATA / "beads-issues.jsonl"
needs_real_data = pytest.mark.skipif(not REAL.exists(), reason=f"data: no {REAL}")
NOW_MS = 1_800_000_000_000
ME = "human:ada"
Record = dict[str, Any]


# --- a store of one item -----------------------------------------------------------


def mint(drafts: Sequence[Mapping[str, Any]], after: Sequence[Event] = ()) -> list[Event]:
    """Append drafts as events, as a writer would."""
    events = list(after)
    for draft in drafts:
        newest = events[-1].event_id if events else ""
        raw = {
            "event_id": event.next_id(newest, NOW_MS - 1000, b"\x01" * 16),
            "type": draft["type"],
            "actor": {"agent_id": ME},
            "refs": draft["refs"],
            "body": json.loads(json.dumps(draft["body"])),
            "writer": "human-ada.aaaaaa",
            "seq": len(events) + 1,
        }
        events.append(event.from_raw(raw))
    return events


def item_of(events: Sequence[Event]) -> dict[str, Any]:
    """Fold one item's events; nothing an import writes may be a problem."""
    folded = fold.fold(events, NOW_MS)

    assert list(folded.problems) == []

    (state,) = folded.states.values()
    return state


def ready(read: Wanted | Fault) -> Wanted:
    assert isinstance(read, Wanted), read
    return read


def bring(read: Wanted | Fault, events: Sequence[Event] = ()) -> list[Event]:
    """Import one line on top of what is there."""
    current = item_of(events) if events else None
    return mint(importing.plan(ready(read), current, importing.last_imported(events)), events)


def edit(events: Sequence[Event], kind: str, body: Mapping[str, Any]) -> list[Event]:
    """A change made here, not by an import."""
    draft = {"type": f"work.{kind}", "refs": {"work_id": events[0].refs["work_id"]}, "body": body}
    return mint([draft], events)


def exported(events: Sequence[Event]) -> Record:
    return json.loads(json.dumps(beads.write(item_of(events), NOW_MS)))


def issue(**changes: Any) -> Record:
    record = {
        "id": "bd-1", "title": "Count to ten", "status": "open", "priority": 2,
        "issue_type": "task", "created_at": "2025-11-02T21:58:07.295058-08:00",
        "updated_at": "2025-11-03T20:56:22.700641-08:00",
    }  # fmt: skip
    return {name: value for name, value in {**record, **changes}.items() if value is not ...}


def same_json(one: object, other: object) -> bool:
    """Equal, and also in kind: 1, 1.0 and true are three things."""
    return wanted.digest(one) == wanted.digest(other)


# --- generated Beads records: mostly sane, with everything that was seen in the wild -----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
TIMES = st.sampled_from([
    "2025-11-02T21:58:07.295058-08:00", "2025-11-02T21:58:07.295059-08:00",
    "2025-11-03T05:58:07.295Z", "2025-11-03T05:58:07Z", "2026-01-12T02:16:51.123456789+05:30",
    "2026-01-12", "0001-01-01T00:00:00Z", "2025-12-24T16:25:31.251346-08:00", "yesterday", "",
])  # fmt: skip
NAMES = st.sampled_from(["stevey", "beads/crew/emma", "x" * 300, "", "über ümlaut"])
TARGETS = st.sampled_from(["bd-1", "bd-2", "bd-3.1", "gone", "external:gastown:gt-1", "a b"])
TYPES = st.sampled_from([
    "blocks", "blocked-by", "parent-child", "parent_child", "discovered-from", "related",
    "relates-to", "duplicates", "tracks", "replies-to", "needs", "Bad Type!",
])  # fmt: skip
STATUSES = st.sampled_from([
    "open", "open", "closed", "closed", "tombstone", "tombstone", "hooked", "in_progress",
    "deferred", "",
])  # fmt: skip
WORDS = st.sampled_from(["task", "bug", "merge-request", "Strange Type", ""])
TEXTS = st.sampled_from(["", "one line", "1. a\n2. b", "- a\n\n- b", "x\ny", " "]) | st.text(
    max_size=8
)
PRIORITIES = st.sampled_from([0, 1, 2, 4, 7, "1", "P0", "high"])
LABELS = st.lists(
    st.sampled_from(["api", "backend", "gh:788", "bad\nlabel", "", "x" * 101]) | JSON, max_size=4
)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    """Objects with any of these fields, now and then with a value that fits nowhere."""
    loose = {name: inner | inner | inner | JSON for name, inner in fields.items()}
    strange = {"notes": TEXTS, "import": JSON, "extra": JSON, "closed_at": TIMES}
    return st.fixed_dictionaries({}, optional={**strange, **loose})


def often(told: Record, usual: Record) -> Record:
    return {**usual, **told}


DEPENDENCIES = objects(
    issue_id=st.just("bd-1"), depends_on_id=TARGETS, type=TYPES, created_at=TIMES, created_by=NAMES
).map(lambda told: often(told, {"issue_id": "bd-1", "depends_on_id": "bd-2"}))
COMMENTS = objects(
    id=st.integers(1, 3) | st.just("1") | st.just("0b1c-77aa"), issue_id=st.just("bd-1"),
    author=NAMES, text=TEXTS, created_at=TIMES,
).map(lambda told: often(told, {"issue_id": "bd-1", "text": "seen"}))  # fmt: skip
FIELDS = objects(
    description=TEXTS, status=STATUSES, priority=PRIORITIES, issue_type=WORDS, assignee=NAMES, owner=NAMES, created_at=TIMES, created_by=NAMES,
    updated_at=TIMES, closed_at=TIMES, close_reason=TEXTS, deleted_at=TIMES, deleted_by=NAMES,
    delete_reason=TEXTS, original_type=WORDS, labels=LABELS, external_ref=NAMES, due_at=TIMES,
    defer_until=TIMES, acceptance_criteria=TEXTS,
    dependencies=st.lists(DEPENDENCIES | JSON, max_size=3),
    comments=st.lists(COMMENTS | JSON, max_size=3),
)  # fmt: skip
TITLES = st.sampled_from(["Count to ten", "a\nb\x00", "x" * 1001]) | st.text(min_size=1, max_size=5)


def completed(told: Record, title: str) -> Record:
    usual = issue(title=title)
    return {**usual, **told} if len(told) % 3 else {"id": "bd-1", "title": title, **told}


RECORDS = st.builds(completed, FIELDS, TITLES.filter(str.strip))
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


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


def written_again(read: Wanted) -> Record:
    return beads.write(importing.after(None, importing.plan(read, None, None)), NOW_MS)


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


REOPENED = issue(status="open", updated_at="2025-11-06T00:00:00Z")
CLOSED = issue(status="closed", closed_at="2025-11-05T00:00:00Z", close_reason="merged")


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


def claim(events: Sequence[Event], expires_at_ms: int) -> list[Event]:
    refs = {"work_id": "bd-1", "resource": "work:bd-1", "lease_id": "lease-aaaaaaaa"}
    body = {
        "fence": 1, "ttl_ms": 1000, "expires_at_ms": expires_at_ms, "confirmed": "host",
    }  # fmt: skip
    return mint([{"type": "work.claimed", "refs": refs, "body": body}], events)


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


# --- the surprises of files in the wild ------------------------------------------------


def link(kind: str, target: str, **changes: Any) -> Record:
    entry = {
        "issue_id": "bd-1", "depends_on_id": target, "type": kind,
        "created_at": "2025-11-02T22:23:49.475356-08:00", "created_by": "stevey",
    }  # fmt: skip
    return {name: value for name, value in {**entry, **changes}.items() if value is not ...}


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


def moved_out(node: Record) -> Record:
    """Stand in for the journal: long texts become blobs."""
    return {name: blob(v) if isinstance(v, str) and len(v) > 999 else v for name, v in node.items()}


def blob(text: str) -> Record:
    return {"sha256": sha256(text.encode()).hexdigest(), "body_bytes": len(text.encode())}


# --- plain JSON Lines ----------------------------------------------------------------------


def there_and_back(record: Record) -> Record:
    return json.loads(json.dumps(record))


@PROPERTY
@given(RECORDS)
def test_an_exported_line_brings_the_same_item_elsewhere(record: Record):
    """Also all that another format needs to be exact."""
    events = bring(beads.read(record))
    line = there_and_back(plain.write(item_of(events), NOW_MS))

    elsewhere = bring(plain.read(line))

    assert same_json(plain.write(item_of(elsewhere), NOW_MS), line)
    assert same_json(exported(elsewhere), record)


@PROPERTY
@given(RECORDS)
def test_an_exported_line_adds_nothing_where_it_came_from(record: Record):
    events = bring(beads.read(record))
    line = there_and_back(plain.write(item_of(events), NOW_MS))

    assert bring(plain.read(line), events) == events


PLAIN_COMMENTS = objects(
    text=TEXTS, by=NAMES, at=TIMES, at_ms=st.integers(-1, 9), id=NAMES, comment_id=NAMES
)
PLAIN = objects(
    id=TARGETS, work_id=TARGETS, description=TEXTS, type=WORDS, priority=st.integers(-1, 5),
    labels=LABELS, acceptance=st.lists(TEXTS | JSON, max_size=2), assignee=NAMES, due=TIMES,
    due_ms=st.integers(-1, 9), defer_until=TIMES, external_ref=NAMES, status=STATUSES,
    resolution=st.sampled_from(["done", "wontdo", "?"]), needs=st.lists(TARGETS | JSON, max_size=2),
    parent=TARGETS, links=st.dictionaries(TYPES, st.dictionaries(TARGETS, JSON, max_size=2)),
    deleted=JSON, comments=st.lists(PLAIN_COMMENTS | TEXTS | JSON, max_size=3),
    created_at=TIMES, created_by=NAMES, updated_at_ms=st.integers(0, 9), closed_by=NAMES,
)  # fmt: skip


@PROPERTY
@given(PLAIN, TITLES)
def test_any_plain_line_is_an_item_or_a_fault_and_comes_back_the_same(told: Record, title: str):
    line = {"title": title, **told}
    account = Account("jsonl", plain.NESTED)
    ((read,),) = importing.collect([(1, line)], plain.read, account) or ((None,),)
    if read is None:
        assert account.bad[0]["field"] in ("id", "work_id", "title")
        return
    drafts = importing.plan(read, None, None)
    events = mint(drafts)
    shown = there_and_back(plain.write(item_of(events), NOW_MS))

    assert account.balances, account.as_json()
    for draft in drafts:
        schemas.check_draft(draft["type"], draft["refs"], draft["body"])
    assert bring(read, events) == events
    assert same_json(plain.write(item_of(bring(plain.read(shown))), NOW_MS), shown)


def test_lines_without_ids_are_found_again_by_their_titles():
    lines = [
        {"title": "Lay the table", "needs": ["Cook the soup", "wk-other"]},
        {"title": "Cook the soup", "parent": "dinner"},
        {"title": "Cook the soup"},
        {"title": "Dinner", "id": "dinner", "relates": "Lay the table"},
    ]

    first, second = (plain.Reader(lines) for _ in range(2))
    table, soup, other, dinner = (ready(first(line)) for line in lines)

    assert [ready(second(line)) for line in lines] == [table, soup, other, dinner]
    assert len({table.work_id, soup.work_id, other.work_id}) == 3
    assert list(table.links) == [("needs", soup.work_id), ("needs", "wk-other")]
    assert list(soup.links) == [("parent", "dinner")]
    assert list(dinner.links) == [("relates", table.work_id)]


def test_a_plain_line_may_say_all_there_is_to_say():
    line = {
        "title": "Count", "type": "bug", "priority": "P1", "labels": ["b", "a"],
        "acceptance": ["a test counts"], "assignee": "bo", "due": "2026-03-01",
        "status": "wontdo", "mood": "fine",
        "comments": ["seen", {"text": "me too", "by": "bo", "at": "2026-01-01"}],
    }  # fmt: skip

    state = item_of(bring(plain.read(line)))

    assert (state["type"], state["priority"], state["labels"]) == ("bug", 1, ["a", "b"])
    assert (state["status"], state["resolution"]) == ("closed", "wontdo")
    assert state["due_ms"] == 1_772_323_200_000
    assert [said["text"] for said in state["comments"]] == ["seen", "me too"]
    assert state["comments"][1]["by"] == "bo"
    assert state["extra"] == {"mood": "fine"}


# --- Markdown --------------------------------------------------------------------------


def test_a_backlog_is_grouped_and_nothing_in_it_is_markup():
    hostile = issue(
        title="<b>x</b>\n# *not*\x1b[2J\u202e", description="```\n# no\n\x07", labels=["a"]
    )
    done = {**CLOSED, "id": "bd-2"}
    gone = issue(id="bd-3", status="tombstone", deleted_by="emma", delete_reason="a test")
    items = [item_of(bring(beads.read(record))) for record in (hostile, done, gone)]

    lines = list(markdown.write(items, NOW_MS))

    assert [line for line in lines if line.startswith("## ")] == [
        "## Open (1)", "## Closed (1)", "## Deleted (1)",
    ]  # fmt: skip
    title = next(line for line in lines if line.startswith("- [ ]"))
    assert title == (r"- [ ] **bd-1** \<b\>x\</b\>\\n\# \*not\*\\u001b\[2J\\u202e (P2, task, a)")
    assert "      # no" in lines
    assert all(line.isprintable() for line in lines)


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
