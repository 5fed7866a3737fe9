"""Bytes to events: what passes, what is refused and why, and that no payload can become more than itself."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.schemas.codec import Reason, Rejection, decode, decode_batch, encode, validate
from salesgauge.schemas.events import EventBase
from salesgauge.schemas.values import MAX_EVENT_BYTES
from tests.support.worlds import worlds

LEAD: dict[str, Any] = {
    "event": "lead_created", "event_id": "1", "occurred_at": "2025-06-02T09:00:00Z", "lead_id": "L"
}  # fmt: skip
GOOD = json.dumps(LEAD).encode()


def payload(**changes: Any) -> bytes:
    return json.dumps(LEAD | changes).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, Reason.EMPTY),
        (b"", Reason.EMPTY),
        (b" " * (MAX_EVENT_BYTES + 1), Reason.TOO_LARGE),
        (b"[" * 10_000_000, Reason.TOO_LARGE),
        (b"   ", Reason.NOT_JSON),
        (b"lead", Reason.NOT_JSON),
        (b"\xff\xfe\x00", Reason.NOT_JSON),
        (GOOD[:-1], Reason.NOT_JSON),
        (GOOD + b"," + GOOD, Reason.NOT_JSON),
        (GOOD + b"\n" + GOOD, Reason.NOT_JSON),
        (b"{" * 100_000, Reason.NOT_JSON),
        (b'{"a":' * 40_000 + b"1" + b"}" * 40_000, Reason.NOT_JSON),
        (b"\xef\xbb\xbf" + GOOD, Reason.NOT_JSON),
        (b"[" + GOOD + b"]", Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (b'"lead_created"', Reason.NOT_AN_OBJECT),
        (b"{}", Reason.UNKNOWN_EVENT),
        (payload(event="lead_sneezed"), Reason.UNKNOWN_EVENT),
        (payload(event=None), Reason.UNKNOWN_EVENT),
        (payload(event=["lead_created"]), Reason.UNKNOWN_EVENT),
        (payload(schema_version=2), Reason.UNSUPPORTED_VERSION),
        (payload(schema_version=0), Reason.UNSUPPORTED_VERSION),
        (payload(lead_id=""), Reason.INVALID),
        (payload(lead_id="a\x00b"), Reason.INVALID),
        (payload(lead_id="x" * 201), Reason.INVALID),
        (payload(occurred_at=1_748_854_800), Reason.INVALID),
        (payload(occurred_at="2025-06-02T09:00:00"), Reason.INVALID),
        (payload(occurred_at="2025-02-30T09:00:00Z"), Reason.INVALID),
        (payload(qualified="perhaps"), Reason.INVALID),
    ],
)
def test_what_is_no_event_is_refused_with_its_reason(data: bytes | None, reason: Reason) -> None:
    result = decode(data)
    assert isinstance(result, Rejection)
    assert result.reason == reason
    assert 0 < len(result.detail) <= 500


def test_the_detail_names_the_fields() -> None:
    result = decode(payload(lead_id="", occurred_at="soon"))
    assert isinstance(result, Rejection)
    assert "lead_id: " in result.detail
    assert "occurred_at: " in result.detail


def test_a_bad_member_leaves_the_others_alone() -> None:
    results = decode_batch([GOOD, b"nonsense", payload(event_id="2"), payload(event="unheard_of"), None])
    assert [r.event_id if isinstance(r, EventBase) else r.reason for r in results] == [
        "1", Reason.NOT_JSON, "2", Reason.UNKNOWN_EVENT, Reason.EMPTY,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "conspiracy",
    [
        [GOOD[:20], GOOD[20:]],  # two halves of an event
        [GOOD + b",", GOOD],
        [GOOD, b"," + GOOD],
        [b"],[", GOOD],
        [b'{"event":"lead_created","x":[', b"]}", GOOD],  # an array that the next payload closes
        [b'{"x":"', GOOD, b'"}'],  # a string that the third closes
        [b"{}],[{}", GOOD],
        [b"/*", GOOD, b"*/"],
        [GOOD + b"//", GOOD],
    ],
)
def test_payloads_cannot_conspire(conspiracy: list[bytes]) -> None:
    """Joined to one array they would be other events, or fewer, or more."""
    assert decode_batch(conspiracy) == [decode(part) for part in conspiracy]
    assert sum(isinstance(result, EventBase) for result in decode_batch(conspiracy)) == conspiracy.count(GOOD)


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"\x00\x00\x00\x00\x07" + GOOD, "schema registry"),
        (b"\xef\xbb\xbf" + GOOD, "byte order mark"),
        (GOOD.decode().encode("utf-16"), "UTF-16"),
        (gzip.compress(GOOD), "gzip"),
    ],
    ids=["framed", "marked", "utf-16", "packed"],
)
def test_what_producers_take_for_json_is_named(payload: bytes, said: str) -> None:
    rejection = decode(payload)
    assert isinstance(rejection, Rejection)
    assert rejection.reason is Reason.NOT_JSON
    assert said in rejection.detail


FRAGMENTS = st.lists(
    st.sampled_from(
        [GOOD, GOOD[:30], GOOD[30:], b"{", b"}", b"[", b"]", b",", b'"', b":", b"\\", b" ", b"\n", b"\x00", b"null",
         b'{"event":"', b'lead_created"', b'"x":', b"//", b"/*", b"*/", b"\xc3", b"\xa9"]
    ),
    max_size=5,
).map(b"".join)  # fmt: skip


@given(st.lists(FRAGMENTS, max_size=6))
def test_a_batch_is_decoded_as_its_members_are(payloads: list[bytes]) -> None:
    assert decode_batch(payloads) == [decode(part) for part in payloads]


@given(st.lists(st.binary(max_size=40) | FRAGMENTS, max_size=6), st.randoms())
def test_good_events_survive_any_company(company: list[bytes], rng: Any) -> None:
    payloads = [*company, GOOD]
    rng.shuffle(payloads)
    assert decode_batch(payloads)[payloads.index(GOOD)] == decode(GOOD)


@given(worlds())
def test_events_survive_their_encoding(events: list[EventBase]) -> None:
    assert decode_batch([encode(event) for event in events]) == events


def test_encoding_leaves_out_what_is_absent() -> None:
    event = decode(GOOD)
    assert isinstance(event, EventBase)
    assert json.loads(encode(event)) == LEAD | {"schema_version": 1}


def test_python_values_are_validated_likewise() -> None:
    assert validate(LEAD) == decode(GOOD)


def test_duplicate_keys_mean_the_last_one_as_everywhere_in_json() -> None:
    doubled = GOOD[:-1] + b', "event_id": "2"}'
    one, many = decode(doubled), decode_batch([doubled, GOOD])[0]
    assert one == many
    assert isinstance(one, EventBase)
    assert one.event_id == "2"
