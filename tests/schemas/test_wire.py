"""What is read into structs is what the models would have read, for whatever a producer may send."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from salesgauge.metrics.entities.facts import to_fact
from salesgauge.schemas.codec import Rejection, decode, encode, read_batch
from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.values import MAX_EVENT_BYTES
from salesgauge.schemas.wire import WIRE_EVENTS, WireEvent
from tests.support.worlds import worlds

CALL: dict[str, Any] = {
    "event": "activity_logged", "event_id": "1", "occurred_at": "2026-03-01T09:00:00Z", "lead_id": "L", "kind": "call",
}  # fmt: skip

TIMES = [
    "2026-03-01T09:00:00Z", "2026-03-01 09:00:00z", "2026-03-01T09:00:00.5Z", "2026-03-01T09:00:00.1234567Z",
    "2026-03-01T09:00:00.9999999Z", "2026-03-01T09:00:00.12345650+01:00", "2026-03-01T09:00:00", "2026-03-01T09:00Z",
    "2026-03-01T09:00:00+23:59", "2026-03-01T09:00:00-0130", "2026-03-01T09:00:60Z", "2026-03-01T24:00:00Z",
    "1969-12-31T23:59:59.9995Z", "0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59.999999-10:00",
    "2026-02-29T09:00:00Z",
    "2026-03-01T09:00:00,5Z", "2026-03-01T09:00:00\u221201:00", " 2026-03-01T09:00:00Z", "", "soon",
    1_772_355_600, None,
]  # fmt: skip
TEXTS = [
    "a", " a", "a ", "a b", "\ta", "a\n", "a\u00a0", "\u3000a", "\u200ba", "a\u0085",
    "\u00fc", "\u00e9 ", "a\x7f", "a\x1fb", "a, ", ": a",
    'a"', "a\\", "\ud83d\ude00", "", " ", "x" * 200, "x" * 201,
    "\u00fc" * 200, "\u00fc" * 201, "a.1234567", 1, 1.0, 12.5, True, None,
    ["a"], {"a": "b"},
]  # fmt: skip
OTHERS: list[Any] = [
    True,
    False,
    None,
    0,
    1,
    1.0,
    2,
    -1,
    10**30,
    "1",
    "true",
    "",
    "call",
    "email",
    "CALL",
    "inbound",
    "lead",
    [],
    {},
]
FIELDS = sorted({field for model in EVENTS.values() for field in model.model_fields} | {"note", "Event"})

changes = st.dictionaries(
    st.sampled_from(FIELDS), st.sampled_from(TIMES) | st.sampled_from(TEXTS) | st.sampled_from(OTHERS), max_size=3
)
FORMS: list[dict[str, Any]] = [
    {}, {"separators": (",", ":")}, {"ensure_ascii": False}, {"indent": 2},
    {"separators": (" ,", " : "), "ensure_ascii": False},
]  # fmt: skip


def same(read: EventBase | WireEvent | Rejection, payload: bytes | None) -> bool:
    """Whether a result is what the models say; True also means that it was decided by a struct."""
    model = decode(payload)
    if not isinstance(read, WireEvent):
        assert read == model
        return False
    assert isinstance(model, EventBase)
    assert (read.name, read.key) == (model.name, model.key)
    assert {field: getattr(read, field) for field in type(model).model_fields if field != "event"} == {
        field: value for field, value in model if field != "event"
    }
    assert to_fact(read) == to_fact(model)
    return True


@pytest.mark.parametrize("form", FORMS)
def test_each_odd_value_is_read_as_the_models_read_it(form: dict[str, Any]) -> None:
    odd = [{field: value} for field in ("occurred_at", "recorded_at") for value in TIMES]
    odd += [{field: value} for field in ("lead_id", "account_id", "team", "event_id") for value in TEXTS]
    odd += [{field: value} for field in ("kind", "direction", "automated", "schema_version") for value in OTHERS]
    for change in odd:
        payload = json.dumps(CALL | change, **form).encode(errors="surrogatepass")
        same(read_batch([payload])[0], payload)


@given(st.lists(st.tuples(worlds(), changes, st.sampled_from(FORMS)), min_size=1, max_size=3))
def test_whatever_comes_is_read_as_the_models_read_it(
    parts: list[tuple[list[EventBase], dict[str, Any], dict[str, Any]]],
) -> None:
    payloads = [
        json.dumps(json.loads(encode(event)) | change, **form).encode(errors="surrogatepass")
        for events, change, form in parts
        for event in events[:5]
    ]
    for payload, read in zip(payloads, read_batch(payloads), strict=True):
        same(read, payload)


@given(st.sampled_from(sorted(WIRE_EVENTS)), changes, st.integers(0, 20))
@example("activity_logged", {"lead_id": ""}, 0)
def test_keys_that_come_twice_are_read_as_the_models_read_them(name: str, change: dict[str, Any], place: int) -> None:
    members = [*(CALL | {"event": name}).items(), *change.items()]
    members[place % len(members) : 0] = change.items()
    payload = ("{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in members) + "}").encode()
    same(read_batch([payload])[0], payload)


CALL_TEXT = json.dumps(CALL, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "payload",
    [
        None,
        b"",
        CALL_TEXT[:-1],
        CALL_TEXT + b"x",
        CALL_TEXT + CALL_TEXT,
        b"[" + CALL_TEXT + b"]",
        b"\xef\xbb\xbf" + CALL_TEXT,
        CALL_TEXT + b" " * MAX_EVENT_BYTES,
        CALL_TEXT.replace(b'"L"', b'"\xff"'),
        CALL_TEXT.replace(b'"L"', b'"a\tb"'),
        CALL_TEXT.replace(b'"L"', b'"\\ud800"'),
        CALL_TEXT.replace(b'"lead_id"', b'"lead\\u005fid"'),
        CALL_TEXT[:-1] + b',"note":' + b"[" * 300 + b"]" * 300 + b"}",
        CALL_TEXT[:-1] + b',"note":NaN}',
        CALL_TEXT[:-1] + b',"schema_version":1e0}',
        CALL_TEXT[:-1] + b',"schema_version":01}',
    ],
)
def test_odd_bytes_are_read_as_the_models_read_them(payload: bytes | None) -> None:
    alone, among = read_batch([payload]), read_batch([CALL_TEXT, payload, CALL_TEXT])
    same(alone[0], payload)
    same(among[1], payload)
    assert same(among[0], CALL_TEXT)
    assert same(among[2], CALL_TEXT)


@pytest.mark.parametrize("form", [{}, {"separators": (",", ":")}, {"indent": 2}])
@pytest.mark.parametrize("lead", ["L", "J\u00f6rg", "a b"])
def test_usual_events_need_no_model(form: dict[str, Any], lead: str) -> None:
    payload = json.dumps(CALL | {"lead_id": lead}, ensure_ascii=False, **form).encode()
    assert same(read_batch([payload])[0], payload)


def test_kinds_without_amounts_and_rules_of_their_own_have_structs() -> None:
    assert {"lead_created", "lead_assigned", "lifecycle_stage_changed", "activity_logged", "reply_received"} <= set(
        WIRE_EVENTS
    )
    assert "deal_won" not in WIRE_EVENTS  # amounts are the models' business
    for name, struct in WIRE_EVENTS.items():
        assert {field.name for field in msgspec.structs.fields(struct)} == EVENTS[name].model_fields.keys() - {"event"}
