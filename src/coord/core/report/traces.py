"""Spans as traces, for Jaeger, Perfetto and the like; an event's cause is the span above.

    trace      one for all that began with the same event: its id's 128 bits, in hex
    span       its id is made from the id of the event that began it
    parent     the span in which the event lies that caused this one's first; where that
               event is part of none, the nearest one on the way to the beginning
    links      whatever caused an event of this span and lies in another one: what `cause`
               and `links` name, and the message that is answered

    otlp       ExportTraceServiceRequest of OTLP 1, in its JSON form: ids in hex, 64-bit
               integers as text, names in camelCase, enums as numbers
    chrome     the Trace Event Format, JSON Object Format: complete events (X), one process
               per agent, as many threads as its spans overlap, arrows (s, f) for causes

No step between two instants is finer than a millisecond, so what begins in one stands a
microsecond apart in `chrome`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from coord.core import causes, digest, event
from coord.core.event import Event
from coord.core.problem import World
from coord.core.report import lasting
from coord.core.report.lasting import Raw, Span

SCOPE = "coord"
_INTERNAL, _PRODUCER, _CONSUMER = 1, 4, 5
_KINDS = {lasting.MESSAGE: _PRODUCER, lasting.ATTEMPT: _CONSUMER}
_OK, _ERROR = 1, 2
# What a run or an attempt ends with that nobody calls an error.
_NEUTRAL = frozenset({lasting.OPEN, "cancelled", "skipped"})
_NS, _US = 1_000_000, 1_000


class Known(World, Protocol):
    """Where events are looked up."""

    def event(self, event_id: str) -> Raw | None:
        """The event of this id."""

    def of_entity(self, entity: str) -> list[Event]:
        """The folded events of an entity, by event id."""


class Link(NamedTuple):
    """A cause in another span: that span's event_id, the cause's, and the trace's root."""

    span: str
    cause: str
    root: str


class Traced(NamedTuple):
    """A span with its place among the others; `root` is where its trace began."""

    span: Span
    root: str
    parent: str
    links: Sequence[Link]


class Tracer:
    """Finds spans and how they hang together, reading only the entities it comes by."""

    def __init__(self, known: Known, now_ms: int) -> None:
        self._known = known
        self._now_ms = now_ms
        self._spans: dict[str, list[Span]] = {}
        # Which span an event lies in, for every entity that was read.
        self._places: dict[str, Span] = {}
        self._roots: dict[str, str] = {}
        self._ups: dict[str, Span | None] = {}

    def traced(self, raws: Iterable[Raw]) -> list[Traced]:
        """The spans that these events are part of, in order of their beginnings."""
        found = {span.event_id: span for raw in raws if (span := self._at(raw)) is not None}
        return [self._placed(found[event_id]) for event_id in sorted(found)]

    def _at(self, raw: Raw) -> Span | None:
        entity = event.entity_of(raw)
        if entity not in self._spans:
            ordered = self._known.of_entity(entity) if lasting.may_last(entity) else []
            self._spans[entity] = lasting.of_entity(entity, ordered, self._known, self._now_ms)
            for span in self._spans[entity]:
                # Where two share an event, as when one takes over, it is the newer one's.
                self._places.update({one["event_id"]: span for one in span.events})
        return self._places.get(raw["event_id"])

    def _above(self, cause: object) -> Span | None:
        """The span that a cause lies in, or the nearest on the way to the beginning."""
        seen: set[str] = set()
        while isinstance(cause, str) and event.EVENT_ID.fullmatch(cause) and cause not in seen:
            seen.add(cause)
            raw = self._known.event(cause)
            if raw is None:
                return None
            span = self._at(raw)
            if span is not None:
                return span
            cause = raw.get("cause")
        return None

    def _up(self, span: Span) -> Span | None:
        """The span above: the run of an attempt, else where the cause lies.

        What is above began before: so nothing hangs in a circle, whatever a journal says.
        """
        if span.event_id not in self._ups:
            cause = span.parent or span.events[0].get("cause")
            above = self._above(cause)
            is_before = above is not None and above.event_id < span.event_id
            self._ups[span.event_id] = above if is_before else None
        return self._ups[span.event_id]

    def _root(self, span: Span) -> str:
        """Where a trace began: all that hangs together is in one, whatever else caused it."""
        top = span
        while (above := self._up(top)) is not None:
            top = above
        return causes.root(top.events[0], self._known.event, self._roots)

    def _placed(self, span: Span) -> Traced:
        above = self._up(span)
        parent = above.event_id if above is not None else ""
        return Traced(span, self._root(span), parent, [*self._links(span)])

    def _links(self, span: Span) -> Iterator[Link]:
        told = {span.event_id}
        answered = span.facts.get("reply_to")
        named = (name for raw in span.events for name in causes.of(raw))
        for cause in (*named, *([answered] if answered else ())):
            other = self._above(cause)
            if other is not None and other.event_id not in told:
                told.add(other.event_id)
                yield Link(other.event_id, cause, self._root(other))


def otlp(found: Iterable[Traced]) -> dict[str, Any]:
    """Traces as one request of OTLP: what an agent did in a project is one resource."""
    resources: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in found:
        project = one.span.events[0].get("project")
        place = project if isinstance(project, str) else "", one.span.agent_id
        resources.setdefault(place, []).append(_otlp_span(one))
    return {"resourceSpans": [_resource(*place, rows) for place, rows in sorted(resources.items())]}


def _resource(project: str, agent_id: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    named = {"service.name": agent_id, "service.namespace": project}
    scope = {"scope": {"name": SCOPE}, "spans": rows}
    return {"resource": {"attributes": _attributes(named)}, "scopeSpans": [scope]}


def _otlp_span(one: Traced) -> dict[str, Any]:
    span = one.span
    row: dict[str, Any] = {
        "traceId": trace_id(one.root),
        "spanId": span_id(span.event_id),
        "name": span.name,
        "kind": _KINDS.get(span.kind, _INTERNAL),
        "startTimeUnixNano": str(span.start_ms * _NS),
        "endTimeUnixNano": str(span.end_ms * _NS),
        "attributes": _attributes(_facts(span)),
        "events": [_otlp_event(raw) for raw in span.events],
        "links": [_otlp_link(link) for link in one.links],
        "status": _status(span),
    }
    return {**row, "parentSpanId": span_id(one.parent)} if one.parent else row


def _facts(span: Span) -> dict[str, Any]:
    """What is told of a span; `session.id` is a name that others know too."""
    said = {"kind": span.kind, "event_id": span.event_id, "outcome": span.outcome, **span.facts}
    found: dict[str, Any] = {f"{SCOPE}.{name}": value for name, value in said.items()}
    return {**found, "session.id": span.session_id}


def _otlp_event(raw: Raw) -> dict[str, Any]:
    told = {"coord.event_id": raw["event_id"], "coord.agent_id": raw["actor"]["agent_id"]}
    why = (raw.get("body") or {}).get("why")
    if isinstance(why, str):
        told["coord.why"] = why
    at = str(event.time_of(raw["event_id"]) * _NS)
    return {"timeUnixNano": at, "name": raw["type"], "attributes": _attributes(told)}


def _otlp_link(link: Link) -> dict[str, Any]:
    told = _attributes({"coord.cause": link.cause})
    return {"traceId": trace_id(link.root), "spanId": span_id(link.span), "attributes": told}


def _status(span: Span) -> dict[str, Any]:
    """Runs succeed or do not; all else has no status but a hold that was lost."""
    if span.outcome == lasting.LOST and span.kind in (lasting.CLAIM, lasting.LEASE):
        return {"code": _ERROR, "message": span.outcome}
    if span.kind not in (lasting.RUN, lasting.ATTEMPT) or span.outcome in _NEUTRAL:
        return {}
    return (
        {"code": _OK} if span.outcome == "succeeded" else {"code": _ERROR, "message": span.outcome}
    )


def _attributes(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": name, "value": _value(said[name])} for name in said if said[name] != ""]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, str):
        return {"stringValue": value}
    return {"arrayValue": {"values": [_value(part) for part in value]}}


def trace_id(root: str) -> str:
    """The 128 bits of an event id, in hex; all zeros would name no trace."""
    time_ms, random = event.decode_id(root)
    return f"{max(1, (time_ms << 80) | random):032x}"


def span_id(event_id: str) -> str:
    """The 64 bits that name a span, in hex: two ids may agree in any 64 of their own."""
    return digest.sha256(event_id.encode()).hexdigest()[:16]


def chrome(found: Iterable[Traced]) -> dict[str, Any]:
    """Traces in the Trace Event Format; instants are microseconds since the epoch."""
    listed = sorted(found, key=_beginning)
    pids = {name: pid for pid, name in enumerate(sorted({o.span.agent_id for o in listed}), 1)}
    lanes = _Lanes()
    rows = {one.span.event_id: lanes.row(one.span, pids[one.span.agent_id]) for one in listed}
    named = [_meta("process_name", pid, 0, name) for name, pid in pids.items()]
    arrows = [row for one in listed for row in _arrows(one, rows)]
    # An arrow's number is its place: two rows have it.
    numbered = [{**row, "id": number // 2 + 1} for number, row in enumerate(arrows)]
    return {
        "traceEvents": [*named, *lanes.names(), *rows.values(), *numbered],
        "displayTimeUnit": "ms",
    }


def _beginning(one: Traced) -> tuple[int, str]:
    return one.span.start_ms, one.span.event_id


def _meta(what: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}


class _Lanes:
    """Threads for spans, so that no two on one thread overlap: a viewer would nest them."""

    def __init__(self) -> None:
        # Per process and kind: where the last span of each lane ends, and the lane's thread.
        self._lanes: dict[tuple[int, str], list[list[int]]] = {}
        self._threads: dict[int, list[str]] = {}

    def row(self, span: Span, pid: int) -> dict[str, Any]:
        """The complete event of a span; spans come in order of their beginnings."""
        start, end = span.start_ms * _US, span.end_ms * _US
        lanes = self._lanes.setdefault((pid, span.kind), [])
        lane = next((lane for lane in lanes if lane[0] < start + _US), None)
        if lane is None:
            threads = self._threads.setdefault(pid, [])
            threads.append(f"{span.kind} {len(lanes) + 1}" if lanes else span.kind)
            lane = [0, len(threads)]
            lanes.append(lane)
        start = max(start, lane[0])
        lane[0] = max(end, start + 1)
        return {
            "name": span.name, "cat": span.kind, "ph": "X", "pid": pid, "tid": lane[1],
            "ts": start, "dur": lane[0] - start,
            "args": {"event_id": span.event_id, "outcome": span.outcome, **span.facts},
        }  # fmt: skip

    def names(self) -> list[dict[str, Any]]:
        """What the threads are called."""
        return [
            _meta("thread_name", pid, tid, name)
            for pid, threads in self._threads.items()
            for tid, name in enumerate(threads, 1)
        ]


def _arrows(one: Traced, rows: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """From each cause that is drawn to the span; both ends lie inside what they bind to."""
    links = {link.span: link.cause for link in one.links}
    if one.parent:
        links.setdefault(one.parent, one.span.event_id)
    target = rows[one.span.event_id]
    for name, cause in links.items():
        if name in rows:
            source = rows[name]
            start = _inside(source, event.time_of(cause) * _US)
            yield _arrow("s", source, start)
            yield {**_arrow("f", target, _inside(target, start)), "bp": "e"}


def _inside(row: Mapping[str, Any], at: int) -> int:
    return int(min(max(at, row["ts"]), row["ts"] + row["dur"] - 1))


def _arrow(phase: str, row: Mapping[str, Any], at: int) -> dict[str, Any]:
    place = {"pid": row["pid"], "tid": row["tid"]}
    return {"name": "cause", "cat": "cause", "ph": phase, **place, "ts": at}
