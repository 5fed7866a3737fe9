"""What is asked of an explanation, and where contributions go that matter to it."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from salesgauge.metrics.entities.contributions import Labels
from salesgauge.metrics.kpis.formula import Expr, Ratio
from salesgauge.metrics.kpis.kpi import Catalogue, Kpi, Stat, families_of
from salesgauge.metrics.kpis.reader import Sums, Values, WindowReader, scale
from salesgauge.metrics.kpis.readings import View
from salesgauge.metrics.measures.registry import EVENTS_SEEN, MEASURES, Measure, MeasureUnit
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.rules.windows import WINDOWS, Window
from salesgauge.metrics.shard.leaves import CODES, LeafIndex
from salesgauge.metrics.windows.series import Breakdown, SeriesIndex
from salesgauge.metrics.windows.sums import pane_bounds, pane_size


class Side(enum.StrEnum):
    """A part of a quotient."""

    NUMERATOR = "numerator"
    DENOMINATOR = "denominator"


class Question(msgspec.Struct, frozen=True, kw_only=True, tag="explain"):
    """Which reading is to be explained; it can be sent to whoever holds entities.

    Attributes:
        kpi: its id.
        stat: one of its numbers.
        window: one of its windows.
        at: the end of the window, ms.
        labels: dimension -> value, as they are shown.
        breakdown: by what the reading is narrowed.
        members: the label values that it adds up.
        teams: rep -> team, for what names a rep but no team.
        side: only entities that add to this part of a quotient are listed; None: all.
        limit: list so many entities at most; None: all.
        facts: whether the facts behind the entities are looked for, which costs more than all else.
    """

    kpi: str
    stat: str
    window: str
    at: int
    labels: dict[str, str] = {}
    breakdown: Breakdown = ()
    members: tuple[Values, ...] = ((),)
    teams: dict[str, str] = {}
    side: Side | None = None
    limit: int | None = 100
    facts: bool = True


def ask(
    view: View,
    kpi: Kpi,
    stat: Stat,
    window: str,
    labels: Mapping[str, str],
    *,
    side: Side | None = None,
    limit: int | None = 100,
    facts: bool = True,
) -> Question:
    """The question behind a number that a view shows, at the instant to which its sums were advanced.

    Args:
        view: what shows it.
        kpi: of the view's catalogue.
        stat: one of its numbers.
        window: one of its windows.
        labels: dimension -> value as it is shown; empty for the whole.
        side: as `Question` has it.
        limit: as `Question` has it.
        facts: as `Question` has it.
    """
    breakdown, members = view.members(kpi, labels)
    teams = dict(view.sums.index.teams) if "team" in breakdown else {}
    return Question(
        kpi=kpi.id, stat=stat.name, window=window, at=view.sums.now, labels=dict(labels), breakdown=breakdown,
        members=members, teams=teams, side=side, limit=limit, facts=facts,
    )  # fmt: skip


class Part(msgspec.Struct, frozen=True):
    """A term of a formula that is a sum over entities.

    ``name`` is as the formula says it, with the currency where it is one of several; ``digits`` are the digits after
    the point of an amount in base units. ``sides`` are empty where the formula is no quotient.
    """

    name: str
    unit: MeasureUnit
    digits: int
    sides: tuple[Side, ...] = ()


@dataclass(frozen=True, slots=True)
class Addend:
    """A part, before it is known in which currencies."""

    term: Expr
    unit: MeasureUnit
    sides: tuple[Side, ...]

    def amounts(self, at: WindowReader) -> dict[str, int]:
        """The amounts by the name of the part, in the measure's own integers; without zeros."""
        found = {}
        for currency, amount in self.term.amounts(at):
            whole = round(amount * at.scale[self.unit])
            if whole:
                found[f"{self.term} {currency}".strip()] = whole
        return found

    @property
    def in_currencies(self) -> bool:
        """Whether it has an amount for each of several currencies."""
        return any("currency" in dims for _, dims in self.term.measures_under())

    def part(self, name: str, digits: Mapping[MeasureUnit, int]) -> Part:
        """The part of a name that `amounts` gave."""
        return Part(name, self.unit, digits[self.unit], self.sides)


@dataclass(slots=True)
class Scope:
    """A question, understood: the formula, its addends, and which series matter to it.

    Raises:
        KeyError: the catalogue has no such KPI, or that has no such number.
    """

    question: Question
    rules: Rules
    catalogue: Catalogue
    formula: Expr = field(init=False)
    window: Window = field(init=False)
    index: SeriesIndex = field(init=False)
    measures: frozenset[Measure] = field(init=False)
    inside: tuple[int, int] = field(init=False)
    """The window from an instant to another, ms."""
    before: tuple[int, int] = field(init=False)
    """The window before, the same way; empty where nobody asks for it."""
    _numbers: dict[tuple[Measure, Labels], tuple[int, ...]] = field(default_factory=dict)
    _projections: dict[Breakdown, frozenset[Values]] = field(default_factory=dict)
    _scale: dict[MeasureUnit, int] = field(init=False)

    def __post_init__(self) -> None:
        question, rules = self.question, self.rules
        self.formula = self.catalogue.by_id[question.kpi].stat(question.stat).formula
        self.window = WINDOWS[question.window]
        plan: dict[str, dict[Breakdown, None]] = {}
        for asked in ((), question.breakdown):  # of the whole a formula learns which currencies there are
            for name, breakdown in families_of(self.formula, asked):
                plan.setdefault(name, {(): None})[breakdown] = None
        plan[EVENTS_SEEN.name] = {(): None, ("event",): None}
        self.index = SeriesIndex({name: tuple(kept) for name, kept in plan.items()}, LeafIndex(rules.unredacted))
        self.index.assign(question.teams)
        self.measures = frozenset(MEASURES[name] for name in plan)
        self.inside = self._bounds(before=False)
        self.before = self._bounds(before=True) if self.formula.needs_before() else (0, 0)
        self._scale = scale(rules)

    @property
    def digits(self) -> dict[MeasureUnit, int]:
        """Unit -> digits after the point of an amount in base units."""
        return {unit: len(str(number)) - 1 for unit, number in self._scale.items()}

    def missing(self, sums: Sums) -> tuple[str, ...]:
        """The events that the number requires and that never came, by sums over all entities."""
        family = self.index.family(EVENTS_SEEN.name, ("event",))
        seen = self.rules.zero_is_real.union(name for (name,), n in family.items() if sums.sums("all").get(n * CODES))
        kpi = self.catalogue.by_id[self.question.kpi]
        return kpi.missing(seen, kpi.stat(self.question.stat))

    def reader(self, sums: Sums) -> WindowReader:
        """What answers the formula from some sums."""
        question = self.question
        return WindowReader(sums, self._scale, self.window, question.breakdown, question.members)

    def addends(self, sums: Sums) -> list[Addend]:
        """All addends of the formula, each once."""
        at = self.reader(sums)
        sides: dict[str, tuple[Expr, dict[Side, None]]] = {}
        for side, expr in self._sides():
            for term in expr.addends(at):
                _, known = sides.setdefault(str(term), (term, {}))
                known |= {} if side is None else {side: None}
        return [Addend(term, next(term.terms()).measure.unit, tuple(known)) for term, known in sides.values()]

    def numbers(self, measure: Measure, labels: Labels) -> Sequence[int]:
        """The series that matter into which a contribution goes."""
        key = measure, labels
        found = self._numbers.get(key)
        if found is None:
            leaf = self.index.leaves.cells[measure][labels] // CODES
            found = tuple(number for number in self.index.of_leaf(leaf) if self._matters(number))
            self._numbers[key] = found
        return found

    def _sides(self) -> list[tuple[Side | None, Expr]]:
        formula = self.formula
        if isinstance(formula, Ratio):
            return [(Side.NUMERATOR, formula.left), (Side.DENOMINATOR, formula.right)]
        return [(None, formula)]

    def _matters(self, number: int) -> bool:
        """Whether the question's labels, as far as the series has them, are those of the series."""
        _, breakdown, values = self.index.series[number]
        common = tuple(dim for dim in breakdown if dim in self.question.breakdown)
        allowed = self._projections.get(common)
        if allowed is None:
            positions = [self.question.breakdown.index(dim) for dim in common]
            members = self.question.members
            allowed = frozenset(tuple(member[position] for position in positions) for member in members)
            self._projections[common] = allowed
        return tuple(value for dim, value in zip(breakdown, values, strict=True) if dim in common) in allowed

    def _bounds(self, *, before: bool) -> tuple[int, int]:
        size = pane_size(self.window, self.rules)
        low, high = pane_bounds(self.window, self.question.at, self.rules, before=before)
        return low * size, high * size
