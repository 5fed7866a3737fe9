"""Fixtures for the whole suite: brokers, real data, and the account of what was skipped for missing parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

import pytest
from hypothesis import settings

from tests.support.kafka import ApacheKafka, why_not
from tests.support.missing import PREFIX, in_ci, missing
from tests.support.shared import require_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


# No deadline per example: the machines are shared and small. Failures print what reproduces them.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, print_blob=True)
settings.register_profile("nightly", deadline=None, print_blob=True, max_examples=2000)
settings.load_profile("ci" if in_ci() else "default")

COSTS = ("integration", "e2e", "nightly")


class HasBootstrap(Protocol):
    """Both kinds of broker, the embedded one and Apache Kafka."""

    @property
    def bootstrap(self) -> str:
        """Host and port, as clients take it."""


@dataclass(frozen=True)
class Broker:
    """The broker a test runs on. Its topics are shared with other tests: take names from `topic`."""

    kind: str
    bootstrap: str
    cluster: Any = field(repr=False)

    def topic(self, stem: str) -> str:
        """A topic name that no other test has."""
        return f"{stem}-{uuid4().hex[:8]}"


# --- brokers


@pytest.fixture(scope="session")
def embedded_kafka() -> Iterator[HasBootstrap]:
    """The broker in this process's care that `salesgauge demo` uses."""
    try:
        from salesgauge.streams.kafka.embedded import EmbeddedBroker
    except ImportError as absent:
        missing(f"the embedded broker: {absent}", "make setup")
    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(scope="session")
def apache_kafka() -> Iterator[ApacheKafka]:
    """One Apache Kafka broker for the whole run. Tests that break brokers start their own."""
    _require_kafka()
    with ApacheKafka() as kafka:
        yield kafka


@pytest.fixture
def own_kafka() -> Iterator[Callable[..., ApacheKafka]]:
    """Start Apache Kafka clusters for one test: `own_kafka(brokers=3, settings={...})`. They end with it."""
    _require_kafka()
    clusters: list[ApacheKafka] = []

    def start(**options: Any) -> ApacheKafka:
        cluster = ApacheKafka(**options)
        clusters.append(cluster)
        return cluster.start()

    yield start
    for cluster in clusters:
        cluster.close()


@pytest.fixture(
    scope="session",
    params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)],
    ids=lambda kind: kind,
)
def broker(request: pytest.FixtureRequest) -> Broker:
    """The test runs once on the embedded broker and once on Apache Kafka."""
    cluster = request.getfixturevalue("embedded_kafka" if request.param == "embedded" else "apache_kafka")
    return Broker(kind=request.param, bootstrap=cluster.bootstrap, cluster=cluster)


@pytest.fixture(scope="module")
def fresh_embedded(embedded_kafka: HasBootstrap) -> Iterator[HasBootstrap]:
    """An embedded broker for one module, without the events of other tests."""
    del embedded_kafka  # skips where it is absent
    from salesgauge.streams.kafka.embedded import EmbeddedBroker

    with EmbeddedBroker() as running:
        yield running


@pytest.fixture(
    params=[
        pytest.param("embedded", marks=pytest.mark.nightly),
        pytest.param("apache", marks=pytest.mark.kafka),
    ],
    ids=lambda kind: kind,
)
def fresh_broker(request: pytest.FixtureRequest) -> Any:
    """A broker that nobody else has used: Apache Kafka, and by night the embedded one, too."""
    if request.param == "embedded":
        return request.getfixturevalue("fresh_embedded")
    return request.getfixturevalue("own_kafka")()


def _require_kafka() -> None:
    reason = why_not()
    if reason is not None:
        missing(reason, "tools/fetch.sh kafka")


# --- real data


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the real exports; skips with a reason where it is absent."""
    return require_shared()


# --- what the run does and says


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Cheap tests first, whole systems last; the order stays otherwise.

    Several processes take the long files first instead, so that none of them is left with one at the end.
    """

    def cost(item: pytest.Item) -> int:
        return max((rank for rank, name in enumerate(COSTS, 1) if item.get_closest_marker(name)), default=0)

    several = hasattr(config, "workerinput") or bool(config.getoption("numprocesses", None))
    items.sort(key=cost, reverse=several)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A failed test shows the end of the logs of the brokers it used."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            cluster = value.cluster if isinstance(value, Broker) else value
            if isinstance(cluster, ApacheKafka):
                report.sections.append((f"log of {name}", cluster.tail()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count what was skipped because a part is missing, by part."""
    skipped = [report.longrepr for report in terminalreporter.getreports("skipped")]
    reasons = Counter(
        where[2].removeprefix("Skipped: ").removeprefix(PREFIX)
        for where in skipped
        if isinstance(where, tuple) and PREFIX in where[2]
    )
    if reasons:
        terminalreporter.section("skipped for missing parts", yellow=True)
        for reason, count in reasons.most_common():
            terminalreporter.line(f"{count:5d}  {reason}")
