"""The brokers that the suite stands on do what a broker must, so that a failure elsewhere is ours."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient
from kafka.admin import NewTopic as PythonTopic

from tests.support.kafka import ROOT, Security
from tests.support.wait import until

pytestmark = pytest.mark.integration

VALUES = [f"event {number}".encode() for number in range(100)]


def create(bootstrap: str, topic: str, partitions: int = 1, copies: int = 1, **settings: Any) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap, **settings})
    for future in admin.create_topics([NewTopic(topic, partitions, copies)]).values():
        future.result(30)


def produce(bootstrap: str, topic: str, values: list[bytes], **settings: Any) -> None:
    """Produce, every record acknowledged."""
    failed: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: object) -> None:
        if error is not None:
            failed.append(error)

    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", **settings})
    for value in values:
        producer.produce(topic, value, partition=0, on_delivery=delivered)
    assert producer.flush(30) == 0
    assert not failed


def consume(bootstrap: str, topic: str, count: int, **settings: Any) -> list[bytes]:
    """Read the partition 0 from its beginning until `count` records came."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": f"read-{topic}", **settings})
    consumer.assign([TopicPartition(topic, 0, 0)])
    seen: list[bytes] = []

    def enough() -> bool:
        seen.extend(message.value() for message in consumer.consume(1000, 0.1) if message.error() is None)
        return len(seen) >= count

    try:
        until(enough, 30, f"{count} records of {topic}", every=0)
    finally:
        consumer.close()
    return seen


def test_what_is_produced_is_consumed_in_order(broker):
    topic = broker.topic("order")
    create(broker.bootstrap, topic)
    produce(broker.bootstrap, topic, VALUES)
    assert consume(broker.bootstrap, topic, len(VALUES)) == VALUES


def test_the_python_client_reads_it_too(broker):
    """kafka-python, which the command line uses, agrees with both brokers."""
    topic = broker.topic("python")
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    admin.create_topics([PythonTopic(topic, 1, 1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    for value in VALUES:
        producer.send(topic, value, partition=0)
    producer.flush(30)
    producer.close()

    consumer = KafkaConsumer(
        topic, bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=10_000
    )
    seen = [record.value for record in islice(consumer, len(VALUES))]
    consumer.close()
    assert seen == VALUES


def test_topics_of_one_run_do_not_meet(broker):
    assert broker.topic("same") != broker.topic("same")


@pytest.mark.kafka
def test_acknowledged_records_outlive_a_killed_broker(own_kafka):
    kafka = own_kafka()
    create(kafka.bootstrap, "kept")
    produce(kafka.bootstrap, "kept", VALUES)
    kafka.kill()
    kafka.restart()
    assert consume(kafka.bootstrap, "kept", len(VALUES)) == VALUES
    produce(kafka.bootstrap, "kept", VALUES)
    assert consume(kafka.bootstrap, "kept", 2 * len(VALUES)) == VALUES + VALUES


@pytest.mark.kafka
def test_three_brokers_go_on_when_the_leader_dies(own_kafka):
    kafka = own_kafka(brokers=3)
    create(kafka.bootstrap, "kept", copies=3)
    produce(kafka.bootstrap, "kept", VALUES)
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})

    def leader() -> int:
        return int(admin.list_topics("kept", timeout=5).topics["kept"].partitions[0].leader)

    first = until(lambda: max(leader(), 0), 30, "a leader")
    kafka.kill(first)
    until(lambda: leader() not in {first, -1}, 60, "another leader")
    produce(kafka.bootstrap, "kept", VALUES)
    kafka.restart(first)
    assert consume(kafka.bootstrap, "kept", 2 * len(VALUES)) == VALUES + VALUES


@pytest.mark.kafka
@pytest.mark.parametrize(
    "security",
    [
        Security("SASL_PLAINTEXT", "SCRAM-SHA-256"),
        Security("SASL_SSL", "SCRAM-SHA-512"),
        Security("SASL_SSL", "OAUTHBEARER"),
        Security("SSL"),
    ],
    ids=lambda one: f"{one.protocol}-{one.mechanism}" if one.sasl else one.protocol,
)
def test_clients_log_in(own_kafka, security):
    kafka = own_kafka(security=security)
    settings: dict[str, Any] = {"security.protocol": security.protocol}
    if security.tls:
        settings["ssl.ca.location"] = str(kafka.ca_file)
    if security.sasl:
        settings["sasl.mechanism"] = security.mechanism
    if security.mechanism == "OAUTHBEARER" and security.sasl:
        settings["enable.sasl.oauthbearer.unsecure.jwt"] = "true"
        settings["sasl.oauthbearer.config"] = "principal=salesgauge"
    elif security.sasl:
        [(settings["sasl.username"], settings["sasl.password"])] = security.users.items()
    create(kafka.bootstrap, "secured", **settings)
    produce(kafka.bootstrap, "secured", VALUES, **settings)
    assert consume(kafka.bootstrap, "secured", len(VALUES), **settings) == VALUES


@pytest.mark.kafka
def test_a_wrong_password_is_refused(own_kafka):
    kafka = own_kafka(security=Security("SASL_PLAINTEXT"))
    refused: list[KafkaError] = []
    admin = AdminClient(
        {
            "bootstrap.servers": kafka.bootstrap,
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "salesgauge",
            "sasl.password": "another",
            "error_cb": refused.append,
        }
    )

    def authentication_failed() -> bool:
        admin.poll(0.1)
        return any(error.code() == KafkaError._AUTHENTICATION for error in refused)

    until(authentication_failed, 20, "the refusal")


@pytest.mark.kafka
def test_brokers_die_with_the_run_that_started_them(apache_kafka, tmp_path):
    """Not even SIGKILL of the test run leaves a JVM behind."""
    script = (
        "import sys, time; from pathlib import Path; from tests.support.kafka import ApacheKafka\n"
        "kafka = ApacheKafka(keep_in=Path(sys.argv[1])).start()\n"
        "print(kafka._processes[1].pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        broker_pid = int(run.stdout.readline())
        os.kill(broker_pid, 0)
        run.send_signal(signal.SIGKILL)
    until(lambda: not _alive(broker_pid), 10, "the end of the broker")


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return False
    return state != "Z"
