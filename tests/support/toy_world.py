"""Topics, events, workers and what they made of them, for tests of delivery."""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.delivery.records import Record
from streams.delivery.service import DeliverySettings
from streams.delivery.tables import Fence
from tests.support.kafka import ROOT
from tests.support.process import Process
from tests.support.toy_worker import SPREAD, unpack
from tests.support.wait import until

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEYS = 60


class World:
    """The topics of one test, on a broker that others may use too."""

    def __init__(
        self,
        bootstrap: str,
        name: str,
        folder: Path,
        *,
        partitions: int = 4,
        client: dict[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        self._client = {"bootstrap.servers": bootstrap, **(client or {})}
        self.bootstrap = bootstrap
        self.folder = folder
        self.events = [f"{name}-a", f"{name}-b"]
        self.rekey = f"{name}-again"
        self.settings = DeliverySettings(
            **{
                "bootstrap": bootstrap,
                "app_id": name,
                "topics": [*self.events, self.rekey],
                "partitions": partitions,
                "session_timeout": 2.0,
                "commit_interval": 0.2,
                **settings,
            }
        )
        self.workers: list[Process] = []
        self.produced: set[int] = set()
        self._producer = Producer({**self._client, "linger.ms": 2, "partitioner": "murmur2_random"})
        self._create()

    def _create(self) -> None:
        admin = AdminClient(self._client)
        topics = [
            NewTopic(topic, self.settings.partitions, 1, config={"max.message.bytes": str(9 << 20)})
            for topic in (*self.settings.topics, self.settings.changelog_topic)
        ]
        for future in admin.create_topics(topics).values():
            future.result(30)

    # --- events

    def produce(self, numbers: Iterable[int], *, repeat: float = 0.1, seed: int = 0) -> None:
        """Produce events, all acknowledged, some of them more than once; the same number has always the same key."""
        chance = random.Random(seed)
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: object) -> None:
            if error is not None:
                failed.append(error)

        for number in numbers:
            topic, key = self.events[number % 2], b"key-%d" % (number % KEYS)
            for _ in range(2 if chance.random() < repeat else 1):
                self._producer.produce(topic, b"%d" % number, key=key, on_delivery=delivered)
            self.produced.add(number)
            self._producer.poll(0)
        assert self._producer.flush(30) == 0
        assert not failed

    # --- workers

    def worker(self, *, settings: dict[str, Any] | None = None, **toy: Any) -> Process:
        """Start a worker process."""
        chosen = dataclasses.replace(self.settings, **(settings or {}))
        told = json.dumps({"settings": dataclasses.asdict(chosen), "rekey_topic": self.rekey, **toy})
        number = len(self.workers) + 1
        worker = Process(
            [sys.executable, "-m", "tests.support.toy_worker", told],
            log=self.folder / f"worker-{number}.log",
            name=f"worker {number}",
            cwd=ROOT,
        )
        self.workers.append(worker)
        return worker

    @property
    def running(self) -> list[Process]:
        """The workers that live."""
        return [worker for worker in self.workers if worker.running]

    def close(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            worker.kill()

    # --- what came of it

    def remembered(self) -> dict[bytes, set[int]]:
        """The states as a recovery finds them: the last value of each key that counts."""
        states: dict[bytes, set[int]] = {}
        for record in self._changelog():
            if record.value is None:
                states.pop(record.key or b"", None)
            else:
                states[record.key or b""] = unpack(record.value)
        return states

    def _changelog(self) -> list[Record]:
        fences = [Fence() for _ in range(self.settings.partitions)]
        return [
            record for record in self.read(self.settings.changelog_topic) if fences[record.partition].admits(record)
        ]

    def read(self, topic: str) -> list[Record]:
        """A topic from its beginning to its end, in the order of each partition."""
        consumer = Consumer({**self._client, "group.id": "reader", "enable.partition.eof": True})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(self.settings.partitions)])
        records: list[Record] = []
        ended: set[int] = set()
        try:
            while len(ended) < self.settings.partitions:
                for message in consumer.consume(5000, 0.2):
                    error = message.error()
                    if error is None:
                        records.append(_record(message))
                    elif error.code() == KafkaError._PARTITION_EOF:
                        ended.add(message.partition())
        finally:
            consumer.close()
        return records

    def missing(self) -> tuple[int, int]:
        """How many produced ids are not remembered: by their own keys, by re-keyed ones. No others may be there."""
        states = self.remembered()
        own = {number for key, ids in states.items() if key.startswith(b"key-") for number in ids}
        again = {number for key, ids in states.items() if key.startswith(b"again-") for number in ids}
        assert own <= self.produced
        assert again <= self.produced
        for key, ids in states.items():
            prefix, _, rest = key.partition(b"-")
            modulus = KEYS if prefix == b"key" else SPREAD
            assert all(number % modulus == int(rest) for number in ids)
        return len(self.produced - own), len(self.produced - again)

    def until_complete(self, deadline: float = 40.0) -> None:
        """Wait until everything produced is remembered, twice."""
        try:
            until(lambda: self.missing() == (0, 0), deadline, "all events remembered", every=0.3)
        except AssertionError as error:
            logs = "\n".join(f"--- {worker.name}\n{worker.tail(25)}" for worker in self.workers)
            raise AssertionError(f"{error}; missing: {self.missing()}\n{logs}") from error

    def committed(self, topics: Iterable[str] | None = None) -> dict[tuple[str, int], int]:
        """Committed offsets, 0 where there are none."""
        consumer = Consumer({**self._client, "group.id": self.settings.app_id})
        wanted = [
            TopicPartition(topic, partition)
            for topic in (topics or self.settings.topics)
            for partition in range(self.settings.partitions)
        ]
        try:
            answer = until(lambda: consumer.committed(wanted, 10), 20, "an answer of the group's coordinator")
            return {(tp.topic, tp.partition): max(0, tp.offset) for tp in answer}
        finally:
            consumer.close()

    def until_committed(self, records: int) -> None:
        """Wait until so many records are committed in all."""
        until(lambda: sum(self.committed().values()) >= records, 30, f"{records} records committed")

    def ends(self) -> dict[tuple[str, int], int]:
        """The end of each source partition, by reading."""
        ends = {
            (topic, partition): 0 for topic in self.settings.topics for partition in range(self.settings.partitions)
        }
        for topic in self.settings.topics:
            for record in self.read(topic):
                ends[topic, record.partition] = record.offset + 1
        return ends


def _record(message: Any) -> Record:
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )
