"""What entities add, as an explanation lists it, recomputes the reading exactly: every KPI, every label."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from salesgauge.metrics import entities
from salesgauge.metrics.engine import Machine
from salesgauge.metrics.explain.explainer import Explainer
from salesgauge.metrics.explain.explanation import Explanation, Partial, united
from salesgauge.metrics.explain.question import Question, Scope, ask
from salesgauge.metrics.explain.waiting import WaitingList, WaitingPartial, WaitingQuestion, together
from salesgauge.metrics.kpis import formula as f
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.measures import buckets, survival
from salesgauge.metrics.rules.model import Rules, StageRule
from salesgauge.metrics.shard.still import Still
from salesgauge.streams.simulation.history import Organisation, history
from tests.support.hostile import DAYS, START, EveryKind, Hostile
from tests.support.pipeline import quantile
from tests.support.worlds import BEGIN, DAY, NOW, worlds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from salesgauge.metrics.entities.contributions import Contributions
    from salesgauge.metrics.entities.identities import Survivors
    from salesgauge.metrics.entities.state import State
    from salesgauge.metrics.kpis.readings import Reading
    from salesgauge.metrics.measures.registry import Measure
    from salesgauge.schemas.events import EventBase

STAGES = (StageRule(name="stage-x", probability=0.5, limit_days=1), StageRule(name="stage-y"))
RULES = Rules(max_future=timedelta(days=100_000), label_ceiling=2, stages=STAGES, sales_period="month")
END = int((START + timedelta(days=DAYS)).timestamp() * 1000)


def machine(events: list[EventBase], now: int, rules: Rules = RULES) -> Machine:
    found = Machine(rules, CATALOGUE.scoped())
    found.advance(now)
    found.apply(events)
    return found


def question_of(found: Machine, reading: Reading) -> Question:
    kpi = CATALOGUE.by_id[reading.kpi]
    return ask(found.view, kpi, kpi.stat(reading.stat), reading.window, reading.labels, limit=None, facts=False)


def check(explanation: Explanation, reading: Reading) -> None:
    """The explanation's own figures, and again what comes out of nothing but the entities that it lists."""
    assert explanation.value == reading.value
    assert (explanation.numerator, explanation.denominator) == (reading.numerator, reading.denominator)
    assert explanation.count == len(explanation.entities)
    added: Counter[str] = Counter()
    for entity in explanation.entities:
        assert entity.amounts
        added.update(entity.amounts)
    assert {name: added[name] for name in explanation.totals} == explanation.totals
    assert added.keys() <= explanation.totals.keys()
    stat = CATALOGUE.by_id[reading.kpi].stat(reading.stat)
    again = Again(explanation).value(stat.formula)
    assert again is UNKNOWN or again == pytest.approx(reading.value, rel=1e-12)


UNKNOWN: Any = object()


class Again:
    """A formula over the entities of an explanation, written once more."""

    def __init__(self, explanation: Explanation) -> None:
        self._explanation = explanation
        self._entities = explanation.entities

    def value(self, expr: f.Expr) -> Any:
        match expr:
            case f.Constant():
                return expr.value
            case f.Now():
                return self._explanation.question.at / 1000
            case f.Sum() | f.Product() | f.Ratio():
                return self._binary(expr)
            case f.In() | f.Before() | f.Stock() | f.Opening() | f.Compared() | f.Count() | f.Across():
                return self._amount(str(expr))
        ms = self._length(expr)
        return ms if ms is None or ms is UNKNOWN else ms / 1000

    def _length(self, expr: f.Expr) -> Any:
        """In ms."""
        match expr:
            case f.Quantile():
                return buckets.quantile(Counter(map(buckets.code_of, self._samples(expr.measure))), expr.q)
            case f.SurvivalMedian(bound=f.Bound.MEDIAN):
                left = Counter(self._samples(expr.left) if expr.left else ()) + Counter(self._waits(expr.roster))
                return survival.median(survival.kaplan_meier(Counter(self._samples(expr.measure)), left)).time
            case f.AgeQuantile():
                return float(quantile(list(map(Fraction, self._waits(expr.measure))), Fraction(expr.q)))
            case f.OldestWait() | f.OldestWaitOnClock():
                return max(self._waits(expr.measure))
            case f.Mean():
                return sum(self._samples(expr.measure)) / len(self._samples(expr.measure))
        return UNKNOWN

    def _binary(self, expr: f._Binary) -> Any:
        left, right = self.value(expr.left), self.value(expr.right)
        if UNKNOWN in (left, right):
            return UNKNOWN
        if isinstance(expr, f.Product):
            return left * right
        return left + expr.sign * right if isinstance(expr, f.Sum) else left / right

    def _amount(self, part: str) -> float:
        digits = self._explanation.parts[part].digits
        return float(sum((Decimal(e.amounts.get(part, 0)) for e in self._entities), Decimal(0)).scaleb(-digits))

    def _samples(self, measure: Measure) -> list[int]:
        return [value for e in self._entities for value in e.samples.get(measure.name, ())]

    def _waits(self, measure: Measure) -> list[int]:
        return [wait.waited for e in self._entities for wait in e.waits.get(measure.name, ())]


@contextmanager
def computed_once() -> Iterator[None]:
    """Each entity is unpacked and computed once meanwhile: what it adds is the same whatever is asked."""
    known: dict[str, Contributions] = {}
    states: dict[str, State] = {}
    real, unpacked = entities.contributions, Still.state

    def state(self: Still, address: str) -> State:
        if address not in states:
            states[address] = unpacked(self, address)
        return states[address]

    def contributions(state: State, who: Survivors, rules: Rules) -> Contributions:
        if state.address not in known:
            known[state.address] = real(state, who, rules)
        return known[state.address]

    with mock.patch.object(entities, "contributions", contributions), mock.patch.object(Still, "state", state):
        yield


def test_what_is_not_connected_has_no_value() -> None:
    found = machine([], END)
    kpi = CATALOGUE.by_id["win_ratio"]
    explanation = found.explain(ask(found.view, kpi, kpi.headline, "30d", {}))
    assert (explanation.value, explanation.not_connected) == (None, ("deal_won", "deal_lost"))


@settings(max_examples=20)
@given(events=worlds(), now=st.sampled_from([NOW, BEGIN + 31 * DAY + 7]), seed=st.integers(0, 10**6))
def test_in_hostile_worlds(events: list[EventBase], now: int, seed: int) -> None:
    rng, found = random.Random(seed), machine(events, now)
    readings = list(found.readings())
    with computed_once():
        for reading in rng.sample(readings, min(len(readings), 60)):
            check(found.explain(question_of(found, reading)), reading)


def some_of_each(readings: list[Reading], rng: random.Random) -> list[Reading]:
    """A reading, of any window and labels, of each number of each KPI in each breakdown; shuffled."""
    rng.shuffle(readings)
    return list({(reading.kpi, reading.stat, *reading.labels): reading for reading in readings}.values())


def test_every_number_of_every_kpi_in_every_breakdown() -> None:
    seen: set[str] = set()
    for seed in (1, 2):
        events = [*EveryKind(seed).events(300), *Hostile(seed).events(300)]
        rng = random.Random(seed)
        found = machine([], END - 20 * DAY)
        for now in (END - 20 * DAY, END):
            found.advance(now)
            found.apply(events)
            with computed_once():
                for reading in some_of_each(list(found.readings()), rng):
                    check(found.explain(question_of(found, reading)), reading)
                    seen.add(reading.kpi)
    assert seen == CATALOGUE.by_id.keys()


def test_several_partitions_say_together_what_one_says() -> None:
    """Each lists no more than the limit, and sends its part over the wire."""
    found = machine([*EveryKind(3).events(300), *Hostile(3).events(500)], END)
    rng = random.Random(3)
    shares: list[list[str]] = [[], [], []]
    for address in found.shard.states:
        rng.choice(shares).append(address)
    with computed_once():
        for reading in some_of_each(list(found.readings()), rng)[::4]:
            question = msgspec.structs.replace(question_of(found, reading), limit=7)
            partials = [over_the_wire(found, question, share) for share in shares]
            assert united(Scope(question, RULES, CATALOGUE), partials) == found.explain(question)


def over_the_wire(found: Machine, question: Question, share: list[str]) -> Partial:
    scope = Scope(msgspec.msgpack.decode(msgspec.msgpack.encode(question), type=Question), RULES, CATALOGUE)
    still = found.shard.still()
    explainer = Explainer(scope, still.who)
    for address in share:
        explainer.take(still.state(address))
    packed = msgspec.msgpack.encode(explainer.answer(still.state))
    return msgspec.msgpack.decode(packed, type=Partial)


def waiting(found: Machine, labels: dict[str, str], limit: int = 1000) -> WaitingPartial:
    """The list, of three partitions that send theirs over the wire."""
    now, still = found.shard.panes.now, found.shard.still()
    question = WaitingQuestion(at=now, labels=labels, teams=dict(found.view.sums.index.teams), limit=limit)
    lists = [WaitingList(question, found.rules, still.who) for _ in range(3)]
    for number, state in enumerate(still.each()):
        lists[number % 3].take(state)
    packed = [msgspec.msgpack.encode(one.answer()) for one in lists]
    return together(question, [msgspec.msgpack.decode(one, type=WaitingPartial) for one in packed])


def check_waiting(found: Machine) -> int:
    """The list has who is counted, in the whole and by rep, team and source; the number of those."""
    kpis = [CATALOGUE.by_id["leads_waiting"], CATALOGUE.by_id["lead_oldest_wait_seconds"]]
    told = {(r.kpi, r.stat, tuple(r.labels.items())): r.value for r in found.readings(kpis)}
    for scope in [scope for kpi, stat, scope in told if (kpi, stat) == ("leads_waiting", "value")]:
        labels = dict(scope)
        listed = waiting(found, labels)
        assert listed.count == len(listed.leads) == told["leads_waiting", "value", scope]
        late = [lead for lead in listed.leads if lead.state == "late"]
        assert len(late) == told["leads_waiting", "late", scope]
        assert all((lead.left <= 0) == (lead.state == "late") for lead in listed.leads)
        if listed.leads:
            assert listed.leads[0].waited / 1000 == told["lead_oldest_wait_seconds", "value", scope]
            assert waiting(found, labels, limit=1).leads == listed.leads[:1]
    return int(told["leads_waiting", "value", ()])


ANSWERED = frozenset({"lead_created", "activity_logged"})


@settings(max_examples=20)
@given(events=worlds(), now=st.sampled_from([NOW, BEGIN + 31 * DAY + 7]))
def test_the_list_of_waiting_leads_is_what_is_counted_in_hostile_worlds(events: list[EventBase], now: int) -> None:
    check_waiting(machine(events, now, RULES.model_copy(update={"label_ceiling": 100, "zero_is_real": ANSWERED})))


def test_the_list_of_waiting_leads_is_what_is_counted_in_business_hours() -> None:
    rules = Rules(sla_in_business_hours=True, response_sla=timedelta(hours=4))
    end = START + timedelta(days=4, hours=15)
    events = history(Organisation(seed=5, leads_per_day=40, reps=6), START, end)
    found = machine([*events], int(end.timestamp() * 1000), rules)
    assert check_waiting(found) > 10
