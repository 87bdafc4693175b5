"""Claims that the git remote decides: `wk claim`, `renew` and `accept` with `--confirm remote`."""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from coord.cli import confirming, kit, naming
from coord.cli.wk import claim as claims
from coord.core import arbiter
from coord.core.arbiter import Hold
from coord.core.draft import Draft
from coord.core.problem import State
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

Options = Mapping[str, Any]


def claim(call: kit.Call, named: str | None, options: Options, chosen: Options) -> Written | None:
    """Claim the item named, or the next ready one that no other clone has; None without one."""
    with confirming.session(call) as session:
        with call.desk() as desk:
            desk.refuse_paused()
            if named is None:
                earlier = claims.earlier_next(call, desk, chosen)
                wanted = list(itertools.chain(*claims.candidates(call, desk, options)))
            else:
                earlier, wanted = None, [naming.work_id(desk.index, named)]
        if earlier is not None:
            return earlier
        for work_id in wanted:
            try:
                return _confirmed(call, session, work_id, chosen)
            except Refusal as refusal:
                if named is not None or refusal.code not in claims.PASSED_OVER:
                    raise
    return None


def _confirmed(
    call: kit.Call, session: confirming.Session, work_id: str, chosen: Options
) -> Written:
    make = functools.partial(_claim, call, work_id, chosen)
    request = confirming.Request(f"work:{work_id}", make, take_over=chosen["take_over"])
    return session.take(request)


def _claim(
    call: kit.Call, work_id: str, chosen: Options, desk: Desk, decided: Options, lease_id: str
) -> Written:
    return claims.claim_one(
        call, desk, work_id, {**chosen, "decided": decided, "lease_id": lease_id}
    )


def renew(call: kit.Call, state: State, ttl_ms: int | None, key: str) -> Written | None:
    """Renew a confirmed claim: its record first, then the event; None if it is not mine.

    One that is over is claimed anew, with a new fence.
    """
    held, author = state["claim"], call.author
    if (held["agent_id"], held["session_id"]) != (author.agent_id, author.session_id):
        return None
    ttl_ms = ttl_ms or held["ttl_ms"]
    if not arbiter.runs(held, call.now_ms):
        chosen = {"ttl": ttl_ms, "take_over": True, "anyway": True}
        return claim(call, state["work_id"], {}, chosen)
    make = functools.partial(_renewal, call, state, ttl_ms, key)
    with confirming.session(call) as session:
        request = confirming.Request(held["resource"], make, renewed=held)
        return session.take(request)


def _renewal(
    call: kit.Call,
    state: State,
    ttl_ms: int,
    key: str,
    desk: Desk,
    decided: Options,
    _lease_id: str,
) -> Written:
    held = state["claim"]
    refs = {"work_id": state["work_id"], "resource": held["resource"], "lease_id": held["lease_id"]}
    body = {"ttl_ms": ttl_ms, **{k: v for k, v in decided.items() if k != "fence"}}
    return desk.take(call.draft("work.renewed", refs, body, key=key))


def accept(call: kit.Call, held: Hold, draft_of: Callable[[Desk], Draft]) -> Written:
    """Accept what is confirmed as its sender's: the record goes over first."""
    make = functools.partial(_acceptance, draft_of)
    with confirming.session(call) as session:
        request = confirming.Request(held["resource"], make, handed_over=held["lease_id"])
        return session.take(request)


def _acceptance(
    draft_of: Callable[[Desk], Draft], desk: Desk, decided: Options, lease_id: str
) -> Written:
    draft = draft_of(desk)
    refs = {**draft.refs, "lease_id": lease_id or draft.refs["lease_id"]}
    return desk.take(draft._replace(refs=refs, body={**draft.body, **decided}))
