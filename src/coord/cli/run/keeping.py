"""The keeper: a process apart that renews, at the git remote, what this store executes for all.

One per store, while there is such a run: it holds the lock `local/run-keeper`. It records
how they ended where the worker was killed, for else it would renew what is dead. What it has
renewed it writes into the attempt's folder, for the shim ends its command when nobody does.
"""

import contextlib
import copy
import fcntl
import os
import signal
import time
from typing import NoReturn

from coord.cli import confirming, kit
from coord.cli.run.worker import Worker
from coord.core import arbiter
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import groups, life
from coord.core.run import request as facts
from coord.edge import clock, replica, store
from coord.edge.index import runs
from coord.edge.run import apart, spool
from coord.edge.sync import kept
from coord.edge.writing import Desk, Written
from coord.errors import Refusal

_LOCK = "run-keeper"
_AGAIN_S = 2.0


def start(call: kit.Call) -> None:
    """Have a keeper; the one that is there is enough."""
    descriptor = os.open(os.path.join(call.place.local, _LOCK), os.O_RDWR | os.O_CREAT, 0o666)
    if store.flock_now(descriptor, fcntl.LOCK_EX) and not os.fork():
        _child(call, descriptor)
    os.close(descriptor)


def _child(call: kit.Call, lock: int) -> NoReturn:
    try:
        os.setsid()
        apart.leave_worker(lock, keeps_stdin=False)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _keep(call)
    finally:
        os._exit(0)


def _keep(call: kit.Call) -> None:
    # What has ended is recorded here too, should the worker have been killed.
    worker = Worker(call)
    worker.takes_queue = False
    while True:
        call.now_ms = clock.now_ms()
        with contextlib.suppress(Refusal):
            worker.look()
        states = _open_here(call)
        alive = [state for state in states if spool.is_alive(_folder(call, state))]
        # What is dead and could not be recorded now is looked at again until its time is over.
        if not alive and not any(_left_s(call, state) > 0 for state in states):
            return
        with contextlib.suppress(Refusal):
            _renew(call, alive)
        time.sleep(_pause_s(call, states))


def _open_here(call: kit.Call) -> list[State]:
    """The open attempts of this store that the remote has confirmed."""
    with call.reading() as known:
        names = runs.open_runs(known.connection, replica.home(call.place))
        states = [known.state(f"run/{name}") for name in names]
    return [state for state in states if life.is_anywhere(state) and state.get("holds")]


def _left_s(call: kit.Call, state: State) -> float:
    lease_id = state["attempts"][-1]["lease_id"]
    return (kept.until_boot_ms(call.place.local, lease_id) - clock.boot_ms()) / 1000


def _pause_s(call: kit.Call, states: list[State]) -> float:
    """Until the first of them has run for a third of its time; soon where that is over."""
    dues_s = [_left_s(call, state) - 2 * _third_s(state) for state in states]
    third_s = min(map(_third_s, states))
    return min(third_s, max(min(_AGAIN_S, third_s / 4), min(dues_s)))


def _third_s(state: State) -> float:
    return float(state["holds"][-1]["ttl_ms"]) / 3000


def _renew(call: kit.Call, states: list[State]) -> None:
    """Renew what has less than two thirds of its time left."""
    due = [s for s in states if 0 < _left_s(call, s) <= 2 * _third_s(s)]
    for state in due:
        # Each by itself: one that has ended meanwhile must not stop the others.
        with contextlib.suppress(Refusal):
            as_worker = _as_worker(call, state)
            with confirming.session(as_worker) as session:
                session.take(_Renewal(as_worker, state).request)
            _tell(call, state)


def _as_worker(call: kit.Call, state: State) -> kit.Call:
    """The worker that claimed an attempt, in whose name it is renewed."""
    attempt = state["attempts"][-1]
    worker = copy.copy(call)
    worker.author = call.author._replace(
        agent_id=attempt["agent_id"], session_id=attempt["session_id"]
    )
    return worker


def _tell(call: kit.Call, state: State) -> None:
    lease_id = state["attempts"][-1]["lease_id"]
    spool.note_until(_folder(call, state), kept.until_boot_ms(call.place.local, lease_id))


def _folder(call: kit.Call, state: State) -> str:
    attempt = state["attempts"][-1]["attempt"]
    return spool.folder_of(call.place.local, state["run_id"], attempt)


class _Renewal:
    """One attempt that is to go on."""

    def __init__(self, call: kit.Call, state: State) -> None:
        self._call, self._run_id = call, state["run_id"]
        self._lease_id = state["attempts"][-1]["lease_id"]
        [hold] = [h for h in state["holds"] if h["lease_id"] == self._lease_id]
        also = groups.places_of(state["spec"])
        self.request = confirming.Request(
            f"run:{self._run_id}", self._make, renewed=hold, also=also
        )

    def _make(self, desk: Desk, decided: kit.Row, _lease_id: str) -> Written:
        state = desk.state(f"run/{self._run_id}")
        attempt = life.open_attempt(state)
        if attempt is None or attempt["lease_id"] != self._lease_id:
            raise Refusal("not_held", f"{self._run_id} has ended")
        hold = arbiter.holding(life.domain_in(state), self._lease_id)
        if hold is None:
            raise Refusal("not_held", f"{self._run_id} is another worker's")
        return desk.take(Draft(*facts.renewal(state, decided), cause=self._call.cause))
