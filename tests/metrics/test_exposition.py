"""The fast encoder writes what prometheus_client's encoders write."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from salesgauge.metrics.kpis.families import Family, MetricSample, Type
from salesgauge.streams.io.prometheus_text import encode

ODD = 'a\\b "c"\nd é'
VALUES = [0.0, -0.0, 1.0, 0.1, 999_999.5, 1e6, 1_234_567.25, 1e21, -2.5e7, 1e-9, math.inf, -math.inf, math.nan, 7]


def some() -> list[Family]:
    gauge = Family("crm_x", Type.GAUGE, f"help {ODD}")
    gauge.samples += [MetricSample("crm_x", {"window": "1h", "rep": ODD, "a": str(i)}, v) for i, v in enumerate(VALUES)]
    histogram = Family("crm_y", Type.GAUGE_HISTOGRAM, "help")
    for window in ("1h", "all"):
        for le, value in (("60.0", 1), ("+Inf", 3)):
            histogram.samples.append(MetricSample("crm_y_bucket", {"window": window, "le": le}, value))
        histogram.samples.append(MetricSample("crm_y_gcount", {"window": window}, 3))
        histogram.samples.append(MetricSample("crm_y_gsum", {"window": window}, 1.5))
    return [gauge, histogram, Family("crm_none", Type.GAUGE, "nothing")]


class Fixed(Collector):
    def collect(self) -> Iterator[Metric]:
        for family in some():
            metric = Metric(family.name, family.help, family.type.value)
            for sample in family.samples:
                metric.add_sample(sample.name, dict(sample.labels), sample.value)
            yield metric


@pytest.mark.parametrize("openmetrics", [False, True])
def test_the_bytes_are_the_same(openmetrics: bool) -> None:
    registry = CollectorRegistry()
    registry.register(Fixed())
    expected = generate_openmetrics(registry) if openmetrics else generate_latest(registry)
    assert encode(some(), openmetrics=openmetrics) == expected


def test_nothing_is_a_whole_document() -> None:
    assert encode([], openmetrics=True) == b"# EOF\n"
    assert encode([], openmetrics=False) == b""
