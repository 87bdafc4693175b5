"""Journals on disk: what is acknowledged is there, whatever was torn, cut or killed."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import pytest

from coord.core import event as events
from coord.edge import journal
from coord.edge.index import reading
from coord.errors import Refusal
from tests.strategies import raw

WRITER = "agent-ada.aaaaaa"
# Appends batches for ever and says, after each, which events the disk has.
APPENDING = """
import sys
from coord.core import event
from coord.edge import journal
folder, newest = sys.argv[1], ""
while True:
    appender = journal.Appender(folder, "ev", "agent-ada.aaaaaa")
    batch = []
    for size in ({sizes}):
        newest = event.next_id(max(newest, appender.tip.event_id), 0, bytes(16))
        body = {{"text": "x" * size}}
        line = {{"event_id": newest, "type": "build.finished",
                 "actor": {{"agent_id": "agent:ada"}}, "refs": {{}}, "body": body}}
        batch.append(appender.add(line)["event_id"])
    appender.write()
    print(*batch, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    """A store's folder with those of its tools."""
    for tool in events.TOOLS:
        (tmp_path / tool).mkdir()
    return tmp_path


def append(folder, *texts, at=0, writer=WRITER):
    """Append one event per text as one batch; answer them as written."""
    appender = journal.Appender(str(folder), "ev", writer)
    placed = [appender.add(raw("build.finished", at + n, body={"text": text}))
              for n, text in enumerate(texts)]  # fmt: skip
    appender.write()
    return placed


def path_of(folder, number=1, writer=WRITER):
    """One segment's file."""
    return folder / "ev" / f"{writer}.{number:04d}.jsonl"


def read(folder):
    """What a reader uses of the journal, and (code, offset) of what it does not."""
    found = reading.settled_journal(journal.segments_of(str(folder), "ev", WRITER))
    lines = [line.raw for part in found for line in part.lines]
    return lines, [(code, offset) for part in found for _, offset, code, _ in part.damages]


def texts_of(lines):
    """The texts of the events."""
    return [line["body"]["text"] for line in lines]


def test_a_line_carries_its_number_and_the_hash_of_the_line_before_it(folder):
    append(folder, "one", "two")
    append(folder, "three", at=2)

    lines = path_of(folder).read_bytes().split(b"\n")

    parsed = [journal.parse(line)[0] for line in lines[:-1]]
    assert lines[-1] == b""
    assert [line["seq"] for line in parsed] == [1, 2, 3]
    assert [line.get("prev") for line in parsed] == [None, *map(journal.digest_of, lines[:2])]
    assert {(line["writer"], line["v"]) for line in parsed} == {(WRITER, 1)}


def test_an_append_answers_what_stands_in_the_file(folder):
    placed = append(folder, "one", "zwei", "\u2028")

    assert read(folder) == (placed, [])


def test_every_writer_and_tool_has_a_chain_of_its_own(folder):
    append(folder, "one")
    append(folder, "two", writer="agent-bo.aaaaaa")

    assert [line.name for line in sorted((folder / "ev").iterdir())] == [
        "agent-ada.aaaaaa.0001.jsonl",
        "agent-bo.aaaaaa.0001.jsonl",
    ]
    assert journal.tip_on_disk(str(folder), "ev", "agent-bo.aaaaaa")[0].seq == 1


def test_a_line_torn_at_any_byte_loses_nothing_before_it_and_the_next_append_works(folder):
    """A line that is whole but for its newline counts: the next append completes it."""
    append(folder, "one", "two", "three")
    path, whole = path_of(folder), path_of(folder).read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole) + 1):
        path.write_bytes(whole[:cut])
        torn, [*before] = cut not in (start, len(whole)), texts_of(read(folder)[0])
        complete = ["one", "two", "three"] if cut >= len(whole) - 1 else ["one", "two"]

        append(folder, "four", at=3)

        lines, damages = read(folder)
        assert before == (["one", "two", "three"] if cut == len(whole) else ["one", "two"])
        assert texts_of(lines) == [*complete, "four"]
        assert damages == ([("unreadable", start)] if torn and len(complete) == 2 else [])
        assert path.read_bytes().startswith(whole[:cut])


def test_a_torn_line_in_the_middle_of_utf8_or_of_another_line_is_one_problem(folder):
    append(folder, "one")
    with path_of(folder).open("ab") as stream:
        stream.write('{"event_id":"ü'.encode()[:-1])

    append(folder, "two", at=1)

    lines, damages = read(folder)
    assert texts_of(lines) == ["one", "two"]
    assert [code for code, _ in damages] == ["unreadable"]


def test_a_journal_that_holds_nothing_readable_is_begun_again(folder):
    path_of(folder).write_bytes(b"\x00" * 300_000)

    append(folder, "one")

    lines, damages = read(folder)
    assert texts_of(lines) == ["one"]
    assert damages == [("unreadable", 0)]


def test_the_tip_is_found_behind_more_rubbish_than_a_line_may_be_long(folder):
    placed = append(folder, "one", "two")
    with path_of(folder).open("ab") as stream:
        stream.write(b"rubbish " * 40_000)

    tip, number, is_torn = journal.tip_on_disk(str(folder), "ev", WRITER)

    assert (tip.seq, tip.event_id, number, is_torn) == (2, placed[1]["event_id"], 1, True)


def test_a_line_may_have_64_kib_with_its_newline_and_no_more(folder):
    append(folder, "")
    room = events.MAX_LINE_BYTES - path_of(folder).stat().st_size
    path_of(folder).unlink()
    appender = journal.Appender(str(folder), "ev", WRITER)

    refused = appender.add(raw("build.finished", body={"text": "x" * (room + 1)}))
    taken = appender.add(raw("build.finished", body={"text": "x" * room}))
    appender.write()

    assert refused is None
    assert path_of(folder).stat().st_size == events.MAX_LINE_BYTES
    assert read(folder) == ([taken], [])


def test_a_longer_line_from_elsewhere_is_a_problem_and_the_rest_is_used(folder):
    append(folder, "one")
    size = path_of(folder).stat().st_size
    with path_of(folder).open("ab") as stream:
        stream.write(b'{"a":"' + b"x" * events.MAX_LINE_BYTES + b'"}\n')

    append(folder, "two", at=1)

    lines, damages = read(folder)
    assert texts_of(lines) == ["one", "two"]
    assert damages == [("unreadable", size)]


@pytest.mark.parametrize("depth", [98, 99, 250, 1000, 5000])
def test_a_line_that_is_nested_too_deep_is_a_problem_and_the_rest_is_used(folder, depth):
    """At some depth, each at its own, parsers and writers of JSON give up."""
    first = append(folder, "one")[0]
    size = path_of(folder).stat().st_size
    prev = journal.digest_of(path_of(folder).read_bytes()[:-1])
    good = journal.encode(raw("build.finished", 1, body={"text": "x"}, seq=2, prev=prev))
    deep = b'{"text":' + b"[" * depth + b"]" * depth + b"}"
    with path_of(folder).open("ab") as stream:
        stream.write(good.replace(b'{"text":"x"}', deep) + b"\n")

    lines, damages = read(folder)
    assert lines[0] == first
    assert len(lines) == (2 if depth == 98 else 1)
    assert damages == ([] if depth == 98 else [("unreadable", size)])


def test_an_event_that_is_nested_too_deep_is_refused(folder):
    """It stands in its body and that in the event, so that it may have 98 lists."""
    appender = journal.Appender(str(folder), "ev", WRITER)
    text = 0
    for depth in range(1, 301):
        text = [text]
        if depth <= 98:
            assert appender.add(raw("build.finished", body={"text": text}))
            continue
        with pytest.raises(Refusal) as refused:
            appender.add(raw("build.finished", body={"text": text}))
        assert refused.value.code == "bad_data"


def test_empty_lines_are_passed_over(folder):
    append(folder, "one")
    with path_of(folder).open("ab") as stream:
        stream.write(b"\n\n")

    append(folder, "two", at=1)

    assert texts_of(read(folder)[0]) == ["one", "two"]
    assert read(folder)[1] == []


LONG = "x" * 60_000


def test_segments_rotate_at_one_mib_and_the_chain_goes_on_across_them(folder):
    """One batch may fill several: a segment ends with the line that reaches the size."""
    append(folder, *[LONG] * 30)
    append(folder, *[LONG] * 10, at=30)

    parts = journal.segments_of(str(folder), "ev", WRITER)
    lines, damages = read(folder)
    assert [part.number for part in parts] == [1, 2, 3]
    assert all(
        journal.SEGMENT_BYTES <= part.size < journal.SEGMENT_BYTES + events.MAX_LINE_BYTES
        for part in parts[:-1]
    )
    assert [line["seq"] for line in lines] == list(range(1, 41))
    assert damages == []


@pytest.mark.parametrize("tail", [b"", b"\n", b'{"torn', b"whole"])
def test_a_full_segment_that_ends_torn_is_finished_before_the_next_begins(folder, tail):
    """A whole line in it without its newline counts, in a sealed segment as in an open one."""
    append(folder, *[LONG] * 18)
    path = path_of(folder)
    assert path.stat().st_size >= journal.SEGMENT_BYTES
    if tail == b"whole":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.write_bytes(path.read_bytes() + tail)

    append(folder, "next", at=18)

    lines, damages = read(folder)
    assert [line["seq"] for line in lines] == list(range(1, 20))
    assert [code for code, _ in damages] == (["unreadable"] if tail == b'{"torn' else [])
    assert texts_of([lines[-1]]) == ["next"]


def test_a_file_of_another_name_is_no_segment(folder):
    append(folder, "one")
    append(folder, "two", writer="agent-a.b.aaaaaa")
    for name in ("notes.jsonl", "agent.aaaaaa.1.jsonl", "agent.aaaaaa.0001.jsonl.bak", ".jsonl"):
        (folder / "ev" / name).write_text("x")

    found = journal.segments(str(folder))

    assert [(s.tool, s.writer, s.number) for s in found] == [
        ("ev", "agent-a.b.aaaaaa", 1),
        ("ev", WRITER, 1),
    ]


def test_segments_are_ordered_by_their_numbers_beyond_four_digits(folder):
    for number in (10_000, 9_999, 2):
        path_of(folder, number).write_bytes(b"")

    assert [s.number for s in journal.segments(str(folder))] == [2, 9_999, 10_000]


def test_a_value_that_is_no_json_is_refused_and_nothing_is_written(folder):
    appender = journal.Appender(str(folder), "ev", WRITER)

    with pytest.raises(Refusal) as refused:
        appender.add(raw("build.finished", body={"text": "\udc80"}))

    assert refused.value.code == "bad_data"
    assert not path_of(folder).exists()


def in_child(work):
    """Run a function in a process of its own; answer its exit status."""
    child = os.fork()
    if child == 0:
        status = 99
        try:
            status = work()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def write_at_most(folder, more, *texts):
    """Append where files may grow by so many bytes; 7 when that is refused as `disk`."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    size = path_of(folder).stat().st_size + more
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        append(folder, *texts, at=5)
    except Refusal as refusal:
        return refusal.status if refusal.code == "disk" else 98
    return 0


@pytest.mark.parametrize("more", range(0, 600, 50))
def test_a_write_that_the_disk_cuts_short_is_refused_and_the_next_append_works(folder, more):
    """A limit on the file's size cuts a write where a full disk would."""
    append(folder, "one")

    status = in_child(lambda: write_at_most(folder, more, "two", "three", "four"))
    append(folder, "five", at=9)

    lines, damages = read(folder)
    assert status == 7
    assert texts_of(lines)[0] == "one"
    assert texts_of(lines)[-1] == "five"
    assert len(damages) <= 1
    assert [line["seq"] for line in lines] == list(range(1, len(lines) + 1))


@pytest.mark.parametrize("sizes", ["10,", "10, 20_000, 3", "60_000, " * 20])
def test_an_event_that_was_acknowledged_before_kill_9_is_there(folder, sizes, request):
    """Killed at any moment; the next process goes on with the same journal."""
    rounds = 60 if request.config.getoption("--long") else 4
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance, acknowledged = random.Random(seed), []
    for _ in range(rounds):
        acknowledged += killed_while_appending(folder, sizes, chance.uniform(0, 0.1))

        lines, damages = read(folder)
        ids = [line["event_id"] for line in lines]
        assert set(acknowledged) <= set(ids)
        assert ids == sorted(set(ids))
        assert {code for code, _ in damages} <= {"unreadable"}


def killed_while_appending(folder, sizes, after_s):
    """Start a process that appends, kill it some time after its first answer."""
    script = APPENDING.format(sizes=sizes)
    child = subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE)
    first = child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    rest = child.stdout.read()
    child.wait()
    child.stdout.close()
    # The last answer may have been cut by the kill.
    whole = (first + rest).rpartition(b"\n")[0]
    return whole.decode().split()
