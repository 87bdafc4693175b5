"""A span of time as an option takes it."""

from typing import Any

import click

from coord.core import units
from coord.errors import Refusal


class Span(click.ParamType[int]):
    """A span like 90s, 15m or 2h, in milliseconds; least_ms is allowed."""

    name = "span"

    def __init__(self, least_ms: int = 1) -> None:
        self._least_ms = least_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = value if isinstance(value, int) else units.parse_duration(str(value))
        if found < self._least_ms:
            raise Refusal("usage", "a span is longer than no time", "give one like 90s, 15m, 2h")
        return found
