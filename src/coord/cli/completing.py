"""For the shell: what may stand where an id, an agent or a resource is asked for.

Verbs that know better bring their own; all others are served here by the name of the
parameter and its METAVAR. Completion says nothing on stderr and never fails.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from coord.cli.kit import plain
from coord.core import ev
from coord.edge import clock, store
from coord.edge.index import Index, holds, known_names, opened, runs, views
from coord.errors import Refusal

_MOST = 200
# (what may stand there, what it is)
Found = Iterator[tuple[str, str]]


def _work(known: Index, text: str) -> Found:
    yield from views.matching(known.connection, text, _MOST)


def _agents(known: Index, text: str) -> Found:
    for agent_id in known_names.agents(known.connection):
        kind, _, name = agent_id.partition(":")
        if agent_id.startswith(text):
            yield agent_id, ""
        elif kind == "agent" and name.startswith(text):
            # A bare name is an agent's; some shells break words at a colon.
            yield name, agent_id


def _resources(known: Index, text: str) -> Found:
    now_ms = clock.now_ms()
    for hold in holds.listed(known.connection, now_ms):
        if hold["resource"].startswith(text):
            yield hold["resource"], f"held by {hold['agent_id']}"


def _runs(known: Index, text: str) -> Found:
    for run_id in runs.matching(known.connection, text or "run-", _MOST):
        yield run_id, str(known.state(f"run/{run_id}").get("status", ""))


def _threads(known: Index, text: str) -> Found:
    for thread_id in known_names.threads(known.connection, text, _MOST):
        yield thread_id, ""


def _events(known: Index, text: str) -> Found:
    yield from _newest(known, text, ev.Filter(), "type")


def _messages(known: Index, text: str) -> Found:
    yield from _newest(known, text, ev.Filter(types=("msg.sent",)), "subject")


def _newest(known: Index, text: str, wanted: ev.Filter, told: str) -> Found:
    """The newest events whose ids begin so, with one of their values."""
    for raw in reversed(known.select(wanted, _MOST)):
        if raw["event_id"].startswith(text.upper()):
            value = raw.get("body", {}).get(told) or raw["type"]
            yield raw["event_id"], f"{value} ({raw['actor']['agent_id']})"


_BY_NAME: Mapping[str, Callable[[Index, str], Found]] = {
    "work": _work, "work_id": _work, "parent": _work, "needs": _work, "found_from": _work,
    "blocks": _work, "relates": _work, "duplicates": _work, "on": _work,
    "run": _runs, "thread": _threads, "event_id": _events, "cause": _events,
    "message_id": _messages, "reply_to": _messages,
}  # fmt: skip
_BY_METAVAR: Mapping[str, Callable[[Index, str], Found]] = {
    "AGENT": _agents, "HUMAN": _agents, "RESOURCE": _resources, "RUN": _runs,
    "THREAD": _threads,
}  # fmt: skip
# What ID means where the parameter's name does not say it.
_BY_TOOL: Mapping[str, Callable[[Index, str], Found]] = {
    "ev": _events, "wk": _work, "msg": _messages,
}  # fmt: skip


def equip(command: click.Command, tool: str) -> None:
    """Let every parameter of a command, or of all in a group, complete what it asks for."""
    for parameter in command.params:
        find = _finder(parameter, tool)
        if find is not None and type(parameter.type) is not click.Choice:
            own = getattr(parameter, "_custom_shell_complete", None)
            if own is None:
                vars(parameter)["shell_complete"] = _Completion(find)
    for inner in vars(command).get("commands", {}).values():
        equip(inner, tool)


def _finder(parameter: click.Parameter, tool: str) -> Callable[[Index, str], Found] | None:
    if isinstance(parameter, click.Option) and parameter.is_flag:
        return None
    words = (parameter.metavar or "").strip("[].").split("|")
    if words[0] == "ID" or parameter.name == "cause":
        return _BY_NAME.get(parameter.name or "") or _BY_TOOL.get(tool)
    if words[0] == "OTHER":
        return _work
    return _BY_METAVAR.get(words[0])


class _Completion:
    """Stands in for a parameter's own method."""

    def __init__(self, find: Callable[[Index, str], Found]) -> None:
        self._find = find

    def __call__(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        try:
            with opened(store.find().store, clock.now_ms()) as known:
                found = [*self._find(known, incomplete)][:_MOST]
        except (Refusal, OSError):
            return []
        return [CompletionItem(text, help=plain(told)) for text, told in found]
