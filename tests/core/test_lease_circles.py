"""Circles of waiters: who would wait for ever, and which one of them gives way."""

from hypothesis import given
from hypothesis import strategies as st

from coord.core import resource
from coord.core.lease.waiting import Ticket, circle, goes_first

NAMES = ("env:a", "env:b", "gpu:p*2", "gpu:q*2", "path:src/**", "path:src/a", "path:docs/a")
AGENTS = [f"agent:{name}" for name in "abcde"]


def ticket(number, agent, *wants, shared=False):
    return Ticket(number, agent, "", wants, shared, False, ())


def hold(agent, named, number=0, shared=False):
    return {"agent_id": agent, "session_id": "", "resource": named, "shared": shared,
            "lease_id": f"lease-{agent}{number}"}  # fmt: skip


def meets(one, other):
    if one.startswith("path:") and other.startswith("path:"):
        return one == other or "path:docs/a" not in (one, other)
    return resource.domain_of(one) == resource.domain_of(other)


def left_over(tickets, holds):
    """Let everybody who can have what they want have it and give all back; who is left."""
    waiting = sorted(tickets)
    held = [h for h in holds if h["agent_id"] in {t.agent_id for t in tickets}]
    while True:
        for one in waiting:
            if not any(goes_first(other, one) for other in waiting) and fits(one, held):
                waiting = [other for other in waiting if other is not one]
                held = [h for h in held if h["agent_id"] != one.agent_id]
                break
        else:
            return waiting


def fits(one, held):
    for text in one.wants:
        places = resource.read(text).places
        against = [
            h for h in held
            if meets(h["resource"], text) and h["agent_id"] != one.agent_id
            and not (h["shared"] and one.shared)
        ]  # fmt: skip
        if len(against) >= places:
            return False
    return True


@st.composite
def crowds(draw):
    """Waiters, one per agent, and what the agents hold: each resource within its places."""
    tickets = [
        ticket(number, agent, *draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2)))
        for number, agent in enumerate(draw(st.permutations(AGENTS))[: draw(st.integers(1, 5))], 1)
    ]
    holds = []
    for number, name in enumerate(draw(st.lists(st.sampled_from(NAMES), max_size=6))):
        agent = draw(st.sampled_from(AGENTS))
        taken = [h for h in holds if meets(h["resource"], name)]
        if len(taken) < resource.read(name).places:
            holds.append(hold(agent, name, number))
    return tickets, holds


def circles(tickets, holds):
    """Whom a circle names, of those who ask."""
    found = {t: circle(t, [o for o in tickets if o is not t], holds) for t in tickets}
    return {t: said for t, said in found.items() if said}


@given(crowds())
def test_somebody_gives_way_exactly_while_somebody_would_wait_for_ever(crowd):
    """One at a time, and in the end all others get what they want."""
    tickets, holds = crowd
    while left_over(tickets, holds):
        named = circles(tickets, holds)
        assert len(named) >= 1
        [youngest] = [t for t in named if t.number == max(n.number for n in named)]
        assert youngest in left_over(tickets, holds)
        assert any(youngest.agent_id in said for said in named[youngest])
        tickets = [t for t in tickets if t is not youngest]
    assert not circles(tickets, holds)


def test_a_pool_is_waited_for_in_vain_only_where_all_its_places_are():
    first = ticket(1, "agent:a", "gpu:p*2")
    second = ticket(2, "agent:b", "env:a")
    third = ticket(3, "agent:c", "env:a")
    holds = [hold("agent:a", "env:a"), hold("agent:b", "gpu:p*2"), hold("agent:c", "gpu:p*2")]

    assert circle(second, [first], holds) == []
    assert circle(third, [first, second], holds) == [
        "agent:c waits for env:a, which agent:a holds",
        "agent:a waits for gpu:p*2, which agent:c holds",
    ]


def test_who_only_stands_behind_a_circle_does_not_give_way():
    first, second = ticket(1, "agent:a", "env:b"), ticket(2, "agent:b", "env:a")
    behind = ticket(3, "agent:c", "env:a")
    holds = [hold("agent:a", "env:a"), hold("agent:b", "env:b")]

    assert list(circles([first, second, behind], holds)) == [second]
