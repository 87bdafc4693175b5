"""The full check of events that come from outside, against the JSON Schemas.

The envelope is checked first, then a reserved type against its own schema; other
types are free. The first thing wrong (the outermost, then in order of its name) is
refused with its JSON pointer and what was expected, in plain words that the schemas
bring as `title`. Two readings are stricter than JSON Schema asks: an integer is
written without a point, and `$` in a pattern is the end of the text.

Loading the checker takes longer than a whole command may: it is imported here,
inside functions, and once per process.
"""

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coord.core.draft import TAKING
from coord.core.event import RESERVED
from coord.core.settings import suggestion
from coord.errors import Refusal

FILES = ("event", "wk", "ev", "msg", "lease", "run")
_EVENT = "urn:coord:schema:event"
_SHOWN_CHARS = 60
_SHAPES = {
    dict: "an object", list: "a list", str: "a string", bool: "true or false",
    int: "a large integer", float: "a number", type(None): "null",
}  # fmt: skip
_PLAIN = {"object": "a JSON object", "array": "a list", "boolean": "true or false"}
_FREE = {"type": "build.finished", "refs": {"work_id": "wk-7k2m9q4t"}, "body": {"seconds": 41}}

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing wrong with an event; the smallest is the one to tell."""

    depth: int
    pointer: str
    case: str
    expected: str
    hint: str = ""


def check(raw: Mapping[str, Any], partial: bool = False) -> None:
    """Refuse an event that does not fit the schema of its type.

    partial: a draft, which need not have what the journal adds (id, time, writer).
    Refusals: bad_data, with `pointer`, `expected` and `type`.
    """
    event = dict(raw) if isinstance(raw, Mapping) else raw
    _refuse_first(event, f"{_EVENT}#/$defs/draft" if partial else _EVENT)
    kind = event["type"]
    if kind.partition(".")[0] not in RESERVED:
        return
    if kind not in types():
        hint = suggestion(kind, types()) or "own types begin with another word"
        known = f"one of {', '.join(types())}"
        raise _refusal(event, Fault(1, "/type", f"is {kind!r}, which is not known", known, hint))
    _refuse_first(_filled(event) if partial else event, types()[kind])


def _filled(event: dict[str, Any]) -> dict[str, Any]:
    """The draft with what writing it derives: an instant from its own and the span."""
    body = event.get("body")
    if event["type"] not in TAKING or not isinstance(body, dict):
        return event
    return {**event, "body": {"expires_at_ms": 0, **body}}


def check_draft(kind: str, refs: Mapping[str, Any], body: Mapping[str, Any], **more: Any) -> None:
    """Refuse what could not become an event of this type.

    more: further keys of the envelope (`cause`, `links`, `idempotency_key`, …).
    Refusals: as `check`.
    """
    check({"type": kind, "refs": dict(refs), "body": dict(body), **more}, partial=True)


def folder() -> str:
    """Where the schemas lie: in the installed package, else in the checkout."""
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    installed = os.path.join(package, "schemas")
    checkout = os.path.join(package, "..", "..", "schemas")
    return installed if os.path.isdir(installed) else os.path.normpath(checkout)


@functools.cache
def documents() -> Mapping[str, Schema]:
    """The schema files by `$id`, with every `$ref` made absolute."""
    import json

    found = {}
    for name in FILES:
        with open(os.path.join(folder(), f"{name}.json"), encoding="utf-8") as stream:
            document = json.load(stream)
        found[document["$id"]] = _absolute(document, document["$id"])
    return found


def _absolute(node: Any, uri: str) -> Any:
    if isinstance(node, list):
        return [_absolute(part, uri) for part in node]
    if not isinstance(node, dict):
        return node
    made = {key: _absolute(value, uri) for key, value in node.items()}
    ref = made.get("$ref")
    return {**made, "$ref": uri + ref} if isinstance(ref, str) and ref[0] == "#" else made


@functools.cache
def types() -> Mapping[str, str]:
    """Where the schema of every known reserved type is."""
    return {
        kind: f"{uri}#/$defs/{kind}"
        for uri, document in documents().items()
        for kind in document["$defs"]
        if "." in kind
    }


def _at(uri: str) -> Schema:
    """The subschema that an absolute `$ref` names."""
    name, _, path = uri.partition("#/")
    node = documents()[name]
    for step in path.split("/") if path else ():
        node = node[step]
    return node


@functools.cache
def _validator(uri: str) -> Any:
    import jsonschema
    from referencing import Registry, Resource

    base = jsonschema.Draft202012Validator
    exact = base.TYPE_CHECKER.redefine("integer", _is_integer)
    extend: Any = jsonschema.validators.extend
    checker = extend(base, {"pattern": _pattern}, type_checker=exact)
    registry: Any = Registry().with_resources(
        (name, Resource.from_contents(document)) for name, document in documents().items()
    )
    return checker({"$ref": uri}, registry=registry)


def _is_integer(_checker: Any, value: object) -> bool:
    return type(value) is int


def _pattern(_validator: Any, wanted: str, value: object, _schema: Schema) -> Iterable[Any]:
    import re

    import jsonschema

    exact = wanted[:-1] + r"\Z" if wanted.endswith("$") else wanted
    if isinstance(value, str) and not re.search(exact, value):
        yield jsonschema.ValidationError("does not match")


def _refuse_first(event: Any, uri: str) -> None:
    """Refuse the first fault that the schema at `uri` finds in an event."""
    faults = [_fault(error) for error in _validator(uri).iter_errors(event)]
    found = min((fault for fault in faults if fault), default=None)
    if found is not None:
        raise _refusal(event, found, hint=f"one that fits: {_example(uri)}")


def _refusal(event: Any, fault: Fault, hint: str = "") -> Refusal:
    kind = event.get("type") if isinstance(event, dict) else None
    named = isinstance(kind, str) and fault.pointer != "/type"
    facts = {"type": kind} if named else {}
    prefix = f"{kind}: " if named else ""
    return Refusal(
        "bad_data",
        f"{prefix}{fault.pointer or 'the event'} {fault.case}",
        fault.hint or hint,
        pointer=fault.pointer,
        expected=fault.expected,
        **facts,
    )


def _fault(error: Any) -> Fault | None:
    """What one error of the checker says; None when it only repeats another."""
    path, schema, value = list(error.absolute_path), error.schema, error.instance
    if error.validator == "required":
        name = next(name for name in error.validator_value if name not in value)
        expected = words(properties_of(schema).get(name, {}))
        case = f"is missing: {expected}"
        return Fault(len(path) + 1, _pointer([*path, name]), case, expected)
    if error.validator in ("additionalProperties", "unevaluatedProperties"):
        known = properties_of(schema)
        name = next((name for name in value if name not in known), None)
        return _unknown([*path, name], known) if name is not None else None
    expected = words(schema)
    return Fault(len(path), _pointer(path), f"is {_shown(value)}, not {expected}", expected)


def _unknown(path: list[Any], known: Mapping[str, Any]) -> Fault:
    expected = f"one of {', '.join(known)}"
    case = f"is not a known field: {expected}"
    return Fault(len(path), _pointer(path), case, expected, suggestion(path[-1], known))


def _pointer(path: Iterable[Any]) -> str:
    """A JSON pointer (RFC 6901)."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def _shown(value: object) -> str:
    """A value for one line of a message: escaped, and never long."""
    if isinstance(value, str):
        long = len(value) > _SHOWN_CHARS
        return f"a string of {len(value)} characters" if long else repr(value)
    if type(value) is int and abs(value) < 10**18:
        return str(value)
    return _SHAPES.get(type(value), "a value")


def _example(uri: str) -> str:
    import json

    examples = _at(uri).get("examples", [])
    return json.dumps(examples[0] if uri in types().values() else _FREE, separators=(",", ":"))


def properties_of(schema: Schema) -> Mapping[str, Schema]:
    """The properties that a schema and all that it includes name."""
    included = list(schema.get("allOf", ()))
    if "$ref" in schema:
        included.append(_at(schema["$ref"]))
    found: dict[str, Schema] = {}
    for part in included:
        found.update(properties_of(part))
    return {**found, **schema.get("properties", {})}


def words(schema: Schema) -> str:
    """What fits into a schema, in plain words."""
    if "title" in schema:
        return str(schema["title"])
    if "$ref" in schema:
        return words(_at(schema["$ref"]))
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    if "const" in schema:
        return str(schema["const"])
    return _typed(schema)


def _typed(schema: Schema) -> str:
    kind = schema.get("type", "")
    if kind == "string" and "maxLength" in schema:
        return f"a string of {schema['minLength']} to {schema['maxLength']} characters"
    if kind == "string":
        return "a string" if "minLength" not in schema else "a string that is not empty"
    if kind == "integer":
        return f"an integer from {schema['minimum']}{_most(schema)}"
    return _PLAIN.get(kind, "a JSON value")


def _most(schema: Schema) -> str:
    return f" to {schema['maximum']}" if "maximum" in schema else " upward"
