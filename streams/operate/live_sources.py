"""What a running ingest says of its sources, as checks of the doctor."""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from salesgauge.streams.operate.check import Check
from salesgauge.streams.serve.doors import authorization

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from salesgauge.streams.settings.model import Web

_HTTP_SECONDS = 3.0
_MAX_BYTES = 5_000_000
_PREFIX = "salesgauge_ingest_"
_BEHIND = 1_000
"""Raw records that wait to be mapped, from which on it is said."""
_SHOWN = 3


@dataclass(slots=True)
class SourceStatus:
    """What the metrics of one source say; reasons and outcomes with how often they came since the start."""

    name: str
    received: int = 0
    last: float | None = None
    """When the last delivery came, seconds since the epoch."""
    behind: int = 0
    """Raw records that are not mapped yet."""
    late: float | None = None
    """From the source's time of the last change to its arrival, seconds."""
    refused: dict[str, int] = field(default_factory=dict)
    unmapped: dict[str, int] = field(default_factory=dict)
    polls: dict[str, int] = field(default_factory=dict)

    def check(self, now: float) -> Check:
        """The finding, with what to do where something was lost or waits."""
        failed = {outcome: count for outcome, count in self.polls.items() if outcome not in ("ok", "limited")}
        said = [
            "no delivery since the start" if self.last is None else f"last delivery {_ago(now - self.last)} ago",
            f"{self.behind:,} raw records wait",
            *([f"{self.polls['limited']:,} polls waited for the rate limit"] if self.polls.get("limited") else []),
            *([] if self.late is None else [f"{_ago(self.late)} behind the source"]),
            *(
                f"{sum(counts.values()):,} {what} ({_reasons(counts)})"
                for what, counts in (("refused", self.refused), ("unmapped", self.unmapped), ("failed polls", failed))
                if counts
            ),
        ]
        remedy = self._remedy(failed)
        return Check(f"source {self.name}", "warn" if remedy else "ok", "; ".join(said), remedy)

    def _remedy(self, failed: dict[str, int]) -> str:
        if self.unmapped:
            return f"see `salesgauge ingest check`, mend the source's file, then `ingest --source {self.name} --from`"
        if self.refused:
            return "compare the secret and address with those in the CRM"
        if failed:
            return "see `salesgauge ingest check`: credentials and permissions"
        return "wait; if it grows, look at the log of ingest" if self.behind > _BEHIND else ""


def source_checks(base: str, web: Web, context: ssl.SSLContext | None, *, required: bool) -> Iterator[Check]:
    """A check for each source of the ingest whose metrics are at an address.

    Args:
        base: such as ``http://127.0.0.1:9111``.
        web: how its metrics are guarded.
        context: of TLS.
        required: whether its absence is a failure.
    """
    try:
        text = _metrics(base, web, context)
        sources = statuses(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        remedy = "start `salesgauge ingest`, or name its metrics with --ingest"
        yield Check("ingest", "fail" if required else "warn", f"{base}: {reason}", remedy)
        return
    if not sources:
        yield Check("ingest", "ok", f"{base} answers; nothing has come yet")
    for source in sources:
        yield source.check(time.time())


def statuses(text: str) -> list[SourceStatus]:
    """The sources that metrics in Prometheus' text format tell of, by name.

    Raises:
        ValueError: it is no such text.
    """
    found: defaultdict[str, SourceStatus] = defaultdict(lambda: SourceStatus(""))
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, source = sample.name.removeprefix(_PREFIX), sample.labels.get("source")
            if source and sample.name.startswith(_PREFIX):
                found[source].name = source
                _note(found[source], name, sample.labels, sample.value)
    return [found[name] for name in sorted(found)]


def _note(status: SourceStatus, name: str, labels: dict[str, str], value: float) -> None:
    if name == "received_total":
        status.received = int(value)
    elif name == "last_delivery_timestamp_seconds":
        status.last = value
    elif name == "lag_records":
        status.behind = int(value)
    elif name == "source_lag_seconds":
        status.late = value
    elif name in ("refused_total", "unmapped_total") and value:
        counts = status.refused if name == "refused_total" else status.unmapped
        counts[labels["reason"]] = int(value)
    elif name == "polls_total" and value:
        status.polls[labels["outcome"]] = int(value)


def _metrics(base: str, web: Web, context: ssl.SSLContext | None) -> str:
    request = urllib.request.Request(f"{base}/metrics", headers=authorization(web))  # noqa: S310 - http(s) only
    with urllib.request.urlopen(request, timeout=_HTTP_SECONDS, context=context) as answer:  # noqa: S310
        text: str = answer.read(_MAX_BYTES).decode()
        return text


def _reasons(counts: dict[str, int]) -> str:
    commonest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    said = [f"{reason} {count:,}" for reason, count in commonest[:_SHOWN]]
    return ", ".join(said + ["\u2026"] * (len(commonest) > _SHOWN))


def _ago(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
