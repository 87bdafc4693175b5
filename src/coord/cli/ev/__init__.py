"""`ev`: the event journal. What happened, in what order, because of what."""

import click

from coord.cli import ending, kit

_VERBS = {
    "init": "coord.cli.ev.init:init",
    "emit": "coord.cli.ev.emit:emit",
    "list": "coord.cli.ev.list:list_events",
    "show": "coord.cli.ev.list:show",
    "tail": "coord.cli.ev.live:tail",
    "watch": "coord.cli.ev.live:watch",
    "replay": "coord.cli.ev.live:replay",
    "tree": "coord.cli.ev.causes:tree",
    "why": "coord.cli.ev.causes:why",
    "status": "coord.cli.ev.answers:status",
    "digest": "coord.cli.ev.answers:digest",
    "prime": "coord.cli.ev.answers:prime",
    "materialize": "coord.cli.ev.materialize:materialize",
    "diff": "coord.cli.ev.materialize:diff",
    "export": "coord.cli.ev.export:export",
    "report": "coord.cli.ev.report:report",
    "serve": "coord.cli.ev.serve:serve",
    "hook": "coord.cli.ev.hook:hook",
    "agent": "coord.cli.ev.agent:agent",
    "config": "coord.cli.ev.config:config",
    "check": "coord.cli.ev.check:check",
    "sync": "coord.cli.sync:sync",
    "archive": "coord.cli.ev.archive:archive_refs",
    "help": "coord.cli.helping:help_",
}


@click.group(cls=kit.LazyGroup, verbs=_VERBS, invoke_without_command=False)
@click.version_option(package_name="coord-kernel", message="%(prog)s %(version)s")
def cli() -> None:
    """The event journal: what happened, in what order, because of what.

    Every fact that the tools record is one line of JSON in the repository's .coord
    folder. Verbs print JSON Lines in a pipe and tables on a terminal.
    """


def main() -> None:
    """Entry point of `ev`."""
    ending.run(cli, "ev")
