"""The README and the tours are executed: every command in them prints what they say.

`pytest tests/tours --accept-tours` writes down what is printed now; read the
difference before you keep it. Time and chance stand still, so ids can be told.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from coord.cli import ev, lease, msg, run, wk
from tests.tours import console

ROOT = Path(__file__).resolve().parents[2]
TOURS = sorted(Path(__file__).parent.glob("*.md"))
README_LINES = 300
SHOWN = 10


@pytest.fixture
def session(tmp_path: Path, frozen: Callable[..., dict[str, str]]) -> Iterator[console.Session]:
    """A shell in an empty repository of the person Kim, with the installed tools."""
    folder = tmp_path / "shop"
    folder.mkdir()
    tools = Path(sys.executable).parent
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, **frozen(), "PATH": path, "HOME": str(tmp_path)}
    (tmp_path / ".gitconfig").write_text(
        "[user]\n\tname = Kim\n\temail = kim@example.invalid\n[init]\n\tdefaultBranch = main\n"
    )
    subprocess.run(["git", "init", "--quiet"], cwd=folder, env=environment, check=True)
    with console.Session(folder, environment) as opened:
        yield opened


@pytest.mark.parametrize("file", [ROOT / "README.md", *TOURS], ids=lambda file: file.name)
def test_a_transcript_tells_what_happens(
    file: Path, session: console.Session, request: pytest.FixtureRequest, need: Any
):
    """A page names the programs it needs beyond the project's own: `<!-- needs tmux -->`."""
    text = file.read_text(encoding="utf-8")
    need(*re.findall(r"^<!-- needs (\w+) -->$", text, re.MULTILINE))

    outcomes = [session.run(step) for step in console.steps(text)]

    if request.config.getoption("--accept-tours", False):
        file.write_text(console.rewritten(text, outcomes), encoding="utf-8")
        return
    wrong = [outcome for outcome in outcomes if not outcome.is_as_told]
    differences = [outcome.difference(file.name) for outcome in wrong[:SHOWN]]
    assert not wrong, f"{len(wrong)} of {len(outcomes)} differ\n\n" + "\n\n".join(differences)


def verbs(group: click.Command, name: str) -> Iterator[str]:
    """Every command below a group, as it is typed."""
    if not isinstance(group, click.Group):
        yield name
        return
    context = click.Context(group)
    for verb in group.list_commands(context):
        found = group.get_command(context, verb)
        assert found, f"{name} lists {verb} and has no such verb"
        yield from verbs(found, f"{name} {verb}")


GROUPS = {"ev": ev.cli, "wk": wk.cli, "msg": msg.cli, "lease": lease.cli, "run": run.cli}


@pytest.mark.parametrize(("tool", "group"), GROUPS.items())
def test_every_verb_is_told_in_a_tour(tool: str, group: click.Group):
    """A verb that no story needs is not needed."""
    told = [step.command for file in TOURS for step in console.steps(file.read_text("utf-8"))]

    commands = "\n".join(told)

    assert not [verb for verb in verbs(group, tool) if not re.search(rf"\b{verb}\b", commands)]


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


TRANSCRIPT = """\
# A tour

```console
$ echo one; echo two 17 three
one
two … three
$ cat <<'TEXT'
> first
>
> > third
> TEXT
first

> third
$ seq 9
1
…
9
$ (exit 3)
[exit 3]
$ word=kept
$ echo $word >&2
kept
```
"""


def outcomes_of(text: str, session: console.Session) -> list[console.Outcome]:
    return [session.run(step) for step in console.steps(text)]


def test_a_true_transcript_stays_as_it_is(session: console.Session):
    """One session, here-documents, both outputs, exit statuses and both placeholders."""
    outcomes = outcomes_of(TRANSCRIPT, session)

    assert all(outcome.is_as_told for outcome in outcomes)
    assert console.rewritten(TRANSCRIPT, outcomes) == TRANSCRIPT


@pytest.mark.parametrize(
    ("told", "lie"),
    [
        ("two … three", "two … four"), ("9\n$ (exit", "8\n$ (exit"), ("[exit 3]\n", ""),
        ("first\n\n", "first\n"), ("kept\n```", "kept\n…\nmore\n```"),
    ],
)  # fmt: skip
def test_a_false_transcript_is_told_and_put_right(session: console.Session, told: str, lie: str):
    """What was true of it keeps its placeholders, other than a lone one."""
    text = TRANSCRIPT.replace(told, lie)

    outcomes = outcomes_of(text, session)

    wrong = [outcome for outcome in outcomes if not outcome.is_as_told]
    assert len(wrong) == 1
    assert "what it printed" in wrong[0].difference("a file")
    again = console.rewritten(text, outcomes)
    assert all(outcome.is_as_told for outcome in outcomes_of(again, session))
    assert ("two … three" in again) == (told != "two … three")


def test_a_command_that_ends_the_session_is_named(session: console.Session):
    with pytest.raises(AssertionError, match="ended the session"):
        session.run(console.Step(1, 1, "exit 0", ()))
