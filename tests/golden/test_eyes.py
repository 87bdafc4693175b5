"""What people see, character by character, at 80 and at 160 columns.

Make the files again with: pytest tests/golden --accept. Accept a change only when you can
say why each line has changed.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import FROZEN_MS, Runner, frozen_environment
from tests.golden import screen

HERE = Path(__file__).parent
MINUTE_MS = 60_000
NOW = 240
WIDTHS = (80, 160)
VIEWS = {
    "wk-board": "wk board",
    "wk-list": "wk list",
    "wk-show": "wk show shop-2",
    "wk-stale": "wk stale --days 0",
    "wk-health": "wk health",
    "wk-stats-agent": "wk stats --by agent",
    "wk-stats-week": "wk stats --by week",
    "wk-graph": "wk graph --format text",
    "wk-critical": "wk critical",
    "ev-tail": "ev tail -n 12",
    "ev-tree": "ev tree 01KDWGJ",
    "ev-status": "ev status --since 4h",
    "msg-inbox": "msg inbox",
    "lease-list": "lease list",
    "lease-check": "lease check env:staging work:shop-1 path:docs/a.md",
    "run-list": "run list --status all",
}
ITEMS = """\
{"work_id": "shop-1", "title": "Fix the login crash", "type": "bug", "priority": 1, "labels": ["auth"]}
{"work_id": "shop-2", "title": "Write the manual", "needs": "shop-1", "description": "For people who have never seen a shop from behind, in plain words, with a picture on every other page.", "labels": ["docs"], "acceptance": ["it prints on A5"]}
{"work_id": "shop-3", "title": "Print the manual", "needs": "shop-2", "assignee": "kim"}
{"work_id": "shop-4", "title": "Umlauts: Jürgen, 漢字 and \\u202ewhat turns lines around", "type": "bug"}
{"work_id": "shop-5", "title": "Count the stock"}
{"work_id": "shop-6", "title": "Sweep the floor", "type": "chore", "priority": 4}
{"work_id": "shop-7", "title": "Order paper", "labels": ["docs"]}
"""  # noqa: E501
STORY = (
    (5, "agent:ada", "wk claim shop-1 --ttl 8h"),
    (10, "agent:bo", "wk claim shop-5 --ttl 30m"),
    (12, "agent:bo", "lease acquire env:staging --ttl 6h --why tests"),
    (15, "agent:cy", "wk claim shop-6"),
    (20, "agent:cy", "wk submit shop-6 --why done"),
    (25, "agent:ada", "wk close shop-7 --as done"),
    (30, "agent:ada", "wk reopen shop-7 --why empty"),
    (40, "agent:bo", "wk close shop-7 --as done"),
    (50, "agent:bo", "msg send --to human:kim --subject Lunch? --body Noon. --importance high"),
    (55, "agent:cy", "msg send --to human:kim --body Swept. --ack required"),
    (60, "human:kim", "run request --title build -- true"),
    (61, "human:kim", "run request -- sh -c make"),
    (200, "agent:ada", "wk comment shop-2 half"),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Runner:
    """A store with a history of four hours, the same at every time and place."""
    run = Runner(tmp_path_factory.mktemp("shop"))
    at = {"GIT_AUTHOR_DATE": "2026-01-01T10:00Z", "GIT_COMMITTER_DATE": "2026-01-01T10:00Z"}
    own = ["git", "-c", "user.name=Kim", "-c", "user.email=kim@example.invalid"]
    run.ok("git", "init", "--quiet", "--initial-branch=main")
    words = [*own, "commit", "--quiet", "--allow-empty", "-m", "Paint the door"]
    subprocess.run(words, cwd=run.folder, env={**os.environ, **at}, check=True)
    told(run, 0, "human:kim", "ev init")
    told(run, 0, "human:kim", "wk create -", ITEMS)
    for minute, agent, line in STORY:
        told(run, minute, agent, line)
    cause = told(run, 70, "agent:ada", "ev emit build.began --quiet").strip()
    for minute, kind in enumerate(("build.compiled", "build.tested"), start=71):
        one = told(run, minute, "agent:ada", f"ev emit {kind} --cause {cause} --quiet").strip()
    told(run, 75, "agent:ada", f"ev emit build.failed --cause {one}")
    return run


def told(run: Runner, minute: int, agent: str, line: str, text: str = "") -> str:
    """Run a command at a minute of the frozen morning; what it prints."""
    program, *words = line.split()
    env = frozen_environment(FROZEN_MS + minute * MINUTE_MS, minute)
    return run.ok(program, *words, as_=agent, env=env, input=text).out


@pytest.fixture(scope="module")
def terminals(shop: Runner) -> Iterator[screen.Screen]:
    """Terminals in the shop, at its minute `NOW`, for human:kim."""
    frozen = frozen_environment(FROZEN_MS + NOW * MINUTE_MS)
    with tempfile.TemporaryDirectory(prefix="eyes") as short:
        environment = shop.environment("human:kim", frozen)
        with screen.opened(shop.folder, environment, Path(short) / "s") as opened:
            yield opened


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_looks_as_it_was_accepted(
    name: str, columns: int, shop: Runner, request: pytest.FixtureRequest
):
    """Nothing is wider than the terminal, so no line of it breaks."""
    request.getfixturevalue("need")("tmux")
    terminals = request.getfixturevalue("terminals")
    file = HERE / f"{name}.{columns}.txt"
    words = VIEWS[name].split()

    shown = terminals.ended(terminals.start(columns, *shop.command(*words)))

    if request.config.getoption("--accept", False):
        file.write_text(shown, encoding="utf-8")
    assert shown == file.read_text(encoding="utf-8")


@pytest.fixture
def live(run: Runner, store: Path, need: Callable[..., None]) -> Iterator[screen.Screen]:
    """Terminals in a store of one test's own, where time goes on."""
    need("tmux")
    environment = run.environment("agent:ada")
    with (
        tempfile.TemporaryDirectory(prefix="eyes") as short,
        screen.opened(run.folder, environment, Path(short) / "s") as opened,
    ):
        yield opened


def test_a_watched_board_shows_what_happens_and_gives_the_screen_back(
    live: screen.Screen, run: Runner
):
    """It stands still: what it shows is always one board, from the first line."""
    live.tmux("new-session", "-d", "-s", "eyes", "-x", "80", "-y", "20", "cat")
    live.tmux("set-option", "-t", "eyes", "status", "off")
    shell = "echo before; " + shlex.join(run.command("wk", "board", "--watch")) + "; cat"
    live.tmux("respawn-pane", "-k", "-t", "eyes", shell)
    live.until("eyes", lambda text: text.startswith("READY (0)"))

    made = run.ok("wk", "create", "Seen at once", "--quiet", as_="agent:bo").out.strip()
    live.until("eyes", lambda text: text.startswith("READY (1)") and "Seen at once" in text)
    run.ok("wk", "claim", made, as_="agent:bo")
    claimed = live.until("eyes", lambda text: "bo, 29m left" in text or "bo, 30m left" in text)

    assert claimed.startswith("READY (0)")
    assert claimed.count("READY") == 1
    live.tmux("send-keys", "-t", "eyes", "C-c")
    live.until("eyes", lambda text: text.startswith("before") and "READY" not in text)


def test_a_watched_board_in_a_pipe_tells_each_change_once(run: Runner, store: Path):
    first = run.ok("wk", "create", "One", "--quiet", as_="agent:ada").out.strip()
    process = run.start("wk", "board", "--watch", as_="agent:ada")
    assert process.stdout is not None

    before = json.loads(process.stdout.readline())
    run.ok("wk", "create", "Two", as_="agent:ada")
    one, two = (json.loads(process.stdout.readline()) for _ in range(2))
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)

    assert (before["column"], before["of"], before["work_id"]) == ("ready", 1, first)
    assert [(row["title"], row["of"]) for row in (one, two)] == [("One", 2), ("Two", 2)]
    assert (process.returncode, rest) == (130, b"")


COLOUR = re.compile(r"\x1b\[[0-9;]*[39][1-6]m")
PLAIN = [{"NO_COLOR": "1"}, {"TERM": "dumb"}]


@pytest.mark.parametrize("words", VIEWS.values(), ids=VIEWS)
def test_a_view_without_colours_says_the_same(shop: Runner, words: str):
    """A screen reader, a dumb terminal and a colour-blind person learn all that others do."""
    frozen = frozen_environment(FROZEN_MS + NOW * MINUTE_MS)
    coloured = on_terminal(shop, words, {**frozen, "TERM": "xterm-256color"})

    for plain in PLAIN:
        shown = on_terminal(shop, words, {**frozen, "TERM": "xterm-256color", **plain})
        assert not COLOUR.search(shown)
        assert uncoloured(shown) == uncoloured(coloured)


def on_terminal(run: Runner, line: str, env: dict[str, str]) -> str:
    """What a command writes to a terminal of 80 columns, colours included."""
    words = shlex.join(run.command(*line.split()))
    whole = {**env, "COLUMNS": "80", "LINES": "60"}
    answer = run("script", "-qec", words, "/dev/null", as_="human:kim", env=whole)
    # What is held is answered with 1.
    assert answer.code in (0, 1), answer.err
    return answer.out


def uncoloured(text: str) -> list[str]:
    """Its lines without escape sequences."""
    return [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines()]


def test_a_board_has_colours_where_they_are_wanted(shop: Runner):
    frozen = frozen_environment(FROZEN_MS + NOW * MINUTE_MS)

    assert COLOUR.search(on_terminal(shop, "wk board", {**frozen, "TERM": "xterm-256color"}))


def test_there_is_no_file_without_a_view():
    kept = {path.name for path in HERE.glob("*.txt")}

    assert kept == {f"{name}.{columns}.txt" for name in VIEWS for columns in WIDTHS}
