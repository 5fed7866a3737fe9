"""Readings as OpenMetrics text with timestamps, as ``promtool tsdb create-blocks-from openmetrics`` takes it.

The format wants all samples of a series together, in order of time, and all series of a family together:
they are spooled while time goes by and written at the end. Specification:
https://prometheus.io/docs/specs/om/open_metrics_spec/

The parts of a histogram (``_bucket``, ``_gcount``, ``_gsum``) are written as gauge families of their own. The
series in Prometheus are the same, and readers agree on gauges, while prometheus_client drops samples of a
histogram with several timestamps.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO

from salesgauge.streams.replay.spool import LIMIT, Spool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from salesgauge.metrics.kpis.families import Family, Sample

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


@dataclass(slots=True)
class _Family:
    """A family's help, and by label values the number of each series and the beginning of its lines."""

    help: str
    series: dict[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)


class OpenMetrics:
    """Takes snapshots in order of time, then writes them as a whole.

    Args:
        folder: for temporary files.
        labels: further labels of every sample, such as ``job``.
        limit: samples held in memory.
    """

    def __init__(self, folder: Path, labels: Mapping[str, str], limit: int = LIMIT) -> None:
        self._spool = Spool(folder, limit)
        self._labels = dict(labels)
        self._families: dict[str, _Family] = {}
        self._count = 0

    def take(self, at: int, families: Iterable[Family]) -> None:
        """Keep the samples of an instant (ms)."""
        add = self._spool.add
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
            file.write(f"# TYPE {name} gauge\n# HELP {name} {family.help.translate(_ESCAPES)}\n")
            for number, line in family.series.values():
                file.writelines(self._lines(number, line))
        file.write("# EOF\n")
        self._spool.close()

    def _lines(self, number: int, line: str) -> Iterator[str]:
        for at, value in self._spool.read(number):
            time = f"{at // 1000}.{at % 1000:03d}" if at % 1000 else f"{at // 1000}"
            yield f"{line} {value!r} {time}\n"

    def _new(self, sample: Sample) -> tuple[int, str]:
        self._count += 1
        labels = {**sample.labels, **self._labels}
        inner = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in labels.items())
        return self._count, f"{sample.name}{{{inner}}}"
