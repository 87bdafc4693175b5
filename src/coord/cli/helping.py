"""`TOOL help [TOPIC]`: the manual as plain text, where there is no man.

A topic is a verb, or one of the words below that all tools share.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import click

from coord.cli import kit, topics
from coord.core import settings
from coord.errors import Refusal


@kit.command("help")
@click.argument("topic", nargs=-1, metavar="[TOPIC]")
def help_(call: kit.Call, topic: Sequence[str]) -> None:
    """Explain a verb or a TOPIC in plain text; without one, say which there are.

    Topics are the verbs and the words that all tools share, such as store, sync, leases,
    environment, exits. Plain text in a pipe too; with --json it is the value of `text`,
    with --quiet the names of all topics.

    \b
    Exits: 2 there is no such topic.
    Example: wk help claim
    """
    root = click.get_current_context().find_root()
    assert isinstance(root.command, click.Group)
    name = " ".join(topic)
    if call.quiet:
        for known in _names(root):
            click.echo(known)
        return
    lines = list(_overview(root) if not name else _explained(root, topic))
    if call.wants_json:
        kit.out({"topic": name, "text": "\n".join(lines)})
    else:
        for line in lines:
            click.echo(line)


def write_verbs(group: click.Group, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """The verbs of a tool with what each does, whole: click would cut it to a line."""
    verbs = ((name, group.get_command(ctx, name)) for name in group.list_commands(ctx))
    rows = [(name, _gist(verb)) for name, verb in verbs if verb is not None and not verb.hidden]
    with formatter.section("Commands"):
        formatter.write_dl(rows)


def _gist(verb: click.Command) -> str:
    """What a verb does: its first sentence, up to where that explains itself."""
    first = " ".join((verb.help or "").split("\n\n")[0].split())
    gist = _REST.split(first, maxsplit=1)[0].rstrip()
    return gist if gist.endswith("...") else f"{gist.rstrip('.')}."


# A colon or semicolon begins an explanation; a full stop ends what an ellipsis does not.
_REST = re.compile(r"[:;] |(?<![.])[.](?= |$)")


def _names(root: click.Context) -> list[str]:
    assert isinstance(root.command, click.Group)
    return [*root.command.list_commands(root), *topics.TOPICS]


def _overview(root: click.Context) -> Iterator[str]:
    tool = root.info_name
    yield from root.command.get_help(root).splitlines()
    yield ""
    yield f"Topics of {tool} help TOPIC, besides the verbs:"
    yield from _listed({name: told[0] for name, told in topics.TOPICS.items()})


def _explained(root: click.Context, topic: Sequence[str]) -> Iterator[str]:
    name = " ".join(topic).casefold()
    if name in topics.TOPICS:
        title, *told = topics.TOPICS[name]
        yield from (f"{name}: {title}", "", *told)
        yield from _listed(topics.tables().get(name, {}))
        return
    found = _command(root, topic)
    if found is None:
        hint = settings.suggestion(name, _names(root)) or f"{root.info_name} help lists them"
        raise Refusal("usage", f"there is no topic {name[:60]!r}", hint)
    yield from found.command.get_help(found).splitlines()


def _command(root: click.Context, words: Sequence[str]) -> click.Context | None:
    """The context of a verb, of one inside a verb too."""
    here = root
    for word in words:
        inner = (
            here.command.get_command(here, word) if isinstance(here.command, click.Group) else None
        )
        if inner is None:
            return None
        here = click.Context(inner, info_name=word, parent=here)
    return here


def _listed(rows: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, rows), default=0)
    for name, told in rows.items():
        yield f"  {name:<{width}}  {told}"
