"""An old segment is damaged: the damage is named and every other answer stays the same.

The answers are taken with the index as it was before the damage and again without
any; `ev check` is the judge of where, the untouched items are the judge of the rest.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.chaos import agents, journals
from tests.conftest import Runner, frozen_environment

NOW = {"COORD_NOW_MS": "1890000000000"}
ITEMS = 1200


class Backlog(NamedTuple):
    """A store of more than one segment in a repository of its own."""

    run: Runner
    store: Path

    @property
    def segment(self) -> Path:
        """The old segment, which is never written again."""
        return journals.files(self.store)[0]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that each test damages a copy of; its index is warm."""
    folder = tmp_path_factory.mktemp("original")
    run = Runner(folder)
    run.ok("git", "init", "--quiet")
    environment = {**frozen_environment(), "COORD_AGENT": "agent:ada"}
    run.ok("ev", "init", env=environment)
    text = "".join(
        json.dumps({"title": f"item {n}", "description": f"{n} " * 200, "priority": n % 5}) + "\n"
        for n in range(ITEMS)
    )
    ids = run.ok("wk", "create", "-", "--quiet", input=text, env=environment).out.split()
    run.ok("wk", "update", *ids[::100], "--label", "late", env=environment)
    run.ok("wk", "close", *ids[5::100], env=environment)
    assert len(journals.files(folder / ".coord")) > 1
    return folder


@pytest.fixture
def backlog(original: Path, tmp_path: Path) -> Backlog:
    shutil.copytree(original, tmp_path / "repo", symlinks=True)
    run = Runner(tmp_path / "repo")
    # A copy keeps the index: it is catching up that must find out.
    run.ok("wk", "list", env=NOW)
    return Backlog(run, run.folder / ".coord")


def answers(run: Runner, without: set[str]) -> dict[str, Any]:
    """What the commands say about all items but some."""
    commands = {
        "list": ("wk", "list", "--limit", "0", "--status", "all"),
        "ready": ("wk", "ready", "--limit", "0"),
        "materialize": ("ev", "materialize", "work"),
    }
    said: dict[str, Any] = {
        name: [row for row in run.ok(*words, env=NOW).lines if row["work_id"] not in without]
        for name, words in commands.items()
    }
    others = [row["work_id"] for row in said["materialize"]][::60]
    said["show"] = run.ok("wk", "show", *others, env=NOW).lines
    return said


def damages(run: Runner) -> list[dict[str, Any]]:
    """What `ev check` finds in the files, which it must find bad."""
    answer = run("ev", "check", env=NOW)
    assert answer.code == 1
    return [row for row in answer.lines if row["kind"] == "journal"]


Lines = list[bytes]


def edited(lines: Lines, at: int) -> None:
    lines[at] = lines[at].replace(b'"title":"item ', b'"title":"itEm ')


def lengthened(lines: Lines, at: int) -> None:
    lines[at] = lines[at].replace(b'"title":"item ', b'"title":"quite another item ')


def deleted(lines: Lines, at: int) -> None:
    del lines[at]


def duplicated(lines: Lines, at: int) -> None:
    lines.insert(at, lines[at])


def reordered(lines: Lines, at: int) -> None:
    lines[at], lines[at + 1] = lines[at + 1], lines[at]


def garbled(lines: Lines, at: int) -> None:
    lines[at] = b"\x00\xff not an event"


# What is done to line 101 -> code, seq, the line where it shows, whether the event is gone.
KINDS: list[tuple[Callable[[Lines, int], None], str, int | None, int, bool]] = [
    (edited, "edited", 101, 100, True),
    (lengthened, "edited", 101, 100, True),
    (deleted, "missing", 101, 100, True),
    (duplicated, "repeated_line", 101, 101, False),
    (reordered, "out_of_order", 101, 101, False),
    (garbled, "unreadable", None, 100, True),
]


@pytest.mark.parametrize(
    ("damage", "code", "seq", "line", "is_gone"), KINDS, ids=[kind[0].__name__ for kind in KINDS]
)
def test_damage_to_a_line_is_named_and_touches_nothing_else(
    backlog: Backlog,
    damage: Callable[[Lines, int], None],
    code: str,
    seq: int | None,
    line: int,
    is_gone: bool,
):
    """Writer, seq, file, offset and kind of damage."""
    run, segment = backlog.run, backlog.segment
    lines = segment.read_bytes().split(b"\n")
    touched = {json.loads(lines[100])["refs"]["work_id"]} if is_gone else set()
    before = answers(run, touched)
    damage(lines, 100)
    segment.write_bytes(b"\n".join(lines))

    warm = answers(run, touched)
    found = damages(run)
    shutil.rmtree(backlog.store / "local")
    cold = answers(run, touched)

    assert warm == before
    assert cold == before
    assert damages(run) == found
    offset = sum(len(text) + 1 for text in lines[:line])
    wanted = {
        "code": code, "tool": "wk", "writer": segment.name.removesuffix(".0001.jsonl"),
        "seq": seq, "path": str(segment), "offset": offset,
    }  # fmt: skip
    assert wanted in [{key: row.get(key) for key in wanted} for row in found]
    assert {row["offset"] for row in found} <= {offset, offset + len(lines[line]) + 1}


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits_are_named_line_by_line_and_touch_nothing_else(backlog: Backlog, seed: int):
    """Anywhere in the file, be it a number, a hash, a text or a newline."""
    run, segment = backlog.run, backlog.segment
    chance = random.Random(seed)
    data = bytearray(segment.read_bytes())
    lines = [x for x in journals.lines(backlog.store) if x.path == segment]
    places = [chance.randrange(len(data)) for _ in range(5)]
    places.append(lines[7].offset + len(lines[7].data))
    hit = [x for x in lines for p in places if x.offset <= p <= x.offset + len(x.data)]
    # Without its newline a line takes the next one with it.
    hit.append(lines[8])
    touched = {line.event["refs"]["work_id"] for line in hit}
    before = answers(run, touched)
    for place in places:
        data[place] ^= 1 << chance.randrange(8)
    segment.write_bytes(data)

    found = damages(run)
    shutil.rmtree(backlog.store / "local")

    assert answers(run, touched) == before
    assert {line.offset for line in hit[:-1]} <= {row["offset"] for row in found}
    assert {row["code"] for row in found} <= {
        "edited", "missing", "unreadable", "seq_repeated", "out_of_order",
    }  # fmt: skip


def test_a_damaged_journal_is_written_on(backlog: Backlog):
    """By the same writer; repair is appending, and the old lines stay as they are."""
    run, segment = backlog.run, backlog.segment
    lines = segment.read_bytes().split(b"\n")
    edited(lines, 100)
    segment.write_bytes(b"\n".join(lines))
    found = damages(run)
    damaged = segment.read_bytes()

    made = agents.create(run, ["after"])

    assert run.ok("wk", "show", made[0]).json["title"] == "after"
    assert segment.read_bytes() == damaged
    assert damages(run) == found
