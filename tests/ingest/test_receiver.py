"""The receiver over a real broker: what is thanked for is in the raw topic, what is not proven is not."""

from __future__ import annotations

import hmac
import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from salesgauge.streams.kafka.embedded import EmbeddedBroker
from salesgauge.streams.kafka.whole_topic import read_topic

SOURCE = {
    "name": "form",
    "hook": {"signature": "hmac", "secret": {"env": "FORM_SECRET"}, "header": "X-Sig"},
    "events": [],
}
SECRET = b"a secret of the form"


@pytest.fixture
def form(monkeypatch: pytest.MonkeyPatch, embedded_kafka: Any, settings_for: Any, run_service: Any) -> Any:
    monkeypatch.setenv("FORM_SECRET", SECRET.decode())
    return run_service(settings_for(embedded_kafka.bootstrap, **{"ingest.read_seconds": 1.0}), SOURCE, derive=False)


def post(running: Any, body: bytes, path: str = "/hooks/form", **headers: str) -> http.client.HTTPResponse:
    signed = {"X-Sig": hmac.new(SECRET, body, "sha256").hexdigest(), "Content-Type": "application/json"} | headers
    connection = http.client.HTTPConnection("127.0.0.1", int(running.url.rpartition(":")[2]), timeout=20)
    connection.request("POST", path, body, signed)
    return connection.getresponse()


def raw(running: Any) -> list[Any]:
    return list(read_topic(running.settings.kafka, running.settings.raw_topic("form")))


def test_what_is_thanked_for_is_in_the_raw_topic_as_it_came(form: Any) -> None:
    body = b'{"b": 1,  "a":"\xc3\xbc" }'
    before = int(time.time() * 1000)
    answer = post(form, body, Authorization="Bearer never-kept", **{"Webhook-Id": "msg_7"})
    assert answer.status == 200
    [record] = raw(form)
    headers = dict(record.headers)
    assert record.value == body
    assert headers["via"] == b"hook"
    assert headers["delivery"] == b"msg_7"
    assert before <= int(headers["at"]) <= time.time() * 1000
    kept = json.loads(headers["http"])
    assert kept["content-type"] == "application/json"
    assert "authorization" not in kept
    assert form.metric("salesgauge_ingest_received_total", source="form") == 1


def test_what_is_not_proven_is_refused_and_not_kept(form: Any) -> None:
    assert post(form, b"{}", **{"X-Sig": "0" * 64}).status == 401
    assert post(form, b"{}", **{"X-Sig": ""}).status == 401
    assert post(form, b"{}", path="/hooks/other").status == 404
    assert post(form, b"{}", path="/").status == 404
    assert post(form, b"").status == 400
    assert raw(form) == []
    assert form.metric("salesgauge_ingest_refused_total", source="form", reason="wrong signature") == 1


def test_large_bodies_are_refused_before_they_are_read(form: Any) -> None:
    assert post(form, b"x" * (2**20 + 1)).status == 413
    chunked = http.client.HTTPConnection("127.0.0.1", int(form.url.rpartition(":")[2]), timeout=20)
    chunked.request("POST", "/hooks/form", (b"x" * 65536 for _ in range(20)), encode_chunked=True,
                    headers={"Transfer-Encoding": "chunked"})  # fmt: skip
    assert chunked.getresponse().status == 413
    assert post(form, b"x" * 2**20).status == 200


def test_slow_senders_are_cut_off_and_hold_nobody_up(form: Any) -> None:
    address = ("127.0.0.1", int(form.url.rpartition(":")[2]))
    slow = [socket.create_connection(address, timeout=20) for _ in range(50)]
    for number, one in enumerate(slow):  # half of them stop within the headers, half within the body
        one.sendall(b"POST /hooks/form HTTP/1.1\r\nHost: x\r\n")
        if number % 2:
            one.sendall(b"Content-Length: 100\r\n\r\n{")
    assert post(form, b"{}").status == 200
    ends = [one.recv(1000) for one in slow]
    assert [b"408" in end or end == b"" for end in ends] == [True] * len(slow)
    for one in slow:
        one.close()
    assert len(raw(form)) == 1


def test_many_at_once_are_all_kept(form: Any) -> None:
    bodies = [json.dumps({"n": n}).encode() for n in range(400)]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda body: post(form, body).status, bodies))
    assert answers == [200] * 400
    assert sorted(record.value for record in raw(form)) == sorted(bodies)


def test_while_kafka_is_away_senders_are_asked_to_come_again(
    monkeypatch: pytest.MonkeyPatch, settings_for: Any, run_service: Any
) -> None:
    monkeypatch.setenv("FORM_SECRET", SECRET.decode())
    with EmbeddedBroker() as broker:
        running = run_service(settings_for(broker.bootstrap, **{"ingest.ack_seconds": 1.0}), SOURCE, derive=False)
        assert post(running, b"{}").status == 200
        broker.stop()
        began = time.monotonic()
        answer = post(running, b"{}")
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - began < 5
        running.stop()


def test_a_rate_beyond_the_limit_is_told_to_slow_down(
    monkeypatch: pytest.MonkeyPatch, embedded_kafka: Any, settings_for: Any, run_service: Any
) -> None:
    monkeypatch.setenv("FORM_SECRET", SECRET.decode())
    running = run_service(settings_for(embedded_kafka.bootstrap, **{"ingest.max_rate": 2.0}), SOURCE, derive=False)
    answers = [post(running, b"{}") for _ in range(8)]
    assert {answer.status for answer in answers} == {200, 429}
    assert all("Retry-After" in answer.headers for answer in answers if answer.status == 429)
