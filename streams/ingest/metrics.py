"""What ingest says about itself, per source."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge


class IngestMetrics:
    """Counters and gauges of all sources in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"salesgauge_ingest_{name}", text, ["source", *labels], registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"salesgauge_ingest_{name}", text, ["source", *labels], registry=registry)

        self._received = counter("received", "Deliveries written to the raw topic.")
        self._bytes = counter("received_bytes", "Bytes of these deliveries.")
        self._refused = counter("refused", "Requests that were refused, by reason.", "reason")
        self._last = gauge("last_delivery_timestamp_seconds", "When the last delivery came.")
        self._records = counter("records", "Raw records that were read.")
        self._events = counter("events", "Events that were published, by kind.", "event")
        self._unmapped = counter("unmapped", "Records or rows that gave no event, by reason.", "reason")
        self._ignored = counter("ignored", "Changes that are rightly no event, by kind.", "kind")
        self._lag = gauge("lag_records", "Raw records that are not mapped yet.")
        self._source_lag = gauge("source_lag_seconds", "From the source's time of the last change to its arrival.")
        self._filled = counter("filled", "Events of a kind that had a field.", "event", "field")
        self._polls = counter("polls", "Requests to the source's API, by outcome.", "outcome")
        self._found = counter("found_by_sweep", "Objects that a poll found and no delivery had told of.")
        self._cursor = gauge("cursor_timestamp_seconds", "Up to when an object's changes were polled.", "object")

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
