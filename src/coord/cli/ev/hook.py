"""`ev hook`: commits that name the work item they belong to."""

import os

import click

from coord.cli import kit
from coord.core import hook as hooks
from coord.edge import git
from coord.edge.index import views
from coord.errors import Refusal

_NAME = "commit-msg"
# A hook that runs where there is no store has nothing to add, and nothing to say.
_SILENT = ("no_store", "no_repository", "no_identity")


@click.group("hook", cls=kit.LazyGroup, verbs={_NAME: "coord.cli.ev.hook:commit_msg"})
def hook() -> None:
    """Git hooks, installed only when asked for and removed without a trace."""


@kit.command(_NAME)
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--install", is_flag=True, help="Let git run it at every commit.")
@click.option("--uninstall", is_flag=True, help="Take it back; the rest stays byte for byte.")
def commit_msg(call: kit.Call, file: str | None, install: bool, uninstall: bool) -> None:
    """Name the work item in commits: a trailer `Work: ID` at the end of each message.

    Git gives the message as FILE. The trailer is added when the actor has claimed
    exactly one item and the message has no such trailer. --install makes a hook where
    git looks for it (core.hooksPath counts); a hook that is there already keeps running,
    with a block of ours in it if it is a shell script.

    \b
    Exits: 2 not one of FILE, --install, --uninstall; 3 no git repository or FILE;
           4 the hook cannot be written; 5 a hook is there that is no shell script.
    Example: ev hook commit-msg --install
    """
    if [file is not None, install, uninstall].count(True) != 1:
        raise Refusal("usage", "give one of FILE, --install, --uninstall", "ev hook --help")
    if file is not None:
        _add_trailer(call, file)
        return
    from coord.edge import hooks as files

    done = (files.install if install else files.uninstall)(_NAME, os.getcwd())
    row = {"hook": done.path, "installed": install, "changed": done.changed}
    call.emit([row], lambda _: click.echo(kit.plain(_sentence(row))), ident="hook")


def _sentence(row: kit.Row) -> str:
    if not row["changed"]:
        return f"{row['hook']}: {'already there' if row['installed'] else 'nothing of ours there'}"
    return f"{row['hook']}: {'installed' if row['installed'] else 'taken back'}"


def _add_trailer(call: kit.Call, file: str) -> None:
    message = kit.file_text(file)
    here = os.getcwd()
    if not hooks.says_something(message, git.comment_char(here)):
        return
    try:
        claimed = _claimed(call)
    except Refusal as refusal:
        if refusal.code not in _SILENT:
            raise
        return
    if len(claimed) == 1:
        git.add_trailer(os.path.abspath(file), f"Work: {claimed[0]}", here)


def _claimed(call: kit.Call) -> list[str]:
    """The items that the actor has claimed; in any session when none is named."""
    author = call.author
    with call.reading() as known:
        where = {"claimed_by": author.agent_id}
        states = views.items(known.connection, views.Query(call.query_now(known), "claimed", where))
    session = author.session_id
    return [s["work_id"] for s in states if session in ("", s["claim"]["session_id"])]
