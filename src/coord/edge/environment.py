"""Every environment variable that the tools read, and nothing else."""

import os

DIR = "COORD_DIR"
AGENT = "COORD_AGENT"
SESSION = "COORD_SESSION"
CAUSE = "COORD_CAUSE"
LEASE = "COORD_LEASE"
RUN = "COORD_RUN"
NOW_MS = "COORD_NOW_MS"
SEED = "COORD_SEED"


def child(**more: str) -> dict[str, str]:
    """The environment of a command that is run, with variables of its own."""
    return {**os.environ, **more}


def get(name: str) -> str:
    """The variable's value, or "" when it is not set."""
    return os.environ.get(name, "")
