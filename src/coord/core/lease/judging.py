"""The rules for writes about leases that only hold where and when one writes."""

from collections.abc import Mapping

from coord.core import arbiter, judging
from coord.core.event import Event
from coord.core.judging import Here, Rule
from coord.core.lease import domain as leases
from coord.core.problem import Problem, State


def _lease(written: Event, state: State, here: Here) -> Problem | None:
    hold = leases.in_way(written, state, here)
    if hold is not None:
        return Problem(written.event_id, "held", arbiter.held_text(hold))
    return judging.fence_problem(written, leases.domain_in(state), here)


def _lease_renewal(written: Event, state: State, here: Here) -> Problem | None:
    return judging.renewal_problem(written, leases.domain_in(state), here)


RULES: Mapping[str, Rule] = {"lease.acquire": _lease, "lease.renew": _lease_renewal}
