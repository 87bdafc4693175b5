"""`lease guard`: people, commits and coding agents are kept off what others have leased."""

import json
import os
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
PATH = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def leased(run, store):
    """agent:bo holds src/api, for a reason; agent:ada holds docs."""
    run.ok("lease", "acquire", "path:src/api/**", "--why", "the rewrite", as_="agent:bo")
    run.ok("lease", "acquire", "path:docs/**", as_="agent:ada")
    return run


def committed(run, as_: str, path: str, cwd: Path | None = None):
    """Change a file and commit it with the real git."""
    folder = cwd or run.folder
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(as_ + path)
    run.ok("git", "add", path, cwd=folder)
    return run("git", "commit", "--quiet", "-m", "A change", as_=as_, cwd=folder, env=PATH)


def test_each_path_has_a_verdict(leased):
    paths = ["src/api/a.py", "docs/a.md", "lib/x.py", "../elsewhere", ".git/config"]
    told = leased("lease", "guard", *paths, as_="agent:ada")
    piped = leased("lease", "guard", "-", input="\n".join(paths), as_="agent:ada")

    assert [row["verdict"] for row in told.lines] == [
        "blocked", "mine", "clear", "unmanaged", "unmanaged",
    ]  # fmt: skip
    assert (told.code, piped.out) == (1, told.out)
    assert told.lines[0]["agent_id"] == "agent:bo"
    assert "the rewrite" in told.error["message"]
    assert leased("lease", "guard", "docs/a.md", "lib/x.py", as_="agent:ada").code == 0


def test_a_commit_of_what_somebody_else_has_leased_is_stopped(leased):
    leased.ok("lease", "guard", "--install")

    stopped = committed(leased, "agent:ada", "src/api/a.py")

    assert stopped.code != 0
    assert "src/api/a.py is not yours to change" in stopped.err
    leased.ok("git", "rm", "--quiet", "--cached", "src/api/a.py")
    assert committed(leased, "agent:ada", "docs/a.md").code == 0
    assert committed(leased, "agent:bo", "src/api/a.py").code == 0


def test_the_guard_stands_beside_the_users_hook_also_in_a_linked_worktree(leased, tmp_path):
    """Both run; what the user's says still counts."""
    hook = leased.folder / ".git" / "hooks" / "pre-commit"
    hook.write_text('#!/bin/bash\necho ran >> "$HOOK_LOG"\n[ ! -e forbidden ]\n')
    hook.chmod(0o755)
    before = hook.read_bytes()
    leased.ok("lease", "guard", "--install")
    leased.ok("git", "worktree", "add", "--quiet", "../linked")
    linked = leased.folder.parent / "linked"
    log = tmp_path / "log"
    PATH["HOOK_LOG"] = str(log)

    fine = committed(leased, "agent:ada", "docs/a.md", linked)
    stopped = committed(leased, "agent:ada", "src/api/a.py", linked)
    leased.ok("git", "reset", "--quiet", cwd=linked)
    (linked / "forbidden").touch()
    refused = committed(leased, "agent:ada", "docs/b.md", linked)

    assert (fine.code, log.read_text()) == (0, "ran\nran\n")
    assert stopped.code != 0
    assert refused.code != 0
    leased.ok("lease", "guard", "--uninstall")
    assert hook.read_bytes() == before


def test_hooks_path_is_respected_and_uninstall_leaves_no_trace(leased):
    leased.ok("git", "config", "core.hooksPath", "my-hooks")
    [row] = leased.ok("lease", "guard", "--install").lines

    assert row["hook"] == str(leased.folder / "my-hooks" / "pre-commit")
    assert committed(leased, "agent:ada", "src/api/a.py").code != 0
    assert leased.ok("lease", "guard", "--install").json["changed"] is False
    leased.ok("lease", "guard", "--uninstall")
    assert not (leased.folder / "my-hooks").exists()


def test_a_hook_that_is_no_shell_script_is_left_alone(leased):
    hook = leased.folder / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/usr/bin/env python3\n")
    hook.chmod(0o755)

    refused = leased("lease", "guard", "--install")

    assert (refused.code, hook.read_text()) == (5, "#!/usr/bin/env python3\n")


def claude(folder: Path, path: str) -> dict:
    return {
        "session_id": "abc", "transcript_path": "/x", "cwd": str(folder),
        "permission_mode": "default", "hook_event_name": "PreToolUse", "tool_name": "Edit",
        "tool_input": {"file_path": str(folder / path), "old_string": "a", "new_string": "b"},
    }  # fmt: skip


def codex(folder: Path, path: str) -> dict:
    patch = f"*** Begin Patch\n*** Update File: lib/y.py\n@@\n-a\n*** Add File: {path}\n+b\n"
    return {
        "session_id": "abc", "cwd": str(folder), "hook_event_name": "PreToolUse",
        "tool_name": "apply_patch", "tool_input": {"command": f"{patch}*** End Patch\n"},
    }  # fmt: skip


def gemini(folder: Path, path: str) -> dict:
    return {
        "session_id": "abc", "transcript_path": "/x", "cwd": str(folder),
        "hook_event_name": "BeforeTool", "timestamp": "2026-01-01T00:00:00Z",
        "tool_name": "write_file", "tool_input": {"file_path": path, "content": "b"},
    }  # fmt: skip


def cursor(folder: Path, path: str) -> dict:
    return {
        "conversation_id": "c", "hook_event_name": "preToolUse", "cwd": str(folder),
        "workspace_roots": [str(folder)], "tool_name": "Write",
        "tool_input": {"file_path": str(folder / path)},
    }  # fmt: skip


def reason_in(answer: dict) -> str:
    """Why it was denied, in whichever form; fails when it was not denied."""
    if "hookSpecificOutput" in answer:
        said = answer["hookSpecificOutput"]
        assert (said["hookEventName"], said["permissionDecision"]) == ("PreToolUse", "deny")
        return said["permissionDecisionReason"]
    if "permission" in answer:
        assert answer["permission"] == "deny"
        return answer["agent_message"]
    assert answer["decision"] == "deny"
    return answer["reason"]


@pytest.mark.parametrize("form", [claude, codex, gemini, cursor])
def test_a_coding_agent_is_denied_what_somebody_else_has_leased(leased, form):
    """In its own form, with exit 0, and with silence where it may go on."""
    leased.ok("git", "worktree", "add", "--quiet", "../linked")
    for folder in (leased.folder, leased.folder.parent / "linked"):
        denied = leased.ok(
            "lease", "guard", "--hook", input=json.dumps(form(folder, "src/api/a.py")),
            as_="agent:ada",
        )  # fmt: skip
        allowed = leased.ok(
            "lease", "guard", "--hook", input=json.dumps(form(folder, "docs/a.md")),
            as_="agent:ada",
        )  # fmt: skip

        assert "src/api/a.py" in reason_in(denied.json)
        assert "agent:bo" in reason_in(denied.json)
        assert allowed.out == ""


def test_who_only_reads_is_in_nobodys_way(leased):
    asked = {**claude(leased.folder, "src/api/a.py"), "tool_name": "Read"}

    assert leased.ok("lease", "guard", "--hook", input=json.dumps(asked), as_="agent:ada").out == ""
    assert leased("lease", "guard", "--hook", input="no json", as_="agent:ada").code == 6


def test_a_name_that_no_file_can_have_is_nobodys(leased):
    """And what stands beside it is judged all the same."""
    asked = claude(leased.folder, "src/api/a\x00.py")

    hooked = leased("lease", "guard", "--hook", input=json.dumps(asked), as_="agent:ada")
    piped = leased("lease", "guard", "-", input="a\0b\nsrc/api/a.py\n", as_="agent:ada")

    assert (hooked.code, hooked.out, hooked.err) == (0, "", "")
    assert [row["verdict"] for row in piped.lines] == ["unmanaged", "blocked"]
    assert piped.code == 1


def test_it_fails_open_only_when_the_store_cannot_be_read_and_says_so(run, store, leased):
    leased.ok("lease", "guard", "--install")
    store.rename(store.parent / "away")

    told = committed(leased, "agent:ada", "src/api/a.py")

    assert told.code == 0
    assert "nothing was checked" in told.err


def test_nobody_in_particular_holds_nothing(leased):
    """A commit by who has no identity is judged all the same."""
    leased.ok("git", "config", "--unset", "user.name")

    assert leased("lease", "guard", "docs/a.md").code == 1
    assert leased("lease", "guard", "lib/a.md").code == 0
