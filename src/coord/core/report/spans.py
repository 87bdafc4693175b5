"""Who held what from when to when, told from events: claims, leases and attempts of runs.

    begins    an acquire that the fold granted
    goes on   a renewal of its lease, by whatever its new end is
    ends      given back, submitted, closed or completed; another acquire of the same
              resource; or its time was over

This is for eyes. Who may hold something now is decided by `core.arbiter` alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coord.core.event import is_integer, time_of
from coord.core.problem import Problem

Raw = Mapping[str, Any]
ACQUIRES = frozenset({"work.claimed", "work.accepted", "lease.acquire", "run.claimed"})
ENDS = frozenset({
    "work.released", "work.submitted", "work.closed", "work.deleted", "work.handed_off",
    "lease.release", "lease.break", "run.completed",
})  # fmt: skip
_UNREAD: Mapping[str, Any] = {}


@dataclass(slots=True)
class Span:
    """One hold; `ended` is false for one whose time simply ran out or still runs."""

    agent_id: str
    resource: str
    start_ms: int
    end_ms: int
    event_id: str
    is_shared: bool = False
    ended: bool = False

    @property
    def kind(self) -> str:
        """`work`, `run` or `lease`."""
        kind = self.resource.partition(":")[0]
        return kind if kind in ("work", "run") else "lease"


def of(events: Iterable[Raw], problems: Mapping[str, Problem]) -> list[Span]:
    """All holds that these events, in order, tell of, by when they began."""
    spans: list[Span] = []
    by_lease: dict[str, Span] = {}
    by_resource: dict[str, Span] = {}
    for raw in events:
        problem = problems.get(raw["event_id"])
        if problem is not None and not problem.stands:
            continue
        refs = raw.get("refs") or _UNREAD
        if raw["type"] in ACQUIRES:
            span = _begun(raw, refs)
            if span is not None:
                _replace(by_resource, span)
                spans.append(span)
                by_lease[str(refs.get("lease_id"))] = span
        elif raw["type"] in ENDS:
            _end(by_lease, by_resource, raw, refs)
        elif isinstance(refs.get("lease_id"), str) and refs["lease_id"] in by_lease:
            _go_on(by_lease[refs["lease_id"]], raw)
    return spans


def _begun(raw: Raw, refs: Raw) -> Span | None:
    body, resource = raw.get("body") or _UNREAD, refs.get("resource")
    if not isinstance(resource, str) or not is_integer(body.get("expires_at_ms")):
        return None
    at_ms, agent_id = time_of(raw["event_id"]), raw["actor"]["agent_id"]
    shared = body.get("shared") is True
    end_ms = max(at_ms, body["expires_at_ms"])
    return Span(agent_id, resource, at_ms, end_ms, raw["event_id"], shared)


def _replace(by_resource: dict[str, Span], span: Span) -> None:
    before = by_resource.get(span.resource)
    if before is not None and not span.is_shared:
        before.end_ms = min(before.end_ms, span.start_ms)
        before.ended = True
    by_resource[span.resource] = span


def _end(
    by_lease: Mapping[str, Span], by_resource: Mapping[str, Span], raw: Raw, refs: Raw
) -> None:
    span = by_lease.get(str(refs.get("lease_id"))) or by_resource.get(f"work:{refs.get('work_id')}")
    if span is not None and not span.ended:
        span.end_ms = min(span.end_ms, time_of(raw["event_id"]))
        span.ended = True


def _go_on(span: Span, raw: Raw) -> None:
    """Any word of the holder that names its lease prolongs it; where it says until when."""
    until_ms = (raw.get("body") or _UNREAD).get("expires_at_ms")
    if is_integer(until_ms) and raw["actor"]["agent_id"] == span.agent_id and not span.ended:
        span.end_ms = max(span.end_ms, until_ms)
