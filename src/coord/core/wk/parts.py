"""What the steps of a work item share: who and when, the claim, guarded writes."""

from collections.abc import Callable, Mapping
from typing import Any

from coord.core import arbiter
from coord.core.event import Event, is_integer
from coord.core.problem import GONE, NOTE, Patch, Problem, State, World

Step = Callable[[State, Event, World], Patch | Problem]
_GIVING_BACK = ("work.released", "work.closed", "work.deleted")


def domain_of(state: Mapping[str, Any]) -> arbiter.Domain:
    """The arbiter's view of an item: one exclusive resource, `work:ID`."""
    claim = state.get("claim")
    domain = {
        "holds": [claim] if claim else [],
        "refused": state.get("refused", []),
        "fence": state.get("fence", 0),
    }
    if "confirmed_fence" in state:
        domain["confirmed_fence"] = state["confirmed_fence"]
    return domain


def claim_patch(domain: arbiter.Domain) -> dict[str, Any]:
    """What of an item's state says who holds it."""
    holds, refused = domain["holds"], domain["refused"]
    patch: dict[str, Any] = {
        "claim": holds[-1] if holds else GONE,
        "refused": refused if refused else GONE,
    }
    patch.update({k: domain[k] for k in ("fence", "confirmed_fence") if domain.get(k)})
    if holds:
        patch["newest_lease"] = holds[-1]["lease_id"]
    return patch


def when(event: Event, name: str = "at_ms") -> int:
    """The instant an import states, else the event's own."""
    if name in event.body and is_integer(event.body[name]):
        return int(event.body[name])
    return event.time_ms


def who(event: Event) -> str:
    """Whom an import names, else the event's author."""
    value = event.body.get("by")
    return value if isinstance(value, str) else event.agent_id


def moved(event: Event) -> dict[str, Any]:
    """What every effective event changes: when the item last moved, and its import."""
    body = event.body
    stated = is_integer(body["updated_at_ms"]) if "updated_at_ms" in body else False
    patch: dict[str, Any] = {"updated_at_ms": body["updated_at_ms"] if stated else when(event)}
    if "imported" in body and isinstance(body["imported"], dict):
        patch["imported"] = body["imported"]
    return patch


def bad(event: Event, text: str) -> Problem:
    """Data that does not fit."""
    return Problem(event.event_id, "bad_data", f"{event.refs.get('work_id')}: {text}")


def fenced(state: State, event: Event) -> Problem | None:
    """Refuse a guarded write whose hold is not the item's newest good one."""
    lease_id = event.refs.get("lease_id")
    if lease_id is None or state.get("newest_lease", lease_id) == lease_id:
        return None
    if "claim" in state:
        text = arbiter.held_text(state["claim"])
    else:
        text = f"another hold of {state['work_id']} was good and is over"
    return Problem(event.event_id, "fenced", f"since then {text}")


def renewed_by(state: State, event: Event) -> Mapping[str, Any]:
    """Prolong the claim, or what was promised, when its holder's event names it."""
    if "lease_id" not in event.refs:
        return {}
    touched = arbiter.touch(domain_of(state), event)
    patch = {"claim": touched["holds"][-1]} if "claim" in state else {}
    return {**patch, "refused": touched["refused"]} if "refused" in state else patch


def promised(state: State, event: Event, problem: Problem) -> Patch:
    """What is left of an acquire that is refused: its holder was told otherwise."""
    return {**claim_patch(arbiter.refuse(domain_of(state), event)), NOTE: problem}


def freed(state: State) -> arbiter.Domain:
    """The item's domain once nobody holds it."""
    domain = domain_of(state)
    return {**domain, "holds": []}


def held_by_another(state: State, event: Event) -> Problem | None:
    """Refuse what only the holder may do while a claim runs."""
    claim = state.get("claim")
    if claim is None or not arbiter.runs(claim, event.time_ms):
        return None
    if arbiter.is_holder(claim, event):
        return None
    return Problem(event.event_id, "held", arbiter.held_text(claim))


def on_known_item(step: Step) -> Step:
    """Give a step only items that exist."""

    def guarded(state: State, event: Event, world: World) -> Patch | Problem:
        if not state:
            text = f"no work item {event.refs.get('work_id')} is known"
            return Problem(event.event_id, "unknown_work", text)
        outcome = step(state, event, world)
        return _keeping_word(state, event, outcome) if isinstance(outcome, Problem) else outcome

    return guarded


def _keeping_word(state: State, event: Event, problem: Problem) -> Patch | Problem:
    """A refused write of who has lost the claim: where it was written it prolonged it."""
    promise = arbiter.promise(domain_of(state), event.refs.get("lease_id"))
    if promise is None or event.type in _GIVING_BACK:
        return problem
    return {**renewed_by(state, event), NOTE: problem}
