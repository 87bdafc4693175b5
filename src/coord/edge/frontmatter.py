"""Files of tbd: Markdown with YAML front matter, and a map of short ids.

YAML is read as its version 1.2 means it, for so it was written there: `no` is a text,
`0622` in quotes is one, times stay texts. What JSON cannot say is a fault of the file:
two values for a key, an alias, a broken character.
"""

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from coord.errors import Refusal

_HEAD = re.compile(r"\A---\r?\n(.*?)^---[ \t]*\r?$\n?", re.DOTALL | re.MULTILINE)
# Where tbd keeps its files, as seen from the folder that people name.
_PLACES = ("", "data-sync", ".tbd/data-sync", ".tbd/data-sync-worktree/.tbd/data-sync")
_MAPS = ("ids.yml", "mappings/ids.yml")
_WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
# A number with more digits than a program keeps stays a text.
_FLOAT = re.compile(r"[-+]?([0-9]{0,9}\.[0-9]{1,9}|[0-9]{1,9}\.?)([eE][-+]?[0-9]{1,2})?")
_MAYBE_DEEP = 300
_DEEPEST = 50
BODY = "body"


class Broken(Exception):
    """Why a text is no record."""


def issues(folder: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Each issue's file and its record, by name; instead of a record, why there is none.

    A record is the front matter with the Markdown below it as `body`.
    Refusals: no_file, when the folder has no issues.
    """
    place = _place(folder)
    for name in sorted(os.listdir(place)):
        if name.endswith(".md"):
            try:
                yield name, record(_read(os.path.join(place, name)))
            except Broken as broken:
                yield name, str(broken)


def short_ids(folder: str) -> dict[str, str]:
    """Short ids with what they stand for; {} where there is no map.

    Refusals: bad_data, when the map cannot be read.
    """
    for place in _PLACES:
        for name in _MAPS:
            path = os.path.join(folder, place, name)
            if os.path.isfile(path):
                return _map_of(path)
    return {}


def _map_of(path: str) -> dict[str, str]:
    try:
        node = _composed(_read(path))
        # Keys and values as they are written: an id of digits is no number.
        return {key.value: value.value for key, value in _pairs(node)} if node else {}
    except (Broken, AttributeError) as error:
        raise Refusal("bad_data", f"{path}: {error}", "one 'short: long' per line") from error


def _place(folder: str) -> str:
    for place in _PLACES:
        inner = os.path.join(folder, place, "issues")
        if os.path.isdir(inner):
            return inner
    if os.path.isdir(folder) and any(name.endswith(".md") for name in os.listdir(folder)):
        return folder
    hint = "name the folder that has issues/*.md"
    raise Refusal("no_file", f"there are no tbd issues in {folder}", hint)


def _read(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read().decode()
    except OSError as error:
        raise Broken(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Broken(f"is not UTF-8 text at byte {error.start}") from error


def record(text: str) -> dict[str, Any]:
    """The record of one file's text; raises `Broken`."""
    head = _HEAD.match(text)
    if head is None:
        raise Broken("does not begin with front matter between lines of ---")
    node = _composed(head[1])
    if node is None or node.id != "mapping":
        raise Broken("has front matter that is not a map")
    found: dict[str, Any] = _value(node, set())
    if BODY in found:
        found[f"{BODY}_"] = found.pop(BODY)
    below = text[head.end() :]
    return {**found, BODY: below} if below else found


def _composed(text: str) -> Any:
    import yaml

    try:
        return yaml.compose(text, Loader=_loader(text))
    except yaml.MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise Broken(f"is not YAML: {error.problem or error.context}{line}") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise Broken(f"is not YAML: {str(error).splitlines()[0]}") from error


def _loader(text: str) -> Any:
    """The fast parser for what cannot be nested deeply: its stack has no limit but a crash."""
    import yaml

    depth = sum(map(text.count, ("[", "{", "- ", "? ")))
    fast = depth < _MAYBE_DEEP and len(text) < _MAYBE_DEEP**2
    return getattr(yaml, "CBaseLoader", yaml.BaseLoader) if fast else yaml.BaseLoader


def _pairs(node: Any) -> Iterator[tuple[Any, Any]]:
    seen = set()
    for key, value in node.value:
        if key.id != "scalar":
            raise Broken(f"has a key that is no word in line {key.start_mark.line + 1}")
        if key.value in seen:
            raise Broken(f"has {key.value!r} twice")
        seen.add(key.value)
        yield key, value


def _value(node: Any, met: set[int], depth: int = 0) -> Any:
    """A node as JSON would have it; met: every node so far, to notice an alias."""
    if id(node) in met:
        raise Broken(f"has an alias to line {node.start_mark.line + 1}")
    if depth > _DEEPEST:
        raise Broken("is nested too deeply")
    met.add(id(node))
    if node.id == "mapping":
        return {_text(k.value): _value(value, met, depth + 1) for k, value in _pairs(node)}
    if node.id == "sequence":
        return [_value(one, met, depth + 1) for one in node.value]
    return _text(node.value) if node.style else _plain(node.value)


def _plain(text: str) -> Any:
    """What a word without quotes means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else _text(text)


def _text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Broken("has half a character, which is no text") from error
    return text
