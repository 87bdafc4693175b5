"""What is true on this machine about an attempt whose end nobody has recorded."""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from coord.core.run.recovery import Facts, Work
from coord.edge.run import shim, spool


@contextlib.contextmanager
def known(folder: str, lease_id: str) -> Iterator[Facts]:
    """What is true about an attempt; while entered, no shim of it can begin."""
    if not os.path.isdir(folder):
        yield Facts(is_alive=False)
        return
    lock = spool.take(folder)
    if lock is None:
        yield Facts(is_alive=True)
        return
    try:
        record = spool.exit_record(folder, lease_id)
        is_far = bool(host_of(folder))
        yield Facts(
            is_alive=False,
            exit=record,
            is_far=is_far,
            # An exit record is written once the tree is empty: all processes of the
            # machine are only gone through where there is none.
            tree_lives=record is None and not is_far and spool.tree_lives(folder),
            begun=os.path.exists(os.path.join(folder, shim.BEGUN)),
            work=_left(folder),
        )
    finally:
        os.close(lock)


def host_of(folder: str) -> Mapping[str, Any]:
    """At which other host an attempt is, {name, folder, cause}; {} for here."""
    return _read(os.path.join(folder, spool.HOST))


def _left(folder: str) -> Work | None:
    """What an attempt at another host has left, where that is known to be over."""
    found = _read(os.path.join(folder, spool.LEFT))
    return Work(**found) if found else None


def _read(path: str) -> Mapping[str, Any]:
    with contextlib.suppress(OSError, ValueError), open(path, "rb") as stream:
        found = json.loads(stream.read())
        return found if isinstance(found, dict) else {}
    return {}
