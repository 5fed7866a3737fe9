"""Whether a number moved since the window before, by more than chance would explain; and how sure a share is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from salesgauge.metrics.kpis.kpi import Direction, Unit

_Z = 1.96
"""Standard deviations of 95 %."""


@dataclass(frozen=True, slots=True)
class Difference:
    """From ``before`` by ``by``; ``chance`` says that it could be chance, None that this cannot be said.

    ``better`` is None where no direction is good, or nothing changed.
    """

    before: float
    by: float
    chance: bool | None
    better: bool | None


def change(
    value: float,
    before: float,
    *,
    unit: Unit,
    direction: Direction,
    counts: tuple[float, float] | None = None,
) -> Difference:
    """The change of a number.

    Args:
        value: now.
        before: in the window before.
        unit: of both.
        direction: which way is good.
        counts: how many are behind the two numbers.
    """
    by = value - before
    good = {Direction.UP: 1, Direction.DOWN: -1, Direction.NEUTRAL: 0}[direction]
    return Difference(before, by, _chance(value, before, unit, counts), by * good > 0 if by and good else None)


def _chance(value: float, before: float, unit: Unit, counts: tuple[float, float] | None) -> bool | None:
    """Two proportions are compared by their pooled deviation, two counts as Poisson variables."""
    if unit is Unit.COUNT:
        return abs(value - before) < _Z * math.sqrt(max(value + before, 0))
    if unit is not Unit.SHARE or counts is None or not (0 <= value <= 1 and 0 <= before <= 1):
        return None
    now, then = counts
    if min(now, then) <= 0:
        return True
    pooled = (value * now + before * then) / (now + then)
    return abs(value - before) < _Z * math.sqrt(pooled * (1 - pooled) * (1 / now + 1 / then))


def interval(share: float, n: float) -> tuple[float, float] | None:
    """Wilson's interval of 95 % of a share; None where it is none or nothing is behind it."""
    if n <= 0 or not 0 <= share <= 1:
        return None
    z2 = _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)
