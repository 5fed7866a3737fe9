"""Figures that compare an account at the two ends of a window: its state at the start ``s`` with that at the end ``t``.

They are sums all the same. For each window an account has a value that changes only where it itself changed: at the
instant of the change, and once more when the start of the window passes that instant. Both are contributions, the
second one mostly ahead of the clock. So the *stock* of a measure under ``window`` is the figure of that window now;
numerator and denominator always speak of the same start, whatever the clocks of those who read them.

The state at ``s`` is the one just before the window's first instant: what happens at that instant is in the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal

from salesgauge.metrics.entities.contributions import Contributions
from salesgauge.metrics.entities.recurring import Course, Level, plus
from salesgauge.metrics.measures import registry as m
from salesgauge.metrics.measures.labels import UNKNOWN, Source
from salesgauge.metrics.measures.registry import Measure
from salesgauge.metrics.rules.model import HOUR, Rules
from salesgauge.metrics.rules.windows import COMPARED, WINDOWS, Window

NETTED = HOUR
"""Changes of one account within this time (ms) after a first one are one movement."""

_Values = dict[tuple[Measure, tuple[str, ...]], int]
"""Measure and labels -> the account's value now."""
_Movement = tuple[str, Level]


def add_customers(times: Sequence[int], source: Source, rules: Rules, out: Contributions) -> None:
    """Add what customers at both ends are counted from.

    Args:
        times: when the account became a customer and ceased to be one, in turn; sorted.
        source: where the account came from.
        rules: the rules of the business.
        out: what is added to.
    """
    for name in COMPARED if times else ():

        def values(opened: int, now: int, name: str = name) -> _Values:
            was, is_now, came = opened % 2, now % 2, opened == 0 and now > 0
            return {
                (m.CUSTOMERS_OPENING, (name,)): was,
                (m.CUSTOMERS_LOST, (name,)): int(was and not is_now),
                (m.CUSTOMERS_NEW, (name, source or UNKNOWN)): int(came),
                (m.CUSTOMERS_NEW_AT, (name, source or UNKNOWN)): times[0] // 1000 * came,
                (m.CUSTOMERS_NEW_LOST, (name, source or UNKNOWN)): int(came and not is_now),
            }

        _add_values(times, WINDOWS[name], rules, values, out)


def _add_values(
    times: Sequence[int], window: Window, rules: Rules, values: Callable[[int, int], _Values], out: Contributions
) -> None:
    before: _Values = {}
    for at, opened, now in _walk(times, window, rules):
        after = values(opened, now)
        _add_change(at, before, after, out)
        before = after


def _add_change(at: int, before: _Values, after: _Values, out: Contributions) -> None:
    for key in before.keys() | after.keys():
        change = after.get(key, 0) - before.get(key, 0)
        if change:
            out.append((*key, at, 0, change))


def _walk(
    times: Sequence[int], window: Window, rules: Rules, further: Iterable[int] = ()
) -> Iterator[tuple[int, int, int]]:
    """(instant, changes before the window's start, changes until its end), wherever one of these may change.

    ``further`` are instants at which something else may change once the window's start has passed them.
    """
    left = [window.leaves(at, rules) for at in times]
    opened = now = 0
    for at in sorted({*times, *left, *(window.leaves(instant, rules) for instant in further)}):
        while now < len(times) and times[now] <= at:
            now += 1
        while opened < len(left) and left[opened] <= at:
            opened += 1
        yield at, opened, now


def add_recurring(course: Course, rules: Rules, out: Contributions) -> None:
    """Add what retention and movements of recurring revenue are made of, per currency."""
    currencies = {currency for level in course.levels for currency in level}
    rates = sorted({at for c in currencies for at in rules.rate_changes(c)}) if len(currencies) > 1 else []
    movements = _Movements(course, rules)
    for name in COMPARED if course.times else ():
        window, before = WINDOWS[name], _Values()
        movements.restart()
        for at, opened, now in _walk(course.times, window, rules, rates):
            start = (window.begin(at, rules) or 0) - 1 if rates else 0
            after = _compare(name, course.at(opened), course.at(now), start, rules)
            _add_change(at, before, after, out)
            before = after
            movements.move(name, at, opened, now, out)


def _compare(name: str, opening: Level, now: Level, start: int, rules: Rules) -> _Values:
    """The account in one window: its level at the start, and how much of it is lost or gained, at the start's rates."""
    if not opening:
        return {}
    change = plus(now, opening, -1)
    lost = _value(change, start, rules) < 0
    found: _Values = {(m.MRR_OPENING, (name, currency)): amount for currency, amount in opening.items()}
    measure, sign = (m.MRR_LOST, -1) if lost else (m.MRR_GAINED, 1)
    return found | {(measure, (name, currency)): sign * amount for currency, amount in change.items()}


def _value(level: Level, at: int, rules: Rules) -> Decimal:
    """The worth of amounts in several currencies; of one currency only the sign matters, so it needs no rate."""
    if len(level) == 1:
        return Decimal(next(iter(level.values())))
    worths = [amount * (rules.rate(currency, at) or Decimal(0)) for currency, amount in level.items()]
    return sum(worths, Decimal(0))


class _Movements:
    """The movements of an account within a window, changes within an hour being one.

    A window that begins or ends among such changes holds the movement from the level at its start, or to that at its
    end: so movements always add up to the difference of the two levels.
    """

    def __init__(self, course: Course, rules: Rules) -> None:
        self._course = course
        self._rules = rules
        self._group_of, self._bounds = _groups(course.times)
        ever = [False]
        for level in course.levels:
            ever.append(ever[-1] or bool(level))
        self._ever = ever
        """``_ever[k]``: whether anything was paid before the level ``k``."""
        self.restart()

    def restart(self) -> None:
        """Begin with another window."""
        self._opened = self._now = 0
        self._parts: dict[int, _Movement] = {}
        self._accounts: dict[str, int] = {}

    def move(self, window: str, at: int, opened: int, now: int, out: Contributions) -> None:
        """Add what changes at an instant, as the window's ends pass changes of the account."""
        passed = {*self._group_of[self._opened : opened], *self._group_of[self._now : now]}
        self._opened, self._now = opened, now
        before, after = _Values(), _Values()
        for group in sorted(passed):
            self._put(window, self._parts.pop(group, None), -1, before, after)
            part = self._part(group, opened, now)
            if part is not None:
                self._parts[group] = part
                self._put(window, part, 1, before, after)
        _add_change(at, before, after, out)

    def _put(self, window: str, part: _Movement | None, sign: int, before: _Values, after: _Values) -> None:
        if part is None:
            return
        movement, level = part
        known = self._accounts.get(movement, 0)
        self._accounts[movement] = known + sign
        accounts = (m.MRR_MOVED_ACCOUNTS, (window, movement))
        before.setdefault(accounts, int(known > 0))
        after[accounts] = int(known + sign > 0)
        for currency, amount in level.items():
            key = (m.MRR_MOVED, (window, movement, currency))
            after[key] = after.get(key, 0) + sign * amount

    def _part(self, group: int, opened: int, now: int) -> _Movement | None:
        first, last = self._bounds[group]
        first, last = max(first, opened), min(last, now)
        if first >= last:
            return None
        before, after = self._course.at(first), self._course.at(last)
        if not before:
            return ("reactivation" if self._ever[first] else "new", after) if after else None
        if not after:
            return "churn", before
        change = plus(after, before, -1)
        if not change:
            return None
        if _value(change, self._course.times[first], self._rules) < 0:
            return "contraction", plus({}, change, -1)
        return "expansion", change


def _groups(times: Sequence[int]) -> tuple[list[int], list[tuple[int, int]]]:
    """The group of each change, and of each group the numbers of the levels before and after it."""
    group_of: list[int] = []
    bounds: list[tuple[int, int]] = []
    for number, at in enumerate(times):
        if not bounds or at - times[bounds[-1][0]] > NETTED:
            bounds.append((number, number + 1))
        else:
            bounds[-1] = (bounds[-1][0], number + 1)
        group_of.append(len(bounds) - 1)
    return group_of, bounds
