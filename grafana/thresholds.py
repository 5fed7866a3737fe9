"""The settings file ``prometheus/thresholds.yml``: targets, objectives, limits of the engine, and who is told."""

from __future__ import annotations

import re
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Annotated, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salesgauge.metrics.kpis.kpi import Catalogue
from salesgauge.metrics.kpis.targets import AlertName, Duration, Severity, Target, TargetError, check, in_words
from salesgauge.metrics.rules.model import zone_of
from salesgauge.metrics.windows.series import Breakdown

if TYPE_CHECKING:
    from pathlib import Path

PATH = "prometheus/thresholds.yml"
ROLLING_SECONDS = {"1h": 3600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000, "90d": 7_776_000, "365d": 31_536_000}

Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}
_MINUTES_PER_WEEK = 7 * 24 * 60
_YEAR = 2024


class ThresholdsError(ValueError):
    """The settings file cannot be used; the message says why and what to do."""


def seconds(duration: str) -> float:
    """A Prometheus duration in seconds: ``seconds("1h30m") == 5400``."""
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class BusinessHours(_Model):
    """When somebody is at work: local times in a zone, without some days of the year (``MM-DD``)."""

    zone: str = "UTC"
    opens: time = time(9)
    closes: time = time(17)
    weekdays: tuple[Weekday, ...] = ("monday", "tuesday", "wednesday", "thursday", "friday")
    holidays: tuple[Annotated[str, Field(pattern=r"^(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")], ...] = ()

    @field_validator("opens", "closes", mode="before")
    @classmethod
    def _quoted(cls, value: object) -> object:
        if isinstance(value, int | float):  # YAML reads 17:00 as a number in base 60
            raise ValueError('write the time in quotes, such as "17:00"')  # noqa: TRY004 - pydantic wants it
        return value

    @model_validator(mode="after")
    def _valid(self) -> BusinessHours:
        if self.closes <= self.opens:
            raise ValueError("closes must come after opens")
        zone_of(self.zone)
        return self

    def utc_spans(self) -> list[tuple[int, int]]:
        """Minutes of the UTC week (Sunday 00:00 is 0) that are business hours in winter and in summer time alike.

        PromQL knows UTC only. Between the two clock changes the hours move; what both have is open all the year.
        """
        zone = ZoneInfo(self.zone)
        offsets = {_offset_minutes(zone, month) for month in range(1, 13)}
        begin = self.opens.hour * 60 + self.opens.minute - min(offsets)
        end = self.closes.hour * 60 + self.closes.minute - max(offsets)
        spans: list[tuple[int, int]] = []
        for day in self.weekdays:
            midnight = (WEEKDAYS.index(day) + 1) % 7 * 24 * 60
            spans += _wrapped(midnight + begin, midnight + end)
        return sorted(spans)


def _offset_minutes(zone: ZoneInfo, month: int) -> int:
    offset = datetime(_YEAR, month, 1, tzinfo=zone).utcoffset() or timedelta()
    return offset // timedelta(minutes=1)


def _wrapped(begin: int, end: int) -> list[tuple[int, int]]:
    if end <= begin:
        return []
    if begin < 0 <= end - 1:
        return [(begin + _MINUTES_PER_WEEK, _MINUTES_PER_WEEK), (0, end)]
    if begin < _MINUTES_PER_WEEK < end:
        return [(begin, _MINUTES_PER_WEEK), (0, end - _MINUTES_PER_WEEK)]
    shift = begin // _MINUTES_PER_WEEK * _MINUTES_PER_WEEK
    return [(begin - shift, end - shift)]


class Burn(_Model):
    """A pair of windows: ``budget`` of the period's error budget burnt in ``long``, and still burning in ``short``."""

    alert: AlertName
    long: str
    short: str
    budget: Annotated[float, Field(gt=0, le=1)]
    for_: Annotated[Duration, Field(alias="for")]
    severity: Severity
    by: Literal["", "team"] = ""

    @model_validator(mode="after")
    def _windows(self) -> Burn:
        if not {self.long, self.short} <= ROLLING_SECONDS.keys():
            raise ValueError(f"long and short are rolling windows: {', '.join(ROLLING_SECONDS)}")
        if ROLLING_SECONDS[self.short] >= ROLLING_SECONDS[self.long]:
            raise ValueError("short must be shorter than long")
        return self


class Slo(_Model):
    """Share of leads to be answered within the SLA, over a period."""

    objective: Annotated[float, Field(gt=0, lt=1)]
    period: Duration
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    min_due: Annotated[int, Field(ge=1)]
    burns: tuple[Burn, ...]

    @model_validator(mode="after")
    def _reachable(self) -> Slo:
        if self.period not in ROLLING_SECONDS:
            raise ValueError(f"period is a rolling window: {', '.join(ROLLING_SECONDS)}")
        for burn in self.burns:
            if self.missed_above(burn) >= 1:
                raise ValueError(f"{burn.alert} could never fire: its budget does not fit into {burn.long}")
        return self

    def rate(self, burn: Burn) -> float:
        """The burn rate that uses up ``budget`` within the long window; 1 uses up all of it in the period."""
        return burn.budget * seconds(self.period) / ROLLING_SECONDS[burn.long]

    def missed_above(self, burn: Burn) -> float:
        """The share of missed leads that has that burn rate."""
        return self.rate(burn) * (1 - self.objective)


class PositiveReply(_Model):
    """The positive-reply rate against its own past."""

    window: str
    baseline: Duration
    drop: Annotated[float, Field(gt=0, lt=1)]
    min_n: Annotated[int, Field(ge=1)]
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    for_: Annotated[Duration, Field(alias="for")]
    severity: Severity


class EngineLimits(_Model):
    """When the machine itself is in trouble."""

    down_for: Duration
    not_ready_for: Duration
    stale_after: Duration
    stale_for: Duration
    recovering_for: Duration
    silent_after: Duration
    lag_records: Annotated[int, Field(ge=1)]
    lag_for: Duration
    stuck_for: Duration
    dead_letter_window: Duration
    dead_letter_share: Annotated[float, Field(gt=0, lt=1)]
    dead_letter_min: Annotated[int, Field(ge=1)]
    truncated_for: Duration


Url = Annotated[str, Field(pattern=r"^https?://[^\s]+$")]
"""An absolute address."""


class Slack(_Model):
    """Channels of the business and of the engine; the address is the secret ``slack_url``."""

    channel: str
    engine_channel: str = ""


class Email(_Model):
    """Addresses and the server; with a ``username``, its password is the secret ``smtp_password``."""

    to: str
    engine_to: str = ""
    from_: Annotated[str, Field(alias="from")]
    smarthost: Annotated[str, Field(pattern=r"^[^\s:]+:\d+$")]
    username: str = ""
    tls: bool = True


class Webhook(_Model):
    """An address that receives Alertmanager's JSON; with ``token``, as bearer the secret ``webhook_token``."""

    url: Url
    token: bool = False


class Team(_Model):
    """Where a team is told: its channel in Slack, its address, or both."""

    channel: str = ""
    to: str = ""


class Notify(_Model):
    """Who is told, and how: any of Slack, Microsoft Teams, e-mail and a webhook, or none.

    Attributes:
        secrets: folder of the files with secrets, as Alertmanager sees it.
        msteams: whether to tell a channel in Microsoft Teams; its address is the secret ``msteams_url``.
        heartbeat: receives the alert that always fires, and raises the alarm when it stays away.
        teams: by the label ``team``.
    """

    secrets: str = "/etc/alertmanager/secrets"
    slack: Slack | None = None
    msteams: bool = False
    email: Email | None = None
    webhook: Webhook | None = None
    heartbeat: Webhook | None = None
    teams: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_. -]+$")], Team] = {}

    @field_validator("webhook", "heartbeat", mode="before")
    @classmethod
    def _address(cls, value: object) -> object:
        return {"url": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _reachable(self) -> Notify:
        for name, team in self.teams.items():
            if team.channel and self.slack is None:
                raise ValueError(f"teams.{name}.channel needs `slack`")
            if team.to and self.email is None:
                raise ValueError(f"teams.{name}.to needs `email`")
        return self


class Thresholds(_Model):
    """The whole file."""

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] = "EUR"
    board: Url
    runbooks: Url | None = None
    business_hours: BusinessHours
    targets: tuple[Target, ...]
    slo: Slo
    positive_reply: PositiveReply
    hold: Duration
    engine: EngineLimits
    notify: Notify = Notify()

    def target(self, kpi: str, stat: str, by: Breakdown = ()) -> Target | None:
        """The target that colours a number; that of the whole colours the parts of a quotient or a duration too."""
        of_number = [t for t in self.targets if t.kpi == kpi and t.stat == stat]
        exact = [t for t in of_number if t.by == by]
        return next(iter(exact or [t for t in of_number if not t.by]), None)


def load(path: Path, catalogue: Catalogue) -> Thresholds:
    """Read and check the settings file.

    Raises:
        ThresholdsError: it is missing, no YAML, has invalid values, or names what the catalogue does not have.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ThresholdsError(f"{path}: {error.strerror}; copy the file of the same name from the project") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ThresholdsError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise ThresholdsError(f"{path}: write a mapping with the keys {', '.join(Thresholds.model_fields)}")
    try:
        thresholds = Thresholds.model_validate(document)
        check(thresholds.targets, catalogue)
    except ValidationError as error:
        raise ThresholdsError(f"{path}: {in_words(error)}") from error
    except TargetError as error:
        raise ThresholdsError(f"{path}: {error}") from error
    return thresholds
