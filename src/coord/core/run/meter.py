"""What a command says it has used, read from the JSON lines that it prints.

    a path       $.usage.output_tokens, $.parts[*].cost, $.all[0]['the sum']: numbers at these
                 places of any line are added up; with `max:` before it the largest of a
                 round counts, for what is told as a running total
    claude       stream-json: the line of type `result`, total_cost_usd, and tokens of usage
    codex        exec --json: lines of type `turn.completed`, tokens of usage; no US dollars

The sum is of one round; a round in which no line says anything has used nobody knows what.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

USD, TOKENS = "usd", "tokens"
_PART = re.compile(r"""\.(?P<name>[A-Za-z0-9_-]+|\*)|\[(?:(?P<at>\d+|\*)|'(?P<text>[^']*)')\]""")
_AMOUNT = re.compile(
    r"(?P<sign>\$?)(?P<number>\d+(?:\.\d+)?)(?P<times>[kM]?) ?(?P<unit>usd|tokens?)?"
)
_TIMES = {"": 1, "k": 1000, "M": 1_000_000}
# One step of a path: a name, a place in a list, or "*" for all there are.
Path = tuple[str | int, ...]


class Rule(NamedTuple):
    """Where a line says what was used: numbers at `paths` of lines of a type, added up.

    type: "" for lines of any kind. is_total: each line tells the sum of all before.
    """

    paths: tuple[Path, ...]
    type: str = ""
    is_total: bool = False


PRESETS: Mapping[str, Mapping[str, Rule]] = {
    "claude": {
        USD: Rule((("total_cost_usd",),), "result", is_total=True),
        TOKENS: Rule(
            (
                ("usage", "input_tokens"),
                ("usage", "cache_creation_input_tokens"),
                ("usage", "cache_read_input_tokens"),
                ("usage", "output_tokens"),
            ),
            "result",
        ),
    },
    # What was read from the cache is part of its input_tokens.
    "codex": {
        TOKENS: Rule(
            (("usage", "input_tokens"), ("usage", "output_tokens")),
            "turn.completed",
        ),
    },
}


def path_of(text: str) -> Path | None:
    """Read a path; None for what is none."""
    if not text.startswith("$"):
        return None
    found: list[str | int] = []
    at = 1
    while at < len(text):
        part = _PART.match(text, at)
        if part is None:
            return None
        place = part["at"]
        if place is not None:
            found.append(place if place == "*" else int(place))
        else:
            found.append(part["name"] if part["name"] is not None else part["text"])
        at = part.end()
    return tuple(found) or None


def rule_of(text: str, unit: str) -> Rule | None:
    """What `--cost-from` means, measured in a unit; None where it cannot be measured so."""
    if text in PRESETS:
        return PRESETS[text].get(unit)
    path = path_of(text.removeprefix("max:"))
    return None if path is None else Rule((path,), is_total=text.startswith("max:"))


def amount_of(text: str) -> tuple[float, str] | None:
    """Read 2.50, $2.50, 2.50usd, 200000tokens or 200ktokens; None for anything else."""
    read = _AMOUNT.fullmatch(text)
    if read is None or (read["sign"] and (read["unit"] or "usd") != "usd"):
        return None
    unit = TOKENS if (read["unit"] or "").startswith("token") else USD
    amount = float(read["number"]) * _TIMES[read["times"]]
    return (amount, unit) if amount > 0 else None


def said(rule: Rule, line: object) -> float | None:
    """What a line says was used; None when it says nothing."""
    if rule.type and not (isinstance(line, Mapping) and line.get("type") == rule.type):
        return None
    numbers = [number for path in rule.paths for number in _numbers(line, path)]
    return sum(numbers) if numbers else None


def _numbers(value: Any, path: Path) -> Iterator[float]:
    if not path:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            yield value
        return
    for one in _below(value, path[0]):
        yield from _numbers(one, path[1:])


def _below(value: Any, part: str | int) -> Iterable[Any]:
    if isinstance(value, Mapping):
        if part == "*":
            return value.values()
        return (value[part],) if part in value else ()
    if isinstance(value, list):
        if part == "*":
            return value
        return (value[part],) if isinstance(part, int) and part < len(value) else ()
    return ()


def added(rule: Rule, before: float | None, more: float | None) -> float | None:
    """What a round has used after another line."""
    if before is None or more is None:
        return more if before is None else before
    return max(before, more) if rule.is_total else before + more
