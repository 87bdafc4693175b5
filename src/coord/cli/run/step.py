"""`run step NAME -- CMD`: executed once, told again ever after.

judge     with the step's turn taken, so that nobody else executes it meanwhile
begin     the start is on disk before the command is executed
execute   what it prints goes to our stdout and is kept
record    the result names its start: only together do they say that it is done
"""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click

from coord.cli import kit
from coord.cli.run import common
from coord.core import digest
from coord.core.draft import Draft
from coord.core.problem import State
from coord.core.run import life, steps, wanted
from coord.core.run import request as facts
from coord.edge import blobs, clock, environment, process
from coord.edge.index import Index
from coord.edge.run import stepping
from coord.edge.writing import Desk
from coord.errors import Refusal

# What of an output is kept, and from which size on as a blob.
_MOST_BYTES, _INLINE_BYTES = 16 << 20, 4096
_COMMAND_CHARS = 200
_CHUNK_BYTES = 1 << 16
_OURS: Mapping[int, int] = {}


@kit.command("step", writes=True)
@click.argument("name", metavar="NAME")
@click.option("--undo", metavar="LINE",
              help="A line for sh that undoes it; it reads what the step printed.")  # fmt: skip
@click.option("--idempotent", is_flag=True,
              help="It may be executed again when nobody knows how it ended.")  # fmt: skip
@click.option("--retry-failed", is_flag=True, help="Keep only success: after a failure, again.")
@click.option("--run", "run_id", metavar="RUN", help="Of this run instead of COORD_RUN.")
@click.option("--done", "settled", flag_value="done", help="Settle: it was done.")
@click.option("--redo", "settled", flag_value="redo", help="Settle: it is to be done again.")
@click.option("--output", metavar="TEXT", help="With --done: what it would have printed.")
def _step(call: kit.Call, name: str, run_id: str | None, settled: str | None, output: str | None,
          **options: Any) -> int:  # fmt: skip
    """Execute the command after -- once in the run that we are in, and remember how it ended.

    Asked for again, by this attempt or a later one, it is not executed: what it printed on
    stdout and its exit status come back, a failure too. Of two that ask at once one
    executes it, and the other waits. Names are flat: a step may execute others.

    A step whose process died, or whose command a signal ended, has a start and no result:
    nobody knows what it did. It is executed again with --idempotent; else a person looks,
    and says --done or --redo, with --run from outside. --dry-run executes nothing.

    \b
    Exits: CMD's own; 2 not in a run; 5 nobody knows how it ended, or this attempt has used
           the name for another command; 7 --done, --redo: it is being executed; 126 CMD
           cannot be executed; 127 there is no CMD.
    Example: run step deploy --undo './undeploy.sh' -- ./deploy.sh
    """
    if not steps.is_name(name):
        raise Refusal("usage", f"a step's name has 1 to {steps.MOST_NAME} printable characters")
    if call.key:
        raise Refusal("usage", "a step has no --key", "its name says which it is")
    place = _place(call, run_id)
    words = common.words()
    if settled is not None or output is not None:
        if words or settled is None:
            raise Refusal("usage", "--done and --redo take no command, and --output needs --done")
        return _settle(call, place, name, settled, output)
    if not words:
        raise Refusal("usage", "there is nothing to execute", "run step NAME -- CMD...")
    if options["undo"] is not None and not 0 < len(options["undo"].strip()) <= steps.MOST_UNDO:
        raise Refusal("usage", f"an undo has 1 to {steps.MOST_UNDO} characters")
    return _Step(call, place, name, words, options).run()


step = common.with_command(_step)


def _place(call: kit.Call, named: str | None) -> str:
    """The run that a step belongs to."""
    text = named or environment.get(environment.RUN)
    if not text:
        hint = "run exec -- SCRIPT makes one; --run RUN names one that has ended"
        raise Refusal("usage", "a step is part of a run, and there is none here", hint)
    with call.reading() as known:
        return common.run_id(known, text)


def lineage(known: Index | Desk, run_id: str) -> list[State]:
    """A run, and those whose steps it goes on with, the newest first."""
    found: list[State] = []
    while run_id and all(state["run_id"] != run_id for state in found):
        state = known.state(f"run/{run_id}")
        if not state:
            break
        found.append(state)
        spec = state["spec"]
        run_id = spec.get("retry_of", "") if spec.get("resume") else ""
    return found


def _settle(call: kit.Call, run_id: str, name: str, how: str, output: str | None) -> int:
    printed = {} if output is None else {"stdout": kit.text_of(output)}
    with call.desk() as desk:
        found = [(s, steps.found(s, name)) for s in lineage(desk, run_id)]
        owner = next((state for state, step in found if step), found[0][0])
        stepping.refuse_running(stepping.folder_of(call.place.local, owner["run_id"]), name)
        fact = facts.of_step(owner, "settled", name, **{"as": how}, **printed)
        written = desk.take(call.draft(*fact))
        if not call.dry_run:
            desk.write()
    call.acknowledge([written], lambda raw: f"step {name} of {owner['run_id']}: {how}")
    return 0


class Result(NamedTuple):
    """How a command ended: its exit code, negative for a signal, and what it printed."""

    code: int
    kept: bytes
    printed_bytes: int

    def told(self) -> dict[str, int]:
        """The same, as an event says it."""
        return {"exit_code": self.code} if self.code >= 0 else {"signal": -self.code}


class _Step:
    """One step, from the question whether to execute it to its result."""

    def __init__(
        self, call: kit.Call, run_id: str, name: str, words: Sequence[str],
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self._call, self._run_id, self._name, self._words = call, run_id, name, words
        self._options = options

    def run(self) -> int:
        """Execute it or tell it again; answers the exit status."""
        folder = stepping.folder_of(self._call.place.local, self._run_id)
        with stepping.turn(folder, self._name) as tree:
            code = self._told()
            if code is not None:
                return code
            if self._call.dry_run:
                self._call.acknowledge([self._begun()], str)
                return 0
            stepping.wait_for_tree(tree)
            # From the start to the result no signal ends us: the command gets them all.
            with process.Signals() as signals:
                code = self._executed(self._begun().raw, signals)
        return process.mirror(code)

    def _told(self) -> int | None:
        """Print the recorded result and answer its status; None when there is none."""
        self._call.now_ms = clock.now_ms()
        with self._call.reading() as known:
            verdict = steps.judge(lineage(known, self._run_id), self._asked(known))
            if verdict.what != steps.REPLAY or verdict.step is None:
                return None
            body = _result_of(known, verdict.step)
        try:
            common.write_all(sys.stdout, _printed(self._call, body))
        except BrokenPipeError:
            raise kit.Closed from None
        if "stdout_bytes" in body:
            text = f"step {self._name} printed {body['stdout_bytes']} bytes, of which less was kept"
            self._call.warn("too_large", text, "keep what is large in files")
        return int(verdict.step["exit_code"])

    def _asked(self, known: Index | Desk) -> steps.Asked:
        attempt = life.open_attempt(known.state(f"run/{self._run_id}")) or {"attempt": 0}
        words = digest.sha256("\0".join(self._words).encode(errors="surrogateescape"))
        return steps.Asked(
            self._name, words.hexdigest()[:16], attempt["attempt"],
            self._options["idempotent"], self._options["retry_failed"],
        )  # fmt: skip

    def _begun(self) -> Any:
        """Record that it begins, if it may."""
        self._call.now_ms = clock.now_ms()
        with self._call.desk() as desk:
            asked = self._asked(desk)
            verdict = steps.judge(lineage(desk, self._run_id), asked)
            if verdict.what != steps.EXECUTE:
                raise _refusal(verdict, self._run_id)
            own = desk.state(f"run/{self._run_id}")
            attempt = _attempt_of(self._call, desk, own)
            body = {"phase": "started", "name": self._name, "words": asked.words,
                    "command": wanted.shown({"argv": self._words})[:_COMMAND_CHARS]}  # fmt: skip
            said = {"undo": self._options["undo"], "idempotent": asked.idempotent or None,
                    "again": asked.again or None}  # fmt: skip
            fact = facts.of_attempt("run.step", own, attempt, {**body, **said})
            written = desk.take(self._call.draft(*fact))
            if not self._call.dry_run:
                desk.write()
        self._lease = written.raw["refs"]["lease_id"], written.raw["body"]["fence"]
        return written

    def _executed(self, started: Mapping[str, Any], signals: process.Signals) -> int:
        told = environment.child(COORD_CAUSE=started["event_id"], COORD_RUN=self._run_id)
        try:
            result = executed(self._words, told, signals)
        except process.NotStarted as error:
            self._record({"phase": "settled", "name": self._name, "as": "redo",
                          "why": str(error)}, started)  # fmt: skip
            click.echo(kit.plain(f"run: {error}"), err=True)
            return error.status
        body = {"phase": "ended", "name": self._name, "start": started["event_id"]}
        self._record({**body, **result.told()}, started, result)
        return result.code

    def _record(
        self, body: Mapping[str, Any], started: Mapping[str, Any], result: Result | None = None
    ) -> None:
        """Record what became of a start; what has happened is not given up for a busy store."""
        while True:
            try:
                self._record_once(body, started, result)
                return
            except Refusal as refusal:
                if refusal.code != "busy":
                    raise

    def _record_once(
        self, body: Mapping[str, Any], started: Mapping[str, Any], result: Result | None
    ) -> None:
        self._call.now_ms = clock.now_ms()
        head = {name: started["body"][name] for name in ("attempt", "fence")}
        with self._call.desk() as desk:
            printed = _kept(desk, result) if result else {}
            whole = {**head, **body, **printed}
            desk.take(Draft("run.step", started["refs"], whole, cause=started["event_id"]))
            desk.write()


def executed(
    words: Sequence[str],
    told: Mapping[str, str],
    signals: process.Signals,
    streams: Mapping[int, int] = _OURS,
    out: int = 1,
) -> Result:
    """Execute a command to its end; what it prints goes to `out`, and is kept.

    What it leaves behind has nobody any more who reads what it prints.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with open(reading, "rb", buffering=0) as stream:
        try:
            command = process.start(words, told, {**streams, 1: writing})
        finally:
            os.close(writing)
        os.set_blocking(reading, False)
        return _followed(command, stream, signals, out)


def _followed(command: process.Command, stream: Any, signals: process.Signals, out: int) -> Result:
    kept, printed_bytes = bytearray(), 0
    code: int | None = None
    is_read = False
    while code is None or not is_read:
        came, _ = signals.wait(-1 if is_read else stream.fileno(), None if code is None else 0.0)
        for number in came:
            if number in process.PASSED_ON:
                process.pass_on(number, command)
        for pid, ended in process.ended():
            code = ended if pid == command.pid else code
        # None: there is nothing yet, and nothing more once the command has ended.
        data = None if is_read else stream.read(_CHUNK_BYTES)
        if data:
            printed_bytes += len(data)
            kept += data[: max(0, _MOST_BYTES - len(kept))]
            out = passed_on(out, data)
        elif data == b"" or code is not None:
            is_read = True
    assert code is not None, "it has ended"
    return Result(code, bytes(kept), printed_bytes)


def passed_on(out: int, data: bytes) -> int:
    """Write to a descriptor and answer it; -1 from when on nobody reads, which ends nothing."""
    left = memoryview(data)
    try:
        while left and out >= 0:
            left = left[os.write(out, left) :]
    except BrokenPipeError:
        return -1
    return out


def _kept(desk: Desk, result: Result) -> dict[str, Any]:
    """What a step printed, as its event says it."""
    cut = {"stdout_bytes": result.printed_bytes} if result.printed_bytes > _MOST_BYTES else {}
    if not result.kept:
        return cut
    if len(result.kept) <= _INLINE_BYTES:
        with contextlib.suppress(UnicodeDecodeError):
            return {"stdout": result.kept.decode()}
    return {"stdout": desk.keep(result.kept), **cut}


def _printed(call: kit.Call, body: Mapping[str, Any]) -> bytes:
    """What a step printed, from its event.

    Refusals: no_file, when the blob that holds it is not here.
    """
    printed = body.get("stdout", "")
    if isinstance(printed, str):
        return printed.encode()
    data = blobs.load_bytes(call.place.store, printed)
    if data is None:
        text = f"what the step printed is not here: blob {printed.get('sha256')}"
        raise Refusal("no_file", text, "ev check tells what else is missing")
    return data


def printed_by(call: kit.Call, known: Index, step: Mapping[str, Any]) -> bytes:
    """What a completed step printed."""
    return _printed(call, _result_of(known, step))


def _result_of(known: Index, step: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of the event with which a step ended.

    Refusals: unknown_event, when its line is not here any more.
    """
    event = known.event(step["result"])
    if event is None:
        text = f"the result of step {step['name']}, {step['result']}, is not here"
        raise Refusal("unknown_event", text, "ev check tells what else is missing")
    body: Mapping[str, Any] = event["body"]
    return body


def _attempt_of(call: kit.Call, desk: Desk, state: State) -> Mapping[str, Any]:
    """The attempt that we are part of: the open one, unless our own is known to be over."""
    attempt = life.open_attempt(state)
    if attempt is None:
        raise Refusal("wrong_state", f"no attempt of {state['run_id']} is under way",
                      f"run retry {state['run_id']} --resume")  # fmt: skip
    cause = desk.index.event(call.cause) if call.cause else None
    is_of_run = cause is not None and cause.get("refs", {}).get("run_id") == state["run_id"]
    lease_id = cause["refs"].get("lease_id") if is_of_run and cause else None
    if lease_id not in (None, attempt["lease_id"]):
        text = f"the attempt that this is part of is over; attempt {attempt['attempt']} is open"
        raise Refusal("fenced", text)
    return attempt


def _refusal(verdict: steps.Verdict, run_id: str) -> Refusal:
    """Why a step is not executed, and how to go on."""
    step, owner = verdict.step, verdict.state["run_id"]
    assert step is not None, "what was never asked for is executed"
    if verdict.what == steps.OTHER:
        text = f"step {step['name']} stands for {step['command']} in this attempt"
        return Refusal("key_reused", text, "give another command another name")
    how = f"a signal ({step['signal']}) ended it" if "signal" in step else "it has no result"
    if step["status"] in (steps.UNDOING, steps.UNDO_FAILED):
        how = "its undo did not end well"
    text = f"step {step['name']} was started in attempt {step['attempt']} of {owner}, and {how}"
    hint = (f"look at what {step['command']!r} did, then: run step {step['name']} --run {run_id}"
            " --done, or --redo")  # fmt: skip
    return Refusal("wrong_state", text, hint, step=step["name"], run_id=owner)
