"""The values that events are made of: what a text, an instant, a number and an amount of money may look like.

Values are strict, since a lenient reading is a wrong number that nobody notices: a year that is read as seconds, a flag
that is read as a score. Everything here is one rule for every reader: pydantic validates by it, and
:mod:`salesgauge.schemas.wire` derives its faster reader from the ``metadata`` of the same schemas.

**Texts** are compared as people see them. What cannot be seen is removed (Unicode's format characters and
default-ignorable code points: zero-width spaces and joiners, direction marks, byte-order marks, variation selectors),
every kind of space becomes a plain one, space at the ends is dropped, and what is left is normalised to NFC. Control
characters, line and paragraph separators, private use, unassigned code points and unpaired surrogates are refused.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

from pydantic_core import core_schema

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema
else:
    from datetime import datetime

MAX_ID_LENGTH = 200
"""Code points of an id or a label, after it was cleaned."""
MAX_EVENT_BYTES = 262_144
"""Larger messages are refused unread: an event is a few hundred bytes."""
LARGEST = 9 * 10**12
"""Amounts are kept as 64-bit integers of millionths."""
LONGEST = 10**9

SIMPLE = (
    r" -~\u00a1-\u00ac\u00ae-\u02ff\u0400-\u0482\u048a-\u052f\u05d0-\u05ea\u0621-\u064a\u0e01-\u0e30"
    r"\u3041-\u3096\u30a1-\u30fa\u4e00-\u9fef\uac00-\ud7a3"
)
"""Ranges of characters, as a character class has them, that need no cleaning whatever stands beside them."""

_REFUSED = r"\p{Cc}\p{Cn}\p{Zl}\p{Zp}"
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")
"""Not part of the pattern above: Rust's regex loses U+E000 from negated classes that end before the surrogates."""

_UNSEEN = re.compile(
    "["
    "\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]+"
)
"""Format characters (Cf) and default-ignorable code points of Unicode 16. Listed, since Python's table is older and
differs by version, and one event must mean the same everywhere."""
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")

TIME_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:?[0-9]{2})$"
)
"""ISO 8601's extended form with a zone; what is finer than microseconds is cut."""
WHOLE_PATTERN = r"^-?(0|[1-9][0-9]{0,63})$"
DECIMAL_PATTERN = r"^-?(0|[1-9][0-9]{0,63})([.][0-9]{1,63})?$"
"""JSON's form of a number, without an exponent."""


def cleaned(value: object) -> object:
    """A text as people see it; an integer as text; anything else as it is, to be refused.

    Raises:
        ValueError: a text holds code points of private use, or an integer is too long to be written.
    """
    if type(value) is int:
        return str(value)
    if not isinstance(value, str):
        return value
    if _PRIVATE.search(value):
        raise ValueError("private use")
    return unicodedata.normalize("NFC", _SPACES.sub(" ", _UNSEEN.sub("", value)))


@dataclass(frozen=True, slots=True)
class Text:
    """A cleaned text of ``shortest`` to ``MAX_ID_LENGTH`` characters; a JSON integer is taken as text."""

    shortest: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Most texts match the first choice, which needs no Python; the second one cleans."""
        del source, handler
        limits: Any = {
            "strict": True, "strip_whitespace": True, "min_length": self.shortest, "max_length": MAX_ID_LENGTH,
        }  # fmt: skip
        simple = core_schema.str_schema(pattern=f"^[{SIMPLE}]*$", **limits)
        other = core_schema.str_schema(pattern=f"^[^{_REFUSED}]*$", **limits)
        return core_schema.union_schema(
            [simple, core_schema.no_info_before_validator_function(cleaned, other)],
            mode="left_to_right",
            custom_error_type="text",
            custom_error_message=self._rule,
            metadata={"value": "text", "min_length": self.shortest, "max_length": MAX_ID_LENGTH},
        )

    @property
    def _rule(self) -> str:
        length = f"1 to {MAX_ID_LENGTH}" if self.shortest else f"at most {MAX_ID_LENGTH}"
        return f"must be text of {length} characters, without control characters, or an integer"

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Without what is cleaned: that is no error."""
        del schema, handler
        text: dict[str, Any] = {"type": "string", "maxLength": MAX_ID_LENGTH}
        if self.shortest:
            text |= {"minLength": self.shortest}
        return {"anyOf": [text | {"pattern": r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$"}, {"type": "integer"}]}


@dataclass(frozen=True, slots=True)
class Instant:
    """An aware datetime; in JSON a text by :data:`TIME_PATTERN`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """A text is matched first: pydantic alone would take numbers in texts, and days without a time."""
        del source, handler
        aware = core_schema.datetime_schema(tz_constraint="aware")
        text = core_schema.chain_schema([core_schema.str_schema(strict=True, pattern=TIME_PATTERN), aware])
        either = core_schema.json_or_python_schema(
            json_schema=text, python_schema=core_schema.datetime_schema(strict=True, tz_constraint="aware")
        )
        return core_schema.custom_error_schema(
            either,
            custom_error_type="time",
            custom_error_message="must be an ISO 8601 time with a zone, such as 2026-03-01T09:00:00Z",
            metadata={"value": "time"},
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A date-time."""
        del schema, handler
        return {"type": "string", "format": "date-time", "pattern": TIME_PATTERN}


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number within bounds, both inclusive: a JSON number, or a text by :data:`WHOLE_PATTERN`."""

    least: int
    most: int

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """9.0 is the integer 9, as in JSON Schema."""
        del source, handler
        bounded = core_schema.int_schema(ge=self.least, le=self.most)
        return core_schema.chain_schema(
            [_number(WHOLE_PATTERN, "must be a whole number"), bounded],
            metadata={"value": "int", "ge": self.least, "le": self.most},
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """An integer, or its text."""
        del schema, handler
        number = {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [number, {"type": "string", "pattern": WHOLE_PATTERN}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A decimal number within bounds: a JSON number, or a text by :data:`DECIMAL_PATTERN`.

    JSON numbers that are no integers are read as doubles: send more than 15 digits as text.
    """

    ge: int | None = None
    gt: int | None = None
    le: int | None = None
    lt: int | None = None
    exact: bool = True
    """A Decimal; else a float."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Python code may also give a Decimal."""
        del source, handler
        number = _number(DECIMAL_PATTERN, "must be a number, as text only in the form 1234.50")
        bounds: Any = {name: limit for name, limit in self._bounds if limit is not None}
        if not self.exact:
            bounded = core_schema.float_schema(allow_inf_nan=False, **bounds)
            return core_schema.chain_schema([number, bounded], metadata={"value": "decimal"})
        bounds = {name: Decimal(limit) for name, limit in bounds.items()}
        exact = core_schema.decimal_schema(allow_inf_nan=False, **bounds)
        text_or_number = core_schema.chain_schema([number, exact])
        given = core_schema.chain_schema([core_schema.is_instance_schema(Decimal), exact])
        return core_schema.json_or_python_schema(
            json_schema=text_or_number,
            python_schema=core_schema.union_schema([given, text_or_number], mode="left_to_right"),
            serialization=core_schema.to_string_ser_schema(when_used="json"),
            metadata={"value": "decimal"},
        )

    @property
    def _bounds(self) -> tuple[tuple[str, int | None], ...]:
        return ("ge", self.ge), ("gt", self.gt), ("le", self.le), ("lt", self.lt)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A number, or its text."""
        del schema, handler
        names = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}
        number: dict[str, Any] = {"type": "number"}
        number |= {names[name]: limit for name, limit in self._bounds if limit is not None}
        return {"anyOf": [number, {"type": "string", "pattern": DECIMAL_PATTERN}]}


def _number(pattern: str, error: str) -> CoreSchema:
    """An int, a float or a text of this form, and no flag."""
    return core_schema.union_schema(
        [
            core_schema.int_schema(strict=True),
            core_schema.float_schema(strict=True),
            core_schema.str_schema(strict=True, pattern=pattern),
        ],
        mode="left_to_right",
        custom_error_type="number",
        custom_error_message=error,
    )


@dataclass(frozen=True, slots=True)
class Code:
    """Three letters of either case, such as a currency's by ISO 4217; capitals are kept."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """No more than the pattern."""
        del source, handler
        letters = core_schema.str_schema(strict=True, strip_whitespace=True, to_upper=True, pattern="^[A-Za-z]{3}$")
        return core_schema.custom_error_schema(
            letters,
            custom_error_type="currency",
            custom_error_message="must be a currency's three letters, such as EUR",
            metadata={"value": "code"},
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Three letters."""
        del schema, handler
        return {"type": "string", "pattern": "^[A-Za-z]{3}$"}


Identifier = Annotated[str, Text(1)]
"""Names one thing of the source system; a JSON integer is taken as text, a float or a flag is not."""
Label = Annotated[str, Text(1)]
"""A short human-readable value that may become a Prometheus label: a source, a team, a product."""
Name = Annotated[str, Text(0)]
"""Like :data:`Label` where it is optional: exports write "no value" as an empty string."""
Time = Annotated[datetime, Instant()]
"""An instant with a zone, ISO 8601 in JSON. Numbers are refused: seconds and milliseconds look alike."""
Amount = Annotated[Decimal, Number(gt=-LARGEST, lt=LARGEST)]
"""An amount in major units of ``currency`` (12.50 is twelve and a half); below zero for credits and discounts."""
Money = Annotated[Decimal, Number(ge=0, lt=LARGEST)]
"""An amount that cannot be negative: a price, a quota, recurring revenue."""
Credit = Annotated[Decimal, Number(gt=0, lt=LARGEST)]
"""An amount above zero."""
Quantity = Annotated[Decimal, Number(ge=0, lt=LARGEST)]
"""How many of a product."""
Minutes = Annotated[Decimal, Number(ge=0, lt=LONGEST)]
Share = Annotated[Decimal, Number(gt=0, le=1)]
"""A part of a whole, above zero."""
Probability = Annotated[float, Number(ge=0, le=1, exact=False)]
Currency = Annotated[str, Code()]
