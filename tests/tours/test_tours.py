"""The README and the tours are executed: every command in them prints what they say.

`pytest tests/tours --accept-tours` writes down what is printed now; read the
difference before you keep it. Time and chance stand still, so ids can be told.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tours import console

ROOT = Path(__file__).resolve().parents[2]
TOURS = sorted(Path(__file__).parent.glob("*.md"))
README_LINES = 200
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
    file: Path, session: console.Session, request: pytest.FixtureRequest
):
    text = file.read_text(encoding="utf-8")

    outcomes = [session.run(step) for step in console.steps(text)]

    if request.config.getoption("--accept-tours", False):
        file.write_text(console.rewritten(text, outcomes), encoding="utf-8")
        return
    wrong = [outcome for outcome in outcomes if not outcome.is_as_told]
    differences = [outcome.difference(file.name) for outcome in wrong[:SHOWN]]
    assert not wrong, f"{len(wrong)} of {len(outcomes)} differ\n\n" + "\n\n".join(differences)
