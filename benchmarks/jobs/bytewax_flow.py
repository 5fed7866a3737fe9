"""The peer bytewax, three KPIs with corrections and no durable state: `BOOTSTRAP EVENTS TOPIC`.

State lives in memory (no recovery store), sums are kept per key and hour. The clock runs from the first message to the
last. Runs in an environment of its own (`benchmarks/peers.py`), so it imports nothing of ours.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import bytewax.operators as op  # type: ignore[import-not-found]
from bytewax.connectors.kafka import KafkaSource  # type: ignore[import-not-found]
from bytewax.dataflow import Dataflow  # type: ignore[import-not-found]
from bytewax.testing import TestingSink, run_main  # type: ignore[import-not-found]
from three_kpis import KINDS, Lead, changes, key_of  # type: ignore[import-not-found]

_BATCH = 1000


def main(bootstrap: str, events: int, topic: str) -> None:
    times: list[tuple[float, float]] = []
    seen = 0

    def decode(message: Any) -> list[tuple[str, dict[str, Any]]]:
        nonlocal seen
        times.append((time.process_time(), time.perf_counter()))
        del times[1:-1]
        seen += 1
        event = json.loads(message.value)
        return [(key_of(event), event)] if event["event"] in KINDS else []

    def fold(lead: Lead | None, event: dict[str, Any]) -> tuple[Lead, list[tuple[str, float]]]:
        known = {} if lead is None else lead
        return known, [(f"{name}@{hour}", amount) for name, hour, amount in changes(known, event)]

    def add(total: float | None, amount: float) -> tuple[float, float]:
        new = (total or 0.0) + amount
        return new, new

    flow = Dataflow("bench")
    source = KafkaSource([bootstrap], [topic], tail=False, batch_size=_BATCH)
    stream = op.flat_map("decode", op.input("events", flow, source), decode)
    rows = op.flatten("rows", op.map("unkeyed", op.stateful_map("leads", stream, fold), lambda pair: pair[1]))
    result: list[Any] = []
    op.output("out", op.stateful_map("sums", rows, add), TestingSink(result))
    run_main(flow)
    end = (time.process_time(), time.perf_counter())
    if seen < events:
        sys.exit(f"{seen} of {events} events were processed")
    print(json.dumps({"events": seen, "cpu": end[0] - times[0][0], "seconds": end[1] - times[0][1]}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
