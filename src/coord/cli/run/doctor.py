"""`run doctor`: probe for real what executing runs rests on."""

import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import click

from coord.cli import kit
from coord.cli.run import common, hosting
from coord.core.run import sandbox as plans
from coord.edge import clock, environment
from coord.edge.run import launch, output, sandbox, spool, window
from coord.edge.run.wake import Wake
from coord.edge.store import Place
from coord.errors import NO, Refusal

_PROBE, _LOCAL, _SANDBOX, _HOST = "doctor", "local", "sandbox", "host"
# It prints, leaves something behind that has cut itself loose from it, and fails.
_SCRIPT = "(setsid env -i setsid sleep 300 >/dev/null 2>&1 &) ; echo out; sleep 0.05; exit 3"
# In a sandbox: says what it could do that it must not, and ends in its own way.
_ESCAPES = """
import os, socket, sys
def tried(name, action):
    try:
        action()
        print(name)
    except OSError:
        pass
tried("write", lambda: open(sys.argv[1], "w"))
tried("read", lambda: open(sys.argv[2]).read())
tried("network", lambda: socket.create_connection(("127.0.0.1", int(sys.argv[3])), 1))
open("made", "w")
sys.exit(3)
"""
_DEADLINE_S = 30.0
Row = Mapping[str, Any]


@kit.command("doctor")
@click.option("--executor", "asked", type=common.Executor(is_whole=True),
              metavar="ssh:HOST[:FOLDER]", help="Probe this host too.")  # fmt: skip
def doctor(call: kit.Call, asked: str | None) -> int:
    """Execute probes, in every sandbox too, and say what holds on this machine.

    Prints a line for each check: executor, check, ok, and what was found. The probes are no
    runs: they leave nothing in the journals.

    \b
    Exits: 1 a check of the local executor, or of the host, has failed, or no sandbox works.
    Example: run doctor --executor ssh:build-box
    """
    folder = spool.folder_of(call.place.local, _PROBE, os.getpid())
    host = hosting.named_in(asked)
    try:
        rows = [*_checks(folder), _tmux_check()]
        if host:
            rows.append(_host_check(call.place, host, f"{folder}-ssh"))
        rows += _sandbox_checks(call.place.store, folder)
    finally:
        shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
    call.emit(rows, _table, ident="check")
    local = [row["ok"] for row in rows if row["executor"] == _LOCAL or row["check"] == _HOST]
    confined = [row["ok"] for row in rows if row["check"] == _SANDBOX]
    return 0 if all(local) and any(confined) else NO


def _table(rows: list[Any]) -> None:
    from coord.cli import tables

    tables.facts(rows)


def _checks(folder: str) -> Iterator[Row]:
    lock = spool.take_new(folder)
    with Wake([folder]) as wake:
        wake.wait(wait_s=0)
        words = ["/bin/sh", "-c", _SCRIPT]
        pid = launch.launch(folder, lock, _spec(words), environment.child(COORD_RUN=_PROBE))
        held = spool.is_alive(folder)
        woken = wake.wait(wait_s=1.0)
        _wait_for(pid, folder)
    record = spool.exit_record(folder, _PROBE) or {}
    yield _row("lock", held and not spool.is_alive(folder), "the shim holds it while it lives")
    told = {name: record.get(name) for name in ("outcome", "exit_code")}
    yield _row("exit_record", told == {"outcome": "failed", "exit_code": 3}, str(told))
    with open(os.path.join(folder, output.LOG), "rb") as stream:
        yield _row("log", stream.read() == b"out\n", "what was printed, byte for byte")
    is_gone = record.get("left_behind", 0) >= 1 and not spool.tree_lives(folder)
    yield _row("tree", is_gone, "what cut itself loose was found and ended")
    yield _row("wake", woken, "the kernel tells of changes; else it is looked once in a while")


def _wait_for(pid: int, folder: str) -> None:
    ends_at = time.monotonic() + _DEADLINE_S
    while spool.is_alive(folder) and time.monotonic() < ends_at:
        time.sleep(0.01)
    launch.bury(pid)


def _tmux_check() -> Row:
    fault = window.fault(environment.child())
    return {"executor": "tmux", "check": "window", "ok": not fault, "found": fault or "it opens"}


def _host_check(place: Place, host: hosting.Host, folder: str) -> Row:
    """Execute the probe at another host."""
    try:
        hosting.refuse_unfit(place, host)
        lock = spool.take_new(folder)
        state = {"run_id": _PROBE, "requested_by": _PROBE, "spec": {}}
        # A name of its own: what was told there once is not executed again.
        name = f"{_PROBE}-{os.getpid()}-{clock.now_ms()}"
        words = {**_spec(["/bin/sh", "-c", _SCRIPT]), "run_id": name, "lease_id": name}
        spec = hosting.told(place, state, host, words, "")
        _wait_for(launch.launch(folder, lock, spec, environment.child()), folder)
    except Refusal as refusal:
        found = refusal.message
    else:
        record = spool.exit_record(folder, name) or {}
        told = [record.get(part) for part in ("outcome", "exit_code")]
        is_well = told == ["failed", 3] and record.get("left_behind", 0) >= 1
        found = "" if is_well else f"{told}: {record.get('reason', '')}"
    text = found or "it executes there, and its log and its end come back"
    return {"executor": f"ssh:{host.name}", "check": _HOST, "ok": not found, "found": text}


def _sandbox_checks(store: str, folder: str) -> Iterator[Row]:
    faults = {
        plans.BWRAP: sandbox.bwrap_fault(),
        plans.LANDLOCK: sandbox.landlock_fault(network=False),
    }
    for kind, fault in faults.items():
        found = fault or _escaped(kind, store, f"{folder}-{kind}")
        is_tight = "what it must not do has failed"
        yield {"executor": kind, "check": _SANDBOX, "ok": not found, "found": found or is_tight}


def _escaped(kind: str, store: str, folder: str) -> str:
    """What a command in a sandbox could do that it must not; "" for nothing."""
    import socket

    tree, secret = f"{folder}-tree", f"{folder}-secret"
    os.makedirs(tree, exist_ok=True)
    with open(secret, "w", encoding="utf-8"), socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        words = [sys.executable, "-I", "-c", _ESCAPES, f"{folder}-outside", secret, port]
        told = sandbox.wanted({"by": kind}, tree, store, "")
        lock = spool.take_new(folder)
        spec = {**_spec(words), "cwd": tree, "sandbox": told, "secret_files": [secret]}
        pid = launch.launch(folder, lock, spec, environment.child(COORD_RUN=_PROBE))
        _wait_for(pid, folder)
    record = spool.exit_record(folder, _PROBE) or {}
    with open(os.path.join(folder, output.LOG), encoding="utf-8", errors="replace") as stream:
        done = " ".join(stream.read().split())
    if done or record.get("exit_code") != 3 or not os.path.exists(os.path.join(tree, "made")):
        return done or record.get("reason") or str(record.get("outcome", "no exit record"))
    return ""


def _spec(words: list[str]) -> dict[str, Any]:
    named = {"run_id": _PROBE, "attempt": 1, "lease_id": _PROBE, "fence": 1}
    return {**named, "words": words, "cwd": "/", "timeouts": {}, "grace_ms": 500,
            "claimed_at_ms": clock.now_ms()}  # fmt: skip


def _row(check: str, ok: bool, found: str) -> Row:
    return {"executor": _LOCAL, "check": check, "ok": ok, "found": found}
