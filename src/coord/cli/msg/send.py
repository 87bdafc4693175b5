"""`msg send`, `reply`, `forward`: tell somebody something."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import click

from coord.cli import kit, naming
from coord.cli.msg import common
from coord.cli.msg.writing import Letter, Post
from coord.core import units
from coord.core.msg import mail, view
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])


def _content(function: F) -> F:
    """The options that say what a message says."""
    for option in reversed((
        click.option("--body", metavar="TEXT", help="What it says; - or @FILE too."),
        click.option("--importance", type=click.Choice(mail.IMPORTANCE), help="How urgent."),
        click.option("--ack", type=click.Choice(mail.ACKS),
                     help="Whether recipients are to acknowledge it; none unless said."),
        click.option("--ack-by", metavar="TIME", help="Until when: 2h, 2026-12-24T18:00Z."),
        click.option("--expires", metavar="TIME", help="From when on nobody need read it: 1d."),
        click.option("--wake", is_flag=True,
                     help="Not only a note: msg watch --wake tells whoever wakes them."),
        click.option("--attach", multiple=True, metavar="FILE", help="May be repeated."),
    )):  # fmt: skip
        function = option(function)
    return function


def _addresses(function: F) -> F:
    """The options that say whom a message is for."""
    for option in reversed((
        click.option("--to", multiple=True, metavar="AGENT",
                     help="agent:NAME, human:NAME, @role or @all; may be repeated."),
        click.option("--cc", multiple=True, metavar="AGENT", help="Who is to know of it too."),
        click.option("--allow-unknown", is_flag=True, help="Also to whom nobody here knows."),
    )):  # fmt: skip
        function = option(function)
    return function


def _said(call: kit.Call, options: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of the body that options give."""
    said: dict[str, Any] = {
        "text": kit.text_of(options["body"]) if options.get("body") else None,
        "importance": options.get("importance"),
        "ack": options.get("ack") or ("wanted" if options.get("ack_by") else None),
        "wake": True if options.get("wake") else None,
    }
    for name, option in (("ack_by_ms", "ack_by"), ("expires_at_ms", "expires")):
        if options.get(option):
            said[name] = units.parse_instant(options[option], call.now_ms, ahead=True)
    if said["ack"] == "none" and "ack_by_ms" in said:
        raise Refusal("usage", "--ack-by asks for what --ack none does not")
    return {name: value for name, value in said.items() if value is not None}


@kit.command("send", writes=True)
@click.argument("source", required=False, metavar="[-]", type=click.Choice(["-"]))
@_addresses
@click.option("--subject", metavar="TEXT", help="What it is about, in one line.")
@click.option("--thread", metavar="THREAD", help="The thread it belongs to; a new one unless said.")
@click.option("--work", metavar="ID", help="The work item it is about.")
@click.option("--run", metavar="RUN", help="The run it is about.")
@_content
@click.option("--partial", is_flag=True, help="With -: write the good lines of a batch.")
def send(
    call: kit.Call,
    source: str | None,
    to: Sequence[str],
    cc: Sequence[str],
    allow_unknown: bool,
    subject: str | None,
    thread: str | None,
    work: str | None,
    run: str | None,
    attach: Sequence[str],
    partial: bool,
    **options: Any,
) -> int:
    """Send a message and print its acknowledgement.

    It is delivered by being recorded: whoever shares the store can read it at once,
    others after a sync. @role and @all mean whom the registry says now. The same text to
    the same recipient within a minute is one message. With - it reads JSON Lines from
    stdin, one message a line: to, cc, subject, text, thread_id, work_id, run_id, reply_to,
    importance, ack, ack_by_ms, expires_at_ms, wake.

    \b
    Exits: 3 nobody of that name is known; 4 over the sender's rate, or paused;
           6 a value does not fit.
    Example: msg send --to agent:bo --work wk-7k2m --subject "Yours?" --body @note.md
    """
    if source:
        return _batch(call, partial, allow_unknown)
    said = _said(call, options)
    if subject:
        said["subject"] = _line(subject)
    if not (said.keys() & {"subject", "text"} or attach):
        raise Refusal("usage", "a message says something", "--subject TEXT, --body TEXT or @FILE")
    letter = Letter(
        common.multiple(to), common.multiple(cc), {"run_id": run} if run else {}, said, attach,
        allow_unknown=allow_unknown,
    )  # fmt: skip
    written = call.record(functools.partial(_sent, call, letter, thread, work))
    call.acknowledge(written, _say)
    return 0


def _line(text: str) -> str:
    line = " ".join(kit.text_of(text).split())
    if not 0 < len(line) <= mail.SUBJECT_CHARS:
        text = f"a subject has 1 to {mail.SUBJECT_CHARS} characters, not {len(line)}"
        raise Refusal("bad_data", text, "the rest goes into --body", pointer="/body/subject")
    return line


def _sent(
    call: kit.Call, letter: Letter, thread: str | None, work: str | None, desk: Desk
) -> Iterable[Written]:
    refs = dict(letter.refs)
    if work:
        refs["work_id"] = naming.work_id(desk.index, work)
    if thread:
        refs["thread_id"] = common.thread_id(desk.index, thread)
    return Post(call).draft(desk, letter._replace(refs=refs), call.key)


def _say(raw: kit.Row) -> str:
    body = raw["body"]
    names = ", ".join([*body.get("to", ()), *body.get("cc", ())])
    return f"{raw['event_id']} sent to {names}"


_BATCH_REFS = ("thread_id", "work_id", "run_id", "reply_to")
_BATCH_BODY = (
    "subject", "text", "importance", "ack", "ack_by_ms", "expires_at_ms", "wake", "auto", "hops",
)  # fmt: skip


def _batch(call: kit.Call, partial: bool, allow_unknown: bool) -> int:
    post = Post(call)
    written, faults = call.batch(
        kit.text_of("-"),
        functools.partial(_read_line, allow_unknown),
        functools.partial(_numbered, call, post),
        partial,
    )
    call.acknowledge(written, _say)
    return call.finish_batch(faults)


def _numbered(
    call: kit.Call, post: Post, desk: Desk, number: int, letter: Letter
) -> Iterable[Written]:
    return post.draft(desk, letter, f"{call.key}:{number}" if call.key else "")


def _read_line(allow_unknown: bool, raw: Any, _number: int) -> Letter:
    if not isinstance(raw, dict):
        raise Refusal("bad_data", "a message is a JSON object", pointer="")
    unknown = sorted(raw.keys() - {"to", "cc", *_BATCH_REFS, *_BATCH_BODY})
    if unknown:
        names = ", ".join(("to", "cc", *_BATCH_REFS, *_BATCH_BODY))
        raise Refusal("bad_data", f"{unknown[0][:60]!r} is not one of {names}")
    to, cc = (_names(raw, name) for name in ("to", "cc"))
    refs = {name: raw[name] for name in _BATCH_REFS if name in raw}
    said = {name: raw[name] for name in _BATCH_BODY if name in raw}
    if not said.keys() & {"subject", "text"}:
        raise Refusal("bad_data", "a message has a subject or a text", pointer="/text")
    if refs or not _fits(said):
        # In full, and in the schema's own words. The recipients are looked up later.
        from coord.edge import schemas

        checked = {"thread_id": "th-new", **refs}
        schemas.check_draft("msg.sent", checked, {"to": ["agent:any"], **said})
    return Letter(to, cc, refs, said, allow_unknown=allow_unknown)


def _fits(said: Mapping[str, Any]) -> bool:
    """Whether these parts fit for sure; the schema's checker takes far longer to say so."""
    return said.get("subject") != "" and all(mail.FITS[name](said[name]) for name in said)


def _names(raw: Mapping[str, Any], name: str) -> list[str]:
    value = raw.get(name, [])
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not all(isinstance(n, str) and n for n in names):
        raise Refusal("bad_data", f"{name} is not a list of names", pointer=f"/{name}")
    return names


@kit.command("reply", writes=True)
@click.argument("message_id", metavar="ID")
@_content
@click.option("--subject", metavar="TEXT", help="Re: and the subject of ID unless said.")
@click.option("--all", "to_all", is_flag=True, help="To everybody else it was for, too.")
@click.option("--auto", is_flag=True, help="A program answers: counted, and stopped in a loop.")
def reply(
    call: kit.Call,
    message_id: str,
    subject: str | None,
    to_all: bool,
    auto: bool,
    attach: Sequence[str],
    **options: Any,
) -> None:
    """Answer the message ID: to its sender, in its thread; a reminder, to who asked for it.

    It says nothing about having read or acknowledged ID: msg read and msg ack do. With
    --auto it counts how many automatic replies in a row have led here, and is refused
    after eight.

    \b
    Exits: 3 no such message; 4 too many automatic replies in a row.
    Example: msg reply 01KDWCJ2 --body "On it."
    """
    said = _said(call, options)
    if "text" not in said and not attach:
        raise Refusal("usage", "a reply says something", "--body TEXT or @FILE")
    if subject:
        said["subject"] = _line(subject)
    written = call.record(functools.partial(_answer, call, message_id, said, attach, to_all, auto))
    call.acknowledge(written, _say)


def _answer(
    call: kit.Call,
    text: str,
    said: dict[str, Any],
    files: Sequence[str],
    to_all: bool,
    auto: bool,
    desk: Desk,
) -> Iterable[Written]:
    parent = common.message(desk, common.message_id(desk.index, text))
    to, cc = view.answered(parent, desk.author.agent_id, to_all)
    if parent["from"] == mail.REMINDER and "reminder" in parent:
        # Nobody reads for it: whoever made the rule asked to be answered.
        to = [desk.state(f"msg/{parent['reminder']['rule_id']}").get("by", mail.REMINDER)]
    subject = view.reply_subject(parent.get("subject", ""))
    whole = {**({"subject": subject} if subject else {}), **said}
    if auto:
        whole |= {"auto": True, "hops": parent.get("hops", 0) + 1}
    refs = {"thread_id": parent["thread_id"], "reply_to": parent["message_id"]}
    refs |= {name: parent[name] for name in ("work_id", "run_id") if name in parent}
    letter = Letter(to, cc, refs, whole, files, allow_unknown=True, cause=parent["message_id"])
    return Post(call).draft(desk, letter, call.key)


@kit.command("forward", writes=True)
@click.argument("message_id", metavar="ID")
@_addresses
@_content
def forward(
    call: kit.Call,
    message_id: str,
    to: Sequence[str],
    cc: Sequence[str],
    allow_unknown: bool,
    attach: Sequence[str],
    **options: Any,
) -> None:
    """Pass the message ID on, with its text and attachments, in a new thread.

    \b
    Exits: 3 no such message, or nobody of that name.
    Example: msg forward 01KDWCJ2 --to human:kim --body "Yours to decide."
    """
    said = _said(call, options)
    letter = Letter(
        common.multiple(to), common.multiple(cc), {}, said, attach, allow_unknown=allow_unknown
    )
    written = call.record(functools.partial(_passed_on, call, message_id, letter))
    call.acknowledge(written, _say)


def _passed_on(call: kit.Call, text: str, letter: Letter, desk: Desk) -> Iterable[Written]:
    from coord.edge.index import mail_search

    parent = common.message(desk, common.message_id(desk.index, text))
    original = mail_search.text_of(desk.index.folder, parent)
    if original is None:
        raise Refusal("unknown_message", "its text is not here yet", "ev sync fetches it")
    at = units.show_instant(parent["sent_at_ms"])
    quoted = f"--- from {parent['from']}, {at} ---\n{original}"
    subject = view.reply_subject(parent.get("subject", ""), "Fwd")
    said = {
        **({"subject": subject} if subject else {}),
        **letter.said,
        "text": "\n\n".join(part for part in (letter.said.get("text"), quoted) if part),
        "forwards": parent["message_id"],
    }
    whole = letter._replace(
        refs={str(name): parent[name] for name in ("work_id", "run_id") if name in parent},
        said=said,
        parts=parent.get("attachments", ()),
        cause=parent["message_id"],
    )
    return Post(call).draft(desk, whole, call.key)
