"""A dashboard before Grafana's frame is put around it: sections of panels."""

from __future__ import annotations

from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries

Panel = stat.Panel | timeseries.Panel | bargauge.Panel | table.Panel


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under one heading; those of a folded section are seen, and queried, when somebody opens it."""

    title: str
    panels: tuple[Panel, ...]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """What a dashboard shows, to whom, and what it begins with."""

    uid: str
    title: str
    description: str
    sections: tuple[Section, ...]
    window: str = "30d"
    time_from: str = "now-7d"
    rep: str = "many"
    refresh: str = "1m"
    tags: tuple[str, ...] = field(default=("salesgauge", "sales"))
