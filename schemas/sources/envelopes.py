"""What tools wrap around records of topics, removed: Debezium, Kafka Connect, CloudEvents, registries, marks.

A field that is not there stays not there: what a database did not log is not null.
"""

from __future__ import annotations

import base64
import codecs
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec

from salesgauge.schemas.sources.instants import milliseconds
from salesgauge.schemas.sources.objects import Ignored, RawRecord, Unusable
from salesgauge.schemas.sources.source import Envelope

UNAVAILABLE = "__debezium_unavailable_value"
"""What Debezium writes for a large value that did not change."""
_UNAVAILABLE_FORMS = frozenset({UNAVAILABLE, base64.b64encode(UNAVAILABLE.encode()).decode()})
_FRAME_BYTES = 5
_SCHEMA_HEADERS = ("__value_schema_id", "__key_schema_id")
_OPS = {"c": "create", "r": "snapshot", "u": "change", "d": "delete"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT_DIGITS = 15


def _number(text: str) -> float | str:
    """A number with a fraction; as text where a double cannot hold its digits."""
    return float(text) if sum(letter.isdigit() for letter in text) <= _EXACT_DIGITS else text


_decode_json = msgspec.json.Decoder(float_hook=_number).decode


@dataclass(frozen=True, slots=True)
class Raw:
    """A record of a topic: bytes and headers; ``at`` is when it came, in ms since the epoch."""

    value: bytes | None
    key: bytes | None = None
    headers: Mapping[str, bytes] | None = None
    topic: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema of a registry: its type and text."""

    kind: Literal["AVRO", "JSON", "PROTOBUF"]
    text: str


Registry = Callable[[int | str], RegisteredSchema]
"""From a schema's number, or its GUID, to the schema; raises LookupError where there is none."""


class UnreadableError(ValueError):
    """A value cannot be read; the message says what it looks like and what to do."""


def open_envelope(raw: Raw, envelope: Envelope, registry: Registry | None = None) -> RawRecord | Ignored | Unusable:
    """The record inside of an envelope, or why there is none."""
    try:
        return _opened(raw, envelope, registry)
    except UnreadableError as error:
        return Unusable("unreadable", str(error))


def _opened(raw: Raw, envelope: Envelope, registry: Registry | None) -> RawRecord | Ignored | Unusable:
    headers = {name: value.decode(errors="replace") for name, value in (raw.headers or {}).items()}
    key = _key(raw.key, registry)
    if envelope == "cloudevents":
        return _cloud_event(raw, key, headers, registry)
    if raw.value is None:
        return _tombstone(raw, envelope, key, headers)
    value = decoded(raw.value, registry, schema=_guid(raw.headers), content_type=headers.get("content-type", ""))
    base = RawRecord(value, key=key, headers=headers, topic=raw.topic, at=raw.at)
    match envelope:
        case "debezium":
            return _debezium(_without_schema(value), base)
        case "connect":
            return replace(base, value=_available(_without_schema(value)))
        case "rows":
            return _row(_available(_without_schema(value)), base)
    return base


def decoded(data: bytes, registry: Registry | None, *, schema: str | None = None, content_type: str = "") -> Any:
    """Bytes as JSON values: plain JSON, a form, or what a registry framed.

    Raises:
        UnreadableError: it is none of these, or the schema is not known.
    """
    if schema is not None:
        return _by_schema(data, schema, registry)
    if data[:1] == b"\0" and len(data) > _FRAME_BYTES:
        return _by_schema(data[_FRAME_BYTES:], int.from_bytes(data[1:_FRAME_BYTES], "big"), registry)
    if content_type.startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(data.decode(errors="replace"), keep_blank_values=True))
    return _json(data)


def _json(data: bytes) -> Any:
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
                           (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if data.startswith(mark):
            data = data.decode(encoding, errors="replace").encode()
            break
    try:
        return _decode_json(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnreadableError(f"not JSON: {error}; the beginning is {data[:40]!r}") from error


def _guid(headers: Mapping[str, bytes] | None) -> str | None:
    """The schema's GUID, which newer serializers put into a header: one byte of version, then 16."""
    found = (headers or {}).get(_SCHEMA_HEADERS[0])
    if found is None or len(found) != 17:  # noqa: PLR2004 - see above
        return None
    text = found[1:].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _by_schema(data: bytes, number: int | str, registry: Registry | None) -> Any:
    if registry is None:
        raise UnreadableError(
            "framed by a schema registry (byte 0 and a number, or a schema header): say its address, topics.registry"
        )
    try:
        schema = registry(number)
    except LookupError as error:
        raise UnreadableError(f"the schema registry: {error}") from error
    if schema.kind == "JSON":
        return _json(data)
    if schema.kind == "AVRO":
        return _avro(data, schema.text)
    raise UnreadableError("Protobuf of a schema registry cannot be read; let the producer write JSON or Avro")


_avro_schemas: dict[str, Any] = {}


def _avro(data: bytes, text: str) -> Any:
    try:
        import fastavro  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UnreadableError("Avro needs `pip install salesgauge[avro]`") from error
    import io  # noqa: PLC0415

    parsed = _avro_schemas.get(text)
    if parsed is None:
        parsed = _avro_schemas[text] = fastavro.parse_schema(msgspec.json.decode(text))
    try:
        found = fastavro.schemaless_reader(io.BytesIO(data), parsed, None)
    except Exception as error:
        raise UnreadableError(f"not Avro of its schema: {type(error).__name__}: {error}") from error
    return _plain(found)


def _plain(value: Any) -> Any:
    """Values of Avro's logical types as JSON has them: exact decimals as text, times as ISO 8601."""
    if isinstance(value, dict):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _key(key: bytes | None, registry: Registry | None) -> str | None:
    """A key as text; of a JSON key with one field, that field."""
    if key is None:
        return None
    if key[:1] not in (b"{", b'"', b"\0"):
        return key.decode(errors="replace")
    try:
        value = _without_schema(decoded(key, registry))
    except UnreadableError:
        return key.decode(errors="replace")
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values()))
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _tombstone(
    raw: Raw, envelope: Envelope, key: str | None, headers: dict[str, str]
) -> RawRecord | Ignored | Unusable:
    """A record without value: Debezium has already said that the row is gone; elsewhere it is the deletion."""
    if envelope == "debezium":
        return Ignored("tombstone")
    if key is None:
        return Unusable("empty", "a record without key and value")
    return RawRecord(None, key=key, headers=headers, topic=raw.topic, at=raw.at, op="delete")


# --- Debezium and Kafka Connect


def _debezium(value: Any, base: RawRecord) -> RawRecord | Ignored | Unusable:
    if not isinstance(value, dict) or "op" not in value:
        return Unusable(
            "unknown shape", "no Debezium envelope (op, before, after); of unwrapped rows say envelope: rows"
        )
    op = _OPS.get(str(value["op"]))
    if op is None:
        return Ignored(f"debezium op {value['op']}"[:40])
    source = value.get("source") if isinstance(value.get("source"), dict) else {}
    at = milliseconds((source or {}).get("ts_ms")) or milliseconds(value.get("ts_ms"))
    before = _available(value.get("before"))
    after = before if op == "delete" else _available(value.get("after"))
    return replace(base, value=after, op=op, before=before, source_time=at)


def _row(value: Any, base: RawRecord) -> RawRecord | Unusable:
    """An unwrapped row; what Debezium adds to it begins with two underscores."""
    if not isinstance(value, dict):
        return Unusable("unknown shape", "an unwrapped row is a JSON object")
    at = next((milliseconds(value[name]) for name in ("__source_ts_ms", "__ts_ms") if name in value), None)
    deleted = str(value.get("__deleted", "")).lower() == "true" or value.get("__op") == "d"
    op = "delete" if deleted else _OPS.get(str(value.get("__op")))
    row = {name: one for name, one in value.items() if not name.startswith("__")}
    return replace(base, value=row, op=op, source_time=at)


def _available(value: Any) -> Any:
    """Without what the database did not log."""
    if isinstance(value, dict):
        return {name: _available(one) for name, one in value.items() if not _missing(one)}
    return value


def _missing(value: Any) -> bool:
    if isinstance(value, str):
        return value in _UNAVAILABLE_FORMS
    return isinstance(value, list) and len(value) == 1 and _missing(value[0])


def _without_schema(value: Any) -> Any:
    """The payload of Connect's JSON, with the values that only its schema explains made plain."""
    if isinstance(value, dict) and value.keys() == {"schema", "payload"}:
        schema = value["schema"]
        return _explained(value["payload"], schema) if isinstance(schema, dict) else value["payload"]
    return value


def _explained(value: Any, schema: Mapping[str, Any]) -> Any:
    if value is None:
        return None
    explain = _LOGICAL.get(str(schema.get("name")))
    if explain is not None:
        return explain(value, schema.get("parameters") or {})
    kind = schema.get("type")
    if kind == "struct" and isinstance(value, dict):
        fields = {str(one.get("field")): one for one in schema.get("fields") or ()}
        return {field: _explained(one, fields.get(field, {})) for field, one in value.items()}
    if kind == "array" and isinstance(value, list):
        return [_explained(one, schema.get("items") or {}) for one in value]
    if kind == "map" and isinstance(value, dict):
        return {field: _explained(one, schema.get("values") or {}) for field, one in value.items()}
    return value


def _decimal(value: Any, parameters: Mapping[str, Any]) -> Any:
    """A decimal as Connect writes it: base64 of its whole number, whose scale the schema says."""
    if not isinstance(value, str) or value in _UNAVAILABLE_FORMS:
        return value
    try:
        unscaled = int.from_bytes(base64.b64decode(value, validate=True), "big", signed=True)
    except ValueError:
        return value  # written as a number already
    return format(Decimal(unscaled).scaleb(-int(parameters.get("scale", 0))), "f")


def _variable_decimal(value: Any, parameters: Mapping[str, Any]) -> Any:
    del parameters
    if not isinstance(value, dict):
        return value
    return _decimal(value.get("value"), {"scale": value.get("scale", 0)})


def _after_epoch(unit: str) -> Callable[[Any, Mapping[str, Any]], Any]:
    """A time as a number of units since the epoch, as ISO 8601 with its zone."""

    def convert(value: Any, parameters: Mapping[str, Any]) -> Any:
        del parameters
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        try:
            if unit == "nanoseconds":
                return (_EPOCH + timedelta(microseconds=value // 1000)).isoformat()
            time = _EPOCH + timedelta(**{unit: value})
        except OverflowError:
            return value
        return time.date().isoformat() if unit == "days" else time.isoformat()

    return convert


_LOGICAL: Mapping[str, Callable[[Any, Mapping[str, Any]], Any]] = {
    "org.apache.kafka.connect.data.Decimal": _decimal,
    "org.apache.kafka.connect.data.Date": _after_epoch("days"),
    "org.apache.kafka.connect.data.Timestamp": _after_epoch("milliseconds"),
    "io.debezium.data.VariableScaleDecimal": _variable_decimal,
    "io.debezium.time.Date": _after_epoch("days"),
    "io.debezium.time.Timestamp": _after_epoch("milliseconds"),
    "io.debezium.time.MicroTimestamp": _after_epoch("microseconds"),
    "io.debezium.time.NanoTimestamp": _after_epoch("nanoseconds"),
}


# --- CloudEvents


def _cloud_event(
    raw: Raw, key: str | None, headers: dict[str, str], registry: Registry | None
) -> RawRecord | Ignored | Unusable:
    """Structured (all in the value) or binary (attributes in headers); without data and attributes it is a deletion."""
    if headers.get("content-type", "").startswith("application/cloudevents"):
        event = decoded(raw.value or b"", registry)
        if not isinstance(event, dict):
            return Unusable("unknown shape", "a structured CloudEvent is a JSON object")
        data = event.get("data")
        if data is None and isinstance(event.get("data_base64"), str):
            data = _json(base64.b64decode(event["data_base64"]))
        attributes = {f"ce_{name}": str(one) for name, one in event.items() if name not in ("data", "data_base64")}
    elif "ce_id" in headers and "ce_type" in headers:
        data = None if raw.value is None else decoded(raw.value, registry, schema=_guid(raw.headers))
        attributes = {name: one for name, one in headers.items() if name.startswith("ce_")}
    elif raw.value is None:
        return _tombstone(raw, "cloudevents", key, headers)
    else:
        return Unusable("unknown shape", "no CloudEvent: neither ce_ headers nor content-type application/cloudevents")
    if data is None:
        return Ignored("CloudEvent without data")
    at = milliseconds(attributes.get("ce_time"))
    return RawRecord(data, key=key, headers=headers | attributes, topic=raw.topic, at=raw.at, source_time=at)
