"""Many agents write to each other from four clones that sync when they like, and are killed.

The judges are what the commands printed, and the inboxes of all clones once they have
synced. `--long` takes 50 agents and 10,000 messages.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Runner

CLONES = 4
WORKERS = 4
SMALL = {"agents": 6, "messages": 120, "batch": 6}
LARGE = {"agents": 50, "messages": 10_000, "batch": 20}
# A killed command dies somewhere in what one takes.
LONGEST_S = 0.4
SETTLED = 4


class Post:
    """The clones, who writes there, and what was acknowledged."""

    def __init__(self, run: Runner, folder: Path, sizes: dict[str, int], seed: int) -> None:
        self.run, self.seed = run, seed
        self.agents = [f"agent:a{n}" for n in range(sizes["agents"])]
        self.messages, self.batch = sizes["messages"], sizes["batch"]
        self.clones = [self._clone(folder, n) for n in range(CLONES)]
        self._lock = threading.Lock()
        self._sent = 0
        # Text to recipients, of what was asked for; ids of what was acknowledged.
        self.asked: dict[str, list[str]] = {}
        self.acked: set[tuple[str, str]] = set()
        self.rules: list[str] = []
        # Per clone and agent: the ids that recv printed, and how many recvs were killed.
        self.received: Counter[tuple[Path, str, str]] = Counter()
        self.killed_readers: set[tuple[Path, str]] = set()
        self._reading: set[tuple[Path, str]] = set()
        self.strange: list[str] = []

    def _clone(self, folder: Path, number: int) -> Path:
        path = folder / f"clone{number}"
        git(folder, "clone", "--quiet", folder / "hub.git", path)
        git(path, "config", "user.name", "Kim")
        self.run.ok("ev", "init", "--quiet", cwd=path)
        return path

    def begin(self) -> None:
        """Register everybody in the first clone, and tell the others."""
        for agent in self.agents:
            words = ("ev", "agent", "register", agent, "--mode", "listening", "--quiet")
            self.run.ok(*words, cwd=self.clones[0], as_="human:kim")
        cap = ("ev", "config", "set", "msg.rate_per_minute", "1000000")
        self.run.ok(*cap, cwd=self.clones[0], as_="human:kim")
        for clone in self.clones:
            self.run.ok("msg", "sync", cwd=clone, as_="human:kim")

    def work(self) -> None:
        """Let workers do random things until enough was sent."""
        threads = [threading.Thread(target=self._worker, args=(n,)) for n in range(WORKERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _worker(self, number: int) -> None:
        chance = random.Random(f"{self.seed} {number}")
        deeds: list[Callable[[random.Random, Path, str], None]] = [
            self._send, self._send, self._send, self._answer, self._answer, self._receive,
            self._receive, self._sync, self._remind, self._tick,
        ]  # fmt: skip
        while self._sent < self.messages:
            deed, clone = chance.choice(deeds), chance.choice(self.clones)
            try:
                deed(chance, clone, chance.choice(self.agents))
            except Exception as error:
                self.strange.append(f"{deed.__name__}: {error!r}")

    def _command(
        self, chance: random.Random, clone: Path, agent: str, *words: str, stdin: str = ""
    ) -> tuple[list[dict[str, Any]], bool]:
        """The whole lines that a command printed, and whether it was killed."""
        process = self.run.start(
            "msg", *words, as_=agent, cwd=clone, stdin=subprocess.PIPE, start_new_session=True
        )
        timer = None
        if chance.random() < 0.12:
            timer = threading.Timer(chance.uniform(0.0, LONGEST_S), kill, [process])
            timer.start()
        out, err = process.communicate(stdin.encode())
        if timer:
            timer.cancel()
        text = out.decode()
        killed = process.returncode == -signal.SIGKILL
        if not killed and process.returncode not in (0, 1, 7):
            self.strange.append(f"{words[0]}: exit {process.returncode} {err.decode()[-300:]}")
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in whole if line.startswith("{")], killed

    def _send(self, chance: random.Random, clone: Path, agent: str) -> None:
        with self._lock:
            first, self._sent = self._sent, self._sent + self.batch
        lines = []
        for n in range(first, first + self.batch):
            to = chance.sample(self.agents, chance.randint(1, 3))
            self.asked[f"text {n}"] = to
            ack = chance.choice(["none", "required"])
            lines.append(json.dumps({"to": to, "text": f"text {n}", "ack": ack}) + "\n")
        killed = True
        while killed:
            # A retry with its key: whether the killed one was recorded, nobody knows.
            words = ("send", "-", "--key", f"batch {first}")
            _, killed = self._command(chance, clone, agent, *words, stdin="".join(lines))

    def _answer(self, chance: random.Random, clone: Path, agent: str) -> None:
        rows, _ = self._command(chance, clone, agent, "inbox", "--unread", "--limit", "9")
        names = [row["message_id"] for row in rows]
        if not names:
            return
        chosen = chance.sample(names, chance.randint(1, len(names)))
        verb = chance.choice(["read", "ack"])
        done, _ = self._command(chance, clone, agent, verb, *chosen)
        if verb == "ack":
            self.acked.update((row["message_id"], agent) for row in done)

    def _receive(self, chance: random.Random, clone: Path, agent: str) -> None:
        with self._lock:
            # At least once is promised to one reader at a time.
            key = (clone, agent)
            if key in self._reading:
                return
            self._reading.add(key)
        rows, killed = self._command(chance, clone, agent, "recv", "--max", "5")
        with self._lock:
            self._reading.discard(key)
            self.received.update((clone, agent, row["message_id"]) for row in rows)
            if killed:
                self.killed_readers.add(key)

    def _sync(self, chance: random.Random, clone: Path, agent: str) -> None:
        self._command(chance, clone, agent, "sync")

    def _remind(self, chance: random.Random, clone: Path, agent: str) -> None:
        if len(self.rules) >= 5:
            return
        rows, _ = self._command(chance, clone, agent, "inbox", "--limit", "3")
        if rows:
            name = chance.choice(rows)["message_id"]
            words = ("remind", name, "--every", "1s", "--max", "3")
            done, _ = self._command(chance, clone, agent, *words)
            self.rules += [row["event_id"] for row in done]

    def _tick(self, chance: random.Random, clone: Path, agent: str) -> None:
        self._command(chance, clone, agent, "tick")

    def settle(self) -> None:
        """Let all clones know everything."""
        for _ in range(SETTLED):
            reports = [
                self.run("msg", "sync", cwd=clone, as_="human:kim").json for clone in self.clones
            ]
        assert not any(report["in"] or report["out"] for report in reports), reports
        assert not any(report["problems"] for report in reports), reports

    def inbox(self, clone: Path, agent: str) -> str:
        """An inbox, as it is printed."""
        return self.run("msg", "inbox", "--limit", "0", cwd=clone, as_=agent).out


def git(folder: Path, *words: str | Path) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


def kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def post(run: Runner, tmp_path: Path, request: pytest.FixtureRequest) -> Post:
    """Four clones of one remote, with everybody registered."""
    git(tmp_path, "clone", "--quiet", "--bare", run.folder, tmp_path / "hub.git")
    sizes = LARGE if request.config.getoption("--long") else SMALL
    made = Post(run, tmp_path, sizes, seed=7)
    made.begin()
    return made


def rows_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_no_mail_is_lost_or_doubled_and_all_clones_say_the_same(post: Post):
    """Under kills and random syncs; each clone's recv prints all mail by its own cursor."""
    post.work()
    post.settle()
    for clone in post.clones:
        ticked_by_ten(post, clone)
    post.settle()

    assert post.strange == []
    for agent in post.agents:
        inboxes = [post.inbox(clone, agent) for clone in post.clones]
        assert len(set(inboxes)) == 1, f"{agent}: the clones do not agree"
        rows = rows_of(inboxes[0])
        assert_each_once(post, agent, rows)
        assert_counts(post, agent, rows)
        for clone in post.clones:
            assert_all_received(post, clone, agent, rows)


def ticked_by_ten(post: Post, clone: Path) -> None:
    """Ten crons at once."""
    crons = [post.run.start("msg", "tick", cwd=clone, as_=f"bot:cron{n}") for n in range(10)]
    for cron in crons:
        _, err = cron.communicate()
        assert cron.returncode in (0, 1), err


def assert_each_once(post: Post, agent: str, rows: Iterable[dict[str, Any]]) -> None:
    """All that was asked for and nothing twice; acknowledged is what was acknowledged."""
    texts = Counter(row["excerpt"] for row in rows if "reminder" not in row)
    assert texts == Counter(text for text, to in post.asked.items() if agent in to)
    reminders = Counter(
        (row["reminder"]["rule_id"], row["reminder"]["number"]) for row in rows if "reminder" in row
    )
    assert set(reminders.values()) <= {1}
    # A reminder that two clones sent before they knew of each other is the one of smaller id.
    kept = {row["message_id"]: row["status"] for row in rows}
    said = {name for name, who in post.acked if who == agent and name in kept}
    assert {kept[name] for name in said} <= {"acked"}


def assert_counts(post: Post, agent: str, rows: list[dict[str, Any]]) -> None:
    told = post.run("msg", "inbox", "--count", cwd=post.clones[0], as_=agent)
    unread = sum(row["status"] == "unread" for row in rows)
    owed = sum("ack" in row and row["status"] != "acked" for row in rows)
    assert told.json == {"agent_id": agent, "total": len(rows), "unread": unread, "unacked": owed}


def assert_all_received(post: Post, clone: Path, agent: str, rows: list[dict[str, Any]]) -> None:
    """Here, whatever other clones printed; twice only after a reader was killed."""
    rest = post.run("msg", "recv", cwd=clone, as_=agent)
    post.received.update((clone, agent, row["message_id"]) for row in rest.lines)
    seen = {name: n for (c, a, name), n in post.received.items() if (c, a) == (clone, agent)}
    shown = {row["message_id"] for row in rows if "reminder" not in row}
    assert shown <= set(seen), f"{agent} in {clone.name}: {len(shown - set(seen))} never came"
    if (clone, agent) not in post.killed_readers:
        assert set(seen.values()) <= {1}
    assert post.run("msg", "recv", cwd=clone, as_=agent).code == 1
