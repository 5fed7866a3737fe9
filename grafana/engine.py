"""Engine health: is what the boards show true and new? And what the engine exposes, as far as queries may name it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.models.common import BigValueColorMode

from salesgauge.grafana.layout import Layout, Section
from salesgauge.grafana.panels import big, instant, lines, ranged
from salesgauge.grafana.rules import DEAD, EVENTS
from salesgauge.grafana.units import colours
from salesgauge.metrics.kpis.targets import Target

if TYPE_CHECKING:
    from grafana_foundation_sdk.builders import stat, timeseries


SCRAPED = frozenset({"job", "instance"})
METRICS: dict[str, frozenset[str]] = {
    name: frozenset(labels) | SCRAPED
    for name, labels in {
        # of a worker
        "salesgauge_events_total": {"event"},
        "salesgauge_rejected_total": {"reason"},
        "salesgauge_repeated_total": (),
        "salesgauge_source_events_total": {"event", "source_system"},
        "salesgauge_fields_filled_total": {"event", "field", "source_system"},
        "salesgauge_batches_total": (),
        "salesgauge_lag_records": {"partition"},
        "salesgauge_assigned_partitions": (),
        "salesgauge_recovering": (),
        "salesgauge_entities": (),
        "salesgauge_last_event_timestamp_seconds": (),
        "salesgauge_apply_seconds_bucket": {"le"},
        "salesgauge_apply_seconds_count": (),
        "salesgauge_apply_seconds_sum": (),
        "salesgauge_publish_seconds_bucket": {"le"},
        "salesgauge_publish_seconds_count": (),
        "salesgauge_publish_seconds_sum": (),
        "salesgauge_build_info": {"version"},
        # of the exporter
        "salesgauge_windows_lag_records": {"partition"},
        "salesgauge_freshness_seconds": (),
        "salesgauge_series": (),
        "salesgauge_folded_label_values": {"kpi", "breakdown"},
        "salesgauge_scrape_seconds_bucket": {"le"},
        "salesgauge_scrape_seconds_count": (),
        "salesgauge_scrape_seconds_sum": (),
        "salesgauge_ready": (),
        "salesgauge_kpi_connected": {"kpi"},
        # of ingest
        "salesgauge_ingest_received_total": {"source"},
        "salesgauge_ingest_refused_total": {"source", "reason"},
        "salesgauge_ingest_last_delivery_timestamp_seconds": {"source"},
        "salesgauge_ingest_events_total": {"source", "event"},
        "salesgauge_ingest_unmapped_total": {"source", "reason"},
        "salesgauge_ingest_lag_records": {"source"},
        "salesgauge_ingest_source_lag_seconds": {"source"},
        "salesgauge_ingest_filled_total": {"source", "event", "field"},
        "salesgauge_ingest_polls_total": {"source", "outcome"},
        # of a replay, beside what it backfills
        "salesgauge_replayed": (),
        # of both, by prometheus_client
        "process_cpu_seconds_total": (),
        "process_resident_memory_bytes": (),
        "process_open_fds": (),
        "process_start_time_seconds": (),
        # Prometheus and Alertmanager
        "up": (),
        "scrape_duration_seconds": (),
        "ALERTS": {"alertname", "alertstate", "severity", "layer", "team", "subject"},
        "prometheus_rule_evaluation_failures_total": {"rule_group"},
        "alertmanager_notifications_failed_total": {"integration"},
    }.items()
}
"""Metrics that are no KPIs, and their labels: what the engine, its processes and its watchers expose."""

_OK = "see the alert rules"


def board() -> Layout:
    """The board of the machine itself."""
    return Layout(
        "salesgauge-engine-health",
        "Engine health",
        "Throughput, lag, freshness, dead letters, recovery and cardinality of salesgauge itself.",
        (
            Section("Now", tuple(_tiles())),
            Section("Flow", tuple(_flow())),
            Section("Live sources", tuple(_sources()), folded=True),
            Section("Work", tuple(_work()), folded=True),
            Section("Size", tuple(_size()), folded=True),
        ),
        time_from="now-3h",
        rep="none",
        refresh="30s",
        tags=("salesgauge", "engine"),
    )


def _target(op: str, value: float) -> Target:
    return Target.model_validate({"kpi": "engine", "window": "all", "op": op, "value": value, "summary": _OK})


def _tile(
    title: str, about: str, query: str, unit: str, target: Target | None, empty: str, width: int = 3
) -> stat.Panel:
    panel = big(title, about, width).unit(unit).no_value(empty).with_target(instant(query, title))
    mode = BigValueColorMode.NONE if target is None else BigValueColorMode.BACKGROUND
    return panel.color_mode(mode).thresholds(colours(target))


def _tiles() -> list[stat.Panel]:
    down = "no exporter is scraped"
    idle = "no worker is scraped"
    return [
        _tile("Ready", "Whether the gauges can be trusted; `/readyz` names the reasons.", "max(salesgauge_ready)",
              "bool_yes_no", _target("<", 1), down),
        _tile("Freshness", "Age of the oldest partition's last heartbeat.",
              "max(salesgauge_freshness_seconds)",
              "s", _target(">", 60), "no heartbeat yet"),
        _tile("Events per second", "Events applied by all workers, over 5 minutes.", f"sum({EVENTS})",
              "cps", None, "no event since the start"),
        _tile("Lag", "Records of all event topics that are not applied yet.", "sum(salesgauge_lag_records)",
              "none", _target(">", 5000), idle),
        _tile("Dead letters", "Records refused in the last 15 minutes.", f"sum({DEAD}) or vector(0)",
              "none", _target(">", 0), "none"),
        _tile("Workers", "Workers that answer the scrape.", "count(salesgauge_assigned_partitions)", "none",
              _target("<", 1), idle),
        _tile("Recovering", "Workers that read their changelog.", "sum(salesgauge_recovering)", "none",
              _target(">", 0), idle),
        _tile("Newest event", "How long ago the newest event happened; at night that may be long.",
              "time() - max(salesgauge_last_event_timestamp_seconds)", "s", None, "no event yet"),
    ]  # fmt: skip


def _lines(
    title: str, about: str, unit: str, *queries: tuple[str, str], width: int = 8, empty: str = "none"
) -> timeseries.Panel:
    panel = lines(title, about, width).unit(unit).no_value(empty)
    for query, legend in queries:
        panel.with_target(ranged(query, legend))
    return panel


def _flow() -> list[timeseries.Panel]:
    return [
        _lines("Events by kind", "Events applied per second.", "cps",
               ("sum by (event) (rate(salesgauge_events_total[$__rate_interval]))", "{{event}}"),
               empty="no event since the start"),
        _lines("Lag by partition", "Records not applied yet.", "none",
               ("max by (partition) (salesgauge_lag_records)", "{{partition}}"), empty="no worker is scraped"),
        _lines("Lag of the exporter", "Records of the windows topic not read yet.", "none",
               ("sum by (instance) (salesgauge_windows_lag_records)", "{{instance}}"), empty="no exporter is scraped"),
        _lines("Freshness, over time", "Age of the oldest partition's last heartbeat.", "s",
               ("max by (instance) (salesgauge_freshness_seconds)", "{{instance}}"), empty="no heartbeat yet"),
        _lines("Dead letters by reason", "Records refused per second.", "cps",
               ("sum by (reason) (rate(salesgauge_rejected_total[$__rate_interval]))", "{{reason}}"),
               empty="no record was refused"),
        _lines("Repetitions", "Events per second that were known already and changed nothing.", "cps",
               ("sum(rate(salesgauge_repeated_total[$__rate_interval]))", "repeated"), empty="no worker is scraped"),
    ]  # fmt: skip


def _sources() -> list[timeseries.Panel]:
    absent = "no ingest is scraped, or it has no such source"
    filled = (
        "sum by (source, event, field) (rate(salesgauge_ingest_filled_total[$__rate_interval])) / on (source, event) "
        "group_left sum by (source, event) (rate(salesgauge_ingest_events_total[$__rate_interval]))"
    )
    return [
        _lines("Since the last delivery", "How long ago the last webhook or polled change of a source came.", "s",
               ("time() - max by (source) (salesgauge_ingest_last_delivery_timestamp_seconds)", "{{source}}"),
               empty=absent),
        _lines("Behind the source", "From the source's time of a change to its arrival.", "s",
               ("max by (source) (salesgauge_ingest_source_lag_seconds)", "{{source}}"), empty=absent),
        _lines("Raw records that wait", "Received records that are not mapped to events yet.", "none",
               ("max by (source) (salesgauge_ingest_lag_records)", "{{source}}"), empty=absent),
        _lines("Deliveries", "Deliveries per second that were written to the raw topic.", "cps",
               ("sum by (source) (rate(salesgauge_ingest_received_total[$__rate_interval]))", "{{source}}"),
               empty=absent),
        _lines("Refused and unmapped", "Requests that were refused, and records that gave no event though they should.",
               "none",
               ("sum by (source, reason) (increase(salesgauge_ingest_refused_total[$__rate_interval])) > 0",
                "{{source}}: refused, {{reason}}"),
               ("sum by (source, reason) (increase(salesgauge_ingest_unmapped_total[$__rate_interval])) > 0",
                "{{source}}: unmapped, {{reason}}"), empty="none"),
        _lines("Polls by outcome", "Requests to the sources' APIs; `limited` waited for the rate limit.", "cps",
               ("sum by (source, outcome) (rate(salesgauge_ingest_polls_total[$__rate_interval]))",
                "{{source}}: {{outcome}}"), empty="nothing is polled"),
        _lines("Least filled fields", "Share of a kind's events that have a field, of the ten that are filled least.",
               "percentunit", (f"bottomk(10, {filled})", "{{source}}: {{event}}.{{field}}"), empty=absent),
    ]  # fmt: skip


def _slowest(metric: str, name: str) -> tuple[tuple[str, str], ...]:
    mean = f"sum(rate({metric}_sum[$__rate_interval])) / sum(rate({metric}_count[$__rate_interval]))"
    high = f"histogram_quantile(0.99, sum by (le) (rate({metric}_bucket[$__rate_interval])))"
    return (mean, f"{name}, mean"), (high, f"{name}, p99")


def _work() -> list[timeseries.Panel]:
    quiet = "nothing was done in this time"
    return [
        _lines("Time to apply a batch", "From the batch to its new state.", "s",
               *_slowest("salesgauge_apply_seconds", "apply"), empty=quiet),
        _lines("Time to publish", "Publishing changed panes.", "s",
               *_slowest("salesgauge_publish_seconds", "publish"), empty=quiet),
        _lines("Time of a scrape", "Evaluating the catalogue for /metrics.", "s",
               *_slowest("salesgauge_scrape_seconds", "scrape"), empty=quiet),
        _lines("Batches", "Batches applied per second.", "cps",
               ("sum by (instance) (rate(salesgauge_batches_total[$__rate_interval]))", "{{instance}}"),
               empty="no worker is scraped"),
        _lines("Assigned partitions", "Partitions that each worker owns; together they are all.", "none",
               ("max by (instance) (salesgauge_assigned_partitions)", "{{instance}}"), empty="no worker is scraped"),
        _lines("Recovering, over time", "1 while a worker reads its changelog.", "none",
               ("max by (instance) (salesgauge_recovering)", "{{instance}}"), empty="no worker is scraped"),
    ]  # fmt: skip


_FILLED = (
    "bottomk(12, sum by (event, field, source_system) (rate(salesgauge_fields_filled_total[$__rate_interval]))"
    " / on (event, source_system) group_left () "
    "sum by (event, source_system) (rate(salesgauge_source_events_total[$__rate_interval])))"
)


def _size() -> list[timeseries.Panel]:
    jobs = 'job=~"salesgauge-.*"'
    return [
        _lines("Entities", "Leads, accounts, reps ... held by each worker.", "none",
               ("max by (instance) (salesgauge_entities)", "{{instance}}"), empty="no worker is scraped"),
        _lines("Series", "Series held by the exporter.", "none",
               ("max by (instance) (salesgauge_series)", "{{instance}}"), empty="no exporter is scraped"),
        _lines("Folded label values", "Values shown as `other`, because there are more than the ceiling.", "none",
               ("max by (kpi, breakdown) (salesgauge_folded_label_values)", "{{kpi}} by {{breakdown}}"),
               empty="nothing is folded"),
        _lines("Fields that are seldom filled", "Share of the events that have an optional field, by source; "
               "the twelve lowest.", "percentunit", (_FILLED, "{{event}}.{{field}} of {{source_system}}"),
               empty="no event since the start"),
        _lines("KPIs not connected", "KPIs without a value, since a kind of event that they need never came: "
               "`salesgauge kpis ID` names the kinds.", "none",
               ("max by (kpi) (salesgauge_kpi_connected) == 0", "{{kpi}}"), empty="all are connected"),
        _lines("Memory", "Resident memory of each process.", "bytes",
               (f"max by (job, instance) (process_resident_memory_bytes{{{jobs}}})", "{{job}} {{instance}}"),
               empty="not exposed on this system"),
        _lines("CPU", "Cores used by each process.", "none",
               (f"sum by (job, instance) (rate(process_cpu_seconds_total{{{jobs}}}[$__rate_interval]))",
                "{{job}} {{instance}}"), empty="not exposed on this system"),
        _lines("Versions", "Processes by version; two during a rolling update.", "none",
               ("count by (version) (salesgauge_build_info)", "{{version}}"), empty="no worker is scraped"),
    ]  # fmt: skip
