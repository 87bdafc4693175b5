"""Judging and appending: what is acknowledged has its effect, what is not leaves no trace."""

import contextlib
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import event as events
from coord.core.draft import Draft
from coord.edge import blobs
from coord.errors import Refusal
from tests import strategies as some
from tests.clones import SKEW_MS, Clone, agent, claim, create, link, say
from tests.strategies import START_MS


@pytest.fixture
def clone(tmp_path):
    """An empty store."""
    return Clone(tmp_path)


@pytest.fixture
def items(clone):
    """A store with three items."""
    clone.write(create("wk-a"), create("wk-b"), create("wk-c"))
    return clone


def test_what_is_acknowledged_is_what_stands_in_the_journal(clone):
    written = clone.write(create(), claim(), say("commented", text="hello"), now=7)

    assert clone.lines() == written
    assert [line["seq"] for line in written] == [1, 2, 3]
    assert {line["project"] for line in written} == {"team/project"}
    assert {line["ts"] for line in written} == {"2026-01-01T09:00:00.007Z"}
    assert list(written[1]) == [key for key in events.KEY_ORDER if key in written[1]]


def test_spans_become_instants_of_the_events_own_time(items):
    """Which may lie past the wall clock's."""
    [line] = items.write(claim(ttl=500), now=-1000)

    assert events.time_of(line["event_id"]) == START_MS
    assert line["body"]["expires_at_ms"] == START_MS + 500


def test_what_i_saw_sorts_before_what_i_write_whatever_the_wall_clock_says(items):
    before = items.lines()

    for now in (0, -5000, -290_000, 5):
        [line] = items.write(say("commented", text="x"), by="bo", now=now)

        assert line["event_id"] > max(other["event_id"] for other in before)
        before = items.lines()


def test_a_claim_is_refused_while_somebody_else_holds_the_item(items):
    [first] = items.write(claim(session="", lease="lease-1"), session="s1")

    for by, session, code in [("bo", "", "held"), ("ada", "s2", "held"), ("ada", "", "held")]:
        refusal = items.refusal(claim(fence=2), by=by, session=session)
        assert refusal.code == code
        assert refusal.facts["holder"] == "agent:ada"
        assert refusal.facts["expires_at_ms"] == first["body"]["expires_at_ms"]


def test_our_own_hold_is_free_at_the_instant_at_which_it_expires(items):
    items.write(claim(ttl=500))

    assert items.refusal(claim(fence=2), by="bo", now=499).code == "held"
    items.write(claim(fence=2), by="bo", now=500)
    assert items.state("work/wk-a")["claim"]["agent_id"] == "agent:bo"


def test_another_hosts_hold_is_respected_a_skew_longer(items):
    """Its clock may be slower than ours; the fold itself waits for nobody's clock."""
    foreign(items, some.claimed("bo", 1, ttl=499, replica="zzzzzz"))

    assert items.refusal(claim(fence=2), now=500).code == "held"
    assert items.refusal(claim(fence=2), now=499 + SKEW_MS).code == "held"
    items.write(claim(fence=2), now=500 + SKEW_MS)


def foreign(clone, *others):
    """Append what came from another clone, as a sync would."""
    files = some.Files(clone.store)
    files.append([other.raw for other in others])


def test_an_acquire_promised_here_stands_even_when_the_fold_has_refused_it_since(items):
    """An older claim arrives from elsewhere: its holder wins, ours was promised this host."""
    items.write(claim(ttl=60_000), now=1000)
    foreign(items, some.claimed("bo", 500, ttl=700, replica="zzzzzz"))
    assert items.state("work/wk-a")["claim"]["agent_id"] == "agent:bo"

    assert items.refusal(claim(fence=2), by="cy", now=30_000).code == "held"
    items.write(say("released", lease="lease-1"), now=30_001)
    items.write(claim(fence=2), by="cy", now=30_002)


def test_a_claim_names_a_fence_above_every_fence_known(items):
    """By one; refused ones count."""
    items.write(claim())
    foreign(items, some.claimed("bo", 1, ttl=1, fence=6, replica="zzzzzz"))
    items.write(say("released", lease="lease-1"), now=2)

    for fence in (1, 2, 6, 8):
        assert items.refusal(claim(fence=fence, lease="lease-x"), now=20_000).code == "fenced"
    items.write(claim(fence=7), now=20_000)


def test_a_guarded_write_is_fenced_once_another_hold_was_good(items):
    items.write(claim(ttl=500))
    items.write(claim(fence=2), by="bo", now=500)
    guarded = [
        say("closed", lease="lease-1", **{"as": "done"}),
        say("updated", lease="lease-1", set={"title": "x"}),
        say("deleted", lease="lease-1"),
    ]

    for draft in guarded:
        assert items.refusal(draft, now=600).code == "fenced"


def test_a_guarded_write_is_fenced_though_the_newer_hold_was_given_back_since(items):
    """Its holder may have worked in between: what the older one knows is stale."""
    items.write(claim(ttl=500))
    items.write(claim(fence=2), by="bo", now=500)
    items.write(say("released", lease="lease-2"), by="bo", now=600)

    assert items.refusal(say("closed", lease="lease-1", **{"as": "done"}), now=700).code == "fenced"


def test_a_whole_line_that_lacks_its_newline_counts_before_anything_is_judged(items):
    """It is as good as written; judged without it, somebody would lose an acknowledged claim."""
    items.write(claim(), by="bo", now=1)
    [path] = (items.store / "wk").glob("agent-bo.*")
    path.write_bytes(path.read_bytes()[:-1])

    with pytest.raises(Refusal) as refused:
        items.write(claim(fence=2), now=2)

    assert refused.value.code == "held"
    assert items.state("work/wk-a")["claim"]["agent_id"] == "agent:bo"
    assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("tail", [b'{"event_id":', b"\x00\x00"])
def test_a_torn_line_is_finished_by_the_next_write_of_anybody_here(items, tail):
    """And so a reported problem, even when its own writer never comes back."""
    items.write(say("commented", text="x"), by="bo")
    [path] = (items.store / "wk").glob("agent-bo.*")
    with path.open("ab") as stream:
        stream.write(tail)

    items.write(say("commented", text="y"))

    assert path.read_bytes().endswith(tail + b"\n")
    assert len(items.state("work/wk-a")["comments"]) == 2


def test_a_torn_line_of_another_clone_is_left_to_it(items):
    foreign(items, some.work("commented", 1, "bo", text="x", replica="zzzzzz"))
    [path] = (items.store / "wk").glob("agent-bo.*")
    path.write_bytes(path.read_bytes()[:-1])

    items.write(say("commented", text="y"))

    assert not path.read_bytes().endswith(b"\n")


def test_a_paused_agent_writes_nothing_and_is_told_who_paused_it(items):
    items.write(agent("paused", "agent:ada", why="too fast"), by="human:cy")
    drafts = [claim(), say("commented", text="x"), create("wk-d"), Draft("build.finished")]
    drafts += [agent("resumed", "agent:ada"), Draft("config.set", {}, {"key": "k", "value": 1})]

    for draft in drafts:
        refusal = items.refusal(draft)
        assert (refusal.code, refusal.facts["paused_by"]) == ("paused", "human:cy")
        assert "too fast" in refusal.message
    items.write(agent("resumed", "agent:ada"), by="human:cy")
    items.write(claim())


def test_the_kill_switch_stops_every_agent_and_a_human_lifts_it(items):
    items.write(agent("paused", "*", why="stop"), by="human:cy")

    assert items.refusal(claim()).code == "paused"
    assert items.refusal(agent("resumed", "*"), by="bo").code == "paused"
    items.write(agent("resumed", "*"), by="human:dee")
    items.write(claim())


def test_a_circle_of_needs_is_refused_and_named(items):
    items.write(link("wk-a", "needs", "wk-b"), link("wk-b", "needs", "wk-c"))

    refusal = items.refusal(link("wk-c", "needs", "wk-a"))

    assert refusal.code == "cycle"
    assert "wk-c needs wk-a needs wk-b needs wk-c" in refusal.message
    assert items.refusal(link("wk-a", "needs", "wk-a")).code == "cycle"
    items.write(link("wk-c", "relates", "wk-a"))


def test_a_circle_within_one_batch_is_refused_whole(items):
    needs = [link("wk-a", "needs", "wk-b"), link("wk-b", "needs", "wk-a")]

    assert items.refusal(*needs).code == "cycle"


def test_a_circle_of_parents_is_refused_too(items):
    items.write(link("wk-a", "parent", "wk-b"))

    assert items.refusal(link("wk-b", "parent", "wk-a")).code == "cycle"


def test_what_names_an_item_that_nobody_knows_is_refused(items):
    drafts = [claim("wk-z"), say("commented", "wk-z", text="x"), link("wk-a", "needs", "wk-z")]
    drafts += [say("closed", "wk-z", **{"as": "done"}), say("updated", "wk-z", set={"title": "x"})]

    assert [items.refusal(draft).code for draft in drafts] == ["unknown_work"] * len(drafts)


def test_what_the_state_does_not_allow_is_refused(items):
    closing = say("closed", **{"as": "done"})
    assert items.refusal(say("reopened")).code == "wrong_state"
    items.write(closing)

    assert [items.refusal(draft).code for draft in (closing, claim())] == ["wrong_state"] * 2
    assert items.refusal(say("released", lease="lease-1")).code == "not_held"
    assert items.refusal(create("wk-b", title="again")).code == "exists"
    items.write(say("reopened"), claim())


def test_an_item_is_claimed_when_it_is_ready_or_anyway(items):
    deferring = say("updated", "wk-c", set={"defer_until_ms": START_MS + 9})
    items.write(link("wk-a", "needs", "wk-b"), deferring)

    assert items.refusal(claim()).code == "not_ready"
    assert items.refusal(claim("wk-c"), now=8).code == "not_ready"
    items.write(claim("wk-c"), now=9)
    items.write(say("closed", "wk-b", **{"as": "done"}), claim())


def test_an_item_is_claimed_anyway_where_that_is_said(items):
    items.write(link("wk-a", "needs", "wk-b"))

    items.write(claim(anyway=True))

    assert items.status("wk-a") == "claimed"


def test_closing_what_another_holds_is_refused_until_its_claim_is_over(items):
    items.write(claim(ttl=500))

    assert items.refusal(say("closed", **{"as": "done"}), by="bo", now=499).code == "held"
    items.write(say("closed", **{"as": "done"}), by="bo", now=500)


def test_only_a_person_or_the_owner_breaks_anothers_hold(items):
    items.write(claim(), agent("registered", "agent:ada", mode="listening", owner="agent:boss"))
    breaking = say("released", lease="lease-1", **{"break": True})

    assert items.refusal(breaking, by="bo").code == "not_allowed"
    assert items.refusal(say("released", lease="lease-1"), by="human:cy").code == "not_allowed"
    items.write(breaking, by="boss")
    assert items.status("wk-a") == "open"


def test_a_batch_with_one_refused_line_writes_nothing(items):
    """`refusal` compares the bytes: not even what came before the line."""
    refusal = items.refusal(create("wk-d"), Draft("build.finished"), claim("wk-z"))

    assert refusal.code == "unknown_work"


def test_each_line_of_a_batch_is_judged_after_those_before_it(clone):
    clone.write(create(), claim(), say("closed", lease="lease-1", **{"as": "done"}))

    assert clone.status("wk-a") == "closed"
    assert clone.folded().problems == []
    assert clone.refusal(create("wk-b"), claim("wk-b"), claim("wk-b", fence=1)).code == "fenced"


def test_a_batch_goes_to_the_journal_of_each_type(clone):
    registered = agent("registered", "agent:ada", mode="listening")
    clone.write(
        create(),
        Draft("build.finished"),
        Draft("msg.sent", {}, {"to": ["agent:bo"], "addressed": ["agent:bo"], "body": "x"}),
        registered,
    )

    replica = {path.split(".")[-3] for path in clone.bytes()}
    assert {path.split("/")[0] for path in clone.bytes()} == {"wk", "ev", "msg"}
    assert len(replica) == 1


def test_a_retry_with_the_same_key_answers_the_first_event(items):
    """Whatever the retry has judged anew, and on whatever day it comes."""
    [first] = items.write(claim(key="k"))

    [again] = items.write(claim(key="k", fence=2, lease="lease-1"), now=99_000)

    assert again == {**first, "duplicate": True}
    assert items.write(claim(key="k", lease="lease-1"), claim(key="k", lease="lease-1"))[1] == again
    assert len(items.lines()) == 4


def test_the_same_key_for_something_else_is_refused(items):
    [first] = items.write(create("wk-d", key="k"))

    refusal = items.refusal(create("wk-e", key="k"))

    assert (refusal.code, refusal.facts["event_id"]) == ("key_reused", first["event_id"])
    items.write(create("wk-f", key="k"), by="bo")


def test_a_key_that_comes_twice_in_one_batch_is_written_once(clone):
    written = clone.write(create(key="k"), create(key="k"))

    assert written[1] == {**written[0], "duplicate": True}
    assert clone.refusal(create("wk-b", key="l"), create("wk-c", key="l")).code == "key_reused"


@pytest.mark.parametrize("size", [63_000, *range(64_700, 65_600, 60), 200_000])
def test_a_retry_of_a_long_text_is_the_same_event(clone, size):
    """Whether it stands in the line or in a blob, and from another session as well."""
    draft = create(key="k", description="x" * size)
    [first] = clone.write(draft)

    [again] = clone.write(draft, session="a-much-longer-session-" * 9)

    assert again == {**first, "duplicate": True}


def test_a_text_over_the_line_limit_stands_in_a_blob(clone):
    text = "ü" * 60_000
    [line] = clone.write(create(description=text))

    blob = clone.state("work/wk-a")["description"]
    assert line["body"]["description"] == blob
    assert blobs.load(str(clone.store), blob) == text


def test_what_cannot_shrink_is_refused_as_too_large(clone):
    for draft in (create(title="x" * 70_000), create(labels=["x" * 90] * 800)):
        assert clone.refusal(draft).code == "too_large"


def test_what_an_acknowledged_event_said_has_its_effect_however_long_it_is(clone):
    """A text that folds compare or list stays in the line or the event is refused."""
    long = "x" * 70_000
    parts = [{"acceptance": [long]}, {"assignee": long}, {"external_ref": long}, {"labels": [long]}]

    for number, body in enumerate(parts):
        assert clone.refusal(create(f"wk-{number}", **body)).code == "too_large"


@pytest.mark.parametrize("depth", [100, 300, 5000])
def test_what_is_nested_too_deep_is_refused_before_it_is_judged(items, depth):
    extra = {}
    for _ in range(depth):
        extra = {"a": extra}

    for draft in (create("wk-d", extra=extra), say("updated", key="k", set={"extra": extra})):
        assert items.refusal(draft).code == "bad_data"


def test_a_text_that_is_no_unicode_is_refused(clone):
    refusal = clone.refusal(create(title="\udcff"))

    assert refusal.code == "bad_data"


def test_an_own_clock_too_far_ahead_stops_exclusive_things_and_all_else_goes_on(items):
    """Under a new replica, whose ids are of now; until that time has come."""
    items.write(say("commented", text="from the future"), now=events.QUARANTINE_MS + 10_000)

    assert items.refusal(claim()).code == "clock"
    [line] = items.write(say("commented", text="now"))
    assert events.time_of(line["event_id"]) == START_MS
    assert line["seq"] == 1
    assert items.refusal(claim()).code == "clock"
    items.write(claim(), now=10_001)


def test_an_id_that_lies_ahead_within_bounds_is_simply_the_newest(items):
    items.write(say("commented", text="ahead"), now=events.QUARANTINE_MS)

    [line] = items.write(claim())

    assert events.time_of(line["event_id"]) == START_MS + events.QUARANTINE_MS


RACING = """
import sys
from pathlib import Path
from coord.errors import Refusal
from tests.clones import Clone, claim, say
folder, me, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
clone = Clone(folder)
sys.stdin.readline()
for n in range(count):
    try:
        [line] = clone.write(claim(f"wk-{n}", ttl=3_600_000, lease=f"lease-{me}"), by=me)
    except Refusal as refusal:
        assert refusal.code in ("held", "fenced", "wrong_state"), refusal.code
        continue
    print(n, line["event_id"], flush=True)
"""


def race(folder, count, agents, meanwhile):
    """Let processes claim the same items; answer (item, agent, event) of every claim won.

    meanwhile: called again and again while they run.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", RACING, folder, name, str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for name in agents
    ]  # fmt: skip
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    while any(child.poll() is None for child in children):
        meanwhile()
    won = []
    for name, child in zip(agents, children, strict=True):
        out, err = child.communicate()
        assert child.returncode == 0, err
        won += [(f"wk-{n}", name, event_id) for n, event_id in map(str.split, out.splitlines())]
    return won


@pytest.mark.parametrize("is_local_removed", [False, True])
def test_of_many_processes_that_claim_one_item_one_wins(tmp_path, is_local_removed, request):
    """Also while `.coord/local` is removed under them, again and again."""
    count = 200 if request.config.getoption("--long") else 12
    clone = Clone(tmp_path)
    clone.write(*[create(f"wk-{n}") for n in range(count)])
    removing = ["sh", "-c", f"sleep 0.02; rm -rf '{clone.store}/local' 2>/dev/null"]
    waiting = ["sleep", "0.05"]

    won = race(
        tmp_path, count, ["ada", "bo", "cy"],
        lambda: subprocess.run(removing if is_local_removed else waiting, check=False),
    )  # fmt: skip

    assert Counter(item for item, _, _ in won) == Counter(f"wk-{n}" for n in range(count))
    for item, name, event_id in won:
        held = clone.state(f"work/{item}")["claim"]
        assert (held["agent_id"], held["event_id"]) == (f"agent:{name}", event_id)
    assert clone.folded().problems == []


VERBS = st.sampled_from(["claim", "release", "close", "reopen", "comment", "take_over"])
MOVES = st.lists(
    st.tuples(VERBS, st.sampled_from(["ada", "bo"]), st.integers(0, 400), st.integers(1, 3)),
    max_size=14,
)


@some.examples(30)
@given(moves=MOVES)
def test_what_is_not_refused_has_its_effect(moves, tmp_path_factory):
    """The fold of what was acknowledged finds no problem, and never two holders in turn."""
    clone, now = Clone(tmp_path_factory.mktemp("clone")), 0
    clone.write(create())
    for number, (verb, by, wait, lease) in enumerate(moves):
        now += wait
        fence = clone.state("work/wk-a").get("fence", 0) + 1
        named = f"lease-{lease}"
        draft = {
            "claim": claim(fence=fence, ttl=500, lease=f"lease-{number}"),
            "take_over": claim(fence=fence, ttl=500, lease=f"lease-{number}", take_over=True),
            "release": say("released", lease=f"lease-{number - lease}"),
            "close": say("closed", lease=named, **{"as": "done"}),
            "reopen": say("reopened"),
            "comment": say("commented", lease=f"lease-{number - 1}", text="x"),
        }[verb]
        with contextlib.suppress(Refusal):
            clone.write(draft, by=by, now=now, session="s2" if verb == "take_over" else "")

    assert clone.folded().problems == []
