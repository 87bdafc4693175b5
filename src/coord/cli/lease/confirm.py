"""Leases that the git remote decides: `lease acquire --confirm remote`, and their renewal."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from coord.cli import confirming, kit, naming
from coord.cli.lease import common
from coord.cli.lease.acquire import refuse_own
from coord.core import resource
from coord.core.arbiter import Hold
from coord.core.lease import domain, request
from coord.core.lease.request import Wanted
from coord.core.resource import Resource
from coord.edge.writing import Desk, Written

Decided = Mapping[str, Any]


def acquire(
    call: kit.Call, named: Sequence[Resource], wanted: Wanted, work: str, parts: int
) -> list[Written]:
    """Acquire resources that no other clone can have: all of them or none.

    parts: of how many resources the request is, for its key.
    """
    requests = []
    for one in named:
        key = call.key_of(str(one), parts)
        make = functools.partial(_acquire, call, one, wanted, work, key)
        conflict = functools.partial(
            domain.conflict, ignorecase=wanted.ignorecase, is_exec=wanted.exec
        )
        requests.append(
            confirming.Request(one.domain, make, take_over=wanted.take_over, conflict=conflict)
        )
    with confirming.session(call) as session:
        return session.take_all(requests)


def _acquire(
    call: kit.Call, named: Resource, wanted: Wanted, work: str, key: str,
    desk: Desk, decided: Decided, lease_id: str,
) -> Written:  # fmt: skip
    desk.refuse_paused()
    if wanted.exec and named.places == 1:
        refuse_own(desk, named, wanted)
    wanted = wanted._replace(ttl_ms=common.ttl_ms(desk, wanted.ttl_ms))
    if work:
        wanted = wanted._replace(work_id=naming.work_id(desk.index, work))
    lease_id = lease_id or common.fresh_id(desk, key, named)
    kind, refs, body = request.acquire(named, lease_id, 0, wanted)
    return desk.take(call.draft(kind, refs, {**body, **decided}, key=key))


def renew(
    call: kit.Call, holds: Sequence[Hold], ttl_ms: int, keys: Sequence[str] = ()
) -> list[Written]:
    """Renew confirmed leases: their records first, then the events.

    ttl_ms: of all of them; 0 for each its own.
    """
    requests = []
    for hold, key in zip(holds, keys or [""] * len(holds), strict=True):
        make = functools.partial(_renew, call, hold, ttl_ms or hold["ttl_ms"], key)
        named = resource.parse(hold["resource"])
        requests.append(
            confirming.Request(named.domain, make, renewed=hold, conflict=domain.conflict)
        )
    with confirming.session(call) as session:
        return session.take_all(requests)


def _renew(
    call: kit.Call, hold: Hold, ttl_ms: int, key: str, desk: Desk, decided: Decided, _lease_id: str
) -> Written:
    kind, refs, body = request.renew(hold, ttl_ms)
    said = {name: value for name, value in decided.items() if name != "fence"}
    return desk.take(call.draft(kind, refs, {**body, **said}, key=key))
