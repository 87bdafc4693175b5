"""From what a foreign file wants an item to be to the events that bring it there.

A reader (`beads.read`, `plain.Reader`) turns one line into a `Wanted` or a `Fault`;
`collect` reads a whole file and keeps the account. `plan` then compares three things,
field by field, label by label, link by link, and key by key of `extra`:

    base      what the last import brought (`last_imported`, from the item's events)
    wanted    what this version of the file says
    current   the item as it is

Only what the file changed since `base` becomes events, and only where the item does
not say so already: a second import adds nothing, a later version of a file adds the
difference, an edit made here is never taken back by a field that stayed as it was.

Marks. The first event of every import of an item carries `imported` {from, sha256},
and each carries `updated_at_ms`; where the file tells no instant at all, each carries
`imported`. By one of the two `last_imported` knows an import's events.

Order. Created or reopened first, so that a status told in `extra` is newer than it;
then updated, unlinked, linked, commented; closed and deleted last.

What cannot be done is not recorded as done: an item that somebody's claim holds is
neither closed nor deleted, and its `imported.sha256` is such that the next import of
the same file tries again.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from coord.core import arbiter, event, fold
from coord.core.event import Event
from coord.core.wk import fields as item_fields
from coord.core.wk.account import Account, collect
from coord.core.wk.last_import import advanced, last_imported
from coord.core.wk.wanted import MARK, Fault, Link, Wanted, digest, same, says, without_none

__all__ = [
    "Account", "Draft", "Fault", "Wanted", "after", "collect", "is_held_back", "last_imported",
    "plan", "plan_versions",
]  # fmt: skip

Draft = dict[str, Any]


def plan(
    wanted: Wanted,
    current: Mapping[str, Any] | None,
    base: Wanted | None,
    now_ms: int | None = None,
    agent_id: str = "",
    session_id: str = "",
) -> list[Draft]:
    """The events that bring an item to what a file wants; [] when there is nothing to do.

    current: the item's state, None when there is no such item.
    base: `last_imported` of the item's events.
    now_ms, agent_id, session_id: when, and who imports: they decide whether a claim
    stands in the way. Without them any claim does.
    """
    if not current:
        return _sealed(wanted, _new(wanted), wanted.updated_at_ms, wanted.sha256)
    if current.get("imported", {}).get("sha256") == wanted.sha256:
        return []
    before = base or _nothing(wanted)
    first, last = _endings(wanted, before, current)
    held = bool(first or last) and _is_held(current, now_ms, (agent_id, session_id))
    fitted = _fitted(wanted, before, current)
    drafts = [
        *([] if held else first),
        *_edits(fitted, before, current),
        *_link_changes(fitted, before, current),
        *_new_comments(fitted, before, current),
        *([] if held else last),
    ]
    updated_at_ms = _updated_at_ms(wanted, before, current)
    if not drafts and wanted.updated_at_ms not in (None, before.updated_at_ms):
        drafts = [_draft("updated", wanted.work_id, {})]
    if all(_is_known(draft, current, updated_at_ms) for draft in drafts):
        return []
    seal = sha256(wanted.sha256.encode()).hexdigest() if held else wanted.sha256
    return _sealed(wanted, drafts, updated_at_ms, seal)


def plan_versions(
    versions: Sequence[Wanted],
    current: Mapping[str, Any] | None,
    base: Wanted | None,
    now_ms: int | None = None,
    agent_id: str = "",
    session_id: str = "",
) -> list[Draft]:
    """`plan` for all lines of a file that share an id: each is a version of the one before.

    Versions up to the one that the item was last brought to are skipped.
    """
    known = (current or {}).get("imported", {}).get("sha256")
    shas = [version.sha256 for version in versions]
    start = len(shas) - shas[::-1].index(known) if known in shas else 0
    who = now_ms, agent_id, session_id
    drafts: list[Draft] = []
    for version in versions[start:]:
        step = plan(version, current, base, *who)
        base, current = advanced(base, current, step), after(current, step)
        # The ids in a later step's `base` are not minted yet: nobody can have seen them.
        drafts.extend(map(_without_base, step) if drafts else step)
    return drafts


def is_held_back(
    wanted: Wanted,
    current: Mapping[str, Any] | None,
    base: Wanted | None,
    now_ms: int | None = None,
    agent_id: str = "",
    session_id: str = "",
) -> bool:
    """Whether a claim keeps this import from closing or deleting the item."""
    if not current or current.get("imported", {}).get("sha256") == wanted.sha256:
        return False
    first, last = _endings(wanted, base or _nothing(wanted), current)
    return bool(first or last) and _is_held(current, now_ms, (agent_id, session_id))


def _nothing(wanted: Wanted) -> Wanted:
    return Wanted(wanted.work_id, wanted.source, "", {})


def _without_base(draft: Draft) -> Draft:
    return {**draft, "body": {k: v for k, v in draft["body"].items() if k != "base"}}


def _draft(kind: str, work_id: str, body: Mapping[str, Any]) -> Draft:
    return {"type": f"work.{kind}", "refs": {"work_id": work_id}, "body": dict(body)}


def _sealed(
    wanted: Wanted, drafts: list[Draft], updated_at_ms: int | None, seal: str
) -> list[Draft]:
    """Mark the drafts as one import of the item."""
    imported = {"from": wanted.source, "sha256": seal}
    for number, draft in enumerate(drafts):
        if updated_at_ms is not None:
            draft["body"]["updated_at_ms"] = updated_at_ms
        if number == 0 or updated_at_ms is None:
            draft["body"]["imported"] = imported
    return drafts


def _new(wanted: Wanted) -> list[Draft]:
    work_id = wanted.work_id
    created = {**wanted.fields, **wanted.created}
    if "labels" in created:
        created["labels"] = list(created["labels"])
    return [
        _draft("created", work_id, created),
        *(_linked(work_id, name, link) for name, link in wanted.links.items()),
        *(_commented(work_id, name, said) for name, said in wanted.comments.items()),
        *([] if wanted.closed is None else [_draft("closed", work_id, wanted.closed)]),
        *([] if wanted.deleted is None else [_draft("deleted", work_id, wanted.deleted)]),
    ]


def _linked(work_id: str, name: Link, link: Mapping[str, Any]) -> Draft:
    return _draft("linked", work_id, {"kind": name[0], "target": name[1], **link})


def _unlinked(work_id: str, name: Link) -> Draft:
    return _draft("unlinked", work_id, {"kind": name[0], "target": name[1]})


def _commented(work_id: str, comment_id: str, said: Mapping[str, Any]) -> Draft:
    return _draft("commented", work_id, {"comment_id": comment_id, **said})


def _updated_at_ms(wanted: Wanted, base: Wanted, current: Mapping[str, Any]) -> int | None:
    """The file's instant, unless the item was changed here later than that."""
    told_before = base.updated_at_ms is not None or not base.sha256
    if wanted.updated_at_ms is None or not told_before:
        return wanted.updated_at_ms
    if current["updated_at_ms"] == base.updated_at_ms:
        return wanted.updated_at_ms
    return max(wanted.updated_at_ms, int(current["updated_at_ms"]))


def _fitted(wanted: Wanted, base: Wanted, current: Mapping[str, Any]) -> Wanted:
    """Put into `extra` what events cannot change on an item that exists.

    Its creation is a fact already; a comment that was said stays said, so that an
    edited one comes as another and one that left the file is marked as withdrawn.
    """
    comments = _with_edited(wanted, base, current)
    extra = dict(wanted.fields.get("extra", {}))
    mine = {"at_ms": current["created_at_ms"], "by": current["created_by"]}
    if any(mine[name] != value for name, value in wanted.created.items()):
        extra.update(wanted.origin)
    withdrawn = sorted(set(base.comments) - set(comments))
    if withdrawn:
        extra[MARK] = {**extra.get(MARK, {}), "withdrawn": withdrawn}
    fields = {name: value for name, value in wanted.fields.items() if name != "extra"}
    if extra:
        fields["extra"] = extra
    return Wanted(
        wanted.work_id, wanted.source, wanted.sha256, fields, wanted.created,
        wanted.updated_at_ms, wanted.closed, wanted.deleted, wanted.links, comments,
    )  # fmt: skip


def _with_edited(
    wanted: Wanted, base: Wanted, current: Mapping[str, Any]
) -> dict[str, Mapping[str, Any]]:
    """The comments, one under another id where its id stands for another text already."""
    present = {said["comment_id"]: said for said in current.get("comments", [])}
    comments: dict[str, Mapping[str, Any]] = {}
    for comment_id, said in wanted.comments.items():
        known = [c[comment_id] for c in (base.comments, present) if comment_id in c]
        if not known or any(says(here, said) for here in known):
            comments[comment_id] = said
            continue
        extra = said.get("extra", {})
        mark = {**extra.get(MARK, {}), "comment_id": comment_id}
        new_id = f"{comment_id[:900]}~{digest(said)[:8]}"
        comments[new_id] = {**said, "extra": {**extra, MARK: mark}}
    return comments


def _edits(wanted: Wanted, base: Wanted, current: Mapping[str, Any]) -> list[Draft]:
    """One work.updated with every field that the file changed since base."""
    values, gone = _changed_fields(wanted, base, current)
    labels, old = set(wanted.fields.get("labels", ())), set(base.fields.get("labels", ()))
    seen, made = current["values"], current["created_event"]
    parts = {
        "set": values,
        "unset": gone,
        "add": {"labels": sorted(labels - old)} if labels - old else {},
        "remove": {"labels": sorted(old - labels)} if old - labels else {},
        "base": {name: seen.get(name, made) for name in (*values, *gone)},
    }
    body = {name: part for name, part in parts.items() if part}
    return [_draft("updated", wanted.work_id, body)] if body else []


def _changed_fields(
    wanted: Wanted, base: Wanted, current: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    values: dict[str, Any] = {}
    gone: list[str] = []
    for name in item_fields.FITS:
        told, old = wanted.fields.get(name), base.fields.get(name)
        if same(old, told):
            continue
        if name == "extra":
            told = _merged_extra(told or {}, old or {}, current.get("extra", {})) or None
        if told is not None:
            values[name] = told
        elif name in current:
            gone.append(name)
    return values, gone


def _merged_extra(
    told: Mapping[str, Any], old: Mapping[str, Any], here: Mapping[str, Any]
) -> dict[str, Any]:
    """What is here, with the keys that the file changed."""
    if item_fields.is_blob(here):
        return dict(told)
    kept = {name: value for name, value in here.items() if name in told or name not in old}
    changed = {n: v for n, v in told.items() if n not in old or not same(old[n], v)}
    return {**kept, **changed}


def _link_changes(wanted: Wanted, base: Wanted, current: Mapping[str, Any]) -> list[Draft]:
    """Take away the links that left the file or changed, then add those that came or changed."""
    work_id = wanted.work_id
    drafts = []
    for name in base.links:
        if name not in wanted.links and _link_here(current, name):
            drafts.append(_unlinked(work_id, name))
    for name, link in wanted.links.items():
        here, old = _link_here(current, name), base.links.get(name)
        if (old is not None and same(old, link)) or (here and (old is None or says(here, link))):
            continue
        if here:
            drafts.append(_unlinked(work_id, name))
        drafts.append(_linked(work_id, name, link))
    return drafts


def _link_here(current: Mapping[str, Any], name: Link) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = current.get("links", {}).get(name[0], {}).get(name[1])
    return found


def _new_comments(wanted: Wanted, base: Wanted, current: Mapping[str, Any]) -> list[Draft]:
    present = {said["comment_id"] for said in current.get("comments", [])}
    return [
        _commented(wanted.work_id, comment_id, said)
        for comment_id, said in wanted.comments.items()
        if comment_id not in present and comment_id not in base.comments
    ]


def _endings(
    wanted: Wanted, base: Wanted, current: Mapping[str, Any]
) -> tuple[list[Draft], list[Draft]]:
    """What reopens the item, and what closes and deletes it, as the file did since base.

    An item that was ended or reopened here meanwhile stays so, unless the file itself
    goes from open to ended or back.
    """
    first: list[Draft] = []
    last: list[Draft] = []
    unchanged = same(base.closed, wanted.closed) and same(base.deleted, wanted.deleted)
    if unchanged or _ended_as(wanted, current):
        return first, last
    closed, gone = current["status"] == "closed", "deleted" in current
    only_deleted = base.deleted is None and wanted.deleted is not None
    ended_by_file = base.closed is not None or base.deleted is not None
    if closed and ended_by_file and not only_deleted and _ended_as(base, current):
        first.append(_draft("reopened", wanted.work_id, {}))
        closed = gone = False
    if wanted.closed is not None and not closed and (base.closed is None or first):
        last.append(_draft("closed", wanted.work_id, wanted.closed))
    if wanted.deleted is not None and not gone and (base.deleted is None or first):
        last.append(_draft("deleted", wanted.work_id, wanted.deleted))
    return first, last


def _ended_as(version: Wanted, current: Mapping[str, Any]) -> bool:
    """Whether the item has ended, or is open, in all that a version tells."""
    if (version.deleted is not None) != ("deleted" in current):
        return False
    if version.deleted is not None and not says(current["deleted"], version.deleted):
        return False
    if version.closed is None:
        return version.deleted is not None or current["status"] != "closed"
    here = {
        "at_ms": current.get("closed_at_ms"), "by": current.get("closed_by"),
        "as": current.get("resolution"), "why": current.get("close_why"),
    }  # fmt: skip
    return says(without_none(here), version.closed)


def _is_held(current: Mapping[str, Any], now_ms: int | None, who: tuple[str, str]) -> bool:
    claim = current.get("claim")
    if claim is None or (claim["agent_id"], claim["session_id"]) == who:
        return False
    return now_ms is None or arbiter.runs(claim, now_ms)


def _is_known(draft: Draft, current: Mapping[str, Any], updated_at_ms: int | None) -> bool:
    """Whether an edit would leave the item as it is."""
    if draft["type"] != "work.updated":
        return False
    body = draft["body"]
    values = body.get("set", {})
    here = {**current, "acceptance": [check["text"] for check in current.get("acceptance", ())]}
    labels = set(current["labels"])
    return (
        updated_at_ms in (None, current["updated_at_ms"])
        and all(same(here.get(name), value) for name, value in values.items())
        and not body.get("unset")
        and labels.issuperset(body.get("add", {}).get("labels", []))
        and labels.isdisjoint(body.get("remove", {}).get("labels", []))
    )


class _Nobody:
    """A `World` without agents, settings and keys: an import's events need none."""

    def state(self, entity: str) -> dict[str, Any]:
        return {}

    def keyed(self, event: Event) -> Sequence[Event]:
        return ()


def after(current: Mapping[str, Any] | None, drafts: Iterable[Draft]) -> dict[str, Any]:
    """The item as it will be with the drafts, but for event ids and instants not told."""
    state = dict(current or {})
    for draft in drafts:
        event_id = event.next_id(state.get("last", ""), 0, bytes(16))
        made = Event(
            event_id, draft["type"], "bot:import", "", draft["refs"], draft["body"], "", "", {}
        )
        state, _ = fold.advance("work", state, made, _Nobody())
    return state
