"""From the producer to the gauge: how old an event is when the exporter's sums first hold it."""

from __future__ import annotations

import bisect
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.runs import ROOT
from streams.exporter import Board, Exporter
from streams.publish import Publisher
from streams.topics import create

if TYPE_CHECKING:
    from collections.abc import Sequence

    from schemas.events import EventBase

_TICK = 0.02
_LOOK = 0.002


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


def _send(settings: load.Settings, batch: Sequence[EventBase], rate: float, sent: list[tuple[int, float]]) -> None:
    began = time.perf_counter()
    with Publisher(settings.kafka, linger_ms=2) as publisher:
        while len(batch) > publisher.sent:
            due = min(len(batch), int((time.perf_counter() - began + _TICK) * rate))
            now = {"occurred_at": datetime.now(UTC), "recorded_at": None}
            for event in batch[publisher.sent : due]:
                publisher.send(event.model_copy(update=now))
            sent.append((publisher.sent, time.perf_counter()))
            time.sleep(_TICK)


def _watch(board: Board, sent: list[tuple[int, float]], expected: int) -> list[float]:
    """The age of each group of events (those sent at one time) when the last of it shows; sorted."""
    ages: list[float] = []
    seen, until = 0, time.perf_counter() + 120
    while seen < expected and time.perf_counter() < until:
        with board.lock:
            shown = board.totals().events
        if shown > seen:
            now = time.perf_counter()
            first, last = (bisect.bisect_right(sent, (n, float("inf"))) for n in (seen, shown))
            ages += [now - at for _, at in sent[first:last]]
            seen = shown
        time.sleep(_LOOK)
    return sorted(ages)
