"""Reading a whole file, and the account of where each of its fields went.

Every field of every line is in the account once: kept as one of ours, kept in `extra`,
or dropped. Nothing is believed: each line is planned, folded and written again, as an
export would. What is written is the same line, or, read once more, wants the same; else
the fields that differ are dropped, whatever the reader said of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from coord.core.wk.wanted import Fault, Wanted, digest, wants_the_same

Record = Mapping[str, Any]
Reader = Callable[[Record], Wanted | Fault]
# Planned, folded and written: what an export would make of a line that is new here.
Again = Callable[[Wanted], Record]


@dataclass(slots=True)
class Account:
    """Where the fields of a file went, and what of the file could not be read.

    nested: the fields whose entries' fields are counted instead.
    places: how often each (field, place) was taken; place is our field's name, `extra`
    or `dropped`. present: how often each field was there, counted apart.
    repeated: ids that several lines have, with the lines; the last one is newest.
    unit: what a record's place in the file is called, where it is no line.
    """

    source: str
    nested: Sequence[str] = ()
    unit: str = "line"
    places: Counter[tuple[str, str]] = field(default_factory=Counter)
    present: Counter[str] = field(default_factory=Counter)
    items: int = 0
    dependencies: int = 0
    comments: int = 0
    deletions: int = 0
    bad: list[dict[str, Any]] = field(default_factory=list)
    repeated: list[dict[str, Any]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    def take(self, record: Record, wanted: Wanted, lost: Iterable[str] = ()) -> None:
        """Enter one line. lost: its fields that an export would not give back."""
        for name, value in record.items():
            if name in self.nested and isinstance(value, list) and value:
                for entry in value:
                    self.present.update(_fields_of(name, entry))
            else:
                self.present[name] += 1
        for name, place in wanted.placed:
            self.places[name, "dropped" if name.partition(".")[0] in lost else place] += 1

    def fault(self, line: int | str, fault: Fault) -> None:
        """Enter a line that is not imported."""
        self.bad.append({self.unit: line, "field": fault.field, "reason": fault.reason})

    @property
    def balances(self) -> bool:
        """Whether every field that was there is kept."""
        counted: Counter[str] = Counter()
        for (name, place), count in self.places.items():
            counted[name] += 0 if place == "dropped" else count
        return counted == self.present

    def as_json(self) -> dict[str, Any]:
        """The account as it is printed."""
        fields: dict[str, dict[str, Any]] = {}
        for name in sorted(self.present | Counter(name for name, _ in self.places)):
            kept = {p: n for (f, p), n in sorted(self.places.items()) if f == name}
            extra, dropped = kept.pop("extra", 0), kept.pop("dropped", 0)
            row = {"present": self.present[name], "kept": kept, "extra": extra}
            fields[name] = {**row, "dropped": dropped}
        return {
            "from": self.source,
            "items": self.items,
            "dependencies": self.dependencies,
            "comments": self.comments,
            "deletions": self.deletions,
            "bad": self.bad,
            "repeated": self.repeated,
            "held": self.held,
            "fields": fields,
            "balances": self.balances,
        }


def _fields_of(name: str, entry: object) -> list[str]:
    return [f"{name}.{part}" for part in entry] if isinstance(entry, Mapping) else [name]


def _lost(record: Record, wanted: Wanted, again: Record, read: Reader) -> set[str]:
    """The fields of a line that an export of it has not, or has otherwise."""
    if digest(again) == wanted.sha256 or wants_the_same(wanted, read(again)):
        return set()
    there, here = ({n: digest(value) for n, value in one.items()} for one in (record, again))
    return {name for name in there if there[name] != here.get(name)}


def collect(
    lines: Iterable[tuple[int | str, object]],
    read: Reader,
    account: Account,
    again: Again | None = None,
) -> list[list[Wanted]]:
    """Read a file: the versions of each item in the order of the lines.

    lines: line number and parsed JSON, or a `Fault` for a line that does not parse.
    again: answers what an export would make of a line, so that losses are found.
    """
    versions: dict[str, list[Wanted]] = {}
    numbers: dict[str, list[int | str]] = {}
    for number, record in lines:
        wanted = _read_line(record, read)
        if isinstance(wanted, Fault):
            account.fault(number, wanted)
            continue
        assert isinstance(record, Mapping)
        lost = _lost(record, wanted, again(wanted), read) if again is not None else set()
        account.take(record, wanted, lost)
        versions.setdefault(wanted.work_id, []).append(wanted)
        numbers.setdefault(wanted.work_id, []).append(number)
    for work_id, found in numbers.items():
        if len(found) > 1:
            account.repeated.append({"work_id": work_id, f"{account.unit}s": found})
    _count(account, versions.values())
    return list(versions.values())


def _read_line(record: object, read: Reader) -> Wanted | Fault:
    if isinstance(record, Fault):
        return record
    return read(record) if isinstance(record, Mapping) else Fault("", "is not a JSON object")


def _count(account: Account, items: Iterable[Sequence[Wanted]]) -> None:
    for versions in items:
        newest = versions[-1]
        account.items += 1
        account.dependencies += len(newest.links)
        account.comments += len(newest.comments)
        account.deletions += newest.deleted is not None
