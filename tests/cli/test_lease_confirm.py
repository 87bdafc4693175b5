"""Leases that the git remote confirms: one holder in all clones, whatever was synced."""

import json
import subprocess
from pathlib import Path

import pytest

from coord.core import record
from tests.conftest import until
from tests.remotes import Side, git


def begun(side: Side, *words: str) -> subprocess.Popen[bytes]:
    """A command of a side's agent, left running."""
    return side.start(*words, as_=f"agent:{side.name}", stdin=subprocess.PIPE)


def held(side: Side, domain: str) -> dict:
    """The hold of a domain in its record on the remote."""
    ref = f"refs/coord/hold/{record.name(domain)}"
    git(side.folder, "fetch", "--quiet", "origin", f"+{ref}:{ref}")
    return json.loads(git(side.folder, "show", f"{ref}:hold.json"))["holds"][0]


@pytest.fixture
def sides(tmp_path: Path) -> tuple[Side, Side]:
    """Two clones of a bare remote, each with a store."""
    remote = tmp_path / "remote.git"
    remote.mkdir()
    git(remote, "init", "--quiet", "--bare")
    made = []
    for name in ("ada", "bo"):
        folder = tmp_path / name
        folder.mkdir()
        git(folder, "init", "--quiet")
        git(folder, "remote", "add", "origin", remote)
        made.append(Side(folder, name))
        made[-1].ok("ev", "init")
    return made[0], made[1]


def test_globs_that_share_a_path_have_one_confirmed_holder_in_all_clones(sides):
    ada, bo = sides
    won = ada.ok("lease", "acquire", "path:src/**", "--confirm", "remote").json

    lost = bo("lease", "acquire", "path:src/login.py", "--confirm", "remote")
    apart = bo.ok("lease", "acquire", "path:docs/**", "--confirm", "remote").json

    assert (lost.code, lost.error["code"], lost.error["holder"]) == (5, "held", "agent:ada")
    assert (won["confirmed"], won["fence"]) == ("remote", 1_000_000)
    assert apart["fence"] == 2_000_000


def test_a_renewal_goes_through_the_record_and_a_release_frees_it(sides):
    ada, bo = sides
    lease = ada.ok("lease", "acquire", "env:staging", "--confirm", "remote", "--ttl", "1m").json
    renewed = ada.ok("lease", "renew", "env:staging", "--ttl", "1h").json
    refused = bo("lease", "acquire", "env:staging", "--confirm", "remote")
    ada.ok("lease", "release", "env:staging")
    taken = bo.ok("lease", "acquire", "env:staging", "--confirm", "remote").json

    assert renewed["lease_id"] == lease["lease_id"]
    assert renewed["expires_at_ms"] > lease["expires_at_ms"] + 3_000_000
    assert refused.code == 5
    assert taken["fence"] == 2_000_000


def test_several_are_confirmed_in_one_swap_or_none_of_them(sides):
    ada, bo = sides
    wanted = ["env:a", "path:src/**", "path:docs/**", "env:b"]
    bo.ok("lease", "acquire", "env:b", "--confirm", "remote")

    lost = ada("lease", "acquire", *wanted, "--confirm", "remote")
    bo.ok("lease", "release", "env:b")
    won = ada.ok("lease", "acquire", *wanted, "--confirm", "remote").lines
    again = bo("lease", "acquire", "env:c", "path:docs/x.md", "--confirm", "remote")

    assert (lost.code, lost.error["holder"]) == (5, "agent:bo")
    assert [row["resource"] for row in won] == wanted
    assert {row["confirmed"] for row in won} == {"remote"}
    assert [row["fence"] for row in won] == [1_000_000, 1_000_000, 2_000_000, 2_000_000]
    assert (again.code, again.error["holder"]) == (5, "agent:ada")
    assert bo.ok("lease", "check", "env:c").code == 0, "nothing of what was refused is held"


def test_what_one_holds_already_is_told_again_beside_what_is_new(sides):
    ada, _ = sides
    first = ada.ok("lease", "acquire", "env:a", "--confirm", "remote").json

    rows = ada.ok("lease", "acquire", "env:b", "env:a", "--confirm", "remote").lines

    assert [row.get("duplicate", False) for row in rows] == [False, True]
    assert rows[1]["lease_id"] == first["lease_id"]


def test_a_retry_of_several_with_their_key_asks_for_nothing_again(sides):
    ada, _ = sides
    words = ("lease", "acquire", "env:a", "env:b", "--confirm", "remote", "--key", "k1")

    rows, again = ada.ok(*words).lines, ada.ok(*words).lines

    assert [row["event_id"] for row in again] == [row["event_id"] for row in rows]
    assert all(row["duplicate"] for row in again)


def test_of_clones_that_race_for_both_in_opposite_order_one_has_both_and_the_other_none(sides):
    for _ in range(8):
        racing = [
            begun(side, "lease", "acquire", *names, "--confirm", "remote")
            for side, names in zip(sides, (("env:a", "env:b"), ("env:b", "env:a")), strict=True)
        ]
        said = [one.communicate(timeout=60) for one in racing]
        codes = [one.returncode for one in racing]
        records = held(sides[0], "env:a"), held(sides[0], "env:b")

        assert sorted(codes) == [0, 5], said
        winner = sides[codes.index(0)]
        assert {record["agent_id"] for record in records} == {f"agent:{winner.name}"}
        winner.ok("lease", "release", "env:a", "env:b")


@pytest.mark.parametrize("left", ["event", "nothing"])
def test_what_a_process_left_that_was_killed_between_swap_and_append_is_given_back(sides, left):
    """Its notes say which records it may have won, of all that it asked for."""
    ada, bo = sides
    ada.ok("lease", "acquire", "env:a", "env:b", "--confirm", "remote")
    notes = ada.store / "local" / "confirming"
    notes.mkdir(exist_ok=True)
    for domain in ("env:a", "env:b"):
        nonce = held(ada, domain)["nonce"]
        (notes / nonce).write_text(json.dumps({"domain": domain, "nonce": nonce}))
    if left == "nothing":
        for path in (ada.store / "lease").glob("*.jsonl"):
            path.unlink()
        git(ada.folder, "push", "--quiet", "origin", f":refs/coord/w/{path.name.rsplit('.', 2)[0]}")

    ada.ok("ev", "sync")
    answer = bo("lease", "acquire", "env:a", "env:b", "--confirm", "remote")

    assert answer.code == (5 if left == "event" else 0), answer.err


def test_what_was_won_and_cannot_be_recorded_is_given_back_at_once(sides):
    """Somebody on this host takes one of them while the remote decides."""
    ada, bo = sides
    hook = ada.folder.with_name("remote.git") / "hooks" / "post-receive"
    hook.parent.mkdir(exist_ok=True)
    faster = " ".join(ada.command("lease", "acquire", "env:b", "--as", "agent:cy"))
    hook.write_text(
        f"#!/bin/sh\ngrep -q refs/coord/hold/ || exit 0\nrm $0\n"
        f"cd '{ada.folder}' && env -u GIT_DIR -u GIT_QUARANTINE_PATH {faster}\n"
    )
    hook.chmod(0o755)

    refused = ada("lease", "acquire", "env:a", "env:b", "env:c", "--confirm", "remote")

    assert (refused.code, refused.error["code"]) == (5, "held")
    assert "agent:cy" in refused.error["message"]
    assert not list((ada.store / "local" / "confirming").iterdir())
    bo.ok("lease", "acquire", "env:a", "env:c", "--confirm", "remote")


def test_clones_share_the_places_of_a_confirmed_pool(sides):
    ada, bo = sides
    one = ada.ok("lease", "acquire", "gpu:a*2", "--confirm", "remote").json
    two = bo.ok("lease", "acquire", "gpu:a*2", "--confirm", "remote").json

    full = ada("lease", "acquire", "gpu:a*2", "--confirm", "remote")
    bo.ok("lease", "release", two["lease_id"])
    freed = ada.ok("lease", "acquire", "gpu:a*2", "--confirm", "remote").json

    assert (full.code, full.error["code"]) == (5, "held")
    assert one["fence"] < two["fence"] < freed["fence"]


def test_a_shared_hold_is_still_shared_once_it_was_renewed(sides):
    ada, bo = sides
    ada.ok("lease", "acquire", "path:src/**", "--shared", "--confirm", "remote", "--ttl", "1m")
    ada.ok("lease", "renew", "path:src/**")

    bo.ok("lease", "acquire", "path:src/a.py", "--shared", "--confirm", "remote")


def test_whoever_waits_has_it_soon_after_another_clone_gives_it_back(sides):
    ada, bo = sides
    lease = ada.ok("lease", "acquire", "env:a", "--confirm", "remote").json
    waiting = begun(bo, "lease", "acquire", "env:a", "--confirm", "remote", "--wait", "60s")
    until(lambda: (bo.store / "local" / "waiting").is_dir(), "bo waits")
    ada.ok("lease", "release", lease["lease_id"])

    said, _ = waiting.communicate(timeout=60)

    assert waiting.returncode == 0
    assert json.loads(said)["confirmed"] == "remote"


def test_a_dead_holder_in_a_busy_domain_is_succeeded_though_others_come_and_go(sides):
    """Each hold is watched by itself: the record of all paths changes with every other path."""
    ada, bo = sides
    ada.ok("lease", "acquire", "path:src/**", "--confirm", "remote", "--ttl", "3s")
    asked = bo("lease", "acquire", "path:src/a.py", "--confirm", "remote")
    for number in range(3):
        ada.ok("lease", "acquire", f"path:docs/{number}", "--confirm", "remote")

    taken = bo.ok("lease", "acquire", "path:src/a.py", "--confirm", "remote", "--wait", "60s")

    assert asked.code == 5
    assert taken.json["confirmed"] == "remote"


def test_a_command_runs_under_a_confirmed_lease_that_is_renewed_and_given_back(sides):
    ada, bo = sides
    words = ["lease", "exec", "env:a", "gpu:b*2", "--confirm", "remote", "--ttl", "15s", "--"]
    running = begun(ada, *words, "sh", "-c", "echo $COORD_FENCE; read line; exit 7")
    fences = running.stdout.readline().split()
    nonce = held(bo, "env:a")["nonce"]
    until(lambda: held(bo, "env:a")["nonce"] != nonce, "the record is renewed")
    refused = bo("lease", "acquire", "env:a", "--confirm", "remote")
    running.communicate(b"\n", timeout=60)

    assert fences == [b"1000000", b"1000000"]
    assert refused.code == 5
    assert running.returncode == 7
    bo.ok("lease", "acquire", "env:a", "--confirm", "remote")


def test_a_command_is_ended_before_its_lease_is_when_the_remote_does_not_answer(sides):
    ada, _ = sides
    words = ["lease", "exec", "env:a", "--confirm", "remote", "--ttl", "6s", "--grace", "1s", "--"]
    running = begun(ada, *words, "sh", "-c", "echo begun; exec sleep 600")
    assert running.stdout.readline() == b"begun\n"
    git(ada.folder, "remote", "set-url", "origin", ada.folder / "nowhere")

    _, said = running.communicate(timeout=60)

    assert running.returncode == 5
    assert b"could not be renewed in time" in said


def test_check_says_held_of_what_this_host_was_promised_and_has_lost(sides):
    """The host keeps its word to whom it told so, until that is over or given back."""
    ada, bo = sides
    bo.ok("lease", "acquire", "env:a")
    ada.ok("lease", "acquire", "env:a")
    bo.ok("lease", "release", "env:a")
    bo.ok("ev", "sync")
    ada.ok("ev", "sync")

    told = ada("lease", "check", "env:a", as_="agent:cy")
    refused = ada("lease", "acquire", "env:a", as_="agent:cy")
    mine = ada("lease", "check", "env:a")
    elsewhere = bo("lease", "check", "env:a", as_="agent:cy")

    assert (told.code, told.json["promised"], told.json["agent_id"]) == (1, True, "agent:ada")
    assert refused.code == 5
    assert (mine.code, elsewhere.code) == (0, 0)


def test_without_a_remote_nothing_is_confirmed(run, store):
    answer = run("lease", "acquire", "env:a", "--confirm", "remote", as_="agent:ada")

    assert (answer.code, answer.error["code"]) == (3, "no_remote")
    assert run("lease", "list").out == ""
