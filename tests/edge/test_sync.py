"""Sync between clones whose remote does what it should: what moves, and what is left alone."""

import json
import os
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from coord.core import record
from tests.remotes import (
    LATER_MS,
    Side,
    assert_quiet,
    assert_united,
    configured,
    footprint,
    git,
    in_turn,
)

NOTHING = {"in": [], "out": [], "retries": 0, "problems": [], "lost": []}
# Kills what called it before it does its n-th work.
KILLING_GIT = """#!/bin/sh
count=$(($(cat "{count}" 2>/dev/null || echo 0) + 1))
echo $count > "{count}"
if [ $count = {at} ]; then kill -9 $PPID; exit 1; fi
exec "{git}" "$@"
"""


def killing(folder: Path, n: int) -> dict[str, str]:
    """An environment in which the n-th git call kills its caller instead."""
    folder.mkdir(exist_ok=True)
    count, script = folder / "count", folder / "git"
    count.unlink(missing_ok=True)
    script.write_text(KILLING_GIT.format(count=count, at=n, git=shutil.which("git")))
    script.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def test_what_one_clone_says_every_clone_gets_word_for_word(pair):
    ada, bo = pair
    said = [*ada.say("one", "two"), *bo.say("three")]

    in_turn(ada, bo)

    assert_united(ada, bo, wanted=said)
    [journal] = [path.name for path in ada.store.glob("wk/agent-ada.*")]
    assert (ada.store / "wk" / journal).read_bytes() == (bo.store / "wk" / journal).read_bytes()
    assert_quiet(ada, bo)


def test_the_answer_names_events_and_commits_per_writer(pair, remote):
    ada, bo = pair
    ada.say("one")
    [writer] = ada.writers

    first = ada.sync()
    ada.say("two", "three")
    second = ada.sync()
    came = bo.sync()

    [one, two] = remote.git("rev-list", "--reverse", f"refs/coord/w/{writer}").splitlines()
    assert first == {
        **NOTHING, "remote": "origin", "out": [{"writer": writer, "events": 1, "after": one}],
    }  # fmt: skip
    assert second["out"] == [{"writer": writer, "events": 2, "after": two, "before": one}]
    assert came["in"] == [{"writer": writer, "events": 3, "after": two}]


def test_a_commit_holds_only_the_lines_that_are_new(pair, remote):
    ada, _ = pair
    ada.say("one")
    ada.sync()
    ada.say("two")
    ada.sync()

    [ref] = remote.refs()
    assert remote.git("ls-tree", "-r", "--name-only", f"refs/coord/{ref}") == "wk.jsonl"
    assert b'"title":"one"' not in remote.git("show", f"refs/coord/{ref}:wk.jsonl").encode()
    assert [json.loads(line)["body"]["title"] for line in remote.lines(ref)] == ["one", "two"]


def test_a_new_clone_and_a_remote_that_knows_nothing_have_nothing_to_do(pair, remote):
    ada, _ = pair

    assert ada.sync() == {**NOTHING, "remote": "origin"}
    assert remote.refs() == {}


def test_a_remote_without_a_single_commit_takes_journals(tmp_path):
    empty = tmp_path / "empty.git"
    git(tmp_path, "init", "--quiet", "--bare", empty)
    git(tmp_path, "init", "--quiet", "ada")
    ada = configured(tmp_path / "ada")
    ada.git("remote", "add", "origin", str(empty))
    ada.ok("ev", "init")
    ada.say("one")

    assert [row["events"] for row in ada.sync()["out"]] == [1]
    assert git(empty, "for-each-ref", "--format=%(refname)").startswith("refs/coord/w/agent-ada.")
    assert_quiet(ada)


def test_without_a_remote_sync_says_so_and_is_done(run, store):
    answer = run.ok("ev", "sync", as_="agent:ada")

    assert answer.json == {**NOTHING, "remote": ""}
    assert "there is no git remote" in answer.err


def test_of_several_remotes_none_of_which_is_origin_one_has_to_be_named(pair, remote):
    ada, bo = pair
    said = ada.say("one")
    ada.git("remote", "rename", "origin", "up")
    assert ada.sync()["remote"] == "up"
    ada.git("remote", "add", "other", str(remote.folder))

    refused = ada("ev", "sync")

    assert (refused.code, refused.error["code"]) == (3, "no_remote")
    assert "other, up" in refused.error["hint"]
    assert ada.sync("--remote", "up")["remote"] == "up"
    ada.ok("ev", "config", "set", "remote", "other")
    assert ada.sync()["remote"] == "other"
    bo.sync()
    assert_united(ada, bo, wanted=said)


def test_a_remote_that_is_not_there_by_name_is_not_found(pair):
    refused = pair[0]("ev", "sync", "--remote", "nowhere")

    assert (refused.code, refused.error["code"]) == (3, "no_remote")


def test_a_url_serves_as_remote_and_is_remembered_as_one(pair, remote):
    ada, bo = pair
    said = ada.say("one")

    relative = os.path.relpath(remote.folder, ada.folder)
    for url in (str(remote.folder), remote.folder.as_uri(), relative):
        assert ada.sync("--remote", url)["remote"] == url
    again = ada.sync("--remote", str(remote.folder))
    bo.sync()

    assert (again["in"], again["out"]) == ([], [])
    assert_united(ada, bo, wanted=said)
    assert ada.git("remote") == "origin"


def test_a_second_remote_gets_everything_that_is_held_here_and_relays_it(pair, remote, tmp_path):
    """A clone that knows only that one reads journals of clones that know only the first."""
    ada, bo = pair
    git(tmp_path, "init", "--quiet", "--bare", "other.git")
    for side in pair:
        side.git("remote", "add", "other", str(tmp_path / "other.git"))
    said = [*ada.say("one"), *bo.say("two")]
    in_turn(ada, bo, rounds=1)

    bo.sync("--remote", "other")
    said += bo.say("three")
    bo.sync("--remote", "other")
    ada.sync("--remote", "other")
    ada.sync()

    assert_united(ada, bo, wanted=said)
    assert bo.sync("--remote", "other")["out"] == []
    bo.sync()
    assert_quiet(ada, bo)
    assert remote.refs().keys() == {f"w/{writer}" for writer in bo.writers}


def test_texts_kept_apart_travel_with_the_lines_that_name_them(pair):
    ada, bo = pair
    text = "long " * 20_000
    ada.ok("wk", "create", "one", "--description", "-", input=text)
    in_turn(ada, bo, rounds=1)

    [blob] = bo.store.glob("blobs/*/*")
    assert (ada.store / blob.relative_to(bo.store)).read_bytes() == blob.read_bytes()
    assert bo.ok("ev", "check", "--full").lines == []


def test_a_journal_of_several_segments_arrives_whole(pair, remote):
    """The commits hold at most a mebibyte each, wherever the segments end."""
    ada, bo = pair
    text = "x" * 9_000
    rows = "".join(f'{{"title":"t{n}","description":"{text}"}}\n' for n in range(250))
    said = [row["event_id"] for row in ada.ok("wk", "create", "-", input=rows).lines]
    ada.sync()
    said += ada.say("after")

    in_turn(ada, bo, rounds=1)

    [ref] = remote.refs()
    assert len(list(ada.store.glob("wk/*.jsonl"))) == 3
    sizes = remote.git("rev-list", f"refs/coord/{ref}").splitlines()
    assert all(
        int(remote.git("cat-file", "-s", f"{commit}:wk.jsonl")) <= 1 << 20 for commit in sizes
    )
    assert_united(ada, bo, wanted=said)
    assert bo.ok("ev", "check").lines == []
    assert_quiet(ada, bo)


def test_pull_only_brings_in_and_push_only_sends_out(pair, remote):
    ada, bo = pair
    ada.say("one")
    ada.sync()
    said = bo.say("two")

    pulled = bo.sync("--pull")
    assert (len(pulled["in"]), pulled["out"], len(remote.refs())) == (1, [], 1)
    ada.say("three")
    ada.sync()
    pushed = bo.sync("--push")
    assert (pushed["in"], len(pushed["out"]), len(remote.refs())) == ([], 1, 2)

    in_turn(ada, bo, rounds=1)
    assert_united(ada, bo, wanted=said)


def test_push_alone_puts_nothing_on_top_of_a_ref_that_it_has_not_looked_at(pair, remote):
    """Without its memory a clone does not know what the remote has of its journals."""
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    shutil.rmtree(ada.store / "local")
    said += ada.say("two")

    ada.sync("--push")
    bo.sync()

    assert_united(ada, bo, wanted=said)
    lines = [line for ref in remote.refs() for line in remote.lines(ref)]
    assert len(lines) == len(set(lines)) == 2


def test_push_alone_sends_own_journals_again_whose_ref_was_deleted(pair, remote):
    ada, _ = pair
    ada.say("one")
    ada.sync()
    [ref] = remote.refs()
    remote.git("update-ref", "-d", f"refs/coord/{ref}")

    assert [row["events"] for row in ada.sync("--push")["out"]] == [1]


def test_a_dry_run_says_what_would_go_where_and_writes_nothing(pair, remote):
    ada, bo = pair
    bo.say("two")
    bo.sync()
    ada.say("one")
    ada.ok("wk", "list")
    before = footprint(ada.folder, remote.folder)

    row = ada.sync("--dry-run")

    assert footprint(ada.folder, remote.folder) == before
    assert row["dry_run"] is True
    [came], [went] = row["in"], row["out"]
    assert came["writer"] in bo.writers
    assert (went["writer"] in ada.writers, went["events"]) == (True, 1)
    assert ada.sync()["in"][0]["after"] == came["after"]


def test_a_dry_run_in_a_forked_store_writes_nothing(pair, remote):
    """What it would write again under another name is not written yet."""
    ada, _ = pair
    ada.say("one")
    ada.sync()
    saved = ada.folder.parent / "saved"
    shutil.copytree(ada.store, saved)
    ada.say("two")
    ada.sync()
    shutil.rmtree(ada.store)
    shutil.copytree(saved, ada.store)
    ada.say("three")
    ada.ok("wk", "list")
    before = footprint(ada.folder, remote.folder)

    ada.sync("--dry-run")

    assert footprint(ada.folder, remote.folder) == before


def test_a_quiet_sync_writes_nothing_anywhere(pair, remote):
    """No file, no folder, no reflog, on neither side; also where refs are logged."""
    ada, bo = pair
    for side in pair:
        side.git("config", "core.logAllRefUpdates", "always")
    ada.say("one")
    bo.say("two")
    in_turn(ada, bo)
    before = footprint(ada.folder, bo.folder, remote.folder)

    rows = [side.sync() for side in (ada, bo, ada)]

    assert rows == [{**NOTHING, "remote": "origin"}] * 3
    assert footprint(ada.folder, bo.folder, remote.folder) == before
    assert not list(ada.folder.glob(".git/logs/refs/coord/**/*"))


def test_without_its_local_folder_a_clone_compares_anew_and_changes_nothing(pair, remote):
    ada, bo = pair
    said = [*ada.say("one"), *bo.say("two")]
    in_turn(ada, bo)
    refs = remote.refs()
    shutil.rmtree(ada.store / "local")

    ada.sync()

    assert remote.refs() == refs
    assert_united(ada, bo, wanted=said)
    assert ada.attic == []
    assert_quiet(ada, bo)


def test_unpublished_lines_of_a_name_that_local_knew_are_sent_without_it(pair):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    said += ada.say("two")
    shutil.rmtree(ada.store / "local")
    said += ada.say("three")

    in_turn(ada, bo, rounds=1)

    assert_united(ada, bo, wanted=said)
    assert len(ada.writers) == 2


def test_a_copy_of_a_journal_that_was_taken_away_comes_back(pair):
    ada, bo = pair
    said = ada.say("one", "two")
    in_turn(ada, bo, rounds=1)
    [copy] = bo.store.glob("wk/agent-ada.*")
    copy.unlink()

    bo.sync()

    assert_united(ada, bo, wanted=said)
    assert_quiet(bo)


def test_killed_before_any_of_its_git_calls_a_sync_is_finished_by_the_next(pair, remote, tmp_path):
    """Both directions have something to do each time, and blobs are among it."""
    ada, bo = pair
    tips = []
    for n in range(12):
        ada.say(f"a{n}")
        ada.sync()
        tips += remote.refs().values()
    [ref] = remote.refs()
    said = []
    for n, tip in enumerate(tips, 1):
        remote.git("update-ref", f"refs/coord/{ref}", tip)
        said += bo.say(f"b{n}")
        answer = bo("ev", "sync", env=killing(tmp_path / "killing", n))
        if answer.code == 0:
            break
        assert answer.code == -signal.SIGKILL
        bo.sync()
        assert bo.attic == []
        assert len(bo.ids) == 2 * n
    assert 4 < n < len(tips)

    remote.git("update-ref", f"refs/coord/{ref}", tips[-1])
    in_turn(bo, ada, rounds=1)

    assert_united(ada, bo, wanted=said)
    assert len(ada.writers) == 2
    assert_quiet(ada, bo)


def test_a_lock_that_a_killed_git_left_on_our_own_refs_is_cleared_away(pair, remote):
    ada, bo = pair
    ada.say("one")
    in_turn(ada, bo, rounds=1)
    said = ada.say("two")
    [ref] = remote.refs()
    for side in pair:
        left_lock(side, ref)

    in_turn(ada, bo, rounds=1)

    assert_united(ada, bo, wanted=said)


def left_lock(side: Side, ref: str) -> None:
    """What a git that was killed long ago has left on one of our own refs."""
    lock = side.folder / f".git/refs/coord/remotes/origin/{ref}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_bytes(b"")
    os.utime(lock, (0, 0))


def test_such_a_lock_does_not_stop_an_archive_or_a_claim(pair):
    ada, bo = pair
    [work_id] = [row["work_id"] for row in ada.ok("wk", "create", "one").lines]
    in_turn(ada, bo, rounds=1)
    left_lock(bo, "archive")
    row = bo.ok("ev", "archive", "--silent", "0s", env={"COORD_NOW_MS": str(LATER_MS)}).json
    assert [entry["events"] for entry in row["writers"]] == [1]
    left_lock(ada, f"hold/{record.name(f'work:{work_id}')}")

    assert ada.ok("wk", "claim", work_id, "--confirm", "remote").json["confirmed"] == "remote"


def test_one_of_two_watchers_stands_by_until_the_other_has_ended(pair):
    ada, bo = pair
    first = ada.start("ev", "sync", "--watch", "1", as_="agent:ada")
    try:
        said = bo.say("one")
        bo.sync()
        assert json.loads(_line_of(first.stdout))["in"][0]["events"] == 1
        second = ada.start("ev", "sync", "--watch", "1", as_="agent:ada")
        said += ada.say("two")
        assert json.loads(_line_of(first.stdout))["out"][0]["events"] == 1
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 130
        said += ada.say("three")
        assert json.loads(_line_of(second.stdout))["out"][0]["events"] == 1
    finally:
        _end(first, second)

    bo.sync()
    assert_united(ada, bo, wanted=said)


def test_a_watcher_outlasts_a_remote_that_is_away_for_a_while(pair, remote):
    ada, _ = pair
    ada.say("one")
    away = remote.folder.with_name("away.git")
    remote.folder.rename(away)
    watcher = ada.start("ev", "sync", "--watch", "1", as_="agent:ada")
    try:
        assert b"unreachable" in _line_of(watcher.stderr)
        away.rename(remote.folder)
        assert json.loads(_line_of(watcher.stdout))["out"][0]["events"] == 1
    finally:
        _end(watcher)


def _line_of(stream):
    """The next line that a process prints, within a minute."""
    ready, _, _ = select.select([stream], [], [], 60)
    assert ready, "nothing was printed in time"
    return stream.readline()


def _end(*processes: subprocess.Popen[bytes]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def test_many_clones_that_push_at_once_never_get_in_each_others_way(pair, remote):
    sides = [*pair, remote.clone("kim")]
    said = [event_id for side in sides for event_id in side.say(side.name)]

    running = [side.start("ev", "sync", as_=f"agent:{side.name}") for side in sides]
    rows = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    in_turn(*sides, rounds=1)

    assert [row["retries"] for row in rows] == [0, 0, 0]
    assert_united(*sides, wanted=said)


def test_two_syncs_of_one_clone_at_once_are_one_after_the_other(pair):
    ada, bo = pair
    said = ada.say("one")

    running = [ada.start("ev", "sync", as_="agent:ada") for _ in range(3)]
    rows = [json.loads(process.communicate(timeout=60)[0]) for process in running]

    assert sum(len(row["out"]) for row in rows) == 1
    bo.sync()
    assert_united(ada, bo, wanted=said)


@pytest.mark.parametrize("tool", ["wk", "ev"])
def test_sync_is_the_same_verb_in_every_tool(pair, tool):
    ada, _ = pair
    ada.say("one")

    assert [row["events"] for row in ada.ok(tool, "sync").json["out"]] == [1]
