"""Under which name a clone writes, and what it keeps its word for."""

import os
import shutil
import subprocess

import pytest

from coord.core import event as events
from coord.edge import replica
from coord.edge.clock import Chance
from tests import strategies as some
from tests.clones import Clone, claim, create, say
from tests.strategies import START_MS, id_at


@pytest.fixture
def clone(tmp_path):
    """A store with one item."""
    made = Clone(tmp_path / "here")
    made.write(create())
    return made


def writers(clone):
    """The writers of all lines, in the order in which they first wrote."""
    return list(dict.fromkeys(line["writer"] for line in by_id(clone)))


def by_id(clone):
    """All lines in order of event ids."""
    return sorted(clone.lines(), key=lambda line: line["event_id"])


def hold(writer, event_id=""):
    """A hold as far as a replica looks at it: its event, and whose journals have that."""
    return event_id or id_at(9), [writer]


def test_a_writer_is_the_agents_slug_and_six_random_characters(clone):
    [writer] = writers(clone)

    assert events.WRITER.fullmatch(writer)
    assert writer.startswith("agent-ada.")


def test_all_agents_and_commands_of_a_clone_share_its_replica(clone):
    clone.write(say("commented", text="x"), by="bo")
    clone.write(say("commented", text="y"), session="s2")

    assert [writer.rpartition(".")[2] for writer in writers(clone)] == [
        writers(clone)[0].rpartition(".")[2]
    ] * 2


def test_a_copied_clone_mints_a_replica_of_its_own(clone, tmp_path):
    """Its journals are not its own to continue, nor are the holds in them its word."""
    clone.write(claim())
    shutil.copytree(tmp_path / "here", tmp_path / "there")
    copy = Clone(tmp_path / "there")

    copy.write(say("commented", text="there"))
    clone.write(say("commented", text="here"))

    [original, copied] = dict.fromkeys(line["writer"] for line in [*clone.lines(), *copy.lines()])
    assert original != copied
    assert known(copy).is_ours(*hold(copied))
    assert not known(copy).is_ours(*hold(original, id_at(-9)))
    assert known(clone).is_ours(*hold(original))


def known(clone, newest=""):
    """The replica as the next command finds it."""
    return replica.Replica(clone.place, newest)


def test_a_clone_that_was_moved_mints_a_replica_of_its_own(clone, tmp_path):
    """A move cannot be told from a copy."""
    os.rename(tmp_path / "here", tmp_path / "there")
    moved = Clone(tmp_path / "there")

    moved.write(say("commented", text="x"))

    assert len(writers(moved)) == 2


def test_a_clone_on_another_machine_mints_a_replica_of_its_own(clone, monkeypatch):
    monkeypatch.setattr(replica, "_MACHINE_ID", "/proc/sys/kernel/ostype")

    clone.write(say("commented", text="x"))

    assert len(writers(clone)) == 2


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"null", b'{"host":1}', b"\xff\xfe"])
def test_a_replica_that_is_gone_or_spoilt_is_minted_anew_and_keeps_the_hosts_word(clone, content):
    """What was acquired up to then counts as possibly promised here."""
    [taken] = clone.write(claim(ttl=500))
    path = clone.store / "local" / replica.NAME
    path.unlink() if content is None else path.write_bytes(content)

    clone.write(say("commented", text="x"))

    assert len(writers(clone)) == 2
    assert known(clone).is_ours(*hold(taken["writer"], taken["event_id"]))
    assert clone.refusal(claim(fence=2), by="bo", now=499).code == "held"
    clone.write(claim(fence=2), by="bo", now=500)


def test_what_comes_from_elsewhere_after_that_is_not_ours(clone):
    (clone.store / "local" / replica.NAME).unlink()
    clone.write(say("commented", text="x"))
    newest = by_id(clone)[-1]["event_id"]

    assert known(clone).is_ours(*hold("agent-bo.zzzzzz", by_id(clone)[0]["event_id"]))
    assert not known(clone).is_ours(*hold("agent-bo.zzzzzz", newest))


def test_every_replica_that_a_clone_ever_minted_stays_its_own(clone):
    before = known(clone)
    before.renew(Chance("x"))
    before.renew(Chance("y"))
    names = [before.writer("agent:ada", Chance()), *writers(clone)]

    assert all(known(clone).owns(name) and known(clone).is_ours(*hold(name)) for name in names)
    assert not known(clone).owns("agent-ada.zzzzzz")


def test_a_hold_is_ours_whoever_else_holds_its_line(clone):
    """A sync may write it again under another replica, here or elsewhere."""
    [line] = clone.write(claim(ttl=500))
    some.Files(clone.store).append([{**line, "writer": "agent-ada.222222"}])

    assert clone.refusal(claim(fence=2), by="bo", now=499).code == "held"
    clone.write(claim(fence=2), by="bo", now=500)


def test_a_confirmed_claim_is_written_by_the_desk_that_has_won_its_nonce_and_ends_as_recorded(
    clone,
):
    asked = claim(fence=1_000_000, confirmed="remote", nonce="n1", expires_at_ms=START_MS + 700)

    assert clone.refusal(asked).code == "not_allowed"
    [line] = clone.write(asked, won="n1")
    assert line["body"]["expires_at_ms"] == START_MS + 700


@pytest.mark.parametrize("spoil", ["doubled", "swapped", "broken"])
def test_a_journal_that_does_not_end_as_it_was_read_goes_on_under_a_new_replica(clone, spoil):
    """To write on would give two lines one number, or vouch for what is damaged."""
    clone.write(*[say("commented", text=str(n)) for n in range(4)])
    [path] = (clone.store / "wk").iterdir()
    lines = path.read_bytes().splitlines()
    left = {
        "doubled": [*lines, lines[1]],
        "swapped": [*lines[:-2], lines[-1], lines[-2]],
        "broken": [*lines[:-1], lines[-1][:-5] + b'"}}'],
    }[spoil]
    path.write_bytes(b"\n".join(left) + b"\n")

    [line] = clone.write(say("commented", text="next"))

    assert (line["seq"], len(writers(clone))) == (1, 2) if spoil != "broken" else (5, 1)
    assert clone.folded().problems == []


@pytest.fixture
def inline(repo):
    """A store that is a tracked folder of the branch."""
    made = Clone(repo, str(repo / ".git"))
    made.store.mkdir()
    (made.store / ".gitattributes").write_text("* -text\n")
    (made.store / ".gitignore").write_text("/local/\n")
    made.write(create())
    git(repo, "add", ".coord")
    git(repo, "commit", "--quiet", "--message", "One item")
    return made


def git(folder, *arguments):
    """Run git, which has to succeed."""
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def test_inline_every_branch_has_a_replica_of_its_own_and_keeps_it(inline, repo):
    [mine] = inline.write(say("commented", text="main"))
    git(repo, "add", ".coord")
    git(repo, "commit", "--all", "--quiet", "--message", "main")
    git(repo, "switch", "--quiet", "--create", "other")
    [other] = inline.write(say("commented", text="other"))
    git(repo, "add", ".coord")
    git(repo, "commit", "--all", "--quiet", "--message", "other")
    git(repo, "switch", "--quiet", "main")

    [again] = inline.write(say("commented", text="main again"))

    assert again["writer"] == mine["writer"] != other["writer"]
    assert again["seq"] == mine["seq"] + 1


def test_inline_a_segment_that_may_be_committed_never_changes_again(inline, repo):
    """All versions of a file are equal then, and no merge of whatever history conflicts."""
    committed = inline.bytes()
    inline.write(say("commented", text="one"), now=1)
    inline.write(say("commented", text="two"), now=2)
    begun = inline.bytes()
    git(repo, "add", ".coord")
    git(repo, "commit", "--quiet", "--message", "Two comments")
    inline.write(say("commented", text="three"), now=3)

    assert {name: begun[name] for name in committed} == committed
    assert len(begun) == len(committed) + 1
    assert {name: inline.bytes()[name] for name in begun} == begun
    assert inline.folded().problems == []


def test_inline_a_journal_that_git_took_lines_from_goes_on_under_a_new_replica(inline, repo):
    [mine] = inline.write(say("commented", text="lost"))
    git(repo, "clean", "--force", "--quiet", ".coord")

    [line] = inline.write(say("commented", text="after"))

    assert line["writer"] != mine["writer"]
    assert line["seq"] == 1
    assert inline.folded().problems == []


def test_a_seed_makes_replica_and_ids_the_same_again(tmp_path, monkeypatch):
    monkeypatch.setenv("COORD_SEED", "7")

    made = [Clone(tmp_path / name).write(create(), say("commented", text="x")) for name in "ab"]

    assert made[0] == made[1]
    assert len({line["event_id"] for line in made[0]}) == 2


def test_two_commands_with_one_seed_do_not_mint_the_same_id(tmp_path, monkeypatch):
    monkeypatch.setenv("COORD_SEED", "7")
    clone = Clone(tmp_path)

    drafts = [create(), *[say("commented", text="x")] * 8]
    ids = [clone.write(draft)[0]["event_id"] for draft in drafts]

    assert len(set(ids)) == 9
    assert all(events.time_of(event_id) == START_MS for event_id in ids)


def test_lines_of_another_clone_do_not_make_it_ours(clone):
    some.Files(clone.store).append([some.created("wk-z", 5, "bo", key="k").raw])

    clone.write(say("commented", text="x"))

    assert not known(clone).owns("agent-bo.aaaaaa")


def test_a_claim_from_the_future_still_stands_when_the_replica_is_gone(clone):
    """Whom a clock that was ahead promised the host keeps that promise."""
    clone.write(claim(), now=events.QUARANTINE_MS + 60_000)
    (clone.store / "local" / replica.NAME).unlink()

    assert clone.refusal(claim(), by="bo").code == "clock"
