"""Help: every verb's own, topics without man, guesses for what was mistyped, completion."""

import importlib
import json
import re

import click
import pytest

from coord.cli import manual, topics
from coord.errors import NOT_FOUND, USAGE
from tests.cli.test_completion import completed
from tests.conftest import Runner

VERBS = [
    pytest.param(tool, command, id=path)
    for tool in manual.TOOLS
    for group in [importlib.import_module(f"coord.cli.{tool}").cli]
    for path, command, _ in manual._verbs(group, click.Context(group, info_name=tool))
]


@pytest.mark.parametrize(("tool", "command"), VERBS)
def test_a_verbs_help_has_a_sentence_its_exits_and_one_example(tool: str, command: click.Command):
    """And a word on every option of its own."""
    text = command.help or ""

    assert text.split("\n\n")[0].rstrip().endswith(".")
    assert text.count("Exits: ") == 1
    assert text.count("Example: ") == 1
    (example,) = (line for line in text.splitlines() if "Example: " in line)
    assert any(f"{name} " in example for name in manual.TOOLS)
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("tool", manual.TOOLS)
def test_every_topic_is_told_in_plain_text_without_a_store(run: Runner, tool: str):
    """The same with --json; what is the same in all tools is asked of one."""
    names = run.ok(tool, "help", "--quiet").out.split()

    assert set(topics.TOPICS) < set(names)
    for name in topics.TOPICS if tool == "wk" else ("exits",):
        told = run.ok(tool, "help", name).out
        assert told.startswith(f"{name}: {topics.TOPICS[name][0]}\n\n")
        assert "\x1b" not in told
        assert json.loads(run.ok(tool, "help", name, "--json").out)["text"] + "\n" == told


def test_the_topics_that_are_tables_tell_what_the_manual_tells(run: Runner):
    for name, rows in topics.tables().items():
        told = run.ok("wk", "help", name).out
        assert [row for row in rows if f"  {row} " not in told] == []


def test_help_explains_a_verb_as_its_own_help_does(run: Runner):
    """Also one that is inside another."""
    own = run.ok("wk", "claim", "--help").out
    inner = run.ok("wk", "dep", "add", "--help").out

    assert run.ok("wk", "help", "claim").out == own
    assert run.ok("wk", "help", "dep", "add").out == inner
    assert "Topics of wk help TOPIC" in run.ok("wk", "help").out


@pytest.mark.parametrize("tool", manual.TOOLS)
def test_the_list_of_verbs_tells_each_in_a_whole_sentence(run: Runner, tool: str):
    listed = run.ok(tool, "--help").out.partition("Commands:\n")[2]

    told = " ".join(listed.split())
    # Arguments that may be repeated are written so.
    assert "..." not in re.sub(r"[A-Z|]+\.\.\.", "", told)
    assert told.endswith("help Explain a verb or a TOPIC in plain text.")


@pytest.mark.parametrize(
    ("words", "guess"),
    [("wk help clam", "did you mean claim?"), ("wk help lease", "did you mean leases"),
     ("wk clam", "did you mean claim?"), ("ev tali", "did you mean tail?"),
     ("wk done", "did you mean close?"), ("wk new", "did you mean create?"),
     ("lease lock", "did you mean acquire?"), ("msg mail", "did you mean send"),
     ("run kill", "did you mean cancel?"), ("wk dep zzz", "wk dep --help"),
     ("wk help zzzz", "wk help lists them")],
)  # fmt: skip
def test_a_mistyped_verb_or_topic_gets_a_guess(run: Runner, words: str, guess: str):
    program, *rest = words.split()

    answer = run(program, *rest)

    assert answer.code == USAGE
    assert answer.error["hint"].startswith(guess)


@pytest.mark.parametrize(
    ("mistyped", "guesses"),
    [("wk-7k2m9q4x", True), ("wk-7k2n9q4t", True), ("wk-7km29q4t", True), ("wk-7k2m9q4", None),
     ("wk-zzzzzzzz", False), ("100%", False)],
)  # fmt: skip
def test_a_mistyped_id_gets_a_guess(run: Runner, store, mistyped: str, guesses: bool | None):
    """A slip in either half; one that is short by its end is no slip at all."""
    line = json.dumps({"work_id": "wk-7k2m9q4t", "title": "Fix the login"})
    run.ok("wk", "create", "-", input=line, as_="agent:ada")

    answer = run("wk", "show", mistyped)

    assert answer.code == (0 if guesses is None else NOT_FOUND)
    if guesses is not None:
        said = "wk-7k2m9q4t (Fix the login)" in answer.error["hint"]
        assert said == guesses


def test_a_verb_that_is_no_verb_completes_nothing_and_says_nothing(run: Runner, store):
    env = {"COMP_WORDS": "wk shwo x", "COMP_CWORD": "2", "_WK_COMPLETE": "bash_complete"}

    answer = run("wk", env=env)

    assert (answer.out.strip(), answer.err) == ("", "")


@pytest.fixture
def filled(run: Runner, store):
    """A store with one of everything that can be completed."""
    run.ok("ev", "agent", "register", "agent:bo", "--mode", "listening", as_="agent:ada")
    run.ok("wk", "create", "Fix the login", as_="agent:ada")
    run.ok("lease", "acquire", "env:staging", as_="agent:ada")
    sent = ("msg", "send", "--to", "agent:bo", "--subject", "Lunch?", "--body", "Noon.")
    run.ok(*sent, as_="agent:ada")
    run.ok("run", "request", "--", "true", as_="agent:ada")
    return run


@pytest.mark.parametrize(
    ("tool", "line", "told"),
    [
        ("wk", "wk list --claimed-by ag", "agent:bo"),
        ("wk", "wk list --claimed-by ag", "agent:ada"),
        ("wk", "wk show --as b", "bo"),
        ("msg", "msg send --to agent:", "agent:bo"),
        ("wk", "wk create x --needs wk-", "Fix the login"),
        ("wk", "wk dep add --needs wk-", "Fix the login"),
        ("lease", "lease check env", "held by agent:ada"),
        ("msg", "msg show 0", "Lunch?"),
        ("msg", "msg thread th-", "th-"),
        ("ev", "ev tree 0", "lease.acquire (agent:ada)"),
        ("ev", "ev list --work wk-", "Fix the login"),
        ("ev", "ev list --run run-", "queued"),
    ],
)
def test_agents_resources_and_ids_complete_with_what_they_are(
    filled: Runner, tool: str, line: str, told: str
):
    at = str(len(line.split()) - 1)
    env = {"COMP_WORDS": line, "COMP_CWORD": at, f"_{tool.upper()}_COMPLETE": "zsh_complete"}

    answer = filled(tool, env=env)

    assert told in answer.out.replace("\\:", ":")
    assert answer.err == ""


def test_an_option_that_takes_no_id_completes_none(filled: Runner):
    assert completed(filled, "zsh", "wk list --limit 1", "3").strip() == ""
