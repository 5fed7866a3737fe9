"""Readings as Prometheus metrics: a collector that computes at scrape time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from metrics.families import Family, families
from metrics.readings import View


class KpiCollector(Collector):
    """Exposes a view.

    Args:
        view: brings the windows up to the present instant and gives the view, or None while there is none to show.
    """

    def __init__(self, view: Callable[[], View | None]) -> None:
        self._view = view

    def describe(self) -> Iterable[Metric]:
        """Nothing is computed at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families at the present instant."""
        view = self._view()
        if view is not None:
            yield from map(to_metric, families(view))


def to_metric(family: Family) -> Metric:
    """A family as a prometheus_client metric."""
    metric = Metric(family.name, family.help, family.type.value)
    for sample in family.samples:
        metric.add_sample(sample.name, dict(sample.labels), sample.value)
    return metric
