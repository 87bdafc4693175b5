"""Shell completion: verbs, and ids with their titles."""

import os
import subprocess
from pathlib import Path

import pytest

CONTRIB = Path(__file__).parents[2] / "contrib" / "completions"
ENDINGS = {"bash": 2, "zsh": 2, "fish": "wk-"}


def completed(run, shell, words, at):
    """What the shell is told when TAB is pressed after these words."""
    env = {"COMP_WORDS": words, "COMP_CWORD": str(at), "_WK_COMPLETE": f"{shell}_complete"}
    return run("wk", env=env).out


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_ids_complete_with_their_titles(run, store, shell):
    work_id = run.ok("wk", "create", "Fix the login", "--quiet", as_="agent:ada").out.strip()

    told = completed(run, shell, f"wk show {work_id[:6]}", ENDINGS[shell])

    assert work_id in told
    assert "Fix the login" in told


def test_bash_completes_ids(run, store):
    work_id = run.ok("wk", "create", "Fix the login", "--quiet", as_="agent:ada").out.strip()

    assert completed(run, "bash", f"wk claim {work_id[:5]}", 2) == f"plain,{work_id}\n"


def test_a_title_with_line_breaks_stays_one_entry(run, store):
    run.ok("wk", "create", "one\ntwo\x1b[31m", as_="agent:ada")

    assert "one\\ntwo\\x1b[31m" in completed(run, "zsh", "wk show wk-", 2)


def test_without_a_store_nothing_completes_and_nothing_is_said(run):
    env = {"COMP_WORDS": "wk show wk-", "COMP_CWORD": "2", "_WK_COMPLETE": "bash_complete"}

    answer = run("wk", env=env)

    assert (answer.out.strip(), answer.err) == ("", "")


@pytest.mark.parametrize("script", sorted(CONTRIB.iterdir()), ids=lambda path: path.name)
def test_a_script_in_contrib_is_what_the_tool_prints(run, script):
    tool, shell = script.name.split(".")

    printed = run(tool, env={f"_{tool.upper()}_COMPLETE": f"{shell}_source"}).out

    assert script.read_text() == printed


def test_the_bash_scripts_load():
    loading = "; ".join(f"source {path}" for path in CONTRIB.glob("*.bash"))
    done = subprocess.run(["bash", "-euc", loading], env={**os.environ}, capture_output=True)

    assert (done.returncode, done.stderr) == (0, b"")
