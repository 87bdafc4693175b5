"""`lease exec`: run a command while a lease is held, and end it when the lease is lost.

    this process      acquires, starts the command, waits, releases, answers as it did
    the keeper        a process apart: renews at a third of the TTL, and looks whether the
                      lease still stands whenever leases change; when this process is
                      killed it ends the command and gives the lease back
    the command       has COORD_LEASE and COORD_FENCE; in a process group of its own
                      unless at a terminal

Where neither this process nor the keeper could renew in time, the lease is lost too:
the deadline is kept on the machine's boot-time clock.
"""

import contextlib
import math
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import click

from coord.cli import kit
from coord.cli.exclusive import REMOTE
from coord.cli.lease import common
from coord.cli.lease.acquire import asked, take
from coord.cli.span import Span
from coord.core import event as events
from coord.core.draft import Draft
from coord.core.lease import request
from coord.edge import clock, environment, process
from coord.errors import Refusal

_WORDS = "coord.lease.command"


class WithCommand(common.Waiting):
    """A command line with another one behind `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--" in args:
            place = args.index("--")
            ctx.meta[_WORDS] = args[place + 1 :]
            args = args[:place]
        return super().parse_args(ctx, args)


def _exec(call: kit.Call, resources: Sequence[str], grace: int | None, **options: Any) -> int:
    """Run CMD... while holding RESOURCE..., and give them back when it ends.

    stdin, stdout, stderr, signals and the exit status are CMD's own; COORD_LEASE and
    COORD_FENCE are in its environment (of several, in the order given, parted by
    spaces). A process apart renews the lease. If it is lost, CMD and all that it
    started get TERM, and KILL after --grace. Commands that run at once exclude each
    other, also those of one agent.

    \b
    Exits: CMD's own; 5 somebody holds it, or the lease was lost while CMD ran;
           126 CMD cannot be run; 127 there is no CMD.
    Example: lease exec 'path:src/**' --wait -- make test
    """
    words = click.get_current_context().meta.get(_WORDS)
    if not words:
        raise Refusal("usage", "there is no command", "lease exec RESOURCE... -- CMD...")
    rows = take(call, asked(call, resources, options, is_exec=True))
    if call.dry_run:
        common.acknowledge(call, rows, common.say_held)
        return 0
    if any(row.get("duplicate") for row in rows):
        raise Refusal("exists", "a command was run with this key before", "use another key")
    grace_s = (grace if grace is not None else 5000) / 1000
    # The hold begins with its event, at the earliest.
    ttl_ms = min(row["expires_at_ms"] - events.time_of(row["event_id"]) for row in rows)
    return _Run(call, rows, options["ttl"] or ttl_ms, grace_s).run(words)


_plain = kit.command("exec", writes=True)(
    click.argument("resources", nargs=-1, required=True, metavar="RESOURCE... -- CMD...")(
        click.option("--grace", type=Span(), metavar="SPAN",
                     help="Between TERM and KILL when the lease is lost; 5s by default.")(
            common.taking(_exec)
        )
    )
)  # fmt: skip
exec_command = common.with_words(_plain, WithCommand)


class _Run:
    """One command under its leases."""

    def __init__(
        self, call: kit.Call, rows: Sequence[kit.Row], ttl_ms: int, grace_s: float
    ) -> None:
        self._call, self._rows, self._ttl_ms, self._grace_s = call, rows, ttl_ms, grace_s
        left_ms = min(row["expires_at_ms"] for row in rows) - clock.now_ms()
        self._ends_at = min(process.boot_s() + left_ms / 1000, *self._until_s())
        self._lost = ""
        self._keeper = 0
        self._told, self._telling = os.pipe2(os.O_CLOEXEC)

    def _until_s(self) -> Iterator[float]:
        """Until when the remote's answers are good, on the boot-time clock; else never over."""
        yield math.inf
        for row in self._rows:
            if row["confirmed"] == REMOTE:
                from coord.edge.sync import kept

                yield kept.until_boot_ms(self._call.place.local, row["lease_id"]) / 1000

    def run(self, words: Sequence[str]) -> int:
        """Run it to its end; answers the exit status."""
        process.adopt_orphans()
        told = environment.child(
            COORD_LEASE=" ".join(row["lease_id"] for row in self._rows),
            COORD_FENCE=" ".join(str(row["fence"]) for row in self._rows),
        )
        with process.Signals() as signals:
            try:
                command = process.start(words, told)
            except process.NotStarted as error:
                self._release()
                click.echo(kit.plain(f"lease: {error}"), err=True)
                return error.status
            self._keep(command)
            code = self._until_ended(command, signals)
            process.stop(self._keeper)
        return self._finish(code)

    def _keep(self, command: process.Command) -> None:
        """Start the keeper, or another one in the place of one that died."""
        from coord.cli.lease import keeper

        keeping = keeper.Keeping(
            self._call, self._rows, self._ttl_ms, self._grace_s, command, self._telling
        )
        self._keeper = _forked(keeping.run)

    def _until_ended(self, command: process.Command, signals: process.Signals) -> int | None:
        """Wait for the command; its exit code, None when it was ended for a lost lease."""
        while not self._lost:
            came, has_told = signals.wait(self._told, self._ends_at - process.boot_s())
            if has_told:
                self._hear(os.read(self._told, 65536).decode(errors="replace"))
            for number in came:
                if number in process.PASSED_ON:
                    process.pass_on(number, command)
            for pid, code in process.ended():
                if pid == command.pid:
                    return code
                if pid == self._keeper and not self._lost:
                    self._keep(command)
            if not self._lost and process.boot_s() >= self._ends_at:
                self._lost = "it could not be renewed in time"
        self._end_all(command)
        return None

    def _hear(self, text: str) -> None:
        """What the keeper says: `until SECONDS` on the boot-time clock, or `lost WHY`."""
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "until":
                self._ends_at = float(rest)
            elif word == "lost":
                self._lost = rest

    def _end_all(self, command: process.Command) -> None:
        process.stop(self._keeper)
        process.end(lambda: process.family(command, os.getpid()), self._grace_s)

    def _finish(self, code: int | None) -> int:
        """Give the lease back; tell when it was not ours any more."""
        try:
            self._release()
        except Refusal as refusal:
            if refusal.code != "not_held":
                raise
            self._lost = self._lost or "somebody else has it, or it was broken"
        if not self._lost:
            return process.mirror(code or 0)
        named = ", ".join(row["resource"] for row in self._rows)
        did = "the command was ended" if code is None else f"the command had ended with {code}"
        hint = "what it did meanwhile may have met what others did"
        raise Refusal("not_held", f"the lease of {named} was lost: {self._lost}; {did}", hint)

    def _release(self) -> None:
        self._call.now_ms = clock.now_ms()
        release(self._call, self._rows)


def release(call: kit.Call, rows: Sequence[kit.Row]) -> None:
    """Give back every lease that is still ours.

    Refusals: not_held, when one is not; the others are given back all the same.
    """
    refused: list[Refusal] = []
    with call.desk() as desk:
        for row in rows:
            kind, refs, body = request.release(row)
            try:
                desk.take(Draft(kind, refs, body, cause=call.cause))
            except Refusal as refusal:
                refused.append(refusal)
        desk.write()
    if refused:
        raise refused[0]


def _forked(work: Callable[[], None]) -> int:
    """Do some work in a process apart, which never comes back from it."""
    # A signal to a process that is not ready for it yet must wait, not be lost.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, process.PASSED_ON)
    pid = os.fork()
    if not pid:
        _child(work)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _child(work: Callable[[], None]) -> NoReturn:
    try:
        with contextlib.suppress(KeyboardInterrupt):
            work()
    finally:
        os._exit(0)
