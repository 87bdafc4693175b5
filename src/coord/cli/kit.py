"""What every command shares: options, the call's context, output.

A command gathers its words, asks the core once and emits. Data goes to stdout, JSON
Lines unless it is a terminal; words for people go to stderr.
"""

import contextlib
import functools
import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import click
import orjson

from coord.core import event as events
from coord.core.draft import Author, Draft, scope_of
from coord.edge import clock, config, environment, identity, index, store, writing
from coord.edge.index import Index
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
Row = Mapping[str, Any]

LIST_LIMIT = 50


class Call:
    """One invocation of a tool: its common options and what follows from them."""

    def __init__(self, tool: str, options: Mapping[str, Any]) -> None:
        self.tool = tool
        self.as_option: str = options.get("as_") or ""
        self.session: str = options.get("session") or ""
        self.quiet: bool = bool(options.get("quiet"))
        self.wants_json: bool = bool(options.get("json_"))
        self.why: str = text_of(options.get("why") or "")
        self.key: str = options.get("key") or ""
        self.cause: str = options.get("cause") or environment.get(environment.CAUSE)
        self.dry_run: bool = bool(options.get("dry_run"))
        self.now_ms = clock.now_ms()
        # Whether this call holds the sync's lock to confirm something.
        self.is_confirming = False
        self._dir: str = options.get("dir_") or ""
        self._notes = sys.stderr.isatty() and not self.quiet

    @functools.cached_property
    def place(self) -> store.Place:
        """The store this call works on."""
        return store.find(self._dir)

    def locate(self) -> store.Place:
        """Where the store is or would be."""
        return store.locate(self._dir)

    @functools.cached_property
    def author(self) -> Author:
        """Who acts."""
        return identity.author(self.place, self.as_option, self.session)

    @property
    def for_people(self) -> bool:
        """Whether stdout is a terminal and nobody asked for JSON."""
        return not self.wants_json and sys.stdout.isatty()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Index]:
        """The index, caught up."""
        with index.opened(self.place.store, self.now_ms) as known:
            yield known

    def query_now(self, known: Index | Desk) -> int:
        """Now, as queries mean it: never before the newest folded event (DESIGN §5)."""
        newest = known.newest if isinstance(known, Desk) else known.newest()
        return max(self.now_ms, events.time_of(newest)) if newest else self.now_ms

    @contextlib.contextmanager
    def desk(self) -> Iterator[Desk]:
        """The store locked, to judge and write."""
        author = self.author
        if not self.is_confirming and store.has_unsettled(self.place):
            from coord.cli import confirming

            confirming.settle(self)
        with writing.desk(self.place, author, self.now_ms, self.settings) as opened:
            yield opened
        if opened.is_written and opened.ended and not self.is_confirming:
            from coord.cli import confirming

            confirming.give_back(self, opened.ended)

    def settings(self, known: Index) -> writing.Settings:
        """What this clone's config.yaml says."""
        path = os.path.join(self.place.store, "config.yaml")
        found = config.load(path, known.meta, known.keep)
        return writing.Settings(skew_ms=int(found["skew_ms"]))

    def draft(
        self, kind: str, refs: Mapping[str, Any], body: Mapping[str, Any], key: str = ""
    ) -> Draft:
        """A draft with what `--why`, `--key` and `--cause` say; empty parts left out."""
        said = {name: value for name, value in body.items() if value is not None}
        if self.why:
            said["why"] = self.why
        if self.cause and not events.EVENT_ID.fullmatch(self.cause):
            raise Refusal("usage", f"cause {self.cause[:60]!r} is no event id")
        return Draft(kind, refs, said, cause=self.cause, key=key or self.key)

    def key_of(self, part: str, parts: int) -> str:
        """The key of one part of a request that writes several events of a type."""
        return f"{self.key}:{part}" if self.key and parts > 1 else self.key

    def earlier(self, desk: Desk, kind: str, key: str = "") -> Row | None:
        """What was written under this key before: a retry is not judged by what is true now."""
        scope = scope_of(Draft(kind, key=key or self.key), desk.author)
        found = desk.index.by_key(scope) if scope else []
        return found[0] if found else None

    def record(self, make: Callable[[Desk], Iterable[Draft | Written]]) -> list[Written]:
        """Judge and write what `make` drafts under the lock; `--dry-run` only judges.

        What `make` answers as written is acknowledged as it is.
        """
        with self.desk() as opened:
            try:
                written = [_taken(opened, draft) for draft in make(opened)]
            except Refusal as refusal:
                # What was true for the first request need not be true for its retry.
                said = opened.said_with(self.key) if refusal.code != "key_reused" else []
                if not said:
                    raise
                return said
            if not self.dry_run:
                opened.write()
        return written

    def batch(
        self,
        text: str,
        read: Callable[[Any, int], T],
        drafts_of: Callable[[Desk, int, T], Iterable[Draft | Written]],
        partial: bool,
    ) -> tuple[list[Written], list[Refusal]]:
        """Judge and write JSON Lines: all or nothing, with `partial` the good lines.

        read: a parsed line and its number to what is wanted. drafts_of: the events that
        it takes. A refusal names its line; with `partial` it is answered, not raised.
        """
        wanted, faults = _read_lines(text, read, partial)
        written: list[Written] = []
        if not wanted:
            return written, faults
        with self.desk() as opened:
            for number, value in wanted.items():
                try:
                    written += [_taken(opened, d) for d in drafts_of(opened, number, value)]
                except Refusal as refusal:
                    faults += _named(refusal, number, partial)
            if not self.dry_run:
                opened.write()
        return written, faults

    def finish_batch(self, faults: Sequence[Refusal]) -> int:
        """End a batch by its last bad line, having told of the others; 0 without any."""
        for fault in faults[:-1]:
            self.report(fault)
        if faults:
            raise faults[-1]
        return 0

    def acknowledge(
        self, written: Sequence[Written], say: Callable[[Row], str], ident: str = "event_id"
    ) -> None:
        """Print the acknowledgements of a write.

        say: the sentence for people. ident: the key whose value `--quiet` prints.
        """
        for one in written:
            if self.dry_run:
                out(one.raw)
            elif self.quiet:
                click.echo(acknowledgement(one).get(ident, one.raw["event_id"]))
            elif self.for_people:
                repeated = " (said before)" if one.is_duplicate else ""
                click.echo(plain(say(one.raw)) + repeated)
            else:
                out(acknowledgement(one))

    def emit(
        self,
        rows: Iterable[Any],
        table: Callable[[list[Any]], None] | None = None,
        ident: str = "work_id",
    ) -> None:
        """Print rows: ids alone with `--quiet`, a table on a terminal, else JSON Lines."""
        if self.quiet:
            for row in rows:
                click.echo(row[ident])
        elif self.for_people and table is not None:
            table(list(rows))
        else:
            for row in rows:
                out(row)

    def report(self, refusal: Refusal) -> None:
        """Print a refusal that does not end the command: one bad line among others."""
        print_refusal(self.tool, refusal)

    def warn(self, code: str, text: str, hint: str) -> None:
        """Say on stderr what was done but may not be what was meant."""
        if sys.stderr.isatty():
            click.echo(plain(f"{self.tool}: {text}; {hint}"), err=True)
        else:
            warning = {"warning": {"code": code, "message": text, "hint": hint}}
            click.echo(orjson.dumps(warning), err=True)

    def note(self, text: str) -> None:
        """Say something to a person at the terminal, on stderr."""
        if self._notes:
            click.echo(plain(text), err=True)


# What else of a body the sentence for people tells; programs learn it too.
_SAID = {
    "config.set": ("key", "value"),
    "msg.sent": ("to", "cc"),
    "work.closed": ("as",),
    "work.handed_off": ("to",),
    "work.held": ("on",),
    "work.linked": ("kind", "target"),
    "work.ticked": ("check",),
    "work.unlinked": ("kind", "target"),
    "work.verified": ("verdict",),
}


def _read_lines(
    text: str, read: Callable[[Any, int], T], partial: bool
) -> tuple[dict[int, T], list[Refusal]]:
    wanted: dict[int, T] = {}
    faults: list[Refusal] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                wanted[number] = read(json_value(line, "this"), number)
            except Refusal as refusal:
                faults += _named(refusal, number, partial)
    return wanted, faults


def _taken(desk: Desk, one: Draft | Written) -> Written:
    return one if isinstance(one, Written) else desk.take(one)


def _named(refusal: Refusal, number: int, partial: bool) -> list[Refusal]:
    """A bad line's refusal with its number: raised, or with `partial` kept for later."""
    refusal.at_line(number)
    if not partial:
        raise refusal
    return [refusal]


def acknowledgement(written: Written) -> dict[str, Any]:
    """What a write prints: the event's id, what it is about, who confirmed it."""
    raw = written.raw
    shown = {"event_id": "", "type": "", **raw["refs"]}
    # Whatever the refs are called, these two are the event's own.
    shown.update(event_id=raw["event_id"], type=raw["type"])
    shown.pop("resource", None)
    body = raw.get("body", {})
    for name in (*_SAID.get(raw["type"], ()), "fence", "expires_at_ms", "confirmed"):
        if name in body:
            shown[name] = body[name]
    if written.is_duplicate:
        shown["duplicate"] = True
    return shown


def out(row: Row) -> None:
    """One JSON line on stdout."""
    try:
        sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
    except BrokenPipeError:
        # click would turn it into exit 1, which means "no" here.
        raise Closed from None


class Closed(Exception):
    """Whoever read our stdout has had enough."""


_VISIBLE = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str) -> str:
    """A text for a terminal: control and direction characters are shown, not obeyed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(char: str) -> str:
    if char in _VISIBLE:
        return _VISIBLE[char]
    code = ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def text_of(argument: str) -> str:
    """A text argument: itself, `-` for stdin, `@FILE` for a file; `@@x` means `@x`."""
    if argument == "-":
        return stdin_text()
    if argument.startswith("@@"):
        return argument[1:]
    if argument.startswith("@") and len(argument) > 1:
        try:
            return file_text(argument[1:])
        except Refusal as refusal:
            refusal.hint = "@FILE reads a file; a text that begins with @ is written @@…"
            raise
    return argument


@functools.cache
def stdin_text() -> str:
    """All of stdin, read once: a command that runs again finds it as it was.

    What is not UTF-8 stays recognizable, so that it is refused and never replaced.
    """
    return sys.stdin.buffer.read().decode(errors="surrogateescape")


def json_text(value: object) -> str:
    """A value as JSON text."""
    return orjson.dumps(value).decode()


def json_value(text: str, what: str, **facts: Any) -> Any:
    """Parse JSON or refuse with `bad_data`, naming what was read."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, " if "\n" in text.strip() else ""
        reason = f"{error.msg} at {place}column {error.colno}"
        raise Refusal("bad_data", f"{what} is not JSON: {reason}", **facts) from error


def note_page(shown: int, total: int, offset: int) -> None:
    """Say on stderr which part of a list this was, and how to see the rest."""
    if offset + shown < total:
        hint = f"--offset {offset + shown} for the next, --limit 0 for all, or narrow with filters"
        note_more(f"{shown} of {total}", hint, shown=shown, total=total)


def note_more(text: str, hint: str, **facts: Any) -> None:
    """Say on stderr that a list was cut: programs must learn of it too."""
    if sys.stderr.isatty():
        click.echo(f"{text}: {hint}", err=True)
    else:
        note = {"note": {"code": "more", "message": text, "hint": hint, **facts}}
        click.echo(orjson.dumps(note), err=True)


def file_text(path: str) -> str:
    """A file's text; refuses with `no_file`."""
    try:
        with open(path, "rb") as stream:
            return stream.read().decode(errors="surrogateescape")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise Refusal("no_file", f"cannot read {path}: {reason}") from error


_COMMON = (
    click.option("--as", "as_", metavar="AGENT", help="Who acts: agent:NAME, human:… or bot:…"),
    click.option("--session", metavar="S", help="One incarnation of the agent."),
    click.option("--json", "json_", is_flag=True, help="JSON Lines, also on a terminal."),
    click.option("--quiet", is_flag=True, help="Ids alone, no words."),
    click.option("--dir", "dir_", metavar="DIR", help="The .coord folder, or a folder with one."),
)
_WRITE = (
    click.option("--why", metavar="TEXT", help="The reason, kept with the event; - or @FILE too."),
    click.option("--key", metavar="KEY", help="Idempotency key: a retry with it adds nothing."),
    click.option("--cause", metavar="EVENT", help="The event that made this one happen."),
    click.option("--dry-run", is_flag=True, help="Print the event instead of writing it."),
)
_CALL_OPTIONS = (
    "as_", "session", "json_", "quiet", "dir_", "why", "key", "cause", "dry_run",
)  # fmt: skip


def command(name: str, writes: bool = False, own_as: bool = False) -> Callable[[F], click.Command]:
    """Make a command whose function gets a `Call` first, then its own options.

    own_as: the command declares `--as` itself, for it means more there.
    """
    common = _COMMON[1:] if own_as else _COMMON

    def decorate(function: F) -> click.Command:
        @functools.wraps(function)
        def called(**options: Any) -> Any:
            context = click.get_current_context()
            tool = context.find_root().info_name or ""
            _refuse_empty(context.command.params, options)
            shared = {key: options.pop(key, None) for key in _CALL_OPTIONS}
            call = Call(tool, shared)
            try:
                return function(call, **options)
            except index.DAMAGE:
                # Safe for writes: they ask the index only before they append.
                index.discard(call.place.local)
                return function(Call(tool, shared), **options)

        wrapped: Any = called
        for option in reversed((*common, *(_WRITE if writes else ()))):
            wrapped = option(wrapped)
        made = click.command(name)(wrapped)
        # A verb's own options come first in its help.
        made.params.sort(key=_is_common)
        return made

    return decorate


# An empty one of these comes from a variable that is not set, and never means "none".
_NEVER_EMPTY = frozenset("ID OTHER AGENT HUMAN S KEY EVENT WHEN TIME SPAN DIR".split())


def _refuse_empty(parameters: Iterable[click.Parameter], values: Mapping[str, Any]) -> None:
    for parameter in parameters:
        value = values.get(parameter.name or "")
        metavar = parameter.metavar or ""
        if (value == "" or (isinstance(value, tuple) and "" in value)) and not (
            _NEVER_EMPTY.isdisjoint(metavar.strip("[].").split("|"))
        ):
            what = parameter.opts[0] if isinstance(parameter, click.Option) else metavar
            raise Refusal("usage", f"{what} is empty", "is a variable unset?")


def _is_common(parameter: click.Parameter) -> bool:
    return parameter.name in _CALL_OPTIONS


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is used.

    verbs: verb to `module:attribute`.
    """

    def __init__(self, *args: Any, verbs: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.verbs = verbs or {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*self.verbs]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        target = self.verbs.get(cmd_name)
        if target is None:
            return None
        module, _, attribute = target.partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        if ctx.resilient_parsing:
            # So click parses while the shell asks what may stand somewhere.
            from coord.cli import completing

            completing.equip(found, ctx.find_root().info_name or "")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        importlib.import_module("coord.cli.helping").write_verbs(self, ctx, formatter)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in self.verbs and not name.startswith("-") and not ctx.resilient_parsing:
            guessing = importlib.import_module("coord.cli.guessing")
            hint = guessing.hint(name, [*self.verbs], f"{ctx.command_path} --help")
            raise Refusal("usage", f"{ctx.command_path} has no verb {name!r}", hint)
        return super().resolve_command(ctx, args)


def print_refusal(tool: str, refusal: Refusal) -> None:
    """One line for people, then the next step; JSON where stderr is no terminal."""
    if sys.stderr.isatty():
        click.echo(plain(f"{tool}: {refusal.code}: {refusal.message}"), err=True)
        if refusal.hint:
            click.echo(plain(f"  {refusal.hint}"), err=True)
    else:
        line = orjson.dumps({"error": refusal.as_json()})
        with contextlib.suppress(BrokenPipeError):
            sys.stderr.buffer.write(line + b"\n")
            sys.stderr.flush()
