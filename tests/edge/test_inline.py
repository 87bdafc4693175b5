"""Inline: the store is a folder of the branch, and plain git moves it about."""

import os

import pytest

from tests.remotes import Side, assert_united


def merged(side: Side, branch: str) -> None:
    """Join a branch by a merge."""
    side.git("merge", "--quiet", "--no-edit", branch)


def rebased(side: Side, branch: str) -> None:
    """Join a branch by a rebase onto it."""
    side.git("rebase", "--quiet", branch)


def squashed(side: Side, branch: str) -> None:
    """Join a branch as one commit."""
    side.git("merge", "--quiet", "--squash", branch)
    side.git("commit", "--quiet", "-m", "squashed")


def picked(side: Side, branch: str) -> None:
    """Join a branch commit by commit."""
    side.git("cherry-pick", f"HEAD..{branch}")


@pytest.mark.parametrize("join", [merged, rebased, squashed, picked])
def test_branches_with_stores_join_without_a_conflict(inline, join):
    """Two clones, two branches each, and switching between them while writing."""
    one, two = inline
    said = []
    for side in inline:
        for branch in ("main", f"{side.name}-work", "main", f"{side.name}-work"):
            known = side("git", "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}").code
            side.git("checkout", "--quiet", *(["-b"] if known else []), branch)
            said += side.say(f"{side.name} {branch} {len(said)}")
            side.sync()
        side.git("checkout", "--quiet", "main")
        join(side, f"{side.name}-work")
    one.git("push", "--quiet", "origin", "main")
    two.git("fetch", "--quiet")
    join(two, "origin/main")
    two.git("push", "--quiet", "--force", "origin", "main")
    one.git("fetch", "--quiet")
    one.git("reset", "--quiet", "--hard", "origin/main")

    assert_united(one, two, wanted=said)
    assert two.ok("ev", "check").lines == []
    said += [*one.say("after"), *two.say("after too")]
    for side in inline:
        side.sync()
    one.git("push", "--quiet", "origin", "main")
    two.git("fetch", "--quiet")
    join(two, "origin/main")
    assert set(said) <= two.ids
    assert two.ok("ev", "check").lines == []


def test_writing_goes_on_under_another_name_where_git_took_lines_away(inline):
    """`reset` and `clean` took back what was acknowledged but not committed."""
    one, two = inline
    said = one.say("one")
    one.sync()
    one.say("lost")
    one.git("reset", "--quiet", "--hard")
    one.git("clean", "--quiet", "-fd")
    said += one.say("two")
    one.sync()
    one.git("push", "--quiet", "origin", "main")
    two.git("pull", "--quiet", "--rebase")

    assert_united(one, two, wanted=said)
    assert len({name for name in one.writers if name.startswith("agent-one.")}) == 2


def test_a_write_that_could_not_be_noted_begins_no_second_version_of_its_segment(inline):
    """A full disk stopped it after the journal; its branch then began again from before."""
    one, _ = inline
    for number in range(3):
        one.git("checkout", "--quiet", "-b", f"{number}{'x' * 200}", "main")
        one.say("elsewhere")
        one.sync()
    one.git("checkout", "--quiet", "-b", "topic", "main")
    one.ok("ev", "emit", "x.began", "--body", "{}")
    # A line fits into two blocks; what local/replica has to say of all branches does not.
    words = ("wk", "create", "first")
    stopped = one("sh", "-c", 'ulimit -f 2; exec "$@"', "sh", *one.command(*words))
    assert stopped.error["code"] == "disk"
    one.git("add", "--all", ".coord")
    one("git", "commit", "--quiet", "-m", "first")
    one.git("branch", "--quiet", "-m", "topic", "merged-meanwhile")
    one.git("checkout", "--quiet", "-b", "topic", "main")
    said = one.say("second")
    one.sync()
    merged(one, "merged-meanwhile")

    assert set(said) <= one.ids
    assert one.ok("ev", "check").lines == []


def test_a_torn_line_in_a_commit_stays_torn_and_nothing_conflicts(inline):
    """To complete it would give the file two versions, and both sides of a squash have one."""
    one, _ = inline
    said = one.say("one")
    [segment] = one.store.glob("wk/agent-one.*.0001.jsonl")
    with segment.open("ab") as stream:
        stream.write(b'{"event_id":"01TORN')
    one.git("add", "--all", ".coord")
    one.git("commit", "--quiet", "-m", "torn")
    before = segment.read_bytes()
    said += one.say("two")
    one.ok("ev", "check")

    assert segment.read_bytes() == before
    assert set(said) <= one.ids
    assert len(one.writers) == 1


def test_a_whole_line_without_newline_in_a_commit_is_never_numbered_twice(inline):
    one, _ = inline
    one.say("one")
    said = one.say("two")
    [segment] = one.store.glob("wk/agent-one.*.0001.jsonl")
    os.truncate(segment, segment.stat().st_size - 1)
    one.git("add", "--all", ".coord")
    one.git("commit", "--quiet", "-m", "torn")
    before = segment.read_bytes()
    later = one.say("three")

    assert segment.read_bytes() == before
    assert one.ok("ev", "check").lines == []
    assert {row["event_id"] for row in one.ok("ev", "list").lines} >= set(later)
    assert said[0] not in {row["event_id"] for row in one.ok("ev", "list").lines}
