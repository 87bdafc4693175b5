"""`lease`: who may touch it, and until when. flock(1), but named, timed and distributed."""

import click

from coord.cli import ending, kit

_VERBS = {
    "acquire": "coord.cli.lease.acquire:acquire",
    "renew": "coord.cli.lease.ending:renew",
    "release": "coord.cli.lease.ending:release",
    "break": "coord.cli.lease.ending:break_lease",
    "list": "coord.cli.lease.list:list_leases",
    "show": "coord.cli.lease.list:show",
    "check": "coord.cli.lease.check:check",
    "guard": "coord.cli.lease.guard:guard",
    "exec": "coord.cli.lease.exec:exec_command",
    "watch": "coord.cli.lease.watch:watch",
    "help": "coord.cli.helping:help_",
}


@click.group(cls=kit.LazyGroup, verbs=_VERBS, invoke_without_command=False)
@click.version_option(package_name="coord-kernel", message="%(prog)s %(version)s")
def cli() -> None:
    """Leases: who may touch a resource, and until when.

    A resource is path:GLOB, branch:NAME, env:NAME, runner:NAME, context:KEY or a kind of
    your own; kind:name*N is a pool with N places. Globs are named from the top of the
    repository, and two conflict when some path matches both. A lease ends by `lease
    release` or when its time is over. Verbs print JSON Lines in a pipe and tables on a
    terminal.
    """


def main() -> None:
    """Entry point of `lease`."""
    ending.run(cli, "lease")
