"""The states as of an earlier event, from the index.

Every step judges what it reads besides its own entity as of the event's own id, so an
entity without later events is what it is now, and any other is folded anew from its
earlier events, with the present for a world.
"""

from collections.abc import Iterator, Sequence

import orjson

from coord.core import ev, fold
from coord.core import event as events
from coord.core.problem import State
from coord.edge.index import Index

# What no other entity reads, family by family.
ALONE = tuple(family for family in fold.ORDER if family not in fold.READ_BY_OTHERS)


def states(known: Index, before: str, families: Sequence[str] = ALONE) -> dict[str, State]:
    """What the events with smaller ids than `before` fold to, by entity: agents, and families."""
    before = min(before, known.meta("horizon"))
    found = _agents(known, before)
    for family in families:
        found.update(_entities(known, family, before))
    return found


def _agents(known: Index, before: str) -> dict[str, State]:
    """Agents pause each other, so they are folded together."""
    raws = known.select(ev.Filter(types=("agent.*",), until_id=before), -1)
    now_ms = events.time_of(known.meta("horizon"))
    return dict(fold.fold(map(events.from_raw, raws), now_ms).states)


def _entities(known: Index, family: str, before: str) -> Iterator[tuple[str, State]]:
    rows = known.connection.execute(
        "SELECT name, last, state FROM entity WHERE name >= ? AND name < ?"
        " AND last IS NOT NULL ORDER BY name",
        (family + "/", family + "0"),
    )
    for name, last, state in rows.fetchall():
        if last < before:
            if state:
                yield name, orjson.loads(state)
            continue
        earlier = [event for event in known.of_entity(name) if event.event_id < before]
        folded, _ = fold.fold_entity(name, earlier, known)
        if folded:
            yield name, folded
