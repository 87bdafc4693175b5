"""One test per sentence of coord-journal(5); a test's number is its sentence's."""

import hashlib
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.conftest import FROZEN_MS

PAGE = Path(__file__).parents[2] / "man" / "coord-journal.5"
KEY_ORDER = [
    "event_id", "ts", "project", "type", "actor", "refs", "body", "cause", "links",
    "idempotency_key", "mine", "writer", "seq", "prev", "v",
]  # fmt: skip


def lines_of(store, tool="wk"):
    """The raw lines of the one journal in a tool's folder."""
    return b"".join(p.read_bytes() for p in sorted((store / tool).iterdir())).splitlines()


def segment_of(store, tool="wk"):
    """The newest segment of the one journal in a tool's folder."""
    return max((store / tool).iterdir())


def state(run, **options):
    return run("ev", "materialize", "work", **options).out


def damage(run):
    return [(row["code"], row.get("seq")) for row in run("ev", "check").lines]


def rewrite(store, change):
    """Other hands change the lines of a journal."""
    path = segment_of(store)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))
    shutil.rmtree(store / "local")


@pytest.fixture
def filled(run, store, frozen):
    """A store with five events of one writer in one journal."""
    for title in ("one", "two", "three", "four", "five"):
        run.ok("wk", "create", title, as_="agent:ada", env=frozen())
    return store


def test_every_sentence_has_its_test():
    numbers = re.findall(r"^\.It ([A-Z]\d+)$", PAGE.read_text(), re.M)
    tested = [name.split("_")[1].upper() for name in globals() if re.match(r"test_[a-z]\d+_", name)]

    assert sorted(tested) == sorted(numbers)


def test_s1_every_linked_worktree_uses_the_store_of_the_main_tree(run, repo, store, tmp_path):
    linked = tmp_path / "linked"
    subprocess.run(["git", "worktree", "add", "-q", linked], cwd=repo, check=True)

    run.ok("wk", "create", "from there", as_="agent:ada", cwd=linked)

    assert len(lines_of(store)) == 1
    assert not (linked / ".coord").exists()


def test_s2_a_journal_is_a_writers_numbered_segments_in_its_tools_folder(filled):
    names = [path.name for path in (filled / "wk").iterdir()]

    assert all(re.fullmatch(r"agent-ada\.[a-z2-7]{6}\.0001\.jsonl", name) for name in names)


def test_s3_a_copied_clone_writes_under_a_replica_of_its_own(run, repo, filled, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(repo, copy, symlinks=True)

    run.ok("wk", "create", "in the copy", as_="agent:ada", cwd=copy)

    writers = {orjson.loads(line)["writer"] for line in lines_of(copy / ".coord")}
    assert len(writers) == 2


def test_s4_the_lines_alone_give_the_state(run, filled, frozen):
    everything = b"".join(p.read_bytes() for p in sorted(filled.glob("*/*.jsonl")))
    env = frozen()

    answer = run("ev", "materialize", "work", "-", input=everything.decode(), env=env)

    assert answer.out == state(run, env=env)


def test_s5_the_local_folder_can_go_at_any_time(run, filled, frozen):
    env = frozen()
    before = state(run, env=env)

    shutil.rmtree(filled / "local")

    assert state(run, env=env) == before


@pytest.mark.parametrize(
    ("arguments", "tool"),
    [
        (("wk", "create", "x"), "wk"),
        (("ev", "emit", "build.finished"), "ev"),
        (("ev", "agent", "register", "--mode", "listening"), "ev"),
        (("ev", "config", "set", "claim.ttl_ms", "1h"), "ev"),
    ],
)
def test_s6_a_types_first_word_names_its_journal(run, store, arguments, tool):
    run.ok(*arguments, as_="agent:ada")

    assert [path.parent.name for path in store.glob("*/*.jsonl")] == [tool]


def test_e1_a_line_is_an_object_of_at_most_65536_bytes(run, store):
    run.ok("wk", "create", "long", "--description", "x" * 70_000, as_="agent:ada")

    [line] = lines_of(store)
    assert len(line) + 1 <= 65536
    assert isinstance(orjson.loads(line), dict)


def test_e2_the_keys_stand_in_order(run, store):
    first = run.ok("ev", "emit", "a.b", as_="agent:ada").json["event_id"]
    told = {"type": "a.b", "mine": 1, "links": [first], "cause": first, "idempotency_key": "k"}

    run.ok("ev", "emit", "-", input=orjson.dumps(told).decode(), as_="agent:ada")

    assert list(orjson.loads(lines_of(store, "ev")[1])) == KEY_ORDER


def test_e3_what_is_unknown_is_left_out(filled):
    for line in lines_of(filled):
        assert None not in orjson.loads(line).values()


def test_e4_an_event_id_is_never_before_what_its_writer_had_folded(run, store, frozen):
    """Also when the wall clock has gone back."""
    run.ok("wk", "create", "a", as_="agent:ada", env=frozen())

    run.ok("wk", "create", "b", as_="agent:bo", env=frozen(now_ms=FROZEN_MS - 200_000))

    ids = {orjson.loads(line)["body"]["title"]: orjson.loads(line)["event_id"]
           for line in lines_of(store)}  # fmt: skip
    assert ids["a"] < ids["b"]


def test_e5_the_wall_clock_decides_nothing(run, filled, frozen):
    env = frozen()
    before = state(run, env=env)
    changed = b"\n".join(
        orjson.dumps({**orjson.loads(line), "ts": "1999-01-01T00:00:00.000Z"})
        for line in lines_of(filled)[-1:]
    )
    kept = b"\n".join([*lines_of(filled)[:-1], changed]) + b"\n"

    answer = run("ev", "materialize", "work", "-", input=kept.decode(), env=env)

    assert answer.out == before


def test_e6_unknown_types_and_keys_are_kept(run, store):
    told = orjson.dumps({"type": "never.heard.of", "mine": {"a": [1]}}).decode()

    run.ok("ev", "emit", "-", input=told, as_="agent:ada")

    assert run.ok("ev", "list").json["mine"] == {"a": [1]}


def test_e7_a_long_text_stands_as_its_hash_and_is_a_blob(run, store):
    text = "x" * 70_000
    run.ok("wk", "create", "long", "--description", text, as_="agent:ada")

    blob = orjson.loads(lines_of(store)[0])["body"]["description"]
    name = hashlib.sha256(text.encode()).hexdigest()
    assert blob == {"sha256": name, "body_bytes": 70_000}
    assert (store / "blobs" / name[:2] / name).read_text() == text


def test_c1_seq_counts_without_gaps_across_segments(run, store):
    batch = "\n".join(f'{{"title":"{"x" * 900} {n}"}}' for n in range(1300))
    run.ok("wk", "create", "-", input=batch, as_="agent:ada")
    run.ok("wk", "create", "one more", as_="agent:ada")

    assert len(list((store / "wk").iterdir())) > 1
    assert [orjson.loads(line)["seq"] for line in lines_of(store)] == list(range(1, 1302))


def test_c2_prev_is_the_hash_of_the_line_before(filled):
    lines = lines_of(filled)

    assert "prev" not in orjson.loads(lines[0])
    for before, line in itertools.pairwise(lines):
        assert orjson.loads(line)["prev"] == hashlib.sha256(before).hexdigest()[:32]


def test_c3_an_edited_line_is_not_used(run, filled):
    rewrite(filled, lambda lines: [lines[0].replace(b"one", b"ONE"), *lines[1:]])

    assert damage(run) == [("edited", 1)]
    assert '"title":"ONE"' not in state(run)


def test_c4_a_line_that_stands_twice_is_used_once(run, filled, frozen):
    env = frozen()
    before = state(run, env=env)
    rewrite(filled, lambda lines: [*lines[:2], lines[1], *lines[2:]])

    assert damage(run) == [("repeated_line", 2)]
    assert state(run, env=env) == before


def test_c5_lines_out_of_order_are_used(run, filled, frozen):
    env = frozen()
    before = state(run, env=env)
    rewrite(filled, lambda lines: [lines[0], lines[2], lines[1], *lines[3:]])

    assert damage(run) == [("out_of_order", 2)]
    assert state(run, env=env) == before


def test_c6_a_missing_line_is_named_and_the_rest_is_used(run, filled):
    rewrite(filled, lambda lines: [lines[0], *lines[2:]])

    assert damage(run) == [("missing", 2)]
    assert state(run).count('"work_id"') == 4


def test_a1_appending_changes_no_byte_that_is_written(run, filled):
    before = segment_of(filled).read_bytes()

    run.ok("wk", "create", "six", as_="agent:ada")

    assert segment_of(filled).read_bytes().startswith(before)


def test_a2_an_append_after_a_torn_line_begins_with_a_newline(run, filled):
    path = segment_of(filled)
    path.write_bytes(path.read_bytes() + b'{"event_id":"torn')

    run.ok("wk", "create", "six", as_="agent:ada")

    assert b'{"event_id":"torn\n{' in path.read_bytes()
    assert [code for code, _ in damage(run)] == ["unreadable"]


def test_a3_an_acknowledged_event_has_been_synced(run, store, need):
    """The last that happens to a journal before the answer is its sync."""
    need("strace")
    [program, *arguments] = run.command("wk", "create", "x")
    traced = subprocess.run(
        ["strace", "-y", "-e", "trace=write,fdatasync", program, *arguments],
        cwd=store.parent, env={**run.environment("agent:ada")}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip

    calls = [line for line in traced.stderr.splitlines() if ".jsonl" in line or "write(1<" in line]
    kinds = [re.search(r"(write|fdatasync)\((\d+)", line).groups() for line in calls]
    assert [kind for kind, _ in kinds] == ["write", "fdatasync", "write"]
    assert kinds[-1][1] == "1"


def test_a4_a_full_segment_is_left_alone(run, store):
    batch = "\n".join(f'{{"title":"{"x" * 900} {n}"}}' for n in range(1300))
    run.ok("wk", "create", "-", input=batch, as_="agent:ada")
    first = min((store / "wk").iterdir())
    before = first.read_bytes()

    run.ok("wk", "create", "one more", as_="agent:ada")

    assert len(before) >= 1 << 20
    assert first.read_bytes() == before


def test_a5_a_whole_line_without_its_newline_counts_once_it_is_completed(run, filled):
    path = segment_of(filled)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))

    run.ok("wk", "create", "six", as_="agent:ada")

    assert damage(run) == []
    assert state(run).count('"work_id"') == 6


def test_a6_an_inline_segment_that_may_have_been_committed_is_left_as_it_is(run):
    run.ok("ev", "init", "--inline")
    run.ok("wk", "create", "one", as_="agent:ada")
    store = run.folder / ".coord"
    first = segment_of(store)
    before = first.read_bytes()
    run.ok("git", "add", ".coord")
    run.ok("git", "commit", "--quiet", "--message", "One item")

    run.ok("wk", "create", "two", as_="agent:ada")
    run.ok("wk", "create", "three", as_="agent:ada")

    assert first.read_bytes() == before
    assert [orjson.loads(line)["seq"] for line in lines_of(store)] == [1, 2, 3]
    assert len(list((store / "wk").iterdir())) == 2


def test_r1_a_reader_uses_what_stands_before_the_last_newline(run, filled):
    path = segment_of(filled)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    shutil.rmtree(filled / "local")

    assert state(run).count('"work_id"') == 4


def test_r2_a_line_that_does_not_parse_is_named_with_its_place(run, filled):
    start = len(segment_of(filled).read_bytes())
    rewrite(filled, lambda lines: [*lines, b"not json\n", b"x" * 70_000 + b"\n"])

    rows = run("ev", "check").lines
    assert [(row["code"], row["offset"]) for row in rows] == [
        ("unreadable", start), ("unreadable", start + len(b"not json\n")),
    ]  # fmt: skip
    assert {row["path"] for row in rows} == {str(segment_of(filled))}
    assert state(run).count('"work_id"') == 5


@pytest.mark.parametrize("order", [reversed, sorted])
def test_r3_the_order_of_lines_decides_nothing(run, filled, frozen, order):
    env = frozen()
    shuffled = b"\n".join(order(lines_of(filled))) + b"\n"

    answer = run("ev", "materialize", "work", "-", input=shuffled.decode(), env=env)

    assert answer.out == state(run, env=env)


def written_again(line, replica, **changes):
    """A line as another replica would write it: the same event in another journal."""
    raw = {**orjson.loads(line), "writer": f"agent-ada.{replica}", "seq": 1, **changes}
    raw.pop("prev", None)
    return orjson.dumps(raw) + b"\n"


def test_r4_an_event_of_another_journal_too_counts_once(run, filled, frozen):
    env = frozen()
    before = state(run, env=env)
    other = filled / "wk" / "agent-ada.zzzzzz.0001.jsonl"
    other.write_bytes(written_again(lines_of(filled)[2], "zzzzzz"))

    assert state(run, env=env) == before
    assert damage(run) == []


def test_r5_of_two_events_with_one_id_the_same_is_used_everywhere(run, filled, frozen):
    env = frozen()
    twin = written_again(lines_of(filled)[2], "zzzzzz", body={"title": "another"})
    states = []
    for name in ("aaaaaa", "zzzzzz"):
        other = filled / "wk" / f"agent-ada.{name}.0001.jsonl"
        other.write_bytes(twin.replace(b"zzzzzz", name.encode()))
        states.append(state(run, env=env))
        codes = damage(run)
        other.unlink()

    assert states[0] == states[1]
    assert codes == [("id_reused", None)]


def test_r6_an_event_from_the_future_counts_when_its_time_has_come(run, store, frozen):
    now, then = frozen(), frozen(now_ms=FROZEN_MS + 600_000)
    run.ok("wk", "create", "later", as_="agent:ada", env=then)

    assert state(run, env=now) == ""
    assert [row["code"] for row in run("ev", "check", env=now).lines] == ["early"]
    assert state(run, env=then).count('"work_id"') == 1


def test_r7_the_first_event_of_a_key_counts(run, filled):
    told = orjson.loads(lines_of(filled)[0])
    keyed = {"idempotency_key": "k", "refs": {"work_id": "wk-k"}}
    bodies = ({"title": "first"}, {"title": "first"}, {"title": "second"})
    for number, body in enumerate(bodies):
        event_id = told["event_id"][:-1] + "ABC"[number]
        path = filled / "wk" / f"agent-ada.zzzzz{'abc'[number]}.0001.jsonl"
        changes = {**keyed, "event_id": event_id, "body": body}
        path.write_bytes(written_again(lines_of(filled)[0], path.name[10:16], **changes))

    assert '"title":"second"' in state(run)
    assert sorted(code for code, _ in damage(run)) == ["exists", "key_reused"]


@pytest.fixture
def remote(run, filled):
    """A bare remote that `filled` has been synced with."""
    folder = run.folder.parent / "remote.git"
    run.ok("git", "init", "--quiet", "--bare", folder)
    run.ok("git", "remote", "add", "origin", folder)
    run.ok("ev", "sync", as_="agent:ada")
    return folder


def refs_of(run, remote, pattern):
    listed = run.ok("git", "-C", remote, "for-each-ref", "--format=%(refname)", pattern)
    return listed.out.split()


def test_g1_each_writer_has_a_ref_of_its_own(run, filled, remote):
    writers = {path.name.removesuffix(".0001.jsonl") for path in filled.glob("*/*.jsonl")}

    refs = refs_of(run, remote, "refs/coord")

    assert refs == sorted(f"refs/coord/w/{writer}" for writer in writers)


def test_g2_the_commits_of_a_ref_are_the_journal_byte_for_byte(run, filled, remote):
    run.ok("wk", "create", "one more", as_="agent:ada")
    run.ok("ev", "sync", as_="agent:ada")
    journal = segment_of(filled)
    [ref] = [
        r for r in refs_of(run, remote, "refs/coord/w") if r.rpartition("/")[2] in str(journal)
    ]
    commits = run.ok("git", "-C", remote, "rev-list", "--reverse", ref).out.split()

    files = [run.ok("git", "-C", remote, "show", f"{c}:wk.jsonl").out for c in commits]

    assert len(commits) == 2
    assert "".join(files).encode() == journal.read_bytes()


def test_g3_an_archive_holds_the_same_lines(run, filled, remote, frozen):
    later = frozen(now_ms=4_000_000_000_000)
    journal = segment_of(filled)

    run.ok("ev", "archive", as_="agent:ada", env=later)

    assert refs_of(run, remote, "refs/coord") == ["refs/coord/archive"]
    path = f"refs/coord/archive:{journal.name.removesuffix('.0001.jsonl')}/wk.jsonl"
    assert run.ok("git", "-C", remote, "show", path).out.encode() == journal.read_bytes()


def test_g4_a_record_names_who_holds_what_the_remote_confirmed(run, filled, remote):
    work_id = run.ok("wk", "create", "new", "--quiet", as_="agent:ada").out.strip()
    domain = f"work:{work_id}"
    claimed = run.ok("wk", "claim", work_id, "--confirm", "remote", as_="agent:ada").json
    ref = f"refs/coord/hold/{hashlib.sha256(domain.encode()).hexdigest()[:32]}"

    record = json.loads(run.ok("git", "-C", remote, "show", f"{ref}:hold.json").out)

    assert (record["v"], record["domain"], record["fence"]) == (1, domain, claimed["fence"])
    [hold] = record["holds"]
    assert (hold["lease_id"], hold["agent_id"]) == (claimed["lease_id"], "agent:ada")
    run.ok("wk", "release", work_id, as_="agent:ada")
    after = json.loads(run.ok("git", "-C", remote, "show", f"{ref}:hold.json").out)
    assert (after["fence"], after["holds"]) == (record["fence"], [])


def test_g5_lines_that_contradict_ours_are_folded_from_the_attic(run, filled, frozen):
    env = frozen()
    before = state(run, env=env)
    journal = segment_of(filled)
    writer = journal.name.removesuffix(".0001.jsonl")
    (filled / "attic").mkdir(exist_ok=True)
    line = lines_of(filled)[0]
    event_id = orjson.loads(line)["event_id"][:-1] + "Z"
    told = {"refs": {"work_id": "wk-other"}, "body": {"title": "the other side"}}
    twin = written_again(line, writer[-6:], event_id=event_id, **told)
    (filled / "attic" / f"wk.{writer}.0a1b2c3d.0001.jsonl").write_bytes(twin)

    after = state(run, env=env)

    assert "the other side" in after
    assert after.count('"work_id"') == before.count('"work_id"') + 1
