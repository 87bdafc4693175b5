"""`wk submit`, `verify`, `review`, `tick`: done is what somebody else has seen."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from coord.cli import kit, naming
from coord.cli.wk import common
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.wk import custody, request, view
from coord.edge import git
from coord.edge.index import views
from coord.edge.writing import Desk
from coord.errors import Refusal


def state_of(desk: Desk, text: str) -> State:
    """The state of the item that an id or a prefix names."""
    return desk.state(f"work/{naming.work_id(desk.index, text)}")


def refs_of(desk: Desk, state: State) -> dict[str, Any]:
    """The refs of a write, guarded by the actor's own claim."""
    return request.held_refs(state, desk.author.agent_id, desk.author.session_id)


@kit.command("submit", writes=True)
@naming.one_id
@click.option("--artifact", "artifacts", multiple=True, metavar="URI|PATH|COMMIT",
              help="What shows that it is done; may be repeated.")  # fmt: skip
@click.option("--commit", metavar="HASH", help="The commit that holds the work.")
def submit(call: kit.Call, work_id: str, artifacts: Sequence[str], commit: str | None) -> None:
    """Say that the work on ID, which I have claimed, is done, and show it.

    Nobody can claim it until another agent has judged it with `wk verify`.

    \b
    Exits: 3 no such item, file or commit; 5 I do not hold it.
    Example: wk submit wk-7k2m --artifact https://example.org/pr/7 --why "tests pass"
    """
    body = {"artifacts": list(artifacts) or None, "commit": commit}
    written = call.record(lambda desk: _submission(call, desk, work_id, body))
    said = [one for one in written if one.raw["type"] == "work.submitted"]
    call.acknowledge(said, lambda raw: f"{raw['refs']['work_id']} submitted", "work_id")


def _submission(call: kit.Call, desk: Desk, text: str, body: Mapping[str, Any]) -> Iterator[Draft]:
    """The submission, and what it shows as artifacts: of a file a copy, for it may change."""
    state = state_of(desk, text)
    refs = refs_of(desk, state)
    is_retry = call.earlier(desk, "work.submitted") is not None
    yield call.draft("work.submitted", refs, body)
    if not is_retry:
        for place in [placed(desk, shown) for shown in body["artifacts"] or ()]:
            yield Draft("artifact.added", refs, place, cause=call.cause)


def placed(desk: Desk, what: str) -> dict[str, Any]:
    """Where an artifact is: a link, a file kept as a blob, or a commit."""
    if "://" in what:
        return {"uri": what}
    if os.path.isfile(what):
        with open(what, "rb") as stream:
            blob = desk.keep(stream.read())
        return {"path": os.path.relpath(os.path.realpath(what), desk.place.tree), **blob}
    commit = git.is_commit(what, os.getcwd())
    if commit:
        return {"commit": commit}
    hint = "give a link with ://, a file that exists, or a commit of this repository"
    raise Refusal("no_file", f"{what[:80]!r} is no URI, file or commit", hint)


@kit.command("verify", writes=True)
@naming.one_id
@click.option("--pass", "verdict", flag_value="pass", help="It holds what it promises.")
@click.option("--fail", "verdict", flag_value="fail", help="It does not; back to its claimer.")
@click.option("--cannot", "verdict", flag_value="cannot", help="I cannot tell; say why.")
@click.option("--submission", metavar="EVENT", help="Only if this is still the newest one.")
def verify(call: kit.Call, work_id: str, verdict: str | None, submission: str | None) -> None:
    """Judge the submitted item ID, as somebody who did not do the work.

    A pass lets it be closed as done. A fail returns it to its claimer with the reasons;
    --fail and --cannot need --why.

    \b
    Exits: 3 no such item; 4 I did the work, or share the session of who did;
           5 it is not submitted, or was submitted anew.
    Example: wk verify wk-7k2m --fail --why "an empty file still crashes it"
    """
    if verdict is None:
        raise Refusal("usage", "say --pass, --fail or --cannot", "wk verify --help")
    if verdict != "pass" and not call.why:
        raise Refusal("usage", f"--{verdict} needs --why: its claimer will ask")
    written = call.record(lambda desk: [_verdict(call, desk, work_id, verdict, submission)])
    call.acknowledge(written, _say_verdict, "work_id")


def _verdict(call: kit.Call, desk: Desk, text: str, verdict: str, submission: str | None) -> Draft:
    state = state_of(desk, text)
    said = call.earlier(desk, "work.verified")
    newest = said["body"]["submission"] if said else state.get("submission", {}).get("event_id")
    if newest is None:
        status = view.status_at(state, desk.judged_at_ms)
        message = f"{state['work_id']} is {status}, not submitted"
        raise Refusal("wrong_state", message, "wk review lists what waits")
    body = {"verdict": verdict, "submission": submission or newest}
    return call.draft("work.verified", {"work_id": state["work_id"]}, body)


def _say_verdict(raw: kit.Row) -> str:
    return f"{raw['refs']['work_id']} verified: {raw['body']['verdict']}"


@kit.command("review")
@click.option("--limit", "-n", type=click.IntRange(min=0), default=kit.LIST_LIMIT, metavar="N",
              help="At most N items, 50 by default; 0 for all.")  # fmt: skip
def review(call: kit.Call, limit: int) -> int:
    """List what waits for a verdict, the longest waiting first.

    Each with who did the work, what shows it, the checks nobody ticked, and earlier
    verdicts. What has passed waits only to be closed and is marked `passed_by`.

    \b
    Exits: 1 nothing waits.
    Example: wk review -n 5
    """
    with call.reading() as known:
        query = views.Query(call.query_now(known), "submitted")
        states = views.items(known.connection, query)
    states.sort(key=_submitted_at)
    rows = [_review_row(state) for state in states]
    return common.list_some(call, rows, limit, _table)


def _submitted_at(state: State) -> tuple[int, str]:
    return state["submission"]["at_ms"], state["work_id"]


def _review_row(state: State) -> dict[str, Any]:
    submission = state["submission"]
    row = {name: state[name] for name in ("work_id", "title", "priority")}
    row["submission"] = submission["event_id"]
    row["done_by"] = submission["agent_id"]
    row["submitted_at_ms"] = submission["at_ms"]
    for name in ("artifacts", "commit", "why", "passed_by"):
        if name in submission:
            row[name] = submission[name]
    checks = custody.open_checks(state)
    if checks:
        row["open_checks"] = checks
    if state.get("verdicts"):
        row["verdicts"] = state["verdicts"]
    return row


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)


@kit.command("tick", writes=True)
@naming.one_id
@click.argument("check", metavar="CHECK")
@click.option("--evidence", metavar="TEXT", help="What shows that it holds; - or @FILE too.")
@click.option("--undo", is_flag=True, help="It does not hold any more.")
def tick(call: kit.Call, work_id: str, check: str, evidence: str | None, undo: bool) -> None:
    """Tick the acceptance check CHECK of ID: its number from 1, or its beginning.

    \b
    Exits: 3 no such item or check; 5 somebody else's newer claim stands against mine.
    Example: wk tick wk-7k2m 2 --evidence tests/test_login.py
    """
    body = {"evidence": kit.text_of(evidence) if evidence else None, "undone": undo or None}
    written = call.record(lambda desk: [_tick(call, desk, work_id, check, body)])
    call.acknowledge(written, _say_tick, "work_id")


def _tick(call: kit.Call, desk: Desk, text: str, check: str, body: Mapping[str, Any]) -> Draft:
    state = state_of(desk, text)
    said = {"check": _check_named(state, check), **body}
    return call.draft("work.ticked", refs_of(desk, state), said)


def _check_named(state: State, wanted: str) -> str:
    checks = [check["text"] for check in state.get("acceptance", ())]
    if wanted.isdigit() and 0 < int(wanted) <= len(checks):
        return str(checks[int(wanted) - 1])
    found = [text for text in checks if text.lower().startswith(wanted.lower())]
    if len(found) == 1:
        return str(found[0])
    listed = "; ".join(f"{number} {text}" for number, text in enumerate(checks, start=1))
    code = "ambiguous" if found else "unknown_check"
    hint = listed or "wk update --acceptance adds one"
    raise Refusal(code, f"{state['work_id']} has no one check {wanted!r}", hint)


def _say_tick(raw: kit.Row) -> str:
    word = "open again" if raw["body"].get("undone") else "ticked"
    return f"{raw['refs']['work_id']} {word}: {raw['body']['check']}"
