"""When a schedule fires: five fields of cron or a span, and what becomes of missed ticks.

    minute hour day month weekday    lists, ranges, steps, names; 0 and 7 are Sunday
    @hourly @daily @midnight @weekly @monthly @yearly @annually

Day and weekday are one condition when either begins with `*`; else one of them is enough.
Where a zone changes its clock, a cron whose hour begins with `*` follows the clock: it has
no minutes that the clock skips, and twice those that come twice. Any other one fires once:
what is skipped at the first minute after, what comes twice the first time.

A span counts from the instant of the request. Of the ticks that are due when a worker
comes to a schedule, for as long as nobody did,

    skip    the newest is fired, unless it is more than five minutes late
    once    the newest is fired, however late
    all     each is fired, up to a hundred
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple

from coord.core import digest
from coord.core.event import is_integer

SKIP, ONCE, ALL = "skip once all".split()
POLICIES = (SKIP, ONCE, ALL)
LATE_MS = 300_000
MOST_TICKS = 100
SHORTEST_MS = 1000
_YEAR_MS = 366 * 86_400_000
# How far ahead a next tick is looked for, in days: 29 February may be forty years away.
_REACHES = (2, 40, 400, 15_000)
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_DAYS = "sun mon tue wed thu fri sat".split()
_NAMED = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}  # fmt: skip
# Of each field: its name, first and last value, and the names of its values.
_FIELDS: Sequence[tuple[str, int, int, Sequence[str]]] = (
    ("minute", 0, 59, ()), ("hour", 0, 23, ()), ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS), ("weekday", 0, 7, _DAYS),
)  # fmt: skip


class Cron(NamedTuple):
    """The values of each field; of which the day and the hour began with `*`."""

    minutes: Sequence[int]
    hours: Sequence[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    is_any_day: bool
    follows_clock: bool

    def has(self, day: date) -> bool:
        """Whether it fires on this day at all."""
        if day.month not in self.months:
            return False
        fits = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return all(fits) if self.is_any_day else any(fits)


def parse(text: str) -> Cron:
    """Read a cron expression; raises ValueError with what is wrong about it."""
    words = _NAMED.get(text.strip().lower(), text).lower().split()
    if len(words) != len(_FIELDS):
        raise ValueError("a cron expression has five fields: minute hour day month weekday")
    values = [_values(word, *field) for word, field in zip(words, _FIELDS, strict=True)]
    minutes, hours, days, months, weekdays = values
    return Cron(
        sorted(minutes), sorted(hours), frozenset(days), frozenset(months),
        frozenset(day % 7 for day in weekdays),
        words[2].startswith("*") or words[4].startswith("*"), words[1].startswith("*"),
    )  # fmt: skip


def _values(word: str, field: str, first: int, last: int, names: Sequence[str]) -> set[int]:
    found: set[int] = set()
    for part in word.split(","):
        span, has_step, step = part.partition("/")
        low, has_range, high = span.partition("-")
        if span == "*":
            ends = first, last
        else:
            start = _value(low, first, names)
            ends = start, _value(high, first, names) if has_range else start
            if has_step and not has_range:
                ends = start, last
        every = int(step) if step.isascii() and step.isdigit() else 0
        is_sound = first <= ends[0] <= ends[1] <= last and (every or not has_step)
        if not is_sound:
            raise ValueError(f"{part[:40]!r} is no {field} from {first} to {last}")
        found.update(range(ends[0], ends[1] + 1, every or 1))
    return found


def _value(word: str, first: int, names: Sequence[str]) -> int:
    if word in names:
        return names.index(word) + first
    return int(word) if word.isascii() and word.isdigit() and len(word) < 4 else -1


def fault_in(value: object) -> str:
    """Name what keeps a value from being a schedule; "" if nothing does."""
    if not isinstance(value, dict) or ("cron" in value) == ("every_ms" in value):
        return "a schedule has either cron or every_ms"
    if value.get("catch_up", SKIP) not in POLICIES:
        return f"catch_up is not one of {', '.join(POLICIES)}"
    if value.get("confirmed", "host") not in ("host", "remote"):
        return "confirmed is host or remote"
    if not isinstance(value.get("tz", ""), str):
        return "tz is the name of a zone"
    if "every_ms" in value:
        is_span = is_integer(value["every_ms"], least=SHORTEST_MS)
        return "" if is_span else f"every_ms is not {SHORTEST_MS} or more"
    try:
        parse(value["cron"] if isinstance(value["cron"], str) else "")
    except ValueError as error:
        return str(error)
    return ""


def tick_id(schedule_id: str, tick_ms: int) -> bytes:
    """Bytes for the id of a tick's run: whoever reckons it, on any clone, the same."""
    return digest.sha256(f"{schedule_id}\n{tick_ms}".encode()).digest()[:16]


def next_after(
    schedule: Mapping[str, Any], begun_ms: int, after_ms: int, zone: tzinfo = UTC
) -> int | None:
    """The first tick after an instant; None when there is none any more."""
    if "every_ms" in schedule:
        every_ms = int(schedule["every_ms"])
        return begun_ms + (max(0, after_ms - begun_ms) // every_ms + 1) * every_ms
    cron = parse(schedule["cron"])
    for days in _REACHES:
        until_ms = after_ms + days * 86_400_000
        found = next(iter(_cron_ticks(cron, after_ms, until_ms, zone)), None)
        if found is not None:
            return found
    return None


def due(
    schedule: Mapping[str, Any], begun_ms: int, after_ms: int, now_ms: int, zone: tzinfo = UTC
) -> list[int]:
    """The ticks to fire now, of those after an instant and up to now, by the policy."""
    after_ms = max(after_ms, begun_ms, now_ms - _YEAR_MS)
    ticks = _ticks(schedule, begun_ms, after_ms, now_ms, zone)
    policy = schedule.get("catch_up", SKIP)
    if policy == ALL:
        return ticks[-MOST_TICKS:]
    return [tick for tick in ticks[-1:] if policy == ONCE or now_ms - tick <= LATE_MS]


def _ticks(
    schedule: Mapping[str, Any], begun_ms: int, after_ms: int, until_ms: int, zone: tzinfo
) -> list[int]:
    if "every_ms" in schedule:
        every_ms = int(schedule["every_ms"])
        first = (after_ms - begun_ms) // every_ms + 1
        last = (until_ms - begun_ms) // every_ms
        numbers = range(max(first, last - MOST_TICKS), last + 1)
        return [begun_ms + number * every_ms for number in numbers]
    return list(_cron_ticks(parse(schedule["cron"]), after_ms, until_ms, zone))


def _cron_ticks(cron: Cron, after_ms: int, until_ms: int, zone: tzinfo) -> Iterable[int]:
    """The ticks after one instant and up to another, in order."""
    # A clock that is set may move a tick over midnight, in Samoa once over a whole day.
    day = _local(after_ms, zone).date() - timedelta(days=2)
    last = _local(until_ms, zone).date() + timedelta(days=1)
    found: set[int] = set()
    while day <= last:
        if cron.has(day):
            found.update(_ticks_on(cron, day, zone))
        day += timedelta(days=1)
    return sorted(tick for tick in found if after_ms < tick <= until_ms)


def _ticks_on(cron: Cron, day: date, zone: tzinfo) -> Iterator[int]:
    midnight = datetime(day.year, day.month, day.day)
    for hour in cron.hours:
        for minute in cron.minutes:
            yield from _instants(midnight + timedelta(hours=hour, minutes=minute), cron, zone)


def _instants(wall: datetime, cron: Cron, zone: tzinfo) -> Iterator[int]:
    """When the clock of a zone shows this, or what the rules above make of it."""
    first, second = (_ms(wall.replace(tzinfo=zone, fold=fold)) for fold in (0, 1))
    if first <= second:
        yield first
        if cron.follows_clock:
            yield second
    elif not cron.follows_clock:
        yield _change_between(second, first, zone)


def _change_between(before_ms: int, after_ms: int, zone: tzinfo) -> int:
    """The instant at which a zone sets its clock, between two."""
    old = _local(before_ms, zone).utcoffset()
    while after_ms - before_ms > 1000:
        middle_ms = (before_ms + after_ms) // 2000 * 1000
        if _local(middle_ms, zone).utcoffset() == old:
            before_ms = middle_ms
        else:
            after_ms = middle_ms
    return after_ms


def _local(instant_ms: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(instant_ms / 1000, UTC).astimezone(zone)


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
