"""Work items from and to plain JSON Lines: one object per item, `title` alone required.

Two ways to say it, read alike and freely mixed:

    by hand     id, title, description, type, priority, labels, acceptance, assignee,
                due, defer_until, external_ref, status, needs, parent, relates,
                found_from, duplicates (ids, or titles of other lines), comments
                (texts, or {text, by, at})
    exported    what `write` gives: the same with `due_ms`, `defer_until_ms`, `links`,
                `created_at_ms`, …, so that an import makes the same item;
                claims, ticks and verdicts stay with their store

    status      open · closed, done, wontdo, duplicate, obsolete · deleted, with `deleted`
                any other word stays in `extra`, claimed and submitted as in_progress

A line without id gets one from its title and from how many lines before it have the
same title: a second import finds its items again. What has no place goes into `extra`
under its own name, with `_` added where the exported `extra` has such a name already.
"""

from coord.core.wk.plain.reading import Reader, derived_id, read
from coord.core.wk.plain.words import NESTED
from coord.core.wk.plain.writing import write

__all__ = ["NESTED", "Reader", "derived_id", "read", "write"]
