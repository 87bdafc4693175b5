"""Mail in the index: searched with and without FTS5, filtered, found by the beginning of an id."""

import pytest

from coord.core.wk import searching
from coord.edge import index
from coord.edge.index import mail, mail_search
from tests.core.test_msg import BO, CY, sent, told
from tests.strategies import LATE_MS, START_MS, Files, id_at

LETTERS = [
    sent(0, nth=0, subject="Deploy", text="staging is down", refs={"work_id": "wk-a"}),
    sent(1, nth=0, to=[CY], text="Die Übergabe, heute", by="bo"),
    sent(2, nth=0, subject="staging again", text="deploy it", thread_id="th-2"),
    told("acked", 3, message_id=id_at(2)),
]


@pytest.fixture
def known(tmp_path):
    """An index of a few letters."""
    Files(tmp_path).append([letter.raw for letter in LETTERS])
    with index.opened(str(tmp_path), LATE_MS) as opened:
        yield opened


def found(known, text, agent_id=""):
    states = mail_search.find(known, searching.parse(text), agent_id)
    return [state["message_id"] for state in states]


@pytest.mark.parametrize("has_fts5", [True, False])
@pytest.mark.parametrize(
    ("text", "agent_id", "names"),
    [
        ("staging", "", {id_at(0), id_at(2)}), ("deploy staging", "", {id_at(0), id_at(2)}),
        ("ubergabe", "", {id_at(1)}), ("dep*", BO, {id_at(0), id_at(2)}),
        ("heute", "agent:ada", set()), ("heute", CY, {id_at(1)}), ("heute", BO, {id_at(1)}),
        ('"is down"', "", {id_at(0)}), ("nothing", "", set()),
    ],
)  # fmt: skip
def test_search_answers_the_same_without_fts5(known, monkeypatch, has_fts5, text, agent_id, names):
    """An agent finds what it sent and what it got."""
    if not has_fts5:
        monkeypatch.setattr(mail_search, "has_fts5", lambda _sql: False)

    assert set(found(known, text, agent_id)) == names


def test_a_word_in_the_subject_counts_more(known):
    assert found(known, "deploy") == [id_at(0), id_at(2)]


def test_what_arrives_later_is_found_too(known, tmp_path):
    assert found(known, "kettle") == []
    Files(tmp_path).append([sent(9, text="the kettle", replica="bbbbbb").raw])
    known.catch_up(LATE_MS)

    assert found(known, "kettle") == [id_at(9)]


@pytest.mark.parametrize(
    ("where", "names"),
    [
        ({}, [id_at(0), id_at(2)]), ({"unread": 1}, [id_at(0)]), ({"work": "wk-a"}, [id_at(0)]),
        ({"sender": "agent:ada"}, [id_at(0), id_at(2)]), ({"sender": CY}, []),
        ({"thread": "th-1", "unread": 1}, [id_at(0)]), ({"unacked": 1}, []),
    ],
)  # fmt: skip
def test_filters_choose_what_is_listed_and_what_is_counted(known, where, names):
    sql = known.connection

    listed = [s["message_id"] for s in mail.page(sql, BO, LATE_MS, where, -1, 0)]

    assert listed == names
    assert mail.count(sql, BO, LATE_MS, where).total == len(names)


def test_messages_are_found_by_how_their_ids_begin(known):
    assert mail.matching(known.connection, id_at(0)[:8], 9) == [id_at(0), id_at(1), id_at(2)]
    assert mail.matching(known.connection, id_at(1), 9) == [id_at(1)]
    assert mail.threads_matching(known.connection, "th-", 9) == ["th-1"]


def test_at_its_instant_itself_what_was_snoozed_is_back_and_what_expires_is_gone(tmp_path):
    """As the fold has it (`core.msg.view`)."""
    lines = [
        sent(0, expires_at_ms=START_MS + 50),
        sent(1),
        told("snoozed", 5, message_id=id_at(1), until_ms=START_MS + 70),
    ]
    Files(tmp_path).append([line.raw for line in lines])

    with index.opened(str(tmp_path), LATE_MS) as known:
        listed = {
            at: [s["message_id"] for s in mail.page(known.connection, BO, START_MS + at, {}, -1, 0)]
            for at in (49, 50, 69, 70)
        }

    assert listed == {49: [id_at(0)], 50: [], 69: [], 70: [id_at(1)]}
