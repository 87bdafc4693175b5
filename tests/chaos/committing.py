"""Runs that commit in a workspace, for the chaos of runs: what they do, and its judge.

Each commits, puts its commit on a branch of its own, and dirties its workspace. Before each
of these the one before is in the ledger, with the workspace that it happened in.
"""

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# `done` would be there before the beginning only if merged work were redone.
JOB = """
say() {{ echo "$1 $COORD_RUN ${{PWD##*/}} $2" >> {ledger}; }}
branch=refs/heads/done/$COORD_RUN
echo "begin $COORD_RUN" >> {ledger}
if git rev-parse --quiet --verify $branch; then say redone; fi
sleep {nap}
echo $COORD_RUN > work && git add work && git commit --quiet --message work || exit 90
say committed $(git rev-parse HEAD)
sleep {nap}
if [ {merges} = 1 ]; then
    # Of a git that was killed in an attempt before.
    rm -f "$(git rev-parse --git-common-dir)/$branch.lock"
    git update-ref $branch HEAD || exit 91
    say merged
fi
sleep {nap}
echo $COORD_RUN > dirt && say dirtied
sleep {nap}
echo "end $COORD_RUN" >> {ledger}; exit {n}
"""


def git(repo: Path, *words: str) -> str:
    """What git prints; "" where it fails."""
    done = subprocess.run(["git", *words], cwd=repo, capture_output=True)
    return "" if done.returncode else done.stdout.decode().strip()


class Judge:
    """What the ledger says about commits, against the runs and the repository."""

    def __init__(self, repo: Path, ledger: Path) -> None:
        self._repo = repo
        lines = [line.split() for line in ledger.read_text().splitlines()]
        self._said = [line for line in lines if len(line) > 2]

    def faults_of(self, row: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong with the commits and the files of one run."""
        run_id = row["run_id"]
        ours = [line for line in self._said if line[1] == run_id]
        if any(word == "redone" for word, *_ in ours):
            yield f"{run_id} was redone though its work was merged"
        for word, _, _, *more in ours:
            if word == "committed" and not git(
                self._repo, "for-each-ref", "--count=1", "--contains", more[0]
            ):
                yield f"{run_id}: commit {more[0]} is on no ref"
        # A dirty workspace is never used again: who had it last has left it so.
        for attempt in {one.get("workspace"): one for one in row["attempts"]}.values():
            if attempt["outcome"] == "lost":
                yield from self._faults_of_lost(run_id, attempt, ours)
        is_merged = bool(git(self._repo, "rev-parse", "--verify", f"refs/heads/done/{run_id}"))
        last = row["attempts"][-1]
        if "repo_ref" in row and row["outcome"] == "lost" and is_merged != ("commit" in last):
            yield f"{run_id} is lost, merged: {is_merged}, and says commit {last.get('commit')}"

    def _faults_of_lost(
        self, run_id: str, attempt: Mapping[str, Any], ours: list[list[str]]
    ) -> Iterator[str]:
        """What a lost attempt left dirty is saved whole."""
        where = attempt.get("workspace", "")
        if ["dirtied", run_id, where] in ours:
            found = git(self._repo, "show", f"{attempt.get('salvage')}:dirt")
            if found != run_id:
                yield f"{run_id}: what it left in {where} is not in {attempt.get('salvage')}"
