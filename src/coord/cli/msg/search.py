"""`msg search`: find messages by what they say."""

import functools
from collections.abc import Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.msg.inbox import _table
from coord.core.msg import view
from coord.core.wk import searching
from coord.edge.index import mail_search
from coord.errors import NO, Refusal

# What `searching` calls the parts that it weighs, and what they are here.
_NAMES = {"title": "subject", "description": "text"}


@kit.command("search")
@click.argument("text", nargs=-1, required=True, metavar="TEXT...")
@click.option("--everybody", is_flag=True, help="Also what is neither to me nor from me.")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N messages, 50 by default; 0 for all.")  # fmt: skip
@click.option("--offset", type=click.IntRange(min=0), default=0, metavar="N",
              help="Pass over the first N.")  # fmt: skip
def search_messages(
    call: kit.Call, text: Sequence[str], everybody: bool, limit: int, offset: int
) -> int:
    """Find my messages, to me or from me, whose subject or text has all words of TEXT.

    The best first. A word ending in * stands for all words that begin so; "two words" in
    quotes have to follow each other.

    \b
    Exits: 1 nothing matches; 2 TEXT has no word.
    Example: msg search 'deploy* staging'
    """
    asked = " ".join(kit.text_of(part) for part in text)
    terms = searching.parse(asked)
    if not terms:
        hint = "words are letters and digits: msg search deploy"
        raise Refusal("usage", f"{asked[:60]!r} has no word to search for", hint)
    agent_id = naming.reader(call)
    with call.reading() as known:
        now_ms = call.query_now(known)
        found = mail_search.find(known, terms, "" if everybody else agent_id)
        shown = found[offset : offset + limit if limit else None]
        rows = []
        for state in shown:
            where = searching.answer(mail_search.texts_of(known.folder, state), terms)
            rows.append({**view.short(state, agent_id, now_ms), **_named(where)})
    call.emit(rows, functools.partial(_table, now_ms=now_ms), ident="message_id")
    kit.note_page(len(rows), len(found), offset)
    if not rows:
        call.note("nothing matches")
    return 0 if rows else NO


def _named(where: dict[str, Any]) -> dict[str, Any]:
    return {**where, "found_in": [_NAMES[name] for name in where["found_in"]]}
