"""`run request` and `run retry`: ask for a command to be executed."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.cli.run import common
from coord.core import units
from coord.core.draft import Draft
from coord.core.run import request as facts
from coord.core.run import wanted
from coord.edge.writing import Desk
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])


def _when(function: F) -> F:
    """The options that say when, where and how often a run is executed."""
    for option in reversed((
        click.option("--after", multiple=True, metavar="RUN[:ok|any|failed]",
                     help="Once RUN has ended so; ok unless said. May be repeated."),
        click.option("--label", "labels", multiple=True, metavar="NAME",
                     help="Only by a worker with this label; may be repeated."),
        click.option("--group", metavar="NAME:N", help="At most N of this group at once."),
        click.option("--priority", "-p", type=click.IntRange(0, 4), metavar="0-4",
                     help="0 is most urgent, 2 the default."),
        click.option("--not-before", metavar="TIME", help="Not before: 2h, 2026-12-24T18:00Z."),
        click.option("--expires", metavar="TIME", help="Not started from then on: 1d."),
        click.option("--queue-timeout", type=common.Span(), metavar="SPAN",
                     help="How long it may wait for its first start."),
        click.option("--retry", type=click.IntRange(min=0), metavar="N",
                     help="How often it is tried again when it has failed."),
        click.option("--backoff", type=common.Span(), metavar="SPAN",
                     help="Wait so long before the first retry, then twice as long."),
        click.option("--idempotent", is_flag=True,
                     help="It may be executed again when nobody knows how it ended."),
    )):  # fmt: skip
        function = option(function)
    return function


@kit.command("request", writes=True)
@click.argument("source", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--shell", metavar="LINE", help="A line for sh -c instead of words after --.")
@_when
@common.bounds
@click.option("--partial", is_flag=True, help="With -: write the good lines of a batch.")
def _request(
    call: kit.Call, source: str | None, shell: str | None, partial: bool, **options: Any
) -> int:
    """Ask for the command after -- to be executed by a worker of this store.

    It runs in the folder that we stand in, taken from the top of the worker's working
    tree, with what it prints kept in a log. When it has ended, what it has left behind is
    ended too. With - it reads JSON Lines from stdin, one request a line: argv or shell,
    cwd, env, requires, group, priority, after, not_before_ms, expires_at_ms, timeouts,
    retry, crash_max, idempotent, grace_ms, title.

    \b
    Exits: 3 --after names no run; 4 paused; 6 a value does not fit.
    Example: run request --group gpu:1 --timeout 1h -- make train
    """
    if source:
        return _batch(call, partial)
    body = common.command_in(shell)
    if not body:
        raise Refusal("usage", "there is nothing to execute", "give words after --, or --shell")
    body |= {**common.place_of(call), **common.spec_of(options), **_timing(call, options)}
    written = call.record(lambda desk: _drafts(call, desk, body, options["after"]))
    call.acknowledge(written, _say, ident="run_id")
    return 0


request = common.with_command(_request)


def _say(raw: kit.Row) -> str:
    return f"{raw['refs']['run_id']} requested: {wanted.shown(raw['body'])}"


def _timing(call: kit.Call, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `_when` gives, but --after, which needs the store."""
    found: dict[str, Any] = {}
    if options["labels"]:
        found["requires"] = sorted(set(options["labels"]))
    if options["group"]:
        found["group"] = _group(options["group"])
    if options["priority"] is not None:
        found["priority"] = options["priority"]
    for name, option in (("not_before_ms", "not_before"), ("expires_at_ms", "expires")):
        if options[option]:
            found[name] = units.parse_instant(options[option], call.now_ms, ahead=True)
    if options["retry"] is not None or options["backoff"] is not None:
        spans = {"max": options["retry"] or 0, "backoff_ms": options["backoff"]}
        found["retry"] = {name: value for name, value in spans.items() if value is not None}
    if options["idempotent"]:
        found["idempotent"] = True
    if options["queue_timeout"] is not None:
        spans = common.spec_of(options).get("timeouts", {})
        found["timeouts"] = {**spans, "queue_ms": options["queue_timeout"]}
    return found


def _group(text: str) -> dict[str, Any]:
    name, _, limit = text.rpartition(":")
    if not (name and limit.isascii() and limit.isdigit() and int(limit)):
        raise Refusal("usage", f"{text[:60]!r} is no group with a limit", "give one like gpu:1")
    return {"name": name, "limit": int(limit)}


def _drafts(
    call: kit.Call, desk: Desk, body: Mapping[str, Any], after: Sequence[str]
) -> Iterable[Draft]:
    earlier = call.earlier(desk, "run.requested")
    whole = {**body, **({"after": [_dependency(desk, text) for text in after]} if after else {})}
    run_id = earlier["refs"]["run_id"] if earlier else common.fresh_id(desk, call.key)
    kind, refs, said = facts.requested(run_id, whole)
    common.refuse_fault(refs, said)
    yield call.draft(kind, refs, said)


def _dependency(desk: Desk, text: str) -> dict[str, str]:
    name, _, on = text.partition(":")
    if (on or "ok") not in wanted.ON:
        hint = f"one of {', '.join(wanted.ON)}"
        raise Refusal("usage", f"{on[:40]!r} is no way for a run to end", hint)
    return {"run_id": common.run_id(desk.index, name), "on": on or "ok"}


_GIVEN = tuple(name for name in wanted.FIELDS if name not in ("store", "retry_of"))


def _batch(call: kit.Call, partial: bool) -> int:
    place = common.place_of(call)
    written, faults = call.batch(
        kit.text_of("-"), _read_line, functools.partial(_numbered, call, place), partial
    )
    call.acknowledge(written, _say, ident="run_id")
    return call.finish_batch(faults)


def _read_line(raw: Any, _number: int) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise Refusal("bad_data", "a request is a JSON object", pointer="")
    unknown = sorted(raw.keys() - set(_GIVEN))
    if unknown:
        raise Refusal("bad_data", f"{unknown[0][:60]!r} is not one of {', '.join(_GIVEN)}")
    common.refuse_fault({"run_id": "run-new"}, raw)
    return raw


def _numbered(
    call: kit.Call, place: Mapping[str, str], desk: Desk, number: int, said: Mapping[str, Any]
) -> Iterable[Draft]:
    key = f"{call.key}:{number}" if call.key else ""
    earlier = call.earlier(desk, "run.requested", key) if key else None
    run_id = earlier["refs"]["run_id"] if earlier else common.fresh_id(desk, key)
    kind, refs, body = facts.requested(run_id, {**place, **said})
    yield call.draft(kind, refs, body, key=key)


@kit.command("retry", writes=True)
@common.one_run
def retry(call: kit.Call, run_id: str) -> None:
    """Ask for the ended run RUN once more, as a new run that names it.

    What RUN waited for is not waited for again.

    \b
    Exits: 3 no such run; 5 it has not ended.
    Example: run retry run-7k2m
    """
    written = call.record(lambda desk: _again(call, desk, run_id))
    call.acknowledge(written, _say, ident="run_id")


def _again(call: kit.Call, desk: Desk, text: str) -> Iterable[Draft]:
    state = desk.state(f"run/{common.run_id(desk.index, text)}")
    if "outcome" not in state:
        hint = f"run cancel {state['run_id']}"
        raise Refusal("wrong_state", f"{state['run_id']} is {state['status']}", hint)
    earlier = call.earlier(desk, "run.requested")
    run_id = earlier["refs"]["run_id"] if earlier else common.fresh_id(desk, call.key)
    kind, refs, body = facts.requested(run_id, facts.again(state))
    yield call.draft(kind, refs, {**body, "store": desk.home})
