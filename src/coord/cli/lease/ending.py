"""`lease renew`, `release`, `break`: how long a lease runs, and how it ends."""

from collections.abc import Iterator, Sequence

import click

from coord.cli import kit
from coord.cli.lease import common
from coord.cli.span import Span
from coord.core import arbiter, ev, resource
from coord.core.arbiter import Hold
from coord.core.draft import Draft
from coord.core.lease import domain, request
from coord.core.lease.request import Wanted
from coord.edge.writing import Desk, Written
from coord.errors import Refusal


def _earlier(call: kit.Call, desk: Desk, kinds: Sequence[str], key: str) -> kit.Row | None:
    """What a request with this key wrote before: its retry says the same."""
    for kind in kinds:
        said = call.earlier(desk, kind, key)
        if said is not None:
            return said
    return None


def _repeated(call: kit.Call, said: kit.Row, key: str) -> Draft:
    body = {name: value for name, value in said.get("body", {}).items() if name != "why"}
    return call.draft(said["type"], said["refs"], body, key=key)


def _mine(call: kit.Call, desk: Desk, text: str) -> list[Hold]:
    """My holds, or promises, of what is named.

    Refusals: unknown_lease, not_held.
    """
    every = common.found(call, desk.index, text)
    ours = [hold for hold in every if common.is_mine(hold, call)]
    if ours:
        # A resource means what I took myself rather than what a command of mine has.
        return [hold for hold in ours if hold.get("exec") is not True] or ours
    if not every:
        raise _ended(call, desk, text)
    hold = every[0]
    hint = "a person, or the agent's owner, may break it: lease break --why TEXT"
    if hold["agent_id"] == desk.author.agent_id:
        hint = "another session of yours has it: lease acquire --take-over"
    raise Refusal("not_held", arbiter.held_text(hold), hint, holder=hold["agent_id"])


def _ended(call: kit.Call, desk: Desk, text: str) -> Refusal:
    """Why nothing is held by this name: it was broken or given back, or never was."""
    text = str(common.named(call, [text])[0]) if ":" in text else text
    wanted = ev.Filter(types=("lease.*",), grep=text)
    raws = [raw for raw in desk.index.select(wanted, -1) if text in raw.get("refs", {}).values()]
    if not raws:
        return common.unknown(text)
    last = raws[-1]
    body, who = last.get("body", {}), last["actor"]["agent_id"]
    if last["type"] == "lease.break":
        told = f"{text} was broken by {who}: {body.get('why', 'no reason given')}"
    else:
        told = f"{text} is not held: {who} gave it back"
    return Refusal("not_held", told, f"lease acquire {last['refs']['resource']}")


@kit.command("renew", writes=True)
@common.targets
@click.option("--ttl", type=Span(), metavar="SPAN", help="For how long from now.")
def renew(call: kit.Call, targets: Sequence[str], ttl: int | None) -> None:
    """Prolong my leases LEASE|RESOURCE... by their ttl, or as --ttl says.

    One whose time is over is acquired anew, with a new fence, if nobody has it.

    \b
    Exits: 3 no such lease; 5 it is not mine, or lost to somebody else by now.
    Example: lease renew 'path:src/api/**' --ttl 1h
    """
    here, remote = [], []
    written: list[Written] = []
    for text in targets:
        confirmed = _confirmed(call, text)
        remote += [(hold, call.key_of(text, len(targets))) for hold in confirmed]
        here += [] if confirmed else [text]
    if remote:
        written += _renewed(call, remote, ttl)
    if here:
        written += call.record(lambda desk: _renewals(call, desk, here, ttl))
    common.acknowledge(call, common.rows_of(call, written), common.say_held)


def _confirmed(call: kit.Call, text: str) -> list[Hold]:
    """My holds of what is named that the remote confirmed and that still run."""
    with call.reading() as known:
        now_ms = call.query_now(known)
        found = common.found(call, known, text)
    return [
        hold
        for hold in found
        if common.is_mine(hold, call) and arbiter.is_confirmed(hold) and arbiter.runs(hold, now_ms)
    ]


def _renewed(
    call: kit.Call, keyed: Sequence[tuple[Hold, str]], ttl: int | None
) -> Sequence[Written]:
    from coord.cli.lease import confirm as remotely

    holds, keys = zip(*keyed, strict=True)
    return remotely.renew(call, holds, ttl or 0, keys)


def _renewals(
    call: kit.Call, desk: Desk, targets: Sequence[str], ttl: int | None
) -> Iterator[Draft]:
    for text in targets:
        key = call.key_of(text, len(targets))
        said = _earlier(call, desk, ("lease.renew", "lease.acquire"), key)
        if said is not None:
            yield _repeated(call, said, key)
            continue
        for hold in _mine(call, desk, text):
            yield _renewal(call, desk, hold, ttl or hold["ttl_ms"], key)


def _renewal(call: kit.Call, desk: Desk, hold: Hold, ttl_ms: int, key: str = "") -> Draft:
    """The renewal of my hold; a new acquire when its time is over.

    Refusals: not_held, when it was lost.
    """
    state = common.state_of(desk, hold)
    refuse_lost(state, hold)
    if arbiter.runs(hold, desk.judged_at_ms):
        return call.draft(*request.renew(hold, ttl_ms), key=key)
    named = resource.parse(hold["resource"])
    wanted = Wanted(
        ttl_ms, hold.get("shared") is True, "host", True, hold.get("ignorecase") is True,
        hold.get("exec") is True, hold.get("work_id", ""),
    )  # fmt: skip
    lease_id = common.fresh_id(desk, key, named)
    return call.draft(*request.acquire(named, lease_id, state["fence"] + 1, wanted), key=key)


def refuse_lost(state: kit.Row, hold: Hold) -> None:
    """Tell a holder what it has lost: another clone's acquire was good before."""
    promised = [one["event_id"] for one in state.get("refused", ())]
    if hold["event_id"] not in promised:
        return
    winner = next((h for h in state["holds"] if domain.meet(h, hold["resource"])), None)
    text = f"{hold['resource']} is lost"
    told = f"{text}: {arbiter.held_text(winner)}" if winner else text
    hint = f"lease release {hold['lease_id']} frees this host for others"
    raise Refusal("not_held", told, hint, lease_id=hold["lease_id"])


@kit.command("release", writes=True)
@common.targets
def release(call: kit.Call, targets: Sequence[str]) -> None:
    """Give my leases LEASE|RESOURCE... back: whoever waits has them at once.

    \b
    Exits: 3 no such lease; 5 it is not mine.
    Example: lease release lease-7k2m9q4t env:staging
    """
    written = call.record(lambda desk: _releases(call, desk, targets))
    common.acknowledge(call, common.rows_of(call, written), common.say_held)


def _releases(call: kit.Call, desk: Desk, targets: Sequence[str]) -> Iterator[Draft]:
    for text in targets:
        key = call.key_of(text, len(targets))
        said = _earlier(call, desk, ("lease.release",), key)
        if said is not None:
            yield _repeated(call, said, key)
            continue
        for hold in _mine(call, desk, text):
            yield call.draft(*request.release(hold), key=key)


@kit.command("break", writes=True)
@common.targets
def break_lease(call: kit.Call, targets: Sequence[str]) -> None:
    """End somebody else's leases LEASE|RESOURCE...; needs --why.

    A person may, and whoever is registered as the owner of the agent that holds it. The
    event names the holder, who is told: its next renewal exits 5, and a command under
    `lease exec` is ended. A holder who is cut off goes on believing until then.

    \b
    Exits: 2 no --why; 3 no such lease; 4 not allowed to.
    Example: lease break env:staging --as human:cy --why "its machine is gone"
    """
    if not call.why:
        raise Refusal("usage", "a break needs --why: its holder will ask")
    try:
        written = call.record(lambda desk: _breaks(call, desk, targets))
    except Refusal as refusal:
        if refusal.code == "not_allowed":
            refusal.hint = "only a person, or the agent's owner, may break its lease"
        raise
    common.acknowledge(call, common.rows_of(call, written), common.say_held)


def _breaks(call: kit.Call, desk: Desk, targets: Sequence[str]) -> Iterator[Draft]:
    for text in targets:
        key = call.key_of(text, len(targets))
        said = _earlier(call, desk, ("lease.break",), key)
        if said is not None:
            yield _repeated(call, said, key)
            continue
        found = common.found(call, desk.index, text)
        if not found:
            raise common.unknown(text)
        for hold in found:
            yield call.draft(*request.broken(hold), key=key)
