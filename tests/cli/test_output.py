"""What comes out, and where: data on stdout, words on stderr, the same in every environment.

The commands run in a pipe, on a terminal of their own, without one of their streams,
and under other locales.
"""

import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import journals
from tests.conftest import DEADLINE_S, Runner

ADA = {"as_": "agent:ada"}
HOSTILE = "evil\ntitle\x1b]0;pwned\x07 \x1b[31mred \u202ertl \t\u2028end"
SHOWN = r"evil\ntitle\x1b]0;pwned\x07 \x1b[31mred \u202ertl \t\u2028end"


def on_terminal(run: Runner, *words: str, columns: int = 200) -> tuple[int, str]:
    """Run a command on a terminal of its own; its status and what was shown."""
    above, below = pty.openpty()
    environment = run.environment("agent:ada", {"TERM": "dumb", "COLUMNS": str(columns)})
    process = subprocess.Popen(
        run.command(*words), cwd=run.folder, env=environment,
        stdin=below, stdout=below, stderr=below, close_fds=True,
    )  # fmt: skip
    os.close(below)
    shown = b""
    while True:
        ready, _, _ = select.select([above], [], [], 60)
        assert ready, f"{words} shows nothing more and does not end"
        try:
            shown += os.read(above, 65536)
        except OSError:
            break
    os.close(above)
    return process.wait(), shown.decode().replace("\r\n", "\n")


def create(run: Runner, title: str, *more: str) -> str:
    return run.ok("wk", "create", title, *more, "--quiet", **ADA).out.strip()


def create_many(run: Runner, count: int) -> None:
    lines = "".join(json.dumps({"title": f"item {n}"}) + "\n" for n in range(count))
    run.ok("wk", "create", "-", input=lines, **ADA)


def test_hostile_text_is_kept_as_it_is_and_shown_escaped(run: Runner, store: Path):
    """On a terminal no text moves the cursor, sets a title or turns the line around."""
    made = create(run, HOSTILE, "-d", HOSTILE, "--why", HOSTILE)
    run.ok("wk", "comment", made, HOSTILE, **ADA)

    assert run.ok("wk", "show", made).json["title"] == HOSTILE
    for words in (
        ("wk", "show", made), ("wk", "list"), ("wk", "ready"), ("wk", "log", made),
        ("wk", "dep", "tree", made), ("ev", "list"), ("ev", "tail"),
        ("wk", "update", made, "--title", HOSTILE + "!", "--why", HOSTILE),
        ("wk", "create", HOSTILE), ("wk", "show", HOSTILE), ("wk", "close", made, "--why", HOSTILE),
    ):  # fmt: skip
        status, shown = on_terminal(run, *words)
        assert status == (3 if words[2:] == (HOSTILE,) and words[1] == "show" else 0)
        assert all(char.isprintable() for char in shown.replace("\n", "")), words
    assert SHOWN in on_terminal(run, "wk", "list")[1]


def test_a_terminal_gets_a_table_and_with_json_the_lines_of_a_pipe(run: Runner, store: Path):
    made = create(run, "Fix it")
    piped = run.ok("wk", "list").out

    assert json.loads(piped)["work_id"] == made
    assert on_terminal(run, "wk", "list", "--json") == (0, piped)
    status, shown = on_terminal(run, "wk", "list")
    assert status == 0
    assert "Fix it" in shown
    assert "{" not in shown


def test_no_color_and_dumb_terminals_get_no_escape(run: Runner, store: Path):
    create(run, "Fix it")

    assert "\x1b" not in on_terminal(run, "wk", "list")[1]


def test_an_error_on_a_terminal_is_a_line_and_the_next_step(run: Runner, store: Path):
    status, shown = on_terminal(run, "wk", "show", "wk-nonono")

    first, second = shown.splitlines()
    assert status == 3
    assert first == "wk: unknown_work: there is no work item 'wk-nonono'"
    assert second.startswith("  wk list")


@pytest.mark.parametrize(
    "words",
    ["wk list --limit 0", "wk list --limit 0 --quiet", "wk export", "wk export --to md",
     "ev list --limit 0", "ev list --limit 0 --quiet", "ev materialize work",
     "ev materialize work --format md", "wk --help", "ev replay"],
)  # fmt: skip
def test_a_reader_that_has_enough_is_no_error(run: Runner, store: Path, words: str):
    """`… | head -n 1` ends with exit 0 and no word on stderr, whatever was left."""
    create_many(run, 1500)

    line = 'head -n 1 >"$2"; exit 0'
    script = f'set -o pipefail; "$1" {words.partition(" ")[2]} 2>"$2.err" | ( {line} )'
    tool = run.command(words.partition(" ")[0])[0]
    target = run.folder / "first"
    done = subprocess.run(
        ["bash", "-c", script, "bash", tool, str(target)], cwd=run.folder,
        env=run.environment("agent:ada"), timeout=60,
    )  # fmt: skip

    assert done.returncode == 0
    assert target.read_text().count("\n") == 1
    assert (run.folder / "first.err").read_text() == ""


@pytest.mark.parametrize(
    "words",
    ["ev watch", "wk watch", "wk watch --ready", "wk board --watch", "lease watch", "msg watch",
     "msg recv --follow"],
)  # fmt: skip
def test_a_watch_ends_when_its_reader_is_gone(run: Runner, store: Path, words: str):
    """Also when nothing happens that it could fail to tell."""
    watch = run.start(*words.split(), as_="agent:ada")
    assert watch.stdout is not None
    assert watch.stderr is not None

    watch.stdout.close()

    assert watch.wait(DEADLINE_S) == 0
    assert watch.stderr.read() == b""
    watch.stderr.close()


def shell(run: Runner, script: str) -> tuple[int, str, str]:
    """Run a shell line in which $WK and $EV are the tools."""
    environment = {"WK": run.command("wk")[0], "EV": run.command("ev")[0]}
    answer = run("sh", "-c", script, env=environment, **ADA)
    return answer.code, answer.out, answer.err


def test_a_closed_stdin_is_an_empty_one(run: Runner, store: Path):
    made = create(run, "x")

    for words in ('"$WK" create -', '"$EV" emit -', '"$EV" materialize work -'):
        assert shell(run, f"{words} <&-") == (0, "", "")
    status, out, err = shell(run, f'"$WK" comment {made} - <&-')
    assert (status, out, json.loads(err)["error"]["code"]) == (6, "", "bad_data")


def test_closed_outputs_change_no_status_and_no_journal(run: Runner, store: Path):
    """No journal is opened under the number of stdout, where words would go into it."""
    assert shell(run, '"$WK" create one >&-') == (0, "", "")
    assert shell(run, '"$WK" create two >&- 2>&- <&-') == (0, "", "")
    assert shell(run, '"$WK" show nonono 2>&-') == (3, "", "")
    assert len(shell(run, '"$WK" list 2>&- <&-')[1].splitlines()) == 2
    assert run("ev", "check").code == 0


def test_a_full_output_is_an_error_and_a_retry_with_the_key_tells_it_again(
    run: Runner, store: Path
):
    """The acknowledgement was lost, not the event."""
    status, _, err = shell(run, '"$WK" create one --key k >/dev/full')
    assert (status, json.loads(err)["error"]["code"]) == (7, "disk")

    again = run.ok("wk", "create", "one", "--key", "k", **ADA).json

    assert again["duplicate"] is True
    assert [event["event_id"] for event in journals.events(store)] == [again["event_id"]]
    for words in ('"$WK" list', '"$WK" list --quiet', '"$EV" list', '"$WK" --help'):
        status, _, err = shell(run, f"{words} >/dev/full")
        assert (status, json.loads(err)["error"]["code"]) == (7, "disk")


LOCALES = [
    {"LC_ALL": "C"},
    {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
]


@pytest.mark.parametrize("locale", LOCALES, ids=[" ".join(x.values()) for x in LOCALES])
def test_text_is_utf_8_in_every_locale(run: Runner, store: Path, locale: dict[str, str]):
    """Arguments, stdin and output alike."""
    title = "žluťoučký 漢字 🐴 İıß"
    made = run.ok("wk", "create", title, "-d", "-", input=title, env=locale, **ADA).json

    shown = run.ok("wk", "list", "--text", "漢字", env=locale).json
    whole = run.ok("wk", "show", made["work_id"], env=locale).json
    markdown = run.ok("ev", "materialize", "work", "--format", "md", env=locale).out

    assert shown["title"] == whole["title"] == whole["description"] == title
    assert title in markdown


def interrupted(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert b"Traceback" not in err
    return process.returncode, out


def reads_stdin(process: subprocess.Popen[bytes]) -> None:
    """Wait until a process has come to reading its pipe."""
    state = Path(f"/proc/{process.pid}/wchan")
    end = time.monotonic() + 30
    while b"pipe" not in state.read_bytes() and time.monotonic() < end:
        time.sleep(0.02)


@pytest.mark.parametrize(
    "words", [("wk", "create", "-"), ("ev", "emit", "-"), ("ev", "materialize", "work", "-")],
    ids=" ".join,
)  # fmt: skip
def test_an_interrupt_while_reading_ends_with_130(run: Runner, store: Path, words: tuple[str, ...]):
    process = run.start(*words, stdin=subprocess.PIPE, **ADA)
    reads_stdin(process)

    assert interrupted(process) == (130, b"")
    assert journals.contents(store) == {}


@pytest.mark.parametrize("words", [("ev", "watch"), ("wk", "watch")], ids=" ".join)
def test_an_interrupt_ends_a_watch_with_130(run: Runner, store: Path, words: tuple[str, ...]):
    process = run.start(*words, "--since", "start", **ADA)
    create(run, "x")
    assert process.stdout is not None
    first = json.loads(process.stdout.readline())

    assert first["type"] == "work.created"
    assert interrupted(process) == (130, b"")


def test_an_interrupt_while_waiting_for_the_lock_writes_nothing(run: Runner, store: Path):
    descriptor = os.open(store, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    process = run.start("wk", "create", "x", **ADA)
    locks = f"{os.fstat(descriptor).st_ino} "
    end = time.monotonic() + 30
    # A process that waits is listed with an arrow.
    while time.monotonic() < end:
        waiting = [x for x in Path("/proc/locks").read_text().splitlines() if "->" in x]
        if any(f":{locks}" in line for line in waiting):
            break
        time.sleep(0.02)

    assert interrupted(process) == (130, b"")
    os.close(descriptor)
    assert journals.contents(store) == {}


LISTS: list[tuple[tuple[str, ...], Callable[[str], int]]] = [
    (("wk", "list"), len), (("wk", "ready"), len), (("ev", "list"), len),
]  # fmt: skip


@pytest.mark.parametrize("words", [words for words, _ in LISTS], ids=" ".join)
def test_a_list_is_bounded_and_says_so_on_stderr(run: Runner, store: Path, words: tuple[str, ...]):
    """50 lines unless told otherwise; a whole list is silent."""
    create_many(run, 60)

    bounded = run.ok(*words)
    assert len(bounded.lines) == 50
    note = json.loads(bounded.err)["note"]
    assert (note["code"], note["shown"]) == ("more", 50)
    assert "--limit 0" in note["hint"]
    whole = run.ok(*words, "--limit", "0")
    assert (len(whole.lines), whole.err) == (60, "")
    assert len(run.ok(*words, "--limit", "60").lines) == 60
    assert run.ok(*words, "--limit", "60").err == ""


def test_pages_of_a_list_follow_one_another(run: Runner, store: Path):
    create_many(run, 25)
    whole = run.ok("wk", "list", "--quiet").out.split()
    pages = [
        run.ok("wk", "list", "--quiet", "-n", "10", "--offset", str(start)).out.split()
        for start in (0, 10, 20)
    ]

    assert [len(page) for page in pages] == [10, 10, 5]
    assert [work_id for page in pages for work_id in page] == whole
    beyond = run("wk", "list", "--offset", "25")
    assert (beyond.code, beyond.out) == (1, "")


def test_only_a_newline_ends_a_line_of_a_batch(run: Runner, store: Path):
    """Unicode knows other line ends, and JSON allows them in a text."""
    titles = ["a\u2028b", "c\u0085d", "e\u2029f"]
    text = "".join(json.dumps({"title": x}, ensure_ascii=False) + "\r\n" for x in titles)

    run.ok("wk", "create", "-", input=text, **ADA)

    rows = run.ok("wk", "list", "--sort", "title").lines
    assert [row["title"] for row in rows] == titles


def test_a_batch_of_thousands_is_acknowledged_line_for_line(run: Runner, store: Path):
    """In the order it came in; blank lines and a missing last newline do not matter."""
    lines = [json.dumps({"type": "test.done", "body": {"n": n}}) for n in range(5000)]
    text = "\n\n".join(lines)

    answer = run.ok("ev", "emit", "-", input=text, **ADA)

    told = [row["event_id"] for row in answer.lines]
    written = journals.events(store)
    assert told == [event["event_id"] for event in written]
    assert [event["body"]["n"] for event in written] == list(range(5000))
    assert told == run.ok("ev", "list", "--limit", "0", "--quiet").out.split()


def test_every_event_and_answer_is_one_line_without_nulls(run: Runner, store: Path):
    """Separators that some readers take for line ends stand escaped or inside a string."""
    made = create(run, HOSTILE, "-d", "a\u2028b\u0085c\x0b\x0cd")
    run.ok("wk", "claim", made, **ADA)

    for words in (("wk", "list"), ("wk", "show", made), ("wk", "log", made), ("ev", "list")):
        out = run.ok(*words).out
        rows = [json.loads(line) for line in out.split("\n")[:-1]]
        assert rows
        assert "null" not in out
