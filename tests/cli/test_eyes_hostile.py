"""No text and no shape of a store breaks a view: what others wrote is shown, never obeyed."""

import json
import re
import shlex
from hashlib import sha256
from pathlib import Path
from xml.etree import ElementTree

import pytest

from coord.core import event
from tests.conftest import FROZEN_MS, Runner, frozen_environment

EVIL = (
    '<script>alert("1")</script> \x1b[2J\x1b]0;pwned\x07 \u202etxet\u2066 \x9b31m\nREADY (9)'
    " & `x` $(y) | [z]"
)
LONG = "long " * 12_000
ROWS = 300
COLUMNS = 80
VIEWS = (
    "wk board", "wk list --limit 0", "wk show e-evil e-long", "wk stale --days 0 --limit 0",
    "wk health --since 2020-01-01 --limit 0", "wk stats", "wk stats --by agent",
    "wk stats --by label", "wk stats --by week", "wk graph --format text", "wk critical",
    "wk search script", "wk log e-evil", "wk dep tree e-one", "wk dep cycles",
    "ev tail -n 1000", "ev status --limit 0", "ev tree ROOT", "msg inbox", "msg search script",
    "lease list", "lease show env:x", "run list", "run show RUN", "ev agent list", "wk help time",
)  # fmt: skip
# What a view writes besides texts: colours, and the ends of lines.
_SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory, request) -> Runner:
    """A store full of texts and shapes that nobody wishes for; `--long`: of 50,000 items."""
    run = Runner(tmp_path_factory.mktemp("hostile"))
    own = ["-c", "user.name=e", "-c", "user.email=e@example.invalid"]
    run.ok("git", "init", "--quiet")
    run.ok("git", *own, "commit", "--quiet", "--allow-empty", "-m", EVIL)
    run.ok("ev", "init", "--quiet", as_="agent:eve")
    count = 50_000 if request.config.getoption("--long") else ROWS
    items = [
        {"work_id": "e-evil", "title": EVIL, "description": EVIL, "labels": ["a<b>"]},
        *({"work_id": f"e-{name}", "title": EVIL} for name in ("one", "two", "three")),
        *({"work_id": f"n-{number:05}", "title": f"{number} {EVIL}"} for number in range(count)),
    ]
    said(run, "wk", "create", "-", text="".join(json.dumps(item) + "\n" for item in items))
    foreign(run.folder / ".coord" / "wk" / "agent-mal.aaaaaa.0001.jsonl")
    said(run, "wk", "comment", "e-evil", EVIL)
    said(run, "wk", "claim", "e-long", "--why", EVIL, "--ttl", "20m")
    said(run, "lease", "acquire", "env:x", "--why", EVIL, "--ttl", "8h")
    said(run, "ev", "agent", "register", "agent:eve", "--mode", "human")
    said(run, "msg", "send", "--to", "agent:eve", "--subject", EVIL, "--body", EVIL)
    said(run, "run", "request", "--title", EVIL, "--", "sh", "-c", EVIL)
    return run


NEEDS = (("e-one", "e-two"), ("e-two", "e-one"), ("e-three", "e-one"), ("e-evil", "e-long"))


def foreign(journal: Path) -> None:
    """What our own tools would refuse: a title as long as a line, needs in a circle."""
    made = ("work.created", "e-long", {"title": LONG, "labels": [LONG[:900]]})
    linked = [("work.linked", one, {"kind": "needs", "target": other}) for one, other in NEEDS]
    event_id, line = "", b""
    for seq, (kind, work_id, body) in enumerate((made, *linked), start=1):
        event_id = event.next_id(event_id, FROZEN_MS + 1, b"\x02" * 16)
        raw = {
            "event_id": event_id, "ts": "2026-01-01T09:00:00.000Z", "project": "e", "type": kind,
            "actor": {"agent_id": "agent:mal"}, "refs": {"work_id": work_id}, "body": body,
            "writer": "agent-mal.aaaaaa", "seq": seq, "v": 1,
            **({"prev": sha256(line).hexdigest()[:32]} if line else {}),
        }  # fmt: skip
        line = json.dumps(raw).encode()
        with journal.open("ab") as stream:
            stream.write(line + b"\n")


def said(run: Runner, *words: str, text: str = "") -> str:
    """Run a command as eve; what it prints."""
    env = frozen_environment(FROZEN_MS, repr(words))
    return run.ok(*words, as_="agent:eve", env=env, input=text).out


def seen(run: Runner, line: str) -> str:
    """What a command writes to a terminal of 80 columns, three hours later."""
    env = frozen_environment(FROZEN_MS + 3 * 3_600_000)
    for word, ask in (
        ("ROOT", "ev list -n 0 --type work.created --quiet"), ("RUN", "run list --quiet"),
    ):  # fmt: skip
        if word in line.split():
            line = line.replace(word, said(run, *ask.split()).split()[0])
    words = shlex.join(run.command(*line.split()))
    more = {**env, "TERM": "xterm", "COLUMNS": str(COLUMNS), "LINES": "24"}
    answer = run("script", "-qec", words, "/dev/null", as_="agent:eve", env=more)
    assert answer.code in (0, 1), answer.out
    assert "Traceback" not in answer.out
    return answer.out


@pytest.mark.parametrize("line", VIEWS)
def test_a_hostile_store_breaks_no_view(hostile: Runner, line: str):
    """Nothing moves the cursor, turns the line around or is wider than the terminal."""
    shown = _SGR.sub("", seen(hostile, line).replace("\r\n", "\n"))

    assert shown.strip()
    assert [char for char in set(shown) if not char.isprintable() and char != "\n"] == []
    assert "\nREADY (9)" not in shown


@pytest.mark.parametrize("line", ["wk board", "wk list --limit 0", "wk health --limit 0"])
def test_no_line_is_wider_than_the_terminal(hostile: Runner, line: str):
    shown = _SGR.sub("", seen(hostile, line).replace("\r\n", "\n"))

    assert max(map(len, shown.split("\n"))) <= COLUMNS


@pytest.mark.parametrize("line", ["wk graph --format svg", "ev tree ROOT --format svg"])
def test_a_picture_of_it_is_well_formed_and_holds_no_script(hostile: Runner, line: str):
    """As a program reads it: the texts are there, as texts."""
    root = ElementTree.fromstring(seen(hostile, line).replace("\r\n", "\n"))

    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "title", "style", "defs", "marker", "path", "g", "rect", "text"}
    assert "<script>" in "".join(root.itertext())
    assert not [e for e in root.iter() for name in e.attrib if name.startswith(("on", "href"))]


@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_no_text_leaves_its_quotes_in_a_drawing(hostile: Runner, form: str):
    """Every line of it is one of the few that a drawing has."""
    shown = seen(hostile, f"wk graph --format {form}").replace("\r\n", "\n").splitlines()
    text = r'"(?:[^"\\]|\\.)*"'
    lines = {
        "dot": rf"digraph work {{|  rankdir=LR; node \[shape=box\];|  {text} \[label={text}\];"
        rf"|  {text} -> {text};|}}",
        "mermaid": r'graph LR|  n\d+\["[^"\[\]<>|`$]*"\]|  n\d+ --> n\d+',
    }[form]

    assert [line for line in shown if not re.fullmatch(lines, line)] == []
    assert len(shown) > 6


def test_circles_and_who_waits_for_them_are_named(hostile: Runner):
    env = frozen_environment(FROZEN_MS + 60_000)
    rows = hostile.ok("wk", "health", "--kind", "unreachable", env=env).lines

    assert {row["work_id"]: row["reason"] for row in rows} == {
        "e-one": "it needs itself, over 1 other",
        "e-two": "it needs itself, over 1 other",
        "e-three": "it waits for e-one, which needs itself",
    }
