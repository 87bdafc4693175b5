"""`wk handoff`, `accept`, `decline`, `hold`: who gets it next, and what it waits for."""

import functools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.span import Span
from coord.cli.wk import common
from coord.cli.wk.claim import confirmed, default_ttl_ms
from coord.cli.wk.custody import refs_of, state_of
from coord.core import units
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.wk import custody
from coord.edge import git, identity
from coord.edge.writing import Desk
from coord.errors import Refusal

_OFFER_MS = 24 * 3600 * 1000
_AGENTS = ("agent:", "human:", "bot:")


@kit.command("handoff", writes=True)
@naming.one_id
@click.option("--to", required=True, metavar="AGENT", help="Who is to take it.")
@click.option("--context", metavar="TEXT", help="What they need to know; - or @FILE too.")
@click.option("--ttl", type=Span(), metavar="SPAN", help="How long the offer stands; 24h.")
def handoff(call: kit.Call, work_id: str, to: str, context: str | None, ttl: int | None) -> None:
    """Offer ID, which I have claimed, to AGENT; it stays mine until they accept.

    The offer names the commit and branch checked out here and the checks that are still
    open. --why is required.

    \b
    Exits: 3 no such item; 5 I do not hold it.
    Example: wk handoff wk-7k2m --to agent:bo --why "my session ends" --context @notes.md
    """
    if not call.why:
        raise Refusal("usage", "a handoff needs --why", "the receiver decides by it")
    body = {
        "to": identity.agent_id(to),
        "ttl_ms": ttl or _OFFER_MS,
        "expires_at_ms": 0,
        "context": kit.text_of(context) if context else None,
        **git.head(os.getcwd()),
    }
    written = call.record(lambda desk: [_offer(call, desk, work_id, body)])
    call.acknowledge(written, _say_offer, "work_id")


def _offer(call: kit.Call, desk: Desk, text: str, body: Mapping[str, Any]) -> Draft:
    state = state_of(desk, text)
    checks = custody.open_checks(state)
    told = {**body, "open_checks": checks} if checks else body
    return call.draft("work.handed_off", refs_of(desk, state), told)


def _say_offer(raw: kit.Row) -> str:
    until = units.show_instant(raw["body"]["expires_at_ms"])
    return f"{raw['refs']['work_id']} offered to {raw['body']['to']} until {until}"


def _standing(desk: Desk, state: State) -> Mapping[str, Any]:
    offer = custody.offer_at(state, desk.judged_at_ms)
    if offer is None:
        raise Refusal("wrong_state", f"no offer of {state['work_id']} stands", "wk show says more")
    return offer


@kit.command("accept", writes=True)
@naming.one_id
@click.option("--ttl", type=Span(), metavar="SPAN", help="For how long; 30m unless configured.")
def accept(call: kit.Call, work_id: str, ttl: int | None) -> None:
    """Take ID, which was offered to me: claim and fence move in one step.

    Warns when the commit that the offer names cannot be reached from what is checked
    out here.

    \b
    Exits: 3 no such item; 4 it was offered to somebody else; 5 no offer stands.
    Example: wk accept wk-7k2m
    """
    offers: list[Mapping[str, Any]] = []
    state = confirmed(call, work_id)
    draft_of = functools.partial(_acceptance, call, work_id, ttl, offers)
    if state is not None and custody.offer_at(state, call.now_ms):
        from coord.cli.wk import confirm as remotely

        written = [remotely.accept(call, state["claim"], draft_of)]
    else:
        written = call.record(lambda desk: [draft_of(desk)])
    call.acknowledge(written, _say_accepted, "work_id")
    commit = offers[0].get("commit") if offers else None
    if commit and not git.reaches(commit, os.getcwd()):
        hint = "fetch and check it out, or ask the sender to push it"
        call.warn("unreachable", f"commit {commit[:12]} is not part of what is here", hint)


def _acceptance(
    call: kit.Call, text: str, ttl: int | None, offers: list[Mapping[str, Any]], desk: Desk
) -> Draft:
    state = state_of(desk, text)
    said = call.earlier(desk, "work.accepted")
    if said is None:
        offers.append(_standing(desk, state))
    work_id = state["work_id"]
    lease_id = common.fresh_id(desk, desk.author, call.key, "lease-", "work.accepted")
    body = {
        "offer": said["body"]["offer"] if said else offers[0]["event_id"],
        "fence": state.get("fence", 0) + 1,
        "ttl_ms": ttl or default_ttl_ms(desk),
        "expires_at_ms": 0,
        "confirmed": "host",
    }
    refs = {"work_id": work_id, "resource": f"work:{work_id}", "lease_id": lease_id}
    return call.draft("work.accepted", refs, body)


def _say_accepted(raw: kit.Row) -> str:
    body = raw["body"]
    until = units.show_instant(body["expires_at_ms"])
    how = f"fence {body['fence']}, confirmed: {body['confirmed']}"
    return f"{raw['refs']['work_id']} is yours until {until} ({how})"


@kit.command("decline", writes=True)
@naming.one_id
def decline(call: kit.Call, work_id: str) -> None:
    """Do not take ID, which was offered to me; or take my own offer of it back.

    --why is required.

    \b
    Exits: 3 no such item; 4 it was offered to somebody else; 5 no offer stands.
    Example: wk decline wk-7k2m --why "I have no access to staging"
    """
    if not call.why:
        raise Refusal("usage", "declining needs --why", "the sender will ask")
    written = call.record(lambda desk: [_refusal(call, desk, work_id)])
    call.acknowledge(written, lambda raw: f"{raw['refs']['work_id']} declined", "work_id")


def _refusal(call: kit.Call, desk: Desk, text: str) -> Draft:
    state = state_of(desk, text)
    refs = {"work_id": state["work_id"]}
    said = call.earlier(desk, "work.declined")
    offer = said["body"]["offer"] if said else _standing(desk, state)["event_id"]
    return call.draft("work.declined", refs, {"offer": offer})


@kit.command("hold", writes=True)
@naming.one_id
@click.option("--on", "ends", metavar="ITEM|AGENT|TIME|URL", help="What ends the waiting.")
@click.option("--lift", is_flag=True, help="It need not wait any more, whatever for.")
def hold(call: kit.Call, work_id: str, ends: str | None, lift: bool) -> None:
    """Let ID wait for another item, an agent, a time or what is at a URL.

    It is not ready until that item closes, that time comes, or somebody lifts it with
    --lift. --why is required.

    \b
    Exits: 2 nobody and nothing would end it; 3 no such item; 5 it does not wait.
    Example: wk hold wk-7k2m --on human:kim --why "needs the budget"
    """
    if lift == bool(ends):
        raise Refusal("usage", "say --on what it waits for, or --lift", "wk hold --help")
    if not call.why:
        raise Refusal("usage", "a hold needs --why", "whoever meets it will ask")
    written = call.record(lambda desk: _waits(call, desk, work_id, ends))
    call.acknowledge(written, _say_hold, "work_id")


def _waits(call: kit.Call, desk: Desk, text: str, ends: str | None) -> Iterator[Draft]:
    state = state_of(desk, text)
    refs = {"work_id": state["work_id"]}
    if ends is not None:
        yield call.draft("work.held", refs, {"on": _end(call, desk, ends)})
        return
    said = call.earlier(desk, "work.held") or {"body": {}}
    waits = [wait["event_id"] for wait in state.get("waits", ())]
    lifted = [said["body"]["lift"]] if "lift" in said["body"] else waits
    if not lifted:
        raise Refusal("wrong_state", f"{state['work_id']} does not wait for anything")
    for number, event_id in enumerate(lifted):
        # The first has the key itself, so that a retry finds that it is one.
        key = f"{call.key}:{number}" if call.key and number else call.key
        yield call.draft("work.held", refs, {"lift": event_id}, key=key)


def _end(call: kit.Call, desk: Desk, text: str) -> dict[str, Any]:
    if "://" in text:
        return {"url": text}
    if text.startswith(_AGENTS):
        return {"agent": identity.agent_id(text)}
    try:
        return {"item": naming.work_id(desk.index, text)}
    except Refusal as refusal:
        if refusal.code != "unknown_work":
            raise
    try:
        return {"until_ms": units.parse_instant(text, call.now_ms, ahead=True)}
    except Refusal:
        message = f"{text[:60]!r} is no item, agent, time or URL"
        raise Refusal("usage", message, "name who or what ends the hold") from None


def _say_hold(raw: kit.Row) -> str:
    work_id, on = raw["refs"]["work_id"], raw["body"].get("on")
    if on is None:
        return f"{work_id} need not wait any more"
    [value] = on.values()
    named = units.show_instant(value) if "until_ms" in on else value
    return f"{work_id} waits for {named}"
