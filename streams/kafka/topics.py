"""The topics: which there are, how they must be configured, and whether they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient, NewTopic
from kafka.errors import TopicAlreadyExistsError

from salesgauge.schemas.events import TOPICS
from salesgauge.streams.kafka.connection import MAX_MESSAGE_BYTES, BrokerError, admin, explained
from salesgauge.streams.settings.model import Kafka, Settings

CARRIED_BYTES = 512 * 1024
"""What a dead letter keeps of a value at most; an event is never so large."""
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as it has to be."""

    name: str
    partitions: int
    config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a topic that is not as it has to be, and what to do."""

    topic: str
    problem: str
    remedy: str
    fatal: bool = True


def changelog_topic(settings: Settings) -> str:
    """The changelog of the entity table, as Faust names it."""
    return f"{settings.application}-entities-changelog"


def wanted(settings: Settings) -> list[Topic]:
    """All topics that the settings call for."""
    kafka = settings.kafka
    # Said although it is the default: a cluster may have others.
    retention = {
        "cleanup.policy": "delete",
        "retention.ms": str(kafka.retention_days * _DAY_MS if kafka.retention_days >= 0 else -1),
        "retention.bytes": "-1",
    }
    # Only closed segments are compacted: short ones keep a restart from reading hours of superseded values.
    compacted = {
        "cleanup.policy": "compact",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "segment.ms": str(10 * 60_000),
        "min.cleanable.dirty.ratio": "0.2",
        "delete.retention.ms": str(60 * 60_000),
    }
    forever = retention | {"retention.ms": "-1", "max.message.bytes": str(MAX_MESSAGE_BYTES)}
    return [
        *(Topic(name, kafka.partitions, retention) for name in TOPICS),
        Topic(settings.rekey_topic, kafka.partitions, {"max.message.bytes": str(MAX_MESSAGE_BYTES), **retention}),
        Topic(changelog_topic(settings), kafka.partitions, compacted),
        Topic(settings.windows_topic, kafka.partitions, compacted),
        Topic(settings.identity_topic, 1, compacted),
        Topic(settings.dead_letter_topic, 1, forever),
        Topic(settings.control_topic, 1, compacted),
    ]


def create(settings: Settings) -> tuple[list[str], list[str]]:
    """Create the topics that are missing; (created, already there).

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    topics = wanted(settings)
    created = ensure(settings, topics)
    return created, [topic.name for topic in topics if topic.name not in set(created)]


def ensure(settings: Settings, topics: Sequence[Topic]) -> list[str]:
    """Create those of the topics that are missing; the names of the new ones.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    with admin(settings.kafka) as client:
        existing = set(client.list_topics())
        missing = [topic for topic in topics if topic.name not in existing]
        return [topic.name for topic in missing if _create_one(client, topic, settings)]


def _create_one(client: KafkaAdminClient, topic: Topic, settings: Settings) -> bool:
    new = NewTopic(topic.name, topic.partitions, settings.kafka.replication, topic_configs=dict(topic.config))
    try:
        with explained(settings.kafka):
            client.create_topics([new])
    except Exception as error:
        if isinstance(error.__cause__, TopicAlreadyExistsError):
            return False
        raise
    return True


def adopted(settings: Settings) -> Settings:
    """The settings with the partitions that the topics really have, unless the settings name a number.

    The re-key topic decides, since partition p of it belongs to shard p.

    Raises:
        BrokerError: the broker cannot be reached or refuses, or the named number is another one.
    """
    with admin(settings.kafka) as client:
        existing = set(client.list_topics())
        topic = Topic(settings.rekey_topic, settings.kafka.partitions)
        actual = _partitions(client, [topic]).get(topic.name) if topic.name in existing else None
    if actual is None or actual == settings.kafka.partitions:
        return settings
    if "partitions" in settings.kafka.model_fields_set:
        raise BrokerError(
            f"{topic.name} has {actual} partitions, but kafka.partitions is {settings.kafka.partitions}; "
            f"set it to {actual}, or rebuild with the new number"
        )
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update={"partitions": actual})})


def check(settings: Settings) -> list[Finding]:
    """Everything about the topics that is not as it has to be.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    with admin(settings.kafka) as client:
        existing = set(client.list_topics())
        topics = wanted(settings)
        found = [topic for topic in topics if topic.name in existing]
        findings = [
            Finding(topic.name, "is missing", "run `salesgauge topics create`")
            for topic in topics
            if topic.name not in existing
        ]
        partitions = _partitions(client, found)
        configs = _configs(client, [topic.name for topic in found])
        for topic in found:
            findings += _check_partitions(topic, partitions.get(topic.name, topic.partitions))
            findings += _check_config(topic, configs.get(topic.name, {}))
    return findings


def compacted(settings: Kafka, names: Sequence[str]) -> frozenset[str]:
    """Those of some topics whose records are compacted away; none where the broker does not tell.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    with admin(settings) as client:
        configs = _configs(client, names)
    return frozenset(name for name, config in configs.items() if "compact" in config.get("cleanup.policy", ""))


def _partitions(client: KafkaAdminClient, topics: list[Topic]) -> dict[str, int]:
    described = client.describe_topics([topic.name for topic in topics]) if topics else []
    return {topic["name"]: len(topic["partitions"]) for topic in described if topic.get("partitions")}


def _check_partitions(topic: Topic, partitions: int) -> list[Finding]:
    if partitions == topic.partitions:
        return []
    problem = f"has {partitions} partitions, not {topic.partitions}"
    if topic.name.startswith("crm.") and partitions > topic.partitions:
        return [
            Finding(topic.name, problem, "events are forwarded to their partition; rebuild to use all", fatal=False)
        ]
    return [Finding(topic.name, problem, "set kafka.partitions to what the topics have, or recreate them")]


def _check_config(topic: Topic, actual: Mapping[str, str]) -> list[Finding]:
    """What of a topic's configuration is wrong; nothing where the broker does not tell, as the embedded one."""
    findings = []
    for name, value in topic.config.items():
        if name in actual and (problem := _problem(name, actual[name], value)) is not None:
            remedy = f"set it with kafka-configs.sh --alter --topic {topic.name} --add-config {name}={value}"
            findings.append(Finding(topic.name, problem, remedy, fatal=not name.startswith("retention.")))
    return findings


def _problem(name: str, actual: str, value: str) -> str | None:
    """What is wrong with a setting of a topic, if anything; a longer retention than wanted is not."""
    if name.startswith("retention."):
        if int(actual) == -1 or -1 != int(value) <= int(actual):
            return None
        kept = f"{int(actual) / _DAY_MS:.3g} days" if name == "retention.ms" else f"{int(actual):,} bytes a partition"
        return f"keeps {kept} only ({name}={actual}, not {value}): a rebuild or replay lacks what is older"
    if actual == value:
        return None
    if name == "cleanup.policy" and "compact" in actual:
        return f"has {name}={actual}: of the records with one key only the last stays, and history is lost"
    return f"has {name}={actual}, not {value}"


def _configs(client: KafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """The configurations of topics by name, as far as the broker tells."""
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    try:
        answer: Any = client.describe_configs(resources, config_filter="all") if resources else {}
        return {
            str(topic): {str(name): str(entry["value"]) for name, entry in config.items()}
            for topics in answer.values()
            for topic, config in topics.items()
        }
    except Exception:  # noqa: BLE001 - brokers without DescribeConfigs answer in many ways; then nothing is known
        return {}
