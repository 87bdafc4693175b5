"""The rules for writes about work items that only hold where and when one writes."""

from collections.abc import Callable, Iterable, Mapping

from coord.core import judging
from coord.core.event import Event
from coord.core.judging import Here, Rule
from coord.core.problem import Problem, State
from coord.core.wk import parts, view


def _claim(written: Event, state: State, here: Here) -> Problem | None:
    return judging.grant_problem(written, parts.domain_of(state), here) or _readiness(
        written, state, here
    )


def _acceptance(written: Event, state: State, here: Here) -> Problem | None:
    """The sender's own hold is no obstacle; what this host promised others is."""
    return judging.grant_problem(written, parts.freed(state), here)


def _renewal(written: Event, state: State, here: Here) -> Problem | None:
    return judging.renewal_problem(written, parts.domain_of(state), here)


def _readiness(written: Event, state: State, here: Here) -> Problem | None:
    if written.body.get("anyway") is True:
        return None
    if view.is_deferred(state, written.time_ms):
        return Problem(written.event_id, "not_ready", f"{state['work_id']} is deferred")
    needs = view.open_needs(state, here.is_open)
    if needs:
        text = f"{state['work_id']} needs {', '.join(needs)}, which is not closed"
        return Problem(written.event_id, "not_ready", text)
    if view.open_waits(state, written.time_ms, here.is_open):
        [reason, *_] = view.reasons({**state, "status": "open"}, written.time_ms, here.is_open)
        return Problem(written.event_id, "not_ready", f"{state['work_id']} {reason}")
    return None


def _link(written: Event, state: State, here: Here) -> Problem | None:
    kind, target = written.body["kind"], written.body["target"]
    # An import states what another tool accepted: links into nothing, even circles.
    if "imported" in written.body or "updated_at_ms" in written.body:
        return None
    if here.is_open(target) is None:
        return Problem(written.event_id, "unknown_work", f"no work item {target} is known")
    if kind not in ("needs", "parent"):
        return None
    below: Callable[[str], Iterable[str]] = here.needs_of
    if kind == "parent":
        below = _parents_in(here)
    path = view.needs_cycle(state["work_id"], target, below)
    if path:
        word = " needs " if kind == "needs" else " is part of "
        return Problem(written.event_id, "cycle", f"that would be a circle: {word.join(path)}")
    return None


def _parents_in(here: Here) -> Callable[[str], Iterable[str]]:
    return lambda work_id: view.targets(here.state(f"work/{work_id}"), "parent")


def _hold(written: Event, state: State, here: Here) -> Problem | None:
    target = written.body.get("on", {}).get("item")
    if target is None:
        return None
    if target == state["work_id"]:
        return Problem(written.event_id, "cycle", f"{target} cannot wait for itself")
    if here.is_open(target) is None:
        return Problem(written.event_id, "unknown_work", f"no work item {target} is known")
    return None


RULES: Mapping[str, Rule] = {
    "work.claimed": _claim,
    "work.accepted": _acceptance,
    "work.renewed": _renewal,
    "work.linked": _link,
    "work.held": _hold,
}
