"""How every Kafka client secures its connection and logs in: the same arguments for kafka-python and aiokafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from salesgauge.streams.settings.model import Kafka


def protocol(kafka: Kafka) -> str:
    """The security protocol by Kafka's name for it."""
    return ("SASL_" if kafka.sasl else "") + ("SSL" if kafka.tls else "PLAINTEXT")


def security_arguments(kafka: Kafka, provider: Callable[[Path], Any]) -> dict[str, Any]:
    """Arguments of a client.

    Args:
        kafka: where and how to connect.
        provider: makes the client's provider of tokens, which reads the file anew at each login: it may be rotated.

    Raises:
        SettingsError: a certificate cannot be read.
    """
    arguments: dict[str, Any] = {"security_protocol": protocol(kafka)}
    if kafka.tls is not None:
        arguments["ssl_context"] = kafka.tls.client_context()
    if kafka.sasl is None:
        return arguments
    arguments["sasl_mechanism"] = kafka.sasl.mechanism
    if kafka.sasl.mechanism == "OAUTHBEARER":
        assert kafka.sasl.token_file is not None
        return arguments | {"sasl_oauth_token_provider": provider(kafka.sasl.token_file)}
    assert kafka.sasl.password is not None
    return arguments | {
        "sasl_plain_username": kafka.sasl.username,
        "sasl_plain_password": kafka.sasl.password.get_secret_value(),
    }
