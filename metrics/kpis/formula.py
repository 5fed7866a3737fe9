"""Formulas: expressions over measures, evaluated for one window and one combination of labels.

An expression knows the measures it needs, prints itself for people, and evaluates to a number in base units (seconds,
major units of the currency) or to None, where a denominator is empty. None is contagious: nothing is guessed.
"""

from __future__ import annotations

import enum
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sortedcontainers import SortedList

from salesgauge.metrics.measures import buckets as distribution
from salesgauge.metrics.measures import survival
from salesgauge.metrics.measures.buckets import code_of, representative
from salesgauge.metrics.measures.registry import Kind, Measure
from salesgauge.metrics.rules.model import DAY, Rules
from salesgauge.metrics.rules.windows import Window

DAYS_PER_MONTH = 30.44
"""The mean length of a month."""
FX = "fx"
"""The movement of recurring revenue that is due to exchange rates."""


class Reader(Protocol):
    """What an expression can ask of the windows, for the labels at hand."""

    @property
    def rules(self) -> Rules:
        """The rules of the business."""

    @property
    def now(self) -> int:
        """The end of the window, ms."""

    @property
    def length(self) -> int:
        """The length of the window, ms."""

    @property
    def start(self) -> int:
        """The first instant whose sums are in the window, ms; 0 for all time."""

    @property
    def window(self) -> Window:
        """The window."""

    def total(self, measure: Measure) -> float:
        """The sum in the window, in base units (as all sums here)."""

    def total_before(self, measure: Measure) -> float:
        """The sum in the window before."""

    def total_ever(self, measure: Measure) -> float:
        """The sum since the beginning: a stock at the end of the window."""

    def ever(self, measure: Measure, **fixed: str) -> float:
        """The sum since the beginning under further labels, by dimension."""

    def values(self, measure: Measure, dim: str) -> Iterable[str]:
        """The values that a dimension of a measure has."""

    def label(self, dim: str) -> str:
        """The value of a dimension of the breakdown."""

    def counts(self, measure: Measure) -> Mapping[int, int]:
        """Bucket code -> count in the window."""

    def samples(self, measure: Measure) -> Mapping[int, int] | None:
        """Value in ms -> count in the window; None where not all samples are kept, or they are too many to be read."""

    def instants(self, measure: Measure) -> SortedList[int]:
        """The instants of a roster."""

    def instants_by(self, measure: Measure, label: str) -> Mapping[str, SortedList[int]]:
        """The same by the value of one more label."""

    def across(self, label: str) -> Reader:
        """The same over all values of a label."""


class Expr:
    """A formula or a part of one."""

    def evaluate(self, at: Reader) -> float | None:
        """The value in base units; None where there is none."""
        raise NotImplementedError

    def measures(self) -> Iterator[Measure]:
        """The measures whose breakdown the formula follows."""
        yield from ()

    def measures_across(self) -> Iterator[tuple[Measure, str]]:
        """The measures that it needs over all values of a label, and that label."""
        yield from ()

    def measures_within(self) -> Iterator[tuple[Measure, str]]:
        """The measures that it needs by each value of one more label, and that label."""
        yield from ()

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        """The measures that it needs under further labels, and their dimensions, in the order in which it asks."""
        yield from ()

    def needs_before(self) -> bool:
        """Whether the window before is needed."""
        return False

    def terms(self) -> Iterator[_Term]:
        """The terms that it is made of."""
        yield from ()

    def addends(self, at: Reader) -> Iterator[Expr]:
        """What entities add to: its terms that are sums over entities, as they are asked for these labels."""
        del at
        yield from self.terms()

    def amounts(self, at: Reader) -> Iterator[tuple[str, float]]:
        """Of a sum over entities: its amount by currency, in base units; without a currency under an empty name."""
        yield "", self.evaluate(at) or 0.0

    def conditions(self) -> Iterator[_Term]:
        """The terms on which it depends whether there is a value: those of denominators, and samples."""
        yield from ()

    def can_be_empty(self) -> bool:
        """Whether there may be no value."""
        return any(True for _ in self.conditions())

    def empty_by_window(self) -> bool:
        """Whether it is the window alone that decides whether there is a value."""
        return all(isinstance(term, In | Mean | Quantile) for term in self.conditions())

    def __truediv__(self, other: Expr | float) -> Expr:
        return Ratio(self, _expr(other))

    def __mul__(self, other: Expr | float) -> Expr:
        return Product(self, _expr(other))

    def __add__(self, other: Expr | float) -> Expr:
        return Sum(self, _expr(other), 1)

    def __sub__(self, other: Expr | float) -> Expr:
        return Sum(self, _expr(other), -1)


def _expr(value: Expr | float) -> Expr:
    return value if isinstance(value, Expr) else Constant(value)


@dataclass(frozen=True)
class Constant(Expr):
    """A constant."""

    value: float

    def evaluate(self, at: Reader) -> float | None:
        del at
        return self.value

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class Parameter(Expr):
    """A number among the rules, by the name of its field."""

    name: str

    def evaluate(self, at: Reader) -> float | None:
        return float(getattr(at.rules, self.name))

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Now(Expr):
    """The end of the window, seconds since the epoch."""

    def evaluate(self, at: Reader) -> float | None:
        return at.now / 1000

    def __str__(self) -> str:
        return "t"


@dataclass(frozen=True)
class _Term(Expr):
    measure: Measure

    def measures(self) -> Iterator[Measure]:
        yield self.measure

    def terms(self) -> Iterator[_Term]:
        yield self


class _SampleTerm(_Term):
    """A term that has no value without samples, or without somebody on a roster. These are what entities add."""

    def conditions(self) -> Iterator[_Term]:
        yield self

    def addends(self, at: Reader) -> Iterator[Expr]:
        del at
        yield Enlisted(self.measure) if self.measure.kind is Kind.ROSTER else Count(self.measure)


class In(_Term):
    """The sum in the window."""

    def evaluate(self, at: Reader) -> float | None:
        return at.total(self.measure)

    def __str__(self) -> str:
        return f"{self.measure.name}(W)"


class Before(_Term):
    """The sum in the window before, of the same length."""

    def evaluate(self, at: Reader) -> float | None:
        return at.total_before(self.measure)

    def needs_before(self) -> bool:
        return True

    def __str__(self) -> str:
        return f"{self.measure.name}(W before)"


class Stock(_Term):
    """What there is at the end of the window."""

    def evaluate(self, at: Reader) -> float | None:
        return at.total_ever(self.measure)

    def __str__(self) -> str:
        return f"{self.measure.name}(t)"


class Opening(_Term):
    """What there was at the start of the window."""

    def evaluate(self, at: Reader) -> float | None:
        return at.total_ever(self.measure) - at.total(self.measure)

    def __str__(self) -> str:
        return f"{self.measure.name}(start of W)"


@dataclass(frozen=True)
class Compared(_Term):
    """A figure of accounts at both ends of the window: the stock under the window's name."""

    fixed: tuple[tuple[str, str], ...] = ()
    """Further labels, by dimension."""

    def evaluate(self, at: Reader) -> float | None:
        return at.ever(self.measure, window=at.window.name, **dict(self.fixed))

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        yield self.measure, ("window", *(dim for dim, _ in self.fixed))

    def __str__(self) -> str:
        return f"{_named(self.measure, self.fixed)}(W)"


@dataclass(frozen=True)
class _InCurrencies(_Term):
    """A sum that is kept per currency, in the reporting currency."""

    fixed: tuple[tuple[str, str], ...] = ()

    def _by_currency(self, at: Reader, **further: str) -> Iterator[tuple[str, float]]:
        for currency in at.values(self.measure, "currency"):
            amount = at.ever(self.measure, **further, **dict(self.fixed), currency=currency)
            if amount:
                yield currency, amount

    def amounts(self, at: Reader) -> Iterator[tuple[str, float]]:
        yield from self._by_currency(at)

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        yield self.measure, ("currency",)


class StockInCurrencies(_InCurrencies):
    """What there is at the end of the window, at the rates of the end."""

    def evaluate(self, at: Reader) -> float | None:
        return _worth(self._by_currency(at), at, at.now)

    def __str__(self) -> str:
        return f"{self.measure.name}(t)"


class ComparedInCurrencies(_InCurrencies):
    """As `Compared`, at the rates just before the window's first instant."""

    def evaluate(self, at: Reader) -> float | None:
        return _worth(self.amounts(at), at, at.start - 1)

    def amounts(self, at: Reader) -> Iterator[tuple[str, float]]:
        yield from self._by_currency(at, window=at.window.name)

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        yield self.measure, ("currency",)
        yield self.measure, ("window", *(dim for dim, _ in self.fixed), "currency")

    def __str__(self) -> str:
        return f"{_named(self.measure, self.fixed)}(W)"


@dataclass(frozen=True)
class ExchangeMovement(_InCurrencies):
    """What exchange rates changed in the worth of a stock: what it is worth at the end less what the start's rates say.

    Movements are worth what they were at the start's rates, so this is all that they leave of the difference.
    """

    def evaluate(self, at: Reader) -> float | None:
        amounts = list(self._by_currency(at))
        now, then = _worth(amounts, at, at.now), _worth(amounts, at, at.start - 1)
        return None if now is None or then is None else now - then

    def __str__(self) -> str:
        return f"{self.measure.name}(t) at the rates of t - at those of the start of W"


@dataclass(frozen=True)
class Movement(_Term):
    """A movement of recurring revenue by the label ``movement``; `FX` is that of exchange rates."""

    level: Measure

    def evaluate(self, at: Reader) -> float | None:
        return self._chosen(at).evaluate(at)

    def addends(self, at: Reader) -> Iterator[Expr]:
        yield self._chosen(at)

    def _chosen(self, at: Reader) -> Expr:
        return ExchangeMovement(self.level) if at.label("movement") == FX else ComparedInCurrencies(self.measure)

    def measures(self) -> Iterator[Measure]:
        yield self.measure
        yield self.level

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        yield from ComparedInCurrencies(self.measure).measures_under()
        yield from ExchangeMovement(self.level).measures_under()

    def __str__(self) -> str:
        return f"{self.measure.name}(W); fx: {ExchangeMovement(self.level)}"


def _named(measure: Measure, fixed: Iterable[tuple[str, str]]) -> str:
    return " ".join((measure.name, *(value for _, value in fixed)))


def _worth(amounts: Iterable[tuple[str, float]], at: Reader, instant: int) -> float | None:
    """Amounts per currency in the reporting currency; None where a rate is missing."""
    total = 0.0
    for currency, amount in amounts:
        rate = at.rules.rate(currency, instant)
        if rate is None:
            return None
        total += amount * float(rate)
    return total


class Count(_Term):
    """The number of samples of a distribution in the window."""

    def evaluate(self, at: Reader) -> float | None:
        return sum(at.counts(self.measure).values())

    def __str__(self) -> str:
        return f"count({self.measure.name}(W))"


class Enlisted(_Term):
    """How many are on a roster at the end of the window."""

    def evaluate(self, at: Reader) -> float | None:
        return int(at.instants(self.measure).bisect_right(at.now))

    def __str__(self) -> str:
        return f"count({self.measure.name}(t))"


class EnlistedIn(_Term):
    """How many of a roster came onto it in the window."""

    def evaluate(self, at: Reader) -> float | None:
        return len(_enlisted_in(self.measure, at))

    def __str__(self) -> str:
        return f"count({self.measure.name}(W))"


def _enlisted_in(roster: Measure, at: Reader) -> Sequence[int]:
    instants = at.instants(roster)
    found: Sequence[int] = instants[instants.bisect_left(at.start) : instants.bisect_right(at.now)]
    return found


class Mean(_SampleTerm):
    """The exact mean of a distribution in the window, seconds."""

    def evaluate(self, at: Reader) -> float | None:
        count = sum(at.counts(self.measure).values())
        return at.total(self.measure) / count if count else None

    def addends(self, at: Reader) -> Iterator[Expr]:
        del at
        yield In(self.measure)
        yield Count(self.measure)

    def __str__(self) -> str:
        return f"mean({self.measure.name}(W))"


@dataclass(frozen=True)
class Quantile(_SampleTerm):
    """A quantile of a distribution in the window, seconds, within the error of the buckets."""

    q: float

    def evaluate(self, at: Reader) -> float | None:
        return _seconds(distribution.quantile(at.counts(self.measure), self.q))

    def __str__(self) -> str:
        return f"quantile({self.q:g}, {self.measure.name}(W))"


class Bound(enum.Enum):
    """The median, or a bound of its interval of confidence."""

    MEDIAN = "median"
    LOW = "lower bound of the median"
    HIGH = "upper bound of the median"


@dataclass(frozen=True)
class SurvivalMedian(_SampleTerm):
    """Kaplan-Meier median, or a bound of its 95 % interval (Brookmeyer and Crowley), seconds.

    ``measure`` holds the waits that ended, ``left`` those that were given up (None: none are), ``roster`` since when
    the others wait. It is made of exact times; where a window holds too many of them (or they are too old), of buckets,
    all of it.
    """

    left: Measure | None
    roster: Measure
    bound: Bound = Bound.MEDIAN

    @property
    def _measures(self) -> tuple[Measure, ...]:
        return (self.measure, *((self.left,) if self.left else ()), self.roster)

    def evaluate(self, at: Reader) -> float | None:
        waiting = _enlisted_in(self.roster, at)
        ended, left = at.samples(self.measure), at.samples(self.left) if self.left else {}
        if ended is None or left is None:
            return self._of_buckets(at, waiting)
        censored = Counter(at.now - since for since in waiting)
        censored.update(left)
        return _seconds(self._chosen(survival.kaplan_meier(ended, censored)))

    def addends(self, at: Reader) -> Iterator[Expr]:
        del at
        yield Count(self.measure)
        if self.left:
            yield Count(self.left)
        yield EnlistedIn(self.roster)

    def _of_buckets(self, at: Reader, waiting: Sequence[int]) -> float | None:
        censored = Counter(code_of(at.now - since) for since in waiting)
        censored.update(at.counts(self.left) if self.left else {})
        code = self._chosen(survival.kaplan_meier(at.counts(self.measure), censored))
        return None if code is None else _seconds(representative(code))

    def _chosen(self, steps: Sequence[survival.Step]) -> int | None:
        median = survival.median(steps)
        match self.bound:
            case Bound.MEDIAN:
                return median.time
            case Bound.LOW:
                return median.low
            case Bound.HIGH:
                return median.high

    def measures(self) -> Iterator[Measure]:
        yield from self._measures

    def __str__(self) -> str:
        terms = ", ".join(f"{measure.name}(W)" for measure in self._measures)
        return f"kaplan_meier({self.bound.value}, {terms})"


class OldestWait(_SampleTerm):
    """How long the first of a roster has waited at the end of the window, seconds; None where nobody waits."""

    def evaluate(self, at: Reader) -> float | None:
        instants = at.instants(self.measure)
        return (at.now - instants[0]) / 1000 if instants and instants[0] <= at.now else None

    def __str__(self) -> str:
        return f"t - min({self.measure.name}(t))"


@dataclass(frozen=True)
class AgeQuantile(_SampleTerm):
    """A quantile of how long those on a roster have been there at the end of the window, seconds; exact.

    Interpolated between two ages (Hyndman and Fan's type 7); None where there is nobody.
    """

    q: float

    def evaluate(self, at: Reader) -> float | None:
        instants = at.instants(self.measure)
        last = instants.bisect_right(at.now) - 1
        if last < 0:
            return None
        low = math.floor(last * self.q)
        younger, older = (at.now - instants[last - rank] for rank in (low, min(low + 1, last)))
        return _seconds(younger + (older - younger) * (last * self.q - low))

    def __str__(self) -> str:
        return f"quantile({self.q:g}, t - {self.measure.name}(t))"


class OldestWaitOnClock(_SampleTerm):
    """The same by the clocks that the roster's label ``clock`` names: time that counts, seconds."""

    def evaluate(self, at: Reader) -> float | None:
        waits = [
            at.rules.clock(name).between(instants[0], at.now)
            for name, instants in at.instants_by(self.measure, "clock").items()
            if instants and instants[0] <= at.now
        ]
        return max(waits) / 1000 if waits else None

    def measures_within(self) -> Iterator[tuple[Measure, str]]:
        yield self.measure, "clock"

    def __str__(self) -> str:
        return f"max over clocks of clock(min({self.measure.name}(t)), t)"


@dataclass(frozen=True)
class Across(Expr):
    """The expression over all values of one label of the breakdown: the denominator of a share."""

    inner: Expr
    label: str

    def evaluate(self, at: Reader) -> float | None:
        return self.inner.evaluate(at.across(self.label))

    def addends(self, at: Reader) -> Iterator[Expr]:
        for addend in self.inner.addends(at.across(self.label)):
            yield Across(addend, self.label)

    def amounts(self, at: Reader) -> Iterator[tuple[str, float]]:
        return self.inner.amounts(at.across(self.label))

    def measures_across(self) -> Iterator[tuple[Measure, str]]:
        for measure in self.inner.measures():
            yield measure, self.label

    def measures_within(self) -> Iterator[tuple[Measure, str]]:
        yield from self.inner.measures_within()

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        return self.inner.measures_under()

    def needs_before(self) -> bool:
        return self.inner.needs_before()

    def terms(self) -> Iterator[_Term]:
        return self.inner.terms()

    def conditions(self) -> Iterator[_Term]:
        return self.inner.conditions()

    def __str__(self) -> str:
        return f"{self.inner} across {self.label}s"


@dataclass(frozen=True)
class Monthly(Expr):
    """The share of a month that a share of the window comes to: ``1 - (1 - c) ** (30.44 / days)``. No value for 0."""

    share: Expr

    def evaluate(self, at: Reader) -> float | None:
        share = self.share.evaluate(at)
        if not share or share < 0:
            return None
        return float(1 - max(0.0, 1 - share) ** (DAYS_PER_MONTH * DAY / at.length))

    def measures(self) -> Iterator[Measure]:
        return self.share.measures()

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        return self.share.measures_under()

    def terms(self) -> Iterator[_Term]:
        return self.share.terms()

    def addends(self, at: Reader) -> Iterator[Expr]:
        return self.share.addends(at)

    def conditions(self) -> Iterator[_Term]:
        yield from self.share.conditions()
        yield from self.share.terms()

    def __str__(self) -> str:
        return f"monthly({self.share})"


@dataclass(frozen=True)
class _Binary(Expr):
    left: Expr
    right: Expr

    def measures(self) -> Iterator[Measure]:
        yield from self.left.measures()
        yield from self.right.measures()

    def measures_across(self) -> Iterator[tuple[Measure, str]]:
        yield from self.left.measures_across()
        yield from self.right.measures_across()

    def measures_within(self) -> Iterator[tuple[Measure, str]]:
        yield from self.left.measures_within()
        yield from self.right.measures_within()

    def measures_under(self) -> Iterator[tuple[Measure, tuple[str, ...]]]:
        yield from self.left.measures_under()
        yield from self.right.measures_under()

    def needs_before(self) -> bool:
        return self.left.needs_before() or self.right.needs_before()

    def terms(self) -> Iterator[_Term]:
        yield from self.left.terms()
        yield from self.right.terms()

    def addends(self, at: Reader) -> Iterator[Expr]:
        yield from self.left.addends(at)
        yield from self.right.addends(at)

    def conditions(self) -> Iterator[_Term]:
        yield from self.left.conditions()
        yield from self.right.conditions()


class Ratio(_Binary):
    """A quotient; None where the denominator is not above zero."""

    def conditions(self) -> Iterator[_Term]:
        yield from super().conditions()
        yield from self.right.terms()

    def evaluate(self, at: Reader) -> float | None:
        parts = self.parts(at)
        return None if parts is None else parts[0] / parts[1]

    def parts(self, at: Reader) -> tuple[float, float] | None:
        """Numerator and denominator; None where there is no value."""
        denominator = self.right.evaluate(at)
        if denominator is None or denominator <= 0:
            return None
        numerator = self.left.evaluate(at)
        return None if numerator is None else (numerator, denominator)

    def __str__(self) -> str:
        return f"{_grouped(self.left)} / {_grouped(self.right)}"


class Product(_Binary):
    """A product."""

    def evaluate(self, at: Reader) -> float | None:
        left, right = self.left.evaluate(at), self.right.evaluate(at)
        return None if left is None or right is None else left * right

    def __str__(self) -> str:
        return f"{_grouped(self.left)} * {_grouped(self.right)}"


@dataclass(frozen=True)
class Sum(_Binary):
    """A sum, or a difference where ``sign`` is -1."""

    sign: int

    def evaluate(self, at: Reader) -> float | None:
        left, right = self.left.evaluate(at), self.right.evaluate(at)
        return None if left is None or right is None else left + self.sign * right

    def __str__(self) -> str:
        return f"{self.left} {'+' if self.sign > 0 else '-'} {_grouped(self.right)}"


def _seconds(ms: float | None) -> float | None:
    return None if ms is None else ms / 1000


def _grouped(expr: Expr) -> str:
    return f"({expr})" if isinstance(expr, _Binary) else str(expr)
