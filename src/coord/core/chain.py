"""Which lines of one journal to trust, from `seq` and `prev` alone.

Each line carries the hash of the line before it, so a line is vouched for by its
successor. From the newest line back:

    successor's prev equals the line's hash     trusted
    it differs, and the successor is trusted    `edited`: left out
    no successor, or it is itself edited        trusted: nothing speaks against it
    same seq, same bytes                        `repeated_line`: used once
    same seq, other bytes                       `seq_repeated`: the vouched one is
                                                used, else the first
    a seq that is nowhere                       `missing`
    a line before one with a smaller seq        `out_of_order`: used all the same

Where a line stands in its file decides nothing but `out_of_order`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """What the chain needs to know of one line.

    place: its position among all lines of the journal, in reading order.
    digest: first 32 hex digits of the SHA-256 of its bytes without newline.
    prev: the digest it claims for its predecessor; "" on the first line.
    """

    place: int
    seq: int
    prev: str
    digest: str


@dataclass(frozen=True, slots=True)
class Damage:
    """Something wrong with a journal: a stable code, the seq, and where to look."""

    code: str
    seq: int
    place: int
    message: str


def judge(links: Sequence[Link]) -> tuple[set[int], list[Damage]]:
    """Sort the lines of one journal, in reading order, into trusted and damaged.

    Returns the places of the lines to use, and what is wrong, by place.
    """
    by_seq: dict[int, list[Link]] = {}
    for link in links:
        by_seq.setdefault(link.seq, []).append(link)
    trusted: dict[int, Link] = {}
    damages = _out_of_order(links)
    for seq in sorted(by_seq, reverse=True):
        damages.extend(_judge_seq(by_seq[seq], trusted.get(seq + 1), trusted))
    damages.extend(_missing(by_seq))
    return {link.place for link in trusted.values()}, sorted(damages, key=_by_place)


def _by_place(damage: Damage) -> tuple[int, str]:
    return damage.place, damage.code


def _judge_seq(
    claims: Sequence[Link], successor: Link | None, trusted: dict[int, Link]
) -> list[Damage]:
    """Choose the line to use among those of one seq; put it into `trusted`."""
    vouched = [x for x in claims if successor is None or successor.prev == x.digest]
    chosen = vouched[0] if vouched else None
    if chosen is not None:
        trusted[chosen.seq] = chosen
    return [_fault_of(link, chosen) for link in claims if link is not chosen]


def _fault_of(link: Link, chosen: Link | None) -> Damage:
    if chosen is None:
        text = f"line {link.seq} was edited: the next line vouches for other bytes"
        return Damage("edited", link.seq, link.place, text)
    if link.digest == chosen.digest:
        text = f"line {link.seq} stands here again"
        return Damage("repeated_line", link.seq, link.place, text)
    text = f"another line has the number {link.seq} too; this one is left out"
    return Damage("seq_repeated", link.seq, link.place, text)


def _missing(by_seq: Mapping[int, Sequence[Link]]) -> list[Damage]:
    damages = []
    expected = 1
    for seq in sorted(by_seq):
        if seq > expected:
            which = (
                f"line {expected} is"
                if seq == expected + 1
                else f"lines {expected} to {seq - 1} are"
            )
            place = by_seq[seq][0].place
            damages.append(Damage("missing", expected, place, f"{which} missing before line {seq}"))
        expected = seq + 1
    return damages


def _out_of_order(links: Sequence[Link]) -> list[Damage]:
    damages = []
    highest = 0
    for link in links:
        if link.seq < highest:
            text = f"line {link.seq} stands after line {highest}"
            damages.append(Damage("out_of_order", link.seq, link.place, text))
        highest = max(highest, link.seq)
    return damages
