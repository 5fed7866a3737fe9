"""How the board shows a KPI: derived from the catalogue's entry, once per catalogue."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from salesgauge.metrics.kpis.formula import Count, Ratio
from salesgauge.metrics.kpis.kpi import Catalogue, Direction, Form, Kpi, Place, Stat, Unit
from salesgauge.metrics.measures import registry as m
from salesgauge.schemas.events import STAGES

if TYPE_CHECKING:
    from collections.abc import Mapping

# Label values with an order of their own.
_ORDERS: dict[str, tuple[str, ...]] = {"stage": STAGES, "band": ("0-5m", "5-15m", "15-60m", "60m+")}


@dataclass(frozen=True, slots=True)
class Presentation:
    """A KPI as the board reads it.

    Attributes:
        kpi: the catalogue's entry.
        headline: name of the stat that is shown large; empty where only the parts mean something.
        counts: whether its denominator is a number of things, so that it can be shown as ``n``.
        whole: the entry without breakdowns; None where only the parts mean something.
        parts: per breakdown an entry that yields the headline alone, and ``n`` of a distribution.
        additive: whether parts add up to the whole, so that the largest are the ones to show.
        rewinds: whether its past can be read from the windows: cohorts would be read with today's knowledge,
            and stocks of those who wait hold only those who still wait.
    """

    kpi: Kpi
    headline: str
    counts: bool
    whole: Kpi | None
    parts: tuple[Kpi, ...]
    additive: bool
    rewinds: bool

    def order(self, breakdown: tuple[str, ...]) -> str:
        """The order of the parts: ``natural``, ``largest``, or the worst first: ``highest`` or ``lowest``."""
        if breakdown and breakdown[0] in _ORDERS:
            return "natural"
        if self.additive or self.kpi.direction is Direction.NEUTRAL:
            return "largest"
        return "highest" if self.kpi.direction is Direction.DOWN else "lowest"

    def why_empty(self, window: str, title: str) -> str:
        """Why there is no value in a window, for people."""
        if window not in self.kpi.windows:
            return f"Measured from {self.kpi.windows[0]} on"
        of_window = window != "all" and self.kpi.headline.formula.empty_by_window()
        return f"{self.kpi.empty} {title}" if of_window else self.kpi.empty


def present(kpi: Kpi) -> Presentation:
    """The presentation of one catalogue entry."""
    counted = () if kpi.samples is None else (Stat("count", Count(kpi.samples), Unit.COUNT),)
    formula = kpi.headline.formula
    return Presentation(
        kpi=kpi,
        headline=kpi.headline.name if kpi.whole else "",
        counts=_counts(kpi),
        whole=replace(kpi, breakdowns=()) if kpi.whole else None,
        parts=tuple(
            replace(
                kpi, formula=formula, samples=None, secondary=counted, breakdowns=(breakdown,), whole=False, shown=()
            )
            for breakdown in kpi.breakdowns
        ),
        additive=kpi.samples is None and not isinstance(kpi.formula, Ratio),
        rewinds=kpi.whole and kpi.form is Form.PERIOD,
    )


def presentations(catalogue: Catalogue) -> dict[str, Presentation]:
    """The presentations of a catalogue by KPI, in its order."""
    return {kpi.id: present(kpi) for kpi in catalogue.kpis}


def rank(value: str, dimension: str) -> int:
    """The place of a label value in its natural order."""
    known = _ORDERS[dimension]
    return known.index(value) if value in known else len(known)


def describe(shown: Presentation) -> dict[str, Any]:
    """What does not change about a KPI, for the page."""
    kpi = shown.kpi
    main = kpi.stats[0]
    return {
        "id": kpi.id,
        "title": kpi.title,
        "help": kpi.help,
        "definition": kpi.definition,
        "caveats": kpi.caveats,
        "form": kpi.form.value,
        "unit": kpi.unit.value,
        "direction": kpi.direction.value,
        "windows": list(kpi.windows),
        "metric": kpi.metric,
        "headline": shown.headline,
        "format": _format(kpi, main),
        "requires": list(kpi.requires),
        "per": main.per,
        "stats": [_describe_stat(kpi, stat) for stat in kpi.stats if stat.name not in {"count", "sum"}],
        "by": [list(breakdown) for breakdown in kpi.breakdowns],
    }


def strip(catalogue: Catalogue) -> list[dict[str, str]]:
    """The figures under the leads waiting: KPIs and what they are called there."""
    return [{"id": kpi.id, "title": at.title or kpi.title} for kpi, at in catalogue.shown(Place.STRIP)]


def roles(known: Mapping[str, Presentation]) -> list[dict[str, Any]]:
    """The roles in the catalogue's order, each with its KPIs."""
    found: dict[str, list[dict[str, Any]]] = {}
    for shown in known.values():
        found.setdefault(shown.kpi.role.value, []).append(describe(shown))
    return [{"role": role, "kpis": kpis} for role, kpis in found.items()]


def _format(kpi: Kpi, stat: Stat) -> str:
    """How the page writes a number: its unit, with the digits after the point where they are not the usual ones."""
    own = kpi.decimals is not None and stat.name == kpi.headline.name
    return f"{stat.unit.value}:{kpi.decimals}" if own else stat.unit.value


def _describe_stat(kpi: Kpi, stat: Stat) -> dict[str, str]:
    described = {"name": stat.name, "label": stat.title, "format": _format(kpi, stat), "help": stat.help}
    return described | ({"per": stat.per} if stat.per else {})


def _counts(kpi: Kpi) -> bool:
    if kpi.fraction is None:
        return False
    units = {measure.unit for measure in kpi.fraction[1].measures()} | {
        measure.unit for measure, _ in kpi.fraction[1].measures_across()
    }
    return units == {m.MeasureUnit.ONE}
