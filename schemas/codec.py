"""Bytes to events, a batch at a time, and back.

One pydantic call validates a whole batch; when a member is bad the batch is validated one by one, so that the
good ones pass and each bad one gets its own reason.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from pydantic import BaseModel, TypeAdapter, ValidationError

from salesgauge.schemas.events import EVENT_UNION, DealChanged, DealLine, EventBase, RevenueSplit
from salesgauge.schemas.values import MAX_EVENT_BYTES
from salesgauge.schemas.wire import AnyEvent, read_plain

_ONE: TypeAdapter[EventBase] = TypeAdapter(EVENT_UNION)
_MANY: TypeAdapter[list[Any]] = TypeAdapter(list[EVENT_UNION])
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DETAIL_CHARACTERS = 500
_NAMED = 20
"""Unknown fields that are named at once."""
PARTS: dict[str, type[BaseModel]] = {"lines": DealLine, "splits": RevenueSplit}
"""Fields whose values are objects."""
_ALIASES = frozenset({"name"})
"""Second names of fields."""


class Reason(enum.StrEnum):
    """Why a record could not become part of the result. The values are label values and header values."""

    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NOT_JSON = "not_json"
    NOT_AN_OBJECT = "not_an_object"
    UNKNOWN_EVENT = "unknown_event"
    UNSUPPORTED_VERSION = "unsupported_version"
    INVALID = "invalid"
    FUTURE = "future"
    UNKNOWN_CURRENCY = "unknown_currency"
    ENTITY_FULL = "entity_full"
    PROCESSING_FAILED = "processing_failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that is not an event: the reason as a label, the detail for a person."""

    reason: Reason
    detail: str


def decode_batch(payloads: Sequence[bytes | None]) -> list[EventBase | Rejection]:
    """Decode payloads; the result has the same length and order as the input.

    Each payload is first checked to be one whole JSON object, so joining them cannot change where one ends:
    a payload such as ``{...},{...}`` or two halves of an object never become events.
    """
    results: list[EventBase | Rejection | None] = [_unreadable(payload) for payload in payloads]
    readable = [i for i, rejection in enumerate(results) if rejection is None]
    events = _validate_many([payloads[i] for i in readable])  # type: ignore[misc]
    for i, event in zip(readable, events, strict=True):
        results[i] = event
    return results  # type: ignore[return-value]


def read_batch(payloads: Sequence[bytes | None]) -> list[AnyEvent | Rejection]:
    """The same, several times as fast: most events come as structs with the models' attributes.

    For what computes; what passes events on wants the models.
    """
    events: list[AnyEvent | Rejection | None] = [*read_plain(payloads)]
    others = [i for i, event in enumerate(events) if event is None]
    for i, event in zip(others, decode_batch([payloads[i] for i in others]), strict=True):
        events[i] = event
    return events  # type: ignore[return-value]


def decode(payload: bytes | None) -> EventBase | Rejection:
    """Decode one payload."""
    return _unreadable(payload) or _validate(payload)  # type: ignore[arg-type]


def validate(fields: dict[str, Any]) -> EventBase | Rejection:
    """Validate an event given as Python values, as `convert` and `publish` have it."""
    return decode(msgspec.json.encode(fields))


def unknown_fields(payload: bytes | None, event: AnyEvent) -> list[str]:
    """The fields of an accepted payload that its kind of event does not have, lines included (``lines.prodct``).

    They change nothing; a misspelt one means that something is missing.
    """
    if payload is None or not isinstance(event, EventBase):
        return []  # a struct has no unknown fields
    fields = _OBJECT.decode(payload)
    found = _unknown(fields, type(event), "")
    for name, part in PARTS.items():
        if name in fields and getattr(event, name, None):
            items = msgspec.json.decode(fields[name], type=list[dict[str, msgspec.Raw]])
            found += sorted({field for item in items for field in _unknown(item, part, f"{name}.")})
    return found


def count_unknown(counts: Counter[str], payload: bytes | None, event: AnyEvent) -> None:
    """Count the unknown fields of an accepted payload, as ``deal_won.rep``."""
    counts.update(f"{event.name}.{field}" for field in unknown_fields(payload, event))


def told_unknown(counts: Counter[str]) -> str:
    """A sentence, without its end, that names unknown fields and how many events had each, the most frequent first."""
    named = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(_NAMED))
    more = f" and {len(counts) - _NAMED:,} more" if len(counts) > _NAMED else ""
    return f"fields that no event of the kind has: {named}{more}"


def _unknown(fields: dict[str, msgspec.Raw], model: type[BaseModel], prefix: str) -> list[str]:
    known = model.model_fields
    names = [name for name in fields if name not in known]
    return [prefix + name for name in names if name not in _ALIASES]


def encode(event: EventBase) -> bytes:
    """The event as compact JSON, without absent fields; a null that clears an attribute stays."""
    if isinstance(event, DealChanged):
        return msgspec.json.encode({"event": event.event, **event.model_dump(mode="json", exclude_unset=True)})
    return event.model_dump_json(exclude_none=True).encode()


def _unreadable(payload: bytes | None) -> Rejection | None:
    if not payload:
        return Rejection(Reason.EMPTY, "the message has no value")
    if len(payload) > MAX_EVENT_BYTES:
        return Rejection(Reason.TOO_LARGE, f"{len(payload)} bytes; the limit is {MAX_EVENT_BYTES}")
    try:
        _OBJECT.decode(payload)
    except msgspec.ValidationError as error:
        return Rejection(Reason.NOT_AN_OBJECT, _short(str(error)))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        return Rejection(Reason.NOT_JSON, _what_else(payload) or _short(str(error)))
    return None


_OTHER_FORMS = {
    b"\x00": "it begins with a zero byte, as the serializers of a schema registry write it: produce plain JSON, or let "
    "`salesgauge ingest` read the topic",
    b"\xef\xbb\xbf": "it begins with a byte order mark: produce UTF-8 without one",
    b"\xff\xfe": "it is UTF-16: produce UTF-8",
    b"\xfe\xff": "it is UTF-16: produce UTF-8",
    b"\x1f\x8b": "it is packed by gzip: let the producer's `compression.type` do that",
}


def _what_else(payload: bytes) -> str:
    """What a payload that is no JSON looks like; empty where it looks like nothing known."""
    return next((said for mark, said in _OTHER_FORMS.items() if payload.startswith(mark)), "")


def _validate_many(payloads: list[bytes]) -> list[EventBase | Rejection]:
    try:
        events = _MANY.validate_json(b"[" + b",".join(payloads) + b"]")
    except ValidationError:
        return [_validate(payload) for payload in payloads]
    if len(events) != len(payloads):
        return [_validate(payload) for payload in payloads]
    return list(events)


def _validate(payload: bytes) -> EventBase | Rejection:
    try:
        return _ONE.validate_json(payload)
    except ValidationError as error:
        return _explain(error)


def _explain(error: ValidationError) -> Rejection:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    first = details[0]
    if first["type"].startswith("union_tag"):
        return Rejection(Reason.UNKNOWN_EVENT, _short(first["msg"]))
    if first["type"] == "json_invalid":
        return Rejection(Reason.NOT_JSON, _short(first["msg"]))
    reason = Reason.INVALID
    if any("schema_version" in d["loc"] for d in details):
        reason = Reason.UNSUPPORTED_VERSION
    return Rejection(
        reason, _short("; ".join(f"{_path(d['loc'])}: {d['msg'].removeprefix('Value error, ')}" for d in details))
    )


def _path(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location[1:]) or str(location[0] if location else "event")


def _short(text: str) -> str:
    return text if len(text) <= _DETAIL_CHARACTERS else text[: _DETAIL_CHARACTERS - 1] + "…"
