"""The rules of the business that give events their meaning: time zone, SLA, calendars, currency, tiers.

Rules are an argument of the engine, like time. The same events under other rules are other KPIs, so a changed rule
is applied to the past by a replay or a rebuild.
"""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from salesgauge.metrics.measures.registry import MEASURES
from salesgauge.metrics.rules.calendars import BusinessCalendar, Hours, holiday_dates

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MICROS = 1_000_000


def zone_of(name: str) -> tzinfo:
    """The time zone ``name``.

    Raises:
        ValueError: there is no such zone.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin") from error


class UnknownCurrencyError(ValueError):
    """An amount in a currency for which the configured table has no rate at that date."""


def _currency(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{3}", value.strip()):
        raise ValueError(f"{value!r} is not a currency code; write three letters, such as EUR")
    return value.strip().upper()


def _zone(value: str) -> str:
    zone_of(value)
    return value


Zone = Annotated[str, AfterValidator(_zone)]
"""The name of an IANA time zone."""

Currency = Annotated[str, AfterValidator(_currency)]
"""An ISO 4217 code."""


def _seconds(value: Any) -> Any:
    """A number in a text, as variables have it, is one."""
    return float(value) if isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d+)?", value) else value


_SECONDS = BeforeValidator(_seconds)


class CurrencyRate(BaseModel):
    """One unit of ``currency`` is ``rate`` units of the reporting currency, from ``since`` on."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    currency: Currency
    rate: Annotated[Decimal, Field(gt=0)]
    since: date = date.min


class CalendarRule(BaseModel):
    """Working hours of a team (or of all): local times in ``zone``, on ``weekdays`` (0 is Monday), without holidays.

    ``holidays`` names a country or a country and subdivision of the `holidays` package (``DE``, ``DE-BY``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    zone: Zone = "UTC"
    """Time zone of the business hours. Unset: `rules.zone`."""
    opens: time = time(9)
    """Start of the business hours, local time."""
    closes: time = time(17)
    """End of the business hours, local time."""
    weekdays: frozenset[Annotated[int, Field(ge=0, le=6)]] = frozenset(range(5))
    """Working days. Monday is 0."""
    holidays: str = ""
    """Country, or country and subdivision, whose public holidays are free: `DE`, `DE-BY`."""
    extra_holidays: frozenset[date] = frozenset()
    """More free days, as dates."""

    @field_validator("holidays")
    @classmethod
    def _known_country(cls, value: str) -> str:
        holiday_dates(value, (2024,))
        return value

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _local(cls, value: Any) -> Any:
        """Numbers would be seconds since midnight in UTC; ``9:00`` is as good as ``09:00``."""
        if isinstance(value, int | float):
            raise ValueError(f"{value} is not a time of day; write it as '09:00'")  # noqa: TRY004 - pydantic wants it
        return f"0{value}" if isinstance(value, str) and re.match(r"\d:", value) else value

    @field_validator("opens", "closes")
    @classmethod
    def _without_zone(cls, value: time) -> time:
        if value.tzinfo is not None:
            raise ValueError("has a zone of its own; write it as '09:00', and set `zone` of the calendar")
        return value

    @field_validator("weekdays")
    @classmethod
    def _some_day(cls, value: frozenset[int]) -> frozenset[int]:
        if not value:
            raise ValueError("is empty; write it as [0, 1, 2, 3, 4] for Monday to Friday")
        return value

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.closes <= self.opens:
            raise ValueError(f"closes ({self.closes:%H:%M}) must come after opens ({self.opens:%H:%M})")
        return self


class CommissionTier(BaseModel):
    """``rate`` of the revenue that lies above ``attainment`` times the quota, up to the next tier."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    attainment: Annotated[float, Field(ge=0)] = 0.0
    rate: Annotated[float, Field(ge=0, le=1)]


class Rules(BaseModel):
    """All rules, with defaults that suit a small European sales team."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    zone: Zone = "UTC"
    """Business time zone. It applies to calendar windows and to dates without a zone."""
    response_sla: Annotated[timedelta, Field(gt=timedelta(0)), _SECONDS] = timedelta(minutes=15)
    """A lead should be answered by a person within this time after its creation."""
    sla_in_business_hours: bool = False
    """Whether the SLA clock stops outside business hours."""
    contact_includes_automated: bool = True
    """Whether an automated outbound message counts as contact. It never counts as a response."""
    calendar: CalendarRule = CalendarRule()
    team_calendars: Mapping[str, CalendarRule] = {}
    """Business hours of single teams: team → calendar."""
    roster: Mapping[str, str] = {}
    """The team of each rep: rep → team. Used when an event names a rep but no team."""
    currency: Currency = "EUR"
    """Reporting currency. Amounts without a currency are in it."""
    decimals: Annotated[int, Field(ge=0, le=6)] = 6
    """Decimal places of amounts. Each deal line and each event is rounded once, then added up. 2 rounds like an
    invoice. A total may reach 9.2e18 units of the last place, so fewer places allow larger totals."""
    rates: tuple[CurrencyRate, ...] = ()
    """Exchange rates: list of `{currency, rate, since}`. From the date `since` on, one unit of `currency` is `rate`
    units of the reporting currency."""
    growth_target: Annotated[float, Field(allow_inf_nan=False)] = 0.1
    """Growth that the quota calculator assumes: it suggests the trailing revenue times (1 + this)."""
    commission_tiers: tuple[CommissionTier, ...] = (
        CommissionTier(attainment=0.0, rate=0.05),
        CommissionTier(attainment=1.0, rate=0.08),
        CommissionTier(attainment=1.5, rate=0.10),
    )
    """Commission tiers, list of `{attainment, rate}`: the rate applies to the revenue above this attainment of the
    quota, up to the next tier."""
    max_future: Annotated[timedelta, Field(ge=timedelta(0)), _SECONDS] = timedelta(minutes=5)
    """Events further in the future are refused (`future`)."""
    fine_retention: Annotated[timedelta, Field(ge=timedelta(hours=49)), _SECONDS] = timedelta(hours=49)
    """How long minute panes are kept. At least 49 h: windows up to 24 h and the window before need them, on a day of
    25 h too."""
    coarse_retention: Annotated[timedelta, Field(ge=timedelta(days=731)), _SECONDS] = timedelta(days=731)
    """How long hour panes are kept. At least 731 days: windows up to a year and the year before need them. Older panes
    are added to a base sum."""
    label_ceiling: Annotated[int, Field(ge=1)] = 100
    """Greatest number of label values per breakdown. The smaller ones beyond it are added up as ``other``."""
    unredacted: frozenset[str] = frozenset()
    """Dimensions whose label values may be e-mail addresses or telephone numbers, such as ``rep``. Elsewhere these are
    shown as ``redacted`` ([what labels show](operations.md#what-labels-show))."""
    skip: frozenset[str] = frozenset()
    """What is not to count: ids of events (dead letters with the reason `skipped`), and entities such as `lead/4711`,
    which add nothing. For the one that harms until its cause is mended."""
    deal_origin: Literal["first", "last"] = "first"
    """Which of the leads that a deal had says where it came from and when its cycle began."""
    max_facts: Annotated[int, Field(ge=100)] = 50_000
    """Greatest number of facts that one entity keeps. Further events are refused (`entity_full`)."""

    @field_validator("unredacted")
    @classmethod
    def _known_dimensions(cls, value: frozenset[str]) -> frozenset[str]:
        known = {dim for measure in MEASURES.values() for dim in measure.dims}
        if unknown := value - known:
            raise ValueError(f"{min(unknown)!r} is not a dimension; there are {', '.join(sorted(known))}")
        return value

    @field_validator("rates")
    @classmethod
    def _one_rate_at_a_time(cls, value: tuple[CurrencyRate, ...]) -> tuple[CurrencyRate, ...]:
        for (currency, since), count in Counter((rate.currency, rate.since) for rate in value).items():
            if count > 1:
                day = "ever" if since == date.min else f"{since}"
                raise ValueError(f"{currency} has {count} rates since {day}; give each its own date `since`")
        return value

    @field_validator("commission_tiers")
    @classmethod
    def _sorted_tiers(cls, value: tuple[CommissionTier, ...]) -> tuple[CommissionTier, ...]:
        for attainment, count in Counter(tier.attainment for tier in value).items():
            if count > 1:
                raise ValueError(f"{count} tiers begin at the attainment {attainment:g}; only one is possible")
        return tuple(sorted(value, key=lambda tier: tier.attainment))

    @model_validator(mode="after")
    def _no_rate_of_its_own(self) -> Self:
        if any(rate.currency == self.currency and rate.rate != 1 for rate in self.rates):
            raise ValueError(f"rates must not have one for {self.currency}: it is the reporting currency (`currency`)")
        return self

    @cached_property
    def tz(self) -> tzinfo:
        """The business time zone."""
        return zone_of(self.zone)

    @cached_property
    def sla_ms(self) -> int:
        """The response SLA in milliseconds."""
        return self.response_sla // timedelta(milliseconds=1)

    @cached_property
    def max_future_ms(self) -> int:
        """How far ahead of the clock an event may lie, in milliseconds."""
        return self.max_future // timedelta(milliseconds=1)

    @cached_property
    def coarse_ms(self) -> int:
        """Size of a coarse pane: an hour, or less where the zone's midnights do not fall on UTC hours."""
        offsets = {_offset_ms(self.tz, month) % HOUR for month in range(1, 13)} | {HOUR}
        for size in (HOUR, HOUR // 2, HOUR // 4):
            if all(offset % size == 0 for offset in offsets):
                return size
        return MINUTE * 5

    def team_of(self, rep: str) -> str:
        """The team of a rep that no event names a team for."""
        return self.roster.get(rep, "")

    def calendar_of(self, team: str) -> BusinessCalendar:
        """The business calendar of a team."""
        return self._calendars.get(team) or self._default_calendar

    def deadline(self, created: int, team: str) -> int:
        """The instant (ms) until which a lead created at ``created`` (ms) is to be answered."""
        if self.sla_in_business_hours:
            return self.calendar_of(team).add(created, self.sla_ms)
        return created + self.sla_ms

    def knows(self, currency: str, at: int) -> bool:
        """Whether an amount in ``currency`` at ``at`` (ms) can be converted."""
        return not currency or currency == self.currency or self._rate(currency, at) is not None

    def minor(self, micros: int, currency: str, at: int) -> int:
        """An amount in millionths of a major unit in the reporting currency's units of the last of :attr:`decimals`.

        It is rounded half to even.

        Raises:
            UnknownCurrencyError: the table has no rate for that currency and date.
        """
        if not currency or currency == self.currency:
            return _scale(micros, self.decimals)
        rate = self._rate(currency, at)
        if rate is None:
            raise UnknownCurrencyError(f"no rate for {currency}; add it to `rates` in the settings")
        scaled = Decimal(micros) * rate * (10**self.decimals) / MICROS
        return int(scaled.quantize(Decimal(1), ROUND_HALF_EVEN))

    def _rate(self, currency: str, at: int) -> Decimal | None:
        table = self._rates.get(currency)
        if table is None:
            return None
        days, rates = table
        day = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=at)).astimezone(self.tz).date()
        index = bisect.bisect_right(days, day) - 1
        return rates[index] if index >= 0 else None

    @cached_property
    def _rates(self) -> dict[str, tuple[list[date], list[Decimal]]]:
        tables: dict[str, tuple[list[date], list[Decimal]]] = {}
        for rate in sorted(self.rates, key=lambda r: r.since):
            days, rates = tables.setdefault(rate.currency, ([], []))
            days.append(rate.since)
            rates.append(rate.rate)
        return tables

    @cached_property
    def _calendars(self) -> dict[str, BusinessCalendar]:
        return {team: _calendar(rule) for team, rule in self.team_calendars.items()}

    @cached_property
    def _default_calendar(self) -> BusinessCalendar:
        rule = self.calendar
        if "zone" not in rule.model_fields_set:
            rule = rule.model_copy(update={"zone": self.zone})
        return _calendar(rule)


def _calendar(rule: CalendarRule) -> BusinessCalendar:
    return BusinessCalendar(
        zone_of(rule.zone), Hours(rule.opens, rule.closes), rule.weekdays, rule.holidays, rule.extra_holidays
    )


def _scale(micros: int, decimals: int) -> int:
    divisor: int = 10 ** (6 - decimals)
    quotient, rest = divmod(micros, divisor)
    if 2 * rest > divisor or (2 * rest == divisor and quotient % 2):
        return quotient + 1
    return quotient


def _offset_ms(zone: tzinfo, month: int) -> int:
    offset = datetime(2024, month, 1, tzinfo=zone).utcoffset()
    assert offset is not None
    return offset // timedelta(milliseconds=1)
