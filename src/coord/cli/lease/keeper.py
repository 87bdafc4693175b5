"""The process beside a command under `lease exec` that keeps its lease.

    every third of the TTL        renews
    leases have changed           looks whether this one still stands
    lost                          tells the parent, which ends the command
    a disk or a lock refuses      tries again until the lease is over
    the parent was killed         ends the command itself and gives the lease back

It begins to watch after a second, for loading what watches costs more than most commands.
While it writes it cannot be ended.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from types import FrameType

from coord.cli import kit
from coord.cli.lease import common
from coord.core import arbiter, resource
from coord.core.draft import Draft
from coord.core.lease import domain, request
from coord.edge import clock, process
from coord.edge import watch as journals
from coord.errors import Refusal

_QUIET_S = 1.0
_AGAIN_S = 1.0
_LOST = ("not_held", "held", "fenced")
_HELD_OFF = {signal.SIGTERM, signal.SIGUSR1}


class _Orphaned(Exception):
    pass


def _orphaned(_signal: int, _frame: FrameType | None) -> None:
    raise _Orphaned


class Keeping:
    """What to keep, for which command, and where to tell how it goes."""

    def __init__(
        self,
        call: kit.Call,
        rows: Sequence[kit.Row],
        ttl_ms: int,
        grace_s: float,
        command: process.Command,
        telling: int,
    ) -> None:
        self._call, self._rows, self._ttl_ms = call, rows, ttl_ms
        self._grace_s, self._command, self._telling = grace_s, command, telling
        self._parent = os.getpid()
        self._renew_at = time.monotonic() + self._third_s

    @property
    def _third_s(self) -> float:
        return self._ttl_ms / 3000

    def run(self) -> None:
        """Keep the lease until it is lost or we are ended."""
        try:
            self._prepare()
            self._keep()
        except (_Orphaned, KeyboardInterrupt):
            # The library that waits for files swallows what a handler raises, and its caller
            # takes any signal for an interrupt; a real one is ignored here.
            signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_OFF)
            process.end(lambda: process.family(self._command), self._grace_s)
            with contextlib.suppress(Refusal):
                self._release()

    def _prepare(self) -> None:
        """Leave the parent's streams and signals; hear of its death."""
        signal.set_wakeup_fd(-1)
        # To ignore a signal, even for a moment, drops one that waits.
        for number in set(process.PASSED_ON) - _HELD_OFF:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, _orphaned)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        process.signal_when_orphaned(signal.SIGUSR1, self._parent)
        # Whoever forked us has held signals off until now.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _keep(self) -> None:
        time.sleep(min(_QUIET_S, self._third_s))
        cursor = journals.cursor_at(self._call.place.store, "now")
        while self._stands() and (time.monotonic() < self._renew_at or self._renewed()):
            wait_s = max(0.0, self._renew_at - time.monotonic())
            for batch in journals.follow(
                self._call.place.store, cursor, on_damage=_ignore, deadline_s=wait_s
            ):
                cursor = batch.cursor
                if any(self._is_about_us(raw) for raw, _ in batch.events):
                    break

    def _is_about_us(self, raw: kit.Row) -> bool:
        """Whether an event may have ended our lease; our own renewals do not."""
        named = raw.get("refs", {}).get("resource")
        if not raw["type"].startswith("lease.") or not isinstance(named, str):
            return False
        if raw["type"] in ("lease.renew", "lease.release"):
            return False
        domains = {resource.domain_of(row["resource"]) for row in self._rows}
        return resource.domain_of(named) in domains

    def _stands(self) -> bool:
        """Whether all leases still stand; tells the parent when one does not."""
        with _held_off(), self._call_now().reading() as known:
            for row in self._rows:
                state = common.state_of(known, row)
                if arbiter.holding(domain.domain_in(state), row["lease_id"]) is None:
                    return self._tell_lost(f"{row['resource']} is not held by us any more")
        return True

    def _renewed(self) -> bool:
        """Renew all leases; False when one is lost."""
        begun_s = process.boot_s()
        try:
            with _held_off():
                is_held = self._renew()
        except Refusal as refusal:
            if refusal.code in _LOST:
                return self._tell_lost(refusal.message)
            self._renew_at = time.monotonic() + min(_AGAIN_S, self._third_s)
            return True
        if is_held:
            self._tell(f"until {begun_s + self._ttl_ms / 1000}")
            self._renew_at = time.monotonic() + self._third_s
        return is_held

    def _renew(self) -> bool:
        confirmed = []
        with self._call_now().desk() as desk:
            for row in self._rows:
                state = common.state_of(desk, row)
                hold = arbiter.holding(domain.domain_in(state), row["lease_id"])
                if hold is None or not arbiter.runs(hold, desk.judged_at_ms):
                    return self._tell_lost(f"{row['resource']} is not held by us any more")
                if arbiter.is_confirmed(hold):
                    confirmed.append(hold)
                else:
                    kind, refs, body = request.renew(hold, self._ttl_ms)
                    desk.take(Draft(kind, refs, body, cause=self._call.cause))
            desk.write()
        if confirmed:
            from coord.cli.lease import confirm as remotely

            remotely.renew(self._call_now(), confirmed, self._ttl_ms)
        return True

    def _call_now(self) -> kit.Call:
        self._call.now_ms = clock.now_ms()
        return self._call

    def _tell_lost(self, text: str) -> bool:
        self._tell(f"lost {text}")
        return False

    def _tell(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):
            os.write(self._telling, f"{text}\n".encode())

    def _release(self) -> None:
        from coord.cli.lease.exec import release

        release(self._call_now(), self._rows)


@contextlib.contextmanager
def _held_off() -> Iterator[None]:
    """Be ended after this, not within."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_OFF)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD_OFF)


def _ignore(_damage: journals.Damage) -> None:
    """What cannot be read is told by `ev check`."""
