"""The plan of a sandbox: which one is taken, and what it leaves to a command."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.core.run import sandbox, wanted

PLACE = sandbox.Place(
    top="/r", cwd="/r/sub", guarded=("/r/.git", "/r/sub/.git", "/s/.coord"),
    reads=("/usr/bin", "/home/ada/.gitconfig"), writes=(), hidden=("/r/token",),
)  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "bwrap", "landlock", "kind"),
    [
        ("auto", "", "", "bwrap"),
        ("auto", "", "old", "bwrap"),
        ("auto", "missing", "", "landlock"),
        ("auto", "missing", "old", ""),
        ("bwrap", "missing", "", ""),
        ("landlock", "", "old", ""),
        ("landlock", "missing", "", "landlock"),
    ],
)
def test_a_sandbox_that_does_not_work_is_never_replaced_by_none(
    asked: str, bwrap: str, landlock: str, kind: str
):
    """`auto` goes on to the next; what is named is named."""
    found, refused = sandbox.chosen(asked, {"bwrap": bwrap, "landlock": landlock})

    assert found == kind
    assert bool(refused) is not bool(found)


def test_a_command_writes_where_it_begins_and_nowhere_else():
    plan = sandbox.planned("bwrap", {}, [], PLACE)

    assert plan.writes == ("/r/sub",)
    assert plan.guarded == ("/r/sub/.git",)
    assert "/r" in plan.reads
    assert "/usr/bin" not in plan.reads
    assert not plan.network


def test_globs_say_where_it_writes_instead():
    """What is below another place goes without saying."""
    plan = sandbox.planned("bwrap", {"network": True}, ["/r", "/r/src"], PLACE)

    assert plan.writes == ("/r",)
    assert plan.guarded == ("/r/.git", "/r/sub/.git")
    assert plan.network


@pytest.mark.parametrize(
    ("glob", "lead"),
    [
        ("src/**", "/r/src"),
        ("src/a.py", "/r/src/a.py"),
        ("**", "/r"),
        ("a/b*/c", "/r/a"),
        ("a/{b,c}", "/r/a"),
        ("a/[id]/x", "/r/a"),
    ],
)
def test_the_lead_of_a_glob_holds_all_that_it_fits(glob: str, lead: str):
    assert sandbox.lead_of(glob, "/r") == lead


NAMES = ("a", "b", "ab")
TREE = ["/" + "/".join(parts) for n in (1, 2, 3) for parts in itertools.product(NAMES, repeat=n)]


def children(folder: str) -> list[str]:
    return [path for path in TREE if path.rpartition("/")[0] == folder.rstrip("/")]


@given(st.sampled_from(["/", "/a", "/a/b"]), st.lists(st.sampled_from(TREE), max_size=4))
def test_what_is_left_out_of_a_tree_is_all_that_is_left_out(root: str, but: list[str]):
    """Every path is granted exactly if it lies in the root and in nothing that is left out.

    A root inside of what is left out stays: the longer path decides.
    """
    but = [path for path in but if sandbox.is_in(path, [root])]
    granted = sandbox.without(root, but, children)

    leaves = [path for path in TREE if path.count("/") == 3]
    for path in leaves:
        is_meant = sandbox.is_in(path, [root]) and not sandbox.is_in(path, but)
        assert sandbox.is_in(path, granted) == is_meant


def test_what_the_worker_knows_of_secrets_stays_with_it():
    given = {"PATH": "/bin", "LC_ALL": "C", "COORD_RUN": "run-x", "API_TOKEN": "x",
             "SSH_AUTH_SOCK": "/run/x", "LD_PRELOAD": "x"}  # fmt: skip

    assert sandbox.kept(given) == {"PATH": "/bin", "LC_ALL": "C", "COORD_RUN": "run-x"}


@pytest.mark.parametrize(
    ("more", "fits"),
    [
        ({"sandbox": {"by": "auto"}}, True),
        ({"sandbox": {"by": "bwrap", "network": True, "reads": ["/data"]}}, True),
        ({"sandbox": {}}, False),
        ({"sandbox": {"by": "chroot"}}, False),
        ({"sandbox": {"by": "auto", "network": 1}}, False),
        ({"sandbox": {"by": "auto", "reads": ["data"]}}, False),
        ({"sandbox": {"by": "auto"}, "locks": ["env:a"]}, False),
        ({"sandbox": {"by": "none"}, "locks": ["env:a"]}, True),
        ({"secrets": {"TOKEN": "/run/secrets/token"}}, True),
        ({"secrets": {"TOKEN": "token"}}, False),
        ({"secrets": {"A=B": "/x"}}, False),
        ({"log_cap": 65536}, True),
        ({"log_cap": 1}, False),
    ],
)
def test_a_request_names_a_sandbox_secrets_and_a_cap(more: dict[str, Any], fits: bool):
    assert (not wanted.fault_in({"argv": ["true"], **more})) is fits
