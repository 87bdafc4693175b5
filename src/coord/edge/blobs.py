"""Long texts outside the line limit: `blobs/ab/abcdef…`, named by SHA-256.

In the event stands `{"sha256", "body_bytes"}` where the text was; folds see only
that. The longest texts of a body move out first, until the line fits.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from coord.core import digest
from coord.core.event import MAX_LINE_BYTES
from coord.edge import journal
from coord.edge.store import refusing_disk_errors

_NAME = re.compile("[0-9a-f]{64}")
# Room for what the journal adds: writer, seq, prev, v.
_SPARE_BYTES = 512
_WORTH_BYTES = 256
# What folds compare or list: it must be there as it is.
_STAY = frozenset({
    "title", "key", "why", "by", "acceptance", "assignee", "external_ref", "labels", "capabilities",
    "subject",
})  # fmt: skip


def fitted(raw: Mapping[str, Any], found: dict[str, bytes]) -> Mapping[str, Any]:
    """The event, with long texts of its body replaced until its line fits.

    found: takes the texts that were replaced, by their SHA-256.
    Titles and names stay: what cannot shrink is refused by the journal.
    """
    excess = len(journal.as_json(raw)) + _SPARE_BYTES - MAX_LINE_BYTES
    if excess <= 0:
        return raw
    body = journal.from_json(journal.as_json(raw["body"]))
    texts = sorted(_texts(body), key=lambda entry: len(entry[2]), reverse=True)
    for holder, key, text in texts:
        data = text.encode()
        if excess <= 0 or len(data) < _WORTH_BYTES:
            break
        holder[key] = noted(data, found)
        excess -= len(journal.as_json(text)) - 100
    return {**raw, "body": body}


def _texts(node: Any) -> Iterator[tuple[Any, Any, str]]:
    """Every text in a body that may move out, with where it stands."""
    entries = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in list(entries):
        if key in _STAY:
            continue
        if isinstance(value, str):
            yield node, key, value
        elif isinstance(value, dict | list):
            yield from _texts(value)


def store(folder: str, found: Mapping[str, bytes]) -> None:
    """Write blobs and wait until the disk has them; one that is there whole is left alone."""
    for name, data in found.items():
        target = path(folder, name)
        if read(folder, name) == data:
            continue
        with refusing_disk_errors(target):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            temporary = f"{target}.{os.getpid()}"
            with open(temporary, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, target)
            journal.sync_folder(os.path.dirname(target))
            journal.sync_folder(os.path.join(folder, "blobs"))


def noted(data: bytes, found: dict[str, bytes]) -> dict[str, Any]:
    """Remember bytes to be stored; answer what stands for them."""
    name = digest.sha256(data).hexdigest()
    found[name] = data
    return {"sha256": name, "body_bytes": len(data)}


def named_in(node: Any) -> Iterator[Mapping[str, Any]]:
    """Every blob that a body stands for a text with."""
    if isinstance(node, Mapping):
        if isinstance(node.get("sha256"), str) and isinstance(node.get("body_bytes"), int):
            yield node
        else:
            for value in node.values():
                yield from named_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from named_in(value)


def name_in_tree(name: str) -> str:
    """Where a blob stands in the tree of a commit."""
    return f"blobs/{name[:2]}/{name}"


def path(folder: str, name: str) -> str:
    """Where a blob is kept."""
    return os.path.join(folder, "blobs", name[:2], name)


def load(folder: str, blob: Mapping[str, Any]) -> str | None:
    """A blob's text; None when it is not here or not what its name says."""
    data = load_bytes(folder, blob)
    return None if data is None else data.decode(errors="replace")


def load_bytes(folder: str, blob: Mapping[str, Any]) -> bytes | None:
    """What a blob holds; None when it is not here or not what its name says."""
    data = read(folder, blob["sha256"])
    if data is None or digest.sha256(data).hexdigest() != blob["sha256"]:
        return None
    return data


def read(folder: str, name: object) -> bytes | None:
    """What stands under a name; a foreign event may name anything, which is not opened."""
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        return None
    try:
        with open(path(folder, name), "rb") as stream:
            return stream.read()
    except OSError:
        return None
