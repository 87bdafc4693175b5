"""The whole page: sections in one order, the template around them, what it may do.

The content stands in the page as HTML and can be read without scripts; the script finds it
there. Nothing is loaded from anywhere: style and script are inside, and the content policy
names them by their hashes, so that no text of a journal could ever run, even if one slipped
through. What there is no room for is left out and counted in words.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Template
from typing import Any

from coord.core import digest
from coord.core.report import markup, plots, rows, sections, timeline
from coord.core.report.facts import COLUMNS, Facts, Raw

# Five million in all: the pictures, the board and what is stuck take less than one.
ROWS_BYTES = 3_850_000
ITEMS_BYTES = 2_900_000
# Of which for descriptions, checks and comments.
MORE_BYTES = 500_000
CHUNK = 100


@dataclass(frozen=True, slots=True)
class Assets:
    """The files a page is made of: template, style, script."""

    template: str
    style: str
    script: str

    def policy(self, connects: bool) -> str:
        """What the page may do: run its own script, and nothing else.

        connects: it may also ask where it comes from, for what is new.
        """
        allowed = {
            "default-src": "'none'",
            "script-src": _hash_of(self.script),
            "style-src": _hash_of(self.style),
            "img-src": "data:",
            "connect-src": "'self'" if connects else "'none'",
            "base-uri": "'none'",
            "form-action": "'none'",
        }
        return "; ".join(f"{name} {value}" for name, value in allowed.items())


def _hash_of(source: str) -> str:
    hashed = digest.sha256_for(len(source))(source.encode()).digest()
    return f"'sha256-{base64.b64encode(hashed).decode()}'"


def rendered(facts: Facts, assets: Assets, live: bool = False) -> str:
    """The page. live: it comes from a server that tells what is new."""
    placed = sections.short_rows(facts)
    needs = sections.needs_in(facts)
    item_rows, items_left = _items(facts, placed)
    taken_bytes = sum(len(row.encode()) for row in item_rows)
    event_rows, events_left = _events(facts, ROWS_BYTES - taken_bytes)
    parts = {
        "title": markup.text(facts.project, 80),
        "policy": markup.text(assets.policy(live), 2000),
        "live": "events" if live else "",
        "when": markup.instant(facts.now_ms),
        "told": _told(facts, placed),
        "board": "".join(sections.board(placed, facts.now_ms)),
        "trouble": "".join(sections.trouble(facts, needs)),
        "graph": "".join(sections.needs_picture(facts, needs)),
        "time": "".join(timeline.drawn(facts)),
        "plots": "".join(plots.drawn(facts)),
        "items": "".join(_chunks(item_rows, "item")) + _left_out(items_left, "items", "wk list"),
        "events": "".join(_chunks(event_rows, "event"))
        + _left_out(events_left, "older events", "ev list"),
        "style": assets.style,
        "script": assets.script,
    }
    return Template(assets.template).substitute(parts)


def _told(facts: Facts, placed: Iterable[tuple[str, Any]]) -> str:
    counts = dict.fromkeys(COLUMNS, 0)
    for column, _ in placed:
        counts[column] += 1
    return " ".join(f'<a href="#items" class="dot {c}">{n} {c}</a>' for c, n in counts.items())


def _items(facts: Facts, placed: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[list[str], int]:
    room, more = markup.Room(ITEMS_BYTES), markup.Room(MORE_BYTES)
    states = (facts.items[row["work_id"]] for _, row in placed)
    kept = room.taken(rows.item(state, facts.now_ms, facts.is_open, more) for state in states)
    return kept, room.refused


def _events(facts: Facts, room_bytes: int) -> tuple[list[str], int]:
    """The newest first."""
    room = markup.Room(room_bytes)
    kept = []
    for raw in reversed(facts.events):
        row = rows.event(raw, facts.problems.get(raw["event_id"]))
        if not room.fits(row):
            break
        kept.append(row)
    return kept, facts.events_total - len(kept)


def _chunks(found: Sequence[str], kind: str) -> Iterator[str]:
    """Tables of some rows each: what is out of sight costs the browser nothing."""
    for start in range(0, max(1, len(found)), CHUNK):
        inside = "".join(found[start : start + CHUNK])
        yield f'<div class="chunk"><table class="{kind}s"><tbody>{inside}</tbody></table></div>'


def _left_out(count: int, what: str, command: str) -> str:
    if count <= 0:
        return ""
    return f"<p>{count} {what} have no room here; <code>{command}</code> lists them all"


def news(facts: Facts, raws: Iterable[Raw], gone: Iterable[str]) -> dict[str, Any]:
    """What a live page adds: a row for each of these events, and for each item, as now.

    gone: items that are there no longer.
    """
    more = markup.Room(MORE_BYTES)
    return {
        "events": [rows.event(raw, facts.problems.get(raw["event_id"])) for raw in raws],
        "items": [
            rows.item(state, facts.now_ms, facts.is_open, more) for state in facts.items.values()
        ],
        "gone": [markup.name_of("i", work_id) for work_id in gone],
        "when": markup.instant(facts.now_ms),
    }
