"""What the verbs of `run` share: options of a request, ids by prefix, one run's state."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TextIO, TypeVar

import click

from coord.cli import kit, naming
from coord.core import units
from coord.core.draft import Draft, keyed_name, scope_of
from coord.core.problem import State
from coord.core.run import wanted
from coord.edge import replica
from coord.edge.clock import base32
from coord.edge.index import Index, runs
from coord.edge.writing import Desk
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])
PREFIX = "run-"
# How a worker starts commands. A run that asks for one waits for its label.
LOCAL, TMUX, SSH = EXECUTORS = ("local", "tmux", "ssh")
EXECUTOR = "executor:"
_LISTED = 10
_WORDS = "coord.run.command"


class Span(click.ParamType[int]):
    """A span of time in milliseconds."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return value if isinstance(value, int) else units.parse_duration(str(value))


class Executor(click.ParamType[str]):
    """How a worker starts commands: local, tmux, ssh:HOST."""

    name = "executor"

    def __init__(self, is_whole: bool) -> None:
        """is_whole: a host has to be named, and may be with a folder."""
        self._is_whole = is_whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from coord.cli.run import hosting

        kind, _, host = str(value).partition(":")
        if kind == SSH and (host or self._is_whole):
            hosting.parse(host)
        elif value not in EXECUTORS:
            raise Refusal("usage", f"{str(value)[:80]!r} is no executor", ", ".join(EXECUTORS))
        return str(value)


def bounds(function: F) -> F:
    """The options that bound a run and say how it is ended."""
    for option in reversed((
        click.option("--timeout", type=Span(), metavar="SPAN", help="How long it may run."),
        click.option("--idle-timeout", type=Span(), metavar="SPAN",
                     help="How long it may print nothing."),
        click.option("--grace", type=Span(), metavar="SPAN",
                     help="How long after TERM comes KILL; 5s by default."),
        click.option("--env", multiple=True, metavar="NAME=VALUE",
                     help="A variable of its own, kept in the journal: no place for secrets."),
        click.option("--lock", "locks", multiple=True, metavar="RESOURCE",
                     help="Lease it while the command runs, and start only once it is free."),
        click.option("--title", metavar="TEXT", help="What it is, for people."),
    )):  # fmt: skip
        function = option(function)
    return function


def spec_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that `bounds` give."""
    spans = {"wall_ms": options["timeout"], "idle_ms": options["idle_timeout"]}
    timeouts = {name: span for name, span in spans.items() if span is not None}
    found: dict[str, Any] = {"timeouts": timeouts} if timeouts else {}
    if options["grace"] is not None:
        found["grace_ms"] = options["grace"]
    if options["env"]:
        pairs = [text.partition("=") for text in options["env"]]
        found["env"] = {name: value for name, _, value in pairs}
    if options["title"]:
        found["title"] = options["title"]
    return found


class Taken(NamedTuple):
    """A claimed attempt whose shim is still to be started."""

    state: State
    folder: str
    lock: int
    cause: str


class WithCommand(click.Command):
    """A command line with another one behind `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_WORDS] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "-- CMD..."]


def with_command(command: click.Command) -> click.Command:
    """The same command, with a command line behind `--`."""
    return WithCommand(
        command.name, params=command.params, callback=command.callback, help=command.help
    )


def words() -> list[str]:
    """The words behind `--`."""
    return list(click.get_current_context().meta.get(_WORDS, ()))


def command_in(shell: str | None) -> dict[str, Any]:
    """What is to be executed, from `--shell` or the words behind `--`; {} for neither."""
    given = words()
    if shell is not None and given:
        raise Refusal("usage", "give either --shell LINE or words after --")
    if shell is not None:
        return {"shell": shell}
    return {"argv": given} if given else {}


def locks_of(call: kit.Call, options: Mapping[str, Any]) -> dict[str, list[str]]:
    """The resources that `--lock` names, paths from the top of the tree.

    Refusals: usage.
    """
    from coord.core import resource
    from coord.edge.paths import Tree

    found = []
    for text in dict.fromkeys(options["locks"]):
        read = resource.parse(text)
        if read.is_path:
            read = read._replace(name=Tree(call.place, os.getcwd()).glob(read.name))
        found.append(str(read))
    return {"locks": found} if found else {}


def top_of(call: kit.Call) -> str:
    """The top of the working tree of this clone that we stand in, or ""."""
    from coord.edge.paths import Tree

    here = os.path.realpath(os.getcwd())
    return Tree(call.place, here).top(here)


def place_of(call: kit.Call) -> dict[str, str]:
    """The folder that we stand in, from the top of its working tree, and the store."""
    top = top_of(call)
    inside = os.path.realpath(os.getcwd())[len(top) + 1 :] if top else ""
    return {"store": replica.home(call.place), **({"cwd": inside} if inside else {})}


def refuse_fault(refs: Mapping[str, Any], body: Mapping[str, Any]) -> None:
    """Refuse a request with the schema's own words where the cheap check finds a fault."""
    fault = wanted.fault_in(body)
    if fault:
        from coord.edge import schemas

        schemas.check_draft("run.requested", refs, body)
        raise Refusal("bad_data", fault)


def fresh_id(desk: Desk, key: str) -> str:
    """A new run_id; under an idempotency key the same one on every retry and clone."""
    if key:
        scope = scope_of(Draft("run.requested", key=key), desk.author)
        return PREFIX + base32(keyed_name(scope, PREFIX))[:8]
    while True:
        name = PREFIX + desk.chance.name(8)
        if not desk.state(f"run/{name}"):
            return name


def run_id(known: Index, text: str) -> str:
    """A whole run_id from an id or a unique prefix of it, with or without `run-`.

    Refusals: unknown_run, ambiguous.
    """
    if known.state(f"run/{text}"):
        return text
    whole = text if text.startswith(PREFIX) else PREFIX + text
    is_long = len(whole) >= len(PREFIX) + naming.SHORTEST
    found = runs.matching(known.connection, whole, _LISTED) if is_long else []
    if len(found) == 1:
        return found[0]
    if not found:
        hint = "run list --status all lists them" if is_long else "give 3 characters or more"
        raise Refusal("unknown_run", f"there is no run {text[:80]!r}", hint, run_id=text)
    hint = "give more of the id"
    raise Refusal("ambiguous", f"{text!r} may be any of {', '.join(found)}", hint, candidates=found)


def state_of(call: kit.Call, text: str) -> State:
    """The state of the run that is named."""
    with call.reading() as known:
        return known.state(f"run/{run_id(known, text)}")


def write_all(stream: TextIO, data: bytes) -> None:
    """Write bytes to a standard stream, all of them.

    Without Python's own buffer (PYTHONUNBUFFERED) a write that a signal interrupts is a
    short one, and what watches a folder lives by signals.
    """
    left = memoryview(data)
    while left:
        left = left[stream.buffer.write(left) :]
    stream.flush()


def sentence(row: Mapping[str, Any]) -> str:
    """How a run stands, as a sentence."""
    how = str(row.get("outcome", row["status"]))
    for name in ("exit_code", "signal"):
        if name in row:
            how += f" ({name.replace('_', ' ')} {row[name]})"
    return f"{row['run_id']} {how}: {row['command']}"


def tell(rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs on a terminal where each is told when it ends: a sentence, not a table."""
    for row in rows:
        click.echo(kit.plain(sentence(row)))


def table(rows: Sequence[Mapping[str, Any]]) -> None:
    """Runs on a terminal."""
    from coord.cli import tables

    names = ("run_id", "status", "outcome", "exit_code", "requested_by", "command")
    tables.facts([{name: row.get(name, "") for name in names} for row in rows])


def complete_run(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[Any]:
    """For the shell: the runs that begin so, with their commands."""
    from click.shell_completion import CompletionItem

    from coord.edge import clock, store
    from coord.edge.index import opened

    try:
        with opened(store.find().store, clock.now_ms()) as known:
            names = runs.matching(known.connection, incomplete or PREFIX, 200)
            told = [(name, wanted.shown(known.state(f"run/{name}")["spec"])) for name in names]
    except (Refusal, OSError):
        return []
    return [CompletionItem(name, help=kit.plain(text)) for name, text in told]


one_run = click.argument("run_id", metavar="RUN", shell_complete=complete_run)
many_runs = click.argument(
    "run_ids", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_run
)
