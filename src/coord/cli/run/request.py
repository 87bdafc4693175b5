"""`run request` and `run retry`: ask for a command to be executed."""

import functools
from collections.abc import Callable, Collection, Generator, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from coord.cli import kit
from coord.cli.run import common, confining, files
from coord.core import units
from coord.core.draft import Draft
from coord.core.run import life, schedule, wanted
from coord.core.run import request as facts
from coord.edge.index import runs
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])


def _when(function: F) -> F:
    """The options that say when, where and how often a run is executed."""
    for option in reversed((
        click.option("--after", multiple=True, metavar="RUN[:ok|any|failed]",
                     help="Once RUN has ended so; ok unless said. May be repeated."),
        click.option("--label", "labels", multiple=True, metavar="NAME",
                     help="Only by a worker with this label; may be repeated."),
        click.option("--executor", type=common.Executor(is_whole=False),
                     metavar="local|tmux|ssh[:HOST]",
                     help="Only by a worker that starts commands so; ssh: at another host."),
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
        click.option("--stdin", is_flag=True,
                     help="It reads what run attach --stdin forwards, instead of nothing."),
        click.option("--dedupe", metavar="KEY", help="One run with KEY at a time: see --if-there."),
        click.option("--if-there", type=click.Choice(wanted.POLICIES),
                     metavar="join|replace|refuse",
                     help="What to do while one has not ended; join unless said."),
        click.option("--cron", metavar="EXPR",
                     help="At every time that five fields of cron name, or @daily and the like."),
        click.option("--every", type=common.Span(), metavar="SPAN",
                     help="Once in every SPAN from now on."),
        click.option("--tz", metavar="ZONE", help="The zone of --cron; UTC unless said."),
        click.option("--catch-up", type=click.Choice(schedule.POLICIES), metavar="skip|once|all",
                     help="What becomes of ticks that nobody fired in time; skip unless said."),
        click.option("--anywhere", is_flag=True,
                     help="By a worker of any clone; the git remote decides which."),
        click.option("--idempotent", is_flag=True,
                     help="It may be executed again when nobody knows how it ended."),
    )):  # fmt: skip
        function = option(function)
    return function


@kit.command("request", writes=True)
@click.argument("source", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--shell", metavar="LINE", help="A line for sh -c instead of words after --.")
@_when
@files.options
@confining.options
@common.bounds
@click.option("--partial", is_flag=True, help="With -: write the good lines of a batch.")
def _request(
    call: kit.Call, source: str | None, shell: str | None, partial: bool, **options: Any
) -> int:
    """Ask for the command after -- to be executed by a worker of this store.

    It runs in the folder that we stand in, taken from the top of the worker's working
    tree, with what it prints kept in a log. When it has ended, what it has left behind is
    ended too. With - it reads JSON Lines from stdin, one request a line: argv or shell,
    cwd, env, requires, locks, group, priority, after, not_before_ms, expires_at_ms, timeouts,
    retry, crash_max, idempotent, grace_ms, stdin, title, repo_ref, writes, artifacts,
    sandbox, secrets, log_cap.

    In a sandbox it reads the tree, the system and what --read names, and writes in the
    folder that it begins in, or where --writes lead; git's folders and the store stay as
    they are, but in a workspace of its own it commits. It gets no variables of the worker
    but those that say how to find and show things. bwrap is bubblewrap; landlock needs
    nothing installed, and there nothing new is made beside git's folder or the store, no
    workspace commits, and modes, owners and times are not guarded.

    With --cron or --every it is a schedule: each tick becomes a run of its own, once in the
    world. Where the store has a git remote, that decides which clone's worker fires a tick,
    and one that does not reach it fires none; else the workers of this store do. Day and
    weekday of a cron are one condition when either begins with *, else one of them is
    enough; a time that the zone's clock skips fires just after, one that it shows twice the
    first time, but an hour that begins with * follows the clock. Of the ticks that nobody
    fired in time, `skip` fires the newest if it is at most five minutes late, `once` the
    newest however late, `all` each. run cancel ends a schedule.

    \b
    Exits: 3 --after names no run; 4 paused; 5 --if-there refuse: there is one; 6 a value
           does not fit.
    Example: run request --group gpu:1 --timeout 1h -- make train
    """
    if source:
        _refuse_given(("shell", *options))
        return _batch(call, partial)
    body = common.command_in(shell)
    if not body:
        raise Refusal("usage", "there is nothing to execute", "give words after --, or --shell")
    body |= {**common.place_of(call), **common.spec_of(options), **_timing(call, options)}
    body |= {**common.locks_of(call, options), **files.spec_of(call, options)}
    body |= confining.spec_of(options, is_now=False)
    body |= {**_schedule(call, options), **_dedupe(options)}
    written = call.record(lambda desk: _drafts(call, desk, body, options["after"]))
    asked = [one for one in written if one.raw["type"] == "run.requested"]
    call.acknowledge(asked, _say, ident="run_id")
    return 0


request = common.with_command(_request)


def _say(raw: kit.Row) -> str:
    return f"{raw['refs']['run_id']} requested: {wanted.shown(raw['body'])}"


def _timing(call: kit.Call, options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `_when` gives, but --after, which needs the store."""
    found: dict[str, Any] = {}
    executor = [common.EXECUTOR + options["executor"]] if options["executor"] else []
    if options["labels"] or executor:
        found["requires"] = sorted({*options["labels"], *executor})
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
    found |= {name: True for name in ("idempotent", "stdin", "anywhere") if options[name]}
    if options["anywhere"]:
        _refuse_alone(call)
    if options["queue_timeout"] is not None:
        spans = common.spec_of(options).get("timeouts", {})
        found["timeouts"] = {**spans, "queue_ms": options["queue_timeout"]}
    return found


def _refuse_alone(call: kit.Call) -> None:
    """Refuse what only a git remote can decide where there is none."""
    from coord.cli import sync

    if sync.opened(call) is None:
        hint = "git remote add origin URL, or leave --anywhere out"
        raise Refusal("no_remote", "there is no git remote to decide who executes it", hint)


def _dedupe(options: Mapping[str, Any]) -> dict[str, Any]:
    """The key of which there is to be only one run at a time."""
    if not options["dedupe"]:
        if options["if_there"]:
            raise Refusal("usage", "--if-there belongs to --dedupe KEY")
        return {}
    return {"dedupe": {"key": options["dedupe"], "policy": options["if_there"] or wanted.JOIN}}


def _schedule(call: kit.Call, options: Mapping[str, Any]) -> dict[str, Any]:
    """The template of which each tick is a run; {} where it is asked for once."""
    cron, every_ms, tz = options["cron"], options["every"], options["tz"]
    if cron is None and every_ms is None:
        if tz or options["catch_up"]:
            raise Refusal("usage", "--tz and --catch-up belong to --cron or --every")
        return {}
    if (cron is None) == (every_ms is None) or (tz and cron is None):
        raise Refusal("usage", "give either --cron EXPR, with --tz, or --every SPAN")
    if options["after"] or options["expires"]:
        raise Refusal("usage", "a schedule comes after nothing, and is ended by run cancel")
    plan = {"every_ms": every_ms} if cron is None else {"cron": cron, "tz": tz or "UTC"}
    from coord.cli import sync
    from coord.edge import zones

    fault = schedule.fault_in(plan)
    if fault:
        raise Refusal("usage", fault, "five fields: minute hour day month weekday; or --every 10m")
    if schedule.next_after(plan, call.now_ms, call.now_ms, zones.named(tz or "")) is None:
        raise Refusal("usage", f"{cron!r} names no day that ever comes", "as 30 February is none")
    is_remote = sync.opened(call) is not None
    policy = options["catch_up"] or schedule.SKIP
    return {
        "schedule": {**plan, "catch_up": policy, "confirmed": "remote" if is_remote else "host"}
    }


def _group(text: str) -> dict[str, Any]:
    name, _, limit = text.rpartition(":")
    if not (name and limit.isascii() and limit.isdigit() and int(limit)):
        raise Refusal("usage", f"{text[:60]!r} is no group with a limit", "give one like gpu:1")
    return {"name": name, "limit": int(limit)}


def _drafts(
    call: kit.Call, desk: Desk, body: Mapping[str, Any], after: Sequence[str]
) -> Iterable[Draft | Written]:
    earlier = call.earlier(desk, "run.requested")
    whole = files.with_blobs(desk, body)
    whole |= {**({"after": [_dependency(desk, text) for text in after]} if after else {})}
    if "dedupe" in body:
        if earlier:
            # What it joined or replaced then may have ended by now.
            yield Written(earlier, is_duplicate=True)
            return
        there = runs.live_with_key(desk.index.connection, body["dedupe"]["key"])
        if there and body["dedupe"]["policy"] == wanted.JOIN:
            yield _joined(desk, there[0])
            return
        if there:
            whole = yield from _replaced(call, desk, there, whole)
    run_id = earlier["refs"]["run_id"] if earlier else common.fresh_id(desk, call.key)
    kind, refs, said = facts.requested(run_id, whole)
    common.refuse_fault(refs, said)
    yield call.draft(kind, refs, said)


def _joined(desk: Desk, run_id: str) -> Written:
    """The request that was there before."""
    raw = desk.index.event(desk.state(f"run/{run_id}")["request_event"])
    assert raw is not None, "a run comes from its request"
    return Written(raw, is_duplicate=True)


def _replaced(
    call: kit.Call, desk: Desk, there: Sequence[str], body: Mapping[str, Any]
) -> Generator[Draft, None, dict[str, Any]]:
    """Cancel the runs that this one replaces; it begins when nothing of them lives."""
    if body["dedupe"]["policy"] == wanted.REFUSE:
        text = f"{there[0]} has the dedupe key {body['dedupe']['key']!r} and has not ended"
        raise Refusal("exists", text, f"run wait {there[0]}, or --if-there join", run_id=there[0])
    for run_id in there:
        state = desk.state(f"run/{run_id}")
        if state["status"] != life.CANCELLING:
            yield call.draft(*facts.cancelled(state))
    ended = [{"run_id": run_id, "on": "any"} for run_id in there]
    return {**body, "after": [*body.get("after", ()), *ended]}


def _dependency(desk: Desk, text: str) -> dict[str, str]:
    name, _, on = text.partition(":")
    if (on or "ok") not in wanted.ON:
        hint = f"one of {', '.join(wanted.ON)}"
        raise Refusal("usage", f"{on[:40]!r} is no way for a run to end", hint)
    return {"run_id": common.run_id(desk.index, name), "on": on or "ok"}


_OURS = ("store", "inputs", "retry_of", "resume", "schedule", "tick_of", "tick_ms", "dedupe")
_GIVEN = tuple(name for name in wanted.FIELDS if name not in _OURS)


def _refuse_given(names: Collection[str]) -> None:
    """Refuse options that a batch would not heed, a sandbox or another host among them.

    Refusals: usage.
    """
    context = click.get_current_context()
    for one in context.command.params:
        source = context.get_parameter_source(str(one.name))
        if one.name in names and source is ParameterSource.COMMANDLINE:
            text = f"{one.opts[0]} is not for a batch: each line says what it wants"
            raise Refusal("usage", text, "run request --help")


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
    if isinstance(raw.get("repo_ref"), str):
        raw = {**raw, "repo_ref": files.resolved(raw["repo_ref"])}
    unknown = sorted(raw.keys() - set(_GIVEN))
    if unknown:
        raise Refusal("bad_data", f"{unknown[0][:60]!r} is not one of {', '.join(_GIVEN)}")
    common.refuse_fault({"run_id": "run-new"}, raw)
    return dict(raw)


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
@click.option("--resume", is_flag=True, help="Steps that RUN has completed are not executed again.")
def retry(call: kit.Call, run_id: str, resume: bool) -> None:
    """Ask for the ended run RUN once more, as a new run that names it.

    What RUN waited for is not waited for again. Every step is executed anew, as the whole
    command is; with --resume the steps of RUN count as the new run's, which alone rolls
    them back from then on.

    \b
    Exits: 3 no such run; 5 it has not ended, or another run goes on with its steps.
    Example: run retry run-7k2m --resume
    """
    written = call.record(lambda desk: _again(call, desk, run_id, resume))[:1]
    call.acknowledge(written, _say, ident="run_id")


def _again(call: kit.Call, desk: Desk, text: str, resume: bool) -> Iterable[Draft | Written]:
    state = desk.state(f"run/{common.run_id(desk.index, text)}")
    if "outcome" not in state:
        hint = f"run cancel {state['run_id']}"
        raise Refusal("wrong_state", f"{state['run_id']} is {state['status']}", hint)
    earlier = call.earlier(desk, "run.requested")
    run_id = earlier["refs"]["run_id"] if earlier else common.fresh_id(desk, call.key)
    kind, refs, body = facts.requested(run_id, facts.again(state))
    goes_on = {"resume": True} if resume else {}
    yield call.draft(kind, refs, {**body, "store": desk.home, **goes_on})
    if resume and not earlier:
        yield call.draft(*facts.handed_on(state, run_id))
