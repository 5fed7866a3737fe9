"""Fill a changelog with leads at rest: `BOOTSTRAP LEADS`."""

from __future__ import annotations

import json
import sys

from kafka import KafkaProducer

from benchmarks import load
from benchmarks.jobs.engine import OWNER, lead_states
from streams.topics import changelog_topic


def main(bootstrap: str, leads: int) -> None:
    topic, states = changelog_topic(load.settings_for(bootstrap, 1)), lead_states()
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20, batch_size=512 * 1024)
    for i in range(leads):
        producer.send(topic, states[i % len(states)], f"{OWNER}/lead/{i}".encode(), partition=0)
    producer.flush()
    producer.close()
    print(json.dumps({"leads": leads}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
