"""`lease guard`: may these files be changed? For people, commits and coding agents."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.core import arbiter, globs
from coord.core.arbiter import Hold
from coord.core.lease import guard as hooks
from coord.core.lease import request
from coord.edge import git
from coord.edge.index import holds
from coord.edge.paths import Tree
from coord.errors import NO, Refusal

_HOOK = "pre-commit"
# Where the store cannot be read nothing can be known; work goes on, and it is said.
_UNREADABLE = ("no_store", "no_repository", "read_only", "busy", "disk")
_NOT_MANAGED = (".git", ".coord")


@kit.command("guard")
@click.argument("paths", nargs=-1, metavar="[FILE...|-]")
@click.option("--staged", is_flag=True, help="What the next commit would change.")
@click.option("--hook", is_flag=True, help="Answer a coding agent's pre-tool hook on stdin.")
@click.option("--install", is_flag=True, help="Let git ask at every commit.")
@click.option("--uninstall", is_flag=True, help="Take that back; no trace is left.")
def guard(
    call: kit.Call, paths: Sequence[str], staged: bool, hook: bool, install: bool, uninstall: bool
) -> int:
    """Say of each FILE whether I may change it: clear, mine, blocked, unmanaged.

    Prints a line each: path, verdict and, if blocked, by whom, until when, why. A - reads
    FILEs from stdin, a line each. --hook reads what Claude Code, Codex, Gemini CLI and
    Cursor give to hooks before a tool, and denies with a reason what is leased to
    somebody else. --install adds a pre-commit hook beside the user's own. Where the store
    cannot be read everything passes, and stderr says so.

    \b
    Exits: 1 a file is blocked; 2 not one of FILE..., --staged, --hook, --install,
           --uninstall; 5 --install: a hook is there that is no shell script; 6 --hook: no
           JSON.
    Example: lease guard --install
    """
    if [bool(paths), staged, hook, install, uninstall].count(True) != 1:
        text = "give one of FILE..., --staged, --hook, --install, --uninstall"
        raise Refusal("usage", text, "lease guard --help")
    if install or uninstall:
        return _set_hook(call, install)
    if hook:
        return _answer(call)
    folder = os.getcwd()
    named = _staged(folder) if staged else _given(paths)
    return _told(call, _judged(call, named, folder, is_resolved=staged))


def _given(paths: Sequence[str]) -> list[str]:
    found: list[str] = []
    for path in paths:
        found += [line for line in kit.stdin_text().split("\n") if line] if path == "-" else [path]
    return list(dict.fromkeys(found))


def _staged(folder: str) -> list[str]:
    words = ["diff", "--cached", "--name-only", "--no-renames", "-z"]
    status, output = git.run(words, folder)
    if status:
        raise Refusal("git_failed", "git does not tell what is staged", "git diff --cached")
    return [name for name in os.fsdecode(output).split("\0") if name]


def _judged(
    call: kit.Call, paths: Iterable[str], folder: str, is_resolved: bool = False
) -> list[dict[str, Any]] | None:
    """A verdict for each path; None, and a word on stderr, when the store cannot be read."""
    try:
        return _verdicts(call, paths, folder, is_resolved)
    except Refusal as refusal:
        if refusal.code not in _UNREADABLE:
            raise
        message = refusal.message
    except OSError as error:
        message = str(error)
    call.warn("unguarded", f"nothing was checked: {message}", "every file passes")
    return None


def _verdicts(
    call: kit.Call, paths: Iterable[str], folder: str, is_resolved: bool
) -> list[dict[str, Any]]:
    tree = Tree(call.place, folder)
    named = [(path, path if is_resolved else tree.path(path)) for path in paths]
    agent_id, session_id = _who(call)
    wanted = [globs.quoted(name) for _, name in named if _is_managed(name) and name]
    ignorecase = tree.ignorecase
    with call.reading() as known:
        now_ms = call.query_now(known)
        near = _by_folder(holds.near(known.connection, wanted, now_ms)) if wanted else {}
    rows = []
    for path, name in named:
        if name is None or not _is_managed(name):
            rows.append({"path": path, "verdict": "unmanaged"})
            continue
        some = [hold for above in _folders(name) for hold in near.get(above, ())]
        verdict, hold = request.verdict(some, name, agent_id, session_id, ignorecase)
        rows.append({"path": path, "verdict": verdict, **_by(hold, now_ms)})
    return rows


def _who(call: kit.Call) -> tuple[str, str]:
    """Who asks; nobody in particular where that is not known, who holds nothing."""
    try:
        return call.author.agent_id, call.author.session_id
    except Refusal as refusal:
        if refusal.code != "no_identity":
            raise
        return "", ""


def _is_managed(name: str | None) -> bool:
    return name is not None and name.partition("/")[0] not in _NOT_MANAGED


def _folders(name: str) -> list[str]:
    return globs.ancestors(globs.folded(name))


def _by_folder(found: Iterable[Hold]) -> Mapping[str, list[Hold]]:
    """Holds by the part of their glob that every path they match begins with."""
    groups: dict[str, list[Hold]] = {}
    for hold in found:
        folder = globs.folder_of(hold["resource"].partition(":")[2], ignorecase=True)
        groups.setdefault(folder, []).append(hold)
    return groups


def _by(hold: Hold | None, now_ms: int) -> dict[str, Any]:
    if hold is None:
        return {}
    shown = request.row(hold, now_ms)
    return {"held" if name == "resource" else name: value for name, value in shown.items()}


def _told(call: kit.Call, rows: list[dict[str, Any]] | None) -> int:
    """Print the verdicts; those that block on stderr too, for a commit shows nothing else."""
    if rows is None:
        return 0
    call.emit(rows, _table, ident="path")
    blocked = [row for row in rows if row["verdict"] == "blocked"]
    for row in blocked:
        hint = f"ask for it: msg send --to {row['agent_id']}"
        call.report(Refusal("held", _reason(row), hint, path=row["path"], holder=row["agent_id"]))
    return NO if blocked else 0


def _reason(row: Mapping[str, Any]) -> str:
    held = {"session_id": "", **row, "resource": row["held"]}
    why = f": {row['why']}" if row.get("why") else ""
    return f"{row['path']} is not yours to change: {arbiter.held_text(held)}{why}"


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    names = ("verdict", "path", "held", "agent_id", "expires_at_ms", "why")
    tables.facts([{name: row.get(name, "") for name in names} for row in rows])


def _answer(call: kit.Call) -> int:
    """Answer a coding agent: in its own form when it must not, else with silence."""
    payload = kit.json_value(kit.stdin_text(), "the hook's input")
    if not isinstance(payload, dict):
        raise Refusal("bad_data", "the hook's input is not a JSON object")
    question = hooks.read(payload)
    folder = question.folder if os.path.isdir(question.folder) else os.getcwd()
    rows = _judged(call, question.paths, folder) or []
    reasons = [_reason(row) for row in rows if row["verdict"] == "blocked"]
    if reasons:
        asked = "ask its holder with `msg send`, or work on something else"
        kit.out(hooks.denial(question.event, f"{'; '.join(reasons)}. {asked}"))
    return 0


def _set_hook(call: kit.Call, install: bool) -> int:
    from coord.edge import hooks as files

    done = (files.install if install else files.uninstall)(_HOOK, os.getcwd())
    row = {"hook": done.path, "installed": install, "changed": done.changed}
    call.emit([row], lambda _: click.echo(kit.plain(_sentence(row))), ident="hook")
    return 0


def _sentence(row: kit.Row) -> str:
    if not row["changed"]:
        return f"{row['hook']}: {'already there' if row['installed'] else 'nothing of ours there'}"
    return f"{row['hook']}: {'installed' if row['installed'] else 'taken back'}"
