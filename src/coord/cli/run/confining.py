"""What confines a run: its sandbox, its secrets and the cap of its log.

What a request says of them, and what the shim is told.
"""

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from coord.core.run import sandbox as plans
from coord.core.run import wanted
from coord.edge.store import Place
from coord.errors import Refusal

F = TypeVar("F", bound=Callable[..., Any])
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def options(function: F) -> F:
    """The options that confine a run."""
    for option in reversed((
        click.option("--sandbox", type=click.Choice(plans.KINDS),
                     metavar="auto|bwrap|landlock|none",
                     help="In a sandbox; auto takes the first that works, and refuses without."),
        click.option("--network", is_flag=True, help="With --sandbox: leave it the network."),
        click.option("--read", "reads", multiple=True, metavar="PATH",
                     help="With --sandbox: it may read this too; may be repeated."),
        click.option("--secret", "secrets", multiple=True, metavar="NAME=FILE",
                     help="A variable with what FILE holds when it starts; kept out of its log."),
        click.option("--log-cap", metavar="SIZE",
                     help="Of a longer log keep both ends; 64M by default."),
    )):  # fmt: skip
        function = option(function)
    return function


def spec_of(given: Mapping[str, Any], is_now: bool) -> dict[str, Any]:
    """The fields that `options` give.

    is_now: the command is started by this very process, so descriptors are good.
    Refusals: usage, no_file.
    """
    found: dict[str, Any] = {}
    if given["sandbox"] is not None:
        asked: dict[str, Any] = {"by": given["sandbox"]}
        if given["network"]:
            asked["network"] = True
        if given["reads"]:
            asked["reads"] = sorted({os.path.abspath(path) for path in given["reads"]})
        found["sandbox"] = asked
    elif given["network"] or given["reads"]:
        raise Refusal("usage", "--network and --read belong to --sandbox")
    if given["secrets"]:
        found["secrets"] = dict(_secret(text, is_now) for text in given["secrets"])
    if given["log_cap"]:
        found["log_cap"] = _cap(given["log_cap"])
    return found


def _secret(text: str, is_now: bool) -> tuple[str, str]:
    name, sign, path = text.partition("=")
    if not (sign and name and path):
        raise Refusal("usage", f"{name[:40]!r} is no NAME=FILE", "the value itself is not for here")
    path = os.path.abspath(path)
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        text = f"cannot read {path}: {os.strerror(error.errno or 0)}"
        raise Refusal("no_file", text, path=path) from error
    if not (is_now or stat.S_ISREG(mode)):
        hint = "run exec takes descriptors too"
        raise Refusal("usage", f"{path} is no ordinary file, and may be gone by then", hint)
    return name, path


def _cap(text: str) -> int:
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].isalpha() else (text, "")
    if not (number.isascii() and number.isdigit() and unit in _UNITS):
        raise Refusal("usage", f"{text[:40]!r} is no size", "give one like 64M")
    size = int(number) * _UNITS[unit]
    if size < wanted.LEAST_LOG_CAP:
        raise Refusal("usage", f"a log keeps {wanted.LEAST_LOG_CAP} bytes at least")
    return size


def told(place: Place, spec: Mapping[str, Any], top: str) -> dict[str, Any]:
    """What the shim is told of these; {} where nothing is asked."""
    found: dict[str, Any] = {"log_cap": spec["log_cap"]} if "log_cap" in spec else {}
    asked = spec.get("sandbox")
    if asked and asked["by"] != plans.NONE:
        from coord.edge.run import sandbox

        globs = spec.get("writes", ())
        found["sandbox"] = {
            **sandbox.wanted(asked, top, place.store, place.git_dir), "globs": [*globs]
        }  # fmt: skip
    if "secrets" in spec:
        from coord.edge.run import redaction

        try:
            found["secrets"] = redaction.values_in(spec["secrets"])
        except (OSError, ValueError) as error:
            found["fault"] = f"cannot have a secret: {error}"
        found["secret_files"] = sorted(spec["secrets"].values())
    return found


def environment(given: Mapping[str, str], spec: Mapping[str, Any]) -> Mapping[str, str]:
    """Of the worker's environment what the command gets."""
    asked = spec.get("sandbox", {}).get("by", plans.NONE)
    return given if asked == plans.NONE else plans.kept(given)


def started(folder: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """What `run.started` says of the sandbox: what was enforced."""
    if "sandbox" not in spec:
        return {}
    from coord.edge.run import sandbox

    return {"sandbox": sandbox.noted(folder) or {"by": plans.NONE}}
