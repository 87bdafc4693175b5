"""A git hook that is ours, or the user's with a block of ours in it.

    no hook                    a script with our block alone; taking it back removes it
    a shell script             our block after its first line: at the end it would not
                               run after an `exit` or `exec`, and would answer for the
                               script; taking it back leaves every other byte as it was
    anything else              refused: whoever wrote it adds one line by hand

The block of `commit-msg` never fails and never lets a commit fail; that of `pre-commit`
lets a commit fail when a file of it is leased to somebody else, and for nothing else.
"""

import re

from coord.errors import Refusal

_BEGIN, _END = "# >>> {mark} >>>", "# <<< {mark} <<<"
# By the hook's name: what marks our block, and what stands in it.
_MARKS = {"commit-msg": "ev hook commit-msg", "pre-commit": "lease guard"}
_CALLS = {
    "commit-msg": 'command -v ev >/dev/null 2>&1 && ev hook commit-msg "$1" || :',
    "pre-commit": """\
if command -v lease >/dev/null 2>&1; then
    lease guard --staged >/dev/null || exit 1
else
    echo "lease guard: there is no lease on PATH; nothing was checked" >&2
fi""",
}
# What our begin mark notes, so that taking it back finds out how it was before.
NEW, NEW_FOLDER, JOINED = "new file", "new file and folder", "first line had no end"
_SHEBANG = b"#!/bin/sh\n"
_SHELL = re.compile(rb"#!\s*(?:\S*/)?(?:env\s+(?:-S\s+)?)?(?:\S*/)?(?:ba|da|z|k|a)?sh(?:\s[^\n]*)?")


def _block(name: str, note: str) -> bytes:
    mark = _MARKS[name]
    begin = _BEGIN.format(mark=mark) + (f" {note}" if note else "")
    return f"{begin}\n{_CALLS[name]}\n{_END.format(mark=mark)}\n".encode()


def made(name: str, in_new_folder: bool) -> bytes:
    """The whole hook where there is none."""
    return _SHEBANG + _block(name, NEW_FOLDER if in_new_folder else NEW)


def installed(script: bytes, name: str) -> bytes:
    """The user's hook with our block in it; the same bytes when it has one.

    Refusals: exists, when it is no shell script.
    """
    if _found(script, name):
        return script
    first, newline, rest = script.partition(b"\n")
    if not _SHELL.fullmatch(first.rstrip(b"\r")):
        text = f"there is a {name} hook, and it is no shell script"
        raise Refusal("exists", text, f"let it run this: {_CALLS[name]}")
    return first + b"\n" + _block(name, "" if newline else JOINED) + rest


def removed(script: bytes, name: str) -> tuple[bytes | None, str]:
    """The hook without our block, None when it can go; and what the block noted."""
    found = _found(script, name)
    if found is None:
        return script, ""
    note = found["note"].decode()
    before, after = script[: found.start()], script[found.end() :]
    if note == JOINED:
        before = before.removesuffix(b"\n")
    left = before + after
    is_ours = note in (NEW, NEW_FOLDER) and left == _SHEBANG
    return (None if is_ours else left), note


def _found(script: bytes, name: str) -> re.Match[bytes] | None:
    begin, end = (re.escape(mark.format(mark=_MARKS[name]).encode()) for mark in (_BEGIN, _END))
    block = rb"^" + begin + rb" ?(?P<note>[^\n]*)\n.*?^" + end + rb"\n"
    return re.search(block, script, re.M | re.S)


def says_something(message: str, comment: str) -> bool:
    """Whether a commit message has text of its own; without any, git gives the commit up.

    comment: what begins a comment; "" for any of the signs that git may choose.
    """
    for line in message.splitlines():
        if _SCISSORS.search(line):
            return False
        if line.strip() and not line.startswith(comment or _ANY_COMMENT):
            return True
    return False


_SCISSORS = re.compile(r"^\S+ -+ >8 -+$")
_ANY_COMMENT = tuple("#;@!$%^&|:")
