"""`sync`: the same verb in every tool. Journals go to and from the git remote."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from coord.cli import kit, losing
from coord.core import event as events
from coord.edge import clock, config, git, store
from coord.edge.sync import Report, Syncer, holds
from coord.edge.sync import target as targets
from coord.errors import Refusal

_LEAST_S = 1.0
_FOR_EVER_S = 1e9


@kit.command("sync")
@click.option("--remote", metavar="R", help="A git remote or a URL; origin unless configured.")
@click.option("--pull", "pull", is_flag=True, help="Only bring events in.")
@click.option("--push", "push", is_flag=True, help="Only send events out.")
@click.option("--watch", "every_s", type=click.FloatRange(min=_LEAST_S), metavar="SECONDS",
              help="Go on, once every so many seconds.")  # fmt: skip
@click.option("--restore", is_flag=True, help="Put back what the remote has lost and we hold.")
@click.option("--dry-run", is_flag=True, help="Say what would go where, and do nothing.")
def sync(
    call: kit.Call,
    remote: str | None,
    pull: bool,
    push: bool,
    every_s: float | None,
    restore: bool,
) -> None:
    """Exchange journals with the git remote: bring in what others wrote, send out ours.

    Prints one object: events that came `in` and went `out` per writer, with the commits of
    that writer's ref before and after, `retries`, `problems` met, and claims of this clone
    that were `lost` to others. Your branches, index, working tree, hooks and stash are not
    touched. Where the store is part of the branch (ev init --inline) it commits .coord and
    nothing else, and plain git pull and push carry it. With --watch it goes on until
    interrupted and prints only when something has happened.

    \b
    Exits: 3 there is no such remote; 4 the remote does not take our refs; 7 it does not
           answer, or not to these credentials: everything stays recorded here.
    Example: ev sync --watch 30
    """
    wanted = _Wanted(remote or "", pull or not push, push or not pull, restore)
    if every_s is None:
        _print(call, _once(call, wanted))
        return
    with _watching(call):
        while True:
            _round(call, wanted)
            time.sleep(every_s)


class _Wanted:
    """What the options say."""

    def __init__(self, remote: str, pull: bool, push: bool, restore: bool) -> None:
        self.remote, self.pull, self.push, self.restore = remote, pull, push, restore


@contextlib.contextmanager
def _watching(call: kit.Call) -> Iterator[None]:
    """One process of a clone watches; another one stands by until that has ended."""
    folder = os.path.join(call.place.store, "blobs")
    os.makedirs(folder, exist_ok=True)
    try:
        with store.locked(folder, 0.001):
            yield
            return
    except Refusal as refusal:
        if refusal.code != "busy":
            raise
    call.note("another process keeps this clone in sync; this one stands by")
    with store.locked(folder, _FOR_EVER_S):
        yield


def _round(call: kit.Call, wanted: _Wanted) -> None:
    """One of many: a remote that does not answer now may do so next time."""
    call.now_ms = clock.now_ms()
    try:
        row = _once(call, wanted)
    except Refusal as refusal:
        if refusal.code not in ("unreachable", "busy"):
            raise
        call.report(refusal)
        return
    if any(row.get(part) for part in ("in", "out", "problems", "lost", "commit")):
        _print(call, row)
        sys.stdout.flush()


def _once(call: kit.Call, wanted: _Wanted) -> dict[str, Any]:
    if call.place.is_inline:
        from coord.edge.sync import inline

        return {"inline": True, **inline.commit(call.place, call.dry_run)}
    syncer = opened(call, wanted.remote)
    if syncer is None:
        call.warn("no_remote", "there is no git remote", "git remote add origin URL")
        return {"remote": "", "in": [], "out": [], "retries": 0, "problems": [], "lost": []}
    if call.dry_run:
        report = syncer.plan(wanted.pull, wanted.push, wanted.restore)
    else:
        with syncer.locked():
            report = syncer.round(pull=wanted.pull, push=wanted.push, restore=wanted.restore)
            confirmer = holds.Confirmer(syncer, call.now_ms)
            confirmer.note(syncer.listed)
            if wanted.push:
                # What ended must be known to others before its record is free for them.
                confirmer.settle()
            syncer.save()
    return _row(call, syncer.target, report)


def opened(call: kit.Call, named: str = "", remote_s: float = git.REMOTE_S) -> Syncer | None:
    """This clone and its remote: what is named, else what config.yaml says; None without one.

    remote_s: how long the remote may take to answer. Refuses with `no_repository`, `no_remote`.
    """
    repository = targets.repository_of(call.place, remote_s)
    with call.reading() as known:
        path = os.path.join(call.place.store, config.FILE)
        found = config.load(path, known.meta, known.keep)
    remote, prefix = named or str(found["remote"]), str(found["ref_prefix"])
    target = targets.target_of(repository, remote, prefix)
    return Syncer(call.place, repository, target, call.now_ms) if target else None


def _row(call: kit.Call, chosen: targets.Target, report: Report) -> dict[str, Any]:
    row = {
        "remote": chosen.remote,
        "in": report.brought,
        "out": report.sent,
        "retries": report.retries,
        "problems": report.problems,
        "lost": [],
    }
    if call.dry_run:
        return {"dry_run": True, **row}
    with call.reading() as known:
        if report.entities:
            row["lost"] = list(losing.losses(call, known, report.entities))
        early = known.ids_from(events.horizon(call.now_ms))
    return {**row, "early": len(early)} if early else row


def _print(call: kit.Call, row: dict[str, Any]) -> None:
    if call.quiet:
        return
    if not call.for_people:
        kit.out(row)
        return
    for line in _sentences(row):
        click.echo(kit.plain(line))


def _sentences(row: dict[str, Any]) -> Iterator[str]:
    """What happened, for people."""
    if row.get("inline"):
        done = f"committed as {row['commit'][:12]}" if "commit" in row else "nothing to commit"
        yield f"{done}; git pull and git push carry it"
        yield from (problem["message"] for problem in row.get("problems", ()))
        return
    verb = "would go" if row.get("dry_run") else "went"
    for part, said in (("in", "came in" if verb == "went" else "would come in"), ("out", verb)):
        for entry in row[part]:
            noun = "event" if entry.get("events") == 1 else "events"
            count = f"{entry['events']} {noun} " if "events" in entry else ""
            yield f"{count}{said}{'' if part == 'in' else ' out'}: {entry['writer']}"
    if not row["in"] and not row["out"]:
        yield f"{row['remote'] or 'no remote'}: nothing new"
    for problem in row["problems"]:
        yield f"{problem['code']}: {problem['message']}"
    for lost in row["lost"]:
        yield f"lost: {lost['resource']} of {lost['agent_id']} is {lost.get('holder', 'nobody')}'s"
