"""`ev materialize` and `ev diff`: the folded state, from the store or a pipe, now or then."""

import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from coord.cli import kit, naming
from coord.core import diff as changes
from coord.core import event as events
from coord.core import fold, units
from coord.core.problem import State
from coord.edge import identity, piped
from coord.edge.index import Index
from coord.errors import NO, Refusal

# What can be printed, and the entities that it is made of besides the agents.
_FAMILIES: Mapping[str, tuple[str, ...]] = {
    "work": ("work",), "agents": (), "inbox": ("msg",), "leases": ("lease", "work"),
    "runs": ("run",),
}  # fmt: skip


@kit.command("materialize", own_as=True)
@click.argument("what", type=click.Choice([*_FAMILIES]))
@click.argument("source", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--at", metavar="WHEN", help="As of an EVENT_ID or a TIME, up to and with it.")
@click.option("--format", "form", type=click.Choice(["json", "md"]), default="json",
              help="JSON Lines, or Markdown to read.")  # fmt: skip
@click.option("--agent", metavar="AGENT", help="Whose inbox; mine unless said.")
@click.option("--as", "--me", "as_", metavar="AGENT", help="Who acts: agent:NAME, human:… or bot:…")
def materialize(
    call: kit.Call, what: str, source: str | None, at: str | None, form: str, agent: str | None
) -> None:
    """Print the state that the events fold to: one line per work item, agent, and so on.

    inbox is what msg inbox lists, all of it: unread first, then the newest. leases are
    those that run, the longest held first, then the claims of work items. runs are all
    that were ever requested, as run show prints them.

    With - it folds the lines on stdin and reads nothing else; their order, and lines
    that come twice, change nothing. Both ways give the same bytes:
    cat .coord/*/*.jsonl | ev materialize work -

    With --at it is the state from the events up to then, by event_id, whoever wrote
    them and whenever they arrived here; what had expired or was ready is judged as of
    then.

    \b
    Exits: 2 usage; 3 --at fits no event.
    Example: ev materialize work --at '1d ago' --format md > BACKLOG.md
    """
    states, now_ms = _from_pipe(call, at) if source else _from_store(call, what, at)
    rows = _rows(call, what, agent, states, now_ms)
    if form == "json":
        for row in rows:
            kit.out(row)
        return
    lines = _markdown(states, now_ms) if what == "work" else map(_LINES[what], rows)
    for line in lines:
        click.echo(line)


def _rows(
    call: kit.Call, what: str, agent: str | None, states: Mapping[str, State], now_ms: int
) -> Iterable[Mapping[str, Any]]:
    if what in changes.NAMES:
        return changes.rows_of(what, states, now_ms).values()
    if what == "runs":
        from coord.core.run import request as runs

        return [runs.row(state) for state in _of(states, "run")]
    if what == "leases":
        from coord.core.lease import request as leases

        return leases.running(_of(states, "lease"), _of(states, "work"), now_ms)
    from coord.core.msg import view

    return view.inbox(states, identity.agent_id(agent) if agent else naming.reader(call), now_ms)


def _of(states: Mapping[str, State], family: str) -> Iterator[State]:
    """The states of a family, by the name of the entity."""
    return (states[entity] for entity in sorted(states) if entity.startswith(f"{family}/"))


def _run(row: Mapping[str, Any]) -> str:
    from coord.core.wk import markdown

    box = "x" if row["status"] == "done" else " "
    said = f"{row['command']} ({row['run_id']}: {row.get('outcome', row['status'])})"
    return f"- [{box}] " + markdown.inline(said)


def _lease(row: Mapping[str, Any]) -> str:
    from coord.core.wk import markdown

    until = units.show_instant(row["expires_at_ms"])
    return "- " + markdown.inline(f"{row['resource']}: {row['agent_id']} until {until}")


def _message(row: Mapping[str, Any]) -> str:
    from coord.core.wk import markdown

    box = " " if row["status"] == "unread" else "x"
    told = row.get("subject") or row.get("excerpt", "")
    when = units.show_instant(row["sent_at_ms"])
    return f"- [{box}] " + markdown.inline(f"{told} ({row['from']}, {when}, {row['message_id']})")


def _agent(row: Mapping[str, Any]) -> str:
    from coord.core.wk import markdown

    paused = (
        f" (paused by {row['paused']['by']}: {row['paused']['why']})" if "paused" in row else ""
    )
    named = " ".join(str(row[k]) for k in ("agent_id", "kind", "mode", "owner") if k in row)
    return f"- {markdown.inline(named + paused)}"


_LINES = {"agents": _agent, "inbox": _message, "leases": _lease, "runs": _run}


def _markdown(states: Mapping[str, State], now_ms: int) -> Iterator[str]:
    from coord.core.wk import markdown

    yield from markdown.write([*_of(states, "work")], now_ms)


def _from_store(call: kit.Call, what: str, at: str | None) -> tuple[Mapping[str, State], int]:
    with call.reading() as known:
        if at is not None:
            return _as_of(known, what, _point(call, known, at))
        now_ms = call.query_now(known)
        families = ("agent", *_FAMILIES[what])
        return {name: state for f in families for name, state in known.states(f)}, now_ms


def _as_of(known: Index, what: str, point: changes.Point) -> tuple[Mapping[str, State], int]:
    from coord.edge.index import past

    return past.states(known, point.before, _FAMILIES[what]), point.now_ms


def _point(call: kit.Call, known: Index, text: str) -> changes.Point:
    """A point, whose event may be named by a unique prefix."""
    try:
        return changes.point(text, call.now_ms)
    except Refusal:
        if not known.matching_ids(text.upper(), 1):
            raise
    return changes.point(naming.event_id(known, text), call.now_ms)


def _from_pipe(call: kit.Call, at: str | None) -> tuple[Mapping[str, State], int]:
    found = piped.trusted(sys.stdin.buffer)
    if at is not None:
        point = changes.point(at, call.now_ms)
        earlier = [e for e in found if e.event_id < point.before]
        return fold.fold(earlier, call.now_ms).states, point.now_ms
    horizon = events.horizon(call.now_ms)
    newest = max((e.event_id for e in found if e.event_id < horizon), default="")
    now_ms = max(call.now_ms, events.time_of(newest)) if newest else call.now_ms
    return fold.fold(found, call.now_ms).states, now_ms


@kit.command("diff")
@click.argument("first", metavar="A")
@click.argument("second", metavar="[B]", required=False)
@click.option("--agents", is_flag=True, help="Of the agents instead of the work items.")
def diff(call: kit.Call, first: str, second: str | None, agents: bool) -> int:
    """Print what changed from A to B: one line per work item that differs.

    A and B are EVENT_IDs or TIMEs as --at of `ev materialize` takes them; without B it
    is up to now. A line has the id, `change` (added, removed, changed) and `fields`,
    each with `from` and `to`; what expired or became ready in between counts too.

    \b
    Exits: 1 nothing changed; 2 A or B is neither; 3 a prefix fits several events.
    Example: ev diff '1d ago'
    """
    what = "agents" if agents else "work"
    with call.reading() as known:
        end = _point(call, known, second) if second else _present(call, known)
        points = (_point(call, known, first), end)
        before, after = (changes.rows_of(what, *_as_of(known, what, point)) for point in points)
    name = changes.NAMES[what]
    rows = list(changes.diff(name, before, after))
    call.emit(rows, _table, ident=name)
    return 0 if rows else NO


def _present(call: kit.Call, known: Index) -> changes.Point:
    return changes.Point("~", call.query_now(known))


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.changes(rows)
