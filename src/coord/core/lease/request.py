"""What to record for a lease: pure answers to "ada wants this", as a type, refs and body."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import arbiter, globs, resource
from coord.core.arbiter import Hold
from coord.core.lease import domain
from coord.core.resource import Resource

Fact = tuple[str, dict[str, Any], dict[str, Any]]


class Wanted(NamedTuple):
    """What is asked for, the same for each resource of a request.

    ttl_ms: 0 where the setting decides.
    exec: for a command, which shares its hold with nobody, not even its own agent.
    """

    ttl_ms: int
    shared: bool = False
    confirmed: str = "host"
    take_over: bool = False
    ignorecase: bool = False
    exec: bool = False
    work_id: str = ""


def acquire(named: Resource, lease_id: str, fence: int, wanted: Wanted) -> Fact:
    """The acquire of one resource."""
    refs = {"resource": str(named), "lease_id": lease_id}
    if wanted.work_id:
        refs["work_id"] = wanted.work_id
    body: dict[str, Any] = {
        "fence": fence, "ttl_ms": wanted.ttl_ms, "expires_at_ms": 0,
        "confirmed": wanted.confirmed,
    }  # fmt: skip
    for name in ("shared", "take_over", "exec"):
        if getattr(wanted, name):
            body[name] = True
    if wanted.ignorecase and named.is_path:
        body["ignorecase"] = True
    return "lease.acquire", refs, body


def refs_of(hold: Hold) -> dict[str, str]:
    """What an event about a hold names."""
    return {"resource": hold["resource"], "lease_id": hold["lease_id"]}


def renew(hold: Hold, ttl_ms: int) -> Fact:
    """The renewal of a hold."""
    return "lease.renew", refs_of(hold), {"ttl_ms": ttl_ms, "expires_at_ms": 0}


def release(hold: Hold) -> Fact:
    """The end of a hold, by its holder."""
    return "lease.release", refs_of(hold), {}


def broken(hold: Hold) -> Fact:
    """The end of a hold by somebody else; it names the holder, so that it can be told."""
    body = {"holder": hold["agent_id"]}
    if hold["session_id"]:
        body["holder_session"] = hold["session_id"]
    return "lease.break", refs_of(hold), body


_SHOWN = (
    "resource", "lease_id", "agent_id", "session_id", "fence", "confirmed", "acquired_at_ms",
    "expires_at_ms", "ttl_ms", "shared", "exec", "work_id", "why",
)  # fmt: skip


def row(hold: Hold, now_ms: int) -> dict[str, Any]:
    """A hold as people and programs see it."""
    shown = {name: hold[name] for name in _SHOWN if hold.get(name) not in (None, "")}
    if not arbiter.runs(hold, now_ms):
        shown["expired"] = True
    return shown


def running(
    domains: Iterable[Mapping[str, Any]], items: Iterable[Mapping[str, Any]], now_ms: int
) -> list[dict[str, Any]]:
    """The rows of all that is held, the longest held first; then the claims of work items.

    domains, items: folded states.
    """
    held = [hold for state in domains for hold in state.get("holds", ())]
    claims = [{**item["claim"], "work_id": item["work_id"]} for item in items if "claim" in item]
    return [
        row(hold, now_ms)
        for group in (held, claims)
        for hold in sorted(group, key=operator.itemgetter("event_id"))
        if arbiter.runs(hold, now_ms)
    ]


def is_mine(hold: Hold, agent_id: str, session_id: str) -> bool:
    """Whether a hold is this agent's, in this session."""
    return bool((hold["agent_id"], hold["session_id"]) == (agent_id, session_id))


def verdict(
    holds: Sequence[Hold], path: str, agent_id: str, session_id: str, ignorecase: bool = False
) -> tuple[str, Hold | None]:
    """What to answer whoever wants to change a path: (clear | mine | blocked, by which hold).

    holds: running ones that may match. Somebody else's hold blocks, unless that one and
    one of mine are both shared: who shares a path may change it.
    """
    glob = globs.quoted(path)
    found = [h for h in holds if covers(h, glob, ignorecase)]
    mine = next((h for h in found if is_mine(h, agent_id, session_id)), None)
    sharing = mine is not None and mine.get("shared") is True
    for hold in found:
        shares = sharing and hold.get("shared") is True
        if not is_mine(hold, agent_id, session_id) and not shares:
            return "blocked", hold
    return ("mine", mine) if mine else ("clear", None)


def covers(hold: Mapping[str, Any], glob: str, ignorecase: bool = False) -> bool:
    """Whether a hold of paths and a glob share a path."""
    either = ignorecase or hold.get("ignorecase") is True
    return globs.overlap(hold["resource"].removeprefix(f"{resource.PATH}:"), glob, either)


def answer(
    holds: Sequence[Hold],
    named: Resource,
    agent_id: str,
    session_id: str,
    shared: bool = False,
    ignorecase: bool = False,
) -> tuple[str, Hold | None]:
    """Whether a resource is free, mine or held, and the hold that decides.

    holds: the running ones of its domain, or those that may meet it.
    """
    found = [h for h in holds if domain.meet(h, str(named), ignorecase)]
    mine = [h for h in found if is_mine(h, agent_id, session_id)]
    others = [h for h in found if h not in mine and not (shared and h.get("shared") is True)]
    places = min([named.places, *(domain.places_of(h) for h in found)])
    if places > 1:
        full = len(found) >= places and not mine
        return ("held", found[0]) if full else (("mine", mine[0]) if mine else ("free", None))
    if others:
        return "held", others[0]
    return ("mine", mine[0]) if mine else ("free", None)
