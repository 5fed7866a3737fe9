"""Entities on many shards agree, whatever happens on the way.

What all shards add up to is that of one shard that took all events in one batch.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics import entities
from salesgauge.metrics.entities import lead, routes
from salesgauge.metrics.entities.contributions import Contributions, totals
from salesgauge.metrics.entities.identities import Identities, survivors
from salesgauge.metrics.entities.routes import LONGEST_CHAIN
from salesgauge.metrics.entities.state import Message, State
from salesgauge.metrics.shard import shard as shard_module
from salesgauge.metrics.shard.shard import Shard
from tests.properties.test_engine import RULES, admit_one, contents, from_scratch, machine
from tests.support.shards import World
from tests.support.stories import created, event, won
from tests.support.worlds import NOW, worlds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from salesgauge.metrics.entities.contributions import Key
    from salesgauge.metrics.entities.facts import Fact, Merge
    from salesgauge.metrics.entities.identities import Survivors
    from salesgauge.metrics.entities.state import Box
    from salesgauge.metrics.rules.model import Rules
    from salesgauge.schemas.events import EventBase


Kind = tuple[str, dict[str, Any], Callable[[], dict[str, Any]]]
"""An event's name, what says whom it is about, and what makes the rest."""


def run(events: Sequence[EventBase], chance: random.Random, size: int, *, faults: bool) -> World:
    """A history to its end."""
    world = World(RULES, NOW, chance, size, faults=faults)
    world.play(events)
    return world


def check(events: Sequence[EventBase], world: World) -> None:
    assert world.total() == totals(machine(events).shard.contributions())
    for place in world.places:
        assert contents(place.shard.panes) == contents(from_scratch(place.shard, NOW))


@given(events=worlds(), seed=st.integers(0, 2**32), size=st.integers(1, 8))
def test_the_number_of_shards_and_the_order_change_nothing(events: list[EventBase], seed: int, size: int) -> None:
    check(events, run(events, random.Random(seed), size, faults=False))


@given(events=worlds(), seed=st.integers(0, 2**32), size=st.integers(1, 8))
def test_crashes_repetitions_and_rebuilds_change_nothing(events: list[EventBase], seed: int, size: int) -> None:
    check(events, run(events, random.Random(seed), size, faults=True))


# --- each rule of the protocol is needed


def _no_news_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A repetition, which may be the repair of a crash, is not answered."""
    whole = routes.consequences

    def consequences(state: State, arrived: Message, news: Mapping[str, Box], who: Survivors) -> list[Message]:
        return whole(state, arrived, news, who) if any(box.facts for box in news.values()) else []

    monkeypatch.setattr(shard_module, "consequences", consequences)


def _only_who_is_named_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is named no longer is not told so."""

    def note_names(state: State, facts: Iterable[Fact]) -> None:
        standing = state.own.facts | {fact.id: fact for fact in facts}
        state.named = {name for fact in standing.values() for name in fact.names()}

    monkeypatch.setattr(shard_module, "note_names", note_names)


def _a_profile_for_nobody_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deal that is new to a lead is told only what comes later."""
    monkeypatch.setattr(routes, "_is_member", lambda *_: False)


def _a_table_that_changes_is_no_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told before a merge is not told anew."""
    monkeypatch.setattr(shard_module, "everything", lambda *_: [])


def _nobody_asks_who_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What mentions a key whose survivor changed is not computed again."""
    monkeypatch.setattr(Shard, "_index", lambda *_: None)


def _old_mail_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds facts of a key counts them, wherever the key lives on."""
    monkeypatch.setattr(lead, "read_lead", partial(_reading_all, lead.read_lead))


def _reading_all(read: Callable[..., object], state: State, who: Survivors, rules: Rules) -> object:
    return read(state, lambda a: state.address if a.startswith("lead/") and a in state.boxes else who(a), rules)


def _survivors_one_merge_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The survivor follows the merges in the order in which they come."""

    def learn(self: Identities, merges: Iterable[Merge]) -> set[str]:
        named = set()
        for merge in merges:
            self._survivor = {**self._survivor, merge.about: self._survivor.get(merge.survivor, merge.survivor)}
            self._merges[merge.about, merge.id] = merge
            named |= {merge.about, merge.survivor}
        return named

    monkeypatch.setattr(Identities, "learn", learn)


RULES_TO_BREAK = [
    _no_news_no_answer,
    _only_who_is_named_now,
    _a_profile_for_nobody_new,
    _a_table_that_changes_is_no_input,
    _nobody_asks_who_depends_on_it,
    _old_mail_counts,
    _survivors_one_merge_at_a_time,
]


@cache
def history(seed: int) -> tuple[list[EventBase], dict[Key, int]]:
    """A history, and what it adds up to by all rules."""
    events = list(BusyCompany(seed).events())
    return events, totals(machine(events).shard.contributions())


@pytest.mark.parametrize("rule", RULES_TO_BREAK)
def test_without_any_one_rule_some_history_fails(
    rule: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(150):
        events, right = history(seed)
        with monkeypatch.context() as broken:
            rule(broken)
            try:
                wrong = run(events, random.Random(seed), 1 + seed % 8, faults=True).total() != right
            except (AssertionError, RecursionError, KeyError):
                wrong = True
        if wrong:
            return
    pytest.fail("no history needs the rule")


class BusyCompany:
    """Leads, deals and accounts that are merged, moved and corrected, without anything that is beside the point."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        kinds = [self.created, self.touched, self.assigned, self.opened, self.won, self.won, self.lost, self.quota]
        self.kinds = [*kinds, self.merged, self.merged, self.accounts_merged] if seed % 2 else kinds

    def events(self) -> Iterator[EventBase]:
        for number in range(self.chance.randint(10, 24)):
            name, home, other = self.chance.choice(self.kinds)()
            for _ in range(self.chance.choice((1, 1, 2))):  # the second is the same event with another content
                fields = home | other() | {"id": f"e{number}", "recorded_at": self.at()}
                yield event(name, self.at(), **fields)

    def at(self) -> str:
        return f"06-{self.chance.randint(1, 28):02d} 10:00"

    def one(self, values: str) -> str:
        return self.chance.choice(values)

    def named(self) -> dict[str, Any]:
        named = {"lead_id": self.one("abcd."), "account_id": self.one("xy."), "rep_id": self.one("qr.")}
        return {field: value for field, value in named.items() if value != "."}

    def created(self) -> Kind:
        return "lead_created", {"lead_id": self.one("abcd")}, lambda: {"source": self.one("st")}

    def touched(self) -> Kind:
        return "activity_logged", {"lead_id": self.one("abcd")}, lambda: {"kind": "call"}

    def assigned(self) -> Kind:
        return "lead_assigned", {"lead_id": self.one("abcd")}, lambda: {"rep_id": self.one("qr")}

    def merged(self) -> Kind:
        return "lead_merged", {"lead_id": self.one("abcd")}, lambda: {"survivor_id": self.one("abcd")}

    def accounts_merged(self) -> Kind:
        return "account_merged", {"account_id": self.one("xy")}, lambda: {"survivor_id": self.one("xy")}

    def opened(self) -> Kind:
        return "opportunity_created", {"deal_id": self.one("de")}, self.named

    def won(self) -> Kind:
        return "deal_won", {"deal_id": self.one("de")}, lambda: self.named() | {"amount": self.chance.randint(1, 9)}

    def lost(self) -> Kind:
        return "deal_lost", {"deal_id": self.one("de")}, self.named

    def quota(self) -> Kind:
        period = {"period_start": "06-01 00:00", "period_end": "08-01 00:00"}
        return "quota_set", {"rep_id": self.one("qr")}, lambda: period | {"amount": 9}


MESSAGES_PER_EVENT = 30
"""Of these histories: each event concerns most of the few entities, and of many merges each says all of it anew."""


@given(events=worlds(), seed=st.integers(0, 2**32), size=st.integers(1, 8))
def test_one_event_sets_off_a_bounded_chain(events: list[EventBase], seed: int, size: int) -> None:
    """Messages are taken one at a time, so that it is known which led to which."""
    world = World(RULES, NOW, random.Random(seed), size)
    world.at_once = (1,)
    world.play(events)
    assert world.deepest <= LONGEST_CHAIN <= 5
    assert world.happened["messages"] <= MESSAGES_PER_EVENT * len(events)


@pytest.mark.parametrize("shape", ["chain", "star"])
def test_an_identity_of_fifty_leads_stays_cheap(shape: str) -> None:
    """Read at once: each key relays what it holds once, and hears of the one deal; never key by key."""
    leads = [f"l{number}" for number in range(50)]
    merges = [
        event("lead_merged", "06-01 10:00", lead_id=lead, survivor_id=leads[number + 1] if shape == "chain" else "l49")
        for number, lead in enumerate(leads[:-1])
    ]
    events = [*merges, *(created(lead, "06-01 09:00") for lead in leads), won("d", "06-02 09:00", 5, lead_id="l7")]
    world = run(events, random.Random(5), 4, faults=False)
    check(events, world)
    assert world.happened["messages"] <= 500


MERGES = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde"), st.integers(1, 9)), max_size=8)


@given(merges=MERGES, rng=st.randoms(use_true_random=False))
def test_survivors_are_a_function_of_the_set_of_merges(merges: list[tuple[str, str, int]], rng: random.Random) -> None:
    facts = [merge_of(about, into, number, recorded) for number, (about, into, recorded) in enumerate(merges)]
    expected = survivors(facts)
    shuffled = rng.sample(facts, len(facts))
    known = Identities()
    for fact in [*shuffled, *shuffled[:3]]:
        known.learn([fact])
    assert all(known(address) == survivor for address, survivor in expected.items())
    for address, survivor in expected.items():
        assert expected[survivor] == survivor, "a survivor survives"
        del address
    for fact in facts:  # connected keys are one identity
        assert known(fact.about) == known(fact.survivor)


def merge_of(about: str, into: str, number: int, recorded: int) -> Merge:
    item = event(
        "lead_merged", "06-01 10:00", id=str(number), lead_id=about, survivor_id=into,
        recorded_at=f"2026-06-0{recorded}T00:00:00Z",
    )  # fmt: skip
    [fact] = admit_one(item).facts
    return fact  # type: ignore[return-value]


def test_a_merge_that_is_taken_back_splits_the_identity_again() -> None:
    first = event("lead_merged", "06-01 10:00", id="m", lead_id="a", survivor_id="b")
    back = event("lead_merged", "06-01 10:00", id="m", lead_id="a", survivor_id="a", recorded_at="2026-06-05T00:00:00Z")
    for order in ([first, back], [back, first]):
        known = Identities()
        for item in order:
            known.learn(admit_one(item).facts)  # type: ignore[arg-type]
        assert known("lead/a") == "lead/a"


def test_a_packed_state_reads_as_it_was() -> None:
    shard = machine([created("a"), won("d", "06-02 09:00", 5, lead_id="a")]).shard
    for address, packed in shard.states.items():
        assert State.unpack(address, packed).pack() == packed


def test_an_entity_that_a_merge_makes_uncomputable_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    contributions = entities.contributions

    def poisonous(state: State, who: Survivors, rules: Rules) -> Contributions:
        if state.address == "lead/b" and who("lead/a") == "lead/b":
            raise ArithmeticError("poison")
        return contributions(state, who, rules)

    monkeypatch.setattr(entities, "contributions", poisonous)
    shard = machine([created("a"), created("b"), created("c"), created("d")]).shard
    merges = [
        event("lead_merged", "06-20 10:00", lead_id=lead, survivor_id=into) for lead, into in (("a", "b"), ("c", "d"))
    ]
    outcome = shard.learn(fact for item in merges for fact in admit_one(item).facts)  # type: ignore[misc]
    assert {item.to for failure in outcome.failed for _, item in failure.items} == {"lead/b"}
    assert shard.identities("lead/c") == "lead/d"
    assert {"lead/b", "lead/d"} <= shard.states.keys()
    assert State.unpack("lead/d", shard.states["lead/d"]).boxes.keys() == {"lead/c", "lead/d"}
