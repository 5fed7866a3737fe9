"""Readings as OpenMetrics text with timestamps, as ``promtool tsdb create-blocks-from openmetrics`` takes it.

The format wants all samples of a series together, in order of time, and all series of a family together:
they are stored while time goes by and written at the end. Specification:
https://prometheus.io/docs/specs/om/open_metrics_spec/

The parts of a histogram (``_bucket``, ``_gcount``, ``_gsum``) are written as gauge families of their own. The
series in Prometheus are the same, and readers agree on gauges, while prometheus_client drops samples of a
histogram with several timestamps.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from salesgauge.streams.io import prometheus_text
from salesgauge.streams.io.outputs import refuse_folder, scratch, text_file
from salesgauge.streams.replay.sinks import OptionRole, Sink, SinkOption, samples_of
from salesgauge.streams.replay.sinks.sample_store import LIMIT, SampleStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from salesgauge.metrics.kpis.families import Family, MetricSample
    from salesgauge.streams.replay.sinks import Take


class OpenMetricsFile(Sink):
    """An OpenMetrics file with timestamps."""

    option = SinkOption("--openmetrics", "Write OpenMetrics with timestamps, for promtool.", "FILE", OptionRole.WRITTEN)

    @contextmanager
    def open(self) -> Iterator[Take]:
        """Keep everything, then write the file."""
        path = Path(self.target)
        refuse_folder(path)
        with scratch(path) as folder:
            text = OpenMetricsText(folder, self.context.labels)
            yield lambda evaluation: text.take(evaluation.at, samples_of(evaluation))
            with text_file(path) as file:
                text.write(file)


@dataclass(slots=True)
class _Family:
    """A family's help, and by label values the number of each series and the beginning of its lines."""

    help: str
    series: dict[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)


class OpenMetricsText:
    """Takes the samples of instants in order of time, then writes them as a whole.

    Args:
        folder: for temporary files.
        labels: further labels of every sample, such as ``job``.
        limit: samples held in memory.
    """

    def __init__(self, folder: Path, labels: Mapping[str, str], limit: int = LIMIT) -> None:
        self._store = SampleStore(folder, limit)
        self._labels = dict(labels)
        self._families: dict[str, _Family] = {}
        self._count = 0

    def take(self, at: int, families: Iterable[Family]) -> None:
        """Keep the samples of an instant (ms)."""
        add = self._store.add
        for family in families:
            for sample in family.samples:
                known = self._families.get(sample.name)
                if known is None:
                    known = self._families[sample.name] = _Family(family.help)
                values = tuple(sample.labels.values())
                series = known.series.get(values)
                if series is None:
                    series = known.series[values] = self._new(sample)
                add(series[0], at, sample.value)

    def write(self, file: TextIO) -> None:
        """Write everything, with the end mark."""
        for name, family in self._families.items():
            file.write(prometheus_text.header(name, "gauge", family.help, openmetrics=True))
            for number, series in family.series.values():
                file.writelines(self._lines(number, series))
        file.write(prometheus_text.END)
        self._store.close()

    def _lines(self, number: int, series: str) -> Iterator[str]:
        for at, value in self._store.read(number):
            yield f"{series} {prometheus_text.number(value)} {prometheus_text.timestamp(at)}\n"

    def _new(self, sample: MetricSample) -> tuple[int, str]:
        self._count += 1
        return self._count, prometheus_text.series(sample.name, {**sample.labels, **self._labels})
