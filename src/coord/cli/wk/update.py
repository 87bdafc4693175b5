"""`wk update` and `wk comment`: change what an item says, or say something about it."""

from collections.abc import Iterator, Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.draft import Draft
from coord.core.wk import fields, request
from coord.edge.writing import Desk
from coord.errors import Refusal


@kit.command("update", writes=True)
@naming.many_ids
@click.option("--title", metavar="TEXT", help="A new title.")
@common.item_fields
@click.option("--label", "-l", "add", multiple=True, metavar="LABEL", help="Add a label.")
@click.option("--unlabel", "remove", multiple=True, metavar="LABEL", help="Remove a label.")
@click.option("--unset", multiple=True, metavar="FIELD", help="Empty a field.")
def update(
    call: kit.Call,
    ids: Sequence[str],
    add: Sequence[str],
    remove: Sequence[str],
    unset: Sequence[str],
    **options: Any,
) -> int:
    """Change fields of the items ID... .

    Only what differs is recorded. When two clones change one field without knowing of
    each other, the newest wins and the other stays visible in `wk show`.

    \b
    Exits: 2 nothing to change was given; 3 no such item; 5 somebody else's newer claim
           stands against yours; 6 a value does not fit.
    Example: wk update wk-7k2m -p 0 --label urgent --why "customers wait"
    """
    if options["title"] is not None:
        options["title"] = kit.text_of(options["title"]).rstrip("\n")
    changes = common.given_fields(call.now_ms, options)
    names = [_field(name) for name in common.multiple(unset)]
    if not (changes or names or add or remove):
        raise Refusal("usage", "there is nothing to change", "wk update --help lists the fields")
    labels = common.multiple(add), common.multiple(remove)
    fault_in = {**changes, "labels": labels[0]} if labels[0] else changes
    fault = request.fault_in(fault_in)
    if fault:
        common.refuse_fault("work.updated", {"work_id": "wk-any"}, {"set": changes})
        raise Refusal("bad_data", fault)
    written = call.record(lambda desk: _updates(call, desk, ids, changes, names, labels))
    call.acknowledge(written, _say, ident="work_id")
    if not written:
        call.note("it says that already")
    return 0


def _field(name: str) -> str:
    known = {*fields.FITS, "due", "defer_until"} - {"title", "type", "priority"}
    plain = name.replace("-", "_")
    if plain not in known:
        hint = f"one of {', '.join(sorted(known))}"
        raise Refusal("usage", f"{name!r} is no field that can be emptied", hint)
    return f"{plain}_ms" if plain in ("due", "defer_until") else plain


def _updates(
    call: kit.Call,
    desk: Desk,
    ids: Sequence[str],
    changes: dict[str, Any],
    unset: Sequence[str],
    labels: tuple[list[str], list[str]],
) -> Iterator[Draft]:
    for text in ids:
        state = desk.state(f"work/{naming.work_id(desk.index, text)}")
        key = call.key_of(state["work_id"], len(ids))
        fact = request.update(state, changes, unset, *labels)
        earlier = call.earlier(desk, "work.updated", key)
        if earlier is not None:
            fact = _as_before(earlier["body"], fact, changes, unset, labels)
        if fact is not None:
            kind, _, body = fact
            refs = request.held_refs(state, desk.author.agent_id, desk.author.session_id)
            yield call.draft(kind, refs, body, key=key)


def _as_before(
    said: kit.Row,
    fact: request.Fact | None,
    changes: dict[str, Any],
    unset: Sequence[str],
    labels: tuple[list[str], list[str]],
) -> request.Fact | None:
    """The fact that a retry repeats, whatever the item says by now; else the new one.

    An update records only what differs, so the same request later would record less.
    """
    add, remove = ({"labels": names} for names in labels)
    asked = set(_parts({"set": changes, "unset": unset, "add": add, "remove": remove}))
    then, now = set(_parts(said)), set(_parts(fact[2] if fact else {}))
    if not now <= then <= asked:
        return fact
    return "work.updated", {}, {name: part for name, part in said.items() if name != "why"}


def _parts(body: kit.Row) -> Iterator[tuple[str, str, str]]:
    """Each single change that an update's body names."""
    yield from (("set", name, repr(value)) for name, value in body.get("set", {}).items())
    yield from (("unset", name, "") for name in body.get("unset", ()))
    for word in ("add", "remove"):
        yield from ((word, label, "") for label in body.get(word, {}).get("labels", ()))


def _say(raw: kit.Row) -> str:
    body = raw["body"]
    changed = [*body.get("set", {}), *body.get("unset", [])]
    changed += [f"+{label}" for label in body.get("add", {}).get("labels", [])]
    changed += [f"-{label}" for label in body.get("remove", {}).get("labels", [])]
    return f"{raw['refs']['work_id']} updated: {', '.join(changed)}"


@kit.command("comment", writes=True)
@naming.one_id
@click.argument("text", metavar="TEXT")
def comment(call: kit.Call, work_id: str, text: str) -> None:
    """Say TEXT about the item ID; - reads it from stdin, @FILE from a file.

    The comment of who holds the item renews the claim.

    \b
    Exits: 3 no such item; 6 the text is empty.
    Example: wk comment wk-7k2m "the test fails on an empty file"
    """
    said = kit.text_of(text).rstrip("\n")
    if not said.strip():
        raise Refusal("bad_data", "the comment is empty", pointer="/body/text")

    written = call.record(lambda desk: [_comment(call, desk, work_id, said)])
    call.acknowledge(written, lambda raw: f"{raw['refs']['work_id']} commented")


def _comment(call: kit.Call, desk: Desk, text: str, said: str) -> Draft:
    state = desk.state(f"work/{naming.work_id(desk.index, text)}")
    refs = request.held_refs(state, desk.author.agent_id, desk.author.session_id)
    return call.draft("work.commented", refs, {"text": said})
