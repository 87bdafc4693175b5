"""Plain JSON Lines and Markdown: what people write by hand, and what they read."""

from hypothesis import given

from coord.core.wk import beads, importing, markdown, plain
from coord.core.wk.importing import Account, Wanted
from coord.edge import schemas
from tests.foreign import (
    CLOSED,
    NOW_MS,
    PLAIN,
    PROPERTY,
    RECORDS,
    TITLES,
    Record,
    bring,
    exported,
    issue,
    item_of,
    mint,
    ready,
    same_json,
    there_and_back,
)


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


@PROPERTY
@given(PLAIN, TITLES)
def test_any_plain_line_is_an_item_or_a_fault_and_comes_back_the_same(told: Record, title: str):
    line = {"title": title, **told}
    account = Account("jsonl", plain.NESTED)
    lines = [(1, line)]
    ((read,),) = importing.collect(lines, plain.read, account, exported_plain) or ((None,),)
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


def exported_plain(read: Wanted) -> Record:
    return plain.write(importing.after(None, importing.plan(read, None, None)), NOW_MS)


def test_an_export_names_items_by_id_even_where_a_title_looks_like_one():
    lines = [
        {"title": "soup", "work_id": "wk-a", "links": {"needs": {"table": {}}}},
        {"title": "table", "work_id": "wk-b", "needs": ["soup", "wk-c"]},
    ]
    read_next = plain.Reader(lines)

    soup, table = (ready(read_next(line)) for line in lines)

    assert list(soup.links) == [("needs", "table")]
    assert list(table.links) == [("needs", "wk-a"), ("needs", "wk-c")]


def test_a_plain_field_that_an_export_has_not_is_called_dropped():
    account = Account("jsonl", plain.NESTED)
    line = {"title": "A", "due": "2026-03-01", "mood": "fine"}

    importing.collect([(1, line)], plain.read, account, lambda read: {
        name: value for name, value in exported_plain(read).items() if name != "due_ms"
    })  # fmt: skip

    assert account.as_json()["fields"]["due"]["dropped"] == 1


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
    assert "        # no" in lines
    assert all(line.isprintable() for line in lines)
