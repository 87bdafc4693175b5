"""This clone's settings: reading and writing `.coord/config.yaml`.

    missing        every setting has its default
    as last read   the values come from the caller's cache, by the bytes' hash
    else           parsed and checked; whatever does not fit is refused by name and line

Loading the YAML parser takes as long as a command may: it is imported here, inside
functions, and only for a file that the cache does not know. A value may be written
as people write spans (`skew_ms: 30s`).
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from coord import __version__
from coord.core import settings
from coord.core.settings import LOCAL
from coord.errors import Refusal

FILE = "config.yaml"
CacheGet = Callable[[str], str | None]
CachePut = Callable[[str, str], None]
Values = Mapping[str, int | str]


def load(path: str, cache_get: CacheGet, cache_put: CachePut) -> Values:
    """Every local setting: what the file says, else its default.

    cache_get: the JSON text that was put under a key, or None.
    Refusals: bad_config, with `line` where there is one.
    """
    defaults = {key: wanted.default for key, wanted in LOCAL.items()}
    data = _read(path)
    return {**defaults, **_known(data, cache_get, cache_put)} if data.strip() else defaults


def _known(data: bytes, cache_get: CacheGet, cache_put: CachePut) -> Values:
    import hashlib
    import json

    # Another version may know other settings: what it accepted proves nothing here.
    key = hashlib.sha256(data + b"\0" + __version__.encode()).hexdigest()
    cached = _cached(cache_get(key))
    if cached is not None:
        return cached
    values = parse(data)
    cache_put(key, json.dumps(values, sort_keys=True))
    return values


def _cached(text: str | None) -> Values | None:
    """What the cache remembers; None when it is not of the form that was put there."""
    import json

    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def parse(data: bytes) -> dict[str, int | str]:
    """The settings that a file's bytes name.

    Refusals: bad_config.
    """
    root = _compose(data)
    if root is None:
        return {}
    values: dict[str, int | str] = {}
    for key, value in _pairs(root):
        name = _scalar(key)
        if name in values:
            raise _bad(f"{name!r} is there twice", "leave one of them", key)
        values[name] = _value(name, key, value)
    return values


def set_value(path: str, key: str, value: int | str) -> None:
    """Give a local setting a value; all else in the file stays as it is, comments too.

    The store's lock is held. The new file replaces the old one in one step.
    Refusals: unknown_setting, bad_data, bad_config (an unusable file is not
    rewritten), read_only, disk.
    """
    if key not in LOCAL:
        hint = settings.suggestion(key, LOCAL) or f"there are {', '.join(sorted(LOCAL))}"
        raise Refusal("unknown_setting", f"no setting {key[:60]!r} in {FILE}", hint)
    if not settings.fits(LOCAL[key], value):
        raise Refusal("bad_data", f"{key} is {value!r}, not {settings.expected_of(key)}")
    data = _read(path)
    wanted = {**parse(data), key: value}
    if wanted != parse(data):
        _replace(os.path.realpath(path), _edited(data, key, value, wanted))


def _edited(data: bytes, key: str, value: int | str, wanted: Values) -> bytes:
    """The file's bytes with one value changed or one line more.

    A file too unusual for that is written anew, without its comments.
    """
    text = data.decode("utf-8")
    changed = _with_value(text, key, value).encode("utf-8")
    try:
        if parse(changed) == wanted:
            return changed
    except Refusal:
        pass
    return "".join(f"{name}: {number}\n" for name, number in sorted(wanted.items())).encode()


def _with_value(text: str, key: str, value: int | str) -> str:
    root = _compose(text.encode("utf-8"))
    for name, old in _pairs(root) if root is not None else ():
        if _scalar(name) == key:
            return f"{text[: old.start_mark.index]}{value}{text[old.end_mark.index :]}"
    gap = "" if not text or text.endswith("\n") else "\n"
    return f"{text}{gap}{key}: {value}\n"


def _compose(data: bytes) -> Any:
    """The file's syntax tree, which knows its lines; None for an empty one."""
    import yaml

    try:
        root = yaml.compose(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise _bad("it is not UTF-8 text", "save it as UTF-8") from error
    except RecursionError as error:
        raise _bad("it is nested too deeply", "write one 'name: value' per line") from error
    except yaml.MarkedYAMLError as error:
        problem = f"it is not YAML: {error.problem or error.context}"
        raise _bad(problem, "write one 'name: value' per line", at=error) from error
    except yaml.YAMLError as error:
        raise _bad("it is not YAML: it has control characters", "remove them") from error
    # `---` alone says nothing either.
    return root if root is None or root.value != "" else None


def _pairs(root: Any) -> list[tuple[Any, Any]]:
    if root.id != "mapping":
        raise _bad("it is not a mapping", "write one 'name: value' per line", root)
    pairs: list[tuple[Any, Any]] = root.value
    return pairs


def _scalar(node: Any) -> str:
    return node.value if node.id == "scalar" else f"a {node.id}"


def _value(name: str, key: Any, node: Any) -> int | str:
    if name not in LOCAL:
        raise _bad(f"unknown setting {name[:60]!r}", _where_else(name), key)
    text = _scalar(node)
    try:
        return settings.parse(name, text)
    except Refusal as refusal:
        raise _bad(refusal.message, refusal.hint, node) from refusal


def _where_else(name: str) -> str:
    if name in settings.SHARED:
        return f"every clone shares it: ev config set {name} VALUE"
    return settings.suggestion(name, LOCAL) or f"there are {', '.join(sorted(LOCAL))}"


def _bad(text: str, hint: str, node: Any = None, at: Any = None) -> Refusal:
    mark = node.start_mark if node is not None else getattr(at, "problem_mark", None)
    facts = {"line": mark.line + 1} if mark is not None else {}
    return Refusal("bad_config", f"{FILE}: {text}", hint, **facts)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        hint = f"make {path} an ordinary file that this user may read"
        raise Refusal("bad_config", f"{FILE}: cannot be read: {reason}", hint) from error


def _replace(path: str, data: bytes) -> None:
    """Write beside, sync, then take the place of the old file."""
    from coord.edge import store

    beside = f"{path}.{os.getpid()}"
    with store.refusing_disk_errors(path):
        try:
            with open(beside, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            if os.path.exists(path):
                os.chmod(beside, os.stat(path).st_mode & 0o777)
            os.replace(beside, path)
        except OSError:
            if os.path.exists(beside):
                os.unlink(beside)
            raise
        _sync_folder(os.path.dirname(path))


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
