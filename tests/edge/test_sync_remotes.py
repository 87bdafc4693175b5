"""Remotes and repositories of every kind: each sync ends as a user would hope.

What does not work is said with a stable code and the next step, nothing is lost, and it
goes on as soon as the reason has gone.
"""

import contextlib
import http.server
import os
import shutil
import threading

import pytest

from tests.conftest import Runner
from tests.remotes import Side, assert_quiet, assert_united, configured, git, in_turn

BRANCHES = "refs/heads/coord/"


@pytest.fixture
def published(pair, remote):
    """Ada's clone, whose journal the remote has, and that journal's ref."""
    ada = pair[0]
    ada.say("one", "two")
    ada.sync()
    [ref] = remote.refs()
    return ada, ref


def hook(remote, name, text):
    """Install a hook in the remote."""
    path = remote.folder / "hooks" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


KINDS_OF_CLONE = {
    "shallow": ("--depth", "1"),
    "of one branch": ("--single-branch",),
    "partial": ("--filter=blob:none",),
    "partial without trees": ("--filter=tree:0",),
    "mirror": ("--mirror",),
    "bare": ("--bare",),
    "its own git folder": ("--separate-git-dir", "{folder}/apart"),
    "without a checkout": ("--no-checkout",),
}


@pytest.mark.parametrize("kind", KINDS_OF_CLONE)
def test_every_kind_of_clone_syncs_both_ways(published, remote, kind):
    ada, _ = published
    for name, value in (("allowFilter", "true"), ("allowAnySHA1InWant", "true")):
        remote.git("config", f"uploadpack.{name}", value)
    folder = remote.folder.parent / "other"
    words = [word.format(folder=folder.parent) for word in KINDS_OF_CLONE[kind]]
    git(folder.parent, "clone", "--quiet", *words, remote.folder.as_uri(), folder)
    other = Side(folder)
    other.ok("ev", "init")
    kept = {name: other.git("config", name) for name in ("remote.origin.url",)}
    config = other.git("config", "--list", "--local")

    said = other.say("three")
    in_turn(other, ada)
    said += [*ada.say("four"), *other.say("five")]
    in_turn(ada, other, ada)

    assert_united(ada, other, wanted=said)
    assert_quiet(ada, other)
    assert other.git("config", "--list", "--local") == config
    assert kept["remote.origin.url"] == remote.folder.as_uri()
    others = {name for name in remote.refs("refs/") if not name.startswith("coord/")}
    assert others == {"heads/main"}


def test_a_store_in_a_submodule_goes_to_the_submodules_remote(published, remote, tmp_path):
    ada, _ = published
    git(tmp_path, "init", "--quiet", "super")
    outer = configured(tmp_path / "super")
    url = remote.folder.as_uri()
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, "inner")
    inner = configured_submodule(outer)
    inner.ok("ev", "init")

    said = inner.say("three")
    in_turn(inner, ada)

    assert_united(ada, inner, wanted=said)
    assert_quiet(inner)
    assert outer.git("for-each-ref") == ""


def configured_submodule(outer):
    """The submodule `inner`, with its user."""
    inner = Side(outer.folder / "inner")
    inner.git("config", "user.name", "inner")
    return inner


def test_every_worktree_of_a_clone_syncs_its_one_store(published):
    ada, _ = published
    ada.git("worktree", "add", "--quiet", "--detach", "../tree")
    tree = Side(ada.folder.with_name("tree"))

    said = tree.say("three")

    assert [row["events"] for row in tree.sync()["out"]] == [1]
    assert said[0] in ada.ids
    assert_quiet(ada)


REFUSING = {
    "hidden": lambda remote: remote.git("config", "receive.hideRefs", "refs/coord"),
    "hidden both ways": lambda remote: remote.git("config", "transfer.hideRefs", "refs/coord"),
    "by a hook": lambda remote: hook(
        remote, "update", "case $1 in refs/heads/*) ;; *) echo branches only; exit 1;; esac"
    ),
}


@pytest.mark.parametrize("how", REFUSING)
def test_a_remote_that_takes_branches_only_says_so_and_takes_branches(pair, remote, how):
    ada, bo = pair
    REFUSING[how](remote)
    said = ada.say("one")

    refused = ada("ev", "sync")
    assert (refused.code, refused.error["code"]) == (4, "remote_refused")
    assert "ref_prefix refs/heads/coord/" in refused.error["hint"]
    assert refused.out == ""
    for side in pair:
        side.ok("ev", "config", "set", "ref_prefix", BRANCHES)
    said += bo.say("two")
    in_turn(ada, bo)

    assert_united(ada, bo, wanted=said)
    assert len(remote.refs(BRANCHES)) == 2
    assert_quiet(ada, bo)


def test_a_remote_that_takes_one_branch_only_points_to_the_inline_store(pair, remote):
    ada, _ = pair
    hook(remote, "pre-receive", "while read a b ref; do [ $ref = refs/heads/main ] || exit 1; done")
    ada.say("one")

    assert ada("ev", "sync").error["code"] == "remote_refused"
    ada.ok("ev", "config", "set", "ref_prefix", BRANCHES)
    refused = ada("ev", "sync")

    assert (refused.code, refused.error["code"]) == (4, "remote_refused")
    assert "ev init --inline" in refused.error["hint"]


def test_what_came_in_counts_though_nothing_may_go_out(published, pair, remote):
    bo = pair[1]
    bo.say("three")
    hook(remote, "pre-receive", "exit 1")

    assert bo("ev", "sync").code == 4

    assert bo.titles == {"one", "two", "three"}
    (remote.folder / "hooks" / "pre-receive").unlink()
    in_turn(bo, pair[0])
    assert_united(*pair, wanted=[])
    assert_quiet(*pair)


def test_a_remote_that_can_only_be_read_is_read(published, pair):
    """Its side of a push is not there to answer."""
    bo = pair[1]
    bo.git("config", "remote.origin.receivepack", "false")

    assert [row["events"] for row in bo.sync()["in"]] == [2]
    bo.say("three")
    refused = bo("ev", "sync")

    assert (refused.code, refused.error["code"]) == (7, "unreachable")
    assert bo.ok("ev", "sync", "--pull").code == 0


def test_one_ref_that_is_refused_does_not_keep_the_others_back(pair, remote):
    ada, _ = pair
    ada.say("one")
    ada.ok("wk", "create", "two", as_="agent:kim")
    hook(remote, "update", "case $1 in *agent-ada*) exit 1;; esac")

    assert ada("ev", "sync").code == 4

    [ref] = remote.refs()
    assert ref.startswith("w/agent-kim.")
    (remote.folder / "hooks" / "update").unlink()
    assert [row["events"] for row in ada.sync()["out"]] == [1]
    assert_quiet(ada)


def test_a_remote_that_checks_every_object_finds_nothing(pair, remote):
    ada, bo = pair
    for side in (remote, ada, bo):
        side.git("config", "transfer.fsckObjects", "true")
    said = ada.say("one")
    ada.ok("wk", "create", "two", "--description", "-", input="long " * 20_000)
    in_turn(ada, bo)

    assert_united(ada, bo, wanted=said)
    remote.git("fsck", "--strict", "--no-dangling")


class _Refuses(http.server.BaseHTTPRequestHandler):
    """A server that always wants other credentials."""

    def do_GET(self):
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def denying_url():
    """The URL of a server that refuses everybody."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/x.git"
    server.shutdown()
    thread.join()
    server.server_close()


def test_credentials_that_are_missing_are_named_and_nobody_is_asked(pair, denying_url):
    ada, _ = pair
    ada.say("one")

    # A process of its own has a deadline: it must not wait for somebody to type.
    refused = Runner(ada.folder)("ev", "sync", "--remote", denying_url, as_="agent:ada")

    assert (refused.code, refused.error["code"]) == (7, "unreachable")
    assert "credentials" in refused.error["hint"]


UNREACHABLE = {
    "no such folder": "/nowhere/at/all.git",
    "no repository": "{folder}",
    "no server": "git://127.0.0.1:1/x.git",
    "no host": "http://nowhere.invalid/x.git",
    "no protocol": "nothing::x/y",
}


@pytest.mark.parametrize("kind", UNREACHABLE)
def test_a_remote_that_is_not_there_is_told_and_everything_stays_recorded(pair, kind, tmp_path):
    ada, bo = pair
    said = ada.say("one")
    (tmp_path / "empty").mkdir()
    url = UNREACHABLE[kind].format(folder=tmp_path / "empty")

    for words in ((), ("--dry-run",), ("--pull",), ("--push",)):
        refused = ada("ev", "sync", "--remote", url, *words)
        assert (refused.code, refused.error["code"]) == (7, "unreachable"), refused.err
        assert refused.out == ""
        assert refused.error["remote"] == url

    in_turn(ada, bo)
    assert_united(ada, bo, wanted=said)


def test_a_remote_that_was_deleted_and_made_anew_gets_everything_again(published, pair, remote):
    """Own journals by themselves; those of others from whoever says --restore."""
    ada, bo = pair
    bo.say("three")
    in_turn(bo, ada)
    refs = set(remote.refs())
    shutil.rmtree(remote.folder)
    assert ada("ev", "sync").error["code"] == "unreachable"
    git(remote.folder.parent, "init", "--quiet", "--bare", remote.folder)

    row = ada.sync()
    assert [problem["code"] for problem in row["problems"]] == ["gone"]
    assert [entry["events"] for entry in row["out"]] == [2]
    ada.sync("--restore")

    assert set(remote.refs()) == refs
    assert bo.sync()["out"] == []
    assert_united(ada, bo, wanted=[])
    assert_quiet(ada, bo)


def test_refs_that_somebody_deleted_come_back_own_ones_by_themselves(published, pair, remote):
    ada, bo = pair
    _, ref = published
    in_turn(bo, ada)
    before = remote.refs()
    remote.git("update-ref", "-d", f"refs/coord/{ref}")

    told = bo.sync()
    assert [(row["code"], row["journal"]) for row in told["problems"]] == [
        ("gone", f"wk/{ref.removeprefix('w/')}")
    ]
    assert remote.refs() == {}
    assert bo.titles == {"one", "two"}
    assert_quiet(bo)
    assert [row["events"] for row in bo.sync("--restore")["out"]] == [2]
    remote.git("update-ref", "-d", f"refs/coord/{ref}")
    assert [row["events"] for row in ada.sync()["out"]] == [2]

    assert remote.refs() == before
    assert bo.sync()["problems"] == []
    assert_quiet(ada, bo)


def rewritten(side):
    """What rewriting all history leaves: none of our refs, no reflog, no unreachable object."""
    for ref in side.git("for-each-ref", "--format=%(refname)", "refs/coord").split():
        side.git("update-ref", "-d", ref)
    collected(side)


def collected(side):
    """Everything that no ref reaches is gone, and the refs are packed."""
    side.git("reflog", "expire", "--expire=now", "--expire-unreachable=now", "--all")
    side.git("gc", "--quiet", "--prune=now")


@pytest.mark.parametrize("how", [rewritten, collected])
@pytest.mark.parametrize("where", ["here", "there", "everywhere"])
def test_after_garbage_collection_and_rewritten_history_sync_goes_on(pair, remote, how, where):
    ada, bo = pair
    said = [*ada.say("one"), *bo.say("two")]
    in_turn(ada, bo)
    for side in {"here": [ada], "there": [remote], "everywhere": [ada, bo, remote]}[where]:
        how(side)
    said += [*ada.say("three"), *bo.say("four")]

    in_turn(ada, bo, ada, bo)

    assert_united(ada, bo, wanted=said)
    assert len(remote.refs()) == 2
    assert not list(ada.folder.glob(".git/fast_import_crash*"))
    assert_quiet(ada, bo)


def test_settings_that_change_what_git_prints_change_nothing(published, pair):
    bo = pair[1]
    settings = {
        "color.ui": "always", "color.diff": "always", "diff.renames": "copies",
        "diff.noprefix": "true", "diff.mnemonicPrefix": "true", "diff.relative": "true",
        "log.showRoot": "false", "log.showSignature": "true", "log.follow": "true",
        "log.decorate": "full", "log.date": "iso", "log.diffMerges": "first-parent",
        "format.pretty": "oneline", "core.abbrev": "5", "core.quotePath": "false",
        "fetch.output": "compact", "fetch.prune": "true", "fetch.pruneTags": "true",
        "fetch.showForcedUpdates": "true", "fetch.writeCommitGraph": "true",
        "push.default": "nothing", "push.followTags": "true", "push.autoSetupRemote": "true",
        "remote.origin.tagOpt": "--tags", "remote.origin.prune": "true", "core.pager": "false",
        "transfer.advertiseSID": "true", "push.gpgSign": "true", "gc.auto": "1",
        "fastimport.unpackLimit": "1", "i18n.logOutputEncoding": "UTF-16", "diff.external": "false",
        "core.whitespace": "tab-in-indent", "status.short": "true", "submodule.recurse": "true",
    }  # fmt: skip
    config = bo.folder / ".git" / "config"
    for name, value in settings.items():
        section, key = name.rsplit(".", 1)
        head, _, rest = section.partition(".")
        title = f'{head} "{rest}"' if rest else head
        with config.open("a") as stream:
            stream.write(f"[{title}]\n\t{key} = {value}\n")

    bo.say("three")
    in_turn(bo, pair[0], bo)

    assert_united(*pair, wanted=[])
    assert_quiet(bo)


def test_a_hook_that_calls_sync_has_its_own_repository_synced(published, pair, tmp_path):
    """What git tells its hooks about another repository and index is not for us."""
    bo = pair[1]
    git(tmp_path, "init", "--quiet", "elsewhere")
    env = {
        "GIT_DIR": str(tmp_path / "elsewhere" / ".git"),
        "GIT_WORK_TREE": str(tmp_path / "elsewhere"),
        "GIT_INDEX_FILE": str(tmp_path / "elsewhere" / "index"),
        "GIT_OBJECT_DIRECTORY": str(tmp_path / "elsewhere" / "objects"),
    }

    row = bo.sync(env=env)

    assert [entry["events"] for entry in row["in"]] == [2]
    assert not (tmp_path / "elsewhere" / "index").exists()
    assert git(tmp_path / "elsewhere", "for-each-ref") == ""


def test_a_repository_that_git_cannot_read_is_named(published, pair):
    bo = pair[1]
    bo.say("three")
    objects = bo.folder / ".git" / "objects"
    bo.sync()
    for path in objects.glob("*/*"):
        with contextlib.suppress(OSError):
            os.chmod(path, 0o644)
            path.write_bytes(b"")
    bo.say("four")

    refused = bo("ev", "sync")

    assert refused.code == 7
    assert refused.error["code"] in ("git_failed", "unreachable")
