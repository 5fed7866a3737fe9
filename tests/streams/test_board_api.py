"""The board's payloads, history, thresholds and page, without a server and a browser."""

from __future__ import annotations

import base64
import csv
import gzip
import hashlib
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salesgauge.metrics.engine import Machine
from salesgauge.metrics.kpis.catalogue import CATALOGUE
from salesgauge.metrics.kpis.kpi import Direction, Unit
from salesgauge.metrics.kpis.targets import Target, TargetError, check, parse
from salesgauge.metrics.measures.registry import MEASURES
from salesgauge.metrics.rules.model import HOUR, MINUTE, Rules
from salesgauge.metrics.rules.windows import WINDOWS
from salesgauge.schemas.events import EVENTS, ActivityLogged, DealLost, DealWon, EventBase, LeadCreated
from salesgauge.streams.serve import board
from salesgauge.streams.serve.board import api
from salesgauge.streams.serve.board.changes import change, interval
from salesgauge.streams.serve.board.history import STOCKS, Ring, Sparklines
from salesgauge.streams.serve.board.presentation import presentations, roles
from salesgauge.streams.serve.board.scope import LabelFilter
from salesgauge.streams.serve.board.state import Progress
from salesgauge.streams.serve.readings_api import readings_answer
from salesgauge.streams.simulation.history import Organisation, history
from tests.support.board_server import troubled

NOW = datetime(2026, 3, 12, 14, 37, tzinfo=UTC)
SCRIPT = "<img src=x onerror=alert(1)>"


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def machine(*events: EventBase, now: datetime = NOW, **rules: Any) -> Machine:
    made = Machine(rules=Rules(**{"zero_is_real": frozenset(EVENTS)} | rules))  # what is not told did not happen
    made.advance(ms(now))
    refused = [r for r in made.apply(events) if r is not None]
    assert not refused
    refresh(made)
    return made


def refresh(made: Machine) -> None:
    list(made.readings([], frozenset()))


def lead(name: str, ago: timedelta, rep: str = "ann", source: str = "web") -> LeadCreated:
    return LeadCreated(event_id=f"created-{name}", occurred_at=NOW - ago, lead_id=name, rep_id=rep, source=source)


def touch(name: str, ago: timedelta, rep: str = "ann") -> ActivityLogged:
    return ActivityLogged(event_id=f"touch-{name}", occurred_at=NOW - ago, lead_id=name, rep_id=rep, kind="call")


def closed(name: str, ago: timedelta, *, won: bool) -> EventBase:
    if won:
        lines = ({"product": "Team", "unit_price": "1234.50"},)
        return DealWon(
            event_id=f"won-{name}",
            occurred_at=NOW - ago,
            lead_id=name,
            deal_id=name,
            rep_id="ann",
            lines=lines,
        )
    return DealLost(event_id=f"lost-{name}", occurred_at=NOW - ago, lead_id=name, deal_id=name, rep_id="ann")


def minutes(n: float) -> timedelta:
    return timedelta(minutes=n)


@pytest.fixture(scope="module")
def busy() -> Machine:
    organisation = Organisation(leads_per_day=20, reps=6, seed=3)
    made = Machine(rules=Rules(zone=organisation.zone))
    made.advance(ms(NOW))
    made.apply(troubled(organisation, NOW - timedelta(days=14), NOW))
    refresh(made)
    return made


def kpi(payload: dict[str, Any], name: str) -> dict[str, Any]:
    return next(k for k in payload["kpis"] if k["id"] == name)


# --- one refresh


def test_nothing_yet_is_said_and_not_guessed():
    payload = api.board_payload(machine().view)
    assert payload["empty"]
    assert payload["waiting"]["count"] == 0
    assert "oldest" not in payload["waiting"]
    assert payload["firing"] == []
    assert kpi(payload, "new_leads")["value"] == 0
    ratio = kpi(payload, "win_ratio")
    assert ratio["value"] is None
    assert ratio["why"] == "No deal closed in the last 24 hours"


@pytest.mark.parametrize("window", WINDOWS)
def test_each_kpi_is_there_in_each_window_and_says_why_where_it_has_no_value(busy: Machine, window: str):
    payload = api.board_payload(busy.view, window=window)
    assert [k["id"] for k in payload["kpis"]] == [k.id for k in CATALOGUE.kpis]
    assert [k["id"] for role in payload["roles"] for k in role["kpis"]] == [k.id for k in CATALOGUE.kpis]
    for shown in payload["kpis"]:
        assert shown["value"] is not None or shown.get("why") or shown.get("top")
    json.dumps(payload, allow_nan=False)


@pytest.mark.parametrize("window", ["1h", "7d", "all"])
def test_the_headlines_are_the_readings(busy: Machine, window: str):
    payload = api.board_payload(busy.view, window=window)
    read = {
        (r.kpi, r.stat): r
        for r in busy.view.readings(windows=frozenset({window, "all"}))
        if not r.labels and (r.window == window or CATALOGUE.by_id[r.kpi].windows == ("all",))
    }
    for shown in payload["kpis"]:
        headline = "p50" if CATALOGUE.by_id[shown["id"]].samples else "value"
        reading = read.get((shown["id"], headline))
        assert (reading is None) == (shown["value"] is None), shown
        if reading is not None:
            assert shown["value"] == pytest.approx(reading.value, rel=1e-11)
        for stat, value in shown.get("stats", {}).items():
            assert value == pytest.approx(read[shown["id"], stat].value, rel=1e-11)


def test_a_kpi_of_longer_windows_says_from_when_on():
    payload = api.board_payload(machine().view, window="1h")
    assert kpi(payload, "customer_churn_ratio")["why"] == "Measured from 7d on"


def test_few_is_marked_and_n_is_shown():
    events = [closed(f"w{i}", minutes(i), won=True) for i in range(2)]
    payload = api.board_payload(machine(*events, closed("l", minutes(9), won=False)).view)
    shown = kpi(payload, "win_ratio")
    assert (shown["value"], shown["n"], shown["few"]) == (pytest.approx(2 / 3), 3, True)
    assert (shown["numerator"], shown["denominator"]) == (2, 3)
    assert not kpi(api.board_payload(machine(*events).view, min_n=2), "win_ratio")["few"]


def test_n_is_a_number_of_things_never_money():
    known = presentations(CATALOGUE)
    assert known["win_ratio"].counts
    assert known["average_deal_size"].counts
    for name in (
        "competitor_price_ratio",
        "sales_growth_ratio",
        "revenue_churn_ratio",
        "quota_attainment_ratio",
    ):
        assert not known[name].counts, name


def test_parts_of_a_ratio_begin_with_the_worst_that_rests_on_enough():
    events: list[EventBase] = []
    for rep, answered, missed in (("ann", 9, 3), ("bob", 2, 10), ("cid", 0, 1)):
        for i in range(answered + missed):
            events.append(lead(f"{rep}{i}", minutes(120), rep))
            if i < answered:
                events.append(touch(f"{rep}{i}", minutes(115), rep))
    top = kpi(api.board_payload(machine(*events).view), "lead_response_sla_ratio")["top"]
    assert (top["by"], top["order"]) == (["rep"], "lowest")
    assert [row["name"][0] for row in top["rows"]] == ["bob", "ann", "cid"]


def test_parts_with_an_order_of_their_own_keep_it(busy: Machine):
    payload = api.board_payload(busy.view, window="7d")
    bands = [row["name"][0] for row in kpi(payload, "lead_response_band_ratio")["top"]["rows"]]
    assert bands == [b for b in ("0-5m", "5-15m", "15-60m", "60m+") if b in bands]


def test_descriptions_are_left_out_on_request(busy: Machine):
    assert "roles" not in api.board_payload(busy.view, catalogue=False)


def test_a_ratio_is_a_share_or_has_a_per():
    described = {k["id"]: k for role in roles(presentations(CATALOGUE)) for k in role["kpis"]}
    assert described["win_ratio"]["format"] == "share"
    assert (described["touches_per_deal"]["format"], described["touches_per_deal"]["per"]) == (
        "quotient",
        "per deal",
    )
    assert described["lead_response_seconds"]["format"] == "seconds"
    assert described["sales_revenue"]["format"] == "money"


# --- leads waiting


def test_the_waiting_are_counted_by_age_and_owner():
    made = machine(
        lead("a", minutes(5)),
        lead("b", minutes(30)),
        lead("c", timedelta(hours=3), "bob"),
        lead("d", timedelta(days=2), "bob", "fair"),
        lead("e", timedelta(days=9), "bob"),
        lead("f", minutes(50)),
        touch("f", minutes(40)),
    )
    waiting = api.board_payload(made.view)["waiting"]
    assert (waiting["count"], waiting["late"]) == (5, 4)
    assert waiting["oldest"] == timedelta(days=9).total_seconds()
    assert waiting["bounds"] == [900, 3600, 14400, 86400, 604800]
    assert waiting["bands"] == [1, 1, 1, 0, 1, 1]
    assert [(row["name"], row["count"], row["late"]) for row in waiting["by"]["rep"]["rows"]] == [
        ("bob", 3, 3),
        ("ann", 2, 1),
    ]
    assert [row["bands"] for row in waiting["by"]["rep"]["rows"]] == [[0, 0, 1, 0, 1, 1], [1, 1, 0, 0, 0, 0]]
    assert {row["name"]: row["count"] for row in waiting["by"]["source"]["rows"]} == {"web": 4, "fair": 1}


@given(st.lists(st.integers(min_value=0, max_value=14 * 24 * 60), max_size=30))
def test_the_ages_add_up_to_the_waiting(ages: list[int]):
    made = machine(*(lead(str(i), minutes(age), f"rep{age % 11}") for i, age in enumerate(ages)))
    waiting = api.board_payload(made.view, catalogue=False)["waiting"]
    assert sum(waiting["bands"]) == waiting["count"] == len(ages)
    by = waiting["by"]["rep"]
    if not by["more"]:
        assert sum(row["count"] for row in by["rows"]) == len(ages)
    assert all(sum(row["bands"]) == row["count"] for row in by["rows"])


def test_owners_beyond_the_ceiling_are_others():
    made = machine(*(lead(str(i), minutes(i), f"rep{i % 5}") for i in range(20)), label_ceiling=2)
    rows = api.board_payload(made.view)["waiting"]["by"]["rep"]["rows"]
    assert [(row["name"], row["count"], sum(row["bands"])) for row in rows] == [
        ("other", 12, 12),
        ("rep0", 4, 4),
        ("rep1", 4, 4),
    ]


def test_ages_pass_on_the_clock_of_the_sla():
    hours = {"mon-fri": f"{NOW - minutes(20):%H:%M}-24:00"}
    rules: dict[str, Any] = {"sla_in_business_hours": True, "calendar": {"hours": hours}, "response_policies": [
        {"name": "always", "source": "fair", "target": minutes(15)}]}  # fmt: skip
    made = machine(
        lead("a", timedelta(hours=3)), lead("b", minutes(5)), lead("c", timedelta(hours=3), source="fair"), **rules
    )
    waiting = api.board_payload(made.view)["waiting"]
    assert waiting["bounds"][:3] == [900, 3600, 14400]
    assert waiting["bands"][:3] == [1, 1, 1]  # b; a, of which only the last 20 min counted; c, around the clock


def test_a_stricter_sla_moves_the_first_band():
    made = machine(lead("a", minutes(3)), lead("b", minutes(7)), response_sla=minutes(5))
    waiting = api.board_payload(made.view)["waiting"]
    assert waiting["bounds"][:2] == [300, 900]
    assert waiting["bands"][:2] == [1, 1]


# --- thresholds


def test_a_lead_that_nobody_answers_fires_as_time_passes():
    threshold = Target(
        kpi="leads_waiting", window="all", op=">", value=0, stat="late", severity="critical", summary="late"
    )
    made = machine(lead("a", minutes(14)))
    assert api.board_payload(made.view, targets=[threshold])["firing"] == []
    made.advance(ms(NOW) + 2 * MINUTE)
    refresh(made)
    (fired,) = api.board_payload(made.view, targets=[threshold])["firing"]
    assert (fired["value"], fired["target"], fired["severity"]) == (1, 0, "critical")
    payload = api.board_payload(made.view, targets=[threshold])
    assert kpi(payload, "leads_waiting")["status"] == "critical"


def test_a_target_of_another_window_says_so():
    threshold = Target(kpi="win_ratio", window="30d", op="<", value=0.5)
    made = machine(
        *(closed(f"l{i}", minutes(60 * 48 + i), won=False) for i in range(3)), closed("l9", minutes(1), won=True)
    )
    assert kpi(api.board_payload(made.view, window="30d", targets=[threshold]), "win_ratio")["status"] == "warning"
    assert "status_window" not in kpi(api.board_payload(made.view, window="30d", targets=[threshold]), "win_ratio")
    today = kpi(api.board_payload(made.view, window="24h", targets=[threshold]), "win_ratio")
    assert (today["value"], today["status"], today["status_window"]) == (1, "warning", "30d")


def test_too_few_do_not_fire():
    events = [closed(f"l{i}", minutes(i), won=False) for i in range(3)]
    threshold = Target(kpi="win_ratio", window="24h", op="<", value=0.5, min_n=4)
    assert api.board_payload(machine(*events).view, targets=[threshold])["firing"] == []
    events.append(closed("l4", minutes(5), won=False))
    payload = api.board_payload(machine(*events).view, targets=[threshold])
    assert [f["n"] for f in payload["firing"]] == [4]


def test_parts_are_watched_by_themselves():
    made = machine(*(lead(f"a{i}", minutes(i)) for i in range(5)), lead("b", minutes(1), "bob"))
    threshold = Target(kpi="leads_waiting", window="all", op=">", value=3, by=("rep",))
    (fired,) = api.board_payload(made.view, targets=[threshold])["firing"]
    assert fired["labels"] == {"rep": "ann"}


def test_the_most_urgent_comes_first(busy: Machine):
    firing = api.board_payload(busy.view)["firing"]
    assert firing
    severities = [f["severity"] for f in firing]
    assert severities == sorted(severities, key=["critical", "warning", "info"].index)


def test_the_defaults_are_the_targets_of_the_settings_file():
    assert check(board.DEFAULTS, CATALOGUE) == board.DEFAULTS
    assert board.from_file(Path(__file__).parents[2] / "prometheus/thresholds.yml", CATALOGUE) == board.DEFAULTS


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"kpi": "nonsense", "window": "24h", "op": ">", "value": 1}, "target 1, there is no KPI 'nonsense'"),
        ({"kpi": "win_ratio", "window": "2h", "op": ">", "value": 1}, "`window` is '2h'; write one of 1h, 24h"),
        (
            {"kpi": "customer_churn_ratio", "window": "1h", "op": ">", "value": 1},
            "`window` is '1h'; write one of 7d, 30d",
        ),
        ({"kpi": "win_ratio", "window": "24h", "op": "!", "value": 1}, "`op` is '!'; write '>', '>=', '<' or '<='"),
        (
            {"kpi": "win_ratio", "window": "24h", "op": "<", "value": 1, "stat": "p50"},
            "`stat` is 'p50'; write one of value",
        ),
        (
            {"kpi": "win_ratio", "window": "24h", "op": "<", "value": 1, "by": "colour"},
            "`by` is ['colour']; write one of [rep], [team]",
        ),
        (
            {"kpi": "win_ratio", "window": "24h", "op": "<", "value": 1, "severity": "page"},
            "`severity` is 'page'; write 'critical', 'warning' or 'info'",
        ),
        ({"kpi": "win_ratio", "op": "<"}, "`window` is missing; add it; `value` is missing; add it"),
        ({"kpi": "win_ratio", "window": "24h", "op": "<", "value": 1, "mean_n": 4}, "`mean_n` is no known key"),
        ({"kpi": "lifecycle_stage_ratio", "window": "all", "op": "<", "value": 1}, "by breakdown only"),
    ],
)
def test_a_threshold_that_has_no_answer_is_refused_with_the_reason(item: dict[str, Any], message: str):
    with pytest.raises(TargetError, match=re.escape(message)):
        parse([item], CATALOGUE)


def test_thresholds_come_from_a_settings_file():
    item = {
        "kpi": "leads_waiting",
        "window": "all",
        "op": ">",
        "value": "7",
        "by": "rep",
    }
    assert parse([item], CATALOGUE) == (Target(kpi="leads_waiting", window="all", op=">", value=7.0, by=("rep",)),)


def test_parts_have_their_other_numbers_watched_too():
    made = machine(*(lead(f"a{i}", minutes(10 * i)) for i in range(5)), lead("b", minutes(20), "bob"))
    late = Target(kpi="leads_waiting", window="all", op=">", value=2, stat="late", by=("rep",))
    slow = Target(kpi="lead_response_seconds", window="24h", op=">", value=0, stat="p90", min_n=1, by=("rep",))
    payload = api.board_payload(made.view, targets=[late, slow])
    assert [(f["labels"], f["value"]) for f in payload["firing"]] == [({"rep": "ann"}, 3)]


def test_the_targets_of_the_alerts_can_be_the_boards():
    path = Path(__file__).parents[2] / "prometheus" / "thresholds.yml"
    if not path.exists():
        pytest.skip("prometheus/thresholds.yml is not here yet")
    assert board.from_file(path, CATALOGUE)


@pytest.mark.parametrize(
    "text", ["targets: {", "slo: {}", "- 1", "targets: [{kpi: x, window: all, op: '>', value: 1}]"]
)
def test_a_settings_file_that_cannot_be_used_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "thresholds.yml"
    path.write_text(text)
    with pytest.raises(TargetError):
        board.from_file(path, CATALOGUE)
    with pytest.raises(TargetError, match=r"missing\.yml"):
        board.from_file(tmp_path / "missing.yml", CATALOGUE)


# --- one KPI in full


def test_one_kpi_in_full_has_all_its_windows_and_breakdowns(busy: Machine):
    for known in CATALOGUE.kpis:
        detail = api.detail_payload(busy.view, known.id, window="7d")
        assert [row["window"] for row in detail["over"]] == list(known.windows)
        assert [tuple(b["by"]) for b in detail["breakdowns"]] == list(known.breakdowns)
        json.dumps(detail, allow_nan=False)


def test_the_parts_in_full_are_the_readings(busy: Machine):
    detail = api.detail_payload(busy.view, "sales_revenue", window="7d")
    for part in detail["breakdowns"]:
        read = {
            tuple(r.labels.values()): r.value
            for r in busy.view.readings([CATALOGUE.by_id["sales_revenue"]], frozenset({"7d"}))
            if list(r.labels) == part["by"]
        }
        shown = {tuple(row["name"]): row["value"] for row in part["rows"]}
        assert shown.items() <= read.items()
        assert len(shown) + part["more"] == sum(1 for v in read.values() if v)


# --- history


@given(
    st.lists(st.integers(min_value=1, max_value=400), max_size=200),
    st.sampled_from([(10, 8, 0), (10, 8, 80), (1, 5, 1000)]),
)
def test_a_ring_is_bounded_ordered_and_aligned(gaps: list[int], shape: tuple[int, int, int]):
    step, keep, longest = shape
    ring, at = Ring(step, keep, longest), 0
    for gap in gaps:
        at += gap
        ring.add(at, {"a": at, **({"b": -at} if at % 2 else {})})
    assert len(ring.times) <= keep
    assert ring.times == sorted(set(ring.times))
    assert all(len(points) == len(ring.times) for points in ring.series.values())
    assert ring.series.get("a", []) == ring.times
    assert all(v in (None, -t) for v, t in zip(ring.series.get("b", []), ring.times, strict=False))
    if longest:
        assert ring.step <= max(2 * longest, step)


def test_a_ring_that_doubles_its_step_covers_the_whole_time():
    ring = Ring(5, 10, 10_000)
    for at in range(0, 3000, 5):
        ring.add(at, {"a": 1.0})
    assert ring.times[-1] >= 3000 - ring.step
    assert ring.times[0] <= 2 * ring.step


def test_the_past_is_read_from_the_windows_and_is_what_was_seen_then():
    organisation = Organisation(leads_per_day=20, reps=6, seed=3)
    corrections = {"lead_deleted", "lead_restored", "lead_merged", "email_bounced"}  # they change what was before them
    whole = history(organisation, NOW - timedelta(days=9), NOW)
    events = [e for e in whole if e.recorded_at is None and e.name not in corrections]
    made = machine(*events)
    before = list(made.view.readings(windows=frozenset({"24h", "7d"})))
    kept = Sparklines(presentations(CATALOGUE))
    kept.feed(made.view)
    assert list(made.view.readings(windows=frozenset({"24h", "7d"}))) == before
    assert made.view.sums.now == ms(NOW)
    ring = kept.rings["24h"]
    assert len(ring.times) == 25
    at = ring.times[10]
    then = Machine(rules=made.rules)
    then.advance(at)
    then.apply([event for event in events if ms(event.occurred_at) <= at])
    truth = {
        r.kpi: r.value
        for r in then.readings(CATALOGUE.select(["new_leads", "activities"]), frozenset({"24h"}))
        if not r.labels
    }
    assert {name: ring.series[name][10] for name in truth} == truth


def test_cohorts_and_stocks_have_no_invented_past(busy: Machine):
    kept = Sparklines(presentations(CATALOGUE))
    kept.feed(busy.view)
    known = [v for v in kept.rings["7d"].series["sql_to_customer_ratio"] if v is not None]
    assert len(known) <= 1
    assert len(kept.rings[STOCKS].times) == 1


def test_history_grows_only_where_a_step_is_due(busy: Machine):
    kept = Sparklines(presentations(CATALOGUE))
    kept.feed(busy.view)
    stamp = kept.stamp("7d")
    kept.feed(busy.view)
    assert kept.stamp("7d") == stamp
    size = len(kept.rings["1h"].times)
    busy.view.sums.advance(ms(NOW) + HOUR // 30)
    kept.feed(busy.view)
    busy.view.sums.advance(ms(NOW))
    assert len(kept.rings["1h"].times) >= size
    assert kept.stamp("7d") != stamp


def test_a_backlog_leaves_no_trace_in_the_small_charts():
    organisation = Organisation(leads_per_day=20, reps=6, seed=3)
    events = list(history(organisation, NOW - timedelta(days=9), NOW))
    made = machine(*events[:100])
    kept = Sparklines(presentations(CATALOGUE))
    kept.feed(made.view, 100)
    made.apply(events[100:])
    refresh(made)
    kept.feed(made.view, len(events))
    assert not kept.rings["24h"].times
    kept.feed(made.view, len(events) + 1)
    truth = Sparklines(presentations(CATALOGUE))
    truth.feed(made.view)
    assert kept.rings == truth.rings
    assert len(kept.rings["24h"].times) == 25


def test_a_partition_that_comes_back_is_no_backlog(busy: Machine):
    kept = Sparklines(presentations(CATALOGUE))
    for events in (10_000, 5_000, 10_000):
        kept.feed(busy.view, events)
    assert kept.rings[STOCKS].times


# --- answers


def test_an_answer_for_each_question(busy: Machine):
    made = board.BoardServer.for_view(busy.view)
    made.observe(busy.view)
    first = made.answer(busy.view, {"window": "7d"}, {"ready": True, "lag": 3})
    assert (first.status, first.content_type) == (200, "application/json")
    payload = json.loads(first.body)
    assert payload["engine"] == {"ready": True, "lag": 3, "state": "live"}
    again = json.loads(
        made.answer(busy.view, {"window": "7d", "catalogue": "0", "trends": payload["trends"]["stamp"]}).body
    )
    assert "roles" not in again
    assert "trends" not in again
    assert again["kpis"] == payload["kpis"]
    assert json.loads(made.answer(busy.view, {"kpi": "new_leads"}).body)["kpi"] == "new_leads"


@pytest.mark.parametrize(("query", "status"), [({"window": "2h"}, 400), ({"kpi": SCRIPT}, 404)])
def test_a_question_without_an_answer_is_refused(busy: Machine, query: dict[str, str], status: int):
    answer = board.BoardServer.for_view(busy.view).answer(busy.view, query)
    assert answer.status == status
    assert "error" in json.loads(answer.body)


def test_viewers_share_an_answer_for_less_than_a_second():
    made = machine(lead("a", minutes(1)))
    one = board.BoardServer.for_view(made.view)
    ask = lambda: json.loads(one.answer(made.view, {"window": "1h"}).body)["waiting"]["count"]  # noqa: E731
    assert ask() == 1
    made.apply([lead("b", minutes(1))])
    refresh(made)
    assert ask() == 1
    made.advance(ms(NOW) + 1000)
    refresh(made)
    assert ask() == 2


def test_a_refresh_is_small(busy: Machine):
    made = board.BoardServer.for_view(busy.view)
    made.observe(busy.view)
    stamp = made.history.stamp("30d")
    body = made.answer(busy.view, {"window": "30d", "catalogue": "0", "trends": stamp}).body
    assert len(gzip.compress(body)) < 10_000


def test_hostile_label_values_stay_text():
    made = machine(lead("a", minutes(1), SCRIPT))
    payload = json.loads(board.BoardServer.for_view(made.view).answer(made.view, {}).body)
    assert payload["waiting"]["by"]["rep"]["rows"][0]["name"] == SCRIPT


# --- the page


def test_the_page_is_one_document_without_any_other_address():
    html = board.page().decode()
    assert html.startswith("<!doctype html>")
    assert "/*style*/" not in html
    assert "/*script*/" not in html
    known = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\"'\s)]+", html)) <= known
    assert not re.search(r"<(link|script|img)[^>]+(src|href)=[\"'](?!data:)", html)


def test_the_policy_names_the_very_script_and_style():
    html, policy = board.page().decode(), board.csp()
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert style is not None
    assert script is not None
    for kind, found in (("style", style), ("script", script)):
        digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_the_page_never_parses_html():
    html = board.page().decode()
    for sink in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert sink not in html
    assert not re.search(r"\son\w+=", html.split("<script>")[0])
    assert "style=" not in html.split("<script>")[0]


def test_the_data_in_the_page_ends_no_element():
    html = board.page().decode()
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    assert "<" not in data[1]
    known = json.loads(data[1])
    assert [k["id"] for role in known["roles"] for k in role["kpis"]] == [k.id for k in CATALOGUE.kpis]
    assert list(known["windows"]) == list(WINDOWS)


def test_the_page_is_compressed_once_and_tagged():
    assert gzip.decompress(board.page_gzip()) == board.page()
    assert board.page_gzip() is board.page_gzip()
    assert re.fullmatch(r'"[0-9a-f]{20}"', board.etag())
    assert board.headers()["Content-Security-Policy"] == board.csp()


# --- scope, change, course, table


@pytest.fixture(scope="module")
def scoped() -> Machine:
    organisation = Organisation(leads_per_day=20, reps=6, seed=3)
    rules = Rules(zone=organisation.zone, zero_is_real=frozenset(EVENTS))
    made = Machine(rules, CATALOGUE.scoped())
    made.advance(ms(NOW))
    made.apply(list(history(organisation, NOW - timedelta(days=70), NOW)))
    refresh(made)
    return made


@pytest.mark.parametrize("dim", ["team", "rep", "source"])
def test_additive_numbers_of_the_parts_add_up_to_the_whole(scoped: Machine, dim: str):
    families = scoped.view.sums.index.family
    values = sorted({v for m in MEASURES.values() if dim in m.dims for (v,) in families(m.name, (dim,))})
    assert set(api.board_payload(scoped.view)["choices"][dim]) <= set(values)
    whole = {k["id"]: k for k in api.board_payload(scoped.view, window="30d")["kpis"]}
    parts = [api.board_payload(scoped.view, window="30d", scope=LabelFilter({dim: value}))["kpis"] for value in values]
    added = [kpi for kpi in CATALOGUE.kpis if kpi.headline.unit in {"count", "money"} and kpi.fraction is None]
    checked = 0
    for kpi in added:
        cards = [next(card for card in cards if card["id"] == kpi.id) for cards in parts]
        if "not_by" in cards[0] or not kpi.whole or (dim == "team" and not kpi.narrows_to(("team",))):
            continue
        checked += 1
        assert sum(card["value"] or 0 for card in cards) == pytest.approx(whole[kpi.id]["value"] or 0), kpi.id
    assert checked >= 3


def test_a_whole_is_never_shown_as_a_part(scoped: Machine):
    payload = api.board_payload(scoped.view, window="30d", scope=LabelFilter({"team": "SMB"}))
    for card in payload["kpis"]:
        if not scoped.view.catalogue.narrows(CATALOGUE.by_id[card["id"]], ("team",)):
            assert (card["value"], card["not_by"]) == (None, ["team"])
    assert kpi(api.board_payload(scoped.view, scope=LabelFilter({"team": "nobody"})), "deals_won")["value"] == 0


@pytest.mark.parametrize("window", ["24h", "7d", "30d"])
def test_the_change_is_from_the_value_of_a_window_ago(scoped: Machine, window: str):
    length = {"24h": 24, "7d": 168, "30d": 720}[window] * HOUR
    now = scoped.view.sums.now
    cards = api.board_payload(scoped.view, window=window)["kpis"]
    scoped.view.sums.advance(now - length)
    then = {card["id"]: card for card in api.board_payload(scoped.view, window=window)["kpis"]}
    scoped.view.sums.advance(now)
    moved = [card for card in cards if "change" in card]
    assert len(moved) > 10
    for card in moved:
        shown = CATALOGUE.by_id[card["id"]]
        if shown.form == "period" and all(type(term).__name__ == "In" for term in shown.headline.formula.terms()):
            # a pane that the end of the window splits is in the later window
            assert card["change"]["before"] == pytest.approx(then[card["id"]]["value"], rel=0.25, abs=2), card["id"]


def test_a_change_says_whether_it_could_be_chance():
    assert change(0.6, 0.5, counts=(20, 20), unit=Unit.SHARE, direction=Direction.UP).chance
    large = change(0.6, 0.5, counts=(2000, 2000), unit=Unit.SHARE, direction=Direction.UP)
    assert not large.chance
    assert large.better
    assert not change(0.6, 0.5, counts=(20, 20), unit=Unit.SHARE, direction=Direction.DOWN).better
    assert change(110, 100, unit=Unit.COUNT, direction=Direction.UP).chance
    assert not change(1100, 900, unit=Unit.COUNT, direction=Direction.UP).chance
    assert change(5.0, 4.0, unit=Unit.MONEY, direction=Direction.NEUTRAL).better is None


@given(st.integers(1, 5000), st.data())
def test_an_interval_holds_its_share(n: int, data: st.DataObject):
    share = data.draw(st.integers(0, n)) / n
    low, high = interval(share, n) or (1.0, 0.0)
    assert 0 <= low <= share + 1e-9
    assert share - 1e-9 <= high <= 1


@pytest.mark.parametrize("window", ["1h", "24h", "7d", "30d", "90d"])
def test_the_course_adds_up_to_the_window(scoped: Machine, window: str):
    for name in ("new_leads", "deals_won", "sales_revenue"):
        detail = api.detail_payload(scoped.view, name, window="all" if window == "90d" else window)
        course = detail["course"]
        assert len(course["now"]) == len(course["at"]) == len(course["few"])
        assert course["at"] == sorted(course["at"])
        if window == "90d":
            assert sum(v or 0 for v in course["now"]) == pytest.approx(detail["now"]["value"])


def test_the_classes_hold_every_sample(scoped: Machine):
    for name in ("lead_response_seconds", "sales_cycle_seconds"):
        detail = api.detail_payload(scoped.view, name, window="30d")
        assert sum(item["n"] for item in detail["classes"]) == detail["now"]["n"]
        assert len(detail["classes"]) <= 8


def test_the_table_has_a_row_for_each_kpi(scoped: Machine):
    made = board.BoardServer.for_view(scoped.view)
    answer = made.answer(scoped.view, {"format": "csv", "window": "30d", "team": "SMB"})
    assert answer.content_type == "text/csv"
    assert re.fullmatch(r"salesgauge-30d-SMB-[\w.-]+\.csv", answer.filename)
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert [row["kpi"] for row in rows] == [kpi.id for kpi in CATALOGUE.kpis]
    won = next(row for row in rows if row["kpi"] == "deals_won")
    cards = api.board_payload(scoped.view, window="30d", scope=LabelFilter({"team": "SMB"}))["kpis"]
    assert float(won["value"]) == next(card["value"] for card in cards if card["id"] == "deals_won")


# --- states


def progress(*looks: tuple[float, int, float]) -> Progress:
    """Looks at (seconds, events, age of the newest event in hours)."""
    made = Progress()
    for seconds, events, hours in looks:
        made.look(int(seconds * 1000), events, int(seconds * 1000 - hours * HOUR), -100 * HOUR)
    return made


@pytest.mark.parametrize(
    ("looks", "state"),
    [
        ([(0, 0, 0), (5, 0, 0)], "live"),
        ([(0, 9_000, 900)], "catching-up"),  # nothing is known yet
        ([(0, 9_000, 9), (5, 9_001, 9)], "live"),  # a quiet weekend
        ([(0, 100, 900), (5, 4_000, 700)], "catching-up"),
        ([(0, 100, 900), (5, 4_000, 700), (10, 4_000, 700)], "catching-up"),  # a pause is no end
        ([(0, 100, 900), (5, 4_000, 700), (16, 4_000, 0)], "live"),
        ([(0, 100, 900), (5, 160, 700)], "catching-up"),  # slowly, and long ago
        ([(0, 1_000_000, 0), (5, 1_005_000, 0)], "live"),  # much, but of now
    ],
)
def test_whether_history_is_read(looks: list[tuple[float, int, float]], state: str):
    last = int(looks[-1][0] * 1000)
    assert progress(*looks).state(last, {"ready": True}, empty=False)["state"] == state


def test_what_is_missing_decides_before_anything_is_shown():
    quiet = progress((0, 10, 0), (5, 10, 0))
    assert quiet.state(5000, {"ready": False}, empty=True) == {"state": "starting"}
    assert quiet.state(5000, {"ready": False}, empty=False) == {"state": "incomplete"}


def test_how_long_it_takes_is_told_from_what_was_read():
    reading = progress((0, 0, 100), (10, 9_000, 50), (20, 19_000, 25))
    told = reading.state(20_000, {"ready": True}, empty=False)
    assert 0.5 < told["share"] < 1
    assert 5 <= told["seconds_left"] <= 60


# --- what is connected


def test_a_kpi_whose_events_never_came_is_not_connected():
    events = lead("a", minutes(50)), touch("a", minutes(45)), closed("w", minutes(9), won=True)
    made = machine(*events, zero_is_real=frozenset())
    payload = json.loads(board.BoardServer.for_view(made.view).answer(made.view, {"window": "30d"}).body)
    assert (kpi(payload, "win_ratio")["value"], kpi(payload, "win_ratio")["unset"]) == (None, ["deal_lost"])
    assert kpi(payload, "cost_per_lead")["unset"] == ["spend_recorded"]
    assert kpi(payload, "deals_won")["value"] == 1
    assert "unset" not in kpi(payload, "lead_response_seconds")
    detail = board.BoardServer.for_view(made.view).answer(made.view, {"window": "30d", "kpi": "win_ratio"})
    assert json.loads(detail.body)["now"]["unset"] == ["deal_lost"]
    assert all(point["value"] is None for point in json.loads(detail.body)["over"])
    more = machine(*(closed(n, minutes(9), won=n == "w") for n in "wl"), zero_is_real=frozenset())
    payload = json.loads(board.BoardServer.for_view(more.view).answer(more.view, {"window": "30d"}).body)
    assert kpi(payload, "win_ratio")["value"] == 0.5


# --- /api/kpis


def test_readings_are_chosen_by_kpi_and_window(scoped: Machine):
    answer = readings_answer(scoped.view, {"kpi": "deals_won,win_ratio", "window": "30d,7d"}, 5, 1)
    document = json.loads(answer.body)
    assert {r["kpi"] for r in document["readings"]} == {"deals_won", "win_ratio"}
    assert {r["window"] for r in document["readings"]} == {"7d", "30d"}
    everything = json.loads(readings_answer(scoped.view, {}, 5, 1).body)
    chosen = [
        r for r in everything["readings"] if r["kpi"] in {"deals_won", "win_ratio"} and r["window"] in {"7d", "30d"}
    ]
    assert document["readings"] == chosen


def test_readings_as_a_table_are_the_same(scoped: Machine):
    query = {"kpi": "deals_won", "window": "30d"}
    document = json.loads(readings_answer(scoped.view, query, 5, 1).body)
    table = readings_answer(scoped.view, query | {"format": "csv"}, 5, 1)
    assert (table.content_type, table.filename) == ("text/csv", "salesgauge-kpis.csv")
    rows = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert [float(row["value"]) for row in rows] == [r["value"] for r in document["readings"]]
    assert [row["rep"] for row in rows] == [r["labels"].get("rep", "") for r in document["readings"]]


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"kpi": "deals_wn"}, 404, "did you mean deals_won?"),
        ({"window": "31d"}, 400, "there is no window '31d'; there are 1h"),
        ({"fromat": "csv"}, 400, "there is no parameter 'fromat'; there are kpi, window, format"),
        ({"format": "xml"}, 400, "write json or csv"),
    ],
)
def test_a_question_about_readings_without_an_answer_is_refused(
    scoped: Machine, query: dict[str, str], status: int, message: str
):
    answer = readings_answer(scoped.view, query, 0, 0)
    assert answer.status == status
    assert message in json.loads(answer.body)["error"]
