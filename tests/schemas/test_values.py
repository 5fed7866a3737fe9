"""Values of events: what is taken and as what, and what is refused, in every field and by every reader."""

# ruff: noqa: E501 - tables of values

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any

import jsonschema
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.entities.state import Message
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.shard import admit
from salesgauge.schemas import values
from salesgauge.schemas.codec import Reason, Rejection, decode, read_batch, validate
from salesgauge.schemas.events import EVENTS, EventBase
from salesgauge.schemas.values import SIMPLE, Amount, Currency, Identifier, Label, Money, Name, Time, Whole
from tests.schemas.test_wire import same
from tests.support.payloads import (
    RIGHT_NUMBERS,
    RIGHT_TEXTS,
    WRONG_CODES,
    WRONG_FLAGS,
    WRONG_NUMBERS,
    WRONG_TEXTS,
    WRONG_TIMES,
    Payloads,
)

NOW = 1_780_000_000_000
WHOLE = Annotated[int, Whole(-(10**12), 10**12)]


def read(kind: Any, value: Any) -> Any:
    """A value of this kind as it stands in JSON.

    Raises:
        ValidationError: it is refused.
    """
    return TypeAdapter(kind).validate_json(json.dumps(value))


@pytest.mark.parametrize(
    ("given", "meaning"),
    [
        *((text, text) for text in RIGHT_TEXTS),
        (" Web ", "Web"), ("Web\u00a0", "Web"), ("Web\u200b", "Web"), ("\ufeffWeb", "Web"), ("\u200e Web \u200f", "Web"),
        ("W\u200deb", "Web"), ("W\u00adeb", "Web"), ("\u202eWeb\u202c", "Web"), ("\u2066Web\u2069", "Web"), ("Web\U000e0041", "Web"),
        ("Web\ufe0f", "Web"), ("Web\u3164", "Web"), ("Web\t", "Web"), ("\nWeb", "Web"), ("Web\u2028", "Web"),
        ("New\u00a0York", "New York"), ("New\u202fYork", "New York"), ("New\u3000York", "New York"),
        ("Cafe\u0301", "Caf\u00e9"), ("\u212bngstr\u00f6m", "\u00c5ngstr\u00f6m"), ("\u1112\u1161\u11ab", "\ud55c"),
        ("\uff37\uff45\uff42", "\uff37\uff45\uff42"), ("\ufb01", "\ufb01"), ("\U0001f680", "\U0001f680"),
        ("x" * 199 + "e\u0301", "x" * 199 + "\u00e9"), ("\u200b" * 300 + "a", "a"), (4711, "4711"), (-1, "-1"), (10**30, str(10**30)),
    ],
)  # fmt: skip
def test_texts_are_compared_as_people_see_them(given: Any, meaning: str) -> None:
    for kind in (Identifier, Label, Name):
        assert read(kind, given) == meaning
        assert read(kind, meaning) == meaning


@pytest.mark.parametrize("value", WRONG_TEXTS)
def test_texts_that_cannot_be_shown_are_refused(value: Any) -> None:
    for kind in (Identifier, Label, Name):
        with pytest.raises(ValidationError):
            read(kind, value)


@pytest.mark.parametrize("value", ["", " ", "\u200b", "\u00a0\ufeff", "\u3164"])
def test_what_shows_nothing_is_no_name(value: str) -> None:
    assert read(Name, value) == ""
    with pytest.raises(ValidationError):
        read(Identifier, value)


@given(st.text(max_size=12))
@example("\u2000\u0301")
@example("a\u0345\u034f\u0301")
def test_cleaning_twice_changes_nothing(text: str) -> None:
    try:
        once = TypeAdapter(Name).validate_python(text)
    except ValidationError:
        return
    assert TypeAdapter(Name).validate_python(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"} for c in once)


def test_simple_characters_need_no_cleaning_in_any_company() -> None:
    simple = [c for c in map(chr, range(0x110000)) if re.fullmatch(f"[{SIMPLE}]", c)]
    assert len(simple) > 30_000
    for c in simple:
        assert unicodedata.category(c)[0] in "LNPSZ", hex(ord(c))
        assert c.isprintable(), hex(ord(c))
        assert unicodedata.combining(c) == 0
        assert unicodedata.is_normalized("NFC", c)
        assert values.cleaned(c) == c
    text = "".join(simple)
    assert unicodedata.normalize("NFC", text + text[::-1]) == text + text[::-1]


def test_everything_unseen_is_known() -> None:
    """All format characters of this Python's Unicode."""
    for c in map(chr, range(0x110000)):
        if unicodedata.category(c) == "Cf":
            assert values.cleaned(c) == "", hex(ord(c))
        if unicodedata.category(c) == "Zs":
            assert values.cleaned(c) == " ", hex(ord(c))


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("2026-03-01T09:00:00Z", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01 09:00z", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01t10:00:00+01:00", datetime(2026, 3, 1, 9, tzinfo=UTC)),
        ("2026-03-01T07:30:00.5-0130", datetime(2026, 3, 1, 9, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-03-01T09:00:00,25Z", datetime(2026, 3, 1, 9, 0, 0, 250_000, tzinfo=UTC)),
        ("2026-03-01T09:00:00.123456789Z", datetime(2026, 3, 1, 9, 0, 0, 123_456, tzinfo=UTC)),
        ("2024-02-29T00:00:00Z", datetime(2024, 2, 29, tzinfo=UTC)),
    ],
)
def test_times_are_iso_8601_with_a_zone(text: str, meaning: datetime) -> None:
    assert read(Time, text) == meaning


@pytest.mark.parametrize("value", WRONG_TIMES)
def test_other_times_are_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="must be an ISO 8601 time with a zone"):
        read(Time, value)


def test_code_gives_datetimes() -> None:
    at = datetime(2026, 3, 1, 9, tzinfo=timezone(timedelta(hours=1)))
    assert TypeAdapter(Time).validate_python(at) is at
    for wrong in (at.replace(tzinfo=None), at.date(), "2026-03-01T09:00:00Z", 1_772_355_600):
        with pytest.raises(ValidationError):
            TypeAdapter(Time).validate_python(wrong)


@pytest.mark.parametrize(
    "value", [*RIGHT_NUMBERS, 0.1, "0.1", 12.5, "1234.50", 1e2, 10**12, "-0", 1e-7, "8999999999999.999999"]
)
def test_numbers_are_exact(value: Any) -> None:
    assert read(Money, value) == Decimal(str(value))
    assert read(Amount, value) == Decimal(str(value))


@pytest.mark.parametrize("value", WRONG_NUMBERS)
def test_other_numbers_are_refused(value: Any) -> None:
    for kind in (Amount, Money, WHOLE):
        with pytest.raises(ValidationError):
            read(kind, value)


@pytest.mark.parametrize(("value", "meaning"), [(0, 0), (7, 7), ("7", 7), (7.0, 7), (-1, -1), ("-1", -1), ("-0", 0)])
def test_whole_numbers(value: Any, meaning: int) -> None:
    assert read(WHOLE, value) == meaning


@pytest.mark.parametrize("value", [0.5, "7.0", "0.5", 10**12 + 1, -(10**12) - 1])
def test_no_whole_numbers(value: Any) -> None:
    with pytest.raises(ValidationError):
        read(WHOLE, value)


def test_bounds_of_amounts() -> None:
    assert read(Amount, -5) == -5
    for kind, value in ((Money, -0.01), (Money, 9 * 10**12), (Amount, 9 * 10**12), (Amount, -9 * 10**12)):
        with pytest.raises(ValidationError):
            read(kind, value)


@pytest.mark.parametrize("value", WRONG_CODES)
def test_currencies_are_three_letters(value: Any) -> None:
    assert read(Currency, " eur ") == "EUR"
    with pytest.raises(ValidationError, match="three letters"):
        read(Currency, value)


@pytest.mark.parametrize("value", WRONG_FLAGS)
def test_flags_are_no_other_numbers(value: Any) -> None:
    with pytest.raises(ValidationError):
        read(bool, value)


# --- events

LEAD: dict[str, Any] = {"event": "lead_created", "event_id": "1", "lead_id": "L", "occurred_at": "2026-03-01T09:00:00Z"}


def test_the_reasons_say_what_is_right() -> None:
    result = validate(LEAD | {"occurred_at": "20261120", "lead_id": "a\nb", "source": 1.5})
    assert isinstance(result, Rejection)
    assert "occurred_at: must be an ISO 8601 time with a zone, such as" in result.detail
    assert "lead_id: must be text of 1 to 200 characters" in result.detail
    assert "source: must be text of at most 200 characters" in result.detail


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"recorded_at": "2026-05-28T20:30:00Z"}, None),
        ({"recorded_at": "9999-01-01T00:00:00Z"}, Reason.FUTURE),
        ({"recorded_at": "2026-05-28T20:40:00Z"}, Reason.FUTURE),
        ({"occurred_at": "2026-05-28T20:40:00Z"}, Reason.FUTURE),
        ({"occurred_at": "0001-01-01T00:00:00Z"}, Reason.INVALID),
        ({"occurred_at": "1969-12-31T23:59:59Z"}, Reason.INVALID),
        ({"recorded_at": "0001-01-01T00:00:00+14:00"}, Reason.INVALID),
    ],
)
def test_what_happened_or_was_recorded_lies_in_the_past(changes: dict[str, Any], reason: Reason | None) -> None:
    event = validate(LEAD | changes)
    assert isinstance(event, EventBase)
    result = admit(event, Rules(), NOW)  # 2026-05-28T20:26:40Z
    assert (result.reason if isinstance(result, Rejection) else None) == reason


def test_a_replay_of_the_past_takes_what_was_recorded_since() -> None:
    event = validate(LEAD | {"recorded_at": "2026-05-28T20:30:00Z"})
    assert isinstance(event, EventBase)
    past = NOW - 30 * 86_400_000
    assert isinstance(admit(event, Rules(), past), Rejection)
    assert isinstance(admit(event, Rules(), past, recorded_by=NOW), Message)


@pytest.mark.parametrize("seed", range(5))
def test_both_readers_take_and_refuse_the_same(seed: int) -> None:
    """Thousands of payloads of every kind, alone and in company."""
    payloads = list(Payloads(seed, 0.97).payloads(2400))
    taken: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    by_struct = 0
    for payload, result in zip(payloads, read_batch(payloads), strict=True):
        by_struct += same(result, payload)
        if isinstance(result, Rejection):
            refused[json.loads(payload)["event"] if result.reason is Reason.INVALID else result.reason] += 1
        else:
            taken[result.name] += 1
    assert taken.keys() == EVENTS.keys()
    assert refused.keys() >= EVENTS.keys() | {Reason.NOT_JSON, Reason.UNSUPPORTED_VERSION}
    assert by_struct > 200
    assert refused.total() > 600


@pytest.mark.parametrize("seed", [11, 12])
def test_the_engine_counts_what_is_taken(seed: int) -> None:
    """Each payload is an event, a repetition, or refused with a reason; nothing of it stops the engine."""
    machine = Machine()
    machine.advance(NOW)
    results = read_batch(list(Payloads(seed, 0.99).payloads(1500)))
    events = [result for result in results if not isinstance(result, Rejection)]
    refusals = machine.apply(events)
    assert 400 < machine.events <= len(events)
    assert {refusal.reason for refusal in refusals if refusal} <= {
        Reason.FUTURE, Reason.INVALID, Reason.UNKNOWN_CURRENCY, Reason.ENTITY_FULL, Reason.UNKNOWN_EVENT,
    }  # fmt: skip
    assert list(machine.readings())


def test_what_the_schemas_take_is_taken() -> None:
    """JSON Schemas cannot say which characters are assigned, which days exist, and what holds between fields."""
    made = Payloads(3, 0.985)
    counts: Counter[bool] = Counter()
    for name, model in EVENTS.items():
        schema = jsonschema.Draft202012Validator(model.model_json_schema())
        for _ in range(60):
            event = made.event(name)
            if not schema.is_valid(event):
                continue
            result = decode(json.dumps(event).encode())
            fits = not isinstance(result, Rejection) or _beyond_a_schema(result)
            counts[not isinstance(result, Rejection)] += 1
            assert fits, (event, result)
    assert counts[True] > 400


BEYOND = (
    "must be text", "ISO 8601", "Input should be less than", "Input should be greater than",  # the bounds of a number that is text
    "must come after", "is required", "must differ", "score lies", "must lie within",
)  # fmt: skip


def _beyond_a_schema(rejection: Rejection) -> bool:
    """Unpaired surrogates are no JSON for the readers."""
    return rejection.reason is Reason.NOT_JSON or any(text in rejection.detail for text in BEYOND)
