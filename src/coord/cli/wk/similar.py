"""`wk similar`: what may be on the list already."""

import contextlib
from collections.abc import Iterator
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.problem import State
from coord.core.wk import likeness, searching, view
from coord.edge.index import Index, search, views
from coord.errors import Refusal

_CANDIDATES = 200
_WORDS = 20


@kit.command("similar")
@click.argument("text", metavar="ID|TEXT")
@click.option("--least", type=click.IntRange(1, 100), default=likeness.LEAST, metavar="SCORE",
              show_default=True, help="How alike they have to be at least, of 100.")  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=0), default=10, metavar="N",
              help="At most N items, 10 by default; 0 for all.")  # fmt: skip
def similar(call: kit.Call, text: str, least: int, limit: int) -> int:
    """List the items that may say the same as the item ID, or as TEXT, the likest first.

    Each with a score of 100 and the reasons: the same name elsewhere, shared words,
    titles that differ by little. Ask before you create; `wk dep add ID --duplicates
    OTHER` and `wk close ID --as duplicate` say that it is so.

    \b
    Exits: 1 nothing is like it; 2 TEXT has no word; 3 there is no such item.
    Example: wk similar "Login fails with umlauts"
    """
    with call.reading() as known:
        rows = list(_alike(call, known, text, least))
    rows.sort(key=_likest_first)
    return common.list_some(call, rows, limit, _facts)


def _alike(call: kit.Call, known: Index, text: str, least: int) -> Iterator[dict[str, Any]]:
    asked = _asked(call, known, text)
    folder, mine = known.folder, asked.get("work_id")
    description = search.texts_of(folder, asked)["description"]
    query = views.Query(call.query_now(known), "all", limit=_CANDIDATES)
    is_open = common.is_open_in(known)
    for work_id in _candidates(known, asked, query):
        state = common.state_of(known, work_id)
        if work_id == mine or not state:
            continue
        texts = description, search.texts_of(folder, state)["description"]
        found = likeness.compared(asked, state, texts)
        if found["score"] >= least:
            row = view.short(state, query.now_ms, is_open)
            yield {name: row[name] for name in ("work_id", "title", "status")} | found


def _asked(call: kit.Call, known: Index, text: str) -> State:
    """The item that is meant, else one of this title."""
    with contextlib.suppress(Refusal):
        return common.state_of(known, naming.work_id(known, text))
    if text.startswith("wk-"):
        naming.work_id(known, text)
    title = kit.text_of(text)
    if not searching.parse(title.replace('"', " ")):
        raise Refusal("usage", f"{title[:60]!r} has no word to compare", "wk similar wk-7k2m")
    return {"title": title}


def _candidates(known: Index, asked: State, query: views.Query) -> list[str]:
    """The items that share a word of the title, or the name elsewhere."""
    words = likeness.told(searching.words_of(asked["title"]))[:_WORDS]
    terms = [searching.Term(word, (word,), is_prefix=True) for word in words]
    found = search.find(known, terms, query, " OR ").work_ids if terms else []
    reference = asked.get("external_ref")
    if reference:
        named = query._replace(where={"external_ref": reference}, sort="id")
        found += views.work_ids(known.connection, named)
    return list(dict.fromkeys(found))


def _likest_first(row: dict[str, Any]) -> tuple[int, str]:
    return -row["score"], row["work_id"]


def _facts(rows: list[dict[str, Any]]) -> None:
    from coord.cli import tables

    tables.facts(rows)
