"""Two who write under one name, and remotes that say something else than before.

Whatever happened: nothing is lost, every clone gets both sides and folds to the same bytes,
who has to goes on under a new name, and then there is quiet.
"""

import json
import shutil

import pytest

from tests.remotes import Side, assert_quiet, assert_united, in_turn


def copied(side: Side, name: str) -> Side:
    """The whole clone once more, `.git` and `.coord` as they are."""
    folder = side.folder.with_name(name)
    shutil.copytree(side.folder, folder, symlinks=True)
    return Side(folder, side.name)


def impersonating(side: Side, name: str) -> Side:
    """A copy that believes it is the original: two machines with one replica id."""
    twin = copied(side, name)
    path = twin.store / "local" / "replica"
    kept = json.loads(path.read_text())
    assert kept["path"] == str(side.store)
    path.write_text(json.dumps({**kept, "path": str(twin.store)}))
    return twin


class Backup:
    """What a clone was at some time: its `.coord` alone, or all of it."""

    def __init__(self, side: Side, what: str) -> None:
        self.path = {
            "store": side.store, "all": side.folder, "journals": side.store / "wk",
        }[what]  # fmt: skip
        self.saved = side.folder.with_name("saved")
        shutil.copytree(self.path, self.saved, symlinks=True)

    def restore(self) -> None:
        """Put it back as it was then."""
        shutil.rmtree(self.path)
        shutil.copytree(self.saved, self.path, symlinks=True)


def names_of(agent: str, side: Side) -> int:
    """Under how many names an agent has written, as far as a side knows."""
    return sum(name.startswith(f"agent-{agent}.") for name in side.writers)


def forks_told(side: Side) -> list[str]:
    """The journals of which `ev check` says that they go on in two ways."""
    answer = side("ev", "check")
    assert answer.code == 0, "a fork is no damage"
    return [f"{row['tool']}/{row['writer']}" for row in answer.lines if row["code"] == "forked"]


def test_a_copied_clone_goes_on_under_a_name_of_its_own(pair):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    said += ada.say("unpublished")
    copy = copied(ada, "copy")

    said += [*ada.say("here"), *copy.say("there")]
    in_turn(copy, ada, bo)

    assert_united(ada, bo, copy, wanted=said)
    assert names_of("ada", ada) == 2
    assert ada.attic == bo.attic == copy.attic == []
    assert_quiet(ada, bo, copy)


@pytest.mark.parametrize("what", ["store", "all", "journals"])
def test_a_restored_backup_gets_back_what_it_had_published(pair, what):
    """`journals`: what is remembered of the remote is newer than what lies here."""
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    backup = Backup(ada, what)
    said += ada.say("two", "three")
    in_turn(ada, bo, rounds=1)
    backup.restore()

    ada.sync()
    said += ada.say("after")
    in_turn(ada, bo)

    assert_united(ada, bo, wanted=said)
    assert ada.attic == bo.attic == []
    assert names_of("ada", bo) == names_of("ada", ada) == 2
    assert_quiet(ada, bo)


@pytest.mark.parametrize("what", ["store", "all", "journals"])
def test_a_restored_backup_that_wrote_before_it_synced_loses_neither_side(pair, what):
    """`journals`: the index has seen that the journal is shorter; a new name is taken at once."""
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    backup = Backup(ada, what)
    said += ada.say("two", "three")
    in_turn(ada, bo, rounds=1)
    backup.restore()
    said += ada.say("other two")

    row = ada.sync()
    in_turn(bo, ada)
    said += ada.say("after")
    in_turn(ada, bo)

    assert_united(ada, bo, wanted=said)
    assert names_of("ada", bo) == names_of("ada", ada) >= 2
    if ada.attic:
        assert [problem["code"] for problem in row["problems"]] == ["forked", "forked"]
        assert len(forks_told(ada)) == 1
    assert bo.attic == []
    assert forks_told(bo) == []
    assert_quiet(ada, bo)


def test_a_journal_that_lost_lines_unseen_and_went_on_gets_them_back(pair):
    """It is as long as it was: only its lines tell that these are others."""
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    [journal] = ada.store.glob("wk/*.jsonl")
    then = journal.read_bytes()
    said += ada.say("two")
    ada.sync()
    journal.write_bytes(then)
    (ada.store / "local" / "index.db").unlink()
    said += ada.say("other two", "other three")

    row = ada.sync()
    in_turn(bo, ada)

    assert [problem["code"] for problem in row["problems"]] == ["forked", "forked"]
    assert_united(ada, bo, wanted=said)
    assert len(ada.attic) == 1
    assert_quiet(ada, bo)


def test_a_backup_restored_twice_makes_two_forks(pair):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    backup = Backup(ada, "store")
    for title in ("two", "three"):
        said += ada.say(title)
        in_turn(ada, bo, rounds=1)
        backup.restore()
    said += ada.say("four")
    in_turn(ada, bo)

    assert_united(ada, bo, wanted=said)
    assert_quiet(ada, bo)


def test_a_restored_backup_keeps_what_others_and_its_own_claims_said(pair):
    """A claim and a comment of the lost time come back and count once."""
    ada, bo = pair
    ada.say("one")
    in_turn(ada, bo)
    [item] = [row["work_id"] for row in bo.ok("wk", "list").lines]
    backup = Backup(ada, "all")
    ada.ok("wk", "claim", item)
    ada.ok("wk", "comment", item, "mine")
    bo.ok("wk", "comment", item, "theirs")
    in_turn(bo, ada, bo)
    backup.restore()
    ada.ok("wk", "comment", item, "anew")

    in_turn(ada, bo)

    assert_united(ada, bo, wanted=[])
    shown = bo.ok("wk", "show", item).json
    assert shown["claim"]["agent_id"] == "agent:ada"
    assert sorted(entry["text"] for entry in shown["comments"]) == ["anew", "mine", "theirs"]


def test_of_two_machines_with_one_name_the_second_to_publish_takes_another(pair):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    twin = impersonating(ada, "twin")
    [item] = [row["work_id"] for row in ada.ok("wk", "list").lines]
    said += [*ada.say("here", "and here"), *twin.say("there")]
    for side, session in ((ada, "s1"), (twin, "s2")):
        said.append(side.ok("wk", "claim", item, "--session", session).json["event_id"])
        said.append(side.ok("wk", "comment", item, session, "--session", session).json["event_id"])
    assert names_of("ada", ada) == names_of("ada", twin) == 1

    ada.sync()
    row = twin.sync()
    in_turn(ada, bo, twin)

    assert [problem["code"] for problem in row["problems"]] == ["forked", "forked"]
    assert_united(ada, bo, twin, wanted=said)
    assert (len(twin.attic), ada.attic, bo.attic) == (1, [], [])
    assert forks_told(twin) == [f"wk/{name}" for name in bo.writers if name in _first(bo)]
    assert_quiet(ada, bo, twin)

    said += [*ada.say("goes on"), *twin.say("goes on too")]
    in_turn(ada, twin, bo)
    assert_united(ada, bo, twin, wanted=said)
    assert names_of("ada", bo) == 2
    assert_quiet(ada, bo, twin)


def _first(side: Side) -> set[str]:
    """The writers whose journals begin with the first item."""
    return {
        path.name.rsplit(".", 2)[0]
        for path in side.store.glob("wk/*.jsonl")
        if '"title":"one"' in path.read_text()
    }


def test_two_with_one_name_that_write_in_different_tools_part_as_well(pair):
    """Each journal alone goes on without a fork; that somebody else wrote shows all the same."""
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    twin = impersonating(ada, "twin")
    said += ada.say("two")
    said.append(twin.ok("ev", "emit", "demo.happened").json["event_id"])

    in_turn(ada, twin, ada, bo)
    said += [*ada.say("three"), *twin.say("four")]
    in_turn(ada, twin, bo)

    assert_united(ada, twin, bo, wanted=said)
    assert ada.attic == twin.attic == bo.attic == []
    assert_quiet(ada, twin, bo)


def test_three_with_one_name_and_no_order_of_syncs_lose_anything(pair):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    twins = [impersonating(ada, "twin"), impersonating(ada, "third")]
    for side in (ada, *twins):
        said += side.say(*(f"{side.folder.name}{n}" for n in range(3)))
    bo.sync()
    for side in (twins[1], bo, ada, twins[0]):
        side.sync()
        said += side.say("more")

    in_turn(*twins, ada, bo)

    assert_united(ada, bo, *twins, wanted=said)
    assert_quiet(ada, bo, *twins)


def test_a_ref_that_was_rewound_is_pushed_again_by_its_writer_alone(pair, remote):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    [(ref, old)] = remote.refs().items()
    said += ada.say("two")
    in_turn(ada, bo, rounds=1)
    remote.git("update-ref", f"refs/coord/{ref}", old)

    row = bo.sync()
    assert [problem["code"] for problem in row["problems"]] == ["gone"]
    assert (row["out"], remote.refs()) == ([], {ref: old})
    assert [row["events"] for row in ada.sync()["out"]] == [1]

    bo.sync()
    assert_united(ada, bo, wanted=said)
    assert_quiet(ada, bo)


def test_a_ref_forced_to_something_foreign_is_gone_on_from(pair, remote):
    """A commit without a line of ours; the history before it is lost to the remote."""
    ada, bo = pair
    said = ada.say("one", "two")
    in_turn(ada, bo, rounds=1)
    [ref] = remote.refs()
    remote.replace(ref, {"README": b"not yours\n"})
    said += ada.say("three")
    late = remote.clone("late")

    bo.sync()
    in_turn(ada, late, bo, rounds=1)

    assert_united(ada, bo, late, wanted=said)
    assert ada.attic == []
    assert_quiet(ada, bo, late)


def test_a_writer_may_repack_its_own_ref(pair, remote):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    said += ada.say("two")
    in_turn(ada, bo, rounds=1)
    [ref] = remote.refs()
    remote.replace(ref, {"wk.jsonl": b"\n".join(remote.lines(ref)) + b"\n"})
    late = remote.clone("late")

    rows = [side.sync() for side in (ada, bo, late)]

    assert [row["in"] for row in rows[:2]] == [[], []]
    assert [row["problems"] for row in rows] == [[], [], []]
    assert_united(ada, bo, late, wanted=said)
    assert_quiet(ada, bo, late)


def test_other_lines_under_known_numbers_are_kept_whole_beside_ours(pair, remote):
    """Somebody rewrote history on the remote: both versions stay, in every clone."""
    ada, bo = pair
    said = ada.say("one", "two")
    in_turn(ada, bo, rounds=1)
    [ref] = remote.refs()
    lines = remote.lines(ref)
    edited = lines[1].replace(b'"title":"two"', b'"title":"TWO"')
    remote.replace(ref, {"wk.jsonl": lines[0] + b"\n" + edited + b"\n"})

    row = bo.sync()

    assert [problem["code"] for problem in row["problems"]] == ["forked"]
    [attic] = bo.attic
    assert attic.startswith(f"wk.{ref.removeprefix('w/')}.")
    assert (bo.store / "attic" / attic).read_bytes() == lines[0] + b"\n" + edited + b"\n"
    assert forks_told(bo) == [f"wk/{ref.removeprefix('w/')}"]
    assert_quiet(bo)
    in_turn(ada, bo)
    assert_united(ada, bo, wanted=said)
    assert_quiet(ada, bo)


BAD_LINES = {
    "no JSON": b"{torn",
    "no event": b'{"hello":1}',
    "another writer's": b'{"event_id":"01KDY0000000000000000000AA","ts":"2026-01-01T00:00:00.000Z",'
    b'"project":"p","type":"demo.x","actor":{"agent_id":"agent:eve"},"refs":{},"body":{},'
    b'"writer":"agent-eve.aaaaaa","seq":1,"v":1}',
    "binary": bytes(range(128, 200)),
    "too long": b'{"x":"' + b"x" * 70_000 + b'"}',
}


@pytest.mark.parametrize("kind", BAD_LINES)
def test_a_bad_line_is_refused_and_told_and_what_follows_it_counts(pair, remote, kind):
    ada, bo = pair
    said = ada.say("one", "two")
    ada.sync()
    [ref] = remote.refs()
    one, two = remote.lines(ref)
    remote.replace(ref, {"wk.jsonl": b"\n".join([one, BAD_LINES[kind], two]) + b"\n"})

    row = bo.sync()

    assert [problem["code"] for problem in row["problems"]] == ["bad_line"]
    assert_united(ada, bo, wanted=said)
    assert bo.ok("ev", "check").lines == []
    in_turn(ada, bo)
    assert_quiet(ada, bo)


def test_foreign_files_and_refs_under_our_prefix_are_passed_over(pair, remote):
    ada, bo = pair
    said = ada.say("one")
    ada.sync()
    [ref] = remote.refs()
    [line] = remote.lines(ref)
    files = {"wk.jsonl": line + b"\n", "wk.jsonl.bak": b"x", "..jsonl": b"x", "nothing": b""}
    remote.replace(ref, files)
    for name in ("w/Not.a-writer", "w/deep/er", "x", "w/agent-x.aaaaaa"):
        remote.replace(name, {"README": b"x"})

    row = bo.sync()

    assert row["problems"] == []
    assert_united(ada, bo, wanted=said)
    assert_quiet(bo)


def test_a_blob_that_is_not_what_its_name_says_is_refused(pair, remote):
    ada, bo = pair
    ada.ok("wk", "create", "one", "--description", "-", input="long " * 20_000)
    ada.sync()
    [ref] = remote.refs()
    [blob] = (f"blobs/{path.parent.name}/{path.name}" for path in ada.store.glob("blobs/*/*"))
    lines = b"\n".join(remote.lines(ref)) + b"\n"
    remote.replace(ref, {"wk.jsonl": lines, blob: b"something else"})

    row = bo.sync()

    assert "blob" in [problem["code"] for problem in row["problems"]]
    assert not list(bo.store.glob("blobs/*/*"))
    assert bo.titles == {"one"}


def test_a_line_damaged_here_is_repaired_from_the_remote(pair):
    """The damage stays and is told; the line stands once more behind it."""
    ada, bo = pair
    said = ada.say("one", "two", "three", "four")
    in_turn(ada, bo, rounds=1)
    [copy] = bo.store.glob("wk/agent-ada.*")
    copy.write_bytes(copy.read_bytes().replace(b'"title":"two"', b'"title":"tWo"'))
    (bo.store / "local" / "index.db").unlink()
    assert bo.titles == {"one", "three", "four"}

    bo.sync()

    assert bo.titles == {"one", "two", "three", "four"}
    codes = [row["code"] for row in bo("ev", "check").lines]
    assert codes == ["seq_repeated", "out_of_order"]
    said += ada.say("five")
    in_turn(ada, bo, rounds=1)
    assert_united(ada, bo, wanted=said)
    assert_quiet(ada, bo)


def test_a_repaired_copy_takes_no_line_twice(pair):
    """Its last line is not its newest one."""
    ada, bo = pair
    for title in ("one", "two", "three", "four"):
        ada.say(title)
        ada.sync()
    bo.sync()
    [copy] = bo.store.glob("wk/agent-ada.*")
    copy.write_bytes(copy.read_bytes().replace(b'"title":"two"', b'"title":"tWo"'))
    (bo.store / "local" / "index.db").unlink()
    bo.sync()
    lines = copy.read_bytes().splitlines()
    assert len(lines) == len(set(lines)) == 5

    for _ in range(2):
        shutil.rmtree(bo.store / "local")
        bo.sync()

    assert copy.read_bytes().splitlines() == lines
    assert_united(ada, bo, wanted=[])


def test_a_remote_that_contradicts_itself_fills_the_attic_once(pair, remote):
    """One ref has two lines of one number, as only another hand can have written it."""
    ada, bo = pair
    said = ada.say("one", "two")
    ada.sync()
    [ref] = remote.refs()
    lines = remote.lines(ref)
    other = lines[1].replace(b'"title":"two"', b'"title":"TWO"')
    tip = remote.git("rev-parse", f"refs/coord/{ref}")
    remote.replace(ref, {"wk.jsonl": other + b"\n"}, parent=tip)
    bo.sync()
    [attic] = bo.attic
    before = (bo.store / "attic" / attic).read_bytes()

    for _ in range(2):
        shutil.rmtree(bo.store / "local")
        bo.sync()

    assert bo.attic == [attic]
    assert (bo.store / "attic" / attic).read_bytes() == before
    in_turn(ada, bo)
    assert_united(ada, bo, wanted=said)
    assert_quiet(ada, bo)
