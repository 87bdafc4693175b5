"""Gathering the refs of writers long silent into one: the same lines, in the same chains.

    refs/coord/archive    commits whose trees hold `<writer>/<tool>.jsonl` and blobs

What the refs hold is read from git, written into commits that go on from the archive, and
read back; only when every line is there again do the archive's new tip and the deletions
of the refs go out, all in one atomic compare-and-swap: a writer that has just woken up
makes all of it fail. It goes on with a new ref, from the line after its last archived one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from coord.core import event as events
from coord.core import sync
from coord.edge import blobs, index
from coord.edge.sync import MARKED, Syncer, copies, incoming, outgoing
from coord.edge.sync.incoming import ARCHIVE, Part
from coord.edge.sync.target import refused, unreachable
from coord.errors import Refusal

_CHUNK_BYTES = 4 << 20
Digests = dict[tuple[str, str], list[tuple[int, str]]]


class Gathered(NamedTuple):
    """What went into the archive: its tip, {writer, events} each, and what was left out."""

    tip: str
    writers: list[dict[str, Any]]
    problems: list[dict[str, Any]]


def gather(syncer: Syncer, silent_ms: int, now_ms: int, dry_run: bool) -> Gathered:
    """Archive the writers without an event for so long; the syncer's lock is held."""
    syncer.round(push=False)
    names = _silent(syncer, now_ms - silent_ms, now_ms)
    before = syncer.listed.get(ARCHIVE, "")
    if not names:
        return Gathered(before, [], [])
    parts, problems = _sound(syncer, names)
    counts = _counts(_digests(parts))
    rows = [{"writer": writer, "events": counts[writer]} for writer in sorted(counts)]
    if dry_run or not rows:
        return Gathered(before, rows, problems)
    tip = _committed(syncer, before, parts)
    _refuse_other_lines(syncer, before, parts)
    _swap(syncer, before, tip, sorted(counts))
    return Gathered(tip, rows, problems)


def _silent(syncer: Syncer, before_ms: int, now_ms: int) -> list[str]:
    """The refs of writers whose newest event is older, and who have nothing to send."""
    limit = events.first_id_at(before_ms)
    with index.opened(syncer.place.store, now_ms) as known:
        newest = known.newest_by_writer()
        tips = known.all_tips()
    reached = syncer.kept["reached"]
    unsent = {
        name.partition("/")[2]
        for name, tip in tips.items()
        if reached.get(f"w/{name.partition('/')[2]}", {}).get(name, tip) != tip
    }
    return [
        name
        for name in sorted(syncer.journals)
        if (writer := incoming.writer_of(name))
        and newest.get(writer, events.CROCKFORD[-1]) < limit
        and writer not in unsent
    ]


def _sound(syncer: Syncer, names: Sequence[str]) -> tuple[list[Part], list[dict[str, Any]]]:
    """What refs hold, but for those whose lines do not form one whole chain per journal."""
    reader = incoming.Incoming(syncer.place, syncer.repository, syncer.target.tracking)
    parts = list(reader.parts(names, []))
    broken = {part.name for part in parts if part.tool and copies.lines_of(part.data)[1]}
    chains: dict[tuple[str, str, str], list[sync.Line]] = {}
    for part in parts:
        if part.tool:
            lines = copies.lines_of(part.data)[0]
            chains.setdefault((part.name, part.writer, part.tool), []).extend(lines)
    whole = syncer.kept["reached"].get(ARCHIVE, {})
    for (name, writer, tool), lines in chains.items():
        seq, digest = whole.get(f"{tool}/{writer}", (0, ""))
        if not sync.follows(lines, seq, digest):
            broken.add(name)
    problems = [
        {"code": "damaged", "message": f"{name} is left as it is: its chain is broken", "ref": name}
        for name in sorted(broken)
    ]
    return [part for part in parts if part.name not in broken], problems


def _digests(parts: Sequence[Part]) -> Digests:
    found: Digests = {}
    for part in parts:
        if part.tool:
            lines = copies.lines_of(part.data)[0]
            known = found.setdefault((part.writer, part.tool), [])
            known.extend((line.seq, line.digest) for line in lines)
    return found


def _counts(digests: Digests) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (writer, _), lines in digests.items():
        counts[writer] = counts.get(writer, 0) + len(lines)
    return counts


def _committed(syncer: Syncer, base: str, parts: Sequence[Part]) -> str:
    """Commits of these parts on the archive's; answer the newest."""
    ref = syncer.target.tracking + ARCHIVE
    commands: list[bytes] = []
    for files, newest in _trees(parts):
        commands += outgoing.commit(ref, base, events.time_of(newest), files)
        base = ":1"
    [tip] = syncer.made([*commands, MARKED])
    return tip


def _trees(parts: Sequence[Part]) -> Iterator[tuple[Mapping[str, bytes], str]]:
    """The files of each commit, and the newest event in it; a journal's lines stay in order."""
    files: dict[str, bytes] = {}
    newest, size = events.first_id_at(0), 0
    for part in parts:
        path = f"{part.writer}/{part.tool}.jsonl" if part.tool else blobs.name_in_tree(part.blob)
        if size and size + len(part.data) > _CHUNK_BYTES:
            yield files, newest
            files, size = {}, 0
        files[path] = files.get(path, b"") + part.data if part.tool else part.data
        size += len(part.data)
        ids = [line.raw["event_id"] for line in copies.lines_of(part.data)[0]] if part.tool else []
        newest = max([newest, *ids])
    if files:
        yield files, newest


def _refuse_other_lines(syncer: Syncer, base: str, parts: Sequence[Part]) -> None:
    """Read the archive back: every line must be there again, in its order."""
    reader = incoming.Incoming(syncer.place, syncer.repository, syncer.target.tracking)
    again = list(reader.parts([ARCHIVE], [base] if base else []))
    same_blobs = {p.blob for p in parts if p.blob} <= {p.blob for p in again if p.blob}
    if _digests(again) != _digests(parts) or not same_blobs:
        text = "the archive would not have the same lines; nothing was changed"
        raise Refusal("git_failed", text, "please report this: ev check --full may tell more")


def _swap(syncer: Syncer, before: str, tip: str, writers: Sequence[str]) -> None:
    prefix, kept = syncer.target.prefix, syncer.kept
    moves = [(prefix + ARCHIVE, before, tip)]
    moves += [(f"{prefix}w/{w}", syncer.listed[f"w/{w}"], "") for w in writers]
    answer, failed = syncer.repository.push(syncer.target.remote, moves, atomic=True)
    if failed:
        reason = next(iter(failed.values()))
        if "hook" in reason or "den" in reason:
            raise refused(syncer.target, reason)
        raise Refusal("busy", "somebody has written meanwhile; nothing was archived", "try again")
    if answer.status:
        raise unreachable(syncer.target, answer)
    held = kept["reached"].setdefault(ARCHIVE, {})
    for writer in writers:
        held.update(kept["reached"].pop(f"w/{writer}", {}))
        kept["refs"].pop(f"w/{writer}", None)
    kept["refs"][ARCHIVE] = tip
    syncer.forget([f"w/{writer}" for writer in writers])
