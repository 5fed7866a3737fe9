"""Send events at a steady rate, as if each happened when it is sent: `BOOTSTRAP DAYS EVENTS RATE`.

Begins when it is told to on standard input; says at the end when (monotonic seconds) how many had been sent. The client
is one in C and events are encoded before, which leaves the cores to the others.
"""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime

from confluent_kafka import Producer

from benchmarks import load
from salesgauge.schemas.codec import encode

_TICK = 0.02
_SOME_TIME = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
_SOME_TIME_JSON = b"2001-02-03T04:05:06Z"


def main(bootstrap: str, days: int, events: int, rate: float) -> list[tuple[int, float]]:
    moment = {"occurred_at": _SOME_TIME, "recorded_at": None}
    batch = load.events(days)[:events]
    parts = [(e.topic, e.key, encode(e.model_copy(update=moment)).split(_SOME_TIME_JSON)) for e in batch]
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "linger.ms": 2})
    sys.stdin.readline()
    sent: list[tuple[int, float]] = []
    began, done = time.monotonic(), 0
    while done < len(parts):
        due = min(len(parts), int((time.monotonic() - began + _TICK) * rate))
        for topic, key, (head, tail) in parts[done:due]:
            now = datetime.now(UTC).isoformat().encode()
            producer.produce(topic, head + now + tail, key, partition=0)
        producer.poll(0)
        done = due
        sent.append((done, time.monotonic()))
        time.sleep(_TICK)
    producer.flush()
    return sent


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
