"""How a tool begins and ends: its words and streams, its exit status, and one catcher.

Every refusal ends up here and nowhere else; what is none of ours is a bug and shows
its traceback.
"""

import contextlib
import errno
import os
import sys
from typing import Literal, NoReturn, TextIO

import click

from coord.cli import kit
from coord.errors import BUG, DONE, INTERRUPTED, USAGE, Refusal


def run(group: click.Group, tool: str) -> NoReturn:
    """Run a tool and exit: the one place that catches and prints refusals."""
    _open_streams()
    status = _status(group, tool)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    # Python would first take apart all that was ever imported, which takes longer than many
    # a verb. What has to be closed or kept was when the verb returned.
    os._exit(status)


def _open_streams() -> None:
    """A tool that is started with a standard stream closed finds nothing there.

    In this order each gets its own number, so that no journal is opened under one.
    """
    sys.stdin = sys.stdin or _nowhere("r")
    sys.stdout = sys.stdout or _nowhere("w")
    sys.stderr = sys.stderr or _nowhere("w")


def _nowhere(mode: Literal["r", "w"]) -> TextIO:
    return os.fdopen(os.open(os.devnull, os.O_RDWR), mode)


def _words() -> list[str]:
    """The words of the command line, which are UTF-8 whatever the locale says."""
    return [_utf8(word, f"argument {n}") for n, word in enumerate(sys.argv[1:], start=1)]


def _utf8(word: str, what: str) -> str:
    try:
        word.encode()
        return word
    except UnicodeEncodeError:
        pass
    try:
        return os.fsencode(word).decode()
    except UnicodeDecodeError:
        raise Refusal("usage", f"{what} is not UTF-8 text: {word[:60]!r}") from None


def _status(group: click.Group, tool: str) -> int:
    try:
        result = group.main(_words(), prog_name=tool, standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else DONE
    except Refusal as refusal:
        return _refused(tool, refusal)
    except click.exceptions.NoArgsIsHelpError as error:
        return _without_verb(tool, error)
    except click.UsageError as error:
        hint = f"{error.ctx.command_path} --help" if error.ctx else f"{tool} --help"
        return _refused(tool, Refusal("usage", error.format_message(), hint))
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except (BrokenPipeError, kit.Closed, SystemExit):
        # SystemExit is click's answer to a closed pipe; its status 1 would read as "no".
        _drop_stdout()
        return DONE
    except OSError as error:
        found = _of_the_disk(error)
        return _refused(tool, found) if found else _bug()
    except Exception:
        return _bug()


def _of_the_disk(error: OSError) -> Refusal | None:
    """The refusal that an error of the file system amounts to; None when it is our bug."""
    reason = os.strerror(error.errno or 0)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        _drop_stdout()
        text = f"cannot write {error.filename or 'to stdout'}: {reason}"
        hint = "free some space; a retry with the same --key adds nothing twice"
        return Refusal("disk", text, hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        text = f"cannot open {error.filename}: {reason}"
        return Refusal("no_file", text, "give this user access to it")
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOENT):
        text = f"cannot use {error.filename}: {reason}"
        return Refusal("no_file", text, "something else stands in its place, or its folder is gone")
    return None


def _drop_stdout() -> None:
    """Python would complain at exit if stdout still led to where it cannot write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _bug() -> int:
    """Python's own exit status 1 would read as "no"."""
    import traceback

    traceback.print_exc()
    return BUG


def _without_verb(tool: str, error: click.UsageError) -> int:
    """A person who names no verb gets the list of verbs; a program gets an error."""
    path = error.ctx.command_path if error.ctx else tool
    if not sys.stderr.isatty():
        return _refused(tool, Refusal("usage", f"{path} needs a verb", f"{path} --help"))
    click.echo(error.format_message(), err=True)
    return USAGE


def _refused(tool: str, refusal: Refusal) -> int:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    kit.print_refusal(tool, refusal)
    return refusal.status
