"""What ingest says about itself, per source."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class IngestMetrics:
    """Counters and gauges of all sources in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._received = Counter(
            "salesgauge_ingest_received", "Deliveries written to the raw topic.", ["source"], registry=registry
        )
        self._bytes = Counter(
            "salesgauge_ingest_received_bytes", "Bytes of these deliveries.", ["source"], registry=registry
        )
        self._refused = Counter(
            "salesgauge_ingest_refused",
            "Requests that were refused, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self._last = Gauge(
            "salesgauge_ingest_last_delivery_timestamp_seconds",
            "When the last delivery came.",
            ["source"],
            registry=registry,
        )
        self._records = Counter(
            "salesgauge_ingest_records", "Raw records that were read.", ["source"], registry=registry
        )
        self._events = Counter(
            "salesgauge_ingest_events", "Events that were published, by kind.", ["source", "event"], registry=registry
        )
        self._unmapped = Counter(
            "salesgauge_ingest_unmapped",
            "Records or rows that gave no event, by reason.",
            ["source", "reason"],
            registry=registry,
        )
        self._ignored = Counter(
            "salesgauge_ingest_ignored",
            "Changes that are rightly no event, by kind.",
            ["source", "kind"],
            registry=registry,
        )
        self._lag = Gauge(
            "salesgauge_ingest_lag_records", "Raw records that are not mapped yet.", ["source"], registry=registry
        )
        self._source_lag = Gauge(
            "salesgauge_ingest_source_lag_seconds",
            "From the source's time of the last change to its arrival.",
            ["source"],
            registry=registry,
        )
        self._filled = Counter(
            "salesgauge_ingest_filled",
            "Events of a kind that had a field.",
            ["source", "event", "field"],
            registry=registry,
        )
        self._polls = Counter(
            "salesgauge_ingest_polls",
            "Requests to the source's API, by outcome.",
            ["source", "outcome"],
            registry=registry,
        )
        self._found = Counter(
            "salesgauge_ingest_found_by_sweep",
            "Objects that a poll found and no delivery had told of.",
            ["source"],
            registry=registry,
        )
        self._cursor = Gauge(
            "salesgauge_ingest_cursor_timestamp_seconds",
            "Up to when an object's changes were polled.",
            ["source", "object"],
            registry=registry,
        )

    def received(self, source: str, now: float, size: int) -> None:
        """A delivery was acknowledged at ``now`` (seconds since the epoch)."""
        self._received.labels(source).inc()
        self._bytes.labels(source).inc(size)
        self._last.labels(source).set(now)

    def refused(self, source: str, reason: str) -> None:
        """A request was refused; ``source`` is empty where it named none that there is."""
        self._refused.labels(source, reason).inc()

    def mapped(self, source: str, records: int) -> None:
        """Raw records were read."""
        self._records.labels(source).inc(records)

    def event(self, source: str, event: str, fields: frozenset[str]) -> None:
        """An event was published that had these of the fields that its kind may lack."""
        self._events.labels(source, event).inc()
        for name in fields:
            self._filled.labels(source, event, name).inc()

    def unmapped(self, source: str, reason: str, count: int = 1) -> None:
        """Something gave no event though it should."""
        self._unmapped.labels(source, reason).inc(count)

    def ignored(self, source: str, kind: str, count: int = 1) -> None:
        """Something is rightly no event."""
        self._ignored.labels(source, kind).inc(count)

    def lag(self, source: str, records: int) -> None:
        """So many raw records are still to be read."""
        self._lag.labels(source).set(records)

    def source_lag(self, source: str, seconds: float) -> None:
        """The last change took so long to arrive."""
        self._source_lag.labels(source).set(seconds)

    def polled(self, source: str, outcome: str) -> None:
        """A request to the API was answered."""
        self._polls.labels(source, outcome).inc()

    def found(self, source: str, count: int) -> None:
        """A poll found objects whose change no delivery had told of."""
        self._found.labels(source).inc(count)

    def cursor(self, source: str, kind: str, seconds: float) -> None:
        """The changes of a kind of object are known up to this time."""
        self._cursor.labels(source, kind).set(seconds)
