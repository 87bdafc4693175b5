"""`run`: ask something to run it, watch it, and know the truth about how it ended."""

import click

from coord.cli import ending, kit

_VERBS = {
    "request": "coord.cli.run.request:request",
    "exec": "coord.cli.run.exec:exec_command",
    "poll": "coord.cli.run.poll:poll",
    "list": "coord.cli.run.list:list_runs",
    "show": "coord.cli.run.list:show",
    "why": "coord.cli.run.list:why",
    "wait": "coord.cli.run.waiting:wait",
    "logs": "coord.cli.run.logs:logs",
    "attach": "coord.cli.run.logs:attach",
    "cancel": "coord.cli.run.cancel:cancel",
    "retry": "coord.cli.run.request:retry",
    "watch": "coord.cli.run.waiting:watch",
    "step": "coord.cli.run.step:step",
    "rollback": "coord.cli.run.rollback:rollback",
    "loop": "coord.cli.run.loop:loop_command",
    "doctor": "coord.cli.run.doctor:doctor",
    "gc": "coord.cli.run.gc:gc_runs",
    "help": "coord.cli.helping:help_",
}


@click.group(cls=kit.LazyGroup, verbs=_VERBS, invoke_without_command=False)
@click.version_option(package_name="coord-kernel", message="%(prog)s %(version)s")
def cli() -> None:
    """Runs: ask for a command to be executed, watch it, know how it ended.

    A run is requested in the journals and executed by whichever worker (`run poll`) of
    the same store claims it; a process of its own beside the command keeps its log and
    records how it ended, also when the worker dies. A run ends in exactly one outcome:
    succeeded, failed, signaled, timed_out, cancelled, lost, infra_error, refused, skipped
    or expired. Verbs print JSON Lines in a pipe and tables on a terminal.
    """


def main() -> None:
    """Entry point of `run`."""
    ending.run(cli, "run")
