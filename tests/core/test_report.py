"""What a page is made of: texts that stay texts, who held what when, plots, a policy."""

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.problem import Problem
from coord.core.report import markup, page, plots, rows, spans, timeline
from coord.core.report.facts import Facts, when, who
from tests.foreign import PROPERTY
from tests.strategies import START_MS, id_at, raw

MINUTE_MS = 60_000
TURNS = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


class Reader(HTMLParser):
    """What a browser makes of a part of a page: its tags, and its texts."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.texts.append(data)


def read(part):
    reader = Reader()
    reader.feed(part)
    reader.close()
    return reader


@PROPERTY
@given(st.text())
def test_a_text_is_one_text_between_tags_and_in_an_attribute(text):
    shown = markup.text(text, 10_000)

    reader = read(f'<p title="{shown}">{shown}</p>')

    assert [tag for tag, _ in reader.tags] == ["p"]
    assert "".join(reader.texts) == html.unescape(shown) == reader.tags[0][1]["title"]
    if text.isprintable():
        assert html.unescape(shown) == text


@PROPERTY
@given(st.text(st.sampled_from(TURNS + "\x00\x1b\x7f\x9b\u2028\ud800a<&"), max_size=20))
def test_no_character_that_is_obeyed_instead_of_shown_gets_through(text):
    shown = markup.text(text)

    assert shown.isprintable()
    assert shown == shown.encode().decode()


def test_letters_that_scripts_need_joined_stay_joined():
    assert markup.text("👩\u200d🚀 می\u200cخواهم") == "👩\u200d🚀 می\u200cخواهم"


@pytest.mark.parametrize("ident", ['a" onload="x', "a%20b", "a b\n", "<b>", "x" * 500, "ä#?/"])
def test_a_link_leads_to_the_element_of_that_name(ident):
    (_, target), (_, link) = read(
        f'<tr id="{markup.name_of("i", ident)}">{markup.link("i", ident)}'
    ).tags

    assert set(target) == {"id"}
    assert set(link) == {"href"}
    assert link["href"].removeprefix("#").replace("%25", "%") == target["id"]


def acquired(resource, at, by="ada", ttl=10, nth=0, **body):
    kind = "work.claimed" if resource.startswith("work:") else "lease.acquire"
    refs = {"resource": resource, "lease_id": f"lease-{at}{nth}", "work_id": resource[5:]}
    body = {"expires_at_ms": START_MS + at + ttl, **body}
    return raw(kind, at, by, refs=refs, body=body, nth=nth)


def said(kind, at, lease, by="ada", **body):
    return raw(kind, at, by, refs={"lease_id": lease, "work_id": "a"}, body=body)


SPANS = [
    ("its time runs out", [acquired("work:a", 0)], [("ada", 0, 10)]),
    ("given back", [acquired("work:a", 0), said("work.released", 3, "lease-00")], [("ada", 0, 3)]),
    ("closed", [acquired("work:a", 0), said("work.closed", 4, "lease-00")], [("ada", 0, 4)]),
    ("closed by whoever names no lease",
     [acquired("work:a", 0), raw("work.closed", 4, "bo", refs={"work_id": "a"})], [("ada", 0, 4)]),
    ("renewed",
     [acquired("env:x", 0), said("lease.renew", 8, "lease-00", expires_at_ms=START_MS + 18)],
     [("ada", 0, 18)]),
    ("another's word renews nothing",
     [acquired("env:x", 0), said("lease.renew", 8, "lease-00", "bo", expires_at_ms=START_MS + 18)],
     [("ada", 0, 10)]),
    ("taken over", [acquired("env:x", 0), acquired("env:x", 5, "bo")],
     [("ada", 0, 5), ("bo", 5, 15)]),
    ("shared", [acquired("env:x", 0, shared=True), acquired("env:x", 5, "bo", shared=True)],
     [("ada", 0, 10), ("bo", 5, 15)]),
    ("what says no time is no hold", [acquired("env:x", 0, expires_at_ms="soon")], []),
]  # fmt: skip


@pytest.mark.parametrize(("events", "holds"), [row[1:] for row in SPANS], ids=[r[0] for r in SPANS])
def test_a_hold_is_as_long_as_the_events_say(events, holds):
    found = spans.of(events, {})

    assert [
        (span.agent_id.removeprefix("agent:"), span.start_ms - START_MS, span.end_ms - START_MS)
        for span in found
    ] == holds


def test_a_refused_claim_is_no_hold():
    refused = acquired("work:a", 5, "bo")
    problem = Problem(refused["event_id"], "held", "agent:ada holds it")

    found = spans.of([acquired("work:a", 0), refused], {refused["event_id"]: problem})

    assert [span.agent_id for span in found] == ["agent:ada"]


def facts_of(*events, items=()):
    """Facts a minute after the start."""
    states = {state["work_id"]: state for state in items}
    return Facts("p", START_MS + MINUTE_MS, 0, states, events, len(events), {}, (), ())


def state(work_id="a", created=0, **more):
    """An item's state with what every item has."""
    return {
        "work_id": work_id, "title": work_id, "type": "task", "priority": 2, "labels": [],
        "status": "open", "created_at_ms": START_MS + created, "created_by": "agent:ada",
        "updated_at_ms": START_MS + created, "created_event": id_at(created), **more,
    }  # fmt: skip


def test_bars_that_overlap_stand_in_rows_of_their_own():
    events = [acquired(f"env:{at}", at, ttl=30) for at in (0, 10, 20)] + [acquired("env:y", 31)]

    (lane,) = timeline.lanes_of(facts_of(*events))

    assert [row for _, row in lane.bars] == [0, 1, 2, 0]


def test_everything_lies_within_the_width():
    """Also what goes on until long after the last event."""
    events = [acquired("env:x", 0, ttl=10**12), raw("msg.sent", 9, body={"to": ["agent:bo"]})]

    drawn = read("".join(timeline.drawn(facts_of(*events))))

    places = [float(a["x"][:-1]) for tag, a in drawn.tags if tag == "rect" and "x" in a]
    widths = [float(a["width"][:-1]) for tag, a in drawn.tags if tag == "rect" and "x" in a]
    assert places == [0.0]
    assert widths == [100.0]
    assert [float(a["cx"][:-1]) for tag, a in drawn.tags if tag == "circle"]


def test_an_import_is_told_as_it_was_and_not_as_it_came():
    event = raw("work.created", 9, body={"at_ms": START_MS - 5, "by": "human:lena"})

    assert (when(event), who(event)) == (START_MS - 5, "human:lena")


@pytest.mark.parametrize("at_ms", [START_MS + 10**9, "yesterday", True, -1])
def test_what_states_no_sensible_time_has_its_own(at_ms):
    assert when(raw("work.created", 9, body={"at_ms": at_ms})) == START_MS + 9


def test_what_is_left_is_counted_back_from_now():
    day = 86_400_000
    closed = {"status": "closed", "closed_at_ms": START_MS + 2 * day, "resolution": "done"}
    items = [state("a"), state("b", day), state("c", day, **closed)]
    facts = facts_of(items=items)
    flow, word = plots._flow(items, START_MS + 3 * day, 0)

    assert word == "day"
    assert [values for _, values in flow] == [(1, 0), (2, 0), (0, 1)]
    assert [values for _, values in plots._left(flow, items)] == [(1,), (3,), (2,)]
    assert "".join(plots.drawn(facts))


def test_a_row_tells_of_needs_with_what_blocks_first():
    needs = {"needs": dict.fromkeys("bcd", "")}
    room = markup.Room(1000)

    row = read(rows.item(state(links=needs), START_MS, {"c": True}.get, room))

    assert [a["href"] for tag, a in row.tags if tag == "a"] == ["#i-a", "#i-c", "#i-b", "#i-d"]
    assert row.tags[0] == ("tr", {"id": "i-a", "class": "blocked"})


def test_long_texts_are_left_out_where_there_is_no_room_and_titles_stay():
    described = state(description="all of it")

    told = [rows.item(described, START_MS, {}.get, markup.Room(size)) for size in (0, 1000)]

    assert ["all of it" in row for row in told] == [False, True]
    assert all(">a<" in row.replace("\n", "<") or "a</summary>" in row for row in told)


def test_the_policy_lets_nothing_run_but_the_pages_own_script():
    """The hashes are those that browsers reckon: SHA-256 of the text, in base 64."""
    policy = page.Assets("", "b{}", "alert(1)").policy(connects=False)

    assert policy.split("; ") == [
        "default-src 'none'",
        "script-src 'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='",
        "style-src 'sha256-7yqHVAesot11p6HczDsgKRipvI5UPgs97z80zNXlans='",
        "img-src data:",
        "connect-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
