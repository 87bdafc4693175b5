"""`wk search` and `wk similar`: found by what is said, with and without FTS5."""

import json
import shutil
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coord.core.wk import searching
from coord.edge import index
from coord.edge.index import search, views
from coord.errors import NO, NOT_FOUND, USAGE

ITEMS = [
    {"work_id": "wk-login", "title": "Fix the login crash", "labels": ["auth"],
     "description": "It fails when a name has an umlaut: Jürgen, naïve."},
    {"work_id": "wk-print", "title": "Print the invoice", "description": "login is needed"},
    {"work_id": "wk-taxes", "title": "Find out about taxes", "type": "chore"},
    {"work_id": "wk-other", "title": "Fix the login crash again", "external_ref": "gh-9"},
    {"work_id": "wk-twice", "title": "Something else", "external_ref": "gh-9"},
]  # fmt: skip
WORDS = st.sampled_from([
    "login", "fix", "FIX", "log*", '"login crash"', '"crash login"', "umlaut", "jurgen", "naive",
    "tax*", "nothing", "again", '"fix the log*', "comment",
])  # fmt: skip
HOSTILE = [
    '"', '""', "*", "AND", "OR NOT", "NEAR(a b)", "title:login", "-login", "(login", "a^2",
    "login)", "'; DROP TABLE search; --", "{title} : x", "col:*", "\x01", "login*fix", '"*"*', "+",
]  # fmt: skip


@pytest.fixture
def shop(run, store):
    """A store with some items and a comment."""
    lines = "\n".join(map(json.dumps, ITEMS))
    run.ok("wk", "create", "-", input=lines, as_="agent:ada")
    run.ok("wk", "comment", "wk-taxes", "A comment on the login", as_="agent:ada")
    return run


def ids(answer):
    return [row["work_id"] for row in answer.lines]


def find(shop, *words, code=0):
    answer = shop("wk", "search", *words)
    assert answer.code == code, answer.err
    return ids(answer)


def test_a_title_counts_more_than_a_description_and_that_more_than_a_comment(shop):
    found = shop.ok("wk", "search", "login").lines

    assert [row["work_id"] for row in found][2:] == ["wk-print", "wk-taxes"]
    assert {row["work_id"] for row in found[:2]} == {"wk-login", "wk-other"}
    assert [row["found_in"] for row in found[2:]] == [["description"], ["comments"]]
    assert found[3]["excerpt"] == "A comment on the login"


def test_every_word_has_to_be_there_wherever_it_stands(shop):
    assert find(shop, "login", "again") == ["wk-other"]
    assert find(shop, "taxes comment") == ["wk-taxes"]
    assert find(shop, "taxes nothing", code=NO) == []


def test_a_star_goes_on_and_quotes_hold_together(shop):
    assert find(shop, "inv*") == ["wk-print"]
    assert find(shop, "inv", code=NO) == []
    assert sorted(find(shop, '"login crash"')) == ["wk-login", "wk-other"]
    assert find(shop, '"crash login"', code=NO) == []
    assert find(shop, '"crash aga"*') == ["wk-other"]


def test_accents_and_case_do_not_count(shop):
    for word in ("JURGEN", "Jürgen", unicodedata.normalize("NFD", "Jürgen"), "naive"):
        assert find(shop, word) == ["wk-login"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_is_a_fault_of_the_query(shop, text):
    answer = shop("wk", "search", "--", text)

    assert answer.code in (0, NO, USAGE)
    if answer.code == USAGE:
        assert "no word" in answer.error["message"]


def test_what_changes_is_found_as_it_is_now(shop):
    """Also after the first search has filled the table."""
    find(shop, "login")
    shop.ok("wk", "update", "wk-print", "--title", "Paint the fence", "-d", "", as_="agent:ada")
    shop.ok("wk", "comment", "wk-twice", "the fence is high", as_="agent:ada")

    assert find(shop, "fence") == ["wk-print", "wk-twice"]
    assert find(shop, "invoice", code=NO) == []
    # Gone by itself: the index is only a cache.
    (shop.folder / ".coord" / "local" / "index.db").unlink()
    assert find(shop, "fence") == ["wk-print", "wk-twice"]


def test_an_event_that_comes_late_is_found_too(shop, tmp_path, frozen):
    """It is not the item's newest event: what tells that must not be that one's id."""
    other = tmp_path / "other"
    shutil.copytree(shop.folder, other)
    soon, later = ({"env": frozen(now_ms=4_000_000_000_000 + n, seed=n)} for n in (1, 1000))
    shop.ok("wk", "comment", "wk-login", "a zebra", as_="agent:bo", cwd=other, **soon)
    shop.ok("wk", "comment", "wk-login", "a horse", as_="agent:ada", **later)
    assert ids(shop.ok("wk", "search", "horse", **later)) == ["wk-login"]

    for file in (other / ".coord" / "wk").glob("agent-bo.*"):
        shutil.copy(file, shop.folder / ".coord" / "wk")

    assert ids(shop.ok("wk", "search", "zebra", **later)) == ["wk-login"]


def test_what_was_deleted_is_not_found_and_states_can_be_chosen(shop):
    lines = '{"id": "x1", "title": "login gone", "status": "deleted", "deleted": {"at_ms": 1}}\n'
    shop.ok("wk", "import", "-", input=lines, as_="agent:ada")
    shop.ok("wk", "close", "wk-login", as_="agent:ada")

    assert find(shop, "gone", code=NO) == []
    assert find(shop, "--status", "closed", "login") == ["wk-login"]
    assert "wk-login" not in find(shop, "--status", "unfinished", "login")


def test_a_long_text_is_found_in_its_blob(shop):
    long = "word " * 20_000 + "needle"
    shop.ok("wk", "update", "wk-taxes", "--description", "-", input=long, as_="agent:ada")

    (found,) = shop.ok("wk", "search", "needle").lines

    assert found["work_id"] == "wk-taxes"
    assert found["excerpt"].endswith("needle")


def test_a_list_is_bounded_and_says_so(shop):
    answer = shop("wk", "search", "login", "--limit", "1", "--offset", "1")

    assert len(answer.lines) == 1
    assert json.loads(answer.err)["note"]["total"] == 4
    assert len(shop.ok("wk", "search", "login", "-n", "0").lines) == 4


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(words=st.lists(WORDS, min_size=1, max_size=3), any_of=st.booleans())
def test_without_fts5_the_same_items_are_found(shop, words, any_of):
    terms = searching.parse(" ".join(words))
    joined_by = " OR " if any_of else " AND "
    folder = str(shop.folder / ".coord")

    with index.opened(folder, 1_800_000_000_000) as known, pytest.MonkeyPatch.context() as patch:
        query = views.Query(1_800_000_000_000, "all")
        with_table = search.find(known, terms, query, joined_by)
        patch.setattr(search, "has_fts5", lambda _sql: False)
        by_reading = search.find(known, terms, query, joined_by)
        first = search.find(known, terms, query._replace(limit=1), joined_by)

    assert sorted(with_table.work_ids) == sorted(by_reading.work_ids)
    assert with_table.total == by_reading.total == first.total
    assert first.work_ids == by_reading.work_ids[:1]


# --- similar


def test_what_says_nearly_the_same_is_similar_with_the_reasons(shop):
    found = shop.ok("wk", "similar", "wk-login").lines

    assert [row["work_id"] for row in found] == ["wk-other"]
    assert "both titles have fix, login, crash" in found[0]["reasons"]


def test_the_endings_of_words_do_not_count(shop):
    found = shop.ok("wk", "similar", "Logins crashed, fixing").lines

    assert [row["work_id"] for row in found] == ["wk-login", "wk-other"]


def test_one_name_elsewhere_is_enough(shop):
    found = shop.ok("wk", "similar", "wk-twice").lines

    assert (found[0]["work_id"], found[0]["score"]) == ("wk-other", 100)
    assert found[0]["reasons"] == ["both are gh-9 elsewhere"]


def test_a_text_can_be_compared_before_it_becomes_an_item(shop):
    found = shop.ok("wk", "similar", "Fix login crash").lines

    assert [row["work_id"] for row in found] == ["wk-login", "wk-other"]
    assert found[0]["reasons"] == ["the titles say the same"]


@pytest.mark.parametrize(
    ("text", "code"), [("quantum gravity", NO), ("wk-none", NOT_FOUND), ("?!", USAGE)]
)
def test_what_is_like_nothing(shop, text, code):
    assert shop("wk", "similar", text).code == code
