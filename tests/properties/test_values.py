"""The small mathematics beneath the engine: distributions, business time, money."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from salesgauge.metrics.measures import buckets as distribution
from salesgauge.metrics.rules.calendars import BusinessCalendar, Hours
from salesgauge.metrics.rules.model import CurrencyRate, Rules, UnknownCurrencyError
from salesgauge.metrics.windows.sums import WINDOWS
from tests.support.oracle import kaplan_meier, quantile

ERROR = distribution.RELATIVE_ERROR * (1 + 1e-6)
WAITS = st.integers(0, 400 * 86_400_000)
HOUR, DAY = 3_600_000, 86_400_000


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
    assert distribution.kaplan_meier_median({}, {}, [1, 2, 3]) is None


@given(st.lists(WAITS, max_size=40), st.lists(WAITS, max_size=20), st.lists(WAITS, max_size=40))
def test_kaplan_meier_equals_the_textbook(ended: list[int], left: list[int], waiting: list[int]) -> None:
    def shown(times: list[int]) -> list[float]:
        return [distribution.representative(distribution.code_of(ms)) for ms in times]

    got = distribution.kaplan_meier_median(counted(ended), counted(left), waiting)
    assert got == pytest.approx(kaplan_meier(shown(ended), [*shown(left), *waiting]))


def test_kaplan_meier_of_the_textbooks_leukaemia_patients() -> None:
    """Freireich and others 1963, 6-MP group: 21 patients, 9 relapses; the median is 23 weeks."""
    week = 7 * DAY
    relapsed = [week * w for w in (6, 6, 6, 7, 10, 13, 16, 22, 23)]
    censored = [week * w for w in (6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35)]
    median = distribution.kaplan_meier_median(counted(relapsed), {}, censored)
    assert median == pytest.approx(23 * week, rel=ERROR)


# --- business time

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
INSTANTS = st.integers(1_700_000_000_000, 1_800_000_000_000)
SPANS = st.integers(0, 21 * DAY)


def calendar(zone: str, country: str = "", opens: time = time(9), closes: time = time(17)) -> BusinessCalendar:
    return BusinessCalendar(ZoneInfo(zone), Hours(opens, closes), frozenset(range(5)), country)


@given(ZONES, st.sampled_from(["", "DE", "US"]), INSTANTS, SPANS, SPANS)
def test_business_time_adds_up(zone: str, country: str, start: int, first: int, second: int) -> None:
    c = calendar(zone, country)
    middle, end = start + first, start + first + second
    assert c.between(start, end) == c.between(start, middle) + c.between(middle, end)
    assert 0 <= c.between(start, end) <= end - start
    assert c.between(end, start) == 0


@given(ZONES, st.sampled_from(["", "DE"]), INSTANTS, st.integers(1, 80 * HOUR))
def test_adding_business_time_is_the_inverse_of_measuring_it(zone: str, country: str, start: int, work: int) -> None:
    c = calendar(zone, country)
    end = c.add(start, work)
    assert c.between(start, end) == work
    assert c.between(start, end - 1) < work


@given(ZONES, INSTANTS, st.integers(0, 3 * DAY))
def test_business_time_equals_counting_minutes(zone: str, start: int, span: int) -> None:
    start, span = start // 60_000 * 60_000, span // 60_000 * 60_000
    at_work = 0
    for minute in range(start, start + span, 60_000):
        local = datetime.fromtimestamp(minute / 1000, UTC).astimezone(ZoneInfo(zone))
        at_work += local.weekday() < 5 and 9 <= local.hour < 17
    assert calendar(zone).between(start, start + span) == at_work * 60_000


def instant(text: str, zone: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "hours"), [("2025-03-30", 23), ("2025-10-26", 25), ("2025-06-01", 24)], ids=["spring", "autumn", "summer"]
)
def test_a_calendar_that_is_open_all_night_sees_the_real_length_of_days(day: str, hours: int) -> None:
    everyday = BusinessCalendar(ZoneInfo("Europe/Berlin"), Hours(time(0, 0), time(23, 59, 59)), frozenset(range(7)))
    start = instant(day, "Europe/Berlin")
    assert everyday.between(start, start + hours * HOUR) == hours * HOUR - 1000


def test_public_holidays_and_own_ones_are_closed() -> None:
    zone = ZoneInfo("Europe/Berlin")
    german = calendar("Europe/Berlin", "DE")
    easter = instant("2025-04-17T16:00", "Europe/Berlin"), instant("2025-04-22T10:00", "Europe/Berlin")
    assert german.between(*easter) == 2 * HOUR  # Thursday until 17:00, Tuesday from 9:00: Friday and Monday are closed
    assert calendar("Europe/Berlin").between(*easter) == 2 * HOUR + 2 * 8 * HOUR
    bavarian = calendar("Europe/Berlin", "DE-BY")
    epiphany = instant("2025-01-06T00:00", "Europe/Berlin")
    assert bavarian.between(epiphany, epiphany + DAY) == 0
    assert german.between(epiphany, epiphany + DAY) == 8 * HOUR
    own = BusinessCalendar(zone, Hours(time(9), time(17)), frozenset(range(5)), "", frozenset({date(2025, 1, 7)}))
    assert own.between(epiphany, epiphany + 2 * DAY) == 8 * HOUR


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
    assert Rules(zone="Asia/Kathmandu").coarse_ms == 15 * 60_000
    assert Rules(zone="Asia/Kolkata").coarse_ms == 30 * 60_000
    assert Rules(zone="Europe/Berlin").coarse_ms == HOUR
    assert Rules(fine_retention=timedelta(hours=49)).coarse_ms == HOUR
