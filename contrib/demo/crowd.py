"""The demo: load a backlog, let eight agents work it off at once, prove what happened.

In several clones the agents have the git remote decide who takes what, and exchange their
journals through it; nothing else is shared.

Rules: it talks to the tools through their command line alone, and keeps the scratch
repository for looking around. It exits 1 when the proof fails.
"""

import collections
import contextlib
import itertools
import signal
import sys
import tempfile
import time
from pathlib import Path

import proof
from narrator import Narrator, history_line, paint
from scratch import Scratch

NAMES = ("ada", "bo", "cy", "dee", "eve", "flo", "gus", "hal")
AGENTS = tuple(f"agent:{name}" for name in NAMES)
AGENT = Path(__file__).resolve().parent / "agent"


def main(file: str, clones: int) -> int:
    """Run the demo on a backlog file; 0 when the proof holds."""
    scratch = Scratch(Path(tempfile.mkdtemp(prefix="coord-demo-")), clones)
    which = "A scratch repository" if clones == 1 else f"{clones} clones of one repository, each"
    heading(f"{which} with three linked worktrees")
    scratch.make()
    for clone in scratch.clones:
        print(f"  {clone}")
    heading(f"Load {Path(file).name}")
    load(scratch, file)
    before = proof.items(scratch)
    heading("Eight agents, one backlog")
    began = time.monotonic()
    work_off(scratch, {work_id: item["title"] for work_id, item in before.items()})
    print(f"  all agents ended after {time.monotonic() - began:.1f} s")
    return report(scratch, proof.open_items(before))


def heading(text: str) -> None:
    """Begin a part of what is shown."""
    print(f"\n{paint(text, 'title')}", flush=True)


def load(scratch: Scratch, file: str) -> None:
    """Import the backlog, whatever its format."""
    account = scratch.lines("wk", "import", "--as", "human:demo", file)[-1]
    for name in ("items", "dependencies", "comments", "deletions"):
        print(f"  {account.get(name, 0):>6} {name}")
    scratch.sync()


def work_off(scratch: Scratch, titles: dict[str, str]) -> None:
    """Run the agents to their end while one watcher tells what they do."""
    newest = scratch.lines("ev", "tail", "-n", "1", "--json")[-1]["event_id"]
    watch = ("ev", "watch", "--json", "--type", "work.*", "--since", newest)
    work = [str(AGENT), str(scratch.ledger)]
    work += ["--confirm", "remote"] if scratch.has_remote else []
    with contextlib.ExitStack() as running:
        watcher = running.enter_context(scratch.started("watch", "main", *watch))
        assert watcher.stdout
        narrator = Narrator(watcher.stdout, newest, titles)
        narrator.start()
        agents = {
            name: running.enter_context(scratch.started(name, where, *work))
            for name, where in zip(NAMES, itertools.cycle(scratch.worktrees), strict=False)
        }
        failed = [name for name, agent in agents.items() if agent.wait()]
        if failed:
            sys.exit(f"demo: {', '.join(failed)} failed\n{scratch.errors.read_text()}")
        scratch.sync()
        closes = proof.journal(scratch, "work.closed", AGENTS)
        if not narrator.has_seen("work.closed", len(closes)):
            sys.exit("demo: the watcher did not tell of every close")


def report(scratch: Scratch, before: set[str]) -> int:
    """Show who did what, one item's history and the proof."""
    done = proof.ledger(scratch)
    heading("Who did what")
    counts = collections.Counter(agent for agent, _ in done)
    for agent in AGENTS:
        print(f"  {agent:<10} {counts[agent]:>4} {'▪' * counts[agent]}")
    if done:
        item = done[-1][1]
        heading(f"The history of {item}: wk log {item}")
        for row in scratch.lines("wk", "log", item, "--json"):
            print(history_line(row))
    heading("Was every ready item done exactly once?")
    checks = proof.prove(scratch, before, AGENTS)
    for check in checks:
        answer = "NO" if check.offenders else "yes"
        print(f"  {paint(f'{answer:<3}', answer)} {check.statement}")
        for offender in check.offenders[:10]:
            print(f"        not true of {offender}")
    print(f"\n  Look around: cd {scratch.main}")
    return int(any(check.offenders for check in checks))


def stop(number: int, _: object) -> None:
    """Leave by the ordinary way, so that every started process is ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
    try:
        sys.exit(main(sys.argv[1], int(sys.argv[2])))
    except KeyboardInterrupt:
        sys.exit(130)
