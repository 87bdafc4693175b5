"""`run loop`: each bound stops it and is named; progress is evidence; nothing is left behind."""

import json
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import until

ADA = "agent:ada"
DEADLINE_S = 60.0


def lives(pid: str) -> bool:
    """Whether a process is there and has not ended; its parent may not have noticed yet."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@pytest.fixture
def loop(run: Any, store: Path) -> Callable[..., Any]:
    """`loop(options…, line)`: a loop over a shell line."""
    return lambda *words: run("run", "loop", *words[:-1], "--", "sh", "-c", words[-1], as_=ADA)


def told(answer: Any) -> list[dict[str, Any]]:
    """What stands on stderr, line by line."""
    return [json.loads(line) for line in answer.err.splitlines() if line.startswith("{")]


def end_of(answer: Any) -> dict[str, Any]:
    return dict(told(answer)[-1]["loop"])


def warnings(answer: Any) -> list[str]:
    return [line["warning"]["message"] for line in told(answer) if "warning" in line]


WORK = "echo x >> rounds"
SPENDS = '{"type":"result","total_cost_usd":0.5,"usage":{"input_tokens":70,"output_tokens":30}}'
TURN = '{"type":"turn.completed","usage":{"input_tokens":90,"output_tokens":10}}'
PARTS = '{"a":[{"c":1},{"c":1}]}'


@pytest.mark.parametrize(
    ("options", "line", "reason", "status", "rounds"),
    [
        (["--max-iterations", "3"], WORK, "max_iterations", 0, 3),
        (["--max-iterations", "3", "--until", "false"], WORK, "max_iterations", 10, 3),
        (["--max-iterations", "9", "--until", "[ $(wc -l <rounds) -ge 4 ]"], WORK, "until", 0, 4),
        (["--max-iterations", "9", "--until", "true"], WORK, "until", 0, 0),
        (["--no-progress", "3"], "true", "no_progress", 11, 3),
        (["--max-cost", "2", "--cost-from", "claude"], f"echo '{SPENDS}'", "max_cost", 12, 4),
        (["--max-cost", "300tokens", "--cost-from", "claude"], f"echo '{SPENDS}'",
         "max_cost", 12, 3),
        (["--max-cost", "200tokens", "--cost-from", "codex"], f"echo '{TURN}'", "max_cost", 12, 2),
        (["--max-cost", "4", "--cost-from", "$.a[*].c"], f"echo '{PARTS}'", "max_cost", 12, 2),
        (["--max-cost", "2", "--cost-from", "claude"], "echo hello", "cost_unknown", 13, 1),
    ],
)  # fmt: skip
def test_each_stop_fires_and_is_named(loop, options, line, reason, status, rounds):
    answer = loop(*options, line)

    assert answer.code == status, answer.err
    assert (end_of(answer)["reason"], end_of(answer)["rounds"]) == (reason, rounds)


def test_time_cuts_a_round_off(loop):
    """Or lets none begin, where the machine is busy."""
    answer = loop("--max-wall", "300ms", "sleep 600")

    assert answer.code == 124, answer.err
    assert end_of(answer)["reason"] == "max_wall"
    assert end_of(answer)["rounds"] in (0, 1)


def test_without_any_bound_there_is_no_loop(loop, run):
    answer = loop("--until", "false", "true")

    assert (answer.code, answer.error["code"]) == (2, "usage")


@pytest.mark.parametrize(
    "options",
    [
        ["--max-cost", "2"],
        ["--max-cost", "2", "--cost-from", "codex"],
        ["--max-cost", "2", "--cost-from", "usage"],
        ["--max-cost", "much", "--cost-from", "claude"],
        ["--max-iterations", "0"],
    ],
)
def test_a_bound_that_cannot_be_kept_is_refused(loop, options):
    assert loop(*options, "true").code == 2


def test_what_the_command_prints_passes_through(loop):
    plain = loop("--max-iterations", "2", "printf 'a\\nb'; echo err >&2")
    metered = loop("--max-iterations", "2", "--cost-from", "claude", "printf 'a\\nb'")

    assert plain.out == metered.out == "a\nba\nb"
    assert plain.err.count("err\n") == 2


def test_files_are_progress_until_they_were_there_before(loop, run):
    """New files that git does not know count; ignored ones, and two states in turns, do not."""
    (run.folder / ".gitignore").write_text("*.log\n")
    three = "[ -e 3 ] || { [ -e 2 ] && touch 3; [ -e 1 ] && touch 2; touch 1; }; date +%N > x.log"

    grows = loop("--no-progress", "2", three)
    flips = loop("--no-progress", "2", "if [ -e flip ]; then rm flip; else touch flip; fi")

    assert (end_of(grows)["reason"], end_of(grows)["rounds"]) == ("no_progress", 5)
    assert (end_of(flips)["reason"], end_of(flips)["rounds"]) == ("no_progress", 3)


def test_the_state_of_items_is_progress_and_words_about_them_are_not(loop, run):
    wk = run.command("wk")[0]
    item = run.ok("wk", "create", "thing", "--quiet", as_=ADA).out.strip()
    run.ok("wk", "claim", item, as_=ADA)

    talks = loop("--no-progress", "2", f"{wk} comment {item} 'still at it'; {wk} renew {item}")
    closes = loop("--no-progress", "2", f"{wk} close {item} --as done || true")

    assert end_of(talks)["rounds"] == 2
    assert end_of(closes)["rounds"] == 3


def test_how_until_ends_is_progress(loop, run):
    outside = run.folder.parent / "count"
    goal = f"exit $(( 4 - $(wc -l < {outside}) ))"
    outside.write_text("")

    answer = loop("--no-progress", "2", "--until", goal, f"echo x >> {outside}")

    assert (answer.code, end_of(answer)["rounds"]) == (0, 4)


def test_nothing_of_the_users_repository_changes(loop, run):
    (run.folder / "new").write_text("new\n")
    subprocess.run(["git", "add", "new"], cwd=run.folder, check=True)
    (run.folder / "new").write_text("newer\n")
    git = run.folder / ".git"
    before = {p: p.stat().st_mtime_ns for p in git.rglob("*") if p.is_file()}

    loop("--no-progress", "2", "true")

    assert {p: p.stat().st_mtime_ns for p in git.rglob("*") if p.is_file()} == before


def test_nine_tenths_of_a_bound_are_said_once(loop):
    answer = loop("--max-iterations", "10", "--max-wall", "1h", "true")

    assert warnings(answer) == ["max_iterations is near: 9 of 10 rounds"]


def test_an_unreadable_meter_is_said_to_be_unknown(loop):
    answer = loop("--max-iterations", "2", "--cost-from", "claude", "echo '{\"type\":'")

    assert answer.code == 0
    assert end_of(answer)["cost_unknown"] is True
    assert warnings(answer)[0] == "round 1 did not say what it has used: the cost is unknown"


def test_a_last_line_without_its_newline_is_measured(loop):
    answer = loop("--max-cost", "1", "--cost-from", "claude", f"printf '%s' '{SPENDS}'")

    assert (answer.code, end_of(answer)["usd"]) == (12, 1.0)


def test_cost_cuts_a_round_off(loop):
    """What is dear is not waited for."""
    answer = loop("--max-cost", "0.50", "--cost-from", "claude", "--grace", "200ms",
                  f"trap '' TERM; echo '{SPENDS}'; sleep 60")  # fmt: skip

    assert (answer.code, end_of(answer)["reason"]) == (12, "max_cost")


def test_a_command_that_is_not_there_stops_it(run, store):
    answer = run("run", "loop", "--max-iterations", "9", "--", "no-such-command", as_=ADA)

    assert answer.code == 127
    assert end_of(answer) == {**end_of(answer), "reason": "not_started", "rounds": 0}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_whole_tree(run, store, number, status):
    line = "setsid sh -c 'echo $$ > loose; exec sleep 600' & echo $$ > held; exec sleep 600"
    words = ("loop", "--max-iterations", "3", "--grace", "300ms", "--", "sh", "-c", line)
    process = run.start("run", *words, as_=ADA)
    files = [run.folder / name for name in ("loose", "held")]
    until(lambda: all(path.exists() and path.read_text().strip() for path in files))

    process.send_signal(number)

    assert process.wait(DEADLINE_S) == status
    assert json.loads(process.stderr.read().splitlines()[-1])["loop"]["reason"] == "interrupted"
    assert not [path for path in files if lives(path.read_text().strip())]


def test_what_rounds_leave_behind_is_ended_with_the_loop(loop, run):
    line = "setsid sleep 600 > /dev/null 2>&1 & echo $! >> left"

    answer = loop("--max-iterations", "3", "--grace", "300ms", line)

    left = (run.folder / "left").read_text().split()
    assert (answer.code, len(left)) == (0, 3)
    assert not [pid for pid in left if lives(pid)]


def test_in_a_run_show_tells_why_it_stopped(run, store):
    loop = (run.command("run")[0], "loop", "--no-progress", "10", "--", "true")

    answer = run("run", "exec", "--", *loop, as_=ADA)

    shown = run.ok("run", "show", run.ok("run", "list", "--status", "all", "--quiet").out.strip())
    assert answer.code == 11
    assert shown.json["loop"]["reason"] == "no_progress"
    assert shown.json["loop"]["near"] == ["no_progress"]
    assert shown.json["attempts"][0]["exit_code"] == 11
    noted = [event["body"]["loop"] for event in run("ev", "list").lines
             if event["type"] == "run.step"]  # fmt: skip
    assert [row.get("reason") for row in noted] == [None, "no_progress"]
    assert noted[0]["still"] == 9
