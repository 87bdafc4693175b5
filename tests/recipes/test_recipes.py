"""The recipes of contrib/recipes do what they say: each is run in a repository of its own."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, until
from tests.tours import console

RECIPES = ROOT / "contrib" / "recipes"
SCRIPTS = sorted(file for file in RECIPES.iterdir() if not file.suffix)
ADA, BO, KIM = "agent:ada", "agent:bo", "human:kim"


@pytest.fixture
def cook(run, store, monkeypatch):
    """`cook(name, words…)`: run a recipe as ada, with the tools on the PATH."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def cooked(name, *words, as_=ADA, **options):
        return run(RECIPES / name, *words, as_=as_, **options)

    return cooked


def executable(run, name, text):
    """A script beside the repository's files."""
    file = run.folder / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


def status_of(run, item):
    return run.ok("wk", "show", item, as_=KIM).json["status"]


def created(run, *words):
    return run.ok("wk", "create", *words, "--quiet", as_=KIM).out.strip()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_recipe_says_what_it_does_and_how_it_is_called(script):
    shell, purpose, gap, usage = script.read_text().splitlines()[:4]

    assert shell == "#!/bin/sh"
    assert re.fullmatch(r"# [A-Z].*[a-z].*[.,:]?.*", purpose)
    assert gap == "#"
    assert usage.startswith("#   ")
    assert os.access(script, os.X_OK)
    assert f"[{script.name}]({script.name})" in (RECIPES / "README.md").read_text()


def test_every_line_of_the_page_of_recipes_is_true(repo, store, need, request):
    need("jq")
    file = RECIPES / "README.md"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    text = file.read_text(encoding="utf-8")

    with console.Session(repo, {**os.environ, "PATH": path}) as session:
        outcomes = [session.run(step) for step in console.steps(text)]

    wrong = [outcome.difference(file.name) for outcome in outcomes if not outcome.is_as_told]
    assert not wrong, "\n\n".join(wrong)


def test_an_agent_loop_closes_what_works_and_puts_off_what_does_not(run, cook):
    good, bad = created(run, "good"), created(run, "bad")
    work = executable(run, "work", 'cat >"$1.json"; ! grep -q \'"bad"\' "$1.json"')

    answer = cook("agent-loop", "--drain", work)

    assert answer.code == 0, answer.err
    assert status_of(run, good) == "closed"
    shown = run.ok("wk", "show", bad, as_=KIM).json
    assert (shown["status"], "ready" in shown) == ("open", False)
    assert run.ok("wk", "log", bad, as_=KIM).lines[-1]["why"] == "it ended with 1"


def test_an_agent_loop_waits_for_what_becomes_ready(run, cook, need):
    need("jq")
    work = executable(run, "work", "cat >/dev/null")
    loop = run.start(RECIPES / "agent-loop", work, as_=ADA, start_new_session=True)
    try:
        items = [created(run, "first"), created(run, "second")]
        until(lambda: {status_of(run, one) for one in items} == {"closed"}, "both are closed")
    finally:
        os.killpg(loop.pid, signal.SIGTERM)
        loop.communicate()


def test_an_agent_loop_ends_where_it_may_not_go_on(run, cook):
    created(run, "something")
    run.ok("ev", "agent", "pause", ADA, "--why", "stop", as_=KIM)

    answer = cook("agent-loop", "true")

    assert answer.code == 4
    assert answer.error["code"] == "paused"


def test_a_crew_in_tmux_works_off_the_list(run, cook, need, tmp_path, monkeypatch):
    need("tmux")
    monkeypatch.setenv("TMUX_TMPDIR", str(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)
    items = [created(run, f"item {n}") for n in range(4)]
    work = executable(run, "it's work", 'cat >/dev/null; echo "$COORD_AGENT" >"$1.done"')
    try:
        answer = cook("tmux-crew", "2", work, "--")
        assert answer.code == 0, answer.err
        until(lambda: all(status_of(run, item) == "closed" for item in items), "all are closed")
        panes = run.ok("tmux", "list-panes", "-t", "crew").out.splitlines()
    finally:
        run("tmux", "kill-server")

    assert len(panes) == 3
    done = {file.read_text().strip() for file in run.folder.glob("*.done")}
    assert done <= {"agent:crew-1", "agent:crew-2"}


def test_cron_reminds_who_holds_what_is_due(run, cook):
    """As cron runs it: with next to no environment, again and again."""
    item = created(run, "Pay the tax", "--due", "3h")
    created(run, "Later", "--due", "9d")
    run.ok("wk", "claim", item, as_=ADA)
    few = ("env", "-i", f"PATH={os.environ['PATH']}", f"HOME={run.folder}")

    answers = [run(*few, RECIPES / "cron-reminders", run.folder, cwd=Path("/")) for _ in range(2)]

    assert [(answer.code, answer.out, answer.err) for answer in answers] == [(0, "", "")] * 2
    rules = run.ok("msg", "remind", "--list", as_=ADA).lines
    assert [rule["work_id"] for rule in rules] == [item]


def test_the_night_is_told_as_markdown(run, cook, need):
    need("jq")
    done, new = created(run, "Fix the login"), created(run, "Write the manual")
    run.ok("wk", "claim", done, as_=ADA)
    run.ok("wk", "close", done, "--as", "done", as_=ADA)
    run("run", "exec", "--", "false", as_=ADA)
    run.ok("git", "commit", "--quiet", "--allow-empty", "--message", "Tidy up")

    answer = cook("nightly-report")

    assert answer.code == 0
    assert answer.err == ""
    text = answer.out
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        "Closed", "New", "Who did what", "Needs a look", "Runs that failed"
    ]  # fmt: skip
    assert f"- {done} Fix the login (done)" in text
    assert f"- {new} Write the manual" in text
    assert "unmentioned" in text
    assert " failed: false" in text


def test_a_quiet_night_has_a_title_and_nothing_else(run, cook, need):
    need("jq")

    answer = cook("nightly-report", "2099-01-01")

    assert answer.out == f"# {run.folder.name}: since 2099-01-01\n"


@pytest.fixture
def gated(run, cook, tmp_path):
    """`gated(branch, **env)`: push HEAD to a branch of a remote behind the gate, as ada."""
    run.ok("git", "init", "--quiet", "--bare", tmp_path / "there.git")
    run.ok("git", "remote", "add", "origin", tmp_path / "there.git")
    (run.folder / ".git" / "hooks" / "pre-push").symlink_to(RECIPES / "pre-push")

    def push(branch="main", **env):
        return run("git", "push", "--quiet", "origin", f"HEAD:{branch}", as_=ADA, env=env)

    return push


def test_the_gate_keeps_unfinished_work_from_main(run, gated, need):
    """Elsewhere it may go, and once it is submitted to main too; what is there is not asked for."""
    need("jq")
    item = created(run, "Fix the login")
    run.ok("wk", "claim", item, as_=ADA)
    run.ok("git", "commit", "--quiet", "--allow-empty", "-m", f"Fix\n\nWork: {item}")

    refused, elsewhere = gated(), gated("topic")
    run.ok("wk", "submit", item, as_=ADA)
    passed = gated()
    run.ok("git", "commit", "--quiet", "--allow-empty", "-m", "Another\n\nWork: wk-unknown")

    assert refused.code != 0
    assert f"pre-push: {item} is still claimed" in refused.err
    assert (elsewhere.code, passed.code) == (0, 0)
    assert gated().code == 0


def test_the_gate_is_shut_while_somebody_else_holds_the_branch(run, gated, need):
    need("jq")
    run.ok("git", "commit", "--quiet", "--allow-empty", "-m", "One")
    run.ok("lease", "acquire", "branch:main", "--why", "release", as_=BO)

    refused = gated()

    assert refused.code != 0
    assert "branch:main is held by agent:bo" in refused.err


def test_the_gate_runs_a_check_whose_output_is_kept(run, gated, need):
    need("jq")
    run.ok("git", "commit", "--quiet", "--allow-empty", "-m", "One")

    refused, passed = gated(CHECK="echo no; exit 3"), gated(CHECK="echo yes")

    assert (refused.code != 0, passed.code) == (True, 0)
    assert run.ok("run", "list", "--status", "failed", as_=ADA).json["title"] == "pre-push"
    assert run("git", "push", "--quiet", "origin", ":main", as_=ADA).code == 0


def test_a_queue_of_jobs_tells_which_failed(run, cook, need):
    need("jq")
    jobs = 'touch made\n\necho it broke; exit 3\necho "it\'s fine"\n'

    answer = cook("job-queue", "2", input=jobs)

    assert answer.code == 1
    assert answer.out == "echo it broke; exit 3: failed\n    it broke\n"
    assert (run.folder / "made").exists()
    assert len(run.ok("run", "list", "--status", "all", as_=ADA).lines) == 3
    assert cook("job-queue", input="true\n").code == 0


def test_what_is_done_on_an_event_is_done_once(run, cook):
    """Also for what happened while nobody watched."""
    cook("on-event", "demo.none", "true", env={"LIMIT": "0"})
    note = executable(run, "note", "cat >>seen")
    watch = run.start(RECIPES / "on-event", "demo.*", note, as_=ADA, start_new_session=True)
    try:
        until(lambda: [*run.folder.glob(".coord/local/on-event.*")], "it watches")
        run.ok("ev", "emit", "demo.one", as_=BO)
        until(lambda: "demo.one" in _text(run.folder / "seen"), "the first came")
    finally:
        os.killpg(watch.pid, signal.SIGTERM)
        watch.communicate()
    run.ok("ev", "emit", "demo.two", as_=BO)
    answer = cook("on-event", "demo.*", note, env={"LIMIT": "1"})

    assert answer.code == 0, answer.err
    assert re.findall(r'"type":"(demo\.\w+)"', _text(run.folder / "seen")) == [
        "demo.one", "demo.two"
    ]  # fmt: skip


def _text(file):
    return file.read_text() if file.exists() else ""


def test_each_query_answers(run, cook, need):
    need("jq")
    item = created(run, "Fix the login")
    run.ok("wk", "claim", item, as_=ADA)
    run.ok("wk", "release", item, as_=ADA)
    begun = run.ok("wk", "claim", item, "--quiet", as_=BO)
    cause = run.ok("ev", "list", "--type", "work.claimed", "--quiet", as_=BO).out.split()[-1]
    mail = run.ok("msg", "send", "--to", BO, "--subject", "x", "--body", "y", "--cause", cause,
                  "--quiet", as_=ADA).out.strip()  # fmt: skip
    run("run", "exec", "--", "false", as_=ADA)
    done = created(run, "Old")
    run.ok("wk", "close", done, "--as", "done", as_=KIM)

    told = {name: cook("queries", name).out for name in (
        "holders", "slowest", "hands", "hours", "failing", "unread", "causes"
    )}  # fmt: skip

    assert begun.code == 0
    assert told["holders"] == f"30 min\tagent:bo\twork:{item}\n"
    assert told["slowest"] == f"0 h\t{done}\tOld\n"
    assert told["hands"] == f"2\t{item}\tagent:ada agent:bo\n"
    assert sum(int(line.split("\t")[1]) for line in told["hours"].splitlines()) >= 10
    assert told["failing"] == "1\tfalse\n"
    assert told["unread"].startswith(f"{mail}\tagent:bo\t")
    assert "1\twork.claimed -> msg.sent\n" in told["causes"]
    unknown = cook("queries", "nothing")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err.count("\n") == len(told)
