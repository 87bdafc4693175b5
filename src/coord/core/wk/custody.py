"""Custody: who vouches for the work, who gets it next, what it waits for.

    submitted   by the claim's holder; nobody can claim it until it is judged
    verified    by another agent, in another session, and for the newest submission:
                pass    the item may be closed as done
                fail    it is its claimer's again, with the reasons
                cannot  the verifier could not tell; it waits on
    handed_off  an offer: the sender keeps custody until it is accepted or over
    accepted    moves claim and fence to the receiver in one step
    declined    ends the offer; its sender may take it back so too
    held        the item waits for another item, an agent, a time or a URL; it ends when
                that item closes or that time comes, else by `lift`
    ticked      one acceptance check, with evidence

With the shared setting `verify` at `required`, closing as done needs a pass of the
state that was submitted. Whoever judges an event uses the setting in force at its id.
"""

from collections.abc import Mapping
from typing import Any

from coord.core import arbiter, settings
from coord.core.event import Event, is_integer
from coord.core.problem import GONE, Patch, Problem, State, World
from coord.core.wk import parts
from coord.core.wk.parts import Step

VERDICTS = ("pass", "fail", "cannot")
WAITS_FOR = ("item", "agent", "until_ms", "url")
ENDED: Mapping[str, Any] = dict.fromkeys(("submission", "offer"), GONE)


def _holds(state: State, event: Event) -> Problem | None:
    """Refuse who does not hold the item now, by this lease."""
    claim = state.get("claim")
    if claim is None or claim["lease_id"] != event.refs.get("lease_id"):
        return Problem(event.event_id, "not_held", f"{event.agent_id} does not hold this item")
    if not arbiter.is_holder(claim, event) or not arbiter.runs(claim, event.time_ms):
        return Problem(event.event_id, "not_held", arbiter.held_text(claim))
    return None


def _submitted(state: State, event: Event, _world: World) -> Patch | Problem:
    if state["status"] != "claimed":
        text = f"{state['work_id']} is {state['status']}, not claimed"
        return Problem(event.event_id, "wrong_state", text)
    refusal = _holds(state, event)
    if refusal:
        return refusal
    submission = {
        "event_id": event.event_id,
        "at_ms": event.time_ms,
        "agent_id": event.agent_id,
        "session_id": event.session_id,
    }
    submission.update({k: event.body[k] for k in ("artifacts", "commit", "why") if k in event.body})
    return {
        "status": "submitted",
        "status_event": event.event_id,
        "submission": submission,
        "doers": _doers(state, event.agent_id, event.session_id),
        "offer": GONE,
        **parts.moved(event),
    }


def _verified(state: State, event: Event, _world: World) -> Patch | Problem:
    submission = state.get("submission")
    if submission is None or state["status"] != "submitted":
        text = f"{state['work_id']} is {state['status']}, not submitted"
        return Problem(event.event_id, "wrong_state", text)
    refusal = _may_not_judge(state, submission, event)
    if refusal:
        return refusal
    verdict = event.body.get("verdict")
    if verdict not in VERDICTS:
        return parts.bad(event, f"verdict is not one of {', '.join(VERDICTS)}")
    entry = {
        "event_id": event.event_id,
        "submission": submission["event_id"],
        "verdict": verdict,
        "agent_id": event.agent_id,
        "at_ms": event.time_ms,
    }
    if isinstance(event.body.get("why"), str):
        entry["why"] = event.body["why"]
    patch = {"verdicts": [*state.get("verdicts", []), entry], **parts.moved(event)}
    if verdict == "pass":
        return {**patch, "submission": {**submission, "passed_by": event.agent_id}}
    return {**patch, **_returned(state, event)} if verdict == "fail" else patch


def _may_not_judge(state: State, submission: Mapping[str, Any], event: Event) -> Problem | None:
    """An author grades its own work generously: another agent, in another session."""
    if event.body.get("submission") != submission["event_id"]:
        text = f"{state['work_id']} was submitted anew: judge {submission['event_id']}"
        return Problem(event.event_id, "wrong_state", text)
    claim = state.get("claim", submission)
    doers = _doers(state, claim["agent_id"], claim["session_id"])
    if event.agent_id in [agent_id for agent_id, _ in doers]:
        text = f"{event.agent_id} has done the work: another agent verifies it"
        return Problem(event.event_id, "not_allowed", text)
    if event.session_id and event.session_id in [session for _, session in doers]:
        text = f"session {event.session_id} has done the work: another session verifies it"
        return Problem(event.event_id, "not_allowed", text)
    return None


def _doers(state: State, agent_id: str, session_id: str) -> list[list[str]]:
    """Who has worked on the item since it was opened: (agent, session) pairs, sorted."""
    known = [list(pair) for pair in state.get("doers", ())]
    one = [agent_id, session_id]
    return sorted(known if one in known else [*known, one])


def pass_after(state: State, values: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an edit leaves of a pass: it was for what the item said then."""
    submission = state.get("submission", {})
    if "passed_by" not in submission or not {"title", "description", "acceptance"} & {*values}:
        return {}
    return {"submission": {k: v for k, v in submission.items() if k != "passed_by"}}


def _returned(state: State, event: Event) -> Mapping[str, Any]:
    """The item is its claimer's again, for as long as a claim of theirs runs."""
    patch = {"submission": GONE, "status_event": event.event_id}
    claim = state.get("claim")
    if claim is None:
        return {**patch, "status": "open"}
    if arbiter.is_confirmed(claim):
        # It ends when the remote's record says, whoever else writes what.
        return {**patch, "status": "claimed"}
    renewed = {**claim, "expires_at_ms": event.time_ms + claim["ttl_ms"]}
    return {**patch, "status": "claimed", "claim": renewed}


def unverified(state: State, event: Event, world: World) -> Problem | None:
    """Refuse to close as done what nobody has passed, where that is required."""
    if event.body.get("as") != "done":
        return None
    if settings.in_force(world, "verify", event.event_id) != "required":
        return None
    if state["status"] == "submitted" and "passed_by" in state.get("submission", {}):
        return None
    text = f"{state['work_id']} needs a pass of what was submitted before it is closed as done"
    return Problem(event.event_id, "unverified", text)


def _handed_off(state: State, event: Event, _world: World) -> Patch | Problem:
    refusal = _holds(state, event)
    if refusal:
        return refusal
    if state["status"] != "claimed":
        text = f"{state['work_id']} is {state['status']}, not claimed"
        return Problem(event.event_id, "wrong_state", text)
    to, until = event.body.get("to"), event.body.get("expires_at_ms")
    if not isinstance(to, str) or not is_integer(until, least=1):
        return parts.bad(event, "to is not an agent, or expires_at_ms not an instant")
    offer = {
        "event_id": event.event_id,
        "from": event.agent_id,
        "to": to,
        "lease_id": event.refs["lease_id"],
        "expires_at_ms": until,
    }
    told = ("why", "context", "commit", "branch", "open_checks")
    offer.update({name: event.body[name] for name in told if name in event.body})
    return {"offer": offer, **parts.renewed_by(state, event), **parts.moved(event)}


def offer_at(state: State, at_ms: int) -> Mapping[str, Any] | None:
    """The offer that may be accepted at a moment, or None."""
    offer: Mapping[str, Any] | None = state.get("offer")
    claim = state.get("claim")
    if offer is None or claim is None or claim["lease_id"] != offer["lease_id"]:
        return None
    return offer if at_ms < offer["expires_at_ms"] else None


def _accepted(state: State, event: Event, _world: World) -> Patch | Problem:
    offer = offer_at(state, event.time_ms)
    if offer is None or offer["event_id"] != event.body.get("offer"):
        text = f"no such offer of {state['work_id']} stands"
        return parts.promised(state, event, Problem(event.event_id, "wrong_state", text))
    if offer["to"] != event.agent_id:
        return Problem(event.event_id, "not_allowed", f"it was offered to {offer['to']}")
    if event.refs.get("resource") != f"work:{state['work_id']}":
        return parts.bad(event, "refs.resource is not this item")
    sender = state["claim"]
    domain, problem = arbiter.acquire(_given_up(state, event), event)
    if problem is not None:
        return parts.promised(state, event, problem)
    return {
        **parts.claim_patch(domain),
        "status": "claimed",
        "status_event": event.event_id,
        "doers": _doers(state, sender["agent_id"], sender["session_id"]),
        **ENDED,
        **parts.moved(event),
    }


def _given_up(state: State, event: Event) -> arbiter.Domain:
    """The item's domain as the receiver finds it: the sender gives up what it holds.

    What the remote confirmed is given up to what the remote confirms, and to nothing else.
    """
    if arbiter.is_confirmed(state["claim"]) and event.body.get("confirmed") != "remote":
        return parts.domain_of(state)
    return parts.freed(state)


def _declined(state: State, event: Event, _world: World) -> Patch | Problem:
    offer = state.get("offer")
    if offer is None or offer["event_id"] != event.body.get("offer"):
        text = f"no such offer of {state['work_id']} stands"
        return Problem(event.event_id, "wrong_state", text)
    if event.agent_id not in (offer["to"], offer["from"]):
        return Problem(event.event_id, "not_allowed", f"it was offered to {offer['to']}")
    return {"offer": GONE, **parts.moved(event)}


def _held(state: State, event: Event, _world: World) -> Patch | Problem:
    waits = state.get("waits", [])
    lifted = event.body.get("lift")
    if lifted is not None:
        left = [wait for wait in waits if wait["event_id"] != lifted]
        if len(left) == len(waits):
            text = f"{state['work_id']} does not wait for {lifted}"
            return Problem(event.event_id, "wrong_state", text)
        return {"waits": left if left else GONE, **parts.moved(event)}
    on = event.body.get("on")
    if not _names_an_end(on):
        return parts.bad(event, f"on names one of {', '.join(WAITS_FOR)}")
    wait = {"event_id": event.event_id, "on": on, "by": event.agent_id, "at_ms": event.time_ms}
    if isinstance(event.body.get("why"), str):
        wait["why"] = event.body["why"]
    return {"waits": [*waits, wait], **parts.moved(event)}


def _names_an_end(on: object) -> bool:
    if not isinstance(on, Mapping) or len(on) != 1:
        return False
    [(kind, value)] = on.items()
    if kind == "until_ms":
        return is_integer(value)
    return kind in WAITS_FOR and isinstance(value, str) and bool(value)


def _ticked(state: State, event: Event, _world: World) -> Patch | Problem:
    named, checks = event.body.get("check"), state.get("acceptance", [])
    if not any(check["text"] == named for check in checks):
        return parts.bad(event, "check is none of its acceptance checks")
    tick: dict[str, Any] = {"event_id": event.event_id, "by": event.agent_id}
    if "evidence" in event.body:
        tick["evidence"] = event.body["evidence"]
    undone = event.body.get("undone") is True
    marked = [_marked(check, tick, undone) if check["text"] == named else check for check in checks]
    return {"acceptance": marked, **parts.renewed_by(state, event), **parts.moved(event)}


def _marked(check: Mapping[str, Any], tick: Mapping[str, Any], undone: bool) -> dict[str, Any]:
    return {"text": check["text"]} if undone else {"text": check["text"], "ticked": tick}


def _artifact_added(state: State, event: Event, _world: World) -> Patch | Problem:
    places = [name for name in ("uri", "commit", "path") if isinstance(event.body.get(name), str)]
    if len(places) != 1:
        return parts.bad(event, "an artifact has one of uri, commit, path")
    known = state.get("artifacts", [])
    told = ("uri", "commit", "path", "kind", "sha256", "body_bytes", "why")
    artifact = {name: event.body[name] for name in told if name in event.body}
    artifact.update(event_id=event.event_id, by=event.agent_id, at_ms=event.time_ms)
    return {
        "artifacts": [*known, artifact],
        **parts.renewed_by(state, event),
        **parts.moved(event),
    }


def open_checks(state: State) -> list[str]:
    """The acceptance checks that nobody has ticked."""
    return [check["text"] for check in state.get("acceptance", ()) if "ticked" not in check]


STEPS: Mapping[str, Step] = {
    "work.submitted": parts.on_known_item(_submitted),
    "work.verified": parts.on_known_item(_verified),
    "work.handed_off": parts.on_known_item(_handed_off),
    "work.accepted": parts.on_known_item(_accepted),
    "work.declined": parts.on_known_item(_declined),
    "work.held": parts.on_known_item(_held),
    "work.ticked": parts.on_known_item(_ticked),
    "artifact.added": parts.on_known_item(_artifact_added),
}
