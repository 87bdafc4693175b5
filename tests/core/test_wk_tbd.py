"""tbd's issues come over whole, and what blocks what points the right way."""

import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.cli.wk import sources
from coord.core.wk import importing, tbd
from coord.core.wk.importing import Account, Fault
from coord.edge import frontmatter, schemas
from coord.errors import Refusal
from tests.foreign import PROPERTY, TIMES, bring, edit, item_of, ready

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "tbd"
needs_real_data = pytest.mark.skipif(not REAL.exists(), reason=f"data: no {REAL}")
WHEN = "2026-05-17T06:23:49.971Z"


def issue(name="is-aaa", **changes):
    base = {
        "type": "is", "id": name, "title": "Count to ten", "kind": "bug", "status": "open",
        "priority": 1, "version": 3, "labels": [], "dependencies": [], "created_at": WHEN,
        "updated_at": WHEN,
    }  # fmt: skip
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def blocks(*targets):
    return [{"type": "blocks", "target": target} for target in targets]


def read(*records, short=None):
    """What each record of one folder wants."""
    reader = tbd.Reader(records, short or {})
    return [reader(record) for record in records]


def write_folder(folder, records, ids="aa1: aaa\nbb2: bbb\n"):
    (folder / "issues").mkdir()
    (folder / "ids.yml").write_text(ids)
    for name, text in records.items():
        (folder / "issues" / f"{name}.md").write_text(text)
    return folder


def account_of(folder):
    source = sources.opened(str(folder), "tbd")
    account = Account(source.form, source.nested, source.unit)
    items = importing.collect(source.rows, source.read, account, source.again)
    return account, {versions[-1].work_id: versions[-1] for versions in items}


# --- what becomes what


def test_what_blocks_another_is_needed_by_it():
    """The blocker's file says it; here it stands on what has to wait."""
    one, other = read(issue("is-aaa", dependencies=blocks("is-bbb")), issue("is-bbb"))

    assert list(one.links) == []
    assert list(other.links) == [("needs", "is-aaa")]


def test_what_blocks_an_issue_that_is_not_there_is_kept_until_it_comes():
    alone = issue("is-aaa", dependencies=blocks("is-bbb"))
    (before,) = read(alone)
    after, other = read(alone, issue("is-bbb"))

    assert before.fields["extra"]["dependencies"] == blocks("is-bbb")
    assert "dependencies" not in after.fields["extra"]
    assert ("needs", "is-aaa") in other.links
    events = bring(after, bring(before))
    assert "dependencies" not in item_of(events)["extra"]


def test_an_item_has_the_id_that_people_use():
    one, other = read(issue("is-aaa", parent_id="is-bbb"), issue("is-bbb"), short={"0622": "aaa"})

    assert (one.work_id, one.fields["external_ref"]) == ("0622", "is-aaa")
    assert (other.work_id, other.fields["external_ref"]) == ("is-bbb", "is-bbb")
    assert list(one.links) == [("parent", "is-bbb")]


def test_notes_are_a_comment_that_a_later_version_replaces():
    (first,) = read(issue(body="Why\n\n## Notes\n\nbecause\n"))
    later = issue(body="Why\n\n## Notes\n\nof that\n", updated_at="2026-06-01T00:00:00.000Z")
    events = bring(first)

    events = bring(read(later)[0], events)

    state = item_of(events)
    assert state["description"] == "Why"
    assert [said["text"] for said in state["comments"]] == ["because", "of that"]
    assert state["extra"]["import"]["withdrawn"] == ["notes"]


@pytest.mark.parametrize(
    ("status", "resolution", "told"),
    [
        ("closed", ..., ("closed", "done")),
        ("closed", "canceled", ("closed", "wontdo")),
        ("closed", None, ("closed", "done")),
        ("in_progress", ..., ("open", None)),
        ("open", "canceled", ("open", None)),
    ],
)
def test_how_an_issue_ended(status, resolution, told):
    (wanted,) = read(issue(status=status, resolution=resolution))
    state = item_of(bring(wanted))

    assert (state["status"], state.get("resolution")) == told
    if status == "in_progress":
        assert state["extra"]["status"] == status


def test_an_edit_made_here_survives_a_later_version():
    events = edit(bring(read(issue())[0]), "updated", {"set": {"title": "Count to eleven"}})
    later = issue(priority=0, updated_at="2026-06-01T00:00:00.000Z")

    state = item_of(bring(read(later)[0], events))

    assert (state["title"], state["priority"]) == ("Count to eleven", 0)


def test_what_can_be_no_item_is_a_fault():
    faults = read(issue(title=" "), issue(title=...), issue(name="a b"), issue(id=...))

    assert [(f.field, f.reason) for f in faults if isinstance(f, Fault)] == [
        ("title", "is not a title"), ("title", "is missing"),
        ("id", "is not an issue's id"), ("id", "is missing"),
    ]  # fmt: skip


# --- any record


VALUES = st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=6)
TARGETS = st.sampled_from(["is-aaa", "is-bbb", "is-ccc", "a b", ""])
ENTRIES = st.fixed_dictionaries(
    {"type": st.sampled_from(["blocks", "relates"]), "target": TARGETS},
    optional={"since": VALUES},
)
RECORDS = st.fixed_dictionaries(
    {"id": st.sampled_from(["is-aaa", "is-bbb"]), "title": st.sampled_from(["T", "x" * 1001])},
    optional={
        "type": st.sampled_from(["is", "no"]), "kind": st.sampled_from(["bug", "A b", None]),
        "status": st.sampled_from(["open", "closed", "deferred", None]), "priority": VALUES,
        "labels": st.lists(st.sampled_from(["b", "a", ""]), max_size=3) | VALUES,
        "dependencies": st.lists(ENTRIES | VALUES, max_size=3) | VALUES,
        "parent_id": TARGETS | VALUES, "duplicate_of": TARGETS | VALUES, "created_at": TIMES,
        "updated_at": TIMES, "closed_at": TIMES, "close_reason": VALUES, "created_by": VALUES,
        "resolution": st.sampled_from(["done", "canceled", "?", None]), "due_date": TIMES,
        "deferred_until": TIMES, "assignee": VALUES, "extensions": VALUES, "import": VALUES,
        "body": st.sampled_from([
            "a\n", "a", "\n", "## Notes\n\nn\n", "a\n\n## Notes\n\nn\n", "a\n## notes\nn", 7,
        ]),
    },
)  # fmt: skip


@PROPERTY
@given(st.lists(RECORDS, min_size=1, max_size=3, unique_by=lambda record: record["id"]))
def test_every_field_of_any_record_is_kept_and_comes_once(records):
    reader = tbd.Reader(records, {"aa1": "aaa"})
    blocked = sources._blocked(reader, records)
    account = Account("tbd", tbd.NESTED)

    for record in records:
        wanted = ready(reader(record))
        events = bring(wanted)
        again = reader.again(item_of(events), blocked.get(wanted.work_id, ()))
        kept = {name: again[name] for name in record}
        assert kept == record
        assert bring(wanted, events) == events
        account.take(record, wanted)
        for draft in importing.plan(wanted, None, None):
            schemas.check_draft(draft["type"], draft["refs"], draft["body"])
    assert account.balances, account.as_json()


# --- files


def test_front_matter_is_read_as_it_was_meant():
    record = frontmatter.record(
        '---\ntitle: no\nid: "0622"\nwhen: 2026-05-17T06:23:49.971Z\nn: 012\nf: 1.5\nt: 1:30\n'
        "z: ~\nb: true\nbig: 99999999999999999999\nbody: below\n---\n\ntext\n---\nmore\n"
    )

    assert record == {
        "title": "no", "id": "0622", "when": "2026-05-17T06:23:49.971Z", "n": 12, "f": 1.5,
        "t": "1:30", "z": None, "b": True,
        "big": "99999999999999999999", "body_": "below",
        "body": "\ntext\n---\nmore\n",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("title: x\n", "does not begin with front matter"),
        ("---\n- a\n---\n", "not a map"),
        ("---\na: 1\na: 2\n---\n", "has 'a' twice"),
        ("---\na: &x [1]\nb: *x\n---\n", "alias"),
        ("---\n? [a]\n: 1\n---\n", "a key that is no word"),
        ("---\n<<<<<<< HEAD\na: 1\n=======\n---\n", "is not YAML"),
        ("---\na: \x07\n---\n", "is not YAML"),
        ('---\na: "\\ud800"\n---\n', "invalid Unicode"),
        ("---\na: " + "[" * 5000 + "\n---\n", "is not YAML"),
        ("---\na: " + "[" * 90000 + "]" * 90000 + "\n---\n", "is not YAML"),
        ("---\n" + "- " * 90000 + "\n---\n", "is not YAML"),
        ("---\na: " + "[" * 250 + "]" * 250 + "\n---\n", "nested too deeply"),
    ],
)
def test_a_broken_file_is_named_with_its_reason(text, reason):
    with pytest.raises(frontmatter.Broken, match=reason):
        frontmatter.record(text)


def test_a_folder_is_read_and_its_broken_files_named(tmp_path):
    good = "---\ntype: is\nid: is-aaa\ntitle: T\nstatus: open\n---\n"
    folder = write_folder(tmp_path, {"is-aaa": good, "is-bad": "nothing"})

    account, items = account_of(folder)

    assert list(items) == ["aa1"]
    assert account.bad == [
        {"file": "is-bad.md", "field": "",
         "reason": "does not begin with front matter between lines of ---"}
    ]  # fmt: skip


def test_a_map_of_ids_with_a_key_twice_is_refused(tmp_path):
    folder = write_folder(tmp_path, {}, ids="aa1: aaa\naa1: bbb\n")

    with pytest.raises(Refusal, match="'aa1' twice"):
        frontmatter.short_ids(str(folder))


# --- the real ones


@pytest.fixture(scope="module")
def real():
    """The account and the items of the real folder."""
    return account_of(REAL)


@needs_real_data
def test_the_real_issues_come_over_with_every_field_accounted_for(real):
    account, items = real
    files = list((REAL / "issues").glob("*.md"))

    assert (len(items), account.bad, account.repeated) == (len(files), [], [])
    assert len(files) == 311
    assert account.balances
    assert all(row["dropped"] == 0 for row in account.as_json()["fields"].values())


@needs_real_data
def test_ten_real_dependencies_point_the_right_way(real):
    """Drawn from the files by hand, without our reader: X named on A needs A."""
    _, items = real
    by_ref = {wanted.fields["external_ref"]: wanted for wanted in items.values()}
    drawn = [
        (file.stem, target)
        for file in sorted((REAL / "issues").glob("*.md"))
        for target in re.findall(
            r"type: blocks\n\s+target: (is-\w+)", file.read_text().split("\n---\n")[0]
        )
        if (REAL / "issues" / f"{target}.md").exists()
    ]

    assert len(drawn) >= 10
    for blocker, blocked in random.Random(7).sample(drawn, 10):
        needs = [target for kind, target in by_ref[blocked].links if kind == "needs"]
        assert by_ref[blocker].work_id in needs
        assert ("needs", by_ref[blocked].work_id) not in by_ref[blocker].links


@needs_real_data
def test_real_items_have_the_short_ids_of_the_map(real):
    _, items = real
    lines = (REAL / "ids.yml").read_text().splitlines()
    told = dict(line.replace('"', "").split(": ") for line in lines)

    assert all(told[work_id] == w.fields["external_ref"][3:] for work_id, w in items.items())


@needs_real_data
def test_a_second_import_of_the_real_issues_adds_nothing_and_both_ids_work(run, store):
    first = run.ok("wk", "import", "--from", "tbd", REAL, as_="agent:ada")
    again = run.ok("wk", "import", REAL, as_="agent:ada")
    by_long = run.ok("wk", "show", "is-01ktycs7ef2md3thzbqze2z098").json
    by_prefixed = run.ok("wk", "show", "tbd-m72a").json

    assert (first.json["items"], first.json["balances"]) == (311, True)
    assert again.json["events"] == 0
    assert by_long == by_prefixed
    assert by_long["work_id"] == "m72a"
    assert run.ok("ev", "check").code == 0
