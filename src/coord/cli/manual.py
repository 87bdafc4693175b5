"""The manual page of a tool, written from the tool itself: `python -m coord.cli.manual wk`.

What a verb does is said once, in its help; this turns it, the option tables and the
tables of `errors` into mdoc(7). Options that every verb has, or everything that
writes, are listed once. The page is the same for everybody: it holds no path, time
or width of whoever makes it.
"""

import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import click

from coord.edge import environment
from coord.errors import CODES, STATUSES

RELEASED = "November 20, 2026"
TOOLS = ("ev", "wk", "msg", "lease", "run")
WIDTH = 78

ENVIRONMENT = {
    environment.DIR: "The store, or a folder that has one; else the tool looks upward for it.",
    environment.AGENT: "Who acts: agent:NAME, human:NAME or bot:NAME.",
    environment.SESSION: "Which incarnation of that agent acts.",
    environment.CAUSE: "The event_id of the event that makes this command run.",
    environment.LEASE: "Set by lease exec for its command: the leases that it runs under.",
    environment.RUN: "Set for the command of a run: the run that it is part of.",
    environment.NOW_MS: "The wall clock, in milliseconds since the epoch; for tests.",
    environment.SEED: "The seed of all chance; for tests.",
    "NO_COLOR": "When set, nothing is coloured.",
}
FILES = {
    ".coord/": "The store, at the root of the main working tree.",
    ".coord/TOOL/WRITER.NNNN.jsonl": "The journals: the only truth, never edited.",
    ".coord/blobs/": "Texts too long for a line, named by their SHA-256.",
    ".coord/attic/": "What could not be merged, kept whole.",
    ".coord/config.yaml": "This clone's settings, never synced.",
    ".coord/local/": "The index and what else can be made again; may be deleted at any time.",
}
# DESIGN §8 asks for these words.
CAVEATS = {
    "msg": "What mail does not promise: that it is read, or by when; that another clone has it"
    " before both have synced; that `recv` prints a message only once, for a reader that dies"
    " before its cursor is stored gets it again. `surfaced` and beats are what this clone has seen."
    " Who marks a reminder that another clone has sent too as read may find it unread once more"
    " after a sync: of the two, the one with the smaller id stays.",
    "run": "What a run does not promise: it is executed in the store that asked for it and nowhere"
    " else. When the process beside a command is killed, the command is killed with it, and what"
    " it had started is found by a lock that it inherited or by its environment: a process that"
    " has closed the one and cleared the other lives on. When .coord/local is removed while a run"
    " is executed, how it ended is lost. Where a process cannot adopt the orphans of its tree"
    " (other systems than Linux), what has cut itself loose from a command is not found."
    " A commit that is on a ref proves that a run's work is there, not that its command came to"
    " its end: such a run is `lost`, with the commit, and is not executed again. What is committed"
    " past git's hooks has no trailer, and is known by its change alone. Artifacts of more than 32"
    " MiB are named and not kept."
    " A step is executed once as far as anybody knows: when its process dies before its result is"
    " recorded, nobody does, and a person says whether it was done.",
    "wk": "What a claim does not promise: an advisory hold is not exclusive between clones; a"
    " holder that sleeps past its TTL and then acts is stopped only where its fence is checked;"
    " `break` and `--take-over` while the old holder is cut off leave two who believe; a remote"
    " that loses accepted pushes voids `remote`.",
}
_SPECIAL = {
    "\\": "\\e", "-": "\\-", "'": "\\(aq", '"': "\\(dq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti",
}  # fmt: skip

Verb = tuple[str, click.Command, click.Context]


def page(tool: str, group: click.Group) -> str:
    """The whole page of a tool, as mdoc(7) source."""
    verbs = list(_verbs(group, click.Context(group, info_name=tool)))
    writes = [verb for verb in verbs if any(o.name == "dry_run" for o in _visible(verb[1]))]
    common, written = _shared(verbs), _shared(writes)
    about = _paragraphs(group.help or "")
    parts = [
        _head(tool, about[0] if about else tool),
        section("DESCRIPTION", *map(paragraph, about)),
        section("VERBS", *(_verb(verb, common | written) for verb in verbs)),
        section("COMMON OPTIONS", _said_once(verbs, common, writes, written - common)),
        _transitions(tool),
        section("ENVIRONMENT", table(ENVIRONMENT.items(), "Ev")),
        section("FILES", table(FILES.items(), "Pa")),
        section("EXIT STATUS", table((str(n), text) for n, text in STATUSES.items())),
        section("ERROR CODES", _CODES_ARE, table(map(_code, CODES))),
        _see_also(tool),
        section("CAVEATS", filled(CAVEATS.get(tool, ""))),
    ]
    return "".join(parts)


_CODES_ARE = """\
A refusal is one line on standard error, with the next step after it; where
standard error is not a terminal, it is a JSON object with the key
.Ql error .
Programs compare its
.Ql code :
"""


def _verbs(group: click.Group, context: click.Context) -> Iterator[Verb]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inside = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from _verbs(command, inside)
        else:
            yield inside.command_path, command, inside


def _shared(verbs: Sequence[Verb]) -> frozenset[str]:
    """The options that most of these verbs have and the others give a sense of their own."""
    keys = [frozenset(map(_key, _visible(command))) for _, command, _ in verbs]
    flags = [{option.opts[0] for option in _visible(command)} for _, command, _ in verbs]
    return frozenset(
        _key(option)
        for _, command, _ in verbs
        for option in _visible(command)
        if sum(_key(option) in found for found in keys) * 2 > len(verbs) > 1
        and all(option.opts[0] in found for found in flags)
    )


def _said_once(
    verbs: Sequence[Verb], common: frozenset[str], writes: Sequence[Verb], written: frozenset[str]
) -> str:
    every = "Every verb takes these, unless it says otherwise itself:\n"
    text = every + _options(verbs, common) if common else ""
    if not written:
        return text
    names = ", ".join(path.partition(" ")[2] for path, _, _ in writes)
    return text + paragraph(f"What writes takes these too ({names}):") + _options(writes, written)


def _visible(command: click.Command) -> list[click.Option]:
    return [p for p in command.params if isinstance(p, click.Option) and not p.hidden]


def _key(option: click.Option) -> str:
    return f"{option.name}: {option.help}"


def _head(tool: str, about: str) -> str:
    named = escape(about.split(". ")[0].rstrip("."))
    return (
        f".Dd {RELEASED}\n.Dt {tool.upper()} 1\n.Os\n"
        f".Sh NAME\n.Nm {tool}\n.Nd {named}\n"
        f".Sh SYNOPSIS\n.Nm\n.Ar VERB\n.Op Ar OPTION ...\n.Op Ar ARGUMENT ...\n"
    )


def section(title: str, *parts: str) -> str:
    """A section of the page; without content, nothing."""
    content = "".join(parts)
    return f".Sh {title}\n{content.removeprefix(_BREAK)}" if content else ""


_BREAK = ".Pp\n"


def _verb(verb: Verb, shared: frozenset[str]) -> str:
    path, command, context = verb
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    own = frozenset(_key(option) for option in _visible(command)) - shared
    told = "".join(map(paragraph, _paragraphs(command.help or "")))
    return f".Ss {escape(path)}\n.Dl {escape(usage)}\n{told}{_options([verb], own)}"


def _options(verbs: Sequence[Verb], wanted: frozenset[str]) -> str:
    rows = {
        _key(option): (_flags(option, context), _help(option, context))
        for _, command, context in verbs
        for option in _visible(command)
        if _key(option) in wanted
    }
    return table(rows.values(), macro="") if rows else ""


def _flags(option: click.Option, context: click.Context) -> str:
    names = [f"Fl {escape(name[1:])}" for name in (*option.opts, *option.secondary_opts)]
    joined = " , ".join(names)
    if option.is_flag or option.count:
        return joined
    # A list of choices may be broken where one ends.
    metavar = quoted(option.make_metavar(context)).replace("|", r"|\:")
    return f"{joined} Ar {metavar}"


def _help(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return record[1] if record else ""


def _code(code: str) -> tuple[str, str]:
    status, meaning = CODES[code]
    return code, f"{meaning} (exit {status})."


def _transitions(tool: str) -> str:
    """From which states what may happen to a run."""
    if tool != "run":
        return ""
    from coord.core.run import life

    rows = [
        (kind, f"{'no run' if before == ('',) else ', '.join(before)} -> {life.LEADS_TO[kind]}")
        for kind, before in life.TRANSITIONS.items()
    ]
    about = "What may happen to a run in which state, and where it leads; all else is a problem:"
    return section("STATES", filled(about), table(rows))


def _see_also(tool: str) -> str:
    others = [f"{name} Ns (1)" for name in (*TOOLS, "git") if name != tool]
    pages = [*sorted(others), f"{escape('coord-journal')} Ns (5)"]
    # Not `.Xr`: whether that passes lint depends on which pages are installed.
    return ".Sh SEE ALSO\n" + " ,\n".join(f".Sy {name}" for name in pages) + "\n"


def table(rows: Iterable[tuple[str, str]], macro: str = "Sy") -> str:
    """A list of terms and what they mean.

    macro: what marks a term; "" when the terms bring their own.
    """
    lines = [".Bl -tag -width Ds\n"]
    for term, meaning in rows:
        lines.append(f".It {macro} {quoted(term)}\n" if macro else f".It {term}\n")
        lines.append(filled(meaning))
    return "".join([*lines, ".El\n"])


def _paragraphs(text: str) -> list[str]:
    """A help text's paragraphs; what follows a form feed is not for readers."""
    return [part for part in inspect.cleandoc(text.split("\f")[0]).split("\n\n") if part.strip()]


def paragraph(text: str) -> str:
    """A paragraph; after a line with a backspace, labels with their texts, or as it stands."""
    if not text.startswith("\b"):
        return _BREAK + filled(text)
    lines = textwrap.dedent(text.lstrip("\b\n")).splitlines()
    labelled = [
        _LABEL.fullmatch(line) for line in re.sub(r"\n +", " ", "\n".join(lines)).split("\n")
    ]
    if all(labelled):
        return table((found[1], found[2]) for found in labelled if found)
    return "".join([".Bd -literal -offset indent\n", *(f"{escape(x)}\n" for x in lines), ".Ed\n"])


_LABEL = re.compile(r"([A-Z][a-z]+): (\S.*)")


def filled(text: str) -> str:
    """Running text: a new sentence begins a new line, as mdoc(7) asks."""
    sentences = _SENTENCE.split(" ".join(text.split()))
    wrapped = (
        textwrap.wrap(_spelled(sentence), WIDTH, break_long_words=False, break_on_hyphens=False)
        for sentence in sentences
    )
    return "".join(f"{_guarded(line)}\n" for lines in wrapped for line in lines)


# An ellipsis ends no sentence.
_SENTENCE = re.compile(r"""(?<=[^.][.!?]) +|(?<=[.!?][)'"\]]) +""")


def quoted(text: str) -> str:
    """One argument of a macro, whatever it looks like."""
    escaped = escape(text)
    return f'"{escaped}"' if re.search(r"\W", text) else escaped


def escape(text: str) -> str:
    """Text that roff(7) prints as it is, in ASCII."""
    return _guarded(_spelled(text))


def _guarded(line: str) -> str:
    return rf"\&{line}" if line.startswith(".") else line


def _spelled(text: str) -> str:
    return "".join(map(_character, text))


def _character(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    return char if char.isascii() else f"\\[u{ord(char):04X}]"


def main(arguments: Sequence[str]) -> int:
    """Print the page of the tool that is named."""
    if len(arguments) != 1 or arguments[0] not in TOOLS:
        print(f"usage: python -m coord.cli.manual {'|'.join(TOOLS)}", file=sys.stderr)
        return 2
    tool = arguments[0]
    group: click.Group = importlib.import_module(f"coord.cli.{tool}").cli
    sys.stdout.write(page(tool, group))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
