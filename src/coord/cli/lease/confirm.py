"""Leases that the git remote decides: `lease acquire --confirm remote`, and their renewal."""

import functools
from collections.abc import Mapping
from typing import Any

from coord.cli import confirming, kit, naming
from coord.cli.lease import common
from coord.core import resource
from coord.core.arbiter import Hold
from coord.core.lease import domain, request
from coord.core.lease.request import Wanted
from coord.core.resource import Resource
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

Decided = Mapping[str, Any]


def acquire(call: kit.Call, named: Resource, wanted: Wanted, work: str) -> Written:
    """Acquire one resource that no other clone can have."""
    if named.places > 1:
        text = f"{named} is a pool: its places are given out on one host"
        raise Refusal("usage", text, "leave --confirm remote out")
    make = functools.partial(_acquire, call, named, wanted, work)
    with confirming.session(call) as session:
        return session.take(
            confirming.Request(
                named.domain, make, take_over=wanted.take_over, conflict=domain.conflict
            )
        )


def _acquire(
    call: kit.Call, named: Resource, wanted: Wanted, work: str,
    desk: Desk, decided: Decided, lease_id: str,
) -> Written:  # fmt: skip
    desk.refuse_paused()
    if work:
        wanted = wanted._replace(work_id=naming.work_id(desk.index, work))
    lease_id = lease_id or common.fresh_id(desk, call.key, named)
    kind, refs, body = request.acquire(named, lease_id, 0, wanted)
    return desk.take(call.draft(kind, refs, {**body, **decided}))


def renew(call: kit.Call, hold: Hold, ttl_ms: int, key: str) -> Written:
    """Renew a confirmed lease: its record first, then the event."""
    make = functools.partial(_renew, call, hold, ttl_ms, key)
    named = resource.parse(hold["resource"])
    with confirming.session(call) as session:
        return session.take(
            confirming.Request(named.domain, make, fence=hold["fence"], conflict=domain.conflict)
        )


def _renew(
    call: kit.Call, hold: Hold, ttl_ms: int, key: str, desk: Desk, decided: Decided, _lease_id: str
) -> Written:
    kind, refs, body = request.renew(hold, ttl_ms)
    said = {name: value for name, value in decided.items() if name != "fence"}
    return desk.take(call.draft(kind, refs, {**body, **said}, key=key))
