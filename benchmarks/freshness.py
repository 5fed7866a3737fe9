"""From the producer to the gauge: how old an event is when the exporter's sums first hold it."""

from __future__ import annotations

import bisect
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks import load
from benchmarks.runs import ROOT
from schemas.codec import encode
from streams.exporter import Board, Exporter
from streams.topics import create

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import EventBase
    from streams.settings import Settings

_TICK = 0.02
_LOOK = 0.002
_PATIENCE = 5.0
_SOME_TIME = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
_SOME_TIME_JSON = b"2001-02-03T04:05:06Z"


def freshness(bootstrap: str, batch: Sequence[EventBase], per_second: float) -> tuple[float, float]:
    """(p50, p99) in seconds at a steady rate, with one worker and one exporter; all happens as it is sent."""
    settings = load.settings_for(bootstrap, 1)
    create(settings)
    exporter = Exporter(settings, Board(settings))
    exporter.start()
    command = [sys.executable, "-m", "benchmarks.jobs.salesgauge", bootstrap, "1", str(len(batch))]
    worker = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not exporter.board.subscriber.statuses:
            time.sleep(_LOOK)
        sent: list[tuple[int, float]] = []
        sender = threading.Thread(target=_send, args=(settings, batch, per_second, sent))
        sender.start()
        ages = _watch(exporter.board, sent, len(batch))
        sender.join()
    finally:
        worker.kill()
        worker.wait()
        exporter.stop()
    return ages[len(ages) // 2], ages[len(ages) * 99 // 100]


def _send(settings: Settings, batch: Sequence[EventBase], rate: float, sent: list[tuple[int, float]]) -> None:
    """Send at a rate; with a client in C and events encoded before, which leaves the cores to the others."""
    moment = {"occurred_at": _SOME_TIME, "recorded_at": None}
    parts = [(e.topic, e.key, encode(e.model_copy(update=moment)).split(_SOME_TIME_JSON)) for e in batch]
    producer = Producer({"bootstrap.servers": settings.kafka.bootstrap, "acks": "all", "linger.ms": 2})
    began, done = time.perf_counter(), 0
    while done < len(parts):
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z").encode()
        due = min(len(parts), int((time.perf_counter() - began + _TICK) * rate))
        for topic, key, (head, tail) in parts[done:due]:
            producer.produce(topic, head + now + tail, key, partition=0)
        producer.poll(0)
        done = due
        sent.append((done, time.perf_counter()))
        time.sleep(_TICK)
    producer.flush()


def _watch(board: Board, sent: list[tuple[int, float]], expected: int) -> list[float]:
    """The age of each group of events (those sent at one time) when the last of it shows; sorted."""
    ages: list[float] = []
    seen, grown = 0, time.perf_counter()
    while seen < expected and time.perf_counter() < grown + _PATIENCE:
        with board.lock:
            shown = board.totals().events
        if shown > seen:
            now = time.perf_counter()
            first, last = (bisect.bisect_right(sent, (n, float("inf"))) for n in (seen, shown))
            ages += [now - at for _, at in sent[first:last]]
            seen, grown = shown, now
        time.sleep(_LOOK)
    return sorted(ages)
