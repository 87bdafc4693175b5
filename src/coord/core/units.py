"""Spans and instants: what people type, and milliseconds.

    span      90s, 15m, 2h, 1d, 1w, 250ms, 1h30m; a plain number is seconds
    instant   2025-11-20T21:30:00Z, 2025-11-20T21:30+02:00, 2025-11-20 (UTC),
              now, 2h ago, in 2h

Instants lie between 1970 and the year 9999; without an offset they are UTC.
"""

import re
from datetime import UTC, datetime, timedelta

from coord.errors import Refusal

LATEST_MS = 253_402_300_799_999
_UNITS = {
    "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1,
}  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PART = re.compile(r"([0-9]{1,15})(ms|[wdhms])")
_SPAN = re.compile(rf"(?:{_PART.pattern})+")
_NUMBER = re.compile(r"[0-9]{1,15}")
_RELATIVE = re.compile(r"(in |)(\S+)( ago|)")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def parse_duration(text: str) -> int:
    """Milliseconds of a span like 90s, 15m, 2h, 1d, 250ms, 1h30m or 90 (seconds).

    Refusals: usage.
    """
    wanted = text.strip().lower()
    span_ms = _span_ms(f"{wanted}s" if _NUMBER.fullmatch(wanted) else wanted)
    if span_ms is None:
        raise Refusal(
            "usage", f"{text[:60]!r} is no span of time", "give one like 90s, 15m, 2h, 1d"
        )
    return span_ms


def _span_ms(text: str) -> int | None:
    if not _SPAN.fullmatch(text):
        return None
    total = sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
    return total if total <= LATEST_MS else None


def show_duration(span_ms: int) -> str:
    """A span in its largest units, exactly: 5400000 is 1h30m."""
    if span_ms < 0:
        return "-" + show_duration(-span_ms)
    parts = []
    for unit, size in _UNITS.items():
        if unit != "w" and span_ms >= size:
            parts.append(f"{span_ms // size}{unit}")
            span_ms %= size
    return "".join(parts) or "0s"


def show_age(span_ms: int) -> str:
    """A span in its largest unit alone, for a glance: 5400000 is 1h."""
    for unit, size in _UNITS.items():
        if unit != "ms" and span_ms >= size * (2 if unit == "w" else 1):
            return f"{span_ms // size}{unit}"
    return "0s"


def show_relative(instant_ms: int, now_ms: int) -> str:
    """How far an instant is from now, for a glance: `3m ago`, `in 2h`."""
    if instant_ms > now_ms:
        return f"in {show_age(instant_ms - now_ms)}"
    return f"{show_age(now_ms - instant_ms)} ago"


def parse_instant(text: str, now_ms: int, ahead: bool = False) -> int:
    """Milliseconds since the epoch of what a person calls an instant.

    ahead: a bare span like 2h lies ahead of now (when something is due), not
    behind it (since when to look).
    Refusals: usage.
    """
    wanted = text.strip()
    if wanted.lower() == "now":
        return now_ms
    instant_ms = _read_instant(wanted) if _INSTANT.fullmatch(wanted) else None
    if instant_ms is None:
        instant_ms = _read_relative(wanted.lower(), now_ms, ahead)
    if instant_ms is None or not 0 <= instant_ms <= LATEST_MS:
        hint = "give one like 2025-11-20, 2025-11-20T21:30:00Z, now, '2h ago', 'in 2h'"
        raise Refusal("usage", f"{text[:60]!r} is no instant", hint)
    return instant_ms


def _read_instant(text: str) -> int | None:
    try:
        read = datetime.fromisoformat(text)
        aware = read if read.tzinfo else read.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def _read_relative(text: str, now_ms: int, ahead: bool) -> int | None:
    found = _RELATIVE.fullmatch(text)
    span_ms = _span_ms(found[2]) if found else None
    if not found or span_ms is None or (found[1] and found[3]):
        return None
    later = bool(found[1]) or (ahead and not found[3])
    return now_ms + span_ms if later else now_ms - span_ms


def show_instant(instant_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds; what lies outside its years, as a number."""
    if not 0 <= instant_ms <= LATEST_MS:
        return f"{instant_ms} ms"
    shown = _EPOCH + timedelta(milliseconds=instant_ms)
    return shown.isoformat(timespec="milliseconds").replace("+00:00", "Z")
