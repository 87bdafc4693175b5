"""When a loop ends, and why: pure answers.

    reason           it stops                                               exit status
    until            what it was for holds                                  0
    max_iterations   so many rounds are over                                10; 0 without --until
    no_progress      so many rounds in a row have brought nothing new       11
    max_cost         so much was used                                       12
    cost_unknown     a round was not measured that --max-cost has to bound  13
    max_wall         so much time has passed                                124
    interrupted      somebody ended it by a signal                          128 and the signal
    not_started      the command cannot be executed                         126, 127

The first of these, in this order, that is true after a round is the one that is told; time
and cost end a round in its midst. Evidence of progress is what the round has left: files,
the states of work items, how --until ended. What was there before, in whatever round, is
nothing new: two states that take turns are no progress.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

UNTIL, MAX_ITERATIONS, NO_PROGRESS, MAX_COST, COST_UNKNOWN, MAX_WALL = (
    "until max_iterations no_progress max_cost cost_unknown max_wall".split()
)
INTERRUPTED, NOT_STARTED = "interrupted", "not_started"
STATUSES: Mapping[str, int] = {
    UNTIL: 0, MAX_ITERATIONS: 10, NO_PROGRESS: 11, MAX_COST: 12, COST_UNKNOWN: 13, MAX_WALL: 124,
}  # fmt: skip
_NEAR = 0.9


class Bounds(NamedTuple):
    """What a loop may use at most; None for no bound. unit: what cost is counted in."""

    iterations: int | None = None
    wall_ms: int | None = None
    cost: float | None = None
    still: int | None = None
    unit: str = "usd"
    has_goal: bool = False


class Standing(NamedTuple):
    """How a loop stands.

    rounds: those that are over. still: how many of the last brought nothing new.
    cost: what is known to be used; is_measured: whether that is all.
    """

    rounds: int = 0
    wall_ms: int = 0
    cost: float = 0
    is_measured: bool = True
    still: int = 0
    is_reached: bool = False


def cut(bounds: Bounds, now: Standing) -> str:
    """Why a round is ended in its midst; "" when it is not."""
    if bounds.cost is not None and now.cost >= bounds.cost:
        return MAX_COST
    return MAX_WALL if bounds.wall_ms is not None and now.wall_ms >= bounds.wall_ms else ""


def stop(bounds: Bounds, now: Standing) -> str:
    """Why no other round begins; "" when one does."""
    if now.is_reached:
        return UNTIL
    if bounds.cost is not None and not now.is_measured:
        return COST_UNKNOWN
    found = cut(bounds, now)
    if found:
        return found
    if bounds.still is not None and now.still >= bounds.still:
        return NO_PROGRESS
    is_last = bounds.iterations is not None and now.rounds >= bounds.iterations
    return MAX_ITERATIONS if is_last else ""


def status_of(reason: str, bounds: Bounds) -> int:
    """The exit status that tells a reason."""
    if reason == MAX_ITERATIONS and not bounds.has_goal:
        return 0
    return STATUSES[reason]


def near(bounds: Bounds, now: Standing) -> Iterator[tuple[str, float, float]]:
    """The bounds of which 90 % is used, or all but one: the bound, what is used, and it."""
    counted = (
        (MAX_ITERATIONS, now.rounds, bounds.iterations),
        (NO_PROGRESS, now.still, bounds.still),
    )
    for name, used, most in counted:
        if most is not None and 0 < used < most and (used >= most * _NEAR or used == most - 1):
            yield name, used, most
    measured = ((MAX_WALL, now.wall_ms, bounds.wall_ms), (MAX_COST, now.cost, bounds.cost))
    for name, amount, limit in measured:
        if limit is not None and limit * _NEAR <= amount < limit:
            yield name, amount, limit


def near_at_ms(bounds: Bounds) -> float | None:
    """When 90 % of the time is over."""
    return None if bounds.wall_ms is None else bounds.wall_ms * _NEAR


def row(
    bounds: Bounds, now: Standing, reason: str = "", is_metered: bool = False
) -> dict[str, Any]:
    """How a loop stands, or has ended, for programs."""
    told: dict[str, Any] = {"reason": reason} if reason else {}
    told |= {"rounds": now.rounds, "wall_ms": now.wall_ms}
    if bounds.still is not None:
        told["still"] = now.still
    if is_metered:
        told[bounds.unit] = round(now.cost, 6) if bounds.unit == "usd" else round(now.cost)
        if not now.is_measured:
            told["cost_unknown"] = True
    return told
