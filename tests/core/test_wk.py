"""A work item by its events: fields, conflicts, claims, links, and what follows from them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import arbiter
from coord.core.fold import fold
from coord.core.wk import view
from tests import strategies as some
from tests.strategies import LATE_MS, START_MS, claimed, created, id_at, work


def state_after(*events, item="wk-a"):
    """The item's state, which begins with its creation at 0."""
    return fold([created(item), *events], LATE_MS).states[f"work/{item}"]


def codes(*events):
    """The codes of the problems after the item's creation at 0."""
    return [problem.code for problem in fold([created(), *events], LATE_MS).problems]


def updated(at, by="ada", **body):
    """An edit."""
    return work("updated", at, by, **body)


def closed(at, by="ada", **parts):
    """The item is done."""
    return work("closed", at, by, **{"as": "done", **parts})


def closing(at, **body):
    """An import says that the item is done: `by` is its author's word."""
    refs = {"work_id": "wk-a"}
    return some.event("work.closed", at, refs=refs, body={"as": "done", **body})


def released(by, at, **parts):
    """The claim of an agent is given back, by itself unless `lease` says otherwise."""
    return work("released", at, by, **{"lease": f"lease-{by}", **parts})


def test_an_item_is_what_its_creation_says_with_defaults_for_the_rest():
    item = state_after()

    assert item["title"] == "something"
    assert (item["type"], item["priority"], item["status"]) == ("task", 2, "open")
    assert (item["labels"], item["created_by"]) == ([], "agent:ada")
    assert item["created_at_ms"] == item["updated_at_ms"] == START_MS
    assert "description" not in item


def test_labels_are_a_set_however_they_come():
    item = fold([created(labels=["b", "a", "b"])], LATE_MS).states["work/wk-a"]
    changed = state_after(
        updated(1, add={"labels": ["x", "a"]}),
        updated(2, add={"labels": ["z"]}, remove={"labels": ["x", "nowhere"]}),
    )

    assert item["labels"] == ["a", "b"]
    assert changed["labels"] == ["a", "z"]


def test_an_edit_changes_the_fields_that_it_names_alone():
    both = {"priority": 0, "assignee": "agent:bo"}

    item = state_after(updated(1, set=both), updated(2, unset=["assignee"]))

    assert (item["title"], item["priority"]) == ("something", 0)
    assert "assignee" not in item
    assert item["updated_at_ms"] == START_MS + 2


def test_what_every_item_has_can_be_set_and_not_taken_away():
    item = state_after(updated(1, unset=["title", "type", "priority", "status", "labels", 7, []]))

    assert (item["title"], item["type"], item["priority"]) == ("something", "task", 2)
    assert item["status"] == "open"


def test_an_event_for_an_item_that_nobody_created_is_a_problem():
    """Until its creation arrives: it is folded first then, by its id."""
    comment = work("commented", 1, text="hello")
    alone = fold([comment], LATE_MS)

    assert [problem.code for problem in alone.problems] == ["unknown_work"]
    assert alone.states == {}
    assert len(state_after(comment)["comments"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"set": {"priority": 5}}, {"set": {"priority": True}}, {"set": {"title": ""}},
        {"set": {"title": "  "}}, {"set": {"due_ms": -1}}, {"set": {"due_ms": 2**63}},
        {"set": {"type": "Bug"}}, {"set": {"acceptance": "all"}}, {"set": {"extra": []}},
        {"set": []}, {"unset": "title"}, {"base": []}, {"add": {"labels": "x"}},
        {"add": {"labels": [""]}}, {"remove": []},
    ],
)  # fmt: skip
def test_an_edit_that_does_not_fit_is_a_problem_without_effect(body):
    folded = fold([created(), updated(1, **body)], LATE_MS)

    assert [problem.code for problem in folded.problems] == ["bad_data"]
    assert folded.states["work/wk-a"] == state_after()


def test_of_two_edits_made_unseen_the_newest_wins_and_the_other_stays_visible():
    first = updated(1, by="ada", set={"title": "one"}, base={"title": id_at(0)})
    second = updated(2, by="bo", set={"title": "two"}, base={"title": id_at(0)})

    item = state_after(first, second)

    assert item["title"] == "two"
    assert item["conflicts"] == [
        {
            "field": "title",
            "lost": "one", "lost_by": "agent:ada", "lost_event": id_at(1),
            "kept": "two", "kept_by": "agent:bo", "kept_event": id_at(2),
        }
    ]  # fmt: skip


def test_a_conflict_is_settled_by_an_edit_that_knows_of_it():
    unseen = [updated(n, set={"title": str(n)}, base={"title": id_at(0)}) for n in (1, 2)]
    knowing = updated(3, set={"title": "both"}, base={"title": id_at(2)})
    other = updated(3, set={"priority": 1}, base={"priority": id_at(0)})

    assert "conflicts" not in state_after(*unseen, knowing)
    assert len(state_after(*unseen, other)["conflicts"]) == 1


def test_unseen_edits_to_the_same_value_or_to_different_fields_are_no_conflict():
    base = {"title": id_at(0), "priority": id_at(0)}
    same = [updated(n, set={"title": "x"}, base=base) for n in (1, 2)]
    apart = [updated(1, set={"title": "x"}, base=base), updated(2, set={"priority": 0}, base=base)]

    assert "conflicts" not in state_after(*same)
    assert "conflicts" not in state_after(*apart)


def test_taking_a_field_away_unseen_is_a_conflict_without_a_kept_value():
    item = state_after(
        updated(1, set={"assignee": "agent:bo"}),
        updated(2, unset=["assignee"], base={"assignee": id_at(0)}),
    )

    assert item["conflicts"][0]["lost"] == "agent:bo"
    assert "kept" not in item["conflicts"][0]


def test_an_item_that_two_clones_created_keeps_the_values_of_both():
    second = created(at=1, by="bo", title="else", labels=["x"], description="more")

    folded = fold([created(labels=["y"]), second], LATE_MS)

    item = folded.states["work/wk-a"]
    assert (item["title"], item["description"], item["labels"]) == ("else", "more", ["x", "y"])
    assert [c["lost"] for c in item["conflicts"]] == ["something"]
    assert (item["created_by"], item["created_at_ms"]) == ("agent:ada", START_MS)
    assert [(p.code, p.stands) for p in folded.problems] == [("exists", True)]


def test_creating_the_same_again_is_no_problem():
    assert codes(created(at=1)) == []


def test_a_claim_takes_an_item_and_its_release_gives_it_back():
    taken = state_after(claimed("ada", 1, fence=3))
    freed = state_after(claimed("ada", 1, fence=3), released("ada", 2))

    assert (taken["status"], taken["fence"]) == ("claimed", 3)
    assert taken["claim"]["agent_id"] == "agent:ada"
    assert (freed["status"], freed["fence"]) == ("open", 3)
    assert "claim" not in freed


def test_the_second_of_two_claims_is_refused_and_told_who_holds_it():
    folded = fold([created(), claimed("ada", 1), claimed("bo", 2, fence=2)], LATE_MS)

    item = folded.states["work/wk-a"]
    assert [problem.code for problem in folded.problems] == ["held"]
    assert "agent:ada" in folded.problems[0].message
    assert (item["claim"]["agent_id"], item["fence"]) == ("agent:ada", 2)


def test_an_older_claim_that_arrives_late_takes_the_item_from_the_newer():
    """The fold goes by id: the newer one's holder is told so."""
    folded = fold([created(), claimed("bo", 2), claimed("ada", 1)], LATE_MS)

    assert folded.states["work/wk-a"]["claim"]["agent_id"] == "agent:ada"
    assert [problem.event_id for problem in folded.problems] == [id_at(2)]


def test_a_claim_whose_time_is_over_is_taken_over_by_the_next():
    item = state_after(claimed("ada", 1, ttl=9), claimed("bo", 10))

    assert item["claim"]["agent_id"] == "agent:bo"


def test_only_the_holder_gives_a_claim_back():
    assert codes(claimed("ada", 1), released("bo", 2, lease="lease-ada")) == ["not_allowed"]
    assert codes(claimed("ada", 1), released("ada", 2, lease="lease-x")) == ["not_held"]
    assert codes(released("ada", 2)) == ["not_held"]


def test_a_release_that_names_no_lease_means_the_claim_that_stands():
    unnamed = [work("released", 2, by) for by in ("ada", "bo")]

    assert [codes(claimed("ada", 1), asked) for asked in unnamed] == [[], ["not_allowed"]]
    assert state_after(claimed("ada", 1), unnamed[0])["status"] == "open"
    assert codes(unnamed[0]) == ["not_held"]


def test_a_person_or_the_owner_breaks_a_hold():
    """The owner as registered before: a later one has no say in what was."""
    owned, late = (
        some.event("agent.registered", at, refs={"agent_id": "agent:ada"}, body={"owner": owner})
        for at, owner in ((1, "agent:boss"), (9, "agent:bo"))
    )
    given_events = [owned, late, claimed("ada", 2)]

    for by, found in [("boss", []), ("human:cy", []), ("bo", ["not_allowed"])]:
        breaking = work("released", 3, by, lease="lease-ada", **{"break": True})
        assert codes(*given_events, breaking) == found


def test_an_acquire_that_was_refused_can_be_given_back():
    item = state_after(claimed("ada", 1), claimed("bo", 2), released("bo", 3))

    assert "refused" not in item
    assert item["claim"]["agent_id"] == "agent:ada"


def test_a_claim_names_the_item_that_it_takes():
    assert codes(claimed("ada", 1, resource="work:wk-b")) == ["bad_data"]


@pytest.mark.parametrize("verb", ["closed", "updated", "deleted"])
def test_a_guarded_write_has_no_effect_once_another_hold_was_good(verb):
    """Whether that one runs still or was given back."""
    body = {"closed": {"as": "done"}, "updated": {"set": {"title": "x"}}, "deleted": {}}[verb]
    before = [claimed("ada", 1, ttl=5), claimed("bo", 6)]
    stale = work(verb, 9, lease="lease-ada", **body)

    assert codes(*before, stale) == ["fenced"]
    assert codes(*before, released("bo", 7), stale) == ["fenced"]
    assert codes(*before, closed(7, "bo"), work("reopened", 8), stale) == ["fenced"]


def test_a_guarded_write_stands_while_its_hold_is_the_newest():
    """Though it be over or given back: nobody else was good since."""
    guarded = closed(9, lease="lease-ada")

    given_back = [claimed("ada", 1), released("ada", 2)]
    for before in ([claimed("ada", 1)], [claimed("ada", 1, ttl=1)], given_back):
        assert codes(*before, guarded) == []


def test_a_refused_claim_fences_nobody():
    assert codes(claimed("ada", 1), claimed("bo", 2), closed(3, lease="lease-ada")) == ["held"]


def test_closing_what_another_holds_is_a_problem_until_its_claim_is_over():
    assert codes(claimed("bo", 1, ttl=9), closed(9)) == ["held"]
    assert codes(claimed("bo", 1, ttl=9), closed(10)) == []


def test_closing_ends_the_claim_and_says_who_when_and_why():
    item = state_after(claimed("ada", 1), closed(2, why="merged", lease="lease-ada"))

    assert (item["status"], item["resolution"], item["close_why"]) == ("closed", "done", "merged")
    assert (item["closed_by"], item["closed_at_ms"]) == ("agent:ada", START_MS + 2)
    assert "claim" not in item


def test_reopening_takes_back_what_closing_or_deleting_said():
    again = state_after(closed(1, why="x"), work("reopened", 2))
    undeleted = state_after(work("deleted", 1), work("reopened", 2))

    for item in (again, undeleted):
        assert item["status"] == "open"
        assert not {"resolution", "closed_at_ms", "closed_by", "close_why", "deleted"} & set(item)


def test_what_the_state_does_not_allow_is_a_problem_without_effect():
    table = [
        ([closed(1), closed(2)], "wrong_state"),
        ([closed(1), claimed("ada", 2)], "wrong_state"),
        ([work("deleted", 1), closed(2)], "wrong_state"),
        ([work("reopened", 1)], "wrong_state"),
        ([closed(1, **{"as": "finished"})], "bad_data"),
        ([work("renewed", 1, lease="lease-ada")], "not_held"),
    ]

    for given_events, code in table:
        assert codes(*given_events) == [code]


def test_a_deletion_is_a_tombstone_that_says_who_and_why():
    item = state_after(work("deleted", 1, "bo", why="a test"), work("deleted", 2))

    assert item["deleted"] == {"at_ms": START_MS + 1, "by": "agent:bo", "why": "a test"}
    assert view.status_at(item, LATE_MS) == "deleted"


def test_any_event_of_the_holder_that_names_its_lease_renews_the_claim():
    until = START_MS + 1 + 10
    refs = {"work_id": "wk-a", "lease_id": "lease-ada"}
    table = [
        (work("commented", 5, lease="lease-ada", text="x"), until + 4),
        (work("updated", 5, lease="lease-ada", set={"priority": 1}), until + 4),
        (work("linked", 5, lease="lease-ada", kind="relates", target="wk-b"), until + 4),
        (some.event("build.finished", 5, refs=refs), until + 4),
        (work("commented", 5, text="x"), until),
        (work("commented", 5, "bo", lease="lease-ada", text="x"), until),
        (work("commented", 11, lease="lease-ada", text="x"), until),
    ]

    for told, expected in table:
        item = state_after(claimed("ada", 1, ttl=10), told)
        assert item["claim"]["expires_at_ms"] == expected, told.type


def test_a_renewal_says_until_when():
    renewal = work("renewed", 5, lease="lease-ada", ttl_ms=50, expires_at_ms=START_MS + 55)

    item = state_after(claimed("ada", 1, ttl=10), renewal)

    assert (item["claim"]["ttl_ms"], item["claim"]["expires_at_ms"]) == (50, START_MS + 55)


def test_a_link_is_there_once_until_it_is_taken_away():
    needs = {"kind": "needs", "target": "wk-b"}
    linked = state_after(work("linked", 1, **needs), work("linked", 2, "bo", **needs))
    unlinked = state_after(work("linked", 1, **needs), work("unlinked", 2, **needs))

    assert linked["links"]["needs"]["wk-b"]["by"] == "agent:ada"
    assert "links" not in unlinked


def test_an_item_is_not_linked_to_itself():
    assert codes(work("linked", 1, kind="needs", target="wk-a")) == ["cycle"]


@pytest.mark.parametrize("kind", ["", "Needs", ":waits_for", "two words", 7])
def test_a_kind_of_link_is_a_lower_case_word(kind):
    assert codes(work("linked", 1, kind=kind, target="wk-b")) == ["bad_data"]


def test_comments_stand_in_order_of_their_events_each_once():
    item = state_after(
        work("commented", 2, text="two"),
        work("commented", 1, text="one"),
        work("commented", 3, text="again", comment_id=id_at(1)),
    )

    assert [comment["text"] for comment in item["comments"]] == ["one", "two"]
    assert [comment["comment_id"] for comment in item["comments"]] == [id_at(1), id_at(2)]


def test_an_import_says_who_did_it_and_when():
    told = {"at_ms": 5, "by": "human:dee", "updated_at_ms": 9}
    mark = {"from": "beads", "sha256": "ab" * 32}

    lines = [created(**told, imported=mark), closing(1, at_ms=7, by="human:dee")]

    item = fold(lines, LATE_MS).states["work/wk-a"]

    assert (item["created_by"], item["created_at_ms"], item["imported"]) == ("human:dee", 5, mark)
    assert (item["closed_by"], item["closed_at_ms"], item["updated_at_ms"]) == ("human:dee", 7, 7)


@pytest.mark.parametrize("instant", [-1, True, "5", 2**63, 2**64 - 1, 1.5])
def test_an_instant_that_cannot_be_kept_is_the_events_own(instant):
    item = fold([created(at_ms=instant, updated_at_ms=instant)], LATE_MS).states["work/wk-a"]

    assert item["created_at_ms"] == item["updated_at_ms"] == START_MS


nobody_is_open = {}.get


def test_a_claim_that_is_over_makes_the_item_ready_again_without_anybody_writing():
    """At the very instant at which it expires."""
    item = state_after(claimed("ada", 1, ttl=9))

    words = [view.derived(item, START_MS + at, nobody_is_open) for at in (9, 10)]
    assert words == [{"status": "claimed"}, {"status": "open", "ready": True}]


def test_an_item_is_deferred_until_its_time_comes():
    item = state_after(updated(1, set={"defer_until_ms": START_MS + 9}))

    assert not view.is_ready(item, START_MS + 8, nobody_is_open)
    assert view.is_ready(item, START_MS + 9, nobody_is_open)


def test_a_need_blocks_while_it_is_known_and_not_closed():
    item = state_after(work("linked", 1, kind="needs", target="wk-b"))

    for is_open, ready in ((True, False), (False, True), (None, True)):
        assert view.is_ready(item, LATE_MS, lambda _, o=is_open: o) is ready
    assert view.derived(item, LATE_MS, lambda _: True)["blocked_by"] == ["wk-b"]


def test_why_an_item_is_not_ready_is_said_exactly_when_it_is_not():
    lines = some.of([event.raw for event in some.KNOWN])
    item = fold(lines, LATE_MS).states["work/wk-a"]

    for at_ms in (START_MS, LATE_MS):
        for is_open in (True, None):
            ready = view.is_ready(item, at_ms, lambda _, o=is_open: o)
            assert (view.reasons(item, at_ms, lambda _, o=is_open: o) == []) is ready


@given(lines=some.histories(), at=some.INSTANTS)
def test_ready_is_said_the_same_by_every_view_of_an_item(lines, at):
    states = fold(some.of(lines), LATE_MS).states
    items = {s["work_id"]: s for name, s in states.items() if name.startswith("work/")}
    is_open = {name: item["status"] != "closed" for name, item in items.items()}.get
    at_ms = START_MS + at

    for item in items.values():
        ready = view.is_ready(item, at_ms, is_open)
        assert view.derived(item, at_ms, is_open).get("ready", False) is ready
        assert (view.reasons(item, at_ms, is_open) == []) is ready
        assert view.whole(item, at_ms, is_open).get("ready", False) is ready
        assert view.short(item, at_ms, is_open).get("ready", False) is ready
        assert not view.whole(item, at_ms, is_open).keys() & set(view.INTERNAL) - {"links"}


@given(lines=some.histories(some.CROWDS["claims"]))
def test_an_item_is_claimed_exactly_when_it_has_a_claim(lines):
    """Or submitted by its holder; and a claim's fence is never above the largest known."""
    for name, item in fold(some.of(lines), LATE_MS).states.items():
        if name.startswith("work/"):
            claim = item.get("claim")
            held = {"claimed", "submitted"}
            assert item["status"] in (held if claim else {"open", "closed", "submitted"})
            assert item.get("fence", 0) >= (claim["fence"] if claim else 0)
            assert all(arbiter.runs(h, START_MS - 10) for h in item.get("refused", ()))


EDGES = st.dictionaries(
    st.sampled_from("abcdef"), st.sets(st.sampled_from("abcdef"), max_size=3), max_size=6
)


def reachable(links, start):
    """Every item that one needs, directly or through others."""
    found, waiting = set(), [start]
    while waiting:
        for target in links.get(waiting.pop(), ()):
            if target not in found:
                found.add(target)
                waiting.append(target)
    return found


@given(links=EDGES, start=st.sampled_from("abcdef"), added=st.sampled_from("abcdef"))
def test_a_new_need_closes_a_circle_exactly_when_it_can_be_followed_back(links, start, added):
    path = view.needs_cycle(start, added, lambda item: sorted(links.get(item, ())))

    assert bool(path) == (start == added or start in reachable(links, added))
    if path:
        steps = list(pairwise(path))
        assert (path[0], path[-1]) == (start, start)
        assert (start, added) in steps
        assert all(b in links.get(a, ()) for a, b in steps if (a, b) != (start, added))


@given(EDGES)
def test_a_circle_is_all_items_that_need_each_other(links):
    expected = {
        frozenset(other for other in "abcdef" if other in reachable(links, item)
                  and item in reachable(links, other)) for item in "abcdef"
    }  # fmt: skip

    found = view.cycles({item: sorted(targets) for item, targets in links.items()})

    assert {frozenset(group) for group in found} == {group for group in expected if len(group) > 1}
    assert found == sorted(sorted(group) for group in found)


def test_a_chain_of_needs_may_be_longer_than_the_stack():
    links = {str(n): [str(n + 1)] for n in range(20_000)}

    assert view.cycles({**links, "20000": ["0"]})[0][0] == "0"
    assert view.needs_cycle("20000", "0", lambda item: links.get(item, ())) != []
