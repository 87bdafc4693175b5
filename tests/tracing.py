"""What other systems read as traces, as JSON Schemas, and what no schema can say.

`OTLP` follows opentelemetry/proto/trace/v1/trace.proto and its JSON form (ids in hex, 64-bit
integers as decimal text, camelCase, enums as numbers); nothing else may stand there, for
some receivers refuse what they do not know. `CHROME` follows the Trace Event Format.
"""

from collections import defaultdict
from itertools import pairwise
from typing import Any

import jsonschema

NANOS = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"}
TRACE_ID = {"type": "string", "pattern": "^(?!0{32})[0-9a-f]{32}$"}
SPAN_ID = {"type": "string", "pattern": "^(?!0{16})[0-9a-f]{16}$"}


def _closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties,
            "additionalProperties": False}  # fmt: skip


def _list(items: Any) -> dict[str, Any]:
    return {"type": "array", "items": items}


ANY_VALUE = {
    **_closed(
        [],
        stringValue={"type": "string"},
        boolValue={"type": "boolean"},
        intValue={"type": "string", "pattern": "^-?[0-9]{1,19}$"},
        arrayValue=_closed(["values"], values=_list({"$ref": "#/$defs/any"})),
    ),
    "minProperties": 1,
    "maxProperties": 1,
}
ATTRIBUTES = _list(_closed(["key", "value"], key={"type": "string", "minLength": 1},
                           value={"$ref": "#/$defs/any"}))  # fmt: skip
OTLP_SPAN = _closed(
    ["traceId", "spanId", "name", "kind", "startTimeUnixNano", "endTimeUnixNano"],
    traceId=TRACE_ID,
    spanId=SPAN_ID,
    parentSpanId=SPAN_ID,
    name={"type": "string", "minLength": 1},
    kind={"enum": [1, 2, 3, 4, 5]},
    startTimeUnixNano=NANOS,
    endTimeUnixNano=NANOS,
    attributes=ATTRIBUTES,
    events=_list(
        _closed(
            ["timeUnixNano", "name"],
            timeUnixNano=NANOS,
            name={"type": "string"},
            attributes=ATTRIBUTES,
        )
    ),
    links=_list(
        _closed(["traceId", "spanId"], traceId=TRACE_ID, spanId=SPAN_ID, attributes=ATTRIBUTES)
    ),
    status=_closed([], code={"enum": [0, 1, 2]}, message={"type": "string"}),
)
SCOPE = _closed(["name"], name={"type": "string"})
OTLP = {
    **_closed(
        ["resourceSpans"],
        resourceSpans=_list(
            _closed(
                ["resource", "scopeSpans"],
                resource=_closed(["attributes"], attributes=ATTRIBUTES),
                scopeSpans=_list(_closed(["scope", "spans"], scope=SCOPE, spans=_list(OTLP_SPAN))),
            )
        ),
    ),
    "$defs": {"any": ANY_VALUE},
}

NUMBER = {"type": "integer", "minimum": 0}
PLACED = {"name": {"type": "string"}, "pid": NUMBER, "tid": NUMBER}
_BASIC = ["name", "ph", "pid", "tid"]
CHROME = _closed(
    ["traceEvents"],
    displayTimeUnit={"enum": ["ms", "ns"]},
    traceEvents=_list(
        {
            "oneOf": [
                _closed([*_BASIC, "args"], **PLACED, ph={"const": "M"},
                        args=_closed(["name"], name={"type": "string"})),
                _closed([*_BASIC, "cat", "ts", "dur"], **PLACED, ph={"const": "X"},
                        cat={"type": "string"}, ts=NUMBER, dur={**NUMBER, "minimum": 1},
                        args={"type": "object"}),
                _closed([*_BASIC, "cat", "ts", "id"], **PLACED, ph={"const": "s"},
                        cat={"type": "string"}, ts=NUMBER, id=NUMBER),
                _closed([*_BASIC, "cat", "ts", "id", "bp"], **PLACED, ph={"const": "f"},
                        cat={"type": "string"}, ts=NUMBER, id=NUMBER, bp={"const": "e"}),
            ]
        }
    ),
)  # fmt: skip
_CHECK = {
    "otlp": jsonschema.Draft202012Validator(OTLP),
    "chrome": jsonschema.Draft202012Validator(CHROME),
}


def spans_in(document: Any) -> list[dict[str, Any]]:
    """Every span of an OTLP request."""
    return [
        span
        for resource in document["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    ]


def check_otlp(document: Any) -> None:
    """Fail unless it is a request that makes sense: no id twice, no time backwards."""
    _CHECK["otlp"].validate(document)
    found = {(span["traceId"], span["spanId"]): span for span in spans_in(document)}
    assert len(found) == len(spans_in(document))
    for span in found.values():
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]), span
        above = found.get((span["traceId"], span.get("parentSpanId", "")))
        assert above is None or int(above["startTimeUnixNano"]) <= int(span["startTimeUnixNano"])


def check_chrome(document: Any) -> None:
    """Fail unless no two spans of a thread overlap and every arrow joins two spans."""
    _CHECK["chrome"].validate(document)
    threads, arrows, named = defaultdict(list), defaultdict(list), set()
    for row in document["traceEvents"]:
        if row["ph"] == "X":
            threads[row["pid"], row["tid"]].append(row)
        elif row["ph"] == "M":
            named.add((row["pid"], row["tid"]))
        else:
            arrows[row["id"]].append(row)
    assert threads.keys() <= named
    for rows in threads.values():
        for one, other in pairwise(sorted(rows, key=lambda row: row["ts"])):
            assert one["ts"] + one["dur"] <= other["ts"], (one, other)
    for rows in arrows.values():
        assert [row["ph"] for row in rows] == ["s", "f"]
        for end in rows:
            assert any(row["ts"] <= end["ts"] < row["ts"] + row["dur"]
                       for row in threads[end["pid"], end["tid"]]), end  # fmt: skip
