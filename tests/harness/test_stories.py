"""Random stories. Two belong to the suite, more to `make nightly`; by hand:

SALESGAUGE_STORIES=200 python -m pytest -m nightly tests/harness
SALESGAUGE_SEED=4711 python -m pytest tests/harness             # one story again
"""

from __future__ import annotations

import os
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from salesgauge.streams.kafka.embedded import EmbeddedBroker
from tests.harness.story import Broker, Story, embedded
from tests.support.live import Live

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = 12
SEEDS = [int(os.environ["SALESGAUGE_SEED"])] if "SALESGAUGE_SEED" in os.environ else [1]
"""Of the suite; a seed that found a fault is added here."""
NIGHTLY = int(os.environ.get("SALESGAUGE_STORIES", "20"))

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_story_on_the_embedded_broker(embedded_kafka: object, tmp_path: Path, seed: int) -> None:
    on_embedded(tmp_path, seed)


@pytest.mark.kafka
@pytest.mark.parametrize("seed", SEEDS)
def test_a_story_on_apache_kafka(own_kafka: Callable[..., Any], tmp_path: Path, seed: int) -> None:
    on_apache(own_kafka, tmp_path, seed)


@pytest.mark.nightly
@pytest.mark.kafka
@pytest.mark.parametrize("number", range(NIGHTLY))
def test_many_stories(own_kafka: Callable[..., Any], tmp_path: Path, number: int) -> None:
    """New ones every night: a failure names its seed."""
    seed = random.SystemRandom().randrange(10**9)
    if number % 2:
        on_embedded(tmp_path, seed)
    else:
        on_apache(own_kafka, tmp_path, seed)


@pytest.mark.nightly
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("guarantee", ["ODD_CARELESS", "ODD_FORGETS", "ODD_UNFENCED", "ODD_DEAF", "ODD_SILENT"])
def test_a_guarantee_that_is_switched_off_is_found(tmp_path: Path, guarantee: str) -> None:
    """Each by some story of fifty; :mod:`tests.support.odd_worker` says what is switched off."""
    for seed in range(50):
        with suppress(AssertionError):
            on_embedded(tmp_path / str(seed), seed, {guarantee: "1"})
            continue
        return
    pytest.fail("no story finds it")


def on_embedded(folder: Path, seed: int, odd: dict[str, str] | None = None) -> None:
    with EmbeddedBroker() as broker, Live(broker.bootstrap, folder) as live:
        Story(seed, live, embedded(broker._process), odd or {}).play(STEPS)


def on_apache(own_kafka: Callable[..., Any], folder: Path, seed: int) -> None:
    kafka = own_kafka()
    partitions = random.Random(seed).choice([1, 3, 4])
    with Live(kafka.bootstrap, folder, partitions=partitions) as live:
        Story(seed, live, Broker(kafka.pause, kafka.resume, kafka.restart, grows=True)).play(STEPS)
