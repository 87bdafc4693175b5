"""Work items from and to Beads (`.beads/issues.jsonl`), without loss.

One rule makes the round trip exact: what our own writing would not give back as it
was (another offset, digits past the millisecond, a priority "high", a list in another
order, a field that we would invent) is kept in `extra` under its own name, and an
export gives it back as long as it still means what the item says.

    Beads                              here
    blocks, blocked-by, depends-on     needs: `issue_id` waits for `depends_on_id`
    parent-child                       parent: the child is `issue_id`
    discovered-from                    found_from
    related, relates-to                relates
    duplicates                         duplicates
    any other word                     a link of that kind; its meaning is not known here
    no word at all                     relates
    status closed, tombstone           work.closed (as done), work.deleted
    any other status                   open; the word stays in `extra.status`
    acceptance_criteria                a check per line where each is a list entry, else one

A type that is not the first of its row stands in the link's `extra.type`;
`parent_child` and its like are read as their twins with dashes. Beads stored
"blocked-by" as it was typed; its authors' repair takes it for `blocks`, and so does this.

`external:project:name` points out of the project: the link's target is
`external.project.name`, which is no item's id here, and the original is in its `extra`.

A list is given back in the order of its instants, labels sorted by name; one that came
otherwise, or with entries that fit nowhere (a duplicate, an item that depends on itself),
is kept whole in `extra` as the template to fill.
"""

from coord.core.wk.beads.reading import read
from coord.core.wk.beads.words import NESTED
from coord.core.wk.beads.writing import write

__all__ = ["NESTED", "read", "write"]
