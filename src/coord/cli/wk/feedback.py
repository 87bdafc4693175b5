"""`wk feedback`: what somebody lacked."""

from typing import Any

import click

from coord.cli import kit, naming
from coord.core.draft import Draft
from coord.core.problem import State
from coord.edge.index import views
from coord.edge.writing import Desk
from coord.errors import Refusal


@kit.command("feedback", writes=True)
@click.argument("text")
@click.option("--on", metavar="ID", help="The item it is about; else the one I hold.")
def feedback(call: kit.Call, text: str, on: str | None) -> None:
    """Say what I lacked: a right, a tool, a fact, a clearer task.

    It is kept with the item I hold, if any, and stops nothing: `wk hold` says that work
    cannot go on. Whoever keeps the place in order reads it all with
    `ev list --type 'feedback.*'`.

    \b
    Exits: 3 no such item.
    Example: wk feedback "the tests need a database, and there is none here"
    """
    said = kit.text_of(text).strip()
    if not said:
        raise Refusal("usage", "the text is empty", 'wk feedback "I lack …"')
    written = call.record(lambda desk: [_given(call, desk, said, on)])
    call.acknowledge(written, _say)


def _given(call: kit.Call, desk: Desk, text: str, on: str | None) -> Draft:
    work_id = naming.work_id(desk.index, on) if on else _held(desk)
    refs = {"work_id": work_id} if work_id else {}
    return call.draft("feedback.given", refs, {"text": text, **refs})


def _held(desk: Desk) -> str:
    """The item that the actor took last of those it holds; "" without any."""
    query = views.Query(desk.judged_at_ms, "claimed", {"claimed_by": desk.author.agent_id})
    states = views.items(desk.index.connection, query)
    return str(max(states, key=_taken_at)["work_id"]) if states else ""


def _taken_at(state: State) -> tuple[int, str]:
    claim: dict[str, Any] = state["claim"]
    return claim["acquired_at_ms"], claim["event_id"]


def _say(raw: kit.Row) -> str:
    work_id = raw["refs"].get("work_id")
    return f"noted on {work_id}" if work_id else "noted"
