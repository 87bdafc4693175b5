"""What every verb that writes has in common: keys, dry runs, reasons, causes, quiet.

Each verb is tried on items of its own, in the state that it needs.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chaos import journals
from tests.conftest import Runner

ADA, BO = {"as_": "agent:ada"}, {"as_": "agent:bo"}
CAUSE = "01KDWCJ2M00000000000000000"


class Verb(NamedTuple):
    """A command that writes: the item states it needs, its words, and what it prints.

    needs: one state for each item, which the words call {0}, {1}.
    type: the type of the events that are acknowledged.
    """

    name: str
    words: str
    needs: str = "open"
    type: str = ""
    count: int = 1
    stdin: str = ""


VERBS = [
    Verb("create", "wk create title --label a,b", "", "work.created"),
    Verb("create, linked", "wk create title --needs {0} --parent {0}", "open", "work.created"),
    Verb("create a batch", "wk create -", "open", "work.created", 2,
         '{"title":"a","needs":"$0"}\n{"title":"b","acceptance":["c"]}\n'),
    Verb("create, long", "wk create title -d -", "", "work.created", 1, "ž" * 70_000),
    Verb("update", "wk update {0} -p 1 --label x --unlabel old --unset assignee", "open",
         "work.updated"),
    Verb("update two", "wk update {0} {1} --title new", "open mine", "work.updated", 2),
    Verb("update, long", "wk update {0} -d -", "open", "work.updated", 1, "ž" * 70_000),
    Verb("comment", "wk comment {0} said", "mine", "work.commented"),
    Verb("comment, long", "wk comment {0} -", "open", "work.commented", 1, "ž" * 70_000),
    Verb("claim", "wk claim {0}", "open", "work.claimed"),
    Verb("claim next", "wk claim --next --label own", "own", "work.claimed"),
    Verb("renew", "wk renew {0}", "mine", "work.renewed"),
    Verb("renew two", "wk renew {0} {1} --ttl 1h", "mine mine", "work.renewed", 2),
    Verb("release", "wk release {0}", "mine", "work.released"),
    Verb("release two", "wk release {0} {1}", "mine mine", "work.released", 2),
    Verb("close", "wk close {0}", "open", "work.closed"),
    Verb("close mine", "wk close {0} --as wontdo", "mine", "work.closed"),
    Verb("close two", "wk close {0} {1}", "mine open", "work.closed", 2),
    Verb("reopen", "wk reopen {0}", "closed", "work.reopened"),
    Verb("reopen two", "wk reopen {0} {1}", "closed closed", "work.reopened", 2),
    Verb("dep add", "wk dep add {0} --needs {1}", "open open", "work.linked"),
    Verb("dep add two", "wk dep add {0} --relates {1} --blocks {1}", "open open", "work.linked", 2),
    Verb("dep rm", "wk dep rm {0} --needs {1}", "needing open", "work.unlinked"),
    Verb("submit", "wk submit {0} --artifact https://example.org/1", "mine", "work.submitted"),
    Verb("verify", "wk verify {0} --fail", "submitted", "work.verified"),
    Verb("tick", "wk tick {0} 1", "mine", "work.ticked"),
    Verb("handoff", "wk handoff {0} --to bo", "mine", "work.handed_off"),
    Verb("accept", "wk accept {0}", "offered", "work.accepted"),
    Verb("decline", "wk decline {0}", "offered", "work.declined"),
    Verb("hold", "wk hold {0} --on human:kim", "open", "work.held"),
    Verb("hold, lifted", "wk hold {0} --lift", "waiting", "work.held"),
    Verb("feedback", "wk feedback text --on {0}", "open", "feedback.given"),
    Verb("artifact add", "wk artifact add {0} https://example.org/1", "open", "artifact.added"),
    Verb("emit", "ev emit test.done --ref work_id={0} --body @body.json", "open", "test.done"),
    Verb("emit reserved", "ev emit work.commented --ref work_id={0} --body @body.json", "open",
         "work.commented"),
    Verb("emit a batch", "ev emit -", "open", "test.done", 2,
         '{"type":"test.done","refs":{"work_id":"$0"}}\n{"type":"test.done"}\n'),
    Verb("register", "ev agent register cy --name Cy --mode episodic --period 5m", "",
         "agent.registered"),
    Verb("pause", "ev agent pause {0} --why x", "agent", "agent.paused"),
    Verb("resume", "ev agent resume {0}", "paused", "agent.resumed"),
    Verb("set", "ev config set claim.ttl_ms 1h", "", "config.set"),
]  # fmt: skip
ALL = pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb.name)


class World:
    """One store for all tests: each asks it for items in the state that its verb needs."""

    def __init__(self, folder: Path) -> None:
        self.run = Runner(folder)
        self.run.ok("git", "init", "--quiet")
        self.run.ok("ev", "init")
        self.store = folder / ".coord"
        (folder / "body.json").write_text('{"text":"from a file"}')

    def item(self, state: str) -> str:
        """Make an item; answer its id, which can name an agent too."""
        run, label = self.run, "own" if state == "own" else "old"
        made = run.ok("wk", "create", state, "--label", label, "--acceptance", "it works",
                      "--assignee", "kim", "--quiet", **ADA).out.strip()  # fmt: skip
        for words in _WAYS.get(state, ()):
            run.ok(*words.format(made).split(), **ADA)
        return made

    def ask(self, verb: Verb, items: list[str], *more: str) -> Any:
        """Run the verb's command on items."""
        words = verb.words.format(*items).split() + list(more)
        # Who does the work does not judge it, and who offers does not accept.
        who = BO if verb.needs in ("submitted", "offered") else ADA
        stdin = verb.stdin.replace("$0", items[0] if items else "")
        if "verify" in words or {"handoff", "decline", "hold"} & set(words):
            words += [] if "--why" in words else ["--why", "for the test"]
        return self.run.ok(*words, input=stdin, **who)

    def items(self, verb: Verb) -> list[str]:
        """The items that a verb needs."""
        return [self.item(state) for state in verb.needs.split()]


_WAYS = {
    "mine": ["wk claim {}"],
    "closed": ["wk close {}"],
    "submitted": ["wk claim {}", "wk submit {}"],
    "offered": ["wk claim {}", "wk handoff {} --to bo --why x"],
    "waiting": ["wk hold {} --on human:kim --why x"],
    "paused": ["ev agent pause {} --why x"],
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    assert made.run("ev", "check", "--full").code == 0


@pytest.fixture
def items(world: World, verb: Verb) -> list[str]:
    made = world.items(verb)
    if verb.name == "dep rm":
        world.run.ok("wk", "dep", "add", made[0], "--needs", made[1], **ADA)
    return made


def count(world: World) -> int:
    return len(journals.events(world.store))


@ALL
def test_a_retry_with_the_key_adds_nothing_and_tells_the_first(
    world: World, verb: Verb, items: list[str]
):
    """Also when the item has moved on since, so that the request would be refused now."""
    key = ("--key", f"key of {verb.name}")
    first = world.ask(verb, items, *key)
    before = count(world)

    again = world.ask(verb, items, *key)

    assert [row["type"] for row in first.lines] == [verb.type] * verb.count
    assert again.lines == [{**row, "duplicate": True} for row in first.lines]
    if verb.type in ("work.commented", "work.updated", "work.ticked", "work.renewed"):
        world.run("wk", "release", items[0], **ADA)
        world.run("wk", "claim", items[0], as_="agent:other")
        before = count(world)
        assert world.ask(verb, items, *key).lines == again.lines
    assert count(world) == before


@ALL
def test_a_dry_run_prints_the_events_and_writes_nothing(world: World, verb: Verb, items: list[str]):
    before = journals.contents(world.store)
    blobs = sorted(world.store.rglob("blobs/**/*"))

    rows = world.ask(verb, items, "--dry-run").lines

    assert {verb.type} <= {row["type"] for row in rows}
    assert all({"event_id", "ts", "actor", "body", "writer", "seq"} <= row.keys() for row in rows)
    assert journals.contents(world.store) == before
    assert sorted(world.store.rglob("blobs/**/*")) == blobs


@ALL
def test_the_reason_the_cause_and_the_session_are_recorded(
    world: World, verb: Verb, items: list[str]
):
    known = journals.ids(world.store)
    more = ("--cause", CAUSE, "--session", "s1") if verb.needs in ("", "open") else ()
    why = () if verb.name in ("pause", "verify", "handoff", "decline") or "hold" in verb.name \
        else ("--why", "because <ž>")  # fmt: skip

    world.ask(verb, items, *more, *why)

    written = [e for e in journals.events(world.store) if e["event_id"] not in known]
    assert written
    for event in written:
        if event["type"] == verb.type:
            assert event["body"]["why"] == (why[1] if why else event["body"]["why"])
        if more:
            assert event["cause"] == CAUSE
            assert event["actor"] == {"agent_id": "agent:ada", "session_id": "s1"}


@ALL
def test_quiet_prints_an_id_alone_and_json_the_acknowledgement(
    world: World, verb: Verb, items: list[str]
):
    """One a line; stderr stays empty."""
    known = journals.ids(world.store)

    quiet = world.ask(verb, items, "--quiet")
    written = [e for e in journals.events(world.store) if e["event_id"] not in known]
    ids = {text for e in written for text in (e["event_id"], *e["refs"].values())}

    assert quiet.err == ""
    assert len(quiet.out.split()) == verb.count
    assert set(quiet.out.split()) <= ids


def test_one_key_does_not_stand_for_two_requests(world: World):
    """Exit 5, and the first one stays as it was."""
    run, item = world.run, world.item("open")
    run.ok("wk", "update", item, "-p", "1", "--key", "one", **ADA)
    run.ok("wk", "close", item, "--key", "one", **ADA)
    run.ok("wk", "create", "x", "--key", "one", **ADA)
    before = count(world)

    for words in (
        ("update", item, "-p", "3"), ("update", item, "-p", "1", "--label", "more"),
        ("close", item, "--as", "wontdo"), ("close", world.item("open")),
        ("create", "y"), ("create", "x", "-p", "0"),
    ):  # fmt: skip
        answer = run("wk", *words, "--key", "one", **ADA)

        assert (answer.code, answer.error["code"]) == (5, "key_reused")
        assert answer.out == ""
    # The one that was made for the list above.
    assert count(world) == before + 1
    assert run.ok("wk", "create", "x", "--key", "one", **BO).json.get("duplicate") is None


def test_an_import_adds_nothing_the_second_time_with_or_without_a_key(world: World):
    run, file = world.run, world.run.folder / "items.jsonl"
    file.write_text('{"work_id":"im-1","title":"one"}\n{"work_id":"im-2","title":"two"}\n')
    before = count(world)
    dry = run.ok("wk", "import", file, "--dry-run", **ADA).json
    assert count(world) == before

    first = run.ok("wk", "import", file, "--key", "k", "--why", "moved", **ADA).json

    assert (dry["would_write"], first["events"], count(world)) == (2, 2, before + 2)
    for more in (("--key", "k"), ()):
        assert run.ok("wk", "import", file, *more, **ADA).json["events"] == 0
    assert count(world) == before + 2


def test_texts_come_from_stdin_or_a_file_as_they_are(world: World):
    """`@@x` is the text `@x`; a comment loses only its last newlines."""
    run, item = world.run, world.item("open")
    text = '  "ž"\n\t$HOME `x` \\n\n'
    (run.folder / "text").write_text(text)

    run.ok("wk", "update", item, "-d", "@text", **ADA)
    assert run.ok("wk", "show", item).json["description"] == text
    run.ok("wk", "update", item, "-d", "-", input=text + "2", **ADA)
    assert run.ok("wk", "show", item).json["description"] == text + "2"
    run.ok("wk", "comment", item, "@text", **ADA)
    run.ok("wk", "comment", item, "-", input=text, **ADA)
    run.ok("wk", "comment", item, "@@text", **ADA)
    said = [comment["text"] for comment in run.ok("wk", "show", item).json["comments"]]
    assert said == [text.rstrip("\n"), text.rstrip("\n"), "@text"]
    run.ok("wk", "update", item, "--extra", "-", input='{"a":{"b":[1,"ž"]}}', **ADA)
    assert run.ok("wk", "show", item).json["extra"] == {"a": {"b": [1, "ž"]}}


def test_a_unique_prefix_names_an_item_wherever_an_id_is_taken(world: World):
    """With or without `wk-`; the acknowledgement has the whole id."""
    run, other = world.run, world.item("open")
    item = world.item("open")
    short, bare = item[:9], item.removeprefix("wk-")[:6]

    assert run.ok("wk", "show", short).json["work_id"] == item
    for words in (
        ("update", bare, "-p", "1"), ("comment", short, "x"), ("claim", bare), ("renew", short),
        ("dep", "add", short, "--needs", other[:9]), ("release", bare), ("close", bare),
        ("reopen", short),
    ):  # fmt: skip
        assert run.ok("wk", *words, **ADA).json["work_id"] == item
    assert run.ok("wk", "show", item).json["links"]["needs"] == [other]
    made = run.ok("wk", "create", "-", input=json.dumps({"title": "x", "parent": bare}), **ADA)
    assert run.ok("wk", "list", "--parent", short).json["work_id"] == made.json["work_id"]


def test_options_may_stand_anywhere_and_dashes_end_them(world: World):
    """A title that looks like an option is one after `--`."""
    run = world.run

    a = run.ok("wk", "create", "--type", "bug", "-p1", "--", "--label", **ADA).json["work_id"]
    b = run.ok("wk", "create", "-p", "P0", "last", "--type=chore", "-lx", "-ly", **ADA)

    assert run.ok("wk", "show", a).json["title"] == "--label"
    shown = run.ok("wk", "show", b.json["work_id"], "--json").json
    assert (shown["priority"], shown["type"], shown["labels"]) == (0, "chore", ["x", "y"])
