"""`wk close` and `wk reopen`."""

from collections.abc import Iterator, Sequence

import click

from coord.cli import kit, naming
from coord.core.draft import Draft
from coord.core.wk import fields, request
from coord.edge.writing import Desk
from coord.errors import Refusal


@kit.command("close", writes=True, own_as=True)
@naming.many_ids
@click.option("--as", "said", multiple=True, metavar="OUTCOME|AGENT",
              help="How it ended: done (the default), wontdo, duplicate, obsolete; or who"
              " acts, as everywhere: agent:NAME. May be given for both.")  # fmt: skip
def close(call: kit.Call, ids: Sequence[str], said: Sequence[str]) -> None:
    """Close the items ID... as done, wontdo, duplicate or obsolete.

    Closing ends the claim and frees what needed the item. An item that somebody else
    holds is theirs to close.

    \b
    Exits: 3 no such item; 5 somebody else holds it, or it is closed already.
    Example: wk close wk-7k2m --as done --why "released in 1.4"
    """
    resolution = _meant(call, said)
    written = call.record(lambda desk: _closings(call, desk, ids, resolution))
    call.acknowledge(written, _say, ident="work_id")


def _meant(call: kit.Call, said: Sequence[str]) -> str:
    """The outcome among what `--as` says; whoever it names acts."""
    resolution = "done"
    for word in said:
        if word in fields.RESOLUTIONS:
            resolution = word
        elif ":" in word:
            call.as_option = word
        else:
            hint = f"an outcome is one of {', '.join(fields.RESOLUTIONS)}; an agent is agent:NAME"
            raise Refusal("usage", f"--as {word!r} is neither an outcome nor an agent", hint)
    return resolution


def _say(raw: kit.Row) -> str:
    return f"{raw['refs']['work_id']} closed as {raw['body']['as']}"


def _closings(call: kit.Call, desk: Desk, ids: Sequence[str], resolution: str) -> Iterator[Draft]:
    for text in ids:
        state = desk.state(f"work/{naming.work_id(desk.index, text)}")
        refs = request.held_refs(state, desk.author.agent_id, desk.author.session_id)
        key = call.key_of(state["work_id"], len(ids))
        yield call.draft("work.closed", refs, {"as": resolution}, key=key)


@kit.command("reopen", writes=True)
@naming.many_ids
def reopen(call: kit.Call, ids: Sequence[str]) -> None:
    """Open the closed items ID... again.

    \b
    Exits: 3 no such item; 5 it is not closed.
    Example: wk reopen wk-7k2m --why "it is back in 1.5"
    """
    written = call.record(lambda desk: _reopenings(call, desk, ids))
    call.acknowledge(written, lambda raw: f"{raw['refs']['work_id']} reopened", ident="work_id")


def _reopenings(call: kit.Call, desk: Desk, ids: Sequence[str]) -> Iterator[Draft]:
    for text in ids:
        work_id = naming.work_id(desk.index, text)
        key = call.key_of(work_id, len(ids))
        yield call.draft("work.reopened", {"work_id": work_id}, {}, key=key)
