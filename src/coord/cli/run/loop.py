"""`run loop -- CMD`: execute a command again and again, and stop hard.

    before    --until may hold already; what is there is the evidence to begin with
    a round   the command, to its end or until time or cost cuts it off
    after     --until, the evidence, and what `core.run.loop` says

Whatever lives of the command when the loop ends is ended.
"""

import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any

import click

from coord.cli import kit
from coord.cli.run import common
from coord.cli.run.step import passed_on
from coord.core import digest, units
from coord.core.run import life, loop, meter, wanted
from coord.core.run import request as facts
from coord.edge import clock, environment, journal, process
from coord.edge.run import evidence
from coord.errors import INTERRUPTED, Refusal

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_CHUNK_BYTES = 1 << 16
# A line that is longer is no meter's.
_MOST_LINE_BYTES = 16 << 20


class _Amount(click.ParamType[Any]):
    """A bound of cost: an amount and its unit."""

    name = "amount"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = meter.amount_of(value) if isinstance(value, str) else value
        if found is None:
            raise Refusal("usage", f"{value[:40]!r} is no cost", "like 2.50 (US$), or 200ktokens")
        return found


_count = click.IntRange(min=1)


@kit.command("loop")
@click.option("--max-iterations", type=_count, metavar="N", help="At most N rounds.")
@click.option("--max-wall", type=common.Span(), metavar="SPAN", help="At most so long.")
@click.option("--max-cost", type=_Amount(), metavar="USD|TOKENS",
              help="Use at most 2.50 (US$) or 200ktokens.")  # fmt: skip
@click.option("--no-progress", type=_count, metavar="K",
              help="Stop when K rounds in a row have brought nothing new.")  # fmt: skip
@click.option("--until", metavar="LINE", help="Stop when this line for sh succeeds.")
@click.option("--cost-from", metavar="claude|codex|PATH",
              help="Where lines of its output say what was used.")  # fmt: skip
@click.option("--grace", type=common.Span(), default=wanted.DEFAULT_GRACE_MS, metavar="SPAN",
              help="How long after TERM comes KILL; 5s by default.")  # fmt: skip
def _loop(call: kit.Call, max_iterations: int | None, max_wall: int | None,
          max_cost: tuple[float, str] | None, no_progress: int | None, until: str | None,
          cost_from: str | None, grace: int) -> int:  # fmt: skip
    """Execute the command after -- round after round until a bound stops it.

    At least one --max-… or --no-progress is needed. Progress is evidence: the files of the
    working tree that git does not ignore, the states of work items, how --until ended; what
    was there before is nothing new. Time and cost cut a round off. A round that fails is a
    round. With --max-cost a round that says nothing of its cost stops the loop. A later
    attempt of a run begins to count anew.

    Why it stopped goes to stderr, as {"loop":{"reason":…}} in a pipe; so does a warning
    when 90 % of a bound is used, or all but one round. In a run both are events too, and
    run show tells the newest. A PATH is like $.usage.output_tokens or $.parts[*].cost, summed
    over all lines; max:PATH is for running totals. The presets read Claude Code's
    stream-json and the JSON of codex exec.

    \b
    Exits: 0 --until holds, or without it all rounds are over; 10 max_iterations;
           11 no_progress; 12 max_cost; 13 cost_unknown; 124 max_wall; 126, 127 CMD cannot
           be executed; 130 interrupted.
    Example: run loop --max-iterations 20 --no-progress 3 --until 'make test' -- ./agent.sh
    """
    words = common.words()
    if not words:
        raise Refusal("usage", "there is nothing to execute", "run loop --max-… -- CMD...")
    amount, unit = max_cost or (None, _unit_of(cost_from))
    bounds = loop.Bounds(max_iterations, max_wall, amount, no_progress, unit, until is not None)
    if bounds[:4] == (None,) * 4:
        hint = "give --max-iterations, --max-wall, --max-cost or --no-progress"
        raise Refusal("usage", "nothing would ever stop it", hint)
    rule = _rule(cost_from, unit, amount is not None)
    return _Loop(call, bounds, rule, until, grace / 1000).run(words)


loop_command = common.with_command(_loop)


def _unit_of(cost_from: str | None) -> str:
    """What is counted where no bound says it: US dollars, unless they are not told."""
    found = meter.PRESETS.get(cost_from or "", {meter.USD: None})
    return meter.USD if meter.USD in found else meter.TOKENS


def _rule(cost_from: str | None, unit: str, is_bound: bool) -> meter.Rule | None:
    if cost_from is None:
        if is_bound:
            raise Refusal("usage", "--max-cost needs a meter", "--cost-from claude, codex or PATH")
        return None
    rule = meter.rule_of(cost_from, unit)
    if rule is None and cost_from in meter.PRESETS:
        raise Refusal("usage", f"{cost_from} does not tell {unit}", "bound its tokens instead")
    if rule is None:
        hint = "one of claude, codex, or a path like $.usage.output_tokens"
        raise Refusal("usage", f"{cost_from[:60]!r} is no meter", hint)
    return rule


class _Loop:
    """One loop: how it stands, and what it has seen."""

    def __init__(
        self, call: kit.Call, bounds: loop.Bounds, rule: meter.Rule | None, until: str | None,
        grace_s: float,
    ) -> None:  # fmt: skip
        self._call, self._bounds, self._rule, self._until = call, bounds, rule, until
        self._grace_s = grace_s
        self._now = loop.Standing()
        # What earlier rounds have used, and what this one says it has.
        self._before = 0.0
        self._used: float | None = None
        self._begun_s = process.boot_s()
        self._seen: set[str] = set()
        self._told: set[str] = set()
        self._signal = 0
        self._command: process.Command | None = None
        self._out = 1

    def run(self, words: Sequence[str]) -> int:
        """Go round until something stops it; answers the exit status."""
        process.adopt_orphans()
        top = common.top_of(self._call)
        with evidence.files(self._call.place, top) as files, process.Signals() as signals:
            self._files, self._signals = files, signals
            try:
                reason = self._rounds(words)
            except process.NotStarted as error:
                click.echo(kit.plain(f"run: {error}"), err=True)
                self._tell_end(loop.NOT_STARTED)
                return error.status
            finally:
                self._end_all()
            self._tell_end(reason)
        if reason != loop.INTERRUPTED:
            return loop.status_of(reason, self._bounds)
        return INTERRUPTED if self._signal == signal.SIGINT else 128 + self._signal

    def _rounds(self, words: Sequence[str]) -> str:
        self._look()
        while True:
            reason = loop.INTERRUPTED if self._signal else loop.stop(self._bounds, self._now)
            if reason:
                return reason
            code = self._executed(words, is_metered=self._rule is not None)
            self._end_round()
            cut = loop.INTERRUPTED if self._signal else loop.cut(self._bounds, self._now)
            # A round that was cut off says nothing about itself any more.
            if code is None and cut:
                return cut
            self._look()
            self._warn_near()

    def _end_round(self) -> None:
        is_measured = self._rule is None or self._used is not None
        if not is_measured and self._now.is_measured:
            text = f"round {self._now.rounds + 1} did not say what it has used: the cost is unknown"
            self._call.warn(loop.COST_UNKNOWN, text, "see --cost-from")
        self._before, self._used = self._before + (self._used or 0), None
        self._now = self._now._replace(
            rounds=self._now.rounds + 1, is_measured=self._now.is_measured and is_measured
        )

    def _look(self) -> None:
        """Gather the evidence, and whether the loop has reached what it is for."""
        status = "" if self._until is None else str(self._reached())
        self._now = self._now._replace(wall_ms=self._wall_ms())
        if self._bounds.still is None:
            return
        self._call.now_ms = clock.now_ms()
        with self._call.reading() as known:
            items = evidence.of_items(known)
        files = self._files.digest()
        if not files and not self._seen:
            text = "git cannot tell what the files are: they are no evidence of progress"
            self._call.warn("git_failed", text, "git add --all --dry-run tells why")
        found = digest.sha256(f"{files}\n{items}\n{status}".encode()).hexdigest()
        is_new = found not in self._seen
        still = 0 if is_new or not self._seen else self._now.still + 1
        self._seen.add(found)
        self._now = self._now._replace(still=still)

    def _reached(self) -> int | None:
        assert self._until is not None, "asked only where there is one"
        code = self._executed(["/bin/sh", "-c", self._until], is_metered=False, streams={1: 2})
        self._now = self._now._replace(is_reached=code == 0)
        return code

    def _wall_ms(self) -> int:
        return round((process.boot_s() - self._begun_s) * 1000)

    def _executed(
        self, words: Sequence[str], is_metered: bool, streams: Mapping[int, int] | None = None
    ) -> int | None:
        """Execute a command; its exit code, or None when it was cut off."""
        child = environment.child()
        if not is_metered:
            return self._followed(process.start(words, child, streams or {}), -1)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            command = process.start(words, child, {1: writing})
        except process.NotStarted:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        self._line = bytearray()
        try:
            return self._followed(command, reading)
        finally:
            os.close(reading)

    def _followed(self, command: process.Command, source: int) -> int | None:
        self._command = command
        code: int | None = None
        is_open = source >= 0
        while code is None or is_open:
            wait_s = 0.0 if code is not None else self._wait_s()
            came, _ = self._signals.wait(source if is_open else -1, wait_s)
            self._hear(came, command)
            for pid, ended in process.ended():
                code = ended if pid == command.pid else code
            if is_open:
                is_open = self._copied(source, is_over=code is not None)
            self._now = self._now._replace(wall_ms=self._wall_ms())
            self._warn_near()
            if code is None and (self._signal or loop.cut(self._bounds, self._now)):
                self._end_all()
                while is_open and self._copied(source, is_over=True):
                    pass
                return None
        return code

    def _end_all(self) -> None:
        """End whatever lives of what was started, also what a round has left behind."""
        process.end(self._living, self._grace_s)
        for _ in process.ended():
            pass

    def _living(self) -> set[int]:
        return process.family(self._command, os.getpid()) if self._command else set()

    def _hear(self, came: Sequence[int], command: process.Command) -> None:
        for number in came:
            if number in _ENDING:
                self._signal = self._signal or number
            elif number in process.PASSED_ON:
                process.pass_on(number, command)

    def _wait_s(self) -> float | None:
        """Until when nothing has to be looked at: 90 % of the time, and all of it."""
        if self._bounds.wall_ms is None:
            return None
        at_ms = loop.near_at_ms(self._bounds)
        ends = [at for at in (at_ms, self._bounds.wall_ms) if at and at > self._now.wall_ms]
        return (min(ends, default=0) - self._wall_ms()) / 1000 + 0.001

    def _copied(self, source: int, is_over: bool) -> bool:
        """Pass on and measure what the command prints; whether there may be more of it."""
        try:
            data = os.read(source, _CHUNK_BYTES)
        except BlockingIOError:
            return not is_over
        self._out = passed_on(self._out, data)
        *lines, rest = (bytes(self._line) + data).split(b"\n")
        self._line = bytearray(rest[: _MOST_LINE_BYTES + 1])
        for line in [*lines, *([] if data else [rest])]:
            self._measure(line)
        return bool(data)

    def _measure(self, line: bytes) -> None:
        if self._rule is None or not 0 < len(line) <= _MOST_LINE_BYTES:
            return
        try:
            value = journal.from_json(line)
        except ValueError:
            return
        self._used = meter.added(self._rule, self._used, meter.said(self._rule, value))
        self._now = self._now._replace(cost=self._before + (self._used or 0))

    def _row(self, reason: str = "") -> dict[str, Any]:
        return loop.row(self._bounds, self._now, reason, self._rule is not None)

    def _warn_near(self) -> None:
        """Say of each bound once that it is near."""
        for name, used, most in loop.near(self._bounds, self._now):
            if name not in self._told:
                self._told.add(name)
                text = f"{name} is near: {_said(name, used, most, self._bounds.unit)}"
                self._call.warn("near", text, "it stops there")
                self._record({**self._row(), "near": sorted(self._told)})

    def _tell_end(self, reason: str) -> None:
        row = self._row(reason)
        if self._call.for_people:
            self._call.note(f"run loop: {reason} after {row['rounds']} rounds")
        else:
            click.echo(kit.json_text({"loop": row}), err=True)
        self._record({**row, "near": sorted(self._told)} if self._told else row)

    def _record(self, row: Mapping[str, Any]) -> None:
        """Say it in the run that we are in; that this cannot be is no reason to stop."""
        run_id = environment.get(environment.RUN)
        if not run_id:
            return
        self._call.now_ms = clock.now_ms()
        try:
            with self._call.desk() as desk:
                state = desk.state(f"run/{run_id}")
                attempt = life.open_attempt(state)
                if attempt is not None:
                    body = {"phase": "noted", "loop": row}
                    fact = facts.of_attempt("run.step", state, attempt, body)
                    desk.take(self._call.draft(*fact))
                    desk.write()
        except Refusal as refusal:
            self._call.report(refusal)


def _said(name: str, used: float, most: float, unit: str) -> str:
    if name == loop.MAX_WALL:
        return " of ".join(units.show_duration(round(span)) for span in (used, most))
    if name == loop.MAX_COST and unit == meter.USD:
        return f"{used:.2f} of {most:.2f} US$"
    return f"{used:.0f} of {most:.0f} {'tokens' if name == loop.MAX_COST else 'rounds'}"
