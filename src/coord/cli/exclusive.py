"""The option that says who decides an exclusive request."""

import click

REMOTE = "remote"

confirm = click.option(
    "--confirm",
    type=click.Choice(["none", "host", REMOTE]),
    default="host",
    help="Who decides it: nobody, this host (the default), the git remote.",
)
