"""What an index answers, beside what folding the same lines answers."""

import os

from coord.core.fold import ORDER, fold, in_order
from coord.core.msg import view as messages
from coord.core.wk import view
from coord.edge import index
from coord.edge.index import mail, views
from tests import strategies as some
from tests.strategies import LATE_MS


def answers_of(known, at_ms):
    """Everything the tools ask an index, as of an instant."""
    families = ORDER
    query = views.Query(at_ms, "ready", sort="id")
    sql = known.connection
    return {
        "states": {name: state for family in families for name, state in known.states(family)},
        "problems": list(known.problems()),
        "ready": views.work_ids(sql, query),
        "needs": sorted(sql.execute(NEEDS)),
        "linked": {item: sorted(views.linked_to(sql, item)) for item in some.ITEMS},
        "labels": sorted(sql.execute("SELECT work_id, label FROM label JOIN item USING(e)")),
        "statuses": statuses_in(sql, at_ms),
        "caused": {cause: [raw["event_id"] for raw in known.caused_by(cause)] for cause in CAUSES},
        "ids": known.ids_from(""),
        "inboxes": {agent_id: inbox_in(sql, agent_id, at_ms) for agent_id in some.AGENTS},
    }


def statuses_in(sql, at_ms):
    """The items that each status word finds, deleted ones too."""
    return {word: views.work_ids(sql, views.Query(at_ms, word, sort="id")) for word in WORDS}


NEEDS = "SELECT work_id, target FROM link JOIN item USING(e) WHERE kind = 'needs'"
WORDS = ("open", "claimed", "closed", "deleted", "deferred", "blocked")


def answers_by_folding(lines, now_ms, at_ms):
    """The same from `core.fold` and `core.wk.view`, which define it."""
    folded = fold(some.of(lines), now_ms)
    items = {name: state for name, state in folded.states.items() if name.startswith("work/")}
    known = {state["work_id"]: state["status"] != "closed" for state in items.values()}
    return {
        "states": dict(folded.states),
        "problems": list(folded.problems),
        "ready": ids(items, lambda state: view.is_ready(state, at_ms, known.get)),
        "needs": sorted((s, target) for s, kind, target in links_in(items) if kind == "needs"),
        "linked": {
            item: sorted(
                (kind, s)
                for s, kind, target in (*links_in(items), *waits_in(items))
                if target == item
            )
            for item in some.ITEMS
        },
        "labels": sorted((s["work_id"], label) for s in items.values() for label in s["labels"]),
        "statuses": {word: ids(items, has_word(word, at_ms, known.get)) for word in WORDS},
        "caused": {
            cause: [e.event_id for e in kept(lines) if is_caused(e, cause)] for cause in CAUSES
        },
        "ids": [e.event_id for e in kept(lines)],
        "inboxes": {name: inbox_of(folded.states, name, at_ms) for name in some.AGENTS},
    }


def inbox_in(sql, agent_id, at_ms):
    """An inbox's messages and counts, from the index."""
    listed = [state["message_id"] for state in mail.page(sql, agent_id, at_ms, {}, -1, 0)]
    return listed, [*mail.count(sql, agent_id, at_ms, {})]


def inbox_of(states, agent_id, at_ms):
    """The same from `core.msg.view`."""
    rows = list(messages.inbox(states, agent_id, at_ms))
    unread = [row for row in rows if row["status"] == "unread"]
    owed = [row for row in rows if messages.owes_ack(states[f"msg/{row['message_id']}"], agent_id)]
    return [row["message_id"] for row in rows], [len(rows), len(unread), len(owed)]


def links_in(items):
    """Every link, as (item, kind, target)."""
    return [
        (state["work_id"], kind, target)
        for state in items.values()
        for kind, group in state.get("links", {}).items()
        for target in group
    ]


def waits_in(items):
    """Every item that an item was put on hold for."""
    return [
        (state["work_id"], "waits_for", wait["on"]["item"])
        for state in items.values()
        for wait in state.get("waits", ())
        if "item" in wait["on"]
    ]


def has_word(word, at_ms, is_open):
    """Whether an item is to be found under a status word."""
    return lambda state: word in words_of(view.derived(state, at_ms, is_open))


def words_of(derived):
    """The words under which an item is found: a time defers it, all else blocks it.

    What waits for somebody to act is not deferred, whatever time it has to wait for too.
    """
    waits = {kind for on in derived.get("waits_for", ()) for kind in on}
    found = {derived["status"]}
    if "blocked_by" in derived or waits - {"until_ms"}:
        found.add("blocked")
    if ("deferred" in derived or "until_ms" in waits) and not waits & {"agent", "url"}:
        found.add("deferred")
    return found


CAUSES = sorted({cause for cause in some.CAUSES if cause})


def is_caused(event, cause):
    """Whether an event names another as a cause."""
    links = event.raw.get("links")
    return cause == event.raw.get("cause") or (isinstance(links, list) and cause in links)


def kept(lines):
    """One event of each id, quarantined ones too, as the fold chooses them."""
    ordered, _ = in_order(some.of(lines), LATE_MS)
    return ordered


def ids(items, wanted):
    """The ids of the items that a predicate takes, sorted."""
    return sorted(state["work_id"] for state in items.values() if wanted(state))


def check(folder, lines, now_ms, at_ms):
    """Compare the index of a folder, brought up to date, with the fold."""
    with index.opened(str(folder), now_ms) as known:
        found = answers_of(known, at_ms)
    for question, answer in answers_by_folding(lines, now_ms, at_ms).items():
        assert found[question] == answer, question


def lose(path, how):
    """Do to an index file what happens to files."""
    if how == "deleted":
        path.unlink(missing_ok=True)
    elif path.exists() and how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif path.exists() and how == "garbage":
        path.write_bytes(b"\x00garbage" * 1000)
