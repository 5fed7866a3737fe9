"""The small mathematics beneath the engine: distributions, business time, money."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from salesgauge.metrics.measures import buckets as distribution
from salesgauge.metrics.measures.survival import kaplan_meier as kaplan_meier_steps
from salesgauge.metrics.measures.survival import median
from salesgauge.metrics.rules.calendars import BusinessCalendar
from salesgauge.metrics.rules.model import CalendarRule, CurrencyRate, Rules, UnknownCurrencyError
from salesgauge.metrics.rules.windows import WINDOWS
from tests.support.oracle import kaplan_meier, quantile

ERROR = distribution.RELATIVE_ERROR * (1 + 1e-6)
WAITS = st.integers(0, 400 * 86_400_000)
MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


def counted(samples: list[int]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for sample in samples:
        code = distribution.code_of(sample)
        counts[code] = counts.get(code, 0) + 1
    return counts


# --- distributions


@given(WAITS)
def test_a_bucket_holds_its_samples(ms: int) -> None:
    code = distribution.code_of(ms)
    assert abs(distribution.representative(code) - ms) <= ms * ERROR
    assert ms / 1000 <= distribution.upper_bound(code) * (1 + 1e-9)
    if ms > 1:
        assert distribution.upper_bound(code - 1) * (1 - 1e-9) < ms / 1000


@given(st.lists(WAITS, min_size=1, max_size=60), st.sampled_from([0.0, 0.1, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_the_error_of_the_exact_one(samples: list[int], q: float) -> None:
    got = distribution.quantile(counted(samples), q)
    exact = quantile(sorted(samples), q)
    assert got is not None
    assert abs(got - exact) <= exact * ERROR + 1e-6


@given(st.lists(WAITS), st.lists(WAITS))
def test_distributions_merge_and_are_taken_back_exactly(some: list[int], others: list[int]) -> None:
    merged = counted(some + others)
    for code, count in counted(others).items():
        merged[code] -= count
    assert {code: count for code, count in merged.items() if count} == counted(some)


def test_there_is_no_quantile_of_nothing() -> None:
    assert distribution.quantile({}, 0.5) is None


@given(st.lists(WAITS, max_size=40), st.lists(WAITS, max_size=40))
def test_kaplan_meier_equals_the_textbook(happened: list[int], censored: list[int]) -> None:
    steps = kaplan_meier_steps(Counter(happened), Counter(censored))
    assert median(steps).time == kaplan_meier(happened, censored)
    assert [step.time for step in steps] == sorted(set(happened))
    for step in steps:
        assert step.at_risk == sum(time >= step.time for time in happened + censored)
        if step.low is not None and step.high is not None:
            assert step.low <= step.survival <= step.high


def test_kaplan_meier_of_the_textbooks_leukaemia_patients() -> None:
    """Freireich and others 1963, 6-MP group: 21 patients, 9 relapses; the median is 23 weeks (from 13 on)."""
    relapsed = Counter([6, 6, 6, 7, 10, 13, 16, 22, 23])
    censored = Counter([6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35])
    steps = kaplan_meier_steps(relapsed, censored)
    assert [round(step.survival, 3) for step in steps] == [0.857, 0.807, 0.753, 0.69, 0.627, 0.538, 0.448]
    assert (median(steps).time, median(steps).low, median(steps).high) == (23, 13, None)


def test_kaplan_meier_with_ties_and_its_band() -> None:
    """Minutes 5 5 12 12+ 20 30+ 45 60+, where + still waits."""
    steps = kaplan_meier_steps(Counter([5, 5, 12, 20, 45]), Counter([12, 30, 60]))
    shown = [
        (s.time, s.at_risk, s.happened, f"{s.survival:.3f}", f"{s.variance:.4f}", f"{s.low:.3f}-{s.high:.3f}")
        for s in steps
    ]
    assert shown == [
        (5, 8, 2, "0.750", "0.0417", "0.315-0.931"),
        (12, 6, 1, "0.625", "0.0750", "0.229-0.861"),
        (20, 4, 1, "0.469", "0.1583", "0.120-0.763"),
        (45, 2, 1, "0.234", "0.6583", "0.013-0.616"),
    ]
    assert (median(steps).time, median(steps).low, median(steps).high) == (20, 5, None)


def test_there_is_no_median_where_half_still_wait() -> None:
    assert median(kaplan_meier_steps({}, {1: 1, 2: 2})).time is None
    assert median(kaplan_meier_steps({9: 1}, {9: 2})).time is None


# --- business time

ZONES = st.sampled_from(
    ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Caracas",
     "Pacific/Apia"]
)  # fmt: skip
INSTANTS = st.integers(1_700_000_000_000, 1_800_000_000_000)
CHANGES = {
    "Europe/Berlin": ["2025-03-30T00:00", "2025-10-26T00:00"],
    "America/New_York": ["2025-03-09T00:00", "2025-11-02T00:00"],
    "Australia/Lord_Howe": ["2025-04-06T00:00", "2025-10-05T00:00"],
    "America/Caracas": ["2007-12-09T00:00", "2016-05-01T00:00"],
    "Pacific/Apia": ["2011-12-29T00:00", "2012-04-01T00:00"],
    "Europe/Amsterdam": ["1937-07-01T00:00", "1932-05-22T00:00"],
}
"""Local days around which the clocks were changed; one of them does not exist in Samoa, some offsets have seconds."""
SPANS = st.integers(0, 21 * DAY)
WEEKS = st.sampled_from(
    [
        {"mon-fri": "09:00-17:00"},
        {"mon-fri": "09:00-12:00, 13:00-17:00", "sat": "10:00-14:00"},
        {"mon-sun": "22:00-06:00"},
        {"mon-sun": "00:00-24:00"},
        {"sat-sun": "01:30-02:30, 20:00-24:00", "mon": "00:00-00:30, 02:15-02:45"},
    ]
)


def calendar(zone: str, country: str = "", hours: dict[str, str] | None = None, **more: Any) -> BusinessCalendar:
    rule = CalendarRule(zone=zone, holidays=country, hours=hours or {"mon-fri": "09:00-17:00"}, **more)
    return Rules(calendar=rule).calendar_of("")


@given(ZONES, st.sampled_from(["", "DE", "US"]), WEEKS, INSTANTS, SPANS, SPANS)
def test_business_time_adds_up(
    zone: str, country: str, week: dict[str, str], start: int, first: int, second: int
) -> None:
    c = calendar(zone, country, week)
    middle, end = start + first, start + first + second
    assert c.between(start, end) == c.between(start, middle) + c.between(middle, end)
    assert 0 <= c.between(start, end) <= end - start
    assert c.between(end, start) == 0


@given(ZONES, st.sampled_from(["", "DE"]), WEEKS, INSTANTS, st.integers(1, 80 * HOUR))
def test_adding_and_subtracting_business_time_are_the_inverses_of_measuring_it(
    zone: str, country: str, week: dict[str, str], at: int, work: int
) -> None:
    c = calendar(zone, country, week)
    end, start = c.add(at, work), c.subtract(at, work)
    assert c.between(at, end) == work == c.between(start, at)
    assert c.between(at, end - 1) < work > c.between(start + 1, at)


@given(st.data(), WEEKS, st.integers(-2 * 1440, 2 * 1440), st.integers(0, 3 * 1440))
def test_business_time_equals_counting_half_minutes_around_changes_of_the_clocks(
    data: st.DataObject, week: dict[str, str], offset: int, minutes: int
) -> None:
    """A half minute is at work if its local time of day is in a span of its local day, or of the one before."""
    zone = data.draw(st.sampled_from(sorted(CHANGES)))
    day = data.draw(st.sampled_from(CHANGES[zone]))
    start = instant(day, zone) // MINUTE * MINUTE + offset * MINUTE
    half = MINUTE // 2
    at_work = sum(_is_at_work(at, zone, week) for at in range(start, start + minutes * MINUTE, half)) * half
    got = calendar(zone, hours=week).between(start, start + minutes * MINUTE)
    # Where an offset has seconds, the spans begin within a half minute.
    assert abs(got - at_work) <= (0 if zone != "Europe/Amsterdam" else 40 * half)


def _is_at_work(at: int, zone: str, week: dict[str, str]) -> bool:
    local = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    for begun in (local.date(), local.date() - timedelta(1)):
        for text in _hours(week, begun.weekday()).split(", "):
            opens, _, closes = text.partition("-")
            first, last = _after(begun, opens), _after(begun, closes)
            if first <= local < (last if last > first else last + timedelta(1)):
                return True
    return False


def _hours(week: dict[str, str], weekday: int) -> str:
    days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
    for name, hours in week.items():
        first, _, last = name.partition("-")
        if days.index(first) <= weekday <= days.index(last or first):
            return hours
    return "closed-closed"


def _after(day: date, text: str) -> datetime:
    if text == "closed":
        return datetime.combine(day + timedelta(9), time())
    hour, minute = map(int, text.split(":"))
    return datetime.combine(day, time()) + timedelta(hours=hour, minutes=minute)


def instant(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-06-01", 24)], ids=["spring", "autumn", "summer"]
)
def test_a_calendar_that_is_always_open_sees_the_real_length_of_days(day: str, hours: int) -> None:
    everyday = calendar("Europe/Berlin", hours={"mon-sun": "00:00-24:00"})
    start = instant(day, "Europe/Berlin")
    assert everyday.between(start, start + hours * HOUR) == hours * HOUR


@pytest.mark.parametrize(
    ("hours", "start", "target", "due"),
    [
        # The rest of Friday, then Saturday from ten.
        ({"mon-fri": "09:00-12:00, 13:00-17:00", "sat": "10:00-14:00"}, "2025-06-06T16:30", 2, "2025-06-07T11:30"),
        # Six and a half hours of Tuesday's night, one and a half of Wednesday's.
        ({"mon-sun": "22:00-06:00"}, "2025-06-03T23:30", 8, "2025-06-04T23:30"),
        # Over lunch.
        ({"mon-fri": "09:00-12:00, 13:00-17:00"}, "2025-06-06T11:30", 1, "2025-06-06T13:30"),
        # A night that begins on Friday; the one of Saturday is free.
        ({"mon-fri": "22:00-06:00"}, "2025-06-06T23:00", 9, "2025-06-10T00:00"),
        # The night in which an hour is left out, and that in which one comes twice.
        ({"mon-sun": "22:00-06:00"}, "2025-03-29T22:00", 7, "2025-03-30T06:00"),
        ({"mon-sun": "22:00-06:00"}, "2025-10-25T22:00", 9, "2025-10-26T06:00"),
    ],
)
def test_when_business_hours_have_passed(hours: dict[str, str], start: str, target: int, due: str) -> None:
    c = calendar("Europe/Berlin", hours=hours)
    assert c.add(instant(start, "Europe/Berlin"), target * HOUR) == instant(due, "Europe/Berlin")


def test_public_holidays_own_ones_and_exceptions() -> None:
    german = calendar("Europe/Berlin", "DE")
    easter = instant("2025-04-17T16:00", "Europe/Berlin"), instant("2025-04-22T10:00", "Europe/Berlin")
    assert german.between(*easter) == 2 * HOUR  # Thursday until 17:00, Tuesday from 9:00: Friday and Monday are closed
    assert calendar("Europe/Berlin").between(*easter) == 2 * HOUR + 2 * 8 * HOUR
    bavarian = calendar("Europe/Berlin", "DE-BY")
    epiphany = instant("2025-01-06T00:00", "Europe/Berlin")
    assert bavarian.between(epiphany, epiphany + DAY) == 0
    assert german.between(epiphany, epiphany + DAY) == 8 * HOUR
    own = calendar("Europe/Berlin", extra_holidays=frozenset({date(2025, 1, 7)}))
    assert own.between(epiphany, epiphany + 2 * DAY) == 8 * HOUR
    short = calendar("Europe/Berlin", "DE-BY", exceptions={date(2025, 1, 6): "10:00-12:00", date(2025, 1, 7): "closed"})
    assert short.between(epiphany, epiphany + 2 * DAY) == 2 * HOUR


@pytest.mark.parametrize(
    ("short", "hours"),
    [
        ({"opens": "22:00", "closes": "06:00"}, {"mon-fri": "22:00-06:00"}),
        ({"opens": "00:00", "closes": "24:00"}, {"mon-fri": "00:00-24:00"}),
        ({"opens": "09:00", "closes": "00:00", "weekdays": [5]}, {"sat": "09:00-24:00"}),
    ],
)
def test_one_span_for_all_days_may_be_written_shorter(short: dict[str, Any], hours: dict[str, str]) -> None:
    assert CalendarRule.model_validate(short).working_hours == CalendarRule(hours=hours).working_hours


# --- calendar windows


@given(st.sampled_from(["today", "mtd", "qtd"]), ZONES, INSTANTS)
def test_calendar_windows_begin_at_a_local_midnight(name: str, zone: str, now: int) -> None:
    start = WINDOWS[name].start(now, ZoneInfo(zone))
    assert start is not None
    local = datetime.fromtimestamp(start / 1000, UTC).astimezone(ZoneInfo(zone))
    end = datetime.fromtimestamp(now / 1000, UTC).astimezone(ZoneInfo(zone))
    assert start <= now
    assert (local.hour, local.minute, local.second) == (0, 0, 0)
    assert (local.year, (local.month - 1) // 3) == (end.year, (end.month - 1) // 3)
    if name == "today":
        assert local.date() == end.date()
    else:
        assert local.day == 1
        assert local.month == end.month if name == "mtd" else local.month in (1, 4, 7, 10)


# --- money

AMOUNTS = st.integers(-(10**15), 10**15)
"""Millionths of a major unit."""


@given(AMOUNTS, st.integers(0, 6))
def test_amounts_are_rounded_half_to_even_once(micros: int, places: int) -> None:
    got = Rules(decimals=places).minor(micros, "", 0)
    exact = Decimal(micros).scaleb(places - 6)
    assert got == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.mark.parametrize(("amount", "cents"), [("0.005", 0), ("0.015", 2), ("0.025", 2), ("-0.005", 0), ("-0.015", -2)])
def test_half_cents(amount: str, cents: int) -> None:
    assert Rules(decimals=2).minor(int(Decimal(amount) * 1_000_000), "EUR", 0) == cents


RATES = Rules(
    decimals=2,
    zone="Europe/Berlin",
    rates=(
        CurrencyRate(currency="usd", rate=Decimal("0.90"), since=date(2025, 1, 1)),
        CurrencyRate(currency="USD", rate=Decimal("0.95"), since=date(2025, 3, 1)),
        CurrencyRate(currency="JPY", rate=Decimal("0.0062")),
    ),
)


@pytest.mark.parametrize(
    ("at", "cents"),
    [
        ("2025-01-01T00:00", 9000),  # the first day of the first rate, in the business's zone
        ("2025-02-28T23:59", 9000),
        ("2025-03-01T00:00", 9500),
        ("2030-01-01T00:00", 9500),
    ],
)
def test_the_rate_of_the_day_in_the_business_zone_holds(at: str, cents: int) -> None:
    assert RATES.minor(100_000_000, "USD", instant(at, "Europe/Berlin")) == cents


def test_without_a_rate_nothing_is_converted() -> None:
    before = instant("2024-12-31T23:59", "Europe/Berlin")
    assert not RATES.knows("USD", before)
    with pytest.raises(UnknownCurrencyError, match="rates"):
        RATES.minor(1, "USD", before)
    with pytest.raises(UnknownCurrencyError):
        RATES.minor(1, "GBP", 0)


@given(AMOUNTS, st.decimals("0.0001", "1000", places=4))
def test_conversion_is_exact_before_it_is_rounded(micros: int, rate: Decimal) -> None:
    assume(rate > 0)
    rules = Rules(decimals=2, rates=(CurrencyRate(currency="XAU", rate=rate),))
    assert rules.minor(micros, "XAU", 0) == round(Fraction(micros) * Fraction(rate) / 10_000)


def test_windows_of_a_zone_off_the_hour_get_finer_panes() -> None:
    assert Rules(zone="America/Caracas").coarse_ms == 30 * 60_000  # until 2016
    assert Rules(zone="Asia/Kathmandu").coarse_ms == 15 * 60_000
    assert Rules(zone="Asia/Kolkata").coarse_ms == 30 * 60_000
    assert Rules(zone="Europe/Berlin").coarse_ms == HOUR
    assert Rules(fine_retention=timedelta(hours=49)).coarse_ms == HOUR
