"""Fill a changelog with leads at rest: `BOOTSTRAP LEADS`."""

from __future__ import annotations

import json
import sys

from kafka import KafkaProducer

from benchmarks import load
from benchmarks.jobs.engine import OWNER, histories, lead_states
from salesgauge.streams.kafka.topics import changelog_topic


def main(bootstrap: str, leads: int) -> None:
    topic = changelog_topic(load.settings_for(bootstrap, 1))
    producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", linger_ms=20, batch_size=512 * 1024)
    for i, state in enumerate(histories(lead_states(), leads)):
        producer.send(topic, state, f"{OWNER}/lead/{i}".encode(), partition=0)
    producer.flush()
    producer.close()
    print(json.dumps({"leads": leads}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
