"""Events as plain structs: a second, faster reader for what most payloads are.

The pydantic models of :mod:`salesgauge.schemas.events` say what an event is. Of the kinds whose fields are texts,
times, choices, flags and whole numbers there is a struct here, derived from the model, with the same attributes. A
payload is read into it only if that is sure to give what the model would give: no field unknown, nothing to convert,
nothing to strip.
Anything else is None, and the models decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Union

import msgspec

from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.values import MAX_EVENT_BYTES, MAX_ID_LENGTH, SIMPLE


class WireEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """The envelope; see :class:`salesgauge.schemas.events.EventBase`."""

    name: ClassVar[str] = ""
    KEY_FIELDS: ClassVar[tuple[str, ...]] = ()

    event_id: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH)]
    occurred_at: Annotated[datetime, msgspec.Meta(tz=True)]
    recorded_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    source_system: str | None = None

    @property
    def key(self) -> str:
        """The Kafka message key: the identity of the entity that the event is about."""
        return next(str(value) for field in self.KEY_FIELDS if (value := getattr(self, field)))


AnyEvent = EventBase | WireEvent
"""An event, whichever way it was read."""


class _UnsupportedError(Exception):
    """A model has something that a struct cannot check as the model does."""


def _struct(model: type[EventBase]) -> type[WireEvent]:
    """A struct for a model, derived from the description that pydantic validates by."""
    name = model.model_fields["event"].default
    namespace: dict[str, Any] = {"name": name, "KEY_FIELDS": model.KEY_FIELDS}
    validators = model.__pydantic_decorators__.model_validators.keys()
    if validators == {"_has_a_key"}:
        namespace["__post_init__"] = _require_key
    elif validators or model.__pydantic_decorators__.field_validators:
        raise _UnsupportedError
    schema: Any = model.__pydantic_core_schema__
    while schema["type"] != "model-fields":
        schema = schema["schema"]
    fields = [_field(name, part["schema"]) for name, part in schema["fields"].items() if name != "event"]
    struct: Any = msgspec.defstruct(
        model.__name__, fields, bases=(WireEvent,), namespace=namespace, tag_field="event", tag=name,
        frozen=True, kw_only=True, gc=False, forbid_unknown_fields=True,
    )  # fmt: skip
    return struct  # type: ignore[no-any-return]


def _require_key(event: WireEvent) -> None:
    if not any(getattr(event, field) for field in event.KEY_FIELDS):
        raise ValueError("no key")


def _field(name: str, schema: Any) -> tuple[str, Any] | tuple[str, Any, Any]:
    if schema["type"] == "default":
        return name, _type(schema["schema"]), schema["default"]
    return name, _type(schema)


def _type(schema: Any) -> Any:
    """The type for msgspec that accepts no more than pydantic does, without converting anything."""
    value, limits = schema.get("metadata", {}).get("value"), schema.get("metadata", {})
    match schema | {"value": value}:
        case {"value": "text"}:
            return _limited(str, limits, "min_length", "max_length")
        case {"value": "time"}:
            return Annotated[datetime, msgspec.Meta(tz=True)]
        case {"value": "int"}:
            return _limited(int, limits, "ge", "le")
        case {"type": "nullable", "schema": inner}:
            return _type(inner) | None
        case {"type": "literal", "expected": expected}:
            return Literal[tuple(expected)]
        case {"type": "bool"}:
            return bool
        case _:
            raise _UnsupportedError


def _limited(kind: type, limits: Mapping[str, Any], *names: str) -> Any:
    return Annotated[kind, msgspec.Meta(**{name: limits[name] for name in names})]


def _structs() -> dict[str, type[WireEvent]]:
    found = {}
    for name, model in EVENTS.items():
        try:
            found[name] = _struct(model)
        except _UnsupportedError:
            continue
    return found


WIRE_EVENTS: Mapping[str, type[WireEvent]] = _structs()
"""Event name -> struct, of the kinds that have one."""

_decode = msgspec.json.Decoder(Union[tuple(WIRE_EVENTS.values())]).decode  # noqa: UP007 - made of a tuple

_SIMPLE = re.compile(rf"[{SIMPLE}\t\n\r]*")
"""Texts of these characters need no cleaning. Tabs and ends of lines can stand between the parts of JSON only."""
_BELOW_MICROSECONDS = re.compile(rb"\.\d{7}")


def read_plain(payloads: Sequence[bytes | None]) -> list[WireEvent | None]:
    """The event of each payload, or None where the models have to decide."""
    checked = _plain(b"".join([payload for payload in payloads if payload]))
    return [_read(payload) if payload and (checked or _plain(payload)) else None for payload in payloads]


def _read(payload: bytes) -> WireEvent | None:
    if len(payload) > MAX_EVENT_BYTES:
        return None
    try:
        return _decode(payload)  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _plain(payload: bytes) -> bool:
    """Whether texts stand in the payload as they are meant, without escapes, DEL or space at their ends.

    Texts cannot hold raw control characters: that is no JSON. A time finer than microseconds is not plain either,
    since it is rounded here and cut there.
    """
    if b"\\" in payload or b"\x7f" in payload:
        return False
    if b"." in payload and _BELOW_MICROSECONDS.search(payload):
        return False
    if not payload.isascii() and not _simple(payload):
        return False
    if b' "' not in payload and b'" ' not in payload:
        return True
    try:  # space between the parts of the JSON is not space in a text
        compact = msgspec.json.format(payload, indent=-1)
    except msgspec.MsgspecError:
        return False
    return b' "' not in compact and b'" ' not in compact


def _simple(payload: bytes) -> bool:
    try:
        return _SIMPLE.fullmatch(payload.decode()) is not None
    except UnicodeDecodeError:
        return False
