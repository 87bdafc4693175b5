"""`ev init` makes a store and touches nothing else; every place of a clone finds the same one."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.chaos import journals
from tests.conftest import Answer, Runner

ADA = {"as_": "agent:ada"}
FOLDERS = {"wk", "ev", "lease", "msg", "run", "local"}


def git(run: Runner, *words: str) -> str:
    return run.ok("git", *words).out


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Mode and content of everything below a folder."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def lived_in(run: Runner) -> Runner:
    """A repository in the middle of things: hooks, staged and unstaged changes, a stash."""
    folder = run.folder
    (folder / ".gitignore").write_text("*.o")
    (folder / "kept").write_text("1\n")
    git(run, "add", ".")
    git(run, "commit", "-qm", "kept")
    (folder / "kept").write_text("2\n")
    git(run, "stash", "--quiet", "--include-untracked")
    (folder / "kept").write_text("3\n")
    git(run, "add", "kept")
    (folder / "kept").write_text("4\n")
    hook = folder / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    return run


def test_init_touches_nothing_of_the_users_but_info_exclude(lived_in: Runner):
    """Nor do the commands after it; `git status` shows nothing new."""
    run, dot_git = lived_in, lived_in.folder / ".git"
    # First, for it refreshes the index.
    status = git(run, "status", "--porcelain", "--ignored")
    before = snapshot(run.folder)

    row = run.ok("ev", "init").json
    made = run.ok("wk", "create", "x", **ADA).json["work_id"]
    run.ok("wk", "claim", made, **ADA)
    run.ok("ev", "config", "set", "skew_ms", "3s", **ADA)

    after = {
        name: value for name, value in snapshot(run.folder).items() if not name.startswith(".coord")
    }
    exclude = ".git/info/exclude"
    assert {n for n in before | after if before.get(n) != after.get(n)} <= {exclude, ".git/info"}
    assert (dot_git / "info" / "exclude").read_text().endswith("/.coord/\n")
    assert str(dot_git / "info" / "exclude") in row["made"]
    now = git(run, "status", "--porcelain", "--ignored")
    assert now.replace("!! .coord/\n", "") == status


def test_init_a_second_time_makes_nothing(run: Runner):
    first = run.ok("ev", "init").json
    run.ok("wk", "create", "x", **ADA)
    before = snapshot(run.folder)

    again = run.ok("ev", "init")

    assert {Path(path).name for path in first["made"]} == {*FOLDERS, ".coord", "exclude"}
    assert (again.json["made"], again.json["store"]) == ([], first["store"])
    assert snapshot(run.folder) == before


def test_init_adds_a_line_to_an_exclude_file_that_lacks_its_newline(run: Runner):
    path = run.folder / ".git" / "info" / "exclude"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"*.swp\n\xff mine")

    run.ok("ev", "init")

    assert path.read_bytes() == b"*.swp\n\xff mine\n/.coord/\n"


def test_inline_keeps_journals_in_the_branch_and_nothing_else(run: Runner):
    """`local/` and `config.yaml` never show up; line endings stay as they are."""
    answer = run.ok("ev", "init", "--inline")
    assert answer.json["inline"] is True
    assert "committed" in answer.err
    assert run.ok("ev", "init", "--inline").json["made"] == []
    run.ok("wk", "create", "x", **ADA)
    run.ok("ev", "config", "set", "skew_ms", "3s", **ADA)

    git(run, "add", "--all")
    tracked = git(run, "ls-files").split()
    git(run, "commit", "-qm", "store")

    wanted = {".coord/.gitattributes", ".coord/.gitignore", *(
        f".coord/{name}" for name in journals.contents(run.folder / ".coord")
    )}  # fmt: skip
    assert set(tracked) == wanted
    assert git(run, "status", "--porcelain") == ""
    assert "/.coord/" not in (run.folder / ".git" / "info" / "exclude").read_text()
    attributes = git(run, "check-attr", "text", tracked[-1])
    assert attributes.strip().endswith("text: unset")
    run.ok("wk", "list", **ADA)
    assert git(run, "status", "--porcelain") == ""


def test_a_store_without_events_can_still_become_inline(run: Runner):
    """What `ev init` excluded before is then no longer excluded."""
    run.ok("ev", "init")

    run.ok("ev", "init", "--inline")

    run.ok("wk", "create", "x", **ADA)
    assert ".coord/" in git(run, "status", "--porcelain")


def test_a_store_with_events_does_not_become_inline(run: Runner):
    run.ok("ev", "init")
    run.ok("wk", "create", "x", **ADA)
    before = snapshot(run.folder)

    answer = run("ev", "init", "--inline")

    assert (answer.code, answer.error["code"]) == (5, "exists")
    assert snapshot(run.folder) == before


def test_an_inline_store_stays_inline(run: Runner):
    """Every clone of it may say `ev init`, whatever its kind."""
    run.ok("ev", "init", "--inline")
    run.ok("wk", "create", "x", **ADA)
    before = snapshot(run.folder)

    again = run.ok("ev", "init").json

    assert (again["inline"], again["made"]) == (True, [])
    assert snapshot(run.folder) == before


def test_what_git_takes_away_from_an_inline_store_is_not_numbered_twice(run: Runner):
    """After a stash the same agent goes on under a new replica; both come back together."""
    run.ok("ev", "init", "--inline")
    kept = run.ok("wk", "create", "kept", **ADA).json["work_id"]
    git(run, "add", "--all")
    git(run, "commit", "-qm", "store")
    stashed = run.ok("wk", "create", "stashed", **ADA).json["work_id"]
    git(run, "stash", "--quiet", "--include-untracked")

    assert run.ok("wk", "list", "--quiet").out.split() == [kept]
    after = run.ok("wk", "create", "after", **ADA).json["work_id"]
    git(run, "stash", "pop", "--quiet")

    assert set(run.ok("wk", "list", "--quiet").out.split()) == {kept, stashed, after}
    assert run("ev", "check").code == 0


def places(run: Runner) -> dict[str, Path]:
    """Places from which the same store is meant."""
    folder = run.folder
    (folder / "sub" / "deep").mkdir(parents=True)
    tree = folder.parent / "tree"
    git(run, "worktree", "add", "--quiet", "--detach", str(tree))
    (tree / "below").mkdir()
    (folder.parent / "link").symlink_to(folder)
    return {
        "the main tree": folder, "a folder below": folder / "sub" / "deep",
        "a linked worktree": tree, "a folder below that": tree / "below",
        "inside .git": folder / ".git", "inside .coord": folder / ".coord" / "wk",
        "a symbolic link": folder.parent / "link",
    }  # fmt: skip


def test_every_place_of_a_clone_has_the_same_store(run: Runner, store: Path):
    """Also for claims: who holds it in one worktree holds it in all."""
    here = places(run)
    made = [run.ok("wk", "create", name, cwd=path, **ADA).json["work_id"]
            for name, path in here.items()]  # fmt: skip
    run.ok("wk", "claim", made[0], cwd=here["a linked worktree"], **ADA)

    for path in here.values():
        assert set(run.ok("wk", "list", "--quiet", cwd=path).out.split()) == set(made)
        held = run("wk", "claim", made[0], cwd=path, as_="agent:bo")
        assert (held.code, held.error["holder"]) == (5, "agent:ada")
    assert not (here["a linked worktree"] / ".coord").exists()
    assert len(journals.files(store)) == 1


def test_dir_and_coord_dir_name_the_store_from_anywhere(run: Runner, store: Path, tmp_path: Path):
    """The store itself or a folder that has one; --dir has the last word."""
    away = tmp_path / "away"
    away.mkdir()
    made = run.ok("wk", "create", "x", **ADA).json["work_id"]

    for named in (run.folder, store, os.path.relpath(store, away)):
        assert run.ok("wk", "list", "--quiet", "--dir", named, cwd=away).out.split() == [made]
        environment = {"COORD_DIR": str(named)}
        assert run.ok("wk", "list", "--quiet", cwd=away, env=environment).out.split() == [made]
    wrong = run("wk", "list", "--dir", away, env={"COORD_DIR": str(store)})
    assert wrong.code == 3


def test_a_bare_repository_keeps_the_store_in_its_git_folder(run: Runner, tmp_path: Path):
    bare, tree = tmp_path / "bare.git", tmp_path / "work"
    git(run, "clone", "--quiet", "--bare", ".", str(bare))
    git(run, "-C", str(bare), "worktree", "add", "--quiet", str(tree))

    row = run.ok("ev", "init", cwd=tree).json

    assert row["store"] == str(bare / ".coord")
    made = run.ok("wk", "create", "x", cwd=bare, **ADA).json["work_id"]
    assert run.ok("wk", "list", "--quiet", cwd=tree).out.split() == [made]
    assert run.ok("git", "status", "--porcelain", cwd=tree).out == ""


def test_a_copied_clone_writes_journals_of_its_own(run: Runner, store: Path, tmp_path: Path):
    """Its writer is another one, so that the two can be brought together."""
    run.ok("wk", "create", "x", **ADA)
    shutil.copytree(run.folder, tmp_path / "copy", symlinks=True)

    there = Runner(tmp_path / "copy")
    there.ok("wk", "create", "y", **ADA)
    run.ok("wk", "create", "z", **ADA)

    names = [set(journals.contents(folder / ".coord")) for folder in (run.folder, there.folder)]
    assert len(names[0]) == 1
    assert len(names[1]) == 2
    assert names[0] < names[1]


def test_two_at_once_make_one_store(run: Runner):
    started = [run.start("ev", "init") for _ in range(6)]
    ended = [(*process.communicate(timeout=60), process.returncode) for process in started]

    assert [(err, code) for _, err, code in ended] == [(b"", 0)] * 6
    exclude = (run.folder / ".git" / "info" / "exclude").read_text().splitlines()
    assert exclude.count("/.coord/") >= 1
    run.ok("wk", "create", "x", **ADA)


def without_rights(run: Runner, *words: str) -> Answer:
    """Run a command as root that has lost the right to pass over file modes."""
    rights = "-dac_override,-dac_read_search"
    return run("setpriv", f"--inh-caps={rights}", f"--bounding-set={rights}", *run.command(*words),
               **ADA)  # fmt: skip


def test_a_store_that_may_not_be_read_is_an_error_not_a_bug(run: Runner, store: Path):
    """It names the file; nothing is a traceback."""
    run.ok("wk", "create", "x", **ADA)
    if os.geteuid() != 0:
        pytest.skip("needs root: the files must be somebody else's")
    if subprocess.run(["setpriv", "--version"], capture_output=True).returncode:
        pytest.skip("needs setpriv")
    file = journals.files(store)[0]
    for path in (file, store / "wk", store):
        os.chown(path, 1234, 1234)
        mode = path.stat().st_mode
        path.chmod(0o700)
        for words in (("wk", "list"), ("wk", "create", "y"), ("ev", "check")):
            answer = without_rights(run, *words)

            assert answer.error["code"] in ("no_file", "read_only"), words
            assert answer.code in (3, 4)
            assert "Traceback" not in answer.err
            assert str(store) in answer.error["message"]
        path.chmod(mode)
        os.chown(path, 0, 0)


@pytest.mark.parametrize("kind", ["file", "dangling link"])
def test_something_else_in_the_place_of_the_store_is_named(run: Runner, kind: str):
    """Exit 5; it is left alone."""
    path = run.folder / ".coord"
    path.write_text("mine") if kind == "file" else path.symlink_to("/nonexistent")

    answer = run("ev", "init")

    assert (answer.code, answer.error["code"]) == (5, "exists")
    assert str(path) in answer.error["message"]
    assert run("wk", "list").code == 3


def test_what_is_no_ordinary_file_is_no_journal(run: Runner, store: Path):
    """A folder, a link and a pipe under a journal's name: `ev check` names them, no more."""
    run.ok("wk", "create", "x", **ADA)
    before = run.ok("wk", "list").out
    secret = run.folder / "secret"
    secret.write_text("password\n")
    folder, (name,) = store / "wk", (path.name for path in journals.files(store))
    (folder / "folder.aaaaaa.0001.jsonl").mkdir()
    (folder / "link.aaaaaa.0001.jsonl").symlink_to(secret)
    (folder / name.replace(".0001.", ".0002.")).symlink_to(secret)
    os.mkfifo(folder / "pipe.aaaaaa.0001.jsonl")

    assert run.ok("wk", "list").out == before
    check = run("ev", "check")
    assert (check.code, {row["code"] for row in check.lines}) == (1, {"unreadable"})
    assert len({row["path"] for row in check.lines}) == len(check.lines) == 4
    run.ok("wk", "create", "y", **ADA)
    assert secret.read_text() == "password\n"


def test_a_folder_that_is_gone_is_an_error_not_a_bug(run: Runner, store: Path):
    script = f"mkdir gone; cd gone; rmdir ../gone; exec {run.command('wk')[0]} list"

    answer = run("sh", "-c", script)

    assert (answer.code, answer.error["code"]) == (3, "no_file")
