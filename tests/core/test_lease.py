"""Leases: the fold of a domain of resources (DESIGN §8)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core import arbiter, fold, judging
from coord.core.event import from_raw
from coord.core.lease import domain, request
from tests.strategies import LATE_MS, START_MS, acquire, event, examples, raw

AGENTS = ["ada", "bo", "human:cy"]
RESOURCES = [
    "path:src/**", "path:src/a.py", "path:lib/*.py", "path:lib/a*", "env:staging",
    "gpu:any*2", "gpu:any",
]  # fmt: skip


def taking(by: str, at: int, resource: str, ttl: int = 1000, **parts: Any):
    """An acquire of a resource; the lease is named after agent and instant."""
    refs = {"resource": resource, "lease_id": parts.pop("lease", f"lease-{by}{at}")}
    refs |= {"work_id": parts.pop("work")} if "work" in parts else {}
    known = {k: parts.pop(k) for k in ("session", "nth", "key") if k in parts}
    body = {"fence": 1, "ttl_ms": ttl, "expires_at_ms": START_MS + at + ttl, **parts}
    return event("lease.acquire", at, by, refs=refs, body=body, **known)


def about(kind: str, by: str, at: int, lease: str, resource: str = "env:staging", **body: Any):
    """Any other event about a lease."""
    refs = {"resource": resource, "lease_id": lease}
    return event(f"lease.{kind}", at, by, refs=refs, body=body)


def folded(*events: Any, entity: str = "lease/path"):
    """The state of a domain after these events, and the code of each problem."""
    done = fold.fold(events, LATE_MS)
    return done.states.get(entity, {}), [problem.code for problem in done.problems]


def holders(state: Any) -> list[str]:
    return [hold["agent_id"].removeprefix("agent:") for hold in state.get("holds", ())]


@pytest.mark.parametrize(
    ("one", "other", "refused"),
    [
        ("path:lib/*.py", "path:lib/a*", True),
        ("path:lib/*.py", "path:lib/*.c", False),
        ("path:src/**", "path:src/a/b", True),
        ("env:staging", "env:staging", True),
    ],
)
def test_what_may_be_the_same_is_held_once(one: str, other: str, refused: bool):
    entity = "lease/path" if one.startswith("path:") else f"lease/{one}"
    state, codes = folded(taking("ada", 0, one), taking("bo", 1, other), entity=entity)

    assert codes == (["held"] if refused else [])
    assert holders(state) == (["ada"] if refused else ["ada", "bo"])


def test_shared_goes_with_shared_and_with_nothing_else():
    state, codes = folded(
        taking("ada", 0, "path:src/**", shared=True),
        taking("bo", 1, "path:src/a.py", shared=True),
        taking("cy", 2, "path:src/b.py"),
    )

    assert (holders(state), codes) == (["ada", "bo"], ["held"])


def test_who_holds_a_folder_may_hold_a_file_in_it_too():
    """The narrow hold must not take the place of the wide one."""
    state, codes = folded(taking("ada", 0, "path:src/**"), taking("ada", 1, "path:src/a.py"))

    assert ([hold["resource"] for hold in state["holds"]], codes) == (
        ["path:src/**", "path:src/a.py"],
        [],
    )


def test_who_asks_again_for_the_same_has_the_new_hold_alone():
    state, _ = folded(taking("ada", 0, "path:src/**"), taking("ada", 1, "path:src/**", shared=True))

    assert [hold["lease_id"] for hold in state["holds"]] == ["lease-ada1"]


def test_letters_of_either_case_are_equal_where_one_of_both_says_so():
    state, codes = folded(
        taking("ada", 0, "path:README.md"), taking("bo", 1, "path:readme.md", ignorecase=True)
    )
    _, apart = folded(taking("ada", 0, "path:README.md"), taking("bo", 1, "path:readme.md"))

    assert (codes, apart) == (["held"], [])
    assert "ignorecase" not in state["holds"][0]


def test_a_pool_has_its_places_and_no_more():
    """An agent that asks twice has two places; a hold that is over has none."""
    state, codes = folded(
        taking("ada", 0, "gpu:any*3"), taking("ada", 1, "gpu:any*3"),
        taking("bo", 2, "gpu:any*3", ttl=5), taking("cy", 3, "gpu:any*3"),
        taking("cy", 7, "gpu:any*3"),
        entity="lease/gpu:any",
    )  # fmt: skip

    assert codes == ["held"]
    assert holders(state) == ["ada", "ada", "bo", "cy"]


def test_where_sizes_of_a_pool_differ_the_smallest_counts():
    wide, narrow = taking("ada", 0, "gpu:any*3"), taking("bo", 1, "gpu:any")

    assert folded(wide, narrow)[1] == ["held"]
    assert folded(taking("bo", 0, "gpu:any"), taking("ada", 1, "gpu:any*3"))[1] == ["held"]


def test_a_confirmed_acquire_takes_the_place_of_the_newest_advisory_one():
    state, codes = folded(
        taking("ada", 0, "gpu:any*2"), taking("bo", 1, "gpu:any*2"),
        taking("cy", 2, "gpu:any*2", confirmed="remote", fence=1_000_000, nonce="n"),
        entity="lease/gpu:any",
    )  # fmt: skip

    assert (holders(state), codes) == (["ada", "cy"], [])
    assert [hold["agent_id"] for hold in state["refused"]] == ["agent:bo"]


def test_a_hold_says_why_and_for_which_item():
    state, _ = folded(taking("ada", 0, "path:a", why="a fix", work="wk-a", exec=True))

    hold = state["holds"][0]
    assert (hold["why"], hold["work_id"], hold["exec"]) == ("a fix", "wk-a", True)
    assert request.row(hold, START_MS)["why"] == "a fix"


def test_its_holder_renews_and_releases():
    taken = acquire("ada", 0, ttl=10, lease="lease-1")
    renewed = about("renew", "ada", 5, "lease-1", ttl_ms=20, expires_at_ms=START_MS + 25)
    state, codes = folded(taken, renewed, entity="lease/env:staging")
    done, _ = folded(
        taken, renewed, about("release", "ada", 6, "lease-1"), entity="lease/env:staging"
    )

    assert (state["holds"][0]["expires_at_ms"], codes) == (START_MS + 25, [])
    assert done["holds"] == []


@pytest.mark.parametrize(
    ("kind", "by", "code"),
    [("release", "bo", "not_allowed"), ("renew", "bo", "not_held"), ("break", "bo", "not_allowed"),
     ("break", "human:cy", ""), ("break", "human:dee", "")],
)  # fmt: skip
def test_others_cannot_end_it_but_a_person_breaks_it(kind: str, by: str, code: str):
    state, codes = folded(
        acquire("ada", 0, lease="lease-1"), about(kind, by, 1, "lease-1", why="gone"),
        entity="lease/env:staging",
    )  # fmt: skip

    assert codes == ([code] if code else [])
    assert bool(state["holds"]) is bool(code)


def test_the_owner_of_an_agent_breaks_its_lease():
    """Any agent that a person has registered as theirs to another agent, too."""
    owned = event("agent.registered", 0, refs={"agent_id": "agent:bo"}, body={"owner": "agent:ada"})
    state, codes = folded(
        owned, acquire("bo", 1, lease="lease-1"), about("break", "ada", 2, "lease-1"),
        entity="lease/env:staging",
    )  # fmt: skip

    assert (state["holds"], codes) == ([], [])


def test_any_event_of_the_holder_that_names_it_prolongs_an_advisory_lease():
    state, _ = folded(
        acquire("ada", 0, ttl=10, lease="lease-1"), about("pondered", "ada", 5, "lease-1"),
        about("pondered", "bo", 9, "lease-1"), entity="lease/env:staging",
    )  # fmt: skip

    assert state["holds"][0]["expires_at_ms"] == START_MS + 15


def test_holds_that_are_long_over_are_forgotten():
    old = taking("ada", 0, "path:a", ttl=1)
    new = taking("bo", domain.KEPT_MS + 2, "path:b")

    done = fold.fold([old, new], LATE_MS + domain.KEPT_MS)

    assert holders(done.states["lease/path"]) == ["bo"]


def test_a_work_item_is_not_leased():
    state, codes = folded(taking("ada", 0, "work:wk-a"), entity="lease/work:wk-a")

    assert (state, codes) == ({}, ["bad_data"])


KINDS = ["acquire"] * 6 + ["renew", "release", "break", "pondered"]


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Events about a few resources that mostly meet."""
    lines = []
    for number in range(draw(st.integers(2, 16))):
        kind, at = draw(st.sampled_from(KINDS)), draw(st.integers(0, 30))
        ttl = draw(st.integers(1, 20))
        body: dict[str, Any] = {"ttl_ms": ttl, "expires_at_ms": START_MS + at + ttl}
        if kind == "acquire":
            body |= {"fence": draw(st.integers(1, 9))}
            body |= draw(st.sampled_from([{}, {}, {"shared": True}, {"take_over": True}]))
            body |= draw(st.sampled_from([{}, {}, {"confirmed": "remote", "nonce": "n"}]))
        lease = draw(st.sampled_from(["lease-1", "lease-2", f"lease-{number}x"]))
        refs = {"resource": draw(st.sampled_from(RESOURCES)), "lease_id": lease}
        by, session = draw(st.sampled_from(AGENTS)), draw(st.sampled_from(["", "", "s1"]))
        line = raw(f"lease.{kind}", at, by, refs=refs, body=body, session=session, nth=number)
        lines.append(line)
    return lines


@given(histories(), st.data())
@examples(300)
def test_order_of_arrival_and_repeats_change_nothing(lines: list[Any], data: st.DataObject):
    events = [from_raw(line) for line in lines]
    again = data.draw(st.permutations([*events, *data.draw(st.lists(st.sampled_from(events)))]))

    assert fold.fold(again, LATE_MS) == fold.fold(events, LATE_MS)


def running(state: Any, at_ms: int) -> list[Any]:
    return [hold for hold in state.get("holds", ()) if arbiter.runs(hold, at_ms)]


def is_excluded(one: Any, other: Any) -> bool:
    """Whether two holds of the domain must not run at once: written down a second time."""
    if one["resource"].startswith("gpu:") or request.is_mine(
        one, other["agent_id"], other["session_id"]
    ):
        return False
    both_shared = one.get("shared") is True and other.get("shared") is True
    return not both_shared and domain.meet(one, other["resource"])


@given(histories())
@examples(300)
def test_what_runs_at_one_time_never_conflicts(lines: list[Any]):
    """After each event: exclusive resources have one holder, pools no more than places."""
    ordered = sorted((from_raw(line) for line in lines), key=lambda e: e.event_id)
    for count in range(1, len(ordered) + 1):
        states = fold.fold(ordered[:count], LATE_MS).states
        at_ms = ordered[count - 1].time_ms
        for name in ("path", "env:staging"):
            holds = running(states.get(f"lease/{name}", {}), at_ms)
            for number, one in enumerate(holds):
                assert not any(is_excluded(one, other) for other in holds[number + 1 :])
        pool = running(states.get("lease/gpu:any", {}), at_ms)
        alone = [h for h in pool if h.get("shared") is not True]
        assert len(alone) <= 2
        assert not (alone and any(h["resource"] == "gpu:any" for h in pool)) or len(pool) == 1


class Here:
    """A clone that has written everything it knows."""

    skew_ms = 10_000

    def __init__(self) -> None:
        self.states: dict[str, Any] = {}

    def state(self, entity: str) -> Any:
        return self.states.get(entity, {})

    def keyed(self, _event: Any) -> list[Any]:
        return []

    def is_ours(self, _hold: Any) -> bool:
        return True

    def has_won(self, _nonce: object) -> bool:
        return False


@given(st.lists(st.tuples(st.sampled_from(AGENTS), st.sampled_from(RESOURCES),
                          st.integers(1, 9)), min_size=2, max_size=12))  # fmt: skip
@examples(200)
def test_the_fences_that_are_written_in_a_domain_strictly_grow(wanted: list[Any]):
    here: Any = Here()
    fences: dict[str, list[int]] = {}
    for at, (by, resource, ttl) in enumerate(wanted):
        for fence in range(1, 20):
            asked = taking(by, at, resource, ttl, fence=fence, confirmed="host")
            after, problem = judging.judge(asked, here)
            if problem is None:
                entity = f"lease/{domain.named_in(asked).domain}"
                here.states[entity] = after
                fences.setdefault(entity, []).append(fence)
                break

    for granted in fences.values():
        assert granted == sorted(set(granted))


def test_what_this_host_has_promised_stands_in_the_way_also_in_a_pool():
    """Another clone's acquire, with an older id, beat it; its holder was told `host`."""
    here: Any = Here()
    events = [taking("bo", 0, "gpu:any"), taking("ada", 1, "gpu:any", fence=2)]
    here.states = dict(fold.fold(events, LATE_MS).states)
    released = about("release", "bo", 2, "lease-bo0", "gpu:any")
    here.states["lease/gpu:any"], _ = judging.judge(released, here)

    for size in ("", "*2"):
        asked = taking("human:cy", 3, f"gpu:any{size}", fence=3)
        assert judging.judge(asked, here)[1].code == "held"


@pytest.mark.parametrize(
    ("held_exec", "blocked"),
    [(False, False), (True, True)],
)
def test_two_commands_of_one_agent_exclude_each_other(held_exec: bool, blocked: bool):
    more = {"exec": True} if held_exec else {}
    state, _ = folded(taking("ada", 0, "path:src/**", **more))
    wanted = {**arbiter.hold_from(taking("ada", 1, "path:src/a.py")), "shared": False}

    assert bool(domain.own_in_way(state, wanted, START_MS + 1, False)) is blocked


def test_what_a_command_holds_stands_beside_what_its_agent_holds():
    """Its end must not take away what the agent took for itself."""
    own, command = taking("ada", 0, "env:a"), taking("ada", 1, "env:a", exec=True)
    for events in ((own, command), (command, own)):
        state, codes = folded(*events, entity="lease/env:a")

        assert (len(state["holds"]), codes) == (2, [])


def test_who_shares_a_path_may_change_it_and_others_may_not():
    def_holds, _ = folded(
        taking("ada", 0, "path:src/**", shared=True), taking("bo", 1, "path:src/**", shared=True)
    )
    holds = def_holds["holds"]

    verdicts = [request.verdict(holds, "src/a.py", f"agent:{who}", "")[0] for who in ("ada", "cy")]
    assert verdicts == ["mine", "blocked"]
    assert request.verdict(holds, "lib/a.py", "agent:cy", "") == ("clear", None)
