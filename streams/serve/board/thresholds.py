"""Targets that the board watches: a number of a KPI against a value, once enough stand behind it."""

from __future__ import annotations

import json
import operator
from dataclasses import dataclass, fields
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from salesgauge.metrics.windows.sums import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from salesgauge.metrics.kpis.kpi import Catalogue

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
SEVERITIES = ("critical", "warning", "info")
"""Most urgent first."""


class ThresholdError(ValueError):
    """A threshold that cannot be watched; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """Fires while ``value`` of a KPI stands in ``op`` to the number read.

    Attributes:
        kpi: id in the catalogue.
        window: a window that the KPI has.
        op: ``>``, ``>=``, ``<`` or ``<=``.
        value: in the stat's base unit.
        stat: which of the KPI's numbers.
        min_n: how many must stand behind the number (its denominator or its sample count).
        severity: ``critical``, ``warning`` or ``info``.
        summary: what is wrong, for people.
        by: a breakdown of the KPI, each part of which is watched by itself.
    """

    kpi: str
    window: str
    op: str
    value: float
    stat: str = "value"
    min_n: float = 0
    severity: str = "warning"
    summary: str = ""
    by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what has no meaning in any catalogue.

        Raises:
            ThresholdError: an unknown operator, severity or window.
        """
        _require(self.op in _COMPARE, self.kpi, f"op {self.op!r} is none of {', '.join(_COMPARE)}")
        known = ", ".join(SEVERITIES)
        _require(self.severity in SEVERITIES, self.kpi, f"severity {self.severity!r} is none of {known}")
        _require(self.window in WINDOWS, self.kpi, f"window {self.window!r} is none of {', '.join(WINDOWS)}")

    def holds(self, value: float) -> bool:
        """Whether a number is on the wrong side."""
        return _COMPARE[self.op](value, self.value)


def load(items: Iterable[Mapping[str, Any]], catalogue: Catalogue) -> tuple[Threshold, ...]:
    """Thresholds from a parsed settings file; keys beyond those of `Threshold` are ignored.

    Raises:
        ThresholdError: one of them names a KPI, stat, window or breakdown that the catalogue does not have.
    """
    return check(tuple(_one(item) for item in items), catalogue)


def from_file(path: Path, catalogue: Catalogue) -> tuple[Threshold, ...]:
    """The ``targets`` of a settings file such as ``prometheus/thresholds.yml``.

    Raises:
        ThresholdError: it cannot be read, has no targets, or one of them cannot be answered.
    """
    try:
        known = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise ThresholdError(f"thresholds in {path}: {error}") from error
    if not isinstance(known, dict) or not isinstance(known.get("targets"), list):
        raise ThresholdError(f"thresholds in {path}: there is no list `targets`")
    return load(known["targets"], catalogue)


def check(thresholds: tuple[Threshold, ...], catalogue: Catalogue) -> tuple[Threshold, ...]:
    """The same thresholds, all of which the catalogue can answer.

    Raises:
        ThresholdError: one of them cannot be answered.
    """
    for t in thresholds:
        kpi = catalogue.by_id.get(t.kpi)
        if kpi is None:
            raise ThresholdError(f"threshold on {t.kpi}: there is no such KPI")
        stats = [stat.name for stat in kpi.stats]
        _require(t.stat in stats, t.kpi, f"stat {t.stat!r} is none of {', '.join(stats)}")
        _require(t.window in kpi.windows, t.kpi, f"window {t.window!r} is none of {', '.join(kpi.windows)}")
        _require(not t.by or t.by in kpi.breakdowns, t.kpi, f"there is no breakdown by {', '.join(t.by)}")
        _require(kpi.whole or bool(t.by), t.kpi, "it has values by breakdown only")
    return thresholds


def _one(item: Mapping[str, Any]) -> Threshold:
    names = {f.name for f in fields(Threshold)}
    given = {name: value for name, value in item.items() if name in names}
    missing = {"kpi", "window", "op", "value"} - given.keys()
    _require(not missing, str(given.get("kpi", "?")), f"{', '.join(sorted(missing))} missing")
    by = given.get("by", ())
    return Threshold(**{**given, "value": float(given["value"]), "by": (by,) if isinstance(by, str) else tuple(by)})


def _require(holds: bool, kpi: str, message: str) -> None:  # noqa: FBT001 - an assertion
    if not holds:
        raise ThresholdError(f"threshold on {kpi}: {message}")


def _shipped() -> tuple[Threshold, ...]:
    return tuple(_one(item) for item in json.loads(files(__package__).joinpath("targets.json").read_text("utf-8")))


DEFAULTS = _shipped()
"""The targets of ``prometheus/thresholds.yml`` as of the last ``salesgauge generate``."""
