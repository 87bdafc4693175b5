"""`wk`: work items. What is to be done, who has it, what blocks it."""

import click

from coord.cli import ending, kit

_VERBS = {
    "create": "coord.cli.wk.create:create",
    "show": "coord.cli.wk.show:show",
    "list": "coord.cli.wk.list:list_items",
    "ready": "coord.cli.wk.list:ready",
    "update": "coord.cli.wk.update:update",
    "comment": "coord.cli.wk.update:comment",
    "claim": "coord.cli.wk.claim:claim",
    "renew": "coord.cli.wk.claim:renew",
    "release": "coord.cli.wk.claim:release",
    "close": "coord.cli.wk.close:close",
    "reopen": "coord.cli.wk.close:reopen",
    "submit": "coord.cli.wk.custody:submit",
    "verify": "coord.cli.wk.custody:verify",
    "review": "coord.cli.wk.custody:review",
    "tick": "coord.cli.wk.custody:tick",
    "handoff": "coord.cli.wk.handoff:handoff",
    "accept": "coord.cli.wk.handoff:accept",
    "decline": "coord.cli.wk.handoff:decline",
    "hold": "coord.cli.wk.handoff:hold",
    "artifact": "coord.cli.wk.artifact:artifact",
    "dep": "coord.cli.wk.dep:dep",
    "search": "coord.cli.wk.search:search_items",
    "similar": "coord.cli.wk.similar:similar",
    "conflicts": "coord.cli.wk.conflicts:conflicts",
    "stats": "coord.cli.wk.stats:stats",
    "board": "coord.cli.wk.board:board",
    "stale": "coord.cli.wk.stale:stale",
    "health": "coord.cli.wk.health:health",
    "critical": "coord.cli.wk.graph:critical",
    "graph": "coord.cli.wk.graph:graph",
    "log": "coord.cli.wk.log:log",
    "watch": "coord.cli.wk.watch:watch",
    "feedback": "coord.cli.wk.feedback:feedback",
    "import": "coord.cli.wk.transfer:import_items",
    "export": "coord.cli.wk.transfer:export",
    "sync": "coord.cli.sync:sync",
    "help": "coord.cli.helping:help_",
}


@click.group(cls=kit.LazyGroup, verbs=_VERBS, invoke_without_command=False)
@click.version_option(package_name="coord-kernel", message="%(prog)s %(version)s")
def cli() -> None:
    """Work items: what is to be done, who has it, what blocks it.

    Items live as events in the repository's .coord folder, shared by every linked
    worktree. Verbs print JSON Lines in a pipe and tables on a terminal.
    """


def main() -> None:
    """Entry point of `wk`."""
    ending.run(cli, "wk")
