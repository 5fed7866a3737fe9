"""Connections to Kafka with kafka-python, for everything but the hot path, and the errors that people see."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.errors import (
    AuthorizationError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    SaslAuthenticationFailedError,
)
from kafka.net.sasl.oauth import AbstractTokenProvider
from kafka.partitioner import murmur2

from salesgauge.schemas.errors import SalesgaugeError
from salesgauge.streams.io.secrets import read_token
from salesgauge.streams.kafka.probe import Who, probe
from salesgauge.streams.kafka.security import protocol, security_arguments
from salesgauge.streams.settings.model import Kafka

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
_TIMEOUT_MS = 5_000
_AGAIN_SECONDS = 1.0

_log = logging.getLogger("salesgauge.kafka")

Answer = TypeVar("Answer")


class BrokerError(SalesgaugeError):
    """Kafka cannot be reached or refused; the message says what to do."""


class NotAnsweringError(BrokerError):
    """Nobody answers, or not in time: a broker that starts, restarts or hangs may answer later."""


class _FileToken(AbstractTokenProvider):
    """Reads the token anew whenever a connection is made, so that it can be rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def token(self) -> str:
        return read_token(self._path)


@lru_cache(maxsize=50_000)  # murmur2 is computed in Python
def partition_of(key: str | bytes, partitions: int) -> int:
    """The partition of a key by Kafka's default partitioner (murmur2)."""
    if partitions == 1:
        return 0
    return int(murmur2(key.encode() if isinstance(key, str) else key) & 0x7FFFFFFF) % partitions


def client_arguments(kafka: Kafka) -> dict[str, Any]:
    """Arguments of every kafka-python client."""
    return {
        "bootstrap_servers": kafka.bootstrap.split(","),
        "client_id": "salesgauge",
        **security_arguments(kafka, _FileToken),
    }


@contextmanager
def explained(kafka: Kafka) -> Iterator[None]:
    """Turn the client's errors into a :class:`BrokerError` that says what to do."""
    try:
        yield
    except SaslAuthenticationFailedError as error:
        raise BrokerError(f"Kafka at {kafka.bootstrap} refused the login: {error}; check kafka.sasl") from error
    except AuthorizationError as error:
        raise BrokerError(
            f"Kafka at {kafka.bootstrap} denies access: {error}; grant the ACLs of docs/operations.md"
        ) from error
    except (KafkaTimeoutError, KafkaConnectionError) as error:
        raise unreachable(kafka) from error
    except KafkaError as error:
        raise failure(kafka, error) from error


def failure(kafka: Kafka, error: Any) -> BrokerError:
    """What to raise for an error of a client (kafka-python's or aiokafka's) of which no more is known."""
    kind = NotAnsweringError if error.retriable else BrokerError
    return kind(f"Kafka at {kafka.bootstrap}: {error!r}")


def unreachable(kafka: Kafka) -> BrokerError:
    """What to raise where a client got no answer, or not the one that it understands: who is there, and what to do."""
    where = kafka.bootstrap
    context = kafka.tls.client_context() if kafka.tls else None
    found = [probe(address, context) for address in where.split(",")]
    first = next((one for one in found if one.who is not Who.NOBODY), found[0])
    message = _ANSWERS[first.who].format(where=where, said=first.said, protocol=protocol(kafka))
    return NotAnsweringError(message) if first.who in _MAY_COME else BrokerError(message)


_MAY_COME = {Who.NOBODY, Who.SILENT, Who.HUNG_UP, Who.KAFKA}

_ANSWERS = {
    Who.NOBODY: "no Kafka broker answers at {where}; start one, or name it with --bootstrap or "
    "SALESGAUGE_KAFKA__BOOTSTRAP",
    Who.SILENT: "{where} takes connections but does not answer: a broker that hangs, or no Kafka; look at what listens "
    "there",
    Who.HUNG_UP: "what listens at {where} does not speak Kafka over {protocol}, or refused the login; check kafka.tls "
    "and kafka.sasl",
    Who.KAFKA: "Kafka at {where} refused the login, or does not answer in time; check kafka.sasl and the brokers' load",
    Who.TLS: "what listens at {where} speaks TLS; set kafka.tls",
    Who.NO_TLS: "what listens at {where} does not speak TLS ({said}); check kafka.tls",
    Who.UNTRUSTED: "the certificate of {where} is not trusted ({said}); check kafka.tls.ca_file",
    Who.OTHER: "something answers at {where} that is no Kafka (it says {said!r}); check kafka.bootstrap",
}


async def answered(kafka: Kafka, ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """The answer to what asks Kafka. While Kafka does not answer, it is asked again for ``kafka.start_seconds``.

    Raises:
        NotAnsweringError: time is up.
        BrokerError: the broker refuses.
    """
    end = time.monotonic() + kafka.start_seconds
    told = False
    while True:
        try:
            return await ask()
        except NotAnsweringError as error:
            if time.monotonic() >= end:
                raise
            if not told:
                _log.warning("%s; trying again for %.0f s", error, kafka.start_seconds)
                told = True
        await asyncio.sleep(_AGAIN_SECONDS)


@contextmanager
def admin(kafka: Kafka) -> Iterator[KafkaAdminClient]:
    """An administration client, closed at the end.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    with explained(kafka):
        client = KafkaAdminClient(**client_arguments(kafka), bootstrap_timeout_ms=_TIMEOUT_MS)
        try:
            yield client
        finally:
            client.close()


@contextmanager
def consumer(kafka: Kafka, **arguments: Any) -> Iterator[KafkaConsumer]:
    """A consumer of committed records, without a group unless one is named, closed at the end."""
    with explained(kafka):
        defaults = {
            "enable_auto_commit": False, "group_id": None, "bootstrap_timeout_ms": _TIMEOUT_MS,
            "isolation_level": "read_committed",
        }  # fmt: skip
        client = KafkaConsumer(**client_arguments(kafka), **{**defaults, **arguments})
        try:
            yield client
        finally:
            client.close()


def producer(kafka: Kafka, **arguments: Any) -> KafkaProducer:
    """A producer that waits for all replicas.

    Raises:
        BrokerError: the broker cannot be reached or refuses.
    """
    with explained(kafka):
        return KafkaProducer(
            **client_arguments(kafka),
            bootstrap_timeout_ms=_TIMEOUT_MS,
            **{"acks": "all", "linger_ms": 5, "max_request_size": MAX_MESSAGE_BYTES, **arguments},
        )
