"""The reporting currency of files whose amounts are all in one currency, where nobody has set one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from salesgauge.metrics.rules.model import Rules

if TYPE_CHECKING:
    from collections.abc import Iterable

    from salesgauge.streams.io.records import RawRecord

_CURRENCY = re.compile(rb'"currency"\s*:\s*"([A-Za-z]{3})"')


def is_open(rules: Rules) -> bool:
    """Whether the reporting currency was left to its default."""
    return "currency" not in rules.model_fields_set and not rules.rates


def sole_currency(records: Iterable[RawRecord], usual: str) -> str | None:
    """The one currency that the records name; None where they name none, several, or the ``usual`` one."""
    found: str | None = None
    for record in records:
        for match in _CURRENCY.finditer(record.payload or b""):
            currency = match[1].decode().upper()
            if currency == usual or (found is not None and currency != found):
                return None
            found = currency
    return found


def reporting(rules: Rules, currency: str) -> Rules:
    """The same rules, reporting in another currency."""
    return Rules(**{**rules.model_dump(exclude_unset=True), "currency": currency})
