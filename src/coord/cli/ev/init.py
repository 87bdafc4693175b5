"""`ev init`: make the store of a repository."""

import os

import click

from coord.cli import kit
from coord.edge import store
from coord.errors import Refusal

_EXCLUDES = ("/.coord/",)
_INLINE_NOTE = (
    "inline: .coord is an ordinary folder of your branch. What is acknowledged is safe only"
    " once committed: git stash, reset --hard and clean can remove it."
)


@kit.command("init")
@click.option("--inline", is_flag=True, help="Keep .coord in the branch, committed like code.")
def init(call: kit.Call, inline: bool) -> None:
    """Make the .coord folder of this repository; harmless where there is one.

    Nothing of yours is touched but .git/info/exclude, which keeps .coord out of your
    branches. With --inline it is an ordinary tracked folder of the current branch.

    \b
    Exits: 3 not inside a git repository; 4 the folder cannot be written; 5 the store
           is of the other kind.
    Example: ev init
    """
    place = call.locate()
    existed = os.path.isdir(place.store)
    if existed and inline and not place.is_inline and _has_journals(place):
        text = f"there is a store already, kept out of the branches: {place.store}"
        raise Refusal("exists", text, "it stays as it is")
    made = store.make_folders(place)
    inline = inline or place.is_inline
    if inline:
        # An earlier `ev init`, before anything was written, kept the folder out.
        made += [*store.include(place, _EXCLUDES), *store.make_inline(place)]
    else:
        made += store.exclude(place, _EXCLUDES)
    row = {"store": place.store, "inline": inline, "made": made}
    if call.for_people and not call.quiet:
        click.echo(kit.plain(f"{place.store}: {'made' if made else 'already there'}"))
        for path in made:
            click.echo(kit.plain(f"  {path}"))
    elif not call.quiet:
        kit.out(row)
    if inline:
        click.echo(_INLINE_NOTE, err=True)


def _has_journals(place: store.Place) -> bool:
    from coord.edge import journal

    return bool(journal.segments(place.store))
