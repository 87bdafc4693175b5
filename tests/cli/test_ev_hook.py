"""The commit-msg hook: a trailer for the one claimed item, and no trace when it is gone."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from coord.core import hook

ADA = "agent:ada"


@pytest.fixture
def commit(run, store):
    """Commit with git as ada, with the tools on PATH; answers the whole message."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def committed(*words, as_=ADA, env=None, ok=True):
        environment = {"PATH": tools, **(env or {})}
        done = run("git", "commit", "--quiet", "--allow-empty", *words, as_=as_, env=environment)
        assert (done.code == 0) == ok, done.err
        return run.ok("git", "log", "-1", "--format=%B").out.strip()

    return committed


@pytest.fixture
def claimed(run, store):
    """One item that ada has claimed."""
    work_id = run.ok("wk", "create", "something", "--quiet", as_=ADA).out.strip()
    run.ok("wk", "claim", work_id, as_=ADA)
    return work_id


def install(run, *words):
    """Install or take back, as ada."""
    return run("ev", "hook", "commit-msg", *words, as_=ADA)


def everything_below(folder):
    """Every file with its bytes and rights, every folder."""
    return {
        str(path): (path.read_bytes() if path.is_file() else b"", stat.S_IMODE(path.stat().st_mode))
        for path in sorted(folder.rglob("*"))
    }


def user_hook(run, text, name=".git/hooks/commit-msg"):
    """A hook of the user's own."""
    path = run.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    path.chmod(0o755)
    return path


def test_a_commit_names_the_one_item_that_its_author_has_claimed(run, commit, claimed):
    install(run, "--install")

    assert commit("-m", "Fix it") == f"Fix it\n\nWork: {claimed}"


def test_a_message_that_names_an_item_stays_as_it_is(run, commit, claimed):
    install(run, "--install")

    assert commit("-m", "Fix it\n\nWork: wk-other") == "Fix it\n\nWork: wk-other"


def test_other_trailers_stay_and_ours_joins_them(run, commit, claimed):
    install(run, "--install")

    message = commit("-m", "Fix it\n\nSigned-off-by: Ada <ada@example.invalid>")

    assert message.endswith(f"Signed-off-by: Ada <ada@example.invalid>\nWork: {claimed}")


def test_with_no_claim_or_two_nothing_is_added(run, commit, claimed):
    install(run, "--install")

    assert commit("-m", "Fix it", as_="agent:bo") == "Fix it"
    other = run.ok("wk", "create", "else", "--quiet", as_=ADA).out.strip()
    run.ok("wk", "claim", other, as_=ADA)
    assert commit("-m", "Fix it") == "Fix it"


def test_a_session_names_its_own_claim(run, commit, store):
    install(run, "--install")
    mine = run.ok("wk", "create", "one", "--quiet", as_=ADA).out.strip()
    other = run.ok("wk", "create", "two", "--quiet", as_=ADA).out.strip()
    run.ok("wk", "claim", mine, "--session", "s1", as_=ADA)
    run.ok("wk", "claim", other, "--session", "s2", as_=ADA)

    assert commit("-m", "Fix", env={"COORD_SESSION": "s1"}).endswith(f"Work: {mine}")
    assert commit("-m", "Fix") == "Fix"


@pytest.mark.parametrize(
    "settings", [[], ["-c", "commit.verbose=true"], ["-c", "core.commentChar=;"]]
)
def test_an_empty_message_still_gives_the_commit_up(run, store, claimed, settings):
    """A trailer would have made it one."""
    install(run, "--install")
    (run.folder / "file").write_text("text\n")
    run.ok("git", "add", "file")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    done = run("git", *settings, "commit", as_=ADA, env={"PATH": tools, "GIT_EDITOR": "true"})

    assert done.code == 1
    assert "empty commit message" in done.err


def test_a_linked_worktree_names_its_item_too(run, commit, claimed, tmp_path):
    install(run, "--install")
    run.ok("git", "worktree", "add", "--quiet", tmp_path / "other")
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = ["git", "commit", "--quiet", "--allow-empty", "-m", "There"]

    run.ok(*words, as_=ADA, cwd=tmp_path / "other", env={"PATH": tools})

    message = run.ok("git", "log", "-1", "--format=%B", cwd=tmp_path / "other").out
    assert message.strip() == f"There\n\nWork: {claimed}"


def test_without_the_tools_a_store_or_an_agent_a_commit_is_a_commit(run, commit, claimed):
    install(run, "--install")
    without = os.pathsep.join(
        part for part in os.environ["PATH"].split(os.pathsep) if not (Path(part) / "ev").exists()
    )

    assert commit("-m", "One", env={"PATH": without}) == "One"
    assert run("ev", "hook", "commit-msg", ".git/COMMIT_EDITMSG", as_="").code == 0
    (run.folder / ".coord").rename(run.folder / "gone")
    assert commit("-m", "Two") == "Two"


def test_a_hook_that_was_installed_is_taken_back_without_a_trace(run, store):
    before = everything_below(run.folder / ".git")

    assert install(run, "--install").json["changed"]
    assert not install(run, "--install").json["changed"]
    assert install(run, "--uninstall").json["changed"]

    assert everything_below(run.folder / ".git") == before
    assert not install(run, "--uninstall").json["changed"]


def test_a_folder_that_was_made_for_the_hook_goes_with_it(run, store):
    run.ok("git", "config", "core.hooksPath", "tools/hooks")

    assert install(run, "--install").json["hook"] == str(run.folder / "tools/hooks/commit-msg")
    install(run, "--uninstall")

    assert not (run.folder / "tools/hooks").exists()


@pytest.mark.parametrize(
    "text",
    [
        "#!/bin/sh\n",
        "#!/bin/sh",
        "#!/bin/sh\nexit 0",
        '#!/usr/bin/env bash\nset -e\ngrep -q x "$1"\nexec true\n',
        "#! /bin/sh -e\r\necho\r\n",
    ],
)
def test_the_users_own_hook_is_byte_for_byte_as_before(run, store, text):
    path = user_hook(run, text)
    before = everything_below(run.folder / ".git")

    install(run, "--install")
    assert path.read_bytes() != text.encode()
    install(run, "--uninstall")

    assert everything_below(run.folder / ".git") == before


def test_the_users_own_hook_goes_on_to_decide(run, commit, claimed):
    """It runs after ours, so what it ends with counts, and an exit or exec does not stop ours."""
    user_hook(run, '#!/bin/sh\nif grep -q bad "$1"; then exit 1; fi\nexec true\n')
    install(run, "--install")

    assert commit("-m", "good").endswith(f"Work: {claimed}")
    assert commit("-m", "bad", ok=False).startswith("good")


def test_a_hook_behind_a_link_is_changed_where_it_lies(run, store):
    path = user_hook(run, "#!/bin/sh\necho\n", "tools/commit-msg")
    (run.folder / ".git/hooks/commit-msg").symlink_to(path)

    install(run, "--install")
    install(run, "--uninstall")

    assert path.read_bytes() == b"#!/bin/sh\necho\n"
    assert (run.folder / ".git/hooks/commit-msg").is_symlink()


@pytest.mark.parametrize("text", ["#!/usr/bin/env python3\nprint()\n", "\x7fELF", ""])
def test_a_hook_that_is_no_shell_script_is_left_alone(run, store, text):
    path = user_hook(run, text)

    answer = install(run, "--install")

    assert answer.code == 5
    assert answer.error["code"] == "exists"
    assert "ev hook commit-msg" in answer.error["hint"]
    assert path.read_bytes() == text.encode()


def test_a_hook_that_git_does_not_run_is_left_alone(run, store):
    """Making it executable would make the user's part run."""
    path = user_hook(run, "#!/bin/sh\nexit 1\n")
    path.chmod(0o644)

    assert install(run, "--install").error["code"] == "exists"


def test_what_was_added_to_our_hook_since_stays(run, store):
    install(run, "--install")
    path = run.folder / ".git/hooks/commit-msg"
    path.write_text(path.read_text() + "echo more\n")

    install(run, "--uninstall")

    assert path.read_text() == "#!/bin/sh\necho more\n"


@pytest.mark.parametrize("words", [[], ["--install", "--uninstall"], ["FILE", "--install"]])
def test_it_does_one_thing_at_a_time(run, store, words):
    assert install(run, *words).error["code"] == "usage"


def test_a_message_that_is_not_there_is_named(run, store):
    assert install(run, "nowhere").error["code"] == "no_file"


def test_outside_a_repository_there_is_nowhere_to_install(run, tmp_path):
    answer = run("ev", "hook", "commit-msg", "--install", as_=ADA, cwd=tmp_path)

    assert answer.error["code"] == "no_repository"


def test_the_block_is_shell_that_never_fails():
    script = hook.made("commit-msg", in_new_folder=False)
    shell = shutil.which("sh") or "/bin/sh"

    done = subprocess.run([shell, "-e"], input=script + b"exit 3\n", env={"PATH": "/nowhere"})

    assert done.returncode == 3
