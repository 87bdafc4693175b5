"""GitHub's issues come over whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.wk import github, importing
from coord.core.wk.importing import Account, Fault
from coord.edge import schemas
from tests.foreign import PROPERTY, bring, item_of, ready

ADA = {"id": "U_1", "is_bot": False, "login": "ada", "name": "Ada"}
COMMENT = {
    "id": "IC_1", "author": {"login": "bo"}, "authorAssociation": "NONE", "body": "Me too",
    "createdAt": "2026-01-03T00:00:00Z", "includesCreatedEdit": False, "isMinimized": False,
    "minimizedReason": "", "reactionGroups": [], "url": "https://github.com/o/r/issues/7#1",
    "viewerDidAuthor": False,
}  # fmt: skip


def issue(**changes):
    base = {
        "number": 7, "title": "It crashes", "body": "When I\r\npress it", "state": "OPEN",
        "labels": [{"id": "L1", "name": "bug", "description": "", "color": "f00"}],
        "assignees": [ADA], "author": ADA, "comments": [COMMENT],
        "createdAt": "2026-01-02T03:04:05Z", "updatedAt": "2026-01-03T00:00:00Z",
        "closedAt": None, "milestone": {"number": 1, "title": "v1", "dueOn": None},
        "url": "https://github.com/o/r/issues/7", "stateReason": "",
    }  # fmt: skip
    return {key: value for key, value in {**base, **changes}.items() if value is not ...}


def closed(**changes):
    ended = {"state": "CLOSED", "closedAt": "2026-01-04T00:00:00Z", "stateReason": "COMPLETED"}
    return issue(**{**ended, "updatedAt": "2026-01-04T00:00:00Z", **changes})


def test_an_issue_becomes_an_item():
    state = item_of(bring(github.read(issue())))

    assert {name: state[name] for name in ("work_id", "type", "labels", "assignee")} == {
        "work_id": "gh-7", "type": "bug", "labels": ["bug"], "assignee": "ada",
    }  # fmt: skip
    assert state["created_by"] == "ada"
    assert state["external_ref"] == "https://github.com/o/r/issues/7"
    (said,) = state["comments"]
    assert (said["by"], said["text"], said["comment_id"]) == ("bo", "Me too", "IC_1")
    assert state["extra"]["milestone"]["title"] == "v1"


@pytest.mark.parametrize(
    ("reason", "resolution"),
    [("COMPLETED", "done"), ("NOT_PLANNED", "wontdo"), ("DUPLICATE", "duplicate"), ("", "done")],
)
def test_how_an_issue_was_closed(reason, resolution):
    state = item_of(bring(github.read(closed(stateReason=reason))))

    assert (state["status"], state["resolution"]) == ("closed", resolution)


def test_a_later_version_adds_only_the_difference():
    events = bring(github.read(issue()))
    second = {**COMMENT, "id": "IC_2", "body": "Fixed", "createdAt": "2026-01-04T00:00:00Z"}
    later = closed(comments=[COMMENT, second])

    added = bring(github.read(later), events)[len(events) :]

    kinds = [event.type for event in added]
    assert kinds[-1] == "work.closed"
    assert kinds.count("work.commented") == 1
    assert set(kinds) <= {"work.updated", "work.commented", "work.closed"}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"number": ...}, ("number", "is missing")),
        ({"number": "7"}, ("number", "is not an issue's number")),
        ({"number": True}, ("number", "is not an issue's number")),
        ({"title": ""}, ("title", "is not a title")),
        ({"title": ...}, ("title", "is missing")),
    ],
)
def test_what_can_be_no_item_is_a_fault(changes, fault):
    found = github.read(issue(**changes))

    assert isinstance(found, Fault)
    assert (found.field, found.reason) == fault


VALUES = st.none() | st.booleans() | st.integers(-1, 9) | st.text(max_size=5)
PEOPLE = st.just(ADA) | st.just({"login": "bo"}) | st.just({"login": ""}) | VALUES
TIMES = st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.120Z", "soon", ""]) | VALUES
COMMENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["IC_1", "IC_2"]) | VALUES, "author": PEOPLE, "createdAt": TIMES,
        "body": st.sampled_from(["hello", "bye"]) | VALUES, "url": VALUES, "import": VALUES,
    },
)  # fmt: skip
LABELS = st.fixed_dictionaries({"name": st.sampled_from(["b", "a", ""])}, optional={"id": VALUES})
RECORDS = st.fixed_dictionaries(
    {"number": st.just(7), "title": st.sampled_from(["T", "x" * 1001])},
    optional={
        "body": VALUES, "state": st.sampled_from(["OPEN", "CLOSED", "open"]) | VALUES,
        "labels": st.lists(LABELS | VALUES, max_size=3) | VALUES, "author": PEOPLE,
        "assignees": st.lists(PEOPLE, max_size=2) | VALUES, "createdAt": TIMES,
        "comments": st.lists(COMMENTS | VALUES, max_size=3) | VALUES, "updatedAt": TIMES,
        "closedAt": TIMES, "milestone": VALUES, "url": VALUES, "import": VALUES,
        "stateReason": st.sampled_from(["COMPLETED", "NOT_PLANNED", "REOPENED"]) | VALUES,
    },
)  # fmt: skip


@PROPERTY
@given(RECORDS)
def test_every_field_of_any_record_is_kept_and_comes_once(record):
    wanted = ready(github.read(record))
    events = bring(wanted)
    account = Account("github", github.NESTED)
    account.take(record, wanted)

    again = json.loads(json.dumps(github.again(item_of(events))))

    assert {name: again[name] for name in record} == record
    assert bring(wanted, events) == events
    assert account.balances, account.as_json()
    for draft in importing.plan(wanted, None, None):
        schemas.check_draft(draft["type"], draft["refs"], draft["body"])


@pytest.mark.parametrize("form", ["array", "lines"])
def test_what_gh_prints_is_taken_as_it_comes(run, store, form):
    """Found out without --from too; a second time it adds nothing."""
    records = [issue(), closed(number=8, url="https://github.com/o/r/issues/8")]
    text = json.dumps(records) if form == "array" else "\n".join(map(json.dumps, records))
    (run.folder / "issues.json").write_text(text)

    first = run.ok("wk", "import", "--from", "github", "issues.json", as_="agent:ada").json
    second = run.ok("wk", "import", "issues.json", as_="agent:ada").json

    assert (first["items"], first["comments"], first["balances"]) == (2, 2, True)
    assert all(row["dropped"] == 0 for row in first["fields"].values())
    assert second["events"] == 0
    assert run.ok("wk", "show", "https://github.com/o/r/issues/8").json["work_id"] == "gh-8"


def test_the_same_number_of_another_repository_is_refused(run, store):
    other = issue(url="https://github.com/o/other/issues/7", title="Another")
    run.ok("wk", "import", "-", input=json.dumps([issue()]), as_="agent:ada")

    answer = run("wk", "import", "-", input=json.dumps([other]), as_="agent:ada")

    assert (answer.code, answer.error["code"]) == (5, "exists")
