"""Console transcripts in Markdown: read them, run them, compare, and write them anew.

    ```console
    $ wk create "Fix the login" \\
    >     --type bug --quiet
    wk-2o7m4jgv
    $ wk claim wk-none
    {"error":{"code":"unknown_work",…}}
    [exit 3]
    ```

Rules: all blocks of a file are one bash session. `$ ` begins a command, `> ` goes on
with it (here-documents too); what follows is what a person sees, stdout and stderr
as they come, then the exit status where it is not 0. In what is expected, `…` stands
for anything within a line, and a line of its own for any lines. A command that runs
on in the background sends its output elsewhere.
"""

import contextlib
import difflib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

FENCE, END = "```console", "```"
ANYTHING = "…"
DEADLINE_S = 60.0
# What bash prints when a command has ended; no text of ours has this character.
_ENDED = re.compile(rb"\x1e(\d+)\n")


@dataclass(frozen=True, slots=True)
class Step:
    """One command and what a transcript says it prints.

    line: where its first line stands in the file, from 1.
    length: how many lines it has there, its output included.
    """

    line: int
    length: int
    command: str
    expected: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step and what it really printed, the exit status at the end where it is not 0."""

    step: Step
    actual: tuple[str, ...]

    @property
    def is_as_told(self) -> bool:
        """Whether the transcript is right."""
        return matches(self.step.expected, self.actual)

    @property
    def accepted(self) -> tuple[str, ...]:
        """What the transcript should say: the truth, with the old placeholders that fit."""
        if self.is_as_told:
            return self.step.expected
        return tuple(_placeholder_for(line, self.step.expected) for line in self.actual)

    def difference(self, name: str) -> str:
        """A diff of what is told and what is so."""
        lines = difflib.unified_diff(
            self.step.expected,
            self.accepted,
            f"{name}:{self.step.line}",
            "what it printed",
            lineterm="",
        )
        return "\n".join((f"$ {self.step.command}", *lines))


def steps(text: str) -> list[Step]:
    """Every command of a file's console blocks, in order."""
    found: list[Step] = []
    for start, block in _blocks(text.splitlines()):
        begins = [place for place, line in enumerate(block) if line.startswith("$ ")]
        assert not block or begins[:1] == [0], f"line {start}: a block begins with a command"
        for begin, end in zip(begins, [*begins[1:], len(block)], strict=True):
            found.append(_step(start + begin, block[begin:end]))
    return found


def _blocks(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Each block's lines with the number of the first."""
    block: list[str] | None = None
    for number, line in enumerate(lines, start=1):
        if block is None:
            block = [] if line == FENCE else None
        elif line == END:
            yield number - len(block), block
            block = None
        else:
            block.append(line)
    assert block is None, f"a block is not closed: {block}"


def _step(line: int, block: Sequence[str]) -> Step:
    command = [block[0].removeprefix("$ ")]
    for text in block[1:]:
        if not (text.startswith("> ") or text == ">"):
            break
        command.append(text[2:])
    return Step(line, len(block), "\n".join(command), tuple(block[len(command) :]))


def matches(expected: Iterable[str], actual: Iterable[str]) -> bool:
    """Whether lines are as expected, placeholders included."""
    pattern = "".join(map(_pattern, expected))
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in actual)) is not None


def _pattern(line: str) -> str:
    if line == ANYTHING:
        return r"(?:[^\n]*\n)*?"
    return r"[^\n]*?".join(map(re.escape, line.split(ANYTHING))) + "\n"


def _placeholder_for(line: str, expected: Iterable[str]) -> str:
    """The expected line that describes this one, else the line itself."""
    told = (old for old in expected if old != ANYTHING and matches([old], [line]))
    return next(told, line)


def rewritten(text: str, outcomes: Iterable[Outcome]) -> str:
    """The file with every step's output as it should be."""
    lines = text.splitlines()
    for outcome in sorted(outcomes, key=lambda one: one.step.line, reverse=True):
        step = outcome.step
        end = step.line - 1 + step.length
        lines[end - len(step.expected) : end] = outcome.accepted
    return "".join(f"{line}\n" for line in lines)


class Session:
    """One bash in which commands run one after the other."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._bash = subprocess.Popen(
            ["bash", "--norc", "--noprofile"],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A group of its own, so that what runs in the background ends with it.
            start_new_session=True,
        )

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.communicate()

    def run(self, step: Step) -> Outcome:
        """Run a step to its end; what it exports and where it goes stays."""
        assert self._bash.stdin
        # A command on stdin would be read by its own children as their input.
        script = f"{{ {step.command}\n}} </dev/null\nprintf '\\036%d\\n' $?\n"
        self._bash.stdin.write(script.encode())
        self._bash.stdin.flush()
        output, status = self._read(step)
        lines = output.decode(errors="backslashreplace").splitlines()
        return Outcome(step, (*lines, *([f"[exit {status}]"] if status else [])))

    def _read(self, step: Step) -> tuple[bytes, int]:
        assert self._bash.stdout
        output, deadline = b"", time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as ready:
            ready.register(self._bash.stdout, selectors.EVENT_READ)
            while not (ended := _ENDED.search(output)):
                if not ready.select(max(0.0, deadline - time.monotonic())):
                    raise AssertionError(f"$ {step.command}\nstill runs; so far: {output!r}")
                chunk = os.read(self._bash.stdout.fileno(), 65536)
                assert chunk, f"$ {step.command}\nended the session; so far: {output!r}"
                output += chunk
        return output[: ended.start()], int(ended[1])
