"""How long until something happens, where some still wait for it (Kaplan and Meier, 1958)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_Z = 1.96
"""Of a confidence of 95 %."""
_HALF = 0.5 + 1e-12


@dataclass(frozen=True, slots=True)
class Step:
    """The estimate from a time on, until the next step.

    ``at_risk`` were neither answered nor lost before ``time``; it ``happened`` to so many of them then. ``survival`` is
    the estimated share of those to whom it has not happened. ``variance`` is Greenwood's sum. ``low`` and ``high``
    bound the survival with a confidence of 95 %, on the scale of log(-log); None where it is 0.
    """

    time: int
    at_risk: int
    happened: int
    survival: float
    variance: float
    low: float | None
    high: float | None


def kaplan_meier(happened: Mapping[int, int], censored: Mapping[int, int]) -> list[Step]:
    """The steps of the estimate.

    Args:
        happened: time -> to how many it happened then. Times may be in any unit, or numbers of buckets.
        censored: time -> how many had waited so long, without it, when they were seen last. At equal times what
            happened comes first.
    """
    steps = []
    at_risk = sum(happened.values()) + sum(censored.values())
    lost = sorted(censored, reverse=True)
    survival, variance = 1.0, 0.0
    for time in sorted(happened):
        while lost and lost[-1] < time:
            at_risk -= censored[lost.pop()]
        count = happened[time]
        rest = at_risk - count
        survival = survival * rest / at_risk
        variance = variance + count / (at_risk * rest) if rest else math.inf
        low, high = _band(survival, variance)
        steps.append(Step(time, at_risk, count, survival, variance, low, high))
        at_risk = rest
    return steps


def _band(survival: float, variance: float) -> tuple[float | None, float | None]:
    if survival <= 0 or survival >= 1:
        return None, None
    width = _Z * math.sqrt(variance) / abs(math.log(survival))
    return survival ** math.exp(width), survival ** math.exp(-width)


@dataclass(frozen=True, slots=True)
class Median:
    """The median time, and the bounds of its interval of confidence (Brookmeyer and Crowley); None: not reached."""

    time: int | None
    low: int | None
    high: int | None


def median(steps: Sequence[Step]) -> Median:
    """The first time at which at most half are left; its bounds are where the lower and the upper band reach a half."""
    return Median(
        time=_first(steps, [step.survival for step in steps]),
        low=_first(steps, [0.0 if step.low is None and step.survival <= 0 else step.low for step in steps]),
        high=_first(steps, [step.high for step in steps]),
    )


def _first(steps: Sequence[Step], values: Sequence[float | None]) -> int | None:
    return next(
        (step.time for step, value in zip(steps, values, strict=True) if value is not None and value <= _HALF), None
    )
