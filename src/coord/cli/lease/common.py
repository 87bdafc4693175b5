"""What the verbs of `lease` share: resources, options, the holds that are meant, answers."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coord.cli import kit
from coord.cli.span import Span
from coord.core import arbiter, resource, settings, units
from coord.core.arbiter import Hold
from coord.core.draft import Draft, keyed_name, scope_of
from coord.core.lease import request
from coord.core.resource import Resource
from coord.edge.clock import base32
from coord.edge.index import Index, holds
from coord.edge.paths import Tree
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])

FOREVER = -1
_EVER = "for-ever"
_LISTED = 10


def taking(function: F) -> F:
    """The options of a verb that acquires leases."""
    for option in reversed((
        click.option("--ttl", type=Span(), metavar="SPAN",
                     help="For how long; else as lease.ttl_ms says, 15m."),
        click.option("--shared", is_flag=True, help="With others who share it too."),
        click.option("--wait", metavar="[SPAN]", is_flag=False, flag_value=_EVER,
                     help="Wait until it is free, or at most so long; first come first served."),
        click.option("--confirm", type=click.Choice(["none", "host", "remote"]), default="host",
                     help="Who has to confirm it; host is the default."),
        click.option("--work", "work_id", metavar="ID", help="The work item it is for."),
        click.option("--take-over", is_flag=True, help="Take what another session of mine holds."),
    )):  # fmt: skip
        function = option(function)
    return function


class Waiting(click.Command):
    """A command whose `--wait` may stand alone before a resource."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, with_span(args))


def with_span(args: Sequence[str]) -> list[str]:
    """The words with `--wait SPAN` as `--wait=SPAN`, and `--wait` alone as without end."""
    found: list[str] = []
    words = iter(args)
    for word in words:
        if word != "--wait":
            found.append(word)
            continue
        after = next(words, None)
        span = after is not None and _is_span(after)
        found.append(f"--wait={after}" if span else f"--wait={_EVER}")
        found += [after] if after is not None and not span else []
    return found


def _is_span(text: str) -> bool:
    try:
        units.parse_duration(text)
    except Refusal:
        return False
    return True


def wait_ms(text: str | None) -> int:
    """How long `--wait` says to wait: 0 without it, `FOREVER` without a span."""
    if text is None:
        return 0
    return FOREVER if text == _EVER else units.parse_duration(text)


def with_words(command: click.Command, kind: type[click.Command]) -> click.Command:
    """The same command, reading its words in another way."""
    return kind(command.name, params=command.params, callback=command.callback, help=command.help)


resources = click.argument("resources", nargs=-1, required=True, metavar="RESOURCE...")


def tree_of(call: kit.Call) -> Tree:
    """The working trees of the clone, from the folder that we stand in."""
    return Tree(call.place, os.getcwd())


def named(call: kit.Call, texts: Iterable[str]) -> list[Resource]:
    """The resources that were typed, paths named from the top of the tree.

    Refusals: usage.
    """
    tree = tree_of(call)
    found = []
    for text in dict.fromkeys(texts):
        read = resource.parse(text)
        if read.is_path:
            read = read._replace(name=tree.glob(read.name))
        if resource.read(str(read)) is None:
            raise Refusal("usage", f"{text[:60]!r} is too long or has a control character")
        found.append(read)
    return list(dict.fromkeys(found))


def fresh_id(desk: Desk, key: str, named: Resource) -> str:
    """A new lease_id; under an idempotency key the same one on every retry and clone."""
    if key:
        scope = scope_of(Draft("lease.acquire", key=key), desk.author)
        return "lease-" + base32(keyed_name(scope, "lease-"))[:8]
    while True:
        name = f"lease-{desk.chance.name(8)}"
        if not holds.named(desk.index.connection, name, 1):
            return name


def ttl_ms(known: Index | Desk, chosen: int | None) -> int:
    """For how long a lease runs: as was said, else as the shared setting says."""
    return chosen or int(settings.in_force(known, "lease.ttl_ms", "~"))


def is_mine(hold: Hold, call: kit.Call) -> bool:
    """Whether the actor holds this, in this session."""
    return request.is_mine(hold, call.author.agent_id, call.author.session_id)


def state_of(known: Index | Desk, hold: Hold) -> Mapping[str, Any]:
    """The state of the domain that a hold belongs to."""
    return known.state(f"lease/{resource.domain_of(hold['resource'])}")


def running(known: Index | Desk, named: Resource, now_ms: int) -> list[Hold]:
    """The running holds that may conflict with a resource."""
    if isinstance(known, Index) and named.is_path:
        return list(holds.near(known.connection, [named.name], now_ms))
    state = known.state(f"lease/{named.domain}")
    return [hold for hold in state.get("holds", ()) if arbiter.runs(hold, now_ms)]


def found(call: kit.Call, known: Index, text: str) -> list[Hold]:
    """The holds, granted or lost, that a lease_id, its beginning, or a resource names.

    Refusals: usage, unknown_lease, ambiguous.
    """
    if ":" in text:
        wanted = named(call, [text])[0]
        state = known.state(f"lease/{wanted.domain}")
        every = (*state.get("holds", ()), *state.get("refused", ()))
        return [hold for hold in every if hold["resource"] == str(wanted)]
    whole = text if text.startswith("lease-") else f"lease-{text}"
    if len(whole) < len("lease-") + 3:
        hint = "a shortened id has at least 3 characters"
        raise Refusal("unknown_lease", f"there is no lease {text[:60]!r}", hint)
    rows = holds.named(known.connection, whole, _LISTED)
    ids = list(dict.fromkeys(lease_id for lease_id, _, _ in rows))
    if len(ids) > 1:
        hint = "give more of the id"
        raise Refusal("ambiguous", f"{text!r} may be any of {', '.join(ids)}", hint, candidates=ids)
    return [hold for _, _, hold in rows]


def unknown(text: str) -> Refusal:
    """Nothing is held by this name."""
    return Refusal("unknown_lease", f"nobody holds {text[:80]!r}", "lease list shows what is held")


def acknowledge(call: kit.Call, rows: Sequence[kit.Row], say: Callable[[kit.Row], str]) -> None:
    """Print what was written about leases, a row each."""
    if call.for_people and not call.quiet and not call.dry_run:
        for row in rows:
            repeated = " (said before)" if row.get("duplicate") else ""
            click.echo(kit.plain(say(row)) + repeated)
    else:
        call.emit(rows, ident="lease_id")


def rows_of(call: kit.Call, written: Sequence[Written]) -> list[kit.Row]:
    """The acknowledgements of a write; the events themselves with `--dry-run`."""
    if call.dry_run:
        return [one.raw for one in written]
    return [_row(one) for one in written]


def _row(written: Written) -> dict[str, Any]:
    resource = written.raw["refs"]["resource"]
    shown = kit.acknowledgement(written)
    row = {"event_id": shown.pop("event_id"), "type": shown.pop("type"), "resource": resource}
    return {**row, **shown}


def say_held(row: kit.Row) -> str:
    """A lease as a sentence."""
    if "expires_at_ms" not in row:
        return f"{row['resource']} {row['type'].partition('.')[2]}"
    until = units.show_instant(row["expires_at_ms"])
    how = f" (fence {row['fence']}, confirmed: {row['confirmed']})" if "fence" in row else ""
    return f"{row['resource']} is yours until {until}{how}"


def complete_lease(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[Any]:
    """For the shell: the leases that begin so, with what they are for."""
    from click.shell_completion import CompletionItem

    from coord.edge import clock, store
    from coord.edge.index import opened

    try:
        with opened(store.find().store, clock.now_ms()) as known:
            listed = holds.named(known.connection, incomplete or "lease-", 200)
    except (Refusal, OSError):
        return []
    return [CompletionItem(name, help=kit.plain(hold["resource"])) for name, _, hold in listed]


targets = click.argument(
    "targets", nargs=-1, required=True, metavar="LEASE|RESOURCE...", shell_complete=complete_lease
)
