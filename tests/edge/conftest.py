"""A bare remote and two clones of it, for tests of sync."""

from pathlib import Path

import pytest

from tests.remotes import Remote, Side, moved


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A remote and two clones in which nothing was written yet, to be copied."""
    folder = tmp_path_factory.mktemp("begun")
    remote = Remote(folder)
    remote.make()
    for name in ("ada", "bo"):
        remote.clone(name)
    return folder


@pytest.fixture
def remote(begun: Path, tmp_path: Path) -> Remote:
    """A bare remote whose `main` has one commit, and nothing of ours."""
    moved(begun, tmp_path)
    return Remote(tmp_path)


@pytest.fixture
def pair(remote: Remote) -> tuple[Side, Side]:
    """Two clones, `ada` and `bo`, that have written nothing yet."""
    folder = remote.folder.parent
    return Side(folder / "ada"), Side(folder / "bo")


@pytest.fixture
def inline(remote: Remote) -> tuple[Side, Side]:
    """Two clones whose store is part of `main`, which the remote has."""
    one = remote.clone("one", init=["--inline"])
    one.sync()
    one.git("push", "--quiet", "origin", "main")
    return one, remote.clone("two", init=["--inline"])
