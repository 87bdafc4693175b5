"""Beats: that a session is alive, told by the time of a file in `.coord/local/presence`.

    <agent-slug>            an agent without a session
    <agent-slug>.<session>  one session of it

Every command of the agent that writes touches its file; nothing is written into it but
the names, once. Beats say nothing about progress, stay on this machine and may be
deleted at any time. Where they cannot be kept, nothing is refused for it.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from coord.core.draft import Author
from coord.core.event import slug

if TYPE_CHECKING:
    from coord.core.msg.presence import Beat

_FOLDER = "presence"


def beat(local: str, author: Author, now_ms: int) -> None:
    """Note that this session is alive now. local: `.coord/local`."""
    name = slug(author.agent_id)
    if author.session_id:
        name = f"{name}.{slug(author.session_id)}"
    path = os.path.join(local, _FOLDER, name)
    instant = (now_ms * 1_000_000,) * 2
    try:
        os.utime(path, ns=instant)
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            _begin(path, author)
            os.utime(path, ns=instant)
    except OSError:
        return


def _begin(path: str, author: Author) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="replace") as stream:
        stream.write(f"{author.agent_id}\n{author.session_id}\n")


def beats(local: str) -> "Iterator[Beat]":
    """The newest beat of every session on this clone."""
    from coord.core.msg.presence import Beat

    try:
        entries = sorted(os.scandir(os.path.join(local, _FOLDER)), key=_name)
    except OSError:
        return
    for entry in entries:
        with contextlib.suppress(OSError):
            at_ms = entry.stat().st_mtime_ns // 1_000_000
            with open(entry.path, encoding="utf-8", errors="replace") as stream:
                agent_id, _, session_id = stream.read().partition("\n")
            # One that was just made may have nothing in it yet.
            if agent_id:
                yield Beat(agent_id, session_id.strip("\n"), at_ms)


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name
