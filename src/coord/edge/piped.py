"""Journal lines that come through a pipe, in any order and any number of times."""

from collections.abc import Iterable

from coord.core import chain
from coord.core import event as events
from coord.core.event import Event
from coord.edge import journal


def trusted(stream: Iterable[bytes]) -> list[Event]:
    """The events of the lines that their journals' chains do not speak against.

    An unfinished last line is left out, as when reading a file.
    """
    links: dict[tuple[str, str], list[chain.Link]] = {}
    found: dict[tuple[tuple[str, str], int], Event] = {}
    for data in stream:
        line = data.rstrip(b"\n")
        raw, _ = journal.parse(line) if line and data.endswith(b"\n") else (None, "")
        if raw is None:
            continue
        name = (events.journal_of(raw["type"]), raw["writer"])
        group = links.setdefault(name, [])
        prev = raw.get("prev", "")
        prev = prev if isinstance(prev, str) else ""
        found[name, len(group)] = events.from_raw(raw)
        group.append(chain.Link(len(group), raw["seq"], prev, journal.digest_of(line)))
    kept = []
    for name, group in links.items():
        places, _ = chain.judge(group)
        kept += [found[name, place] for place in sorted(places)]
    return kept
