"""`ev agent`: who works here, and who may not for now."""

from collections.abc import Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core import registry, units
from coord.edge import identity
from coord.edge.index import Index
from coord.errors import NO, Refusal

_NEWEST = "~"


@click.group("agent", cls=kit.LazyGroup, verbs={
    "register": "coord.cli.ev.agent:register",
    "list": "coord.cli.ev.agent:list_agents",
    "show": "coord.cli.ev.agent:show",
    "pause": "coord.cli.ev.agent:pause",
    "resume": "coord.cli.ev.agent:resume",
})  # fmt: skip
def agent() -> None:
    """The registry: who works here, how they listen, and who is paused."""


@kit.command("register", writes=True)
@click.argument("agent_id", required=False, metavar="[AGENT]")
@click.option("--name", metavar="TEXT", help="What people call it.")
@click.option("--kind", metavar="WORD", help="What it is: claude-code, codex, cron, …")
@click.option("--owner", metavar="HUMAN", help="The person behind it: human:NAME.")
@click.option("--mode", type=click.Choice(registry.MODES), help="How it takes notice.")
@click.option("--period", metavar="SPAN", help="With --mode episodic: how often it looks, 5m.")
@click.option("--capability", "capabilities", multiple=True, metavar="WORD", help="What it can.")
@click.option("--role", "roles", multiple=True, metavar="WORD",
              help="What it is here; mail to @WORD reaches it.")  # fmt: skip
def register(
    call: kit.Call,
    agent_id: str | None,
    period: str | None,
    capabilities: Sequence[str],
    roles: Sequence[str],
    **options: Any,
) -> None:
    """Register AGENT, or whoever calls, or change what is registered.

    A listening agent waits for events; an episodic one looks once in its period; a
    human is a human.

    \b
    Exits: 4 the caller is paused; 6 a value does not fit.
    Example: ev agent register agent:ada --kind claude-code --owner human:kim
             --mode episodic --period 5m
    """
    body = {name: value for name, value in options.items() if value}
    if body.get("owner"):
        body["owner"] = identity.agent_id(_human(body["owner"]))
    if period:
        body["period_ms"] = units.parse_duration(period)
    if capabilities:
        body["capabilities"] = sorted(set(capabilities))
    if roles:
        body["roles"] = _roles(roles)
    if body.get("mode") == "episodic" and "period_ms" not in body:
        raise Refusal("usage", "--mode episodic needs --period", "--period 5m")
    refs = {"agent_id": identity.agent_id(agent_id) if agent_id else call.author.agent_id}
    written = call.record(lambda desk: [call.draft("agent.registered", refs, body)])
    call.acknowledge(written, lambda raw: f"{raw['refs']['agent_id']} registered", "agent_id")


def _roles(words: Sequence[str]) -> list[str]:
    for word in words:
        if not registry.ROLE.fullmatch(word):
            hint = "a lower-case word like reviewer"
            raise Refusal("usage", f"{word[:60]!r} is no role", hint)
    return sorted(set(words))


def _human(text: str) -> str:
    return text if ":" in text else f"human:{text}"


@kit.command("list")
@click.option("--paused", is_flag=True, help="Only those that are paused.")
def list_agents(call: kit.Call, paused: bool) -> int:
    """List the registered agents.

    \b
    Exits: 1 there is none.
    Example: ev agent list --paused
    """
    with call.reading() as known:
        rows = [registry.view(state, known, _NEWEST) for _, state in known.states("agent")]
    # `*`, everybody, is listed only while everybody is paused.
    shown = [
        row
        for row in rows
        if "paused" in row or (not paused and row["agent_id"] != registry.EVERYBODY)
    ]
    call.emit(shown, _table, ident="agent_id")
    return 0 if shown else NO


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)


@kit.command("show")
@click.argument("agent_id", metavar="AGENT")
def show(call: kit.Call, agent_id: str) -> None:
    """Print what is registered about AGENT, and whether it is paused, by whom and why.

    \b
    Exits: 3 nobody of that name is registered.
    Example: ev agent show agent:ada
    """
    with call.reading() as known:
        wanted = identity.agent_id(agent_id)
        row = registry.view(_known(known, wanted), known, _NEWEST)
    call.emit([row], _table, ident="agent_id")


def _known(known: Index, agent_id: str) -> dict[str, Any]:
    state = known.state(f"agent/{agent_id}")
    if state:
        return state
    from coord.core.settings import suggestion

    names = [entry["agent_id"] for _, entry in known.states("agent")]
    hint = suggestion(agent_id, names) or "ev agent list lists them"
    raise Refusal("unknown_agent", f"{agent_id} is not registered", hint)


def _whom(agent_id: str | None, everybody: bool) -> str:
    if bool(agent_id) == everybody:
        raise Refusal("usage", "give either an AGENT or --all")
    return registry.EVERYBODY if agent_id is None else identity.agent_id(agent_id)


@kit.command("pause", writes=True)
@click.argument("agent_id", required=False, metavar="[AGENT]")
@click.option("--all", "everybody", is_flag=True, help="Everybody but people: the kill switch.")
def pause(call: kit.Call, agent_id: str | None, everybody: bool) -> None:
    """Refuse what AGENT writes from now on, in every tool; --why is required.

    What it wrote elsewhere after this and takes something (claims, closes) has no
    effect when it arrives; what it gives back or tells stands, marked.

    \b
    Exits: 4 the caller is paused.
    Example: ev agent pause agent:ada --why "it deletes tests"
    """
    if not call.why:
        raise Refusal("usage", "a pause needs --why", "the agent and its owner will ask")
    refs = {"agent_id": _whom(agent_id, everybody)}
    written = call.record(lambda desk: [call.draft("agent.paused", refs, {})])
    call.acknowledge(written, lambda raw: f"{raw['refs']['agent_id']} paused", "agent_id")


@kit.command("resume", writes=True)
@click.argument("agent_id", required=False, metavar="[AGENT]")
@click.option("--all", "everybody", is_flag=True, help="Lift the pause of everybody.")
def resume(call: kit.Call, agent_id: str | None, everybody: bool) -> None:
    """Lift a pause; only a person lifts one that a person set.

    \b
    Exits: 4 a person set it, or the caller is paused; 5 there is no pause.
    Example: ev agent resume agent:ada --as human:kim
    """
    refs = {"agent_id": _whom(agent_id, everybody)}
    written = call.record(lambda desk: [call.draft("agent.resumed", refs, {})])
    call.acknowledge(written, lambda raw: f"{raw['refs']['agent_id']} resumed", "agent_id")
