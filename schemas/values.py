"""Types of the values in events: identifiers, times, amounts. What they accept is what both decoders accept."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import AwareDatetime, Field, Strict, StringConstraints

MAX_ID_LENGTH = 200
Identifier = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$"),
]
Label = Identifier
"""A short human-readable value that may become a Prometheus label: a source, a team, a product."""

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$")
]
"""Like :data:`Label` where it is optional: exports write "no value" as an empty string."""

Time = Annotated[AwareDatetime, Strict()]
"""An instant with a zone, ISO 8601 in JSON. Numbers are refused: seconds and milliseconds look alike."""

LARGEST = 9 * 10**12
"""Amounts are kept as 64-bit integers of millionths."""
LONGEST = 10**9

Amount = Annotated[Decimal, Field(gt=-LARGEST, lt=LARGEST, allow_inf_nan=False)]
"""An amount in major units of ``currency`` (12.50 is twelve and a half); below zero for credits and discounts."""

Money = Annotated[Decimal, Field(ge=0, lt=LARGEST, allow_inf_nan=False)]
"""An amount that cannot be negative: a price, a quota, recurring revenue."""

Currency = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, pattern=r"^[A-Za-z]{3}$")]
