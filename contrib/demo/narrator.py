"""What the watcher sees, as short lines for people.

Rules: colour only on a terminal without NO_COLOR; text that came from a backlog is
shown with its control characters made harmless.
"""

import collections
import datetime
import json
import os
import sys
import threading
from collections.abc import Mapping
from typing import IO, Any

VERBS = {"work.claimed": "claims", "work.commented": "says on", "work.closed": "closes"}
COLOURS = {"claims": "33", "closes": "32", "yes": "32", "NO": "31", "title": "1", "dim": "2"}
# The changes that a history tells in the demo; `wk log` tells all.
TOLD = ("status", "needs", "parent", "relates", "found_from", "claim")
TITLE_WIDTH = 60
PATIENCE_S = 10.0


def paint(text: str, style: str) -> str:
    """The text in a style's colour, where colour is wanted."""
    if style not in COLOURS or "NO_COLOR" in os.environ or not sys.stdout.isatty():
        return text
    return f"\033[{COLOURS[style]}m{text}\033[0m"


def plain(text: str) -> str:
    """The text on one line, harmless and short."""
    shown = "".join(char if char.isprintable() else "·" for char in text)
    return shown if len(shown) <= TITLE_WIDTH else shown[: TITLE_WIDTH - 1] + "…"


def history_line(row: Mapping[str, Any]) -> str:
    """One line of `wk log` as `date time agent fact`, with what changed and what was said."""
    clock = datetime.datetime.fromtimestamp(row["at_ms"] / 1000, datetime.UTC)
    changed = row.get("changes", {})
    said = [row[name] for name in ("text", "why") if name in row]
    parts = [
        f"{name} {change.get('from', 'none')} → {change.get('to', 'none')}"
        for name, change in changed.items()
        if name in TOLD
    ]
    shown = "; ".join([*parts, *(f"“{plain(text)}”" for text in said)])
    stamp = paint(f"{clock:%Y-%m-%d %H:%M:%S}", "dim")
    return f"  {stamp}  {row['agent_id']:<10} {row['type']:<14} {shown}"


class Narrator(threading.Thread):
    """Prints the events of one `ev watch` and counts them by type.

    since: the event that the watch was told to begin with; it is old news.
    """

    def __init__(self, events: IO[str], since: str, titles: Mapping[str, str]) -> None:
        super().__init__(daemon=True)
        self.events = events
        self.since = since
        self.titles = titles
        self.seen: collections.Counter[str] = collections.Counter()
        self.news = threading.Condition()

    def run(self) -> None:
        """Print until the watcher ends."""
        for line in self.events:
            event = json.loads(line)
            if event["event_id"] == self.since:
                continue
            print(self.sentence(event), flush=True)
            with self.news:
                self.seen[event["type"]] += 1
                self.news.notify_all()

    def sentence(self, event: Mapping[str, Any]) -> str:
        """One event as `time agent verb item title`."""
        name = event["actor"]["agent_id"].partition(":")[2]
        verb = VERBS.get(event["type"], event["type"])
        item = event["refs"].get("work_id", "")
        clock = paint(event["ts"][11:23], "dim")
        title = plain(self.titles.get(item, ""))
        return f"  {clock}  {name:<4} {paint(f'{verb:<8}', verb)} {item:<12} {title}"

    def has_seen(self, kind: str, count: int) -> bool:
        """Wait until so many events of a type were printed; False when they do not come."""
        with self.news:
            return self.news.wait_for(lambda: self.seen[kind] >= count, PATIENCE_S)
