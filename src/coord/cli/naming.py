"""Whole ids from the short ones that people type."""

from typing import Any

import click

from coord.cli.kit import Call, plain
from coord.edge import clock, environment, identity, store
from coord.edge.index import Index, opened, views
from coord.errors import Refusal

SHORTEST = 3
_LISTED = 10
_COMPLETED = 200
_TOO_SHORT = f"a shortened id has at least {SHORTEST} characters"


def reader(call: Call) -> str:
    """Whose mail it is; git is asked only where nobody is named."""
    named = call.as_option or environment.get(environment.AGENT)
    return identity.agent_id(named) if named else call.author.agent_id


def work_id(known: Index, text: str) -> str:
    """A whole work id from an id or a unique prefix of it, with or without `wk-`."""
    if known.state(f"work/{text}"):
        return text
    part = text.removeprefix("wk-")
    found = views.matching(known.connection, text, _LISTED) if len(part) >= SHORTEST else []
    if not found:
        found = _elsewhere(known, text)
    if len(found) == 1:
        return found[0][0]
    if not found:
        hint = _near(known, text) if len(part) >= SHORTEST else _TOO_SHORT
        raise Refusal("unknown_work", f"there is no work item {text[:80]!r}", hint, work_id=text)
    names = ", ".join(f"{work_id} ({title[:30]})" for work_id, title in found)
    raise Refusal(
        "ambiguous",
        f"{text!r} may be any of {names}",
        "give more of the id",
        candidates=[work_id for work_id, _ in found],
    )


def _near(known: Index, text: str) -> str:
    """The hint for an id that nothing has: those that look like it."""
    from difflib import get_close_matches

    from coord.edge.index import known_names

    found = dict(known_names.near(known.connection, text[:100], _COMPLETED))
    close = get_close_matches(text[:100], [*found], n=3, cutoff=0.85)
    if not close:
        return "wk list --status all lists them"
    return f"did you mean {' or '.join(f'{name} ({found[name][:30]})' for name in close)}?"


def _elsewhere(known: Index, text: str) -> list[tuple[str, str]]:
    """The items that are called so in the tracker they came from.

    By their name there or its beginning; or, where short ids were shown with the
    project's name before them (`tbd-1a2b`), by what follows it.
    """
    if len(text) < SHORTEST:
        return []
    found = views.so_called(known.connection, text, _LISTED)
    short = text.partition("-")[2]
    state = known.state(f"work/{short}") if short and not found else {}
    if state.get("imported", {}).get("from") == "tbd":
        return [(short, state["title"])]
    return found


def event_id(known: Index, text: str) -> str:
    """A whole event id from a unique prefix of it."""
    wanted = text.upper()
    found = known.matching_ids(wanted, _LISTED) if len(wanted) >= SHORTEST else []
    if len(found) == 1:
        return found[0]
    if not found:
        hint = "ev list lists them" if len(wanted) >= SHORTEST else _TOO_SHORT
        raise Refusal("unknown_event", f"there is no event {text[:40]!r}", hint)
    hint = "give more of the id"
    raise Refusal("ambiguous", f"{text!r} may be any of {', '.join(found)}", hint, candidates=found)


def complete_work(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[Any]:
    """For the shell: the ids that begin so, with their titles."""
    from click.shell_completion import CompletionItem

    try:
        with opened(store.find().store, clock.now_ms()) as known:
            found = views.matching(known.connection, incomplete, _COMPLETED)
    except (Refusal, OSError):
        return []
    return [CompletionItem(work_id, help=plain(title)) for work_id, title in found]


one_id = click.argument("work_id", metavar="ID", shell_complete=complete_work)
many_ids = click.argument(
    "ids", nargs=-1, required=True, metavar="ID...", shell_complete=complete_work
)
