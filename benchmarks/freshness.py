"""From the producer to the gauge: how old an event is when the exporter's sums first hold it.

Producer, worker and exporter are processes of their own, as is the broker.
"""

from __future__ import annotations

import bisect
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import load
from benchmarks.runs import ROOT
from salesgauge.streams.kafka.topics import create
from salesgauge.streams.serve.exporter import Board, Exporter

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOK = 0.002
_PATIENCE = 5.0


class Freshness(NamedTuple):
    """Quantiles of age in seconds, and the share of all the machine's cores that was busy meanwhile."""

    p50: float
    p99: float
    busy: float


def freshness(bootstrap: str, days: int, events: int, per_second: float) -> Freshness:
    """Measure at a steady rate, with one worker and one exporter; all happens as it is sent."""
    settings = load.settings_for(bootstrap, 1)
    create(settings)
    exporter = Exporter(settings, Board(settings))
    exporter.start()
    worker = _start("salesgauge", bootstrap, 1, events + 1)  # one more, so that it stays to publish
    sender = _start("sender", bootstrap, days, events, per_second)
    try:
        while not exporter.board.subscriber.statuses:
            time.sleep(_LOOK)
        assert sender.stdin is not None
        sender.stdin.write("go\n")
        sender.stdin.flush()
        before = _processor_time()
        shown = _watch(exporter.board, events)
        after = _processor_time()
        said, _ = sender.communicate(timeout=60)
    finally:
        for process in (worker, sender):
            process.kill()
            process.wait()
        exporter.stop()
    ages = _ages(json.loads(said), shown)
    return Freshness(ages[len(ages) // 2], ages[len(ages) * 99 // 100], (after[0] - before[0]) / (after[1] - before[1]))


def _start(job: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"benchmarks.jobs.{job}", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def _watch(board: Board, expected: int) -> list[tuple[int, float]]:
    """How many events were shown when, monotonic seconds."""
    shown = [(0, time.monotonic())]
    while shown[-1][0] < expected and time.monotonic() < shown[-1][1] + _PATIENCE:
        with board.lock:
            events = board.totals().events
        if events > shown[-1][0]:
            shown.append((events, time.monotonic()))
        time.sleep(_LOOK)
    return shown


def _processor_time() -> tuple[int, int]:
    """(busy, all) ticks of all cores since the machine was started."""
    user, nice, system, idle, waiting, *others = map(int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:])
    busy = user + nice + system + sum(others[:3])
    return busy, busy + idle + waiting


def _ages(sent: Sequence[Sequence[float]], shown: Sequence[tuple[int, float]]) -> list[float]:
    """The age of each group of events (those sent at one time) when the last of it shows; sorted.

    Raises:
        RuntimeError: not all were shown.
    """
    counts = [events for events, _ in shown]
    if counts[-1] < sent[-1][0]:
        raise RuntimeError(f"{counts[-1]} of {sent[-1][0]} events were shown")
    return sorted(shown[bisect.bisect_left(counts, events)][1] - at for events, at in sent)
