"""`ev emit`: write events, one or many."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core import envelope, event
from coord.core.draft import Draft
from coord.errors import Refusal

# What a line of a batch may bring; the rest of the envelope is the writer's.
_TAKEN = ("type", "refs", "body", "cause", "links", "idempotency_key")
_MINTED = ("ts", "project", "actor", "writer", "seq", "prev", "v")


@kit.command("emit", writes=True)
@click.argument("kind", metavar="TYPE")
@click.option("--ref", "refs", multiple=True, metavar="K=V", help="What it is about: work_id=wk-…")
@click.option("--body", metavar="JSON", help="The fact, an object; - or @FILE too.")
@click.option("--partial", is_flag=True, help="With TYPE -: write the good lines of a batch.")
@click.option("--from", "form", type=click.Choice(["cloudevents"]),
              help="With TYPE -: the lines are CloudEvents 1.0.")  # fmt: skip
def emit(
    call: kit.Call,
    kind: str,
    refs: Sequence[str],
    body: str | None,
    partial: bool,
    form: str | None,
) -> int:
    """Write one event of TYPE, such as build.finished, and print its acknowledgement.

    TYPE - reads JSON Lines of events from stdin, answers line for line and writes all
    or nothing (--partial: the good ones). Only `type` is required; id, time and writer
    are minted here. Types of work, artifact, lease, msg, run, agent and config are
    checked against their schemas and judged like the tools' own writes. With --from
    cloudevents the id of each line is its key: the same lines again add nothing.

    \b
    Exits: 4 paused; 5 refused by the tool's rules; 6 it does not fit its schema.
    Example: ev emit build.finished --ref work_id=wk-7k2m9q4t --body '{"seconds": 41}'
    """
    if kind == "-":
        return _batch(call, partial, form)
    if form:
        raise Refusal("usage", "--from reads lines from stdin", f"ev emit - --from {form}")
    fact = kit.json_value(kit.text_of(body), "--body") if body is not None else {}
    draft = call.draft(kind, _refs(refs), _object(fact))
    _check(_raw_of(draft))
    written = call.record(lambda desk: [draft])
    call.acknowledge(written, lambda raw: f"{raw['event_id']} {raw['type']}")
    return 0


def _object(fact: object) -> Mapping[str, Any]:
    if isinstance(fact, dict):
        return fact
    raise Refusal(
        "bad_data", "a body is a JSON object", '--body \'{"key": "value"}\'', pointer="/body"
    )


def _refs(pairs: Sequence[str]) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, mark, value = pair.partition("=")
        if not mark or not name or not value:
            raise Refusal("usage", f"--ref {pair[:60]!r} is not K=V", "--ref work_id=wk-7k2m9q4t")
        found[name] = value
    return found


def _raw_of(draft: Draft) -> dict[str, Any]:
    raw = {"type": draft.type, "refs": draft.refs, "body": draft.body}
    more = {"cause": draft.cause, "links": list(draft.links), "idempotency_key": draft.key}
    return {**raw, **{key: value for key, value in more.items() if value}}


def _check(raw: object) -> None:
    """Refuse what does not fit; the schemas are loaded only where they have to speak."""
    if envelope.fault(raw):
        from coord.edge import schemas

        schemas.check(raw, partial=True)  # type: ignore[arg-type]


def _batch(call: kit.Call, partial: bool, form: str | None) -> int:
    read = functools.partial(_draft if form is None else _draft_of_cloudevent, call)
    written, faults = call.batch(
        kit.text_of("-"), read, lambda desk, number, draft: [draft], partial
    )
    call.acknowledge(written, lambda raw: f"{raw['event_id']} {raw['type']}")
    if written and not call.dry_run:
        # Whoever reads next need not wait for a long batch to be indexed.
        with call.reading():
            pass
    return call.finish_batch(faults)


def _draft_of_cloudevent(call: kit.Call, raw: Any, number: int) -> Draft:
    from coord.core import cloudevents

    return _draft(
        call, cloudevents.draft_of(raw, functools.partial(kit.json_value, what="refs")), number
    )


def _draft(call: kit.Call, raw: Any, number: int) -> Draft:
    if isinstance(raw, dict):
        _refuse_foreign(raw)
        raw = {key: value for key, value in raw.items() if key not in _MINTED}
    _check(raw)
    body = dict(raw.get("body", {}))
    if call.why:
        body.setdefault("why", call.why)
    return Draft(
        raw["type"],
        raw.get("refs", {}),
        body,
        cause=raw.get("cause", call.cause),
        links=raw.get("links", ()),
        key=raw.get("idempotency_key") or (f"{call.key}:{number}" if call.key else ""),
        more={key: value for key, value in raw.items() if key not in _TAKEN},
    )


def _refuse_foreign(raw: Mapping[str, Any]) -> None:
    if "event_id" in raw:
        text = "an event_id is minted by the writer, not given"
        raise Refusal("foreign_id", text, "leave event_id out", pointer="/event_id")
    kind = raw.get("type")
    if isinstance(kind, str) and not event.TYPE.fullmatch(kind):
        hint = "a type is lower-case words with dots: build.finished"
        raise Refusal("bad_data", f"{kind[:60]!r} is no type", hint, pointer="/type")
