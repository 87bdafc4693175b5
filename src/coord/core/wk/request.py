"""What the verbs ask for, as facts to be recorded: (type, refs, body) triples.

Nothing here knows who asks or when; the desk judges what comes out.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from coord.core.problem import State
from coord.core.wk import fields
from coord.errors import Refusal

Fact = tuple[str, dict[str, Any], dict[str, Any]]
CREATE_FIELDS = (*fields.FITS, "labels")
LABEL_CHARS = 100
TEXTS = ("assignee", "external_ref")
DECIDED_HERE: Mapping[str, Any] = {"confirmed": "host"}


def fault_in(body: Mapping[str, Any]) -> str:
    """Name what keeps a body from being written; stricter than what a fold accepts."""
    fault = fields.fault_in({k: v for k, v in body.items() if v is not None})
    if fault:
        return fault
    if len(body.get("title") or "") > fields.TITLE_CHARS:
        return f"title is longer than {fields.TITLE_CHARS} characters"
    for label in body.get("labels") or ():
        if not isinstance(label, str) or not 0 < len(label) <= LABEL_CHARS:
            return f"a label is a text of 1 to {LABEL_CHARS} characters"
        if not label.isprintable():
            return "a label has a control character"
    return ""


def creation(work_id: str, body: Mapping[str, Any]) -> Fact:
    """The creation of an item."""
    return "work.created", {"work_id": work_id}, dict(body)


def links(work_id: str, state: State, wanted: Mapping[str, Sequence[str]]) -> Iterator[Fact]:
    """The links that an item does not have yet.

    wanted: kind to targets.
    """
    for kind, targets in wanted.items():
        for target in targets:
            if target not in state.get("links", {}).get(kind, {}):
                yield "work.linked", {"work_id": work_id}, {"kind": kind, "target": target}


def update(
    state: State,
    changes: Mapping[str, Any],
    unset: Sequence[str],
    add: Sequence[str],
    remove: Sequence[str],
) -> Fact | None:
    """The change of an item's fields; None when it has those values already.

    Carries only what differs, and for each field the event whose value was seen.
    """
    differing = {k: v for k, v in changes.items() if _current(state, k) != v}
    gone = [name for name in unset if name in state]
    plus = sorted(set(add) - set(state["labels"]))
    minus = sorted(set(remove) & set(state["labels"]))
    body: dict[str, Any] = {}
    if differing:
        body["set"] = differing
    if gone:
        body["unset"] = gone
    if plus:
        body["add"] = {"labels": plus}
    if minus:
        body["remove"] = {"labels": minus}
    touched = [*differing, *gone]
    if touched:
        body["base"] = {k: state["values"].get(k, state["created_event"]) for k in touched}
    return ("work.updated", {"work_id": state["work_id"]}, body) if body else None


def _current(state: State, name: str) -> Any:
    value = state.get(name)
    if name == "acceptance" and value is not None:
        return [check["text"] for check in value]
    return value


def claim(
    state: State,
    lease_id: str,
    ttl_ms: int,
    take_over: bool,
    anyway: bool,
    decided: Mapping[str, Any] = DECIDED_HERE,
) -> Fact:
    """The claim of an item, with the next fence.

    decided: who confirms it, and what follows from that.
    """
    work_id = state["work_id"]
    body: dict[str, Any] = {
        "fence": state.get("fence", 0) + 1,
        "ttl_ms": ttl_ms,
        "expires_at_ms": 0,
        **decided,
    }
    if take_over:
        body["take_over"] = True
    if anyway:
        body["anyway"] = True
    refs = {"work_id": work_id, "resource": f"work:{work_id}", "lease_id": lease_id}
    return "work.claimed", refs, body


def held_refs(state: State, agent_id: str, session_id: str) -> dict[str, Any]:
    """The refs of a write to an item: guarded by its claim where the actor has it."""
    refs = {"work_id": state["work_id"]}
    held = state.get("claim")
    if held and (held["agent_id"], held["session_id"]) == (agent_id, session_id):
        refs["lease_id"] = held["lease_id"]
    return refs


def record_of(raw: object) -> tuple[dict[str, Any], dict[str, list[str]], str]:
    """One line of a batch of new items: the body, the links, and the id or "".

    Keys are the fields, `labels`, `needs`, `parent`, `relates`, `found_from`,
    `duplicates` (an id or a list of ids) and `work_id`.
    """
    if not isinstance(raw, dict):
        raise Refusal("bad_data", "an item is a JSON object", pointer="")
    unknown = sorted(raw.keys() - {*CREATE_FIELDS, *fields.LINKS, "work_id"})
    if unknown:
        hint = "what fits nowhere goes into extra"
        raise Refusal(
            "bad_data", f"an item has no field {unknown[0]!r}", hint, pointer=f"/{unknown[0]}"
        )
    wanted = {}
    for kind in fields.LINKS:
        value = raw.get(kind, [])
        targets = [value] if isinstance(value, str) else value
        if not isinstance(targets, list) or not all(isinstance(t, str) for t in targets):
            raise Refusal("bad_data", f"{kind} is an id or a list of ids", pointer=f"/{kind}")
        wanted[kind] = targets
    body = {name: raw[name] for name in CREATE_FIELDS if name in raw}
    return body, wanted, str(raw.get("work_id", ""))
