"""`run doctor`: probe for real what executing runs rests on."""

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any

from coord.cli import kit
from coord.edge import clock, environment
from coord.edge.run import launch, output, spool
from coord.edge.run.wake import Wake
from coord.errors import NO

_PROBE = "doctor"
# It prints, leaves something behind that has cut itself loose from it, and fails.
_SCRIPT = "(setsid env -i setsid sleep 300 >/dev/null 2>&1 &) ; echo out; sleep 0.05; exit 3"
_DEADLINE_S = 30.0
Row = Mapping[str, Any]


@kit.command("doctor")
def doctor(call: kit.Call) -> int:
    """Execute a probe with the local executor and say what holds on this machine.

    Prints a line for each check: executor, check, ok, and what was found. The probe is no
    run: it leaves nothing in the journals.

    \b
    Exits: 1 a check has failed.
    Example: run doctor
    """
    folder = spool.folder_of(call.place.local, _PROBE, os.getpid())
    try:
        rows = [*_checks(folder)]
    finally:
        shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
    call.emit(rows, _table, ident="check")
    return 0 if all(row["ok"] for row in rows) else NO


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)


def _checks(folder: str) -> Iterator[Row]:
    lock = spool.take_new(folder)
    with Wake([folder]) as wake:
        wake.wait(wait_s=0)
        pid = launch.launch(folder, lock, _spec(), environment.child(COORD_RUN=_PROBE))
        held = spool.is_alive(folder)
        woken = wake.wait(wait_s=1.0)
        _wait_for(pid, folder)
    record = spool.exit_record(folder, _PROBE) or {}
    yield _row("lock", held and not spool.is_alive(folder), "the shim holds it while it lives")
    told = {name: record.get(name) for name in ("outcome", "exit_code")}
    yield _row("exit_record", told == {"outcome": "failed", "exit_code": 3}, str(told))
    with open(os.path.join(folder, output.LOG), "rb") as stream:
        yield _row("log", stream.read() == b"out\n", "what was printed, byte for byte")
    is_gone = record.get("left_behind", 0) >= 1 and not spool.tree_lives(folder, _PROBE)
    yield _row("tree", is_gone, "what cut itself loose was found and ended")
    yield _row("wake", woken, "the kernel tells of changes; else it is looked once in a while")


def _wait_for(pid: int, folder: str) -> None:
    ends_at = time.monotonic() + _DEADLINE_S
    while spool.is_alive(folder) and time.monotonic() < ends_at:
        time.sleep(0.01)
    launch.bury(pid)


def _spec() -> dict[str, Any]:
    named = {"run_id": _PROBE, "attempt": 1, "lease_id": _PROBE, "fence": 1}
    words = ["/bin/sh", "-c", _SCRIPT]
    return {**named, "words": words, "cwd": "/", "timeouts": {}, "grace_ms": 500,
            "claimed_at_ms": clock.now_ms()}  # fmt: skip


def _row(check: str, ok: bool, found: str) -> Row:
    return {"executor": "local", "check": check, "ok": ok, "found": found}
