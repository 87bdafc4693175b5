"""What the last import of an item brought, replayed from the item's own events.

An import's events are known by `updated_at_ms` or `imported` in their body. What was
done here in between is left out, so that `importing.plan` can tell what the file
changed from what was changed here. `extra` is one field for events and many for a
file: of it, an import's event counts for the keys that it changed.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coord.core.event import Event
from coord.core.wk import fields as item_fields
from coord.core.wk.wanted import Link, Wanted


def last_imported(events: Iterable[Event]) -> Wanted | None:
    """What the last import brought, from all events of the item; None without any import."""
    past = _Past()
    for one in events:
        if "updated_at_ms" in one.body or "imported" in one.body:
            past.take(one.type, one.refs, one.body)
        elif one.type in ("work.created", "work.updated"):
            past.see_extra(one.body)
    return past.as_wanted()


def advanced(
    base: Wanted | None, current: Mapping[str, Any] | None, drafts: Iterable[Mapping[str, Any]]
) -> Wanted | None:
    """What the last import will have brought once these drafts of an import are appended."""
    past = _Past()
    if base is not None:
        past.start(base)
    past.extra_here = (current or {}).get("extra", {})
    for draft in drafts:
        past.take(draft["type"], draft["refs"], draft["body"])
    return past.as_wanted()


class _Past:
    """The imports of one item, as they go by."""

    def __init__(self) -> None:
        self.work_id = self.source = self.sha256 = ""
        self.updated_at_ms: int | None = None
        self.fields: dict[str, Any] = {}
        self.labels: set[str] = set()
        self.extra: dict[str, Any] = {}
        self.extra_here: Mapping[str, Any] = {}
        self.closed: Mapping[str, Any] | None = None
        self.deleted: Mapping[str, Any] | None = None
        self.links: dict[Link, Mapping[str, Any]] = {}
        self.comments: dict[str, Mapping[str, Any]] = {}

    def start(self, base: Wanted) -> None:
        """Go on from an earlier answer."""
        self.work_id, self.source, self.sha256 = base.work_id, base.source, base.sha256
        self.updated_at_ms, self.fields = base.updated_at_ms, dict(base.fields)
        self.labels = set(self.fields.pop("labels", ()))
        self.extra = dict(self.fields.pop("extra", {}))
        self.closed, self.deleted = base.closed, base.deleted
        self.links, self.comments = dict(base.links), dict(base.comments)

    def take(self, kind: str, refs: Mapping[str, Any], body: Mapping[str, Any]) -> None:
        """Replay one event of an import."""
        self.work_id = refs["work_id"]
        self.updated_at_ms = body.get("updated_at_ms")
        imported = body.get("imported")
        if isinstance(imported, Mapping):
            self.source, self.sha256 = imported.get("from", ""), imported.get("sha256", "")
        step = _REPLAY.get(kind)
        if step is not None:
            step(self, body)

    def see_extra(self, body: Mapping[str, Any]) -> None:
        """Notice an edit of `extra` made here, to tell it from what an import changes next."""
        values = body.get("set", body)
        if "extra" in values:
            self.extra_here = values["extra"]
        elif "extra" in body.get("unset", []):
            self.extra_here = {}

    def set_extra(self, value: Mapping[str, Any]) -> None:
        """Count the keys that this import changed."""
        here = self.extra_here
        for name in here:
            if name not in value:
                self.extra.pop(name, None)
        self.extra.update({n: v for n, v in value.items() if n not in here or here[n] != v})
        self.extra_here = value

    def created(self, body: Mapping[str, Any]) -> None:
        self.labels = set(body.get("labels", []))
        self.updated({"set": {name: body[name] for name in item_fields.FITS if name in body}})

    def updated(self, body: Mapping[str, Any]) -> None:
        values = dict(body.get("set", {}))
        if "extra" in values:
            self.set_extra(values.pop("extra"))
        elif "extra" in body.get("unset", []):
            self.set_extra({})
        self.fields.update(values)
        for name in body.get("unset", []):
            self.fields.pop(name, None)
        self.labels |= set(body.get("add", {}).get("labels", []))
        self.labels -= set(body.get("remove", {}).get("labels", []))

    def linked(self, body: Mapping[str, Any]) -> None:
        self.links[body["kind"], body["target"]] = _told(body, "extra")

    def unlinked(self, body: Mapping[str, Any]) -> None:
        self.links.pop((body["kind"], body["target"]), None)

    def commented(self, body: Mapping[str, Any]) -> None:
        if "comment_id" in body:
            self.comments[body["comment_id"]] = _told(body, "text", "extra")

    def has_closed(self, body: Mapping[str, Any]) -> None:
        self.closed = _told(body, "as", "why")

    def has_deleted(self, body: Mapping[str, Any]) -> None:
        self.deleted = _told(body, "why", "extra")

    def reopened(self, _body: Mapping[str, Any]) -> None:
        self.closed = self.deleted = None

    def as_wanted(self) -> Wanted | None:
        """The answer so far."""
        if not self.work_id:
            return None
        fields = dict(self.fields)
        if self.labels:
            fields["labels"] = tuple(sorted(self.labels))
        if self.extra:
            fields["extra"] = dict(self.extra)
        return Wanted(
            self.work_id, self.source, self.sha256, fields, {}, self.updated_at_ms,
            self.closed, self.deleted, dict(self.links), dict(self.comments),
        )  # fmt: skip


def _told(body: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: body[name] for name in ("at_ms", "by", *names) if name in body}


_REPLAY: Mapping[str, Callable[[_Past, Mapping[str, Any]], None]] = {
    "work.created": _Past.created,
    "work.updated": _Past.updated,
    "work.linked": _Past.linked,
    "work.unlinked": _Past.unlinked,
    "work.commented": _Past.commented,
    "work.closed": _Past.has_closed,
    "work.deleted": _Past.has_deleted,
    "work.reopened": _Past.reopened,
}
