"""The peer Quix Streams: `BOOTSTRAP EVENTS TOPIC MODE`.

`count` is one tumbling-window count per event. `sums:N` adds to N keyed sums per event, without the state that says
which. `kpis` computes three KPIs with corrections (`three_kpis.py`). The clock runs from the first message to the last
one that was processed: what is flushed and committed after that is not counted.

Runs in an environment of its own (`benchmarks/peers.py`), so it imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from collections import Counter
from typing import Any
from uuid import uuid4

warnings.simplefilter("ignore")

from quixstreams import Application  # type: ignore[import-not-found]  # noqa: E402
from three_kpis import HOUR_MS, KINDS, changes  # type: ignore[import-not-found]  # noqa: E402

_QUIET_SECONDS = 10.0
"""After so long without a message all have been processed, those of Quix's own topics too."""
_GRACE_MS = 2 * 365 * 24 * HOUR_MS
"""Corrections reach far back."""


class Clock:
    """Processor and wall time between the first and the last message."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.seen: Counter[str] = Counter()
        self.first = self.last = (0.0, 0.0)

    def tick(self, topic: str, _partition: int, _offset: int) -> None:
        self.last = (time.process_time(), time.perf_counter())
        if not self.seen:
            self.first = self.last
        self.seen[topic] += 1

    def said(self) -> dict[str, float]:
        cpu, seconds = (end - start for start, end in zip(self.first, self.last, strict=True))
        return {"events": self.seen[self.topic], "messages": self.seen.total(), "cpu": cpu, "seconds": seconds}


def count(frame: Any) -> None:
    frame.tumbling_window(duration_ms=HOUR_MS, grace_ms=_GRACE_MS).count().current()


def sums(frame: Any, number: int) -> None:
    def spread(event: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"key": f"{i}|{event['event']}|{event.get('rep_id')}", "amount": 1} for i in range(number)]

    _summed(frame.apply(spread, expand=True))


def kpis(frame: Any) -> None:
    def fold(event: dict[str, Any], state: Any) -> list[dict[str, Any]]:
        lead = state.get("lead", {})
        found = changes(lead, event)
        state.set("lead", lead)
        return [{"key": name, "at": hour, "amount": amount} for name, hour, amount in found]

    known = frame.filter(lambda event: event["event"] in KINDS)
    rows = known.apply(fold, stateful=True, expand=True)
    _summed(rows.set_timestamp(lambda row, _key, _timestamp, _headers: row["at"]))


def _summed(rows: Any) -> None:
    keyed = rows.group_by(lambda row: row["key"], name="key", value_deserializer="json", key_deserializer="str")
    window = keyed.tumbling_window(duration_ms=HOUR_MS, grace_ms=_GRACE_MS)
    window.reduce(lambda total, row: total + row["amount"], lambda row: row["amount"]).current()


def main(bootstrap: str, events: int, topic: str, mode: str) -> None:
    clock = Clock(topic)
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{uuid4().hex[:8]}",
        auto_offset_reset="earliest",
        state_dir=tempfile.mkdtemp(prefix="bench-quix-"),
        loglevel="ERROR",
        on_message_processed=clock.tick,
    )
    frame = app.dataframe(app.topic(topic, value_deserializer="json", key_deserializer="str"))
    name, _, number = mode.partition(":")
    {"count": count, "sums": lambda frame: sums(frame, int(number)), "kpis": kpis}[name](frame)
    app.run(timeout=_QUIET_SECONDS, collect=False)
    if clock.seen[topic] < events:
        sys.exit(f"{clock.seen[topic]} of {events} events were processed")
    print(json.dumps(clock.said()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4])
