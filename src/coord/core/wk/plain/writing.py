"""One item's state to its plain line."""

from collections.abc import Mapping
from typing import Any

from coord.core.wk import view

EXPORTED = (
    "work_id", "title", "description", "type", "priority", "status", "resolution", "labels",
    "assignee", "due_ms", "defer_until_ms", "external_ref", "acceptance", "created_at_ms",
    "created_by", "updated_at_ms", "closed_at_ms", "closed_by", "close_why", "deleted",
    "comments", "extra",
)  # fmt: skip


def write(item: Mapping[str, Any], now_ms: int) -> dict[str, Any]:
    """An item's state as one object; long texts must be in it, not as blobs.

    now_ms: a claim that runs then makes it `claimed`.
    """
    line = {name: item[name] for name in EXPORTED if item.get(name) not in (None, [])}
    line["status"] = view.status_at(dict(item), now_ms)
    if "acceptance" in line:
        line["acceptance"] = [check["text"] for check in line["acceptance"]]
    links = {
        kind: {target: _without_event(link) for target, link in sorted(group.items())}
        for kind, group in sorted(item.get("links", {}).items())
    }
    return {**line, "links": links} if links else line


def _without_event(link: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in link.items() if name != "event_id"}
