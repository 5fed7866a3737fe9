"""Label values that must not be shown: whatever looks like an e-mail address or a telephone number of a person.

Labels are read by everybody who may see a board, and kept as long as Prometheus keeps them. A CRM field meant for a
source or a team now and then holds an address instead, and some CRMs name people by theirs.
"""

from __future__ import annotations

import re

REDACTED = "redacted"
"""Stands for all values of a dimension that were hidden."""

_PERSONAL = re.compile(
    r"[^\s@]@[^\s@]+\.[^\s@]"  # an e-mail address, alone or in a longer text
    r"|(?<![\w+])\+[1-9](?:[\s()./-]*\d){6,14}(?!\d)"  # a number with its country
    r"|\(0\d*\)(?:[\s./-]*\d){5,12}(?!\d)"  # a number with its area code in brackets
)


def redacted(value: str) -> str:
    """The value, or `REDACTED` where it holds an e-mail address or a telephone number.

    Digits without ``+`` or brackets stay: they are as likely the number of a campaign, an article or a rep.

    >>> redacted("newsletter"), redacted("anna@example.org"), redacted("+49 30 1234567"), redacted("120210000")
    ('newsletter', 'redacted', 'redacted', '120210000')
    """
    return REDACTED if _PERSONAL.search(value) else value
