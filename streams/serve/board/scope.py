"""What a board is narrowed to: one team, rep or source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from salesgauge.metrics.kpis.kpi import SCOPES, Catalogue, Kpi

if TYPE_CHECKING:
    from collections.abc import Mapping

    from salesgauge.metrics.kpis.readings import View

_CHOICES_FROM = ("leads_waiting", "activities", "new_leads")
"""KPIs whose breakdowns name nearly every team, rep and source."""


@dataclass(frozen=True, slots=True)
class LabelFilter:
    """Dimension -> value; empty for the whole company."""

    labels: Mapping[str, str]

    @classmethod
    def of(cls, query: Mapping[str, str]) -> LabelFilter:
        """The scope in a query such as ``team=North``."""
        return cls({dim: value for dim in SCOPES if (value := query.get(dim, ""))})

    @property
    def key(self) -> tuple[str, ...]:
        """For a cache."""
        return tuple(f"{dim}={value}" for dim, value in self.labels.items())

    def unread(self, kpi: Kpi, catalogue: Catalogue) -> list[str]:
        """The dimensions that a KPI cannot be narrowed to; it is then not shown, since a whole would mislead."""
        dims = tuple(self.labels)
        return [] if catalogue.narrows(kpi, dims) else list(dims)


WHOLE = LabelFilter({})


def choices(view: View) -> dict[str, list[str]]:
    """Dimension -> the values that something is known of, sorted."""
    found: dict[str, set[str]] = {dim: set() for dim in SCOPES}
    for kpi in view.catalogue.kpis:
        if kpi.id in _CHOICES_FROM:
            for dim in SCOPES:
                for measure in kpi.measures():
                    if dim in measure.dims:
                        found[dim] |= {values[0] for values in view.sums.index.family(measure.name, (dim,))}
    return {dim: sorted(values - {""}) for dim, values in found.items()}
