"""The laws of the fold (DESIGN §7): order, repeats and strangers change nothing."""

from hypothesis import given
from hypothesis import strategies as st

from coord.core import event as events
from coord.core.fold import Folded, fold
from coord.errors import CODES
from tests import strategies as some
from tests.strategies import LATE_MS, bytes_of, claimed, created, event, paused, resumed, work


def answer(lines, now_ms=LATE_MS):
    """Everything a fold answers, as bytes."""
    return answer_of(fold(some.of(lines), now_ms))


def answer_of(folded: Folded):
    problems = [(p.event_id, p.code, p.message, p.stands) for p in folded.problems]
    return bytes_of([sorted(folded.states.items()), problems])


UNKNOWN = some.Crowd(["build.finished", "work.pondered", "msg.pondered", "lease.acquire"])


def codes(*given_events, now_ms=LATE_MS):
    """The codes of the problems of these events."""
    return [problem.code for problem in fold(given_events, now_ms).problems]


@given(lines=some.histories(), now_ms=some.CLOCKS, data=st.data())
def test_any_order_and_any_repetition_of_the_same_events_give_the_same_bytes(lines, now_ms, data):
    repeated = data.draw(st.lists(st.sampled_from(lines), max_size=5))
    shuffled = data.draw(st.permutations(lines + repeated))

    assert answer(shuffled, now_ms) == answer(lines, now_ms)


@given(lines=some.histories(), data=st.data())
def test_lines_that_were_written_again_under_another_replica_change_no_byte(lines, data):
    """Whatever their writer, seq and prev: who holds a copy of a line decides nothing."""
    again = data.draw(st.lists(st.sampled_from(lines)))
    moved = [
        {**line, "writer": f"agent-{name}.zzzzzz", "seq": 7, "prev": "0" * 32}
        for line, name in zip(again, data.draw(st.permutations("abz" * 9)), strict=False)
    ]
    gone = [line["event_id"] for line in moved if data.draw(st.booleans())]
    left = [line for line in lines if line["event_id"] not in gone]
    copies = [line for line in lines if line["event_id"] in gone]
    replaced = [{**line, "writer": "agent-0.aaaaaa", "seq": 3} for line in copies]

    assert answer(data.draw(st.permutations(lines + moved))) == answer(lines)
    assert answer(data.draw(st.permutations(left + replaced))) == answer(lines)


@given(lines=some.histories(), data=st.data())
def test_the_order_of_keys_in_a_line_changes_nothing(lines, data):
    turned = [backwards(line) for line in lines]
    both = data.draw(st.permutations(lines + turned))

    assert answer(both) == answer(turned + lines)


def backwards(value):
    """The same JSON value with its keys in reverse."""
    if isinstance(value, dict):
        return {key: backwards(value[key]) for key in reversed(value)}
    return value


@given(
    lines=some.histories(),
    now_ms=some.CLOCKS,
    unknown=st.lists(some.raws(UNKNOWN), min_size=1, max_size=4),
)
def test_types_that_this_version_does_not_know_change_nothing(lines, now_ms, unknown):
    """But that its holder's claim runs on where such an event names the lease."""
    known = {line["event_id"] for line in lines}
    unknown = [{**line, "refs": {"work_id": line["refs"]["work_id"]}} for line in unknown
               if line["event_id"] not in known]  # fmt: skip

    assert fold(some.of(lines + unknown), now_ms).states == fold(some.of(lines), now_ms).states


@given(lines=some.histories(), now_ms=some.CLOCKS)
def test_fields_that_this_version_does_not_know_change_nothing(lines, now_ms):
    richer = [
        {**line, "body": {**line["body"], "zz": 1}, "refs": {**line["refs"], "zz": "2"}, "zz": [3]}
        for line in lines
    ]

    assert answer(richer, now_ms) == answer(lines, now_ms)


@given(odd=st.lists(some.strange(), min_size=1, max_size=3))
@some.examples(300)
def test_no_data_stops_the_fold(odd):
    """Whatever stands in refs and bodies; states stay JSON, and problems have known codes."""
    folded = fold([*some.of(odd), *some.KNOWN], LATE_MS)

    answer_of(folded)
    assert {problem.code for problem in folded.problems} <= set(CODES)


@given(lines=some.histories(), now_ms=some.CLOCKS)
def test_a_problem_names_an_event_that_was_folded(lines, now_ms):
    horizon = events.horizon(now_ms)
    folded_ids = {line["event_id"] for line in lines if line["event_id"] < horizon}

    assert {problem.event_id for problem in fold(some.of(lines), now_ms).problems} <= folded_ids


@given(lines=some.histories())
@some.examples(30)
def test_the_fold_changes_nothing_that_it_was_given(lines):
    before = bytes_of(lines)

    fold(some.of(lines), LATE_MS)

    assert bytes_of(lines) == before


def test_an_event_counts_once_its_time_is_at_most_five_minutes_ahead():
    """Five minutes themselves are near enough."""
    early = created(at=0)

    assert fold([early], early.time_ms - events.QUARANTINE_MS).states
    assert not fold([early], early.time_ms - events.QUARANTINE_MS - 1).states


def test_two_events_of_one_id_are_a_problem_and_the_same_one_counts_everywhere():
    one, other = created(title="one"), created(title="other")

    for given_events in ([one, other], [other, one], [one, other, one], [other, one, other]):
        assert codes(*given_events) == ["id_reused"]
        assert fold(given_events, LATE_MS).states["work/wk-a"]["title"] == "one"


def test_a_key_makes_a_retry_have_no_effect_and_no_problem():
    """The smallest event_id wins; what judging adds to a body does not make it another fact."""
    first = created(at=1, key="k", fence=1)
    retry = created(at=2, key="k", fence=2)

    folded = fold([retry, first], LATE_MS)

    assert folded.problems == []
    assert folded.states["work/wk-a"]["created_event"] == first.event_id


def test_the_same_key_for_something_else_is_a_problem_and_both_stand():
    first = created("wk-a", at=1, key="k")
    other = created("wk-b", at=2, key="k", title="another")

    folded = fold([other, first], LATE_MS)

    assert [(p.event_id, p.code, p.stands) for p in folded.problems] == [
        (other.event_id, "key_reused", True)
    ]
    assert sorted(folded.states) == ["work/wk-a", "work/wk-b"]


def test_a_key_is_unique_per_agent_and_type():
    lines = [
        created("wk-a", at=1, key="k"),
        created("wk-b", at=2, key="k", by="bo"),
        work("commented", at=3, key="k", text="hello"),
    ]

    assert codes(*lines) == []


def test_a_pause_takes_effect_by_event_id_whenever_it_arrives():
    """What takes has no effect from then on; what tells stands, marked."""
    before, after = claimed("ada", 1, item="wk-a"), claimed("ada", 3, item="wk-b")
    told = work("commented", at=4, text="hello")
    items = [created("wk-a", 0), created("wk-b", 0, nth=1)]

    folded = fold([*items, before, after, told, paused("agent:ada", 2)], LATE_MS)

    assert folded.states["work/wk-a"]["status"] == "claimed"
    assert folded.states["work/wk-b"]["status"] == "open"
    assert [(p.event_id, p.code, p.stands) for p in folded.problems] == [
        (after.event_id, "paused", False),
        (told.event_id, "paused", True),
    ]


def test_a_confirmed_claim_of_a_paused_agent_stands_marked():
    lines = [created(), paused("agent:ada", 1), claimed("ada", 2, confirmed="remote")]

    folded = fold(lines, LATE_MS)

    assert folded.states["work/wk-a"]["status"] == "claimed"
    assert [(p.code, p.stands) for p in folded.problems] == [("paused", True)]


def test_the_kill_switch_binds_everybody_but_people():
    lines = [created("wk-a", 0), created("wk-b", 0, nth=1), paused("*", 1)]
    lines += [claimed("ada", 2, item="wk-a"), claimed("human:cy", 3, item="wk-b")]

    folded = fold(lines, LATE_MS)

    assert folded.states["work/wk-a"]["status"] == "open"
    assert folded.states["work/wk-b"]["status"] == "claimed"


def test_a_paused_agent_lifts_no_pause_neither_its_own_nor_anothers():
    """Whether agents or everybody were paused, and in whatever order entities are folded."""
    lifting = [
        ([paused("agent:ada", 1, by="bo"), resumed("agent:ada", 2, by="ada")], "agent/agent:ada"),
        ([paused("*", 1, by="bo"), resumed("*", 2, by="ada")], "agent/*"),
        (
            [
                paused("agent:bo", 0, by="agent:zed"),
                paused("agent:ada", 1, by="agent:zed"),
                resumed("agent:bo", 2, by="ada"),
            ],
            "agent/agent:bo",
        ),
    ]
    for lines, entity in lifting:
        folded = fold(lines, LATE_MS)

        assert [(p.event_id, p.code) for p in folded.problems] == [(lines[-1].event_id, "paused")]
        assert "until" not in folded.states[entity]["pauses"][-1]


def test_only_a_human_lifts_a_pause_that_a_human_set():
    refused = fold([paused("agent:ada", 1), resumed("agent:ada", 2, by="bo")], LATE_MS)
    lifted = fold([paused("agent:ada", 1), resumed("agent:ada", 2)], LATE_MS)

    assert [p.code for p in refused.problems] == ["not_allowed"]
    assert lifted.states["agent/agent:ada"]["pauses"][0]["lifted_by"] == "human:cy"


def test_what_a_paused_agent_sets_stands_marked_in_every_tool():
    lines = [paused("agent:ada", 1), event("config.set", 2, body={"key": "k", "value": 1})]

    folded = fold(lines, LATE_MS)

    assert folded.states["config/k"]["value"] == 1
    assert [(p.code, p.stands) for p in folded.problems] == [("paused", True)]
