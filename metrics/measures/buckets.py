"""Distributions as counts in logarithmic buckets.

The boundaries are those of Prometheus native histograms of schema 5: bucket ``i`` holds ``(2**((i-1)/32), 2**(i/32)]``
seconds. A bucket is 2.19 % wide; its representative, the geometric middle, is at most 1.09 % from any sample in it.
Counts are integers, so distributions merge and can be taken back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache

PER_DOUBLING = 32
RELATIVE_ERROR = 2 ** (1 / (2 * PER_DOUBLING)) - 1
"""Greatest relative distance of a bucket's representative from a sample in it (0.0109)."""

ZERO_CODE = 1
_OFFSET = 400
MAX_CODE = 2047


def code_of(ms: int) -> int:
    """The bucket code (1 to :data:`MAX_CODE`) of a sample in milliseconds; 1 is the bucket of zero and below."""
    if ms <= 0:
        return ZERO_CODE
    index = math.ceil(PER_DOUBLING * math.log2(ms / 1000) - 1e-9)
    return min(MAX_CODE, index + _OFFSET)


@cache
def upper_bound(code: int) -> float:
    """The inclusive upper boundary of a bucket, in seconds."""
    return 0.0 if code == ZERO_CODE else float(2 ** ((code - _OFFSET) / PER_DOUBLING))


def representative(code: int) -> float:
    """The geometric middle of a bucket, in milliseconds."""
    return 0.0 if code == ZERO_CODE else float(1000 * 2 ** ((code - _OFFSET - 0.5) / PER_DOUBLING))


def quantile(counts: Mapping[int, int], q: float) -> float | None:
    """The ``q`` quantile in milliseconds, None where there is no sample.

    Linear interpolation between the two order statistics around ``(n - 1) * q`` (Hyndman and Fan's type 7), each
    estimated by its bucket's representative.
    """
    total = sum(counts.values())
    if total <= 0:
        return None
    position = (total - 1) * q
    low = math.floor(position)
    lower, upper = _ranked(counts, low, min(low + 1, total - 1))
    return lower + (upper - lower) * (position - low)


def _ranked(counts: Mapping[int, int], rank: int, next_rank: int) -> tuple[float, float]:
    """The representatives of two order statistics, the second at or right after the first."""
    seen = 0
    lower: float | None = None
    code = ZERO_CODE
    for code in sorted(counts):
        seen += counts[code]
        if lower is None and seen > rank:
            lower = representative(code)
        if seen > next_rank:
            break
    upper = representative(code)
    return upper if lower is None else lower, upper
