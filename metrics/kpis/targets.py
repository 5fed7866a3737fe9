"""Targets: what a number of a KPI should be; one model for board, dashboards, alert rules and reference."""

from __future__ import annotations

import operator
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from salesgauge.metrics.kpis.kpi import Catalogue, Kpi
from salesgauge.metrics.windows.series import Breakdown

Severity = Literal["critical", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")
"""Most urgent first."""

Duration = Annotated[str, Field(pattern=r"^(\d+(ms|[smhdwy]))+$")]
"""A duration as Prometheus writes it: ``30s``, ``5m``, ``1h30m``."""

_SHOWN = 40
"""Characters of a wrong value that a message repeats."""

AlertName = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]+$")]

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


class TargetError(ValueError):
    """A target that cannot be used; the message names it and says what to write."""


class Target(BaseModel):
    """A number of a KPI is off target while it stands in ``op`` to ``value`` and at least ``min_n`` are behind it.

    Attributes:
        kpi: id in the catalogue.
        window: a window that the KPI has.
        op: ``>``, ``>=``, ``<`` or ``<=``: how a number that is off target stands to ``value``.
        value: in the stat's base unit.
        stat: which of the KPI's numbers.
        by: a breakdown of the KPI, each part of which is judged by itself.
        min_n: how many must be behind the number: its denominator or its sample count.
        given: ``kpi.stat`` with the same labels that must be above zero as well; empty: nothing. The longest wait is
            in wall-clock time, and is only a problem while some lead is past the SLA.
        severity: ``critical``, ``warning`` or ``info``.
        summary: what is wrong, for people.
        alert: the name of the alert rule; None: it is shown only.
        for_: how long it must be off target before the alert fires.
        subject: alerts of one subject are one problem, of which only the most severe is sent; empty: the KPI.
        detail: a further sentence of the alert.
        action: what to do, step by step.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_by_name=True)

    kpi: str
    window: str
    op: Literal[">", ">=", "<", "<="]
    value: Annotated[float, Field(allow_inf_nan=False)]
    stat: str = "value"
    by: Breakdown = ()
    min_n: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0
    given: Annotated[str, Field(pattern=r"^([a-z0-9_]+\.[a-z0-9_]+)?$")] = ""
    severity: Severity = "warning"
    summary: str = ""
    alert: AlertName | None = None
    for_: Annotated[Duration, Field(alias="for")] = "5m"
    subject: str = ""
    detail: str = ""
    action: tuple[str, ...] = ()

    @field_validator("by", mode="before")
    @classmethod
    def _tuple(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _alert_is_described(self) -> Target:
        if self.alert and not (self.summary and self.action):
            raise ValueError("an alert needs `summary`, what is wrong, and `action`, a list of what to do")
        return self

    def off(self, value: float) -> bool:
        """Whether a number is off target."""
        return _COMPARE[self.op](value, self.value)

    def among(self, catalogue: Catalogue) -> Kpi:
        """The KPI it speaks of.

        Raises:
            TargetError: the catalogue does not have it with that stat, window, breakdown and count.
        """
        kpi = catalogue.by_id.get(self.kpi)
        if kpi is None:
            raise TargetError(f"there is no KPI {self.kpi!r}; `salesgauge kpis` lists them")
        for wrong, sentence in self._mistakes(kpi):
            if wrong:
                raise TargetError(f"{self.kpi}: {sentence}")
        if self.given:
            self.condition(catalogue)
        return kpi

    def condition(self, catalogue: Catalogue) -> tuple[Kpi, str]:
        """The KPI and the number of `given`.

        Raises:
            TargetError: there is none with this target's window and breakdown.
        """
        name, _, stat = self.given.partition(".")
        kpi = catalogue.by_id.get(name)
        fits = kpi is not None and self.window in kpi.windows and (not self.by or self.by in kpi.breakdowns)
        if kpi is None or not fits or stat not in {s.name for s in kpi.stats}:
            raise TargetError(f"{self.kpi}: `given` is {self.given!r}; name a KPI's number with this window and `by`")
        return kpi, stat

    def _mistakes(self, kpi: Kpi) -> Iterable[tuple[bool, str]]:
        stats = [stat.name for stat in kpi.stats]
        yield self.stat not in stats, f"`stat` is {self.stat!r}; write one of {', '.join(stats)}"
        yield self.window not in kpi.windows, f"`window` is {self.window!r}; write one of {', '.join(kpi.windows)}"
        known = ", ".join("[" + ", ".join(by) + "]" for by in kpi.breakdowns) or "none: leave it out"
        yield bool(self.by) and self.by not in kpi.breakdowns, f"`by` is {list(self.by)}; write one of {known}"
        yield not self.by and not kpi.whole, f"it has numbers by breakdown only; write `by`, one of {known}"
        counted = kpi.fraction is not None or kpi.samples is not None
        yield self.min_n > 0 and not counted, "no count is behind its numbers; leave `min_n` out"


def check(targets: Iterable[Target], catalogue: Catalogue) -> tuple[Target, ...]:
    """The same targets, all of which the catalogue has.

    Raises:
        TargetError: one of them names what the catalogue does not have.
    """
    checked = tuple(targets)
    for number, target in enumerate(checked, 1):
        try:
            target.among(catalogue)
        except TargetError as error:
            raise TargetError(f"target {number}, {error}") from error
    return checked


def parse(items: Iterable[Mapping[str, Any]], catalogue: Catalogue) -> tuple[Target, ...]:
    """Targets from the parsed list of a settings file.

    Raises:
        TargetError: one of them has an invalid value or names what the catalogue does not have.
    """
    parsed = []
    for number, item in enumerate(items, 1):
        try:
            parsed.append(Target.model_validate(item))
        except ValidationError as error:
            raise TargetError(f"target {number}, {in_words(error)}") from error
    return check(parsed, catalogue)


def in_words(error: ValidationError) -> str:
    """What is wrong, in one line: each key with what to write."""
    return "; ".join(_in_words(item) for item in error.errors(include_url=False))


def _in_words(item: Any) -> str:
    where = "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in item["loc"]).lstrip(".")
    kind, context = item["type"], item.get("ctx", {})
    texts = {
        "missing": "is missing; add it",
        "extra_forbidden": "is no known key; remove it or correct its name",
        "literal_error": f"is {item['input']!r}; write {context.get('expected')}",
        "string_pattern_mismatch": f"is {item['input']!r}; write it in the form {context.get('pattern')}",
        "value_error": str(context.get("error", item["msg"])),
    }
    text = texts.get(kind) or f"is {_short(item['input'])}; {item['msg'][0].lower()}{item['msg'][1:]}"
    return f"`{where}` {text}" if where and kind != "value_error" else f"{where + ': ' if where else ''}{text}"


def _short(value: object) -> str:
    return textwrap.shorten(repr(value), _SHOWN, placeholder="...")
