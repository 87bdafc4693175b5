"""Who acts on the frozen morning, and how."""

from tests.conftest import FROZEN_MS

ADA, BO, KIM = "agent:ada", "agent:bo", "human:kim"
MINUTE_MS = 60_000


def ran_at(run, frozen, minutes, agent, *words, **options):
    """Run a command at a minute of the morning."""
    now_ms = FROZEN_MS + int(minutes * MINUTE_MS)
    return run(*words, as_=agent, env=frozen(now_ms, seed=f"{minutes}{words}"), **options)


def created_at(at, agent, title="something", *words, minutes=0):
    """The id of a new item."""
    return at(minutes, agent, "wk", "create", title, "--quiet", *words).out.strip()


def emitted(at, minutes, kind, *words):
    """The id of a new event of ada's."""
    return at(minutes, ADA, "ev", "emit", kind, "--quiet", *words).out.strip()
