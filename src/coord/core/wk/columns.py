"""Reading one foreign object by a table of columns: what fits becomes ours, all else is kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from coord.core.wk.wanted import MARK

MISSING: Any = object()


def as_is(value: Any) -> Any:
    """Write a value as it is."""
    return value


@dataclass(frozen=True, slots=True)
class Column:
    """One field of a foreign object: which of ours it is, how it is read and written.

    read: our value, None where the object's does not fit.
    write: None where what was read says all that the original said.
    default: what the item has where nothing fits.
    always: an item always has it; an object without it is remembered as such.
    fixed: a fact that no event changes, so that the original is always right.
    """

    ours: str
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] | None = as_is
    default: Any = None
    always: bool = False
    fixed: bool = False


class Reading:
    """One object on its way: what became ours, what is kept as it was, what went where."""

    def __init__(self, record: Mapping[str, Any]) -> None:
        self.record = record
        self.ours: dict[str, Any] = {}
        self.kept: dict[str, Any] = {}
        self.absent: list[str] = []
        self.placed: list[tuple[str, str]] = []

    def columns(self, columns: Mapping[str, Column], apart: Sequence[str] = ()) -> None:
        """Read the fields of a table and keep all others but those that are read apart."""
        for name, column in columns.items():
            if name in self.record:
                self._column(name, column, self.record[name])
            elif column.always:
                self.absent.append(name)
        for name, value in self.record.items():
            if name not in columns and name not in apart:
                self.keep(name, value)

    def _column(self, name: str, column: Column, value: Any) -> None:
        """Read one field, keeping the original where writing would not give it back."""
        ours = None if column.ours in self.ours else column.read(value)
        if ours is None:
            self.keep(name, value)
            return
        self.place(name, column.ours, ours)
        if column.write is not None and column.write(ours) != value:
            self.kept[name] = value

    def place(self, name: str, ours: str, value: Any) -> None:
        """Take a field as one of ours."""
        self.ours[ours] = value
        self.placed.append((name, ours))

    def keep(self, name: str, value: Any) -> None:
        """Keep a field that has no place here."""
        self.kept[name] = value
        self.placed.append((name, "extra"))

    def word(self, name: str, fits: bool, place: str, written: Any) -> None:
        """Account for a field that was read apart and would be written so."""
        told = self.record.get(name, MISSING)
        if told is MISSING:
            self.absent.append(name)
            return
        self.placed.append((name, place if fits else "extra"))
        if type(told) is not type(written) or told != written:
            self.kept[name] = told

    def extra(self) -> dict[str, Any]:
        """What goes into `extra`, with the mark of what the object lacked."""
        mark: dict[str, Any] = {"absent": self.absent} if self.absent else {}
        if MARK in self.kept:
            mark["value"] = self.kept[MARK]
        rest = {name: value for name, value in self.kept.items() if name != MARK}
        return {**rest, MARK: mark} if mark else rest

    def with_extra(self) -> dict[str, Any]:
        """What became ours, and `extra` where there is any."""
        extra = self.extra()
        return {**self.ours, "extra": extra} if extra else self.ours
