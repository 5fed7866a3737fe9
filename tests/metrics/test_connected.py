"""A KPI has a value once each kind of event that it requires ever came: zero is never made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from salesgauge.metrics.engine import Machine, copy_changes
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.families import CONNECTED, families
from salesgauge.metrics.kpis.kpi import CatalogueError
from salesgauge.metrics.kpis.readings import View
from salesgauge.metrics.rules.model import Rules
from salesgauge.metrics.shard.leaves import LeafIndex
from salesgauge.metrics.shard.shard import Shard, admit
from salesgauge.metrics.windows.series import SeriesIndex
from salesgauge.metrics.windows.sums import WindowSums
from salesgauge.schemas.events import EventBase
from tests.support.stories import NOW, created, event, ms, spent, touch

EARLY = "02-01 09:00"
WON = event("deal_won", EARLY, deal_id="d", amount=100, currency="EUR")


def shown(*events: EventBase, **rules: object) -> Machine:
    machine = Machine(Rules.model_validate(rules))
    machine.advance(ms(NOW))
    assert not any(machine.apply(events))
    return machine


def read(machine: Machine, kpi: str, window: str = "all", stat: str = "value") -> float | None:
    found = {(r.window, r.stat): r.value for r in machine.readings([CATALOGUE.by_id[kpi]]) if not r.labels}
    return found.get((window, stat))


def test_nothing_is_known_of_what_never_came() -> None:
    machine = shown(created("a"), created("b"))
    assert read(machine, "new_leads") == 2
    for kpi in ("leads_waiting", "lead_response_sla_ratio", "win_ratio", "sales_revenue", "cost_per_lead"):
        assert list(machine.readings([CATALOGUE.by_id[kpi]])) == [], kpi
    assert machine.not_connected()["cost_per_lead"] == ("spend_recorded",)
    assert "new_leads" not in machine.not_connected()


def test_what_came_long_ago_is_zero_in_a_window_without_it() -> None:
    machine = shown(WON)
    assert (read(machine, "deals_won", "30d"), read(machine, "deals_won", "365d")) == (0, 1)
    assert read(machine, "win_ratio") is None


def test_a_share_is_not_whole_for_want_of_the_other_side() -> None:
    lost = event("deal_lost", EARLY, deal_id="e")
    assert read(shown(WON), "win_ratio") is None
    assert read(shown(WON, lost), "win_ratio") == 0.5
    assert read(shown(WON, zero_is_real=["deal_lost"]), "win_ratio") == 1


def test_what_was_deleted_came_once() -> None:
    deleted = event("deal_deleted", "02-02 09:00", deal_id="d")
    assert read(shown(WON, deleted), "deals_won") == 0
    gone = event("lead_deleted", "06-03 09:00", lead_id="a")
    assert read(shown(created("a"), gone), "new_leads") == 0


def test_a_number_beside_may_need_other_events() -> None:
    won = event("deal_won", EARLY, deal_id="d", account_id="x", amount=100)
    machine = shown(won, event("usage_recorded", "06-20 09:00", account_id="x", minutes=10))
    found = {r.stat for r in machine.readings([CATALOGUE.by_id["customer_outcomes"]])}
    assert found == {"value", "minutes", "subscriptions"}
    billed = shown(event("subscription_changed", "06-01 00:00", account_id="x", subscription_id="s", mrr_after=10))
    assert read(billed, "revenue_per_account", "30d", "mrr") == 10
    assert read(billed, "revenue_per_account", "30d") is None


def test_prometheus_is_told_why_there_is_no_series() -> None:
    machine = shown(created("a"), touch("a", "06-02 09:10"))
    list(machine.readings([]))
    found = {family.name: family for family in families(machine.view)}
    assert "crm_lead_response_seconds" in found
    assert not any(name.startswith(("crm_win_ratio", "crm_sales_cycle_seconds")) for name in found)
    connected = {sample.labels["kpi"]: sample.value for sample in found[CONNECTED].samples}
    assert connected.keys() == CATALOGUE.by_id.keys()
    assert (connected["lead_response_seconds"], connected["win_ratio"], connected["sales_cycle_seconds"]) == (1, 0, 0)


def test_what_one_partition_saw_all_have_seen_also_after_a_rebuild() -> None:
    leaves = LeafIndex()
    view = View(CATALOGUE, WindowSums(SeriesIndex(CATALOGUE.plan(), leaves), Rules(), CATALOGUE.windows_before()))
    shards = [Shard(Rules(), leaves), Shard(Rules(), leaves)]
    for number, (shard, told) in enumerate(zip(shards, (created("a"), spent(100)), strict=True)):
        shard.advance(ms(NOW))
        shard.apply([admit(told, shard.rules, ms(NOW))])  # type: ignore[list-item]
        copy_changes(shard.panes, view.sums, number)
    view.sums.advance(ms(NOW))
    assert view.seen() == {"lead_created", "spend_recorded"}
    for number, shard in enumerate(shards):
        shard.rebuild(ms(NOW))
        copy_changes(shard.panes, view.sums, number)
    assert view.seen() == {"lead_created", "spend_recorded"}


def test_a_merge_cannot_be_required() -> None:
    with pytest.raises(CatalogueError, match="a merge corrects"):
        replace(CATALOGUE.by_id["new_leads"], requires=("lead_created", "lead_merged"))


def test_only_kinds_of_events_can_be_really_none() -> None:
    with pytest.raises(ValueError, match="'deal_losst' is not an event"):
        Rules(zero_is_real=frozenset({"deal_losst"}))
