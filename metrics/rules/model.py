"""The rules of the business that give events their meaning: time zone, SLA, calendars, currency, tiers.

Rules are an argument of the engine, like time. The same events under other rules are other KPIs, so a changed rule
is applied to the past by a replay or a rebuild.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from salesgauge.metrics.measures.registry import MEASURES
from salesgauge.metrics.rules.calendars import (
    WEEKDAYS,
    AllHours,
    BusinessCalendar,
    Clock,
    OpeningHours,
    WorkingHours,
    holiday_dates,
    parse_spans,
)
from salesgauge.schemas.events import EVENTS

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
MICROS = 1_000_000
_EPOCH = datetime.fromtimestamp(0, UTC)


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


def _day_spans(value: Any) -> Any:
    """The spans of a day as one text; a list of spans is as good."""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    if not isinstance(value, str):
        raise ValueError(f"{value} is not a span of hours; write it as '09:00-17:00', or 'closed'")  # noqa: TRY004
    return ", ".join(map(str, parse_spans(value))) or CLOSED


CLOSED = "closed"
DaySpans = Annotated[str, BeforeValidator(_day_spans)]
"""The working hours of a day: ``09:00-12:00, 13:00-17:00``, ``22:00-06:00``, ``00:00-24:00`` or ``closed``."""


class CalendarRule(BaseModel):
    """Business hours of a team (or of all), in local time.

    Where every working day has the same hours, ``opens``, ``closes`` and ``weekdays`` are enough; ``hours`` says more.
    A span over midnight (``22:00-06:00``) belongs to the day on which it begins.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    zone: Zone = "UTC"
    """Time zone of the business hours. Unset: `rules.zone`."""
    opens: time = time(9)
    """Start of the business hours, local time."""
    closes: time = time(17)
    """End of the business hours, local time. Before `opens`: on the next day."""
    weekdays: frozenset[Annotated[int, Field(ge=0, le=6)]] = frozenset(range(5))
    """Working days. Monday is 0."""
    hours: Mapping[str, DaySpans] = {}
    """Business hours by weekday, instead of `opens`, `closes` and `weekdays`:
    `{mon-fri: '09:00-12:00, 13:00-17:00', sat: '10:00-14:00'}`. Other weekdays are free."""
    exceptions: Mapping[date, DaySpans] = {}
    """Business hours of single dates: `{2026-12-24: '09:00-12:00', 2026-12-31: closed}`."""
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
        """Numbers would be seconds since midnight in UTC; ``9:00`` is as good as ``09:00``; ``24:00`` is midnight."""
        if isinstance(value, int | float):
            raise ValueError(f"{value} is not a time of day; write it as '09:00'")  # noqa: TRY004 - pydantic wants it
        if value == "24:00":
            return time(0)
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

    @field_validator("hours")
    @classmethod
    def _by_weekday(cls, value: Mapping[str, str]) -> Mapping[str, str]:
        """Ranges of weekdays as single ones, from Monday on."""
        found: dict[str, str] = {}
        for name, spans in value.items():
            for day in _weekdays(name):
                if day in found:
                    raise ValueError(f"has two values for {day}; name each weekday once")
                found[day] = spans
        if found and set(found.values()) == {CLOSED}:
            raise ValueError("is closed on all weekdays; write it as {mon-fri: '09:00-17:00'}")
        return {day: found[day] for day in WEEKDAYS if day in found}

    @model_validator(mode="after")
    def _valid(self) -> Self:
        short = self.model_fields_set & {"opens", "closes", "weekdays"}
        if self.hours and short:
            raise ValueError(f"has both hours and {min(short)}; write all of it as {self._as_hours()}")
        if self.opens == self.closes and self.opens != time(0):
            raise ValueError(
                f"closes ({self.closes:%H:%M}) must not be opens ({self.opens:%H:%M}); for a whole day write "
                "hours: {mon-sun: '00:00-24:00'}"
            )
        if time(0) < self.closes <= self.opens and not {"opens", "closes"} <= self.model_fields_set:
            raise ValueError(
                f"closes ({self.closes:%H:%M}) must come after opens ({self.opens:%H:%M}); set both for a night shift"
            )
        return self

    def _as_hours(self) -> str:
        shown = {**{WEEKDAYS[day]: str(self._span) for day in sorted(self.weekdays)}, **self.hours}
        return "hours: {" + ", ".join(f"{day}: '{spans}'" for day, spans in shown.items()) + "}"

    @property
    def _span(self) -> OpeningHours:
        opens, closes = (at.hour * HOUR + at.minute * MINUTE + at.second * 1000 for at in (self.opens, self.closes))
        return OpeningHours(opens, closes if closes > opens else closes + DAY)

    @cached_property
    def working_hours(self) -> WorkingHours:
        """What the fields say."""
        if self.hours:
            weekdays = tuple(parse_spans(self.hours.get(day, CLOSED)) for day in WEEKDAYS)
        else:
            weekdays = tuple((self._span,) if day in self.weekdays else () for day in range(len(WEEKDAYS)))
        exceptions = {day: parse_spans(spans) for day, spans in self.exceptions.items()}
        return WorkingHours(weekdays, self.holidays, {**dict.fromkeys(self.extra_holidays, ()), **exceptions})


def _weekdays(name: str) -> tuple[str, ...]:
    """``mon``, or all of ``mon-fri``; ``sat-mon`` goes over the end of the week."""
    first, dash, last = (part.strip().lower()[:3] for part in name.partition("-"))
    if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
        raise ValueError(
            f"{name!r} is not a weekday; write mon, tue, wed, thu, fri, sat, sun, or a range such as mon-fri"
        )
    start = WEEKDAYS.index(first)
    length = (WEEKDAYS.index(last) - start) % len(WEEKDAYS) + 1 if dash else 1
    return tuple(WEEKDAYS[(start + step) % len(WEEKDAYS)] for step in range(length))


DEFAULT_POLICY = "default"
"""The response policy of requests that no configured one matches."""

Words = Annotated[frozenset[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)]
"""One text or several."""


class ResponsePolicyRule(BaseModel):
    """How soon some requests are to be answered: those that match each of the fields that are given.

    ``source``, ``tier``, ``team`` (of the owner when the request came) and ``channel`` are one value or a list, without
    regard to case. ``clock``: whether the time runs in working hours only. Those are of ``calendar``; without one, of
    the team's calendar, or the common one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=100)]
    source: Words = frozenset()
    tier: Words = frozenset()
    team: Words = frozenset()
    channel: Words = frozenset()
    target: Annotated[timedelta, Field(gt=timedelta(0)), _SECONDS]
    clock: Literal["working_hours", "around_the_clock"] = "around_the_clock"
    calendar: CalendarRule | None = None

    @model_validator(mode="after")
    def _needs_the_calendar(self) -> Self:
        if self.calendar is not None and self.clock != "working_hours":
            raise ValueError("has a calendar that nothing uses; write clock: working_hours")
        return self

    @cached_property
    def criteria(self) -> tuple[frozenset[str], ...]:
        """Accepted values of source, tier, team and channel, folded; empty: any."""
        return tuple(frozenset(map(_folded, words)) for words in (self.source, self.tier, self.team, self.channel))


def _folded(value: str) -> str:
    return value.strip().casefold()


@dataclass(frozen=True, slots=True)
class Policy:
    """The response policy of a request: the answer is due after ``target`` ms on ``clock``.

    ``clock_name`` is what :meth:`Rules.clock` knows the clock by.
    """

    name: str
    target: int
    clock: Clock
    clock_name: str

    @property
    def runs_in_working_hours(self) -> bool:
        """Whether the clock stands still outside working hours."""
        return self.clock_name != AROUND_THE_CLOCK


class StageRule(BaseModel):
    """A stage of deals, under the name that the CRM gives it, without regard to case.

    ``probability`` is that of a deal in it that has none of its own. A deal in a stage of the kind ``won`` or ``lost``
    is not open. ``limit_days``: a deal that has been in the stage so long, without a touch, is stalled.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=200)]
    probability: Annotated[float, Field(ge=0, le=1)] | None = None
    kind: Literal["open", "won", "lost"] = "open"
    limit_days: Annotated[float, Field(gt=0, le=10_000)] | None = None

    @model_validator(mode="after")
    def _only_open_ones_have_more(self) -> Self:
        unused = [name for name in ("probability", "limit_days") if getattr(self, name) is not None]
        if self.kind != "open" and unused:
            raise ValueError(
                f"has a {unused[0]} that nothing uses: deals in a stage of the kind {self.kind} are closed"
            )
        return self

    @cached_property
    def limit(self) -> int | None:
        """The limit in ms."""
        return None if self.limit_days is None else round(self.limit_days * DAY)


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
    """A request should be answered by a person within this time, where no response policy says otherwise."""
    sla_in_business_hours: bool = False
    """Whether that clock stops outside business hours."""
    response_policies: tuple[ResponsePolicyRule, ...] = ()
    """How soon requests should be answered, by source, tier, team or channel. The first that matches holds, as things
    were when the request came."""
    response_exempt_sources: Words = frozenset()
    """Sources (an import, a list) whose leads wait for no answer, unless the event says that they do."""
    response_customers: Literal["include", "exclude"] = "include"
    """Whether requests of leads that are customers already should be answered under these rules."""
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
    gross_margin: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the recurring revenue that is left after the cost of serving customers. It scales the customer lifetime
    value and the payback time of acquisition costs."""
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
    zero_is_real: frozenset[str] = frozenset()
    """Kinds of events, such as `deal_lost`, that count as connected before the first one comes: none means that none
    happened. A KPI that needs a kind of which none ever came is otherwise not connected: it has no value."""
    deal_origin: Literal["first", "last"] = "first"
    """Which of the leads that a deal had says where it came from and when its cycle began."""
    stages: tuple[StageRule, ...] = ()
    """Stages of deals, in their order: list of `{name, probability, kind, limit_days}`. `probability` (0 to 1) is that
    of deals that have none of their own. `kind` is `open`, `won` or `lost`. After `limit_days` without a touch a deal
    is stalled. See [the open pipeline](pipeline.md)."""
    sales_period: Literal["month", "quarter"] = "quarter"
    """The period by which expected closes are judged: what is due, pushed or has slipped."""
    max_facts: Annotated[int, Field(ge=100)] = 50_000
    """Greatest number of facts that one entity keeps. Further events are refused (`entity_full`)."""

    @field_validator("unredacted")
    @classmethod
    def _known_dimensions(cls, value: frozenset[str]) -> frozenset[str]:
        known = {dim for measure in MEASURES.values() for dim in measure.dims}
        if unknown := value - known:
            raise ValueError(f"{min(unknown)!r} is not a dimension; there are {', '.join(sorted(known))}")
        return value

    @field_validator("zero_is_real")
    @classmethod
    def _known_events(cls, value: frozenset[str]) -> frozenset[str]:
        if unknown := value - EVENTS.keys():
            raise ValueError(f"{min(unknown)!r} is not an event; there are {', '.join(sorted(EVENTS))}")
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

    @field_validator("response_policies")
    @classmethod
    def _reachable_policies(cls, value: tuple[ResponsePolicyRule, ...]) -> tuple[ResponsePolicyRule, ...]:
        for name, count in Counter(rule.name for rule in value).items():
            if count > 1 or name == DEFAULT_POLICY:
                raise ValueError(f"{name!r} is the name of another policy; give each a name of its own")
        for rule, hidden in itertools.pairwise(value):
            if not any(rule.criteria):
                raise ValueError(f"{rule.name!r} matches all requests, so {hidden.name!r} never holds; put it last")
        return value

    @field_validator("stages")
    @classmethod
    def _distinct_stages(cls, value: tuple[StageRule, ...]) -> tuple[StageRule, ...]:
        for name, count in Counter(_folded(stage.name) for stage in value).items():
            if count > 1:
                raise ValueError(f"{name!r} is the name of {count} stages; name each stage once")
        return value

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
        """Size of a coarse pane: an hour, or less where the zone's midnights are (or were) not on UTC hours."""
        return math.gcd(HOUR, *_offsets_ms(self.zone))

    def team_of(self, rep: str) -> str:
        """The team of a rep that no event names a team for."""
        return self.roster.get(rep, "")

    def calendar_of(self, team: str) -> BusinessCalendar:
        """The business calendar of a team."""
        return self._calendars.get(team) or self._default_calendar

    def policy(self, source: str, tier: str, team: str, channel: str) -> Policy:
        """The response policy of a request, by the team of its owner when it came."""
        said = tuple(map(_folded, (source, tier, team, channel)))
        for rule in self.response_policies:
            if all(not accepted or value in accepted for accepted, value in zip(rule.criteria, said, strict=True)):
                return self._policy(rule, team)
        return self._policy(self._default_policy, team)

    def exempts(self, source: str) -> bool:
        """Whether requests of a source wait for no answer."""
        return bool(self._exempt) and _folded(source) in self._exempt

    def stage(self, name: str) -> StageRule | None:
        """What is said of a stage of deals."""
        return self._stages.get(_folded(name)) if self._stages else None

    @cached_property
    def open_stages(self) -> tuple[str, ...]:
        """The names of the stages of open deals, in their order."""
        return tuple(stage.name for stage in self.stages if stage.kind == "open")

    def clock(self, name: str) -> Clock:
        """The clock of a response policy by its name, as :attr:`Policy.clock_name` has it."""
        kind, _, key = name.partition(":")
        if kind == "policy":
            return self._policy_calendars[key]
        return self.calendar_of(key) if kind == "team" else _ALL_HOURS

    def _policy(self, rule: ResponsePolicyRule, team: str) -> Policy:
        clock_name = AROUND_THE_CLOCK
        if rule.calendar is not None:
            clock_name = f"policy:{rule.name}"
        elif rule.clock == "working_hours":
            clock_name = f"team:{team if team in self._calendars else ''}"
        return Policy(rule.name, rule.target // timedelta(milliseconds=1), self.clock(clock_name), clock_name)

    @cached_property
    def _default_policy(self) -> ResponsePolicyRule:
        clock: Literal["working_hours", "around_the_clock"] = "around_the_clock"
        if self.sla_in_business_hours:
            clock = "working_hours"
        return ResponsePolicyRule(name=DEFAULT_POLICY, target=self.response_sla, clock=clock)

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

    def rate(self, currency: str, at: int) -> Decimal | None:
        """What one unit of ``currency`` is worth at ``at`` (ms), in the reporting currency; None if no rate is known.

        Before a currency's first rate that one holds: a level may be valued at the start of a window that lies there.
        """
        if not currency or currency == self.currency:
            return Decimal(1)
        table = self._rates.get(currency)
        return None if table is None else self._rate(currency, at) or table[1][0]

    def rate_changes(self, currency: str) -> list[int]:
        """The instants (ms) at which the rate of a currency changes: the first moments of days in the business zone."""
        days = self._rates.get(currency, ([], []))[0]
        midnights = (datetime.combine(day, time(), self.tz) for day in days if day > date.min)
        return [(midnight - _EPOCH) // timedelta(milliseconds=1) for midnight in midnights]

    def _rate(self, currency: str, at: int) -> Decimal | None:
        table = self._rates.get(currency)
        if table is None:
            return None
        days, rates = table
        day = (_EPOCH + timedelta(milliseconds=at)).astimezone(self.tz).date()
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
    def _stages(self) -> dict[str, StageRule]:
        return {_folded(stage.name): stage for stage in self.stages}

    @cached_property
    def _exempt(self) -> frozenset[str]:
        return frozenset(map(_folded, self.response_exempt_sources))

    @cached_property
    def _calendars(self) -> dict[str, BusinessCalendar]:
        return {team: self._calendar(rule) for team, rule in self.team_calendars.items()}

    @cached_property
    def _policy_calendars(self) -> dict[str, BusinessCalendar]:
        return {rule.name: self._calendar(rule.calendar) for rule in self.response_policies if rule.calendar}

    @cached_property
    def _default_calendar(self) -> BusinessCalendar:
        return self._calendar(self.calendar)

    def _calendar(self, rule: CalendarRule) -> BusinessCalendar:
        """The calendar of a rule; one that names no zone is in that of the business."""
        zone = rule.zone if "zone" in rule.model_fields_set else self.zone
        return BusinessCalendar(zone_of(zone), rule.working_hours)


def _scale(micros: int, decimals: int) -> int:
    divisor: int = 10 ** (6 - decimals)
    quotient, rest = divmod(micros, divisor)
    if 2 * rest > divisor or (2 * rest == divisor and quotient % 2):
        return quotient + 1
    return quotient


_ALL_HOURS = AllHours()
AROUND_THE_CLOCK = "around_the_clock"
_FIRST_YEAR, _LAST_YEAR = 1973, 2040
"""The last offset with seconds, and the last that is no multiple of five minutes, ended in 1972 (Liberia)."""


@cache
def _offsets_ms(zone: str) -> frozenset[int]:
    """The offsets that a zone has, or had, since 1973."""
    first = datetime(_FIRST_YEAR, 1, 1, tzinfo=UTC)
    days = (datetime(_LAST_YEAR, 1, 1, tzinfo=UTC) - first).days
    moments = (first + timedelta(days=day) for day in range(0, days, 7))
    offsets = {moment.astimezone(zone_of(zone)).utcoffset() for moment in moments}
    return frozenset(offset // timedelta(milliseconds=1) for offset in offsets if offset is not None)
