"""Leases that the git remote confirms: one holder in all clones, whatever was synced."""

from pathlib import Path

import pytest

from tests.remotes import Side, git


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


@pytest.mark.parametrize("words", [["env:a", "env:b"], ["env:a", "--wait"], ["env:pool*3"]])
def test_the_remote_is_asked_for_one_resource_at_a_time(sides, words):
    ada, _ = sides

    answer = ada("lease", "acquire", *words, "--confirm", "remote")

    assert (answer.code, answer.error["code"]) == (2, "usage")


def test_without_a_remote_nothing_is_confirmed(run, store):
    answer = run("lease", "acquire", "env:a", "--confirm", "remote", as_="agent:ada")

    assert (answer.code, answer.error["code"]) == (3, "no_remote")
    assert run("lease", "list").out == ""
