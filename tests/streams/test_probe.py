"""Who answers where Kafka should be: messages tell the cases apart."""

from __future__ import annotations

import http.server
import socket
import socketserver
import ssl
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from salesgauge.streams.kafka.connection import unreachable
from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.probe import Who, probe
from salesgauge.streams.settings.model import Kafka
from tests.support.process import free_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def listening(answer: Callable[[socket.socket], Any]) -> Iterator[str]:
    """A listener that treats each connection so; its address."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            answer(self.request)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def speak_tls(connection: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with context.wrap_socket(connection, server_side=True) as secured:
        secured.recv(1)


def said(address: str) -> str:
    return str(unreachable(Kafka(bootstrap=address)))


def test_nobody() -> None:
    [port] = free_ports(1)
    assert probe(f"127.0.0.1:{port}").who is Who.NOBODY
    assert said(f"127.0.0.1:{port}").startswith(f"no Kafka broker answers at 127.0.0.1:{port}; start one")
    assert probe("127.0.0.1").who is Who.NOBODY
    assert probe("no-such-host.invalid:9092").who is Who.NOBODY


def test_a_broker_that_hangs() -> None:
    event = threading.Event()
    with listening(lambda _: event.wait(20)) as address:
        assert "takes connections but does not answer" in said(address)
        event.set()


def test_a_web_server() -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        """Refuses everything."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        found = said(address)
        server.shutdown()
    assert f"at {address} that is no Kafka" in found or "does not answer" in found


def test_another_protocol() -> None:
    with listening(lambda connection: connection.sendall(b"220 mail.example ESMTP\r\n")) as address:
        assert "that is no Kafka (it says '220 mail.example ESMTP" in said(address)


def test_one_that_hangs_up() -> None:
    with listening(lambda connection: connection.close()) as address:
        assert "does not speak Kafka over PLAINTEXT" in said(address)


@pytest.mark.filterwarnings("ignore")
def test_tls_where_none_is_set_and_the_reverse() -> None:
    with listening(speak_tls) as address:
        assert probe(address).who in {Who.TLS, Who.HUNG_UP}
        assert probe(address, ssl.create_default_context()).who is Who.UNTRUSTED
    with listening(lambda connection: connection.sendall(b"hello, who is there? " * 10)) as address:
        assert probe(address, ssl.create_default_context()).who in {Who.NO_TLS, Who.HUNG_UP}


def test_a_broker(embedded_kafka: object) -> None:
    with EmbeddedBroker() as broker:
        assert probe(broker.bootstrap).who is Who.KAFKA
        [port] = free_ports(1)
        assert "refused the login, or does not answer in time" in said(f"127.0.0.1:{port},{broker.bootstrap}")
