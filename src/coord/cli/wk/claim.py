"""`wk claim`, `renew`, `release`: who has an item, until when."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from coord.cli import exclusive, kit, naming
from coord.cli.span import Span
from coord.cli.wk import common
from coord.cli.wk.list import filters, where_of
from coord.core import arbiter, settings, units
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.wk import request
from coord.edge.index import views
from coord.edge.writing import Desk, Written
from coord.errors import NO, Refusal

# Every so many claims, `--next` takes the oldest ready item whatever its priority, so
# that urgent work without end cannot starve it.
_OLDEST_EVERY = 8
_CANDIDATES = 50
PASSED_OVER = ("held", "not_ready", "fenced", "wrong_state")


@kit.command("claim", writes=True)
@click.argument("work_id", required=False, metavar="[ID]", shell_complete=naming.complete_work)
@click.option("--next", "take_next", is_flag=True, help="Take the next ready item.")
@click.option("--ttl", type=Span(), metavar="SPAN", help="For how long; 30m unless configured.")
@click.option("--take-over", is_flag=True, help="Take what another session of mine holds.")
@click.option("--anyway", is_flag=True, help="Also when it is deferred or needs something.")
@exclusive.confirm
@filters
def claim(
    call: kit.Call,
    work_id: str | None,
    take_next: bool,
    ttl: int | None,
    take_over: bool,
    anyway: bool,
    confirm: str,
    **options: Any,
) -> int:
    """Claim the item ID, or with --next the next ready one: exactly one agent wins.

    --next takes by priority, then age; every eighth claim takes the oldest, so that
    nothing waits for ever. The answer says who confirmed it: `host` means that nobody
    who shares this .coord folder can have it too; with --confirm remote nobody in any
    clone who asks for that can, which costs a push. A claim ends by `wk close`, by
    `wk release`, or when its time is over; whatever its holder writes about the item
    prolongs it, but one that the remote confirmed is prolonged by `wk renew` alone.

    \b
    Exits: 1 --next: nothing is ready; 3 no such item, no remote; 5 somebody holds it, or
           it is closed or not ready; 7 this store's clock is wrong, or the remote does
           not answer: it is not known to be held, and is given back if it was won.
    Example: wk claim --next --type bug --ttl 1h
    """
    if bool(work_id) == take_next:
        raise Refusal("usage", "give either an ID or --next", "wk claim --help")
    chosen = {"ttl": ttl, "take_over": take_over, "anyway": anyway,
              "decided": {"confirmed": confirm}}  # fmt: skip
    if confirm == exclusive.REMOTE:
        from coord.cli.wk import confirm as remotely

        written = remotely.claim(call, work_id, options, chosen)
    else:
        written = _claimed(call, work_id, options, chosen)
    if written is None:
        call.note("nothing is ready")
        return NO
    call.acknowledge([written], functools.partial(_say, title=_title(call, written)), "work_id")
    return 0


def _title(call: kit.Call, written: Written) -> str:
    """What a person is told that --next has given; programs ask for what they need."""
    if not call.for_people:
        return ""
    with call.reading() as known:
        return str(known.state(f"work/{written.raw['refs']['work_id']}").get("title", ""))


def _claimed(
    call: kit.Call, work_id: str | None, options: Mapping[str, Any], chosen: Mapping[str, Any]
) -> Written | None:
    with call.desk() as desk:
        desk.refuse_paused()
        written = (
            _claim_next(call, desk, options, chosen)
            if work_id is None
            else claim_one(call, desk, naming.work_id(desk.index, work_id), chosen)
        )
        if written is not None and not written.is_duplicate and not call.dry_run:
            desk.write()
    return written


def _say(raw: kit.Row, title: str = "") -> str:
    refs, body = raw["refs"], raw["body"]
    until = units.show_instant(body["expires_at_ms"])
    how = f"fence {body['fence']}, confirmed: {body['confirmed']}"
    told = f"{refs['work_id']} claimed until {until} ({how})"
    return f"{told}: {title[:80]}" if title else told


def _claim_next(
    call: kit.Call, desk: Desk, options: Mapping[str, Any], chosen: Mapping[str, Any]
) -> Written | None:
    earlier = earlier_next(call, desk, chosen)
    if earlier is not None:
        return earlier
    for found in candidates(call, desk, options):
        for work_id in found:
            try:
                return claim_one(call, desk, work_id, chosen)
            except Refusal as refusal:
                if refusal.code not in PASSED_OVER:
                    raise
    return None


def earlier_next(call: kit.Call, desk: Desk, chosen: Mapping[str, Any]) -> Written | None:
    """What a retry of `--next` has claimed: by now the next item would be another one."""
    earlier = call.earlier(desk, "work.claimed")
    if earlier is not None and chosen["ttl"] in (None, earlier["body"]["ttl_ms"]):
        return Written(earlier, is_duplicate=True)
    return None


def candidates(call: kit.Call, desk: Desk, options: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """The ready items in the order in which `--next` takes them."""
    where = where_of(call, desk.index, options)
    oldest = desk.index.count_of("work.claimed") % _OLDEST_EVERY == _OLDEST_EVERY - 1
    query = views.Query(
        desk.judged_at_ms, "ready", where, "created" if oldest else "priority", _CANDIDATES
    )
    while True:
        found = views.work_ids(desk.index.connection, query)
        yield found
        if len(found) < _CANDIDATES:
            return
        query = query._replace(offset=query.offset + _CANDIDATES)


def claim_one(call: kit.Call, desk: Desk, work_id: str, chosen: Mapping[str, Any]) -> Written:
    """Take the claim of one item into the desk.

    chosen: ttl, take_over, anyway, and what is `decided` about it.
    """
    state = desk.state(f"work/{work_id}")
    author = desk.author
    held = state.get("claim")
    if held and arbiter.runs(held, desk.judged_at_ms):
        ours = (held["agent_id"], held["session_id"]) == (author.agent_id, author.session_id)
        confirmed = arbiter.is_confirmed(held) or chosen["decided"]["confirmed"] != exclusive.REMOTE
        if ours and confirmed and not call.key:
            return Written(_event_of(desk, held["event_id"]), is_duplicate=True)
    lease_id = chosen.get("lease_id") or common.fresh_id(
        desk, author, call.key, "lease-", "work.claimed"
    )
    ttl_ms = chosen["ttl"] or default_ttl_ms(desk)
    fact = request.claim(state, lease_id, ttl_ms, chosen["take_over"], chosen["anyway"],
                         chosen["decided"])  # fmt: skip
    try:
        return desk.take(call.draft(*fact))
    except Refusal as refusal:
        if refusal.code == "held" and refusal.facts.get("holder") == author.agent_id:
            refusal.hint = f"another session of yours: wk claim {work_id} --take-over"
        raise


def _event_of(desk: Desk, event_id: str) -> Mapping[str, Any]:
    raw = desk.index.event(event_id)
    assert raw is not None, "a hold comes from an event"
    return raw


def default_ttl_ms(desk: Desk) -> int:
    """How long a claim runs when nobody says otherwise."""
    return int(settings.in_force(desk, "claim.ttl_ms", "~"))


def _held(desk: Desk, work_id: str) -> State:
    """The item's state, if its claim is the actor's, of this session."""
    state = desk.state(f"work/{work_id}")
    author, held = desk.author, state.get("claim")
    if held is None:
        raise Refusal(
            "not_held", f"{work_id} is not claimed", f"wk claim {work_id}", work_id=work_id
        )
    if (held["agent_id"], held["session_id"]) != (author.agent_id, author.session_id):
        hint = "a person, or the agent's owner, may break it: wk release --break --why TEXT"
        if held["agent_id"] == author.agent_id:
            hint = f"another session of yours: wk claim {work_id} --take-over"
        raise Refusal(
            "not_held", arbiter.held_text(held), hint, work_id=work_id, holder=held["agent_id"]
        )
    return state


@kit.command("renew", writes=True)
@naming.many_ids
@click.option("--ttl", type=Span(), metavar="SPAN", help="For how long from now.")
def renew(call: kit.Call, ids: Sequence[str], ttl: int | None) -> None:
    """Prolong my claims on the items ID... .

    A claim whose time is over is claimed anew, with a new fence, if nobody has it.

    \b
    Exits: 3 no such item; 5 it is not mine, or somebody has it by now.
    Example: wk renew wk-7k2m --ttl 2h
    """
    written, here = [], []
    for text in ids:
        renewed = _renewed_remotely(call, text, ttl, len(ids))
        written += [renewed] if renewed else []
        here += [] if renewed else [text]
    if here:
        written += call.record(lambda desk: _renewals(call, desk, here, ttl))
    call.acknowledge(written, _say_renewed, ident="work_id")


def confirmed(call: kit.Call, named: str) -> State | None:
    """The state of an item whose claim the remote has confirmed; None for any other."""
    with call.reading() as known:
        state = known.state(f"work/{naming.work_id(known, named)}")
    held = state.get("claim")
    return state if held and arbiter.is_confirmed(held) else None


def _renewed_remotely(call: kit.Call, named: str, ttl: int | None, count: int) -> Written | None:
    state = confirmed(call, named)
    if state is None:
        return None
    from coord.cli.wk import confirm as remotely

    return remotely.renew(call, state, ttl, call.key_of(state["work_id"], count))


def _renewals(call: kit.Call, desk: Desk, ids: Sequence[str], ttl: int | None) -> Iterator[Draft]:
    for text in ids:
        work_id = naming.work_id(desk.index, text)
        key = call.key_of(work_id, len(ids))
        said = call.earlier(desk, "work.renewed", key) or call.earlier(desk, "work.claimed", key)
        if said is not None:
            body = {**said["body"], "ttl_ms": ttl or said["body"]["ttl_ms"]}
            body.pop("why", None)
            yield call.draft(said["type"], {**said["refs"], "work_id": work_id}, body, key=key)
            continue
        state = _held(desk, work_id)
        held = state["claim"]
        ttl_ms = ttl or held["ttl_ms"]
        if not arbiter.runs(held, desk.judged_at_ms):
            lease_id = common.fresh_id(desk, desk.author, "", "lease-", "work.claimed")
            yield call.draft(*request.claim(state, lease_id, ttl_ms, True, True), key=key)
            continue
        refs = {name: held[name] for name in ("resource", "lease_id")}
        body = {"ttl_ms": ttl_ms, "expires_at_ms": 0}
        yield call.draft("work.renewed", {"work_id": work_id, **refs}, body, key=key)


def _say_renewed(raw: kit.Row) -> str:
    until = units.show_instant(raw["body"]["expires_at_ms"])
    return f"{raw['refs']['work_id']} is yours until {until}"


@kit.command("release", writes=True)
@naming.many_ids
@click.option("--break", "break_", is_flag=True, help="End somebody else's claim; needs --why.")
def release(call: kit.Call, ids: Sequence[str], break_: bool) -> None:
    """Give the items ID... back: they are ready for others at once.

    \b
    Exits: 3 no such item; 4 not allowed to break it; 5 it is not mine.
    Example: wk release wk-7k2m --why "I lack the credentials"
    """
    if break_ and not call.why:
        raise Refusal("usage", "--break needs --why: its holder will ask")
    try:
        written = call.record(lambda desk: _releases(call, desk, ids, break_))
    except Refusal as refusal:
        if refusal.code == "not_allowed":
            refusal.hint = "only a person, or the agent's owner, may break its claim"
        raise
    call.acknowledge(written, lambda raw: f"{raw['refs']['work_id']} released", ident="work_id")


def _lost(desk: Desk, state: State) -> Mapping[str, Any] | None:
    """The actor's claim that another clone's has beaten: giving it back frees the host."""
    author = desk.author
    for hold in state.get("refused", ()):
        if (hold["agent_id"], hold["session_id"]) == (author.agent_id, author.session_id):
            return {"refs": {"lease_id": hold["lease_id"]}}
    return None


def _releases(call: kit.Call, desk: Desk, ids: Sequence[str], break_: bool) -> Iterator[Draft]:
    for text in ids:
        work_id = naming.work_id(desk.index, text)
        key = call.key_of(work_id, len(ids))
        state = desk.state(f"work/{work_id}")
        said = call.earlier(desk, "work.released", key) or _lost(desk, state)
        if said is None and (not break_ or "claim" not in state):
            state = _held(desk, work_id)
        lease_id = said["refs"].get("lease_id") if said else state["claim"]["lease_id"]
        refs = {"work_id": work_id, "lease_id": lease_id}
        yield call.draft("work.released", refs, {"break": True} if break_ else {}, key=key)
