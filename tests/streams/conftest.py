"""Fixtures of the tests of the outer room."""

from __future__ import annotations

import pytest

from salesgauge.streams.kafka import connection as brokers


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients in this process do not wait for a broker that is not there."""
    monkeypatch.setattr(brokers, "_TIMEOUT_MS", 200)
