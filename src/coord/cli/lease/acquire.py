"""`lease acquire`: take resources, all of them or none, or wait for them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from coord.cli import exclusive, kit, naming
from coord.cli.lease import common
from coord.core import arbiter
from coord.core.arbiter import Hold
from coord.core.lease import domain, request
from coord.core.lease.request import Wanted
from coord.core.resource import Resource
from coord.edge.paths import Tree
from coord.edge.writing import Desk
from coord.errors import Refusal


class Asked(NamedTuple):
    """A request: which resources, how, and for how long to wait."""

    resources: Sequence[Resource]
    wanted: Wanted
    work: str
    wait_ms: int


def asked(
    call: kit.Call, texts: Sequence[str], options: dict[str, Any], is_exec: bool = False
) -> Asked:
    """The request that resources and options make."""
    named = common.named(call, texts)
    pools = [str(one) for one in named if one.places > 1]
    if pools and options["shared"]:
        raise Refusal("usage", f"{pools[0]} is a pool: its places are not shared")
    wanted = Wanted(
        ttl_ms=options["ttl"] or 0,
        shared=options["shared"],
        confirmed=options["confirm"],
        take_over=options["take_over"],
        ignorecase=any(one.is_path for one in named) and Tree(call.place, ".").ignorecase,
        exec=is_exec,
    )
    return Asked(named, wanted, options["work_id"] or "", common.wait_ms(options["wait"]))


def _acquire(call: kit.Call, resources: Sequence[str], **options: Any) -> None:
    """Acquire the resources RESOURCE..., all of them or none.

    Prints for each its lease_id, its fence (a number that grows whenever it changes
    hands), until when, and who confirmed it: `host` means that nobody who shares this
    .coord folder can have it too; with --confirm remote, nobody in any clone who asks for
    that can. What I hold already is told again. --wait waits in line; waiters that die
    leave the line, and a circle of waiters is refused.

    \b
    Exits: 2 a work item (wk claim takes those), or outside of the repository;
           3 no such work item; 5 somebody holds it, or waiting would never end;
           7 the remote does not answer: nothing is known to be held.
    Example: lease acquire 'path:src/api/**' env:staging --ttl 30m --wait 5m
    """
    request = asked(call, resources, options)
    rows = take(call, request)
    common.acknowledge(call, rows, common.say_held)


_plain = kit.command("acquire", writes=True)(common.resources(common.taking(_acquire)))
acquire = common.with_words(_plain, common.Waiting)


def take(call: kit.Call, asked: Asked) -> list[kit.Row]:
    """Acquire at once, or wait as the request says.

    Refusals: held, deadlock, paused, not_allowed, clock, …
    """
    if not asked.wait_ms:
        return attempt(call, asked)
    from coord.cli.lease.waiting import acquired

    return acquired(call, asked)


def attempt(call: kit.Call, asked: Asked) -> list[kit.Row]:
    """Acquire all resources now, or refuse and write nothing."""
    if asked.wanted.confirmed == exclusive.REMOTE:
        return _confirmed(call, asked)
    with call.desk() as desk:
        desk.refuse_paused()
        wanted = asked.wanted._replace(ttl_ms=common.ttl_ms(desk, asked.wanted.ttl_ms))
        if asked.work:
            wanted = wanted._replace(work_id=naming.work_id(desk.index, asked.work))
        rows = [_taken(call, desk, named, asked, wanted) for named in asked.resources]
        if not call.dry_run:
            desk.write()
    return rows


def _taken(call: kit.Call, desk: Desk, named: Resource, asked: Asked, wanted: Wanted) -> kit.Row:
    if wanted.exec and named.places == 1:
        refuse_own(desk, named, wanted)
    key = call.key_of(str(named), len(asked.resources))
    held = None if key or wanted.exec else _held_already(call, desk, named, wanted)
    if held is not None:
        return _told_again(held)
    state = desk.state(f"lease/{named.domain}")
    lease_id = common.fresh_id(desk, key, named)
    fact = request.acquire(named, lease_id, state.get("fence", 0) + 1, wanted)
    try:
        written = desk.take(call.draft(*fact, key=key))
    except Refusal as refusal:
        if refusal.code == "held" and refusal.facts.get("holder") == desk.author.agent_id:
            refusal.hint = "another session of yours has it: --take-over takes it"
        raise
    return common.rows_of(call, [written])[0]


def _confirmed(call: kit.Call, asked: Asked) -> list[kit.Row]:
    """Ask the remote for what I do not have yet."""
    from coord.cli.lease import confirm as remotely

    rows: dict[Resource, kit.Row] = {}
    with call.desk() as desk:
        for named in asked.resources:
            is_new = call.key or asked.wanted.exec
            held = None if is_new else _held_already(call, desk, named, asked.wanted)
            if held is not None:
                rows[named] = _told_again(held)
    lacking = [named for named in asked.resources if named not in rows]
    if lacking:
        parts = len(asked.resources)
        written = remotely.acquire(call, lacking, asked.wanted, asked.work, parts)
        rows.update(zip(lacking, common.rows_of(call, written), strict=True))
    return [rows[named] for named in asked.resources]


def refuse_own(desk: Desk, named: Resource, wanted: Wanted) -> None:
    """Refuse a command what another command of mine has: they share with nobody."""
    author = desk.author
    asking = {
        "agent_id": author.agent_id, "session_id": author.session_id,
        "resource": str(named), "shared": wanted.shared,
    }  # fmt: skip
    state = desk.state(f"lease/{named.domain}")
    hold = domain.own_in_way(state, asking, desk.judged_at_ms, wanted.ignorecase)
    if hold is not None:
        hint = "a command shares its lease with nobody; --wait waits for it"
        raise Refusal("held", arbiter.held_text(hold), hint, **_facts(hold))


def _facts(hold: Hold) -> dict[str, Any]:
    return {
        "resource": hold["resource"], "holder": hold["agent_id"],
        "holder_session": hold["session_id"], "lease_id": hold["lease_id"],
        "fence": hold["fence"], "expires_at_ms": hold["expires_at_ms"],
    }  # fmt: skip


def _held_already(call: kit.Call, desk: Desk, named: Resource, wanted: Wanted) -> Hold | None:
    """My own running hold of the same; a place in a pool is another one each time."""
    if named.places > 1:
        return None
    for hold in common.running(desk, named, desk.judged_at_ms):
        same = hold["resource"] == str(named) and hold.get("shared", False) == wanted.shared
        plain = hold.get("exec") is not True and hold["confirmed"] == wanted.confirmed
        if same and plain and common.is_mine(hold, call):
            return hold
    return None


def _told_again(hold: Hold) -> kit.Row:
    row: dict[str, Any] = {"event_id": hold["event_id"], "type": "lease.acquire"}
    told = ("resource", "lease_id", "fence", "expires_at_ms", "confirmed")
    return {**row, **{name: hold[name] for name in told}, "duplicate": True}
