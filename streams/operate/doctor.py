"""What `salesgauge doctor` looks at. Each check says what it found and what to do about it."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from importlib import metadata
from itertools import islice
from typing import TYPE_CHECKING, Any

from salesgauge.schemas.codec import Rejection, count_unknown, read_batch, told_unknown
from salesgauge.schemas.events import EVENTS
from salesgauge.schemas.events.base import topic_of
from salesgauge.schemas.filling import Filled, Filling
from salesgauge.streams.io.secrets import shown
from salesgauge.streams.kafka import control, topics
from salesgauge.streams.kafka.connection import BrokerError, admin
from salesgauge.streams.kafka.lag import Behind, LagReader
from salesgauge.streams.kafka.whole_topic import read_latest
from salesgauge.streams.operate.check import Check, Level
from salesgauge.streams.operate.dead_letters import CLOSED, REDRIVEN, Selection, read
from salesgauge.streams.operate.live_sources import source_checks
from salesgauge.streams.settings.file import SettingsError
from salesgauge.streams.settings.model import Settings, Web, unknown_variables
from salesgauge.streams.worker.transport import TESTED_VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_HTTP_SECONDS = 3.0
_SLOW_SECONDS = 2.0
_SKEW_SECONDS = 5.0
_LATEST = 200
"""Events that are looked at, of each partition of a topic."""
_BATCH = 1000


@dataclass(slots=True)
class Report:
    """All checks, how far each partition is behind, and which fields the latest events have."""

    checks: list[Check] = field(default_factory=list)
    behind: list[Behind] = field(default_factory=list)
    filled: list[Filled] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """Whether no check failed; warnings do not count."""
        return all(check.state != "fail" for check in self.checks)


def examine(settings: Settings, exporter: str | None = None, ingest: str | None = None) -> Report:
    """Look at everything that the settings name.

    Args:
        settings: of the installation.
        exporter: where the exporter listens; by default where the settings put it, and then its absence is no failure.
        ingest: where ingest shows its metrics; by default as with the exporter, and only where the settings name
            sources.
    """
    report = Report([*_variables(), faust()])
    reachable, settings = _kafka(report, settings)
    if reachable:
        for look in (_topics, _workers, _dead_letters, _fields):
            _guarded(report, look, settings)
    report.checks.extend(_exporter(settings.web, exporter))
    report.checks.extend(_sources(settings, ingest))
    return report


def _guarded(report: Report, look: Callable[[Report, Settings], None], settings: Settings) -> None:
    try:
        look(report, settings)
    except BrokerError as error:
        report.checks.append(Check(look.__name__.strip("_").replace("_", " "), "fail", str(error)))


def _variables() -> Iterator[Check]:
    for name in unknown_variables():
        yield Check("settings", "warn", f"the variable {name} is no setting", "look for a typing error, or unset it")


def faust() -> Check:
    """Whether the installed Faust is one that the delivery path was tested with."""
    tested = ", ".join(TESTED_VERSIONS)
    try:
        version = metadata.version("faust-streaming")
    except metadata.PackageNotFoundError:
        return Check("Faust", "fail", "faust-streaming is not installed", "install salesgauge anew")
    if version in TESTED_VERSIONS:
        return Check("Faust", "ok", f"{version}, a tested version")
    return Check("Faust", "fail", f"{version} was never tested (tested: {tested})", "install a tested version")


def _kafka(report: Report, settings: Settings) -> tuple[bool, Settings]:
    began = time.monotonic()
    where = f"{settings.kafka.bootstrap}"
    try:
        with admin(settings.kafka) as client:
            client.list_topics()
        took = time.monotonic() - began
        active = control.read(settings)
    except (BrokerError, SettingsError) as error:
        report.checks.append(Check("Kafka", "fail", str(error), "see `kafka` in docs/operations.md"))
        return False, settings
    state: Level = "ok" if took < _SLOW_SECONDS else "warn"
    remedy = "" if state == "ok" else "look at the network, DNS and the brokers' load"
    report.checks.append(Check("Kafka", state, f"{where} answered in {took * 1000:.0f} ms", remedy))
    return True, _version(report, settings, active)


def _version(report: Report, settings: Settings, active: control.Active | None) -> Settings:
    """Which version is looked at: the one that the settings name, else the active one."""
    if active is None:
        report.checks.append(Check("version", "ok", f"{settings.version}; there was no rebuild yet"))
        return settings
    chosen = settings if control.explicit(settings) else settings.model_copy(update={"version": active.version})
    if chosen.version != active.version:
        message = f"the settings name version {chosen.version}, but {active.version} is the active one"
        report.checks.append(Check("version", "warn", message, "remove `version` from the settings to follow"))
    elif active.rules != settings.rules:
        message = f"version {active.version} was computed with other rules than those of the settings"
        report.checks.append(
            Check("version", "warn", message, "run `salesgauge rebuild run` to apply them to the past")
        )
    else:
        report.checks.append(Check("version", "ok", f"{active.version} is the active one"))
    return chosen


def _topics(report: Report, settings: Settings) -> None:
    findings = topics.check(settings)
    if not findings:
        report.checks.append(Check("topics", "ok", f"all {len(topics.wanted(settings))} are right"))
    alike: dict[tuple[str, str, bool], list[str]] = {}
    for finding in findings:
        alike.setdefault((finding.problem, finding.remedy, finding.fatal), []).append(finding.topic)
    for (problem, remedy, fatal), names in alike.items():
        which = names[0] if len(names) == 1 else f"each of {len(names)} topics ({names[0]} …)"
        report.checks.append(Check("topics", "fail" if fatal else "warn", f"{which} {problem}", remedy))


def _workers(report: Report, settings: Settings) -> None:
    with LagReader(settings) as reader:
        report.behind = reader.read()
        group = reader.group()
    total = sum(one.records for one in report.behind)
    if group.members is None:
        message = f"this broker does not tell who is in {group.name}"
        report.checks.append(Check("workers", "warn", message, "look at /readyz of workers and exporter"))
    elif group.members == 0:
        report.checks.append(Check("workers", "fail", f"nobody is in {group.name}", "start `salesgauge worker`"))
    else:
        report.checks.append(Check("workers", "ok", f"{group.members} in {group.name} ({group.state})"))
    if total > settings.ready_lag:
        remedy = "wait, or start more workers (as many as there are partitions)"
        report.checks.append(Check("lag", "warn", f"{total:,} records behind", remedy))
    else:
        report.checks.append(Check("lag", "ok", f"{total:,} records behind"))


def _dead_letters(report: Report, settings: Settings) -> None:
    with admin(settings.kafka) as client:
        if settings.dead_letter_topic not in client.list_topics():
            return  # the check of the topics says so
    letters = read(settings)
    waiting = letters.select(Selection(), only_open=True)
    if not waiting:
        done = f"{letters.count(REDRIVEN):,} redriven, {letters.count(CLOSED):,} closed"
        report.checks.append(Check("dead letters", "ok", f"none open; {done}"))
        return
    reasons = sorted({letter.reason for letter in waiting})
    message = f"{len(waiting):,} open ({', '.join(reasons)})"
    report.checks.append(
        Check("dead letters", "warn", message, "see `salesgauge dead-letters list`; redrive or close them")
    )


def _fields(report: Report, settings: Settings) -> None:
    """Look at the latest events: which optional fields they have, and which fields their kind does not have."""
    filling = Filling()
    unknown: Counter[str] = Counter()
    records = read_latest(settings.kafka, map(topic_of, EVENTS), _LATEST)
    while batch := list(islice(records, _BATCH)):
        payloads = [record.value for record in batch]
        for payload, event in zip(payloads, read_batch(payloads), strict=True):
            if not isinstance(event, Rejection):
                filling.add(event)
                count_unknown(unknown, payload, event)
    report.filled = list(filling.take())
    looked = f"the latest {sum(one.events for one in report.filled):,} events"
    if unknown:
        message = f"{looked} have {told_unknown(unknown)}"
        report.checks.append(Check("fields", "warn", message, "correct the producer; see docs/events.md"))
    else:
        report.checks.append(Check("fields", "ok", f"{looked} have no unknown field"))


# --- the exporter


def address(web: Web) -> str:
    """Where a reader on this machine finds the exporter."""
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(web.host, web.host)  # noqa: S104 - not bound, translated
    return f"{'https' if web.tls else 'http'}://{host}:{web.port}"


def _exporter(web: Web, url: str | None) -> Iterator[Check]:
    base = (url or address(web)).rstrip("/")
    name = shown(base)
    if not base.startswith(("http://", "https://")):
        yield Check("exporter", "fail", f"{name} is no address", "name it as http://host:port")
        return
    try:
        status, document, date = _get(f"{base}/readyz", web)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        state: Level = "fail" if url else "warn"
        yield Check("exporter", state, f"{name}: {reason}", "start `salesgauge exporter`, or name it with --exporter")
        return
    reasons = "; ".join(map(str, document.get("reasons", ())))
    if status == 200:  # noqa: PLR2004
        yield Check("exporter", "ok", f"{name} is ready")
    else:
        yield Check(
            "exporter", "fail", f"{name} is not ready: {reasons or status}", "see `exporter` in docs/operations.md"
        )
    if date is not None and abs(date - time.time()) > _SKEW_SECONDS:
        message = f"its clock and this one differ by {abs(date - time.time()):.0f} s"
        yield Check("clock", "warn", message, "synchronise the clocks (NTP): windows end at the exporter's now")


def _sources(settings: Settings, url: str | None) -> Iterator[Check]:
    web = settings.ingest.metrics_web
    base = (url or address(web)).rstrip("/")
    if not base.startswith(("http://", "https://")):
        yield Check("ingest", "fail", f"{shown(base)} is no address", "name it as http://host:port")
    elif url is not None or settings.ingest.sources is not None:
        yield from source_checks(base, web, _context(base, web), required=url is not None)


def _get(url: str, web: Web) -> tuple[int, dict[str, Any], float | None]:
    """Status, JSON and the server's clock (s since the epoch)."""
    request = urllib.request.Request(url)  # noqa: S310 - only http and https come here
    try:
        with urllib.request.urlopen(request, timeout=_HTTP_SECONDS, context=_context(url, web)) as answer:  # noqa: S310
            return _answer(answer.status, answer)
    except urllib.error.HTTPError as answer:
        with answer:
            return _answer(answer.code, answer)


def _answer(status: int, answer: Any) -> tuple[int, dict[str, Any], float | None]:
    document: Any = {}
    with suppress(ValueError):
        document = json.loads(answer.read(1_000_000))
    date = None
    with suppress(TypeError, ValueError):
        date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    return status, document if isinstance(document, dict) else {}, date


def _context(url: str, web: Web) -> ssl.SSLContext | None:
    """Trusts the system's authorities, and the one of the settings."""
    if not url.startswith("https"):
        return None
    context = ssl.create_default_context()
    authority: Path | None = (web.tls.ca_file or web.tls.cert_file) if web.tls else None
    if authority is not None:
        context.load_verify_locations(authority)
    return context
