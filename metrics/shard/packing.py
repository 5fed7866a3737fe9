"""Packed integers of any size: a sum may be larger than what 64 bits hold, though no single amount is.

Such an integer is packed as a text; whoever unpacks it does so leniently (``strict=False``), which reads it as one.
"""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.msgpack.Encoder().encode
_LEAST, _GREATEST = -(2**63), 2**63 - 1


def pack(value: Any) -> bytes:
    """The value in MessagePack."""
    try:
        return _encode(value)
    except OverflowError:
        return _encode(_with_texts(value))


def unpacker(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    """Reads what :func:`pack` wrote."""
    return msgspec.msgpack.Decoder(type_, strict=False)


def _with_texts(value: Any) -> Any:
    if isinstance(value, int) and not _LEAST <= value <= _GREATEST:
        return str(value)
    if isinstance(value, dict):
        return {key: _with_texts(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_with_texts(part) for part in value]
    if isinstance(value, msgspec.Struct):
        return [_with_texts(getattr(value, field)) for field in value.__struct_fields__]
    return value
