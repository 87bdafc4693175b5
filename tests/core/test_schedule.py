"""When schedules fire: cron against every minute, changes of the clock, what was missed."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.core.run import schedule

MINUTE_MS = 60_000
DAY_MS = 86_400_000
BERLIN = ZoneInfo("Europe/Berlin")
FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))


def ms(*parts: int, zone=UTC, fold: int = 0) -> int:
    return round(datetime(*parts, tzinfo=zone, fold=fold).timestamp() * 1000)


def ticks(cron: str, since: int, until: int, zone=UTC) -> list[int]:
    found = []
    while (since := schedule.next_after({"cron": cron}, 0, since, zone) or until + 1) <= until:
        found.append(since)
    return found


@st.composite
def fields(draw, low: int, high: int) -> str:
    """A field of cron: a list of values, ranges and steps."""
    parts = []
    for _ in range(draw(st.integers(1, 2))):
        start = draw(st.integers(low, high))
        end = draw(st.integers(start, high))
        step = draw(st.integers(1, 20))
        span = f"{start}-{end}"
        shapes = ["*", f"*/{step}", str(start), span, f"{span}/{step}", f"{start}/{step}"]
        parts.append(draw(st.sampled_from(shapes)))
    return ",".join(parts)


def values(field: str, low: int, high: int) -> set[int]:
    """The same, read the slow way."""
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        start, _, end = span.partition("-")
        first = low if span == "*" else int(start)
        last = high if span == "*" or (step and not end) else int(end or start)
        found |= {n for n in range(first, last + 1) if (n - first) % int(step or 1) == 0}
    return found


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(*(fields(low, high) for _, low, high in FIELDS)),
    st.integers(0, 40 * 365),
    st.integers(0, 1439),
)
def test_cron_fires_at_the_minutes_that_a_clock_going_through_all_of_them_would(words, day, minute):
    """The weekday and the day: one is enough, unless either begins with `*`."""
    since = ms(2000, 1, 1) + day * DAY_MS + minute * MINUTE_MS
    until = since + 3 * DAY_MS
    minutes, hours, days, months, weekdays = (
        values(word, low, high) for word, (_, low, high) in zip(words, FIELDS, strict=True)
    )
    is_and = words[2].startswith("*") or words[4].startswith("*")
    expected = []
    for at in range(since + MINUTE_MS, until + 1, MINUTE_MS):
        now = datetime.fromtimestamp(at / 1000, UTC)
        fits = now.day in days, now.isoweekday() % 7 in {d % 7 for d in weekdays}
        is_day = all(fits) if is_and else any(fits)
        if now.minute in minutes and now.hour in hours and now.month in months and is_day:
            expected.append(at)

    found = schedule.parse(" ".join(words))

    assert list(schedule._cron_ticks(found, since, until, UTC)) == expected


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["*", "*/2", "1-3", "2", "0,23"]), st.integers(0, 59), st.booleans())
def test_where_the_clock_is_set_the_rules_hold_for_every_minute(hour, minute, is_spring):
    """By going through every minute of the day before and after, with what the clock shows."""
    day = datetime(2026, 3, 29, tzinfo=UTC) if is_spring else datetime(2026, 10, 25, tzinfo=UTC)
    since = round(day.timestamp() * 1000) - DAY_MS
    until = since + 3 * DAY_MS
    hours, follows = values(hour, 0, 23), hour.startswith("*")
    expected, seen, before = [], set(), None
    for at in range(since, until + 1, MINUTE_MS):
        now = datetime.fromtimestamp(at / 1000, BERLIN).replace(tzinfo=None)
        skipped = [] if before is None else _minutes(before + timedelta(minutes=1), now)
        is_due = now.minute == minute and now.hour in hours and (follows or now not in seen)
        is_late = not follows and any(m.minute == minute and m.hour in hours for m in skipped)
        if (is_due or is_late) and since < at:
            expected.append(at)
        seen.add(now)
        before = now

    found = schedule.parse(f"{minute} {hour} * * *")

    assert list(schedule._cron_ticks(found, since, until, BERLIN)) == expected


def _minutes(first: datetime, end: datetime) -> list[datetime]:
    count = max(0, round((end - first).total_seconds() / 60))
    return [first + timedelta(minutes=n) for n in range(count)]


@pytest.mark.parametrize(
    ("cron", "year", "expected"),
    [
        ("30 2 * * *", (2026, 3, 29), ms(2026, 3, 29, 3, 0, zone=BERLIN)),
        ("30 2 * * *", (2026, 10, 25), ms(2026, 10, 25, 2, 30, zone=BERLIN)),
        ("0 0 29 2 *", (2097, 1, 1), ms(2104, 2, 29, zone=BERLIN)),
        ("@yearly", (2026, 1, 2), ms(2027, 1, 1, zone=BERLIN)),
        ("0 9 13 * FRI", (2026, 2, 1), ms(2026, 2, 6, 9, zone=BERLIN)),
        ("0 9 * jan-mar mon", (2026, 3, 31), ms(2027, 1, 4, 9, zone=BERLIN)),
        ("0 12 * * 7", (2026, 1, 1), ms(2026, 1, 4, 12, zone=BERLIN)),
    ],
)
def test_the_next_tick_is_found_however_far_it_is(cron, year, expected):
    assert schedule.next_after({"cron": cron}, 0, ms(*year, zone=BERLIN), BERLIN) == expected


def test_a_day_that_a_zone_left_out_fires_when_it_is_over():
    """Samoa had no 30 December 2011."""
    apia = ZoneInfo("Pacific/Apia")
    cron = schedule.parse("0 12 30 12 *")
    since = ms(2011, 12, 29, zone=apia)

    found = list(schedule._cron_ticks(cron, since, since + 3 * DAY_MS, apia))

    assert found == [ms(2011, 12, 31, zone=apia)]


def test_a_schedule_that_never_fires_has_no_next_tick():
    assert schedule.next_after({"cron": "0 0 31 2 *"}, 0, ms(2026, 1, 1)) is None


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "5-1 * * * *", "*/0 * * * *", "* * * foo *", "@often",
     "1- * * * *", "* * 0 * *", "-1 * * * *", "* * * * 8", "1,,2 * * * *", "*/x * * * *"],
)  # fmt: skip
def test_what_is_no_cron_is_named(text):
    assert schedule.fault_in({"cron": text})


BEGUN = ms(2026, 1, 1)


@pytest.mark.parametrize(
    ("policy", "now", "expected"),
    [
        ("skip", 240, [240]), ("skip", 245, [240]), ("skip", 246, []),
        ("once", 240, [240]), ("once", 299, [240]), ("all", 299, [60, 120, 180, 240]),
        ("all", 59, []), ("once", 59, []),
    ],
)  # fmt: skip
@pytest.mark.parametrize("plan", [{"cron": "0 * * * *"}, {"every_ms": 60 * MINUTE_MS}])
def test_missed_ticks_are_made_up_for_by_the_policy(plan, policy, now, expected):
    at_ms = BEGUN + now * MINUTE_MS
    found = schedule.due({**plan, "catch_up": policy}, BEGUN, BEGUN, at_ms)

    assert [(at - BEGUN) // MINUTE_MS for at in found] == expected


@given(st.integers(1000, 10**7), st.lists(st.integers(0, 10**8), min_size=1, max_size=6))
def test_however_often_one_looks_each_tick_of_a_span_is_fired_once(every_ms, looks):
    plan = {"every_ms": every_ms, "catch_up": "all"}
    fired, through = [], BEGUN
    for now in sorted(BEGUN + look for look in looks):
        fired += schedule.due(plan, BEGUN, through, now)
        through = now

    assert len(fired) == len(set(fired))
    assert set(schedule.due(plan, BEGUN, BEGUN, through)) <= set(fired)


def test_a_tick_has_one_id_wherever_it_is_reckoned():
    assert schedule.tick_id("run-a", 60_000) == schedule.tick_id("run-a", 60_000)
    assert len({schedule.tick_id(name, at) for name in "ab" for at in (1, 2)}) == 4
