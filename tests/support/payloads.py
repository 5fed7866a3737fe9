"""Payloads of every kind of event, made from the models: right ones, odd ones, wrong ones and broken ones.

The same seed makes the same payloads. A kind that is added to the models is covered without a change here.
"""

# ruff: noqa: E501 - tables of values

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from salesgauge.schemas.events import EVENTS

RIGHT_TEXTS = [
    "a",
    "A",
    "4711",
    "J\u00f6rg",
    "a b",
    "\u6771\u4eac",
    "\u041a\u0438\u0435\u0432",
    "x" * 200,
    "a, b",
    "a:b",
    "a.1234567",
]
ODD_TEXTS = [
    " a", "a ", "\ta", "a\n", "a\u00a0", "a\u00a0b", "\u3000a", "a\u200b", "\ufeffa", "a\u200db", "a\u00adb", "\u202ea", "\u2066a\u2069",
    "e\u0301", "\u00e9", "\u212b", "\u1e9b\u0323", "\u2764\ufe0f", "\U0001f468\u200d\U0001f469", "\u3164", "\u1160", "a\U000e0041", "\u0600a", "x" * 199 + "\u00e9",
    "x" * 199 + "e\u0301", "\u0627\u0653", "\u0e33", "\U0001fae0", "\U0001fadf", "a\\", 'a"b', "</script>", "", " ", "\u200b", "null", "NaN", 4711, -1, 0, 10**30,
]  # fmt: skip
WRONG_TEXTS: list[Any] = [
    "a\x00b", "a\x1fb", "a\x7fb", "a\x85b", "a\nb", "a\u2028b", "a\u2029b", "\ue000", "\U000f0000", "\U0010fffd", "\u0378", "\ufffe",
    "\U0001fffe", "\ufdd0", "\ud800", "a\udfff", "x" * 201, "\u00e9" * 201, 1.0, 1.5, 1e30, True, False, ["a"], {"a": "b"}, [], {},
]  # fmt: skip
RIGHT_TIMES = [
    "2026-03-01T09:00:00Z",
    "2026-03-01T09:00:00+00:00",
    "2026-03-01T09:00:00.123Z",
    "2026-03-01T10:00:00+01:00",
]
ODD_TIMES = [
    "2026-03-01 09:00:00z", "2026-03-01t09:00Z", "2026-03-01T09:00:00.1234567Z", "2026-03-01T09:00:00.9999999Z",
    "2026-03-01T09:00:00,5Z", "2026-03-01T09:00:00-0130", "2026-03-01T09:00:00+23:59", "2024-02-29T09:00:00Z",
    "1969-12-31T23:59:59.9995Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-03-01T09:00:00.123456789Z",
]  # fmt: skip
WRONG_TIMES: list[Any] = [
    "20261120", "2026", "2026-11-20", "1772355600", "1772355600.5", "-1", "0", "2026-03-01T09:00:00", "2026-03-01T09:00",
    "2026-03-01T09Z", "20260301T090000Z", "2026-03-01T090000Z", "2026-W10-1T09:00:00Z", "2026-060T09:00:00Z",
    "2026-03-01_09:00:00Z", "2026-03-01T09:00:60Z", "2026-03-01T24:00:00Z", "2026-02-29T09:00:00Z", "2026-13-01T09:00:00Z",
    "2026-03-01T09:00:00+24:00", "2026-03-01T09:00:00\u221201:00", "2026-03-01T09:00:00+01", "2026-03-01T09:00:00 Z",
    " 2026-03-01T09:00:00Z", "2026-03-01T09:00:00Z ", "2026-03-01T09:00:00Z\n", "2026-3-1T09:00:00Z", "+2026-03-01T09:00:00Z",
    "\u0662\u0660\u0662\u0666-03-01T09:00:00Z", "2026-03-01T09:00:00.Z", "2026-03-01T09:00:00.1234567891Z", "2026-03-01T09:00:00UTC",
    "2026-03-01T09:00:00[Europe/Berlin]", "0000-01-01T00:00:00Z", "12026-03-01T09:00:00Z", "soon", "P1D", "now", "NaN", "",
    1_772_355_600, 1_772_355_600_000, 1.5, -1, 0, True, False, [], {}, ["2026-03-01T09:00:00Z"],
]  # fmt: skip
RIGHT_NUMBERS: list[Any] = [0, 1, 2, 5, 9, 10, "1", "10"]
ODD_NUMBERS: list[Any] = [
    1.0,
    5.0,
    0.1,
    "0.1",
    -1,
    "-1",
    "0",
    "-0",
    -0.0,
    1e2,
    12.5,
    "99.990",
    10**12,
    "8999999999999.999999",
    1e-7,
]
WRONG_NUMBERS: list[Any] = [
    True, False, "1_000", "1,000", "1 000", "1.000,00", " 1", "1 ", "+1", "01", ".5", "5.", "1e3", "1E3", "0x10", "--1", "\u0661", "\uff11",
    "\u00b2", "\u00bd", "\u2212" + "1", "$1", "1\u20ac", "NaN", "nan", "sNaN", "Infinity", "-Infinity", "inf", "", "true", "one", "1\x00",
    10**13, -(10**13), 1e300, -1e300, 10**4000, "9" * 65, "0." + "1" * 64, [], {}, [1],
]  # fmt: skip
RIGHT_FLAGS = [True, False]
ODD_FLAGS: list[Any] = [0, 1, "true", "False", "yes", "N", "on", "0", "1", 1.0]
WRONG_FLAGS: list[Any] = [2, -1, 0.5, "", " true", "perhaps", "1.0", [], {}]
RIGHT_CODES = ["EUR"]
ODD_CODES = ["usd", " GBP ", "JPY\n"]
WRONG_CODES: list[Any] = ["euro", "E", "", "E\u00dcR", "\uff25\uff35\uff32", "EU1", "EUR\u200b", 978, 1.5, True, [], {}]

VALUES: Mapping[str, tuple[list[Any], list[Any], list[Any]]] = {
    "text": (RIGHT_TEXTS, ODD_TEXTS, WRONG_TEXTS),
    "time": (RIGHT_TIMES, ODD_TIMES, WRONG_TIMES),
    "int": (RIGHT_NUMBERS, ODD_NUMBERS, WRONG_NUMBERS),
    "decimal": (RIGHT_NUMBERS, ODD_NUMBERS, WRONG_NUMBERS),
    "bool": (RIGHT_FLAGS, ODD_FLAGS, WRONG_FLAGS),
    "code": (RIGHT_CODES, ODD_CODES, WRONG_CODES),
}
"""By the ``metadata`` of :mod:`salesgauge.schemas.values`: right values, values that may be taken, wrong values."""


class Payloads:
    """Makes payloads; ``care`` is the share of values that are right."""

    def __init__(self, seed: int, care: float = 0.9) -> None:
        self.rng = random.Random(seed)
        self._care = care

    def payloads(self, count: int) -> Iterator[bytes]:
        """As many payloads, all kinds of events in turn."""
        kinds = list(EVENTS)
        for number in range(count):
            yield self.payload(kinds[number % len(kinds)])

    def payload(self, kind: str) -> bytes:
        """A payload that names this kind, unless it is broken."""
        members = list(self.event(kind).items())
        if self._seldom():
            members.append(
                self._pick([("note", "x"), ("Event", kind), ("amount_", 1), ("nested", {"a": [1, None]}), *members])
            )
        if self._seldom():  # a key that comes twice
            members.append((self._pick(members)[0], self._pick(self._pick(list(VALUES.values()))[2])))
        self.rng.shuffle(members)
        return self._broken(self._text(members))

    def event(self, kind: str) -> dict[str, Any]:
        """Fields of an event, some of them odd or wrong."""
        fields = {"event": kind} | self._object(EVENTS[kind])
        return fields | {"event_id": f"e{self.rng.randrange(10**9)}"} if self._usual() else fields

    def _object(self, model: type[BaseModel]) -> dict[str, Any]:
        made = {}
        for name, info in model.model_fields.items():
            if name == "event":
                continue
            if info.is_required() or self.rng.random() < 0.6:
                made[name] = self.value(model, name)
        return {name: value for name, value in made.items() if self.rng.random() < 0.995}

    def value(self, model: type[BaseModel], name: str) -> Any:
        """A value of a field: mostly a right one."""
        kind, detail = kind_of(model, name)
        if name == "schema_version" and self.rng.random() < 0.95:
            return 1
        if self._seldom():
            return None
        if kind == "literal":
            return (
                self._pick(detail) if self._usual() else self._pick([detail[0].upper(), "", " " + detail[0], 1, True])
            )
        if kind == "list":
            return (
                [self._object(detail) for _ in range(self.rng.randrange(3))]
                if self._usual()
                else self._pick([{}, "[]", [1]])
            )
        right, odd, wrong = VALUES[kind]
        return self._pick(right if self._usual() else odd if self.rng.random() < 0.6 else wrong)

    def _text(self, members: list[tuple[str, Any]]) -> bytes:
        space: str = self._pick(["", "", " ", "\n  "])
        escape = self._seldom()
        parts = (
            f"{json.dumps(key)}{space}:{space}{json.dumps(value, ensure_ascii=escape or not _encodes(value))}"
            for key, value in members
        )
        return ("{" + space + f"{space},{space}".join(parts) + space + "}").encode()

    def _broken(self, payload: bytes) -> bytes:
        if not self._seldom():
            return payload
        at, byte = self.rng.randrange(len(payload)), bytes([self.rng.randrange(256)])
        changes = [
            payload[:at],
            payload[:at] + payload[at + 1 :],
            payload[:at] + byte + payload[at:],
            payload[:at] + byte + payload[at + 1 :],
            payload + payload,
            b"[" + payload + b"]",
            b"\xef\xbb\xbf" + payload,
        ]
        return self.rng.choice(changes)

    def _usual(self) -> bool:
        return self.rng.random() < self._care

    def _seldom(self) -> bool:
        return self.rng.random() < 0.03

    def _pick(self, choices: list[Any]) -> Any:
        return self.rng.choice(choices)


def _encodes(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@cache
def kind_of(model: type[BaseModel], name: str) -> tuple[str, Any]:
    """The kind of a field's values, a key of :data:`VALUES`, ``literal`` or ``list``; with its choices or its model."""
    schema: Any = model.__pydantic_core_schema__
    while schema["type"] != "model-fields":
        schema = schema["schema"]
    schema = schema["fields"][name]["schema"]
    while True:
        if value := schema.get("metadata", {}).get("value"):
            return value, None
        if schema["type"] == "literal":
            return "literal", schema["expected"]
        if schema["type"] == "bool":
            return "bool", None
        if schema["type"] in ("tuple", "list"):
            item = schema.get("items_schema") or [None]
            item = item[0] if isinstance(item, list) else item
            while "cls" not in item:
                item = item["schema"]
            return "list", item["cls"]
        schema = schema["schema"]
