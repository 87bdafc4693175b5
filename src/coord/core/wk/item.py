"""The fold of one work item: `type -> step` (DESIGN §7), claims by the arbiter.

    event      on nothing    open/claimed          closed or deleted
    created    the item      repeat: edits          repeat: edits
    updated    unknown_work  newest edit wins       the same
    linked, unlinked, commented: always stand on a known item
    claimed    unknown_work  arbiter                wrong_state
    renewed    unknown_work  arbiter                not_held
    released   unknown_work  ends the claim         nothing
    closed     unknown_work  held by another: held  wrong_state
    reopened   unknown_work  wrong_state            open
    deleted    unknown_work  a tombstone            a tombstone

A write that names a `lease_id` is guarded: it has no effect once another hold was
good (`fenced`). Anybody may edit, link and comment; closing what another holds is
`held`. Any event of the claim's holder that names its lease renews the claim.

Two edits of one field made without knowing of each other: the newest wins, the
other stays visible in `conflicts` until somebody edits the field knowingly.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from coord.core import arbiter, registry
from coord.core.event import Event
from coord.core.problem import GONE, NOTE, Patch, Problem, State, World
from coord.core.wk import custody, fields, parts
from coord.core.wk.parts import Step


def _created(state: State, event: Event, world: World) -> Patch | Problem:
    fault = fields.fault_in(event.body) or ("" if "title" in event.body else "title is missing")
    labels = event.body.get("labels", [])
    if fault or not fields.are_labels(labels):
        return parts.bad(event, fault or "labels is not a list of texts")
    if state:
        return _created_again(state, event)
    return {
        "work_id": event.refs["work_id"],
        "type": fields.DEFAULT_TYPE,
        "priority": fields.DEFAULT_PRIORITY,
        "status": "open",
        "labels": sorted(set(labels)),
        "created_at_ms": parts.when(event),
        "created_by": parts.who(event),
        "created_event": event.event_id,
        "values": {},
        **fields.stored(event.body),
        **parts.moved(event),
    }


def _created_again(state: State, event: Event) -> Patch:
    """Two clones made one item: what the later says counts as edits made unseen."""
    said = fields.stored(event.body)
    differing = {name: value for name, value in said.items() if state.get(name) != value}
    labels = sorted({*state["labels"], *event.body.get("labels", [])})
    patch = _edited(state, event, differing, base=dict.fromkeys(differing, ""))
    if differing or labels != state["labels"]:
        text = f"{state['work_id']} was created twice; the values of both are kept"
        patch[NOTE] = Problem(event.event_id, "exists", text, stands=True)
    return {**patch, "labels": labels, **parts.moved(event)}


def _updated(state: State, event: Event, world: World) -> Patch | Problem:
    refusal = parts.fenced(state, event)
    if refusal:
        return refusal
    body = event.body
    changes, removed, base = body.get("set", {}), body.get("unset", []), body.get("base", {})
    fault = fields.fault_in(changes)
    if fault or not isinstance(removed, list) or not isinstance(base, dict):
        return parts.bad(event, fault or "unset is not a list, or base not an object")
    labels = _labels_after(state, body)
    if labels is None:
        return parts.bad(event, "labels are not lists of texts")
    removed = [name for name in removed if name not in fields.ALWAYS]
    values = fields.stored(changes)
    if "acceptance" in values:
        values["acceptance"] = _still_ticked(state, values["acceptance"])
    values.update({name: GONE for name in fields.FITS if name in removed})
    patch = {**_edited(state, event, values, base), **custody.pass_after(state, values)}
    return {**patch, "labels": labels, **parts.renewed_by(state, event), **parts.moved(event)}


def _still_ticked(state: State, checks: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """New acceptance checks, with the ticks of those that were there before."""
    before = {check["text"]: check for check in state.get("acceptance", ())}
    return [before.get(check["text"], check) for check in checks]


def _labels_after(state: State, body: Mapping[str, Any]) -> list[str] | None:
    if "add" not in body and "remove" not in body:
        return list(state["labels"])
    added, removed = body.get("add", {}), body.get("remove", {})
    if not isinstance(added, dict) or not isinstance(removed, dict):
        return None
    plus, minus = added.get("labels", []), removed.get("labels", [])
    if not fields.are_labels(plus) or not fields.are_labels(minus):
        return None
    return sorted({*state["labels"], *plus} - set(minus))


def _edited(
    state: State, event: Event, values: Mapping[str, Any], base: Mapping[str, Any]
) -> dict[str, Any]:
    """Set fields, remembering who lost where an edit did not know of the other."""
    patch: dict[str, Any] = dict(values)
    current = dict(state["values"])
    conflicts = list(state.get("conflicts", []))
    for name, value in values.items():
        seen_event = str(current.get(name, state["created_event"]))
        lost = state.get(name)
        unseen = name in base and base[name] != seen_event
        if not unseen:
            conflicts = [c for c in conflicts if c["field"] != name]
        elif lost is not None and lost != value:
            conflicts.append(_conflict(state, event, name, value, seen_event))
        current[name] = event.event_id
    patch["values"] = current
    patch["editors"] = {**state.get("editors", {}), **dict.fromkeys(values, parts.who(event))}
    patch["conflicts"] = conflicts if conflicts else GONE
    return patch


def _conflict(
    state: State, event: Event, name: str, value: Any, lost_event: str
) -> Mapping[str, Any]:
    entry = {
        "field": name,
        "lost": state[name],
        "lost_by": state.get("editors", {}).get(name, state["created_by"]),
        "lost_event": lost_event,
        "kept_by": parts.who(event),
        "kept_event": event.event_id,
    }
    return entry if value is GONE else {**entry, "kept": value}


def _claimed(state: State, event: Event, world: World) -> Patch | Problem:
    if event.refs.get("resource") != f"work:{state['work_id']}":
        return parts.bad(event, "refs.resource is not this item")
    if state["status"] in ("closed", "submitted"):
        text = f"{state['work_id']} is {state['status']}"
        return parts.promised(state, event, Problem(event.event_id, "wrong_state", text))
    domain, problem = arbiter.acquire(parts.domain_of(state), event)
    if problem is not None:
        return parts.promised(state, event, problem)
    moved = {"status": "claimed", "status_event": event.event_id, **parts.moved(event)}
    return {**parts.claim_patch(domain), **moved}


def _renewed(state: State, event: Event, world: World) -> Patch | Problem:
    domain, problem = arbiter.renew(parts.domain_of(state), event)
    patch = parts.claim_patch(domain)
    return patch if problem is None else {**patch, NOTE: problem}


def _released(state: State, event: Event, world: World) -> Patch | Problem:
    claim = state.get("claim")
    # Whoever names no lease means the one that stands.
    lease_id = event.refs.get("lease_id", claim["lease_id"] if claim else None)
    domain = parts.domain_of(state)
    hold = arbiter.holding(domain, lease_id) or arbiter.promise(domain, lease_id)
    if hold is None:
        return Problem(event.event_id, "not_held", f"{state['work_id']} is not held by this lease")
    if not arbiter.is_holder(hold, event) and not _may_break(event, hold, world):
        return Problem(event.event_id, "not_allowed", arbiter.held_text(hold))
    freed = parts.claim_patch(arbiter.release(domain, lease_id))
    if hold is not claim:
        return freed
    opened = {"status": "open", "status_event": event.event_id, **custody.ENDED}
    return {**freed, **opened, **parts.moved(event)}


def _may_break(event: Event, claim: Mapping[str, Any], world: World) -> bool:
    """A person, or the owner of the holding agent, may break its hold."""
    if event.body.get("break") is not True:
        return False
    owner = registry.owner_of(world, claim["agent_id"], event.event_id)
    return registry.is_human(event.agent_id) or event.agent_id == owner


def _closed(state: State, event: Event, world: World) -> Patch | Problem:
    if event.body.get("as") not in fields.RESOLUTIONS:
        return parts.bad(event, f"as is not one of {', '.join(fields.RESOLUTIONS)}")
    if state["status"] == "closed":
        return Problem(event.event_id, "wrong_state", f"{state['work_id']} is closed already")
    refusal = (
        parts.fenced(state, event)
        or _held_unless_passed(state, event)
        or custody.unverified(state, event, world)
    )
    if refusal:
        return refusal
    patch = {
        **custody.ENDED,
        **parts.claim_patch(parts.freed(state)),
        "status": "closed",
        "status_event": event.event_id,
        "resolution": event.body["as"],
        "closed_at_ms": parts.when(event),
        "closed_by": parts.who(event),
        **parts.moved(event),
    }
    return {**patch, "close_why": event.body["why"]} if "why" in event.body else patch


def _held_unless_passed(state: State, event: Event) -> Problem | None:
    """Only its holder closes an item, or anybody once its work has passed."""
    if state["status"] == "submitted" and "passed_by" in state["submission"]:
        return None
    return parts.held_by_another(state, event)


def _reopened(state: State, event: Event, world: World) -> Patch | Problem:
    if state["status"] != "closed":
        return Problem(event.event_id, "wrong_state", f"{state['work_id']} is not closed")
    ended = ("resolution", "closed_at_ms", "closed_by", "close_why", "deleted", "doers")
    return {
        **custody.ENDED,
        **dict.fromkeys(ended, GONE),
        "status": "open",
        "status_event": event.event_id,
        **parts.moved(event),
    }


def _deleted(state: State, event: Event, world: World) -> Patch | Problem:
    refusal = parts.fenced(state, event) or parts.held_by_another(state, event)
    if refusal:
        return refusal
    if "deleted" in state:
        return {}
    tombstone: dict[str, Any] = {"at_ms": parts.when(event), "by": parts.who(event)}
    tombstone.update({k: event.body[k] for k in ("why", "extra") if k in event.body})
    return {
        **custody.ENDED,
        **parts.claim_patch(parts.freed(state)),
        "status": "closed",
        "status_event": event.event_id,
        "deleted": tombstone,
        **parts.moved(event),
    }


def _link_named(event: Event) -> tuple[str, str] | None:
    kind, target = event.body.get("kind"), event.body.get("target")
    if not (isinstance(kind, str) and fields.WORD.fullmatch(kind) and isinstance(target, str)):
        return None
    return kind, target


def _linked(state: State, event: Event, world: World) -> Patch | Problem:
    named = _link_named(event)
    if named is None:
        return parts.bad(event, "kind is not a lower-case word, or target not a text")
    kind, target = named
    if target == state["work_id"]:
        return Problem(event.event_id, "cycle", f"{target} cannot be linked to itself")
    links = state.get("links", {})
    entry = {"event_id": event.event_id, "at_ms": parts.when(event), "by": parts.who(event)}
    if isinstance(event.body.get("extra"), dict):
        entry["extra"] = event.body["extra"]
    if target in links.get(kind, {}):
        return {}
    linked = {**links, kind: {**links.get(kind, {}), target: entry}}
    return {"links": linked, **parts.renewed_by(state, event), **parts.moved(event)}


def _unlinked(state: State, event: Event, world: World) -> Patch | Problem:
    named = _link_named(event)
    if named is None:
        return parts.bad(event, "kind is not a lower-case word, or target not a text")
    kind, target = named
    links = state.get("links", {})
    left = {name: entry for name, entry in links.get(kind, {}).items() if name != target}
    others = {name: group for name, group in links.items() if name != kind}
    kept = {**others, kind: left} if left else others
    return {"links": kept if kept else GONE, **parts.moved(event)}


def _commented(state: State, event: Event, world: World) -> Patch | Problem:
    text = event.body.get("text")
    if not isinstance(text, str) and not fields.is_blob(text):
        return parts.bad(event, "text is not a text")
    comment_id = event.body.get("comment_id", event.event_id)
    comments = state.get("comments", [])
    if any(c["comment_id"] == comment_id for c in comments):
        return {}
    comment = {
        "comment_id": comment_id, "at_ms": parts.when(event), "by": parts.who(event), "text": text,
    }  # fmt: skip
    if isinstance(event.body.get("extra"), dict):
        comment["extra"] = event.body["extra"]
    return {
        "comments": [*comments, comment],
        **parts.renewed_by(state, event),
        **parts.moved(event),
    }


def otherwise(state: State, event: Event, world: World) -> Patch | Problem:
    """Any other event that names the item: its holder's renews the claim."""
    return parts.renewed_by(state, event)


STEPS: Mapping[str, Step] = {
    "work.created": _created,
    "work.updated": parts.on_known_item(_updated),
    "work.claimed": parts.on_known_item(_claimed),
    "work.renewed": parts.on_known_item(_renewed),
    "work.released": parts.on_known_item(_released),
    "work.closed": parts.on_known_item(_closed),
    "work.reopened": parts.on_known_item(_reopened),
    "work.deleted": parts.on_known_item(_deleted),
    "work.linked": parts.on_known_item(_linked),
    "work.unlinked": parts.on_known_item(_unlinked),
    "work.commented": parts.on_known_item(_commented),
    **custody.STEPS,
}
