"""Whose claim another clone has won learns of it: from sync, from watch, from the next command."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Runner


@pytest.fixture
def clones(run: Runner, store: Path) -> tuple[Runner, Runner]:
    """Two clones of one remote that both know the item `wk-shared`."""
    remote = run.folder.parent / "remote.git"
    run.ok("git", "init", "--quiet", "--bare", remote)
    run.ok("git", "remote", "add", "origin", remote)
    run.ok("wk", "create", "-", input='{"work_id":"wk-shared","title":"shared"}\n', as_="agent:ada")
    run.ok("ev", "sync")
    other = Runner(run.folder.parent / "other")
    run.ok("git", "clone", "--quiet", remote, other.folder)
    other.ok("ev", "init")
    other.ok("ev", "sync")
    return run, other


def claimed_in_both(ada: Runner, bo: Runner) -> str:
    """The item claimed in both clones, by host; answer the later lease, which loses."""
    ada.ok("wk", "claim", "wk-shared", as_="agent:ada")
    lease = bo.ok("wk", "claim", "wk-shared", as_="agent:bo").json["lease_id"]
    ada.ok("ev", "sync")
    return str(lease)


def until(watching: subprocess.Popen[bytes], kind: str) -> list[dict[str, Any]]:
    """The rows of a watch up to the first one of a type."""
    assert watching.stdout is not None
    rows: list[dict[str, Any]] = []
    while not rows or rows[-1]["type"] != kind:
        line = watching.stdout.readline()
        assert line, watching.stderr.read()
        rows.append(json.loads(line))
    return rows


def test_sync_names_the_claims_of_this_clone_that_were_lost(clones):
    ada, bo = clones
    lease = claimed_in_both(ada, bo)

    [lost] = bo.ok("ev", "sync").json["lost"]

    assert (lost["work_id"], lost["lease_id"]) == ("wk-shared", lease)
    assert (lost["agent_id"], lost["holder"]) == ("agent:bo", "agent:ada")
    assert ada.ok("ev", "sync").json["lost"] == []


def test_the_next_command_of_who_lost_ends_with_5(clones):
    ada, bo = clones
    claimed_in_both(ada, bo)
    bo.ok("ev", "sync")

    for verb in (["close", "wk-shared", "--as", "done"], ["renew", "wk-shared"],
                 ["submit", "wk-shared"], ["update", "wk-shared", "-p", "0"]):  # fmt: skip
        answer = bo("wk", *verb, as_="agent:bo")
        assert (verb[0], answer.code) == (verb[0], 5)


def test_watch_tells_a_loss_once(clones):
    ada, bo = clones
    lease = claimed_in_both(ada, bo)
    watching = bo.start("wk", "watch", "--since", "start")
    try:
        bo.ok("ev", "sync")
        rows = until(watching, "work.lost")
        ada.ok("wk", "renew", "wk-shared", as_="agent:ada")
        ada.ok("ev", "sync")
        bo.ok("ev", "sync")
        rows += until(watching, "work.renewed")
    finally:
        watching.kill()
        watching.wait()

    [lost] = [row for row in rows if row["type"] == "work.lost"]
    assert lost["derived"] is True
    assert lost["refs"]["lease_id"] == lease
    assert lost["body"]["holder"] == "agent:ada"


def test_a_confirmed_claim_ends_a_hosts_claim_and_it_is_told(clones):
    ada, bo = clones
    bo.ok("wk", "claim", "wk-shared", as_="agent:bo")
    ada.ok("wk", "claim", "wk-shared", "--confirm", "remote", as_="agent:ada")

    [lost] = bo.ok("ev", "sync").json["lost"]

    assert (lost["agent_id"], lost["holder"]) == ("agent:bo", "agent:ada")
    assert bo("wk", "close", "wk-shared", "--as", "done", as_="agent:bo").code == 5
    # The host keeps its word: nobody else here gets it while bo was promised it.
    assert bo("wk", "claim", "wk-shared", as_="agent:cy").code == 5
