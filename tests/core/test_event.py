"""Event ids as a hybrid clock, and what of a line an event is read from."""

from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from coord.core import event as events
from coord.core import fold
from tests import strategies as some
from tests.strategies import START_MS, raw

TIMES = st.integers(0, 2**48 - 1)
CHANCE = st.integers(0, 2**80 - 1)
ENTROPY = st.binary(min_size=16, max_size=16)
# Ids from which the next one has to carry: the random part is at its end.
FULL = st.integers(2**80 - 2**49, 2**80 - 1)


@given(time_ms=TIMES, random=CHANCE | FULL)
def test_an_event_id_is_a_ulid(time_ms, random):
    """python-ulid, which nothing else of ours uses, writes and reads the same."""
    event_id = events.encode_id(time_ms, random)

    assert event_id == str(ULID(time_ms.to_bytes(6, "big") + random.to_bytes(10, "big")))
    assert events.EVENT_ID.fullmatch(event_id)
    assert events.decode_id(event_id) == (time_ms, random)
    assert events.time_of(event_id) == ULID.from_str(event_id).milliseconds


@given(st.text(alphabet=events.CROCKFORD, min_size=26, max_size=26))
def test_an_id_that_is_read_is_written_the_same(text):
    """Beyond 128 bits it is none: its first digit is at most 7."""
    assert bool(events.EVENT_ID.fullmatch(text)) == (text[0] <= "7")
    if text[0] <= "7":
        assert events.encode_id(*events.decode_id(text)) == text


@given(one=st.tuples(TIMES, CHANCE), other=st.tuples(TIMES, CHANCE))
def test_ids_sort_by_time_then_by_chance(one, other):
    assert (events.encode_id(*one) < events.encode_id(*other)) == (one < other)


@given(
    time_ms=st.integers(0, 2**48 - 2),
    random=CHANCE | FULL,
    now_ms=st.integers(0, 2**48 - 1),
    entropy=ENTROPY,
)
def test_the_next_id_sorts_after_the_newest_and_is_not_before_the_wall_clock(
    time_ms, random, now_ms, entropy
):
    """Also where the random part is full: then the millisecond carries."""
    newest = events.encode_id(time_ms, random)

    made = events.next_id(newest, now_ms, entropy)

    assert made > newest
    assert events.EVENT_ID.fullmatch(made)
    assert events.time_of(made) >= now_ms
    assert events.time_of(made) <= max(now_ms, time_ms + 1)


@given(
    newest=st.tuples(st.integers(START_MS, START_MS + 9), CHANCE | FULL),
    entropy=st.lists(ENTROPY, min_size=1, max_size=20),
    clock=st.lists(st.integers(START_MS - 9, START_MS + 19), min_size=20, max_size=20),
)
def test_one_writer_never_goes_back_whatever_its_clock_does(newest, entropy, clock):
    made = [events.encode_id(*newest)]

    for now_ms, chance in zip(clock, entropy, strict=False):
        made.append(events.next_id(made[-1], now_ms, chance))

    assert made == sorted(set(made))


@given(random=CHANCE, one=ENTROPY, other=ENTROPY)
def test_two_that_saw_the_same_newest_id_do_not_mint_the_same_next_one(random, one, other):
    """While the clock stands still the step is 1 to 2^48, drawn anew by each."""
    newest = events.encode_id(START_MS, random)

    made = [events.next_id(newest, START_MS, chance) for chance in (one, other)]

    assert (made[0] == made[1]) == (one[10:] == other[10:])
    assert all(1 <= distance(newest, after) <= 2**48 for after in made)


def distance(before, after):
    """How far one id is past another, as 128-bit numbers."""
    return number_of(after) - number_of(before)


def number_of(event_id):
    """An id as a 128-bit number."""
    time_ms, random = events.decode_id(event_id)
    return (time_ms << 80) + random


def test_the_step_grows_with_the_entropy_and_is_never_one_by_habit():
    """All-zero entropy takes one step, all-one entropy 2^48."""
    newest = events.encode_id(START_MS, 5)

    assert distance(newest, events.next_id(newest, START_MS, bytes(16))) == 1
    assert distance(newest, events.next_id(newest, START_MS, b"\xff" * 16)) == 2**48


def test_a_full_random_part_carries_into_the_next_millisecond():
    newest = events.encode_id(START_MS, 2**80 - 1)

    assert events.next_id(newest, START_MS, bytes(16)) == events.encode_id(START_MS + 1, 0)


def test_the_first_id_of_a_store_is_of_now():
    assert events.time_of(events.next_id("", START_MS, b"\xff" * 16)) == START_MS


@given(TIMES, CHANCE)
def test_every_id_of_a_millisecond_is_at_least_its_first(time_ms, random):
    assert events.first_id_at(time_ms) <= events.encode_id(time_ms, random)


def test_quarantine_begins_five_minutes_ahead_not_at_five_minutes():
    horizon = events.horizon(START_MS)

    assert events.encode_id(START_MS + 300_000, 2**80 - 1) < horizon
    assert events.encode_id(START_MS + 300_001, 0) == horizon


def test_a_line_that_lacks_what_folds_rely_on_is_named_as_such():
    good = raw("build.finished")
    broken = [
        ([], "is not a JSON object"),
        ({**good, "event_id": "01"}, "event_id is not a ULID"),
        ({**good, "event_id": good["event_id"].lower()}, "event_id is not a ULID"),
        ({**good, "type": "Build"}, "type is not a dotted lower-case name"),
        ({**good, "type": "build"}, "type is not a dotted lower-case name"),
        ({**good, "actor": "agent:ada"}, "actor.agent_id is missing"),
        ({**good, "actor": {}}, "actor.agent_id is missing"),
        ({**good, "actor": {**good["actor"], "session_id": 1}}, "actor.session_id is not a string"),
        ({**good, "refs": []}, "refs is not an object"),
        ({**good, "body": "text"}, "body is not an object"),
        ({**good, "idempotency_key": 7}, "idempotency_key is not a string"),
        ({**good, "writer": None}, "writer or seq is missing"),
        ({**good, "seq": "1"}, "writer or seq is missing"),
    ]

    assert events.fault_in(good) == ""
    assert [events.fault_in(line) for line, _ in broken] == [fault for _, fault in broken]


def test_a_seq_that_cannot_be_kept_is_a_fault():
    """Zero, negative, true, or beyond what an index column holds."""
    for seq in (0, -1, True, 2**63, 2**64 - 1, 1.0):
        assert events.fault_in(raw("build.finished", seq=seq)) == "writer or seq is missing"


def nested(depth, leaf):
    """So many objects and lists in one another, the innermost around `leaf`."""
    for number in range(depth):
        leaf = {"a": leaf} if number % 2 else [7, leaf]
    return leaf


def test_a_hundred_objects_and_lists_may_stand_in_one_another_and_no_more():
    """Empty ones count, and looking never fails of itself, however deep it is."""
    for depth, is_too_deep in ((1, False), (100, False), (101, True), (50_000, True)):
        assert events.is_too_deep(nested(depth, 0)) is is_too_deep
        assert events.is_too_deep(nested(depth - 1, [])) is is_too_deep
        assert events.is_too_deep(nested(depth - 1, {})) is is_too_deep


@given(some.JSON)
def test_reading_a_line_never_raises_whatever_it_holds(value):
    assert events.fault_in(value)


@given(some.strange())
def test_a_line_without_fault_can_be_read_and_has_at_most_one_entity(line):
    event = events.from_raw(line)

    assert events.fault_in(line) == ""
    assert event.raw is line
    assert events.entity_of(line).partition("/")[0] in ("", *fold.ORDER)


def test_the_first_word_of_a_type_names_its_journal_and_its_entity():
    table = [
        ("work.created", {"work_id": "wk-a"}, {}, "wk", "work/wk-a"),
        ("artifact.added", {"work_id": "wk-a"}, {}, "wk", "work/wk-a"),
        ("lease.acquire", {"work_id": "wk-a"}, {}, "lease", "work/wk-a"),
        ("msg.sent", {"work_id": "wk-a"}, {}, "msg", f"msg/{some.id_at(0)}"),
        ("msg.reminded", {"work_id": "wk-a"}, {}, "msg", f"msg/{some.id_at(0)}"),
        ("msg.acked", {"message_id": some.id_at(-1)}, {}, "msg", f"msg/{some.id_at(-1)}"),
        ("msg.read", {"message_id": 1}, {}, "msg", ""),
        ("msg.pondered", {"work_id": "wk-a"}, {}, "msg", "work/wk-a"),
        ("run.claimed", {"run_id": "run-1"}, {}, "run", "run/run-1"),
        ("run.claimed", {"work_id": "wk-a"}, {}, "run", "work/wk-a"),
        ("agent.paused", {"agent_id": "*"}, {}, "ev", "agent/*"),
        ("config.set", {}, {"key": "claim.ttl_ms"}, "ev", "config/claim.ttl_ms"),
        ("build.finished", {"work_id": "wk-a"}, {}, "ev", "work/wk-a"),
        ("workshop.opened", {}, {}, "ev", ""),
        ("work.created", {"work_id": ["wk-a"]}, {}, "wk", ""),
        ("agent.paused", {"agent_id": ""}, {}, "ev", ""),
    ]

    for kind, refs, body, journal, entity in table:
        line = raw(kind, refs=refs, body=body)
        assert (events.journal_of(kind), events.entity_of(line)) == (journal, entity)


@given(st.text(max_size=80))
def test_a_slug_is_the_first_part_of_a_writer(text):
    assert events.WRITER.fullmatch(f"{events.slug(text)}.k3f7qa")


@given(st.lists(st.text("äöü°", min_size=1) | st.text("ab").map(("x" * 50).__add__), unique=True))
def test_no_two_slugs_meet_by_being_cut_or_by_having_no_letters(texts):
    assert len({events.slug(text) for text in texts}) == len(texts)
