"""Foreign files for tests: lines of Beads and plain JSON, and a store of one item.

Rules: the strategies draw mostly sane values and, among them, everything that was seen
in files in the wild; from few ids and instants, so that lines and versions collide.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from coord.core import event, fold
from coord.core.event import Event
from coord.core.wk import beads, importing, wanted
from coord.core.wk.importing import Fault, Wanted

NOW_MS = 1_800_000_000_000
ME = "human:ada"
Record = dict[str, Any]


# --- a store of one item -----------------------------------------------------------


def mint(drafts: Sequence[Mapping[str, Any]], after: Sequence[Event] = ()) -> list[Event]:
    """Append drafts as events, as a writer would."""
    events = list(after)
    for draft in drafts:
        newest = events[-1].event_id if events else ""
        raw = {
            "event_id": event.next_id(newest, NOW_MS - 1000, b"\x01" * 16),
            "type": draft["type"],
            "actor": {"agent_id": ME},
            "refs": draft["refs"],
            "body": json.loads(json.dumps(draft["body"])),
            "writer": "human-ada.aaaaaa",
            "seq": len(events) + 1,
        }
        events.append(event.from_raw(raw))
    return events


def item_of(events: Sequence[Event]) -> dict[str, Any]:
    """Fold one item's events; nothing an import writes may be a problem."""
    folded = fold.fold(events, NOW_MS)

    assert list(folded.problems) == []

    (state,) = folded.states.values()
    return state


def ready(read: Wanted | Fault) -> Wanted:
    assert isinstance(read, Wanted), read
    return read


def bring(read: Wanted | Fault, events: Sequence[Event] = ()) -> list[Event]:
    """Import one line on top of what is there."""
    current = item_of(events) if events else None
    return mint(importing.plan(ready(read), current, importing.last_imported(events)), events)


def edit(events: Sequence[Event], kind: str, body: Mapping[str, Any]) -> list[Event]:
    """A change made here, not by an import."""
    draft = {"type": f"work.{kind}", "refs": {"work_id": events[0].refs["work_id"]}, "body": body}
    return mint([draft], events)


def exported(events: Sequence[Event]) -> Record:
    return json.loads(json.dumps(beads.write(item_of(events), NOW_MS)))


def issue(**changes: Any) -> Record:
    record = {
        "id": "bd-1", "title": "Count to ten", "status": "open", "priority": 2,
        "issue_type": "task", "created_at": "2025-11-02T21:58:07.295058-08:00",
        "updated_at": "2025-11-03T20:56:22.700641-08:00",
    }  # fmt: skip
    return {name: value for name, value in {**record, **changes}.items() if value is not ...}


def same_json(one: object, other: object) -> bool:
    """Equal, and also in kind: 1, 1.0 and true are three things."""
    return wanted.digest(one) == wanted.digest(other)


# --- generated Beads records: mostly sane, with everything that was seen in the wild -----

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | st.floats(-2, 2) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)
TIMES = st.sampled_from([
    "2025-11-02T21:58:07.295058-08:00", "2025-11-02T21:58:07.295059-08:00",
    "2025-11-03T05:58:07.295Z", "2025-11-03T05:58:07Z", "2026-01-12T02:16:51.123456789+05:30",
    "2026-01-12", "0001-01-01T00:00:00Z", "2025-12-24T16:25:31.251346-08:00", "yesterday", "",
])  # fmt: skip
NAMES = st.sampled_from(["stevey", "beads/crew/emma", "x" * 300, "", "über ümlaut"])
TARGETS = st.sampled_from(["bd-1", "bd-2", "bd-3.1", "gone", "external:gastown:gt-1", "a b"])
TYPES = st.sampled_from([
    "blocks", "blocked-by", "parent-child", "parent_child", "discovered-from", "related",
    "relates-to", "duplicates", "tracks", "replies-to", "needs", "Bad Type!",
])  # fmt: skip
STATUSES = st.sampled_from([
    "open", "open", "closed", "closed", "tombstone", "tombstone", "hooked", "in_progress",
    "deferred", "",
])  # fmt: skip
WORDS = st.sampled_from(["task", "bug", "merge-request", "Strange Type", ""])
TEXTS = st.sampled_from(["", "one line", "1. a\n2. b", "- a\n\n- b", "x\ny", " "]) | st.text(
    max_size=8
)
PRIORITIES = st.sampled_from([0, 1, 2, 4, 7, "1", "P0", "high"])
LABELS = st.lists(
    st.sampled_from(["api", "backend", "gh:788", "bad\nlabel", "", "x" * 101]) | JSON, max_size=4
)


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Record]:
    """Objects with any of these fields, now and then with a value that fits nowhere."""
    loose = {name: inner | inner | inner | JSON for name, inner in fields.items()}
    strange = {"notes": TEXTS, "import": JSON, "extra": JSON, "closed_at": TIMES}
    return st.fixed_dictionaries({}, optional={**strange, **loose})


def often(told: Record, usual: Record) -> Record:
    return {**usual, **told}


DEPENDENCIES = objects(
    issue_id=st.just("bd-1"), depends_on_id=TARGETS, type=TYPES, created_at=TIMES, created_by=NAMES
).map(lambda told: often(told, {"issue_id": "bd-1", "depends_on_id": "bd-2"}))
COMMENTS = objects(
    id=st.integers(1, 3) | st.just("1") | st.just("0b1c-77aa"), issue_id=st.just("bd-1"),
    author=NAMES, text=TEXTS, created_at=TIMES,
).map(lambda told: often(told, {"issue_id": "bd-1", "text": "seen"}))  # fmt: skip
FIELDS = objects(
    description=TEXTS, status=STATUSES, priority=PRIORITIES, issue_type=WORDS,
    assignee=NAMES, owner=NAMES, created_at=TIMES, created_by=NAMES,
    updated_at=TIMES, closed_at=TIMES, close_reason=TEXTS, deleted_at=TIMES, deleted_by=NAMES,
    delete_reason=TEXTS, original_type=WORDS, labels=LABELS, external_ref=NAMES, due_at=TIMES,
    defer_until=TIMES, acceptance_criteria=TEXTS,
    dependencies=st.lists(DEPENDENCIES | JSON, max_size=3),
    comments=st.lists(COMMENTS | JSON, max_size=3),
)  # fmt: skip
TITLES = st.sampled_from(["Count to ten", "a\nb\x00", "x" * 1001]) | st.text(min_size=1, max_size=5)


def completed(told: Record, title: str) -> Record:
    usual = issue(title=title)
    return {**usual, **told} if len(told) % 3 else {"id": "bd-1", "title": title, **told}


RECORDS = st.builds(completed, FIELDS, TITLES.filter(str.strip))
PROPERTY = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


PLAIN_COMMENTS = objects(
    text=TEXTS, by=NAMES, at=TIMES, at_ms=st.integers(-1, 9), id=NAMES, comment_id=NAMES
)
PLAIN = objects(
    id=TARGETS, work_id=TARGETS, description=TEXTS, type=WORDS, priority=st.integers(-1, 5),
    labels=LABELS, acceptance=st.lists(TEXTS | JSON, max_size=2), assignee=NAMES, due=TIMES,
    due_ms=st.integers(-1, 9), defer_until=TIMES, external_ref=NAMES, status=STATUSES,
    resolution=st.sampled_from(["done", "wontdo", "?"]), needs=st.lists(TARGETS | JSON, max_size=2),
    parent=TARGETS, links=st.dictionaries(TYPES, st.dictionaries(TARGETS, JSON, max_size=2)),
    deleted=JSON, comments=st.lists(PLAIN_COMMENTS | TEXTS | JSON, max_size=3),
    created_at=TIMES, created_by=NAMES, updated_at_ms=st.integers(0, 9), closed_by=NAMES,
)  # fmt: skip


# --- helpers


def there_and_back(record: Record) -> Record:
    return json.loads(json.dumps(record))


def claim(events: Sequence[Event], expires_at_ms: int) -> list[Event]:
    refs = {"work_id": "bd-1", "resource": "work:bd-1", "lease_id": "lease-aaaaaaaa"}
    body = {
        "fence": 1, "ttl_ms": 1000, "expires_at_ms": expires_at_ms, "confirmed": "host",
    }  # fmt: skip
    return mint([{"type": "work.claimed", "refs": refs, "body": body}], events)


def link(kind: str, target: str, **changes: Any) -> Record:
    entry = {
        "issue_id": "bd-1", "depends_on_id": target, "type": kind,
        "created_at": "2025-11-02T22:23:49.475356-08:00", "created_by": "stevey",
    }  # fmt: skip
    return {name: value for name, value in {**entry, **changes}.items() if value is not ...}


REOPENED = issue(status="open", updated_at="2025-11-06T00:00:00Z")
CLOSED = issue(status="closed", closed_at="2025-11-05T00:00:00Z", close_reason="merged")


def moved_out(node: Record) -> Record:
    """Stand in for the journal: long texts become blobs."""
    return {name: blob(v) if isinstance(v, str) and len(v) > 999 else v for name, v in node.items()}


def blob(text: str) -> Record:
    return {"sha256": sha256(text.encode()).hexdigest(), "body_bytes": len(text.encode())}


def written_again(read: Wanted) -> Record:
    return beads.write(importing.after(None, importing.plan(read, None, None)), NOW_MS)
