"""`ev check`: what is wrong with the journals."""

from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.core import event as events
from coord.core import fold
from coord.core.problem import Problem
from coord.edge import blobs, journal
from coord.edge.index import Index, reading
from coord.errors import NO


@kit.command("check")
@click.option("--full", is_flag=True,
              help="Also fold everything anew, check every schema and every blob.")  # fmt: skip
def check(call: kit.Call, full: bool) -> int:
    """Read every journal from its first byte and print what is wrong, a line each.

    `kind` is `journal` for damage to the files (writer, seq, path, offset, code), `fork`
    for a journal that went on in two ways, whose other side `path` keeps and whose events
    all count, and `fold` for events without effect, such as a claim that lost. It never
    changes anything: repair is appending.

    \b
    Exits: 1 there is damage (forks and events without effect alone are exit 0).
    Example: ev check --full
    """
    rows = [*_damage(call.place.store), *_forks(call.place.store)]
    with call.reading() as known:
        rows += [_fold_row(problem) for problem in known.problems()]
        rows += _quarantined(known)
        if full:
            rows += _full(call, known)
    call.emit(rows, _table, ident="code")
    damaged, forked = (sum(row["kind"] == kind for row in rows) for kind in ("journal", "fork"))
    rest = len(rows) - damaged - forked
    call.note(f"{damaged} damaged places, {forked} forks, {rest} events without full effect")
    return NO if damaged else 0


def _damage(folder: str) -> Iterator[dict[str, Any]]:
    for group in reading.journals(journal.segments(folder)):
        yield from reading.damage_of(group)
    for stranger in journal.strangers(folder):
        yield {
            "kind": "journal",
            "code": "unreadable",
            "tool": stranger.tool,
            "writer": stranger.writer,
            "path": stranger.path,
            "offset": 0,
            "message": "this is no ordinary file, and is not read",
        }


def _forks(folder: str) -> Iterator[dict[str, Any]]:
    """The journals that went on in two ways; the other side is named `tool.writer.hash`."""
    for group in reading.journals(journal.segments(folder)):
        tool, _, name = group[0].writer.partition(".")
        if group[0].tool == events.ATTIC:
            writer = name.rpartition(".")[0]
            text = f"{tool}/{writer} went on in two ways; the other one is kept here and counts"
            row = {"kind": "fork", "code": "forked", "tool": tool, "writer": writer}
            yield {**row, "path": group[0].path, "message": text}


def _fold_row(problem: Problem) -> dict[str, Any]:
    row: dict[str, Any] = {
        "kind": "fold",
        "code": problem.code,
        "event_id": problem.event_id,
        "message": problem.message,
    }
    return {**row, "stands": True} if problem.stands else row


def _quarantined(known: Index) -> Iterator[dict[str, Any]]:
    for event_id in known.ids_from(known.meta("horizon")):
        text = "lies more than 5 minutes ahead; it counts when its time has come"
        yield {"kind": "fold", "code": "early", "event_id": event_id, "message": text}


def _full(call: kit.Call, known: Index) -> Iterator[dict[str, Any]]:
    everything = list(_trusted(call.place.store))
    for event in everything:
        yield from _schema_faults(event.raw)
        yield from _blob_faults(call.place.store, event.raw)
    folded = fold.fold(everything, call.now_ms)
    for entity, state in folded.states.items():
        if known.state(entity) != state:
            text = f"{entity} folds to something else than the index says; the index is wrong"
            yield {"kind": "journal", "code": "index", "message": text}


def _trusted(folder: str) -> Iterator[events.Event]:
    for group in reading.journals(journal.segments(folder)):
        for found in reading.settled_journal(group):
            for line in found.lines:
                assert line.raw is not None
                yield events.from_raw(line.raw)


def _schema_faults(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from coord.core import envelope
    from coord.edge import schemas
    from coord.errors import Refusal

    if not envelope.fault(raw):
        return
    try:
        schemas.check(raw)
    except Refusal as refusal:
        yield {
            "kind": "fold",
            "code": "bad_data",
            "event_id": raw["event_id"],
            "message": refusal.message,
            "stands": True,
        }


def _blob_faults(folder: str, raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for blob in blobs.named_in(raw.get("body", {})):
        if blobs.load(folder, blob) is None:
            yield {
                "kind": "journal",
                "code": "blob",
                "event_id": raw["event_id"],
                "path": blobs.path(folder, blob["sha256"]),
                "message": "the text is not there, or is not what its name says",
            }


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)
