"""What lies in a store's journals, read without the package: the judge of the other tests."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Line(NamedTuple):
    """One line of a journal: where it stands, and its event or None."""

    path: Path
    offset: int
    data: bytes
    event: Any


def files(store: Path) -> list[Path]:
    """Every segment, in order."""
    return sorted(store.glob("*/*.jsonl"))


def contents(store: Path) -> dict[str, bytes]:
    """Every segment's bytes, by its path inside the store."""
    return {str(path.relative_to(store)): path.read_bytes() for path in files(store)}


def lines(store: Path) -> Iterator[Line]:
    """Every line that ends in a newline, parsed where it can be."""
    for path in files(store):
        offset = 0
        for data in path.read_bytes().split(b"\n")[:-1]:
            if data:
                yield Line(path, offset, data, _parsed(data))
            offset += len(data) + 1


def _parsed(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None


def events(store: Path, kind: str = "") -> list[dict[str, Any]]:
    """The events in order of their ids; of one type when it is given."""
    found = [line.event for line in lines(store) if line.event is not None]
    return sorted(
        (event for event in found if kind in ("", event["type"])), key=lambda e: str(e["event_id"])
    )


def ids(store: Path) -> set[str]:
    """The id of every event."""
    return {event["event_id"] for event in events(store)}


def time_ms(event: dict[str, Any]) -> int:
    """The instant in an event's id."""
    number = 0
    for digit in event["event_id"][:10]:
        number = number * 32 + "0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(digit)
    return number
