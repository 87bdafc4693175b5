"""The registry of agents: who they are, how they listen, and who paused them.

A pause binds by event_id: it holds for what its agent writes with a larger id,
until a resume. `agent/*` is everybody but people: the kill switch must not lock
out whoever is to lift it. Several may pause one agent: a human lifts all their pauses,
anybody else those that no human set.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from coord.core.event import Event
from coord.core.problem import Patch, Problem, State, World

EVERYBODY = "*"
_ALL = f"agent/{EVERYBODY}"
MODES = ("listening", "episodic", "human")
ROLE = re.compile(r"[a-z][a-z0-9_-]{0,39}")
FIELDS = {
    "name": str, "kind": str, "owner": str, "mode": str, "period_ms": int, "capabilities": list,
    "roles": list,
}  # fmt: skip


def is_human(agent_id: str) -> bool:
    """Whether a person acts, by the id's kind."""
    return agent_id.startswith("human:")


def _registered(state: State, event: Event, _world: World) -> Patch | Problem:
    fields: dict[str, Any] = {}
    for name, kind in FIELDS.items():
        if name in event.body:
            value = event.body[name]
            if type(value) is not kind:
                return Problem(event.event_id, "bad_data", f"{name} is not a {kind.__name__}")
            fields[name] = value
    fields.setdefault("registered_at_ms", state.get("registered_at_ms", event.time_ms))
    if "owner" in fields:
        fields["owners"] = [*state.get("owners", []), [event.event_id, fields["owner"]]]
    return {"agent_id": event.refs["agent_id"], **fields}


def _paused(state: State, event: Event, _world: World) -> Patch | Problem:
    pauses = state.get("pauses", [])
    if any(_is_open(pause) and pause["by"] == event.agent_id for pause in pauses):
        text = f"{event.refs['agent_id']} is paused by {event.agent_id} already"
        return Problem(event.event_id, "wrong_state", text)
    why = event.body.get("why")
    pause = {
        "since": event.event_id,
        "by": event.agent_id,
        "why": why if isinstance(why, str) else "no reason given",
    }
    return {"agent_id": event.refs["agent_id"], "pauses": [*pauses, pause]}


def _resumed(state: State, event: Event, _world: World) -> Patch | Problem:
    pauses = state.get("pauses", [])
    standing = [pause for pause in pauses if _is_open(pause)]
    if not standing:
        return Problem(event.event_id, "wrong_state", f"{event.refs['agent_id']} is not paused")
    lifts = [pause for pause in standing if is_human(event.agent_id) or not is_human(pause["by"])]
    if not lifts:
        text = f"only a human lifts the pause that {standing[0]['by']} set"
        return Problem(event.event_id, "not_allowed", text)
    lifted = {"until": event.event_id, "lifted_by": event.agent_id}
    return {"pauses": [{**p, **lifted} if p in lifts else p for p in pauses]}


def _is_open(pause: Mapping[str, Any]) -> bool:
    return "until" not in pause


STEPS = {"agent.registered": _registered, "agent.paused": _paused, "agent.resumed": _resumed}


def pause_of(world: World, agent_id: str, event_id: str) -> Mapping[str, Any] | None:
    """The pause that binds this agent at this event id: {since, by, why, …}, or None."""
    own = world.state(f"agent/{agent_id}").get("pauses")
    everybodys = world.state(_ALL).get("pauses")
    if not own and not everybodys:
        # Every event asks this, and most stores know no pause at all.
        return None
    found = _pause_in(own or (), event_id)
    if found is not None or is_human(agent_id):
        return found
    return _pause_in(everybodys or (), event_id)


def _pause_in(pauses: Iterable[Mapping[str, Any]], event_id: str) -> Mapping[str, Any] | None:
    for pause in pauses:
        if pause["since"] < event_id <= pause.get("until", "~"):
            return pause
    return None


def owner_of(world: World, agent_id: str, event_id: str) -> str:
    """The human behind an agent as registered before this event; "" if nobody is."""
    owner = ""
    for since, name in world.state(f"agent/{agent_id}").get("owners", ()):
        if since < event_id:
            owner = name
    return owner


def view(state: State, world: World, now_id: str) -> dict[str, Any]:
    """One agent as people and programs see it.

    now_id: the id up to which pauses are judged.
    """
    shown = {key: value for key, value in state.items() if key not in ("pauses", "owners", "last")}
    pause = pause_of(world, state["agent_id"], now_id)
    if pause is not None:
        shown["paused"] = {key: pause[key] for key in ("by", "why", "since")}
    return shown
