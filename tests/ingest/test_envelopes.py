"""What tools wrap around records of topics: genuine samples, the makers' examples, and odd ones."""

from __future__ import annotations

import base64
import http.server
import io
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.schemas.sources.envelopes import UNAVAILABLE, Raw, open_envelope
from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import Ignored, RawRecord, Unusable
from salesgauge.schemas.sources.source import Envelope
from salesgauge.streams.ingest.registry import RegistryClient, RegistryUnavailableError
from tests.support.shared import require_shared

AT = 1_780_300_800_000


def opened(value: Any, envelope: Envelope = "json", **fields: Any) -> RawRecord | Ignored | Unusable:
    data = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return open_envelope(Raw(data, at=AT, **fields), envelope, fields.pop("registry", None))


def record(value: Any, envelope: Envelope = "json", **fields: Any) -> RawRecord:
    found = opened(value, envelope, **fields)
    assert isinstance(found, RawRecord), found
    return found


# --- Debezium


def test_debezium_sample() -> None:
    sample = json.loads(require_shared("payloads", "debezium_postgres_update.json").read_text())
    found = record(sample["payload"], "debezium")
    assert (found.op, found.value["name"], found.before["name"]) == ("change", "name_17", "name_476")
    assert found.source_time == 1_693_033_396_603  # the database's, not the connector's


@pytest.mark.parametrize(("op", "expected"), [("c", "create"), ("u", "change"), ("r", "snapshot"), ("d", "delete")])
def test_debezium_operations(op: str, expected: str) -> None:
    before, after = ({"id": 1}, None) if op == "d" else (None, {"id": 1})
    found = record({"op": op, "before": before, "after": after, "source": {"ts_ms": AT}}, "debezium")
    assert (found.op, found.value) == (expected, {"id": 1})


def test_debezium_what_the_database_did_not_log_is_absent() -> None:
    coded = base64.b64encode(UNAVAILABLE.encode()).decode()
    after = {"id": 1, "text": UNAVAILABLE, "bytes": coded, "list": [UNAVAILABLE], "empty": None}
    found = record({"op": "u", "after": after, "source": {"ts_ms": AT}}, "debezium")
    assert found.value == {"id": 1, "empty": None}


def test_debezium_tombstone_and_truncation_are_no_records() -> None:
    assert opened(None, "debezium", key=b"1") == Ignored("tombstone")
    assert isinstance(opened({"op": "t"}, "debezium"), Ignored)
    assert isinstance(opened({"id": 1}, "debezium"), Unusable)


def test_debezium_with_schema_explains_its_values() -> None:
    def field(name: str, kind: str, logical: str | None = None, **parameters: str) -> dict[str, Any]:
        said = {"field": name, "type": kind, "optional": True}
        return said | ({"name": logical} if logical else {}) | ({"parameters": parameters} if parameters else {})

    row = {"type": "struct", "field": "after", "fields": [
        field("price", "bytes", "org.apache.kafka.connect.data.Decimal", scale="5"),
        field("any", "struct", "io.debezium.data.VariableScaleDecimal"),
        field("day", "int32", "io.debezium.time.Date"),
        field("paid", "int64", "io.debezium.time.MicroTimestamp"),
        field("sent", "int64", "org.apache.kafka.connect.data.Timestamp"),
    ]}  # fmt: skip
    schema = {"type": "struct", "fields": [row, field("op", "string")]}
    after = {"price": "D3J5", "any": {"scale": 2, "value": "/5w="}, "day": 20_605, "paid": AT * 1000 + 7, "sent": AT}
    found = record({"schema": schema, "payload": {"op": "c", "after": after, "source": {"ts_ms": AT}}}, "debezium")
    assert found.value == {
        "price": "10.12345", "any": "-1.00", "day": "2026-06-01",
        "paid": "2026-06-01T08:00:00.000007+00:00", "sent": "2026-06-01T08:00:00+00:00",
    }  # fmt: skip


# --- rows, Connect


def test_unwrapped_rows() -> None:
    found = record({"id": 1, "__deleted": "false", "__op": "u", "__source_ts_ms": AT}, "rows")
    assert (found.value, found.op, found.source_time) == ({"id": 1}, "change", AT)
    assert record({"id": 1, "__deleted": "true"}, "rows").op == "delete"
    gone = record(None, "rows", key=b'{"id": 1}')
    assert (gone.op, gone.key) == ("delete", "1")
    assert isinstance(opened(None, "rows"), Unusable)


def test_connect_with_and_without_schema() -> None:
    schema = {"type": "struct", "fields": [{"field": "tags", "type": "array", "items": {
        "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "1"}}}]}  # fmt: skip
    assert record({"schema": schema, "payload": {"tags": ["Cg=="]}}, "connect").value == {"tags": ["1.0"]}
    assert record({"schema": None, "payload": {"id": 1}}, "connect").value == {"id": 1}
    assert record({"id": 1}, "connect").value == {"id": 1}


# --- CloudEvents


def test_cloudevents_of_the_specification() -> None:
    samples = json.loads(require_shared("payloads", "cloudevents_kafka.json").read_text())
    structured = samples["structured"]
    headers = {"content-type": structured["headers"]["content-type"].encode()}
    found = record(structured["value"], "cloudevents", headers=headers)
    assert found.value == "... application data encoded in XML ..."
    assert found.headers["ce_type"] == "com.example.someevent"
    assert found.source_time == milliseconds("2018-04-05T03:56:24Z")
    binary = {name: value.encode() for name, value in samples["binary"]["headers"].items()}
    found = record({"id": 1}, "cloudevents", headers=binary)
    assert (found.value, found.source_time) == ({"id": 1}, milliseconds("2018-04-05T03:56:24Z"))


def test_cloudevents_without_data_are_no_deletions() -> None:
    headers = {"ce_id": b"1", "ce_type": b"t", "ce_source": b"/", "ce_specversion": b"1.0"}
    assert isinstance(opened(None, "cloudevents", headers=headers, key=b"k"), Ignored)
    assert record(None, "cloudevents", key=b"k").op == "delete"
    assert isinstance(opened({"id": 1}, "cloudevents"), Unusable)


# --- schema registries and encodings

AVRO = {"type": "record", "name": "Deal", "fields": [
    {"name": "id", "type": "string"},
    {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 10, "scale": 2}},
    {"name": "won", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
]}  # fmt: skip
GUID = "89791762-2336-4186-9674-299b90a802e2"


class _Schemas(http.server.BaseHTTPRequestHandler):
    """The look-ups that all schema registries answer."""

    asked: list[str] = []  # noqa: RUF012 - of the one server of a test

    def do_GET(self) -> None:
        self.asked.append(self.path)
        known = {"/schemas/ids/7": {"schema": json.dumps(AVRO)}, f"/schemas/guids/{GUID}": {"schema": json.dumps(AVRO)},
                 "/schemas/ids/8": {"schemaType": "JSON", "schema": "{}"},
                 "/schemas/ids/9": {"schemaType": "PROTOBUF", "schema": "syntax"}}  # fmt: skip
        found = known.get(self.path)
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found or {"error_code": 40403}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[RegistryClient]:
    _Schemas.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Schemas)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield RegistryClient(f"http://127.0.0.1:{server.server_port}/")
    server.shutdown()
    server.server_close()


def avro() -> bytes:
    buffer = io.BytesIO()
    row = {"id": "d1", "amount": Decimal("12.50"), "won": datetime(2026, 6, 1, 8, tzinfo=UTC)}
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(AVRO), row)
    return buffer.getvalue()


def framed(number: int, data: bytes) -> bytes:
    return b"\0" + number.to_bytes(4, "big") + data


def test_framed_records_are_read_by_their_schema(registry: RegistryClient) -> None:
    expected = {"id": "d1", "amount": "12.50", "won": "2026-06-01T08:00:00+00:00"}
    for raw in (
        Raw(framed(7, avro())),
        Raw(framed(7, avro())),
        Raw(avro(), headers={"__value_schema_id": b"\x01" + bytes.fromhex(GUID.replace("-", ""))}),
    ):
        found = open_envelope(raw, "json", registry)
        assert isinstance(found, RawRecord)
        assert found.value == expected
    found = open_envelope(Raw(framed(8, b'{"id": 1}')), "json", registry)
    assert isinstance(found, RawRecord)
    assert found.value == {"id": 1}
    assert _Schemas.asked == ["/schemas/ids/7", f"/schemas/guids/{GUID}", "/schemas/ids/8"]


def test_framed_records_that_cannot_be_read_say_why(registry: RegistryClient) -> None:
    for raw, asked, reason in (
        (Raw(framed(7, avro())), None, "topics.registry"),
        (Raw(framed(5, avro())), registry, "no such schema"),
        (Raw(framed(9, b"\0")), registry, "Protobuf"),
        (Raw(framed(7, b"\x7f")), registry, "not Avro"),
    ):
        found = open_envelope(raw, "json", asked)
        assert isinstance(found, Unusable)
        assert reason in found.detail


def test_a_registry_that_is_away_is_asked_again() -> None:
    away = RegistryClient("http://127.0.0.1:9")
    with pytest.raises(RegistryUnavailableError):
        open_envelope(Raw(framed(7, avro())), "json", away)


def test_marks_forms_and_what_is_no_json() -> None:
    assert record(b'\xef\xbb\xbf{"id": 1}').value == {"id": 1}
    assert record('{"id": "ü"}'.encode("utf-16")).value == {"id": "ü"}
    form = record(b"a=1&b=%C3%BC", headers={"content-type": b"application/x-www-form-urlencoded"})
    assert form.value == {"a": "1", "b": "ü"}
    broken = opened(b"<xml/>")
    assert isinstance(broken, Unusable)
    assert "not JSON" in broken.detail


def test_numbers_keep_their_digits() -> None:
    assert record(b'{"a": 1234567890123456.78, "b": 0.1}').value == {"a": "1234567890123456.78", "b": 0.1}


@given(st.binary(max_size=40), st.sampled_from(["json", "debezium", "connect", "cloudevents", "rows"]))
def test_no_bytes_raise(data: bytes, envelope: Envelope) -> None:
    assert opened(data, envelope, key=data) is not None


# --- instants


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_780_300_800, AT), (AT, AT), (AT * 1000, AT), (AT * 1_000_000, AT), (str(AT), AT), ("1780300800.5", AT + 500),
        ("2026-06-01T08:00:00Z", AT), ("2026-06-01 08:00:00", AT), ("2026-06-01T10:00:00.000+0200", AT),
        ("2026-06-01T08:00:00.123456789Z", AT + 123), ("2026-06-01", AT - 8 * 3_600_000), (-1, -1000),
        (None, None), (True, None), ("soon", None), ("", None), (float("nan"), None), (10**30, None),
    ],
)  # fmt: skip
def test_instants_as_systems_write_them(value: Any, expected: int | None) -> None:
    assert milliseconds(value) == expected
