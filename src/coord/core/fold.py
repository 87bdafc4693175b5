"""Events in, states and problems out: the one fold that every tool shares.

An *entity* (a work item, an agent, a setting) is folded from its own events,
sorted by event_id, by its tool's table `type -> step`. A step answers a patch
(the keys of the state that change; `GONE` removes one) or a `Problem`; it never
raises because of data. Besides its own entity a step may read, through `World`,
other entities' states, and the engine reads two things for every event:

    idempotency   a later event of one (agent, type, key) that says the same has
                  no effect; one that says something else is `key_reused`
    pauses        what a paused agent takes has no effect; what it gives back or
                  tells stands, marked

Both are judged as of the event's own id, so every replica agrees. Agents pause each
other, so their events are folded together, in one order. `fold` does it all in memory
and is the definition; `edge.index` keeps the same answers on disk by calling the same
`advance`.
"""

import functools
import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from coord.core import event as events_module
from coord.core import registry
from coord.core.event import Event
from coord.core.problem import GONE, NOTE, Patch, Problem, State, World

Step = Callable[[State, Event, World], Patch | Problem]


def _ignored(_state: State, _event: Event, _world: World) -> Patch:
    """Types of later versions change nothing."""
    return {}


# Where a family's `STEPS` are, and its `otherwise` for other types: a command loads those
# of the families that it folds.
_FAMILIES: Mapping[str, str] = {
    "work": "coord.core.wk.item",
    "agent": "coord.core.registry",
    "config": "coord.core.settings",
    "msg": "coord.core.msg.mail",
    "lease": "coord.core.lease.domain",
    "run": "coord.core.run.life",
}


@functools.cache
def _steps_of(family: str) -> tuple[Mapping[str, Step], Step]:
    module = importlib.import_module(_FAMILIES[family])
    return module.STEPS, getattr(module, "otherwise", _ignored)


# What others read is folded first: whoever acts may be paused.
ORDER = ("agent", "config", "work", "msg", "lease", "run")
# Whose states the steps of others read, as of the event's own id.
READ_BY_OTHERS = ("agent", "config")

# What a paused agent may not do: take something, or lift its own pause.
TAKES = frozenset({
    "work.claimed", "work.accepted", "work.renewed", "work.closed", "work.deleted",
    "lease.acquire", "lease.renew", "run.claimed", "run.renewed", "agent.resumed",
})  # fmt: skip


class Folded(NamedTuple):
    """All states by entity, and every problem in order of event_id."""

    states: Mapping[str, State]
    problems: Sequence[Problem]


def advance(
    entity: str, state: State, event: Event, world: World, *, owned: bool = False
) -> tuple[State, Sequence[Problem]]:
    """Fold one more event into an entity; `event` is newer than all folded before.

    state: {} before the first event.
    owned: nobody else holds `state`, so that its keys may be changed in place: copying
    it takes a quarter of the time of folding a large store.
    Returns the new state and the problems this event caused.
    """
    marks: list[Problem] = []
    if event.key:
        repeat = _repeat_of_key(event, world)
        if repeat is not None:
            if repeat.code == "duplicate":
                from coord.core.msg import mail

                return mail.repeated(state, event, repeat.message), ()
            marks.append(repeat)
    refused = pause_problem(event, world)
    if refused is not None:
        if not refused.stands:
            return state, (*marks, refused)
        marks.append(refused)
    steps, otherwise = _steps_of(entity.partition("/")[0])
    outcome = steps.get(event.type, otherwise)(state, event, world)
    if isinstance(outcome, Problem):
        return state, (*marks, outcome)
    if refused is not None:
        outcome = _without_renewal(outcome, event)
    if not outcome:
        return state, marks
    return _patched(state if owned else {**state}, outcome, event, marks), marks


def _without_renewal(patch: Patch, event: Event) -> Patch:
    """A paused agent's words stand, but they do not prolong what it holds."""
    if "confirmed" in event.body or patch.get("claim") in (None, GONE):
        return patch
    return {name: value for name, value in patch.items() if name != "claim"}


def _patched(state: State, patch: Patch, event: Event, marks: list[Problem]) -> State:
    state.update(patch)
    if NOTE in patch:
        marks.append(state.pop(NOTE))
    for key, value in patch.items():
        if value is GONE:
            del state[key]
    state["last"] = event.event_id
    return state


def _repeat_of_key(event: Event, world: World) -> Problem | None:
    earlier = [e for e in world.keyed(event) if e.event_id < event.event_id]
    if not earlier:
        return None
    same = [e.event_id for e in earlier if events_module.says_the_same(e, event)]
    if same:
        return Problem(event.event_id, "duplicate", min(same))
    return Problem(
        event.event_id,
        "key_reused",
        f"key {event.key!r} already stands for {earlier[0].event_id}, which says something else",
        stands=True,
    )


def pause_problem(event: Event, world: World) -> Problem | None:
    """The pause that binds the author of this event; `stands` for what it gives or tells."""
    pause = registry.pause_of(world, event.agent_id, event.event_id)
    if pause is None:
        return None
    text = f"{event.agent_id} was paused by {pause['by']}: {pause['why']}"
    confirmed = event.body.get("confirmed") == "remote"
    stands = event.type not in TAKES or confirmed
    if event.type == "agent.resumed" and event.agent_id.startswith("human:"):
        stands = True
    return Problem(event.event_id, "paused", text, stands=stands)


def in_order(events: Iterable[Event], now_ms: int) -> tuple[list[Event], list[Problem]]:
    """Sort by event_id, drop repeats, leave out what is quarantined at `now_ms`."""
    horizon = events_module.horizon(now_ms)
    kept: list[Event] = []
    problems: dict[str, Problem] = {}
    for event in sorted((e for e in events if e.event_id < horizon), key=_by_id):
        if not kept or kept[-1].event_id != event.event_id:
            kept.append(event)
            continue
        kept[-1], problem = settled((kept[-1], event))
        if problem is not None:
            problems[problem.event_id] = problem
    return kept, list(problems.values())


def settled(variants: Sequence[Event]) -> tuple[Event, Problem | None]:
    """Choose among events of one id: the one whose content sorts first.

    Of lines with one content it is the one whose writer and spelling sort first, so
    that the choice depends on nothing else. Returns it, and the problem
    `id_reused` unless all say the same.
    """
    chosen = min(variants, key=_by_content)
    contents = {canonical(events_module.content_of(event.raw)) for event in variants}
    if len(contents) == 1:
        return chosen, None
    text = "two different events have this id; the one that sorts first is used"
    return chosen, Problem(chosen.event_id, "id_reused", text)


def _by_id(event: Event) -> str:
    return event.event_id


def _by_content(event: Event) -> tuple[str, str, str]:
    content = canonical(events_module.content_of(event.raw))
    return content, event.writer, repr(event.raw)


def canonical(value: object) -> str:
    """A text that is equal exactly for equal JSON values, whatever their key order."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k!r}:{canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(canonical(part) for part in value) + "]"
    return repr(value)


def fold_entity(entity: str, ordered: Iterable[Event], world: World) -> tuple[State, list[Problem]]:
    """Fold one entity from nothing; `ordered` comes from `in_order`."""
    state: State = {}
    problems: list[Problem] = []
    for event in ordered:
        state, found = advance(entity, state, event, world, owned=True)
        problems.extend(found)
    return state, problems


class _Memory:
    """A `World` of states folded so far and of all keyed events."""

    def __init__(self) -> None:
        self.states: dict[str, State] = {}
        self._keyed: dict[str, list[Event]] = {}

    def note_key(self, event: Event) -> None:
        self._keyed.setdefault(events_module.key_scope(event.raw), []).append(event)

    def state(self, entity: str) -> State:
        return self.states.get(entity, {})

    def keyed(self, event: Event) -> Sequence[Event]:
        return self._keyed.get(events_module.key_scope(event.raw), ())


def fold(events: Iterable[Event], now_ms: int) -> Folded:
    """Fold everything in memory: the definition of every answer the tools give.

    Permuting, repeating or splitting `events` changes nothing; unknown types and
    keys change nothing; a bad event never stops the fold.
    """
    ordered, problems = in_order(events, now_ms)
    groups: dict[str, list[Event]] = {}
    world = _Memory()
    for event in ordered:
        if event.key:
            world.note_key(event)
        entity = events_module.entity_of(event.raw)
        if entity:
            groups.setdefault(entity, []).append(event)
    problems.extend(_fold_agents(ordered, world))
    for family in ORDER[1:]:
        for entity, group in groups.items():
            if entity.startswith(family + "/"):
                state, found = fold_entity(entity, group, world)
                problems.extend(found)
                if state:
                    world.states[entity] = state
    return Folded(world.states, sorted(problems, key=_by_event))


def _fold_agents(ordered: Iterable[Event], world: _Memory) -> list[Problem]:
    problems: list[Problem] = []
    for event in ordered:
        entity = events_module.entity_of(event.raw)
        if entity.startswith("agent/"):
            state, found = advance(entity, world.state(entity), event, world)
            problems.extend(found)
            if state:
                world.states[entity] = state
    return problems


def _by_event(problem: Problem) -> tuple[str, str, str]:
    return problem.event_id, problem.code, problem.message
