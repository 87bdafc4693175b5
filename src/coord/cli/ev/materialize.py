"""`ev materialize`: the folded state, from the store or from a pipe."""

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core import event as events
from coord.core import fold, registry
from coord.core.problem import State
from coord.core.wk import view
from coord.edge import piped

_NEWEST = "~"


@kit.command("materialize")
@click.argument("what", type=click.Choice(["work", "agents"]))
@click.argument("source", required=False, metavar="[-]", type=click.Choice(["-"]))
@click.option("--format", "form", type=click.Choice(["json", "md"]), default="json",
              help="JSON Lines, or Markdown to read.")  # fmt: skip
def materialize(call: kit.Call, what: str, source: str | None, form: str) -> None:
    """Print the state that the events fold to: one line per work item or agent.

    With - it folds the lines on stdin and reads nothing else; their order, and lines
    that come twice, change nothing. Both ways give the same bytes:
    cat .coord/*/*.jsonl | ev materialize work -

    \b
    Exits: 2 usage.
    Example: ev materialize work --format md > BACKLOG.md
    """
    states, now_ms = _from_pipe(call) if source else _from_store(call)
    if what == "agents":
        rows = list(_agents(states))
        lines = (f"- {_line(row)}" for row in rows)
    else:
        rows = list(_items(states, now_ms))
        lines = (line for line in _markdown(states, now_ms))
    if form == "md":
        for line in lines:
            click.echo(line)
        return
    for row in rows:
        kit.out(row)


def _line(row: Mapping[str, Any]) -> str:
    from coord.core.wk import markdown

    paused = (
        f" (paused by {row['paused']['by']}: {row['paused']['why']})" if "paused" in row else ""
    )
    named = " ".join(str(row[k]) for k in ("agent_id", "kind", "mode", "owner") if k in row)
    return markdown.inline(named + paused)


def _markdown(states: Mapping[str, State], now_ms: int) -> Iterator[str]:
    from coord.core.wk import markdown

    items = [states[entity] for entity in sorted(states) if entity.startswith("work/")]
    yield from markdown.write(items, now_ms)


def _from_store(call: kit.Call) -> tuple[Mapping[str, State], int]:
    with call.reading() as known:
        now_ms = call.query_now(known)
        return {**dict(known.states("work")), **dict(known.states("agent"))}, now_ms


def _from_pipe(call: kit.Call) -> tuple[Mapping[str, State], int]:
    found = piped.trusted(sys.stdin.buffer)
    horizon = events.horizon(call.now_ms)
    newest = max((e.event_id for e in found if e.event_id < horizon), default="")
    now_ms = max(call.now_ms, events.time_of(newest)) if newest else call.now_ms
    return fold.fold(found, call.now_ms).states, now_ms


def _items(states: Mapping[str, State], now_ms: int) -> Iterator[dict[str, Any]]:
    is_open = functools.partial(_is_open, states)
    for entity in sorted(states):
        if entity.startswith("work/"):
            yield view.whole(states[entity], now_ms, is_open)


def _is_open(states: Mapping[str, State], work_id: str) -> bool | None:
    state = states.get(f"work/{work_id}")
    return None if state is None else state["status"] != "closed"


def _agents(states: Mapping[str, State]) -> Iterator[dict[str, Any]]:
    world = _Folded(states)
    for entity in sorted(states):
        if entity.startswith("agent/"):
            row = registry.view(states[entity], world, _NEWEST)
            if "paused" in row or row["agent_id"] != registry.EVERYBODY:
                yield row


class _Folded:
    """A `World` over folded states."""

    def __init__(self, states: Mapping[str, State]) -> None:
        self._states = states

    def state(self, entity: str) -> State:
        return self._states.get(entity, {})

    def keyed(self, event: events.Event) -> Sequence[events.Event]:
        return ()
