"""`lease`: resources are taken all or none, told plainly, and given back."""

import json
import signal
from pathlib import Path

import pytest

from tests.conftest import hold_up, until


def held(run, *resources: str, as_: str = "agent:ada", **options):
    """Acquire and answer the acknowledgements."""
    return run.ok("lease", "acquire", *resources, as_=as_, **options).lines


def test_an_acquire_tells_lease_fence_time_and_who_confirmed_it(run, store, frozen):
    [row] = held(run, "env:staging", env=frozen())

    assert row["lease_id"].startswith("lease-")
    assert (row["resource"], row["fence"], row["confirmed"]) == ("env:staging", 1, "host")
    assert row["expires_at_ms"] == int(frozen()["COORD_NOW_MS"]) + 900_000


def test_all_resources_or_none(run, store):
    held(run, "env:b", as_="agent:bo")

    refused = run("lease", "acquire", "env:a", "env:b", as_="agent:ada")

    assert (refused.code, refused.error["code"]) == (5, "held")
    assert run("lease", "check", "env:a", as_="agent:cy").code == 0


def test_a_refusal_tells_holder_since_when_until_when_why_and_whom_to_write_to(run, store):
    held(run, "path:src/**", "--why", "the new parser", as_="agent:bo")

    error = run("lease", "acquire", "path:src/a.py", as_="agent:ada").error

    assert error["holder"] == "agent:bo"
    assert error["why"] == "the new parser"
    assert error["acquired_at_ms"] < error["expires_at_ms"]
    assert error["held"] == "path:src/**"
    assert "msg send --to agent:bo" in error["hint"]
    assert "agent:bo until" in error["message"]


def test_what_i_hold_is_told_again_and_a_key_makes_a_retry(run, store):
    [first] = held(run, "env:a")
    [again] = held(run, "env:a")
    [keyed] = held(run, "env:b", "--key", "k")
    [retried] = held(run, "env:b", "--key", "k")

    assert (again["duplicate"], again["lease_id"]) == (True, first["lease_id"])
    assert (retried["duplicate"], retried["lease_id"]) == (True, keyed["lease_id"])


def test_a_retry_is_not_told_that_it_holds_what_somebody_else_has_by_now(run, store):
    [row] = held(run, "env:a", "--key", "k")
    run.ok("lease", "release", row["lease_id"], as_="agent:ada")
    held(run, "env:a", as_="agent:bo")

    refused = run("lease", "acquire", "env:a", "--key", "k", as_="agent:ada")

    assert (refused.code, refused.error["holder"]) == (5, "agent:bo")


def test_a_work_item_is_claimed_with_wk_and_listed_here(run, store):
    work_id = run.ok("wk", "create", "x", "--quiet", as_="agent:ada").out.strip()
    run.ok("wk", "claim", work_id, as_="agent:ada")

    refused = run("lease", "acquire", f"work:{work_id}", as_="agent:bo")

    assert (refused.code, refused.error["hint"]) == (2, f"wk claim {work_id}")
    [row] = run.ok("lease", "list", as_="agent:bo").lines
    assert (row["resource"], row["agent_id"]) == (f"work:{work_id}", "agent:ada")
    assert run("lease", "check", f"work:{work_id}", as_="agent:bo").code == 1


def test_a_pool_has_so_many_places_also_for_one_agent(run, store):
    fences = [held(run, "gpu:any*2")[0]["fence"] for _ in range(2)]

    refused = run("lease", "acquire", "gpu:any*2", as_="agent:ada")

    assert fences == [1, 2]
    assert refused.error["code"] == "held"
    assert run("lease", "check", "gpu:any*2", as_="agent:bo").code == 1


def test_check_is_0_for_free_and_mine_and_1_for_held(run, store):
    held(run, "path:lib/*.py")

    table = [("agent:ada", "path:lib/a.py", 0, "mine"), ("agent:bo", "path:lib/a*", 1, "held"),
             ("agent:bo", "path:lib/a.c", 0, "free"), ("agent:bo", "env:x", 0, "free")]  # fmt: skip
    for who, resource, code, state in table:
        answer = run("lease", "check", resource, as_=who)
        assert (answer.code, answer.json["state"]) == (code, state)


def test_shared_with_shared_conflicts_not(run, store):
    held(run, "path:docs/**", "--shared")
    held(run, "path:docs/a.md", "--shared", as_="agent:bo")

    assert run("lease", "check", "path:docs/a.md", "--shared", as_="agent:cy").code == 0
    assert run("lease", "check", "path:docs/a.md", as_="agent:cy").code == 1


def test_another_session_says_take_over(run, store):
    held(run, "env:a", "--session", "s1")

    refused = run("lease", "acquire", "env:a", "--session", "s2", as_="agent:ada")
    [taken] = held(run, "env:a", "--session", "s2", "--take-over")

    assert "--take-over" in refused.error["hint"]
    assert taken["fence"] == 2
    assert run("lease", "renew", "env:a", "--session", "s1", as_="agent:ada").code == 5


def test_renew_prolongs_and_after_its_time_is_a_new_hold(run, store, frozen):
    start = int(frozen()["COORD_NOW_MS"])
    [first] = held(run, "env:a", "--ttl", "10s", env=frozen())

    [more] = run.ok("lease", "renew", "env:a", as_="agent:ada", env=frozen(start + 5000, 2)).lines
    [anew] = run.ok(
        "lease", "renew", "env:a", "--ttl", "1m", as_="agent:ada", env=frozen(start + 20_000, 3)
    ).lines

    assert more["expires_at_ms"] == start + 15_000
    assert (anew["type"], anew["fence"]) == ("lease.acquire", 2)
    assert anew["lease_id"] != first["lease_id"]


def test_release_frees_it_and_a_second_one_says_that_it_is_gone(run, store):
    [row] = held(run, "env:a")
    run.ok("lease", "release", row["lease_id"][:10], as_="agent:ada")

    again = run("lease", "release", row["lease_id"], as_="agent:ada")

    assert again.error["code"] == "not_held"
    assert run("lease", "list", as_="agent:ada").code == 1
    assert run("lease", "release", "lease-nothere", as_="agent:ada").code == 3


def test_a_break_is_a_persons_names_the_holder_and_is_told_to_it(run, store):
    [row] = held(run, "env:a")

    refused = run("lease", "break", "env:a", "--why", "mine now", as_="agent:bo")
    run.ok("lease", "break", "env:a", "--why", "its machine is gone", as_="human:cy")
    told = run("lease", "renew", row["lease_id"], as_="agent:ada")

    assert (refused.code, refused.error["code"]) == (4, "not_allowed")
    assert run("lease", "break", "env:a", as_="human:cy").code == 2
    assert (told.code, told.error["code"]) == (5, "not_held")
    assert "its machine is gone" in told.error["message"]
    [event] = run.ok("ev", "list", "--type", "lease.break", as_="human:cy").lines
    assert event["body"]["holder"] == "agent:ada"


def test_the_owner_of_an_agent_breaks_its_lease(run, store):
    run.ok("ev", "agent", "register", "agent:ada", "--owner", "human:cy", as_="agent:ada")
    held(run, "env:a")

    run.ok("lease", "break", "env:a", "--why", "stuck", as_="human:cy")

    assert run("lease", "check", "env:a", as_="agent:bo").code == 0


def test_show_tells_what_happened_also_when_it_is_over(run, store):
    [row] = held(run, "env:a", "--why", "a try")
    shown = run.ok("lease", "show", row["lease_id"], as_="agent:bo").json
    run.ok("lease", "release", "env:a", as_="agent:ada")

    ended = run.ok("lease", "show", row["lease_id"], as_="agent:bo").json

    assert (shown["agent_id"], shown["why"]) == ("agent:ada", "a try")
    assert [event["type"] for event in ended["events"]] == ["lease.acquire", "lease.release"]
    assert run("lease", "show", "env:a", as_="agent:bo").code == 3


def test_list_is_mine_expired_or_of_a_file(run, store, frozen):
    start = int(frozen()["COORD_NOW_MS"])
    held(run, "path:src/**", "--ttl", "10s", env=frozen())
    held(run, "env:a", as_="agent:bo", env=frozen(seed=2))
    later = {"as_": "agent:ada", "env": frozen(start + 11_000, 3)}
    now = {"as_": "agent:ada", "env": frozen(start + 1000, 3)}

    assert [r["resource"] for r in run.ok("lease", "list", "--mine", **now).lines] == [
        "path:src/**"
    ]
    [over] = run.ok("lease", "list", "--expired", **later).lines
    assert (over["resource"], over["expired"]) == ("path:src/**", True)
    assert len(run.ok("lease", "list", "--path", "src/x/y.py", **now).lines) == 1
    assert run("lease", "list", "--path", "lib/y.py", **now).code == 1


def test_paths_are_named_from_the_top_from_any_folder_worktree_and_link(run, store):
    """Links and `..` resolved; a leading / is the top; a file whose name is a pattern, itself."""
    top: Path = run.folder
    (top / "src" / "api").mkdir(parents=True)
    (top / "src" / "[id].py").touch()
    (top / "alias").symlink_to("src/api")
    run.ok("git", "worktree", "add", "--quiet", "../tree")
    (top.parent / "tree" / "src").mkdir()
    table = [
        (top, "src/api/a.py", "src/api/a.py"),
        (top / "src", "api/a.py", "src/api/a.py"),
        (top / "src", "../lib/./*.py", "lib/*.py"),
        (top / "src", "/docs/**", "docs/**"),
        (top, f"{top}/src/a.py", "src/a.py"),
        (top, "alias/b.py", "src/api/b.py"),
        (top, "src/api", "src/api/**"),
        (top, "new/", "new/**"),
        (top, ".", "**"),
        (top / "src", "[id].py", "src/\\[id].py"),
        (top.parent / "tree" / "src", "a.py", "src/a.py"),
        (top, "../tree/src/b.py", "src/b.py"),
    ]
    for folder, typed, named in table:
        row = run("lease", "check", f"path:{typed}", as_="agent:ada", cwd=folder).json
        assert (typed, row["resource"]) == (typed, f"path:{named}")

    for typed in ("../elsewhere", "src/*/../x", "/../x"):
        assert run("lease", "check", f"path:{typed}", as_="agent:ada").code == 2


def test_letters_of_either_case_are_one_file_where_git_says_so(run, store):
    held(run, "path:README.md")
    before = run("lease", "check", "path:readme.md", as_="agent:bo").code
    run.ok("git", "config", "core.ignorecase", "true")

    assert (before, run("lease", "check", "path:readme.md", as_="agent:bo").code) == (0, 1)
    assert run("lease", "acquire", "path:readme.MD", as_="agent:bo").code == 5


def test_confirm_none_is_said_and_remote_refuses_rather_than_pretend(run, store):
    [row] = held(run, "env:a", "--confirm", "none")

    assert row["confirmed"] == "none"


def test_how_long_a_lease_runs_is_a_shared_setting(run, store):
    run.ok("ev", "config", "set", "lease.ttl_ms", "2m", as_="agent:ada")
    held(run, "env:a")
    run.ok("lease", "exec", "env:b", "--", "true", as_="agent:ada")

    raws = run.ok("ev", "list", "--type", "lease.acquire").lines
    assert [raw["body"]["ttl_ms"] for raw in raws] == [120_000, 120_000]


def test_a_dry_run_prints_the_event_and_writes_nothing(run, store):
    shown = run.ok("lease", "acquire", "env:a", "--dry-run", as_="agent:ada").json

    assert shown["body"]["fence"] == 1
    assert run("lease", "list", as_="agent:ada").code == 1


def test_emit_judges_a_lease_as_the_tool_does(run, store):
    held(run, "path:src/**", as_="agent:bo")
    refs = {"resource": "path:src/a.py", "lease_id": "lease-x"}
    body = {"fence": 2, "ttl_ms": 1000, "confirmed": "host"}
    line = json.dumps({"type": "lease.acquire", "refs": refs, "body": body})

    refused = run("ev", "emit", "-", input=line, as_="agent:ada")

    assert (refused.code, refused.error["code"]) == (5, "held")


@pytest.mark.parametrize("kind", ["expire", "lost"])
def test_watch_tells_once_what_nobody_has_written(run, store, kind):
    """A lease runs out; another session takes it over."""
    if kind == "lost":
        held(run, "env:a", "--session", "s1")
    watching = run.start("lease", "watch", "env:a", "--limit", "2", as_="agent:bo")
    _until_watching(run, watching)
    if kind == "lost":
        held(run, "env:a", "--session", "s2", "--take-over")
    else:
        held(run, "env:a", "--ttl", "1s")
    out, _ = watching.communicate(timeout=60)

    rows = [json.loads(line) for line in out.splitlines() if b"env:a" in line]
    derived = [row for row in rows if row.get("derived")]
    assert [row["type"] for row in derived] == [f"lease.{kind}"]
    assert derived[0]["actor"]["agent_id"] == "agent:ada"


def test_watch_tells_of_what_began_and_ran_out_between_two_looks(run, store):
    """It was held up meanwhile, as on a busy machine."""
    watching = run.start("lease", "watch", "env:a", "--limit", "2", as_="agent:bo")
    _until_watching(run, watching)
    hold_up(watching)
    held(run, "env:a", "--ttl", "1s")
    until(lambda: run("lease", "check", "env:a", as_="agent:bo").code == 0, "it has run out")
    watching.send_signal(signal.SIGCONT)

    out, _ = watching.communicate(timeout=60)

    assert [json.loads(line)["type"] for line in out.splitlines()] == [
        "lease.acquire", "lease.expire",
    ]  # fmt: skip


def _until_watching(run, watching) -> None:
    """Wait until the watcher has begun: the kernel shows what it has open."""
    import time

    for _ in range(600):
        names = Path(f"/proc/{watching.pid}/fd")
        if any("inotify" in str(name.readlink()) for name in _there(names)):
            return
        time.sleep(0.05)
    raise AssertionError("it did not begin to watch")


def _there(folder: Path) -> list[Path]:
    return [name for name in folder.iterdir() if name.is_symlink()]
