"""What the tests of refusals share: a small store, and what a refusal looks like."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos import journals
from tests.conftest import Answer, Runner

ADA = {"as_": "agent:ada"}


def with_items(run: Runner) -> Path:
    """A store with two items whose ids begin alike, and one of another sort."""
    run.ok("ev", "init")
    ids = {"app-11": "one", "app-12": "two", "wk-other": "three"}
    lines = [json.dumps({"work_id": work_id, "title": title}) for work_id, title in ids.items()]
    run.ok("wk", "create", "-", input="\n".join(lines), **ADA)
    return run.folder / ".coord"


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert (answer.code, answer.error["code"]) == (status, code), answer.err
    assert answer.out == ""
    assert len(answer.err.splitlines()) == 1
    assert answer.error["message"]


def refuser(run: Runner, store: Path) -> Callable[..., Answer]:
    """`refused(status, code, words…)` runs a command that must be refused and write nothing."""

    return functools.partial(_ask, run, store)


def _ask(run: Runner, store: Path, status: int, code: str, *words: str, **options: Any) -> Answer:
    before = journals.contents(store)
    answer = run(*words, **{**ADA, **options})
    assert_refused(answer, status, code)
    assert journals.contents(store) == before
    return answer


WRITES = [
    ("wk", "create", "x"),
    ("wk", "claim", "--next"),
    ("wk", "claim", "app-11"),
    ("wk", "update", "app-11", "-p", "1"),
    ("wk", "comment", "app-11", "x"),
    ("wk", "close", "app-11"),
    ("wk", "dep", "add", "app-11", "--needs", "app-12"),
    ("ev", "emit", "test.x"),
    ("ev", "agent", "register"),
    ("ev", "agent", "pause", "bo", "--why", "x"),
    ("ev", "agent", "resume", "ada"),
    ("ev", "config", "set", "claim.ttl_ms", "1h"),
]
