"""Fixtures of the integration tests: brokers whose event topics are one test's own, and an installation on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.live import SHRINKING, Live, some_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from salesgauge.schemas.events import EventBase


@pytest.fixture(scope="session")
def events() -> list[EventBase]:
    """Events whose totals can only grow."""
    return some_events(7, without=SHRINKING)


@pytest.fixture
def own_embedded(embedded_kafka: object) -> Iterator[str]:
    """The address of a fresh embedded broker."""
    from salesgauge.streams.kafka.embedded import EmbeddedBroker

    with EmbeddedBroker() as broker:
        yield broker.bootstrap


@pytest.fixture(params=["embedded", pytest.param("apache", marks=pytest.mark.kafka)])
def bootstrap(request: pytest.FixtureRequest) -> str:
    """The address of a broker, once of a fresh embedded one, once of Apache Kafka (`Live` clears its event topics)."""
    if request.param == "embedded":
        return str(request.getfixturevalue("own_embedded"))
    return str(request.getfixturevalue("apache_kafka").bootstrap)


@pytest.fixture
def live(bootstrap: str, tmp_path: Path) -> Iterator[Live]:
    """An installation without workers yet, on each broker."""
    with Live(bootstrap, tmp_path) as installation:
        yield installation


@pytest.fixture
def embedded(own_embedded: str, tmp_path: Path) -> Iterator[Live]:
    """An installation without workers yet, on the embedded broker."""
    with Live(own_embedded, tmp_path) as installation:
        yield installation
