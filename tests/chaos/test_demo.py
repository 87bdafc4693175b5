"""The demo does what it says: each item exactly once, in one clone and between two.

The judges are its own exit status and proof; these are shown where it fails.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Runner

ITEMS = 10


@pytest.fixture
def backlog(tmp_path: Path) -> Path:
    """A few items, half of which wait for another."""
    file = tmp_path / "backlog.jsonl"
    lines = [{"work_id": f"job-{n}", "title": f"Job {n}"} for n in range(ITEMS)]
    for line in lines[ITEMS // 2 :]:
        line["needs"] = lines[0]["work_id"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@pytest.mark.parametrize("clones", [1, 2])
def test_the_demo_finishes_its_backlog_and_proves_it(clones: int, backlog: Path, tmp_path: Path):
    run = Runner(ROOT)
    answer = run(
        sys.executable, ROOT / "contrib" / "demo" / "crowd.py", backlog, str(clones),
        env={"TMPDIR": str(tmp_path)},
    )  # fmt: skip

    assert answer.code == 0, answer.out + answer.err
    assert f"  yes the ledger names {ITEMS} items, none twice" in answer.out
    same = f"  yes {clones} clones have the same state, byte for byte"
    assert (same in answer.out) == (clones > 1)
